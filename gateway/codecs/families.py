"""The families of devices this gateway understands."""

from gateway.codecs.chirpstack import ChirpStack
from gateway.codecs.contract import Codec
from gateway.codecs.dahua import Dahua
from gateway.codecs.face import FaceTerminal
from gateway.codecs.face_http import FaceSubscribe
from gateway.codecs.ha03 import Ha03
from gateway.codecs.hikaccess import HikAccess
from gateway.codecs.hikcount import HikCount
from gateway.codecs.milesight_push import MilesightPush
from gateway.codecs.zigbee2mqtt import Zigbee2Mqtt
from gateway.codecs.zk import ZkPush

HTTP_FAMILIES = ("milesight", "hikcount", "hikaccess", "face", "ha03", "zk", "dahua")
"""Families whose devices post; each needs an address (`smartcare gateway device`)."""


def codecs(zone: str = "Asia/Shanghai") -> tuple[Codec, ...]:
    """Return one codec per family; zone: IANA zone of devices that say a local time without one."""
    return (
        Zigbee2Mqtt(),
        ChirpStack(),
        FaceTerminal(zone),
        FaceSubscribe(zone),
        MilesightPush(zone),
        HikCount(zone),
        HikAccess(zone),
        Ha03(zone),
        ZkPush(zone),
        Dahua(zone),
    )
