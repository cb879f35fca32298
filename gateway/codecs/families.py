"""The families of devices this gateway understands."""

from gateway.codecs.chirpstack import ChirpStack
from gateway.codecs.contract import Codec
from gateway.codecs.dahua import Dahua
from gateway.codecs.face import FaceTerminal
from gateway.codecs.face_http import FaceSubscribe
from gateway.codecs.ha03 import Ha03
from gateway.codecs.hikaccess import HikAccess
from gateway.codecs.hikcount import HikCount
from gateway.codecs.mapped import Mapped
from gateway.codecs.mapping import DEVICE_LEVEL, BadMapping, MappingFile
from gateway.codecs.milesight_push import MilesightPush
from gateway.codecs.thingsboard import ThingsBoard
from gateway.codecs.zigbee2mqtt import Zigbee2Mqtt
from gateway.codecs.zk import ZkPush

HTTP_FAMILIES = ("milesight", "hikcount", "hikaccess", "face", "ha03", "zk", "dahua", "tb")
"""Families whose devices post; each needs an address (`smartcare gateway device`)."""


def codecs(zone: str = "Asia/Shanghai", mapping: MappingFile | None = None, *, on_site: bool = True) -> tuple[Codec, ...]:
    """Return one codec per family; zone: IANA zone of devices that say a local time without one. Raises BadMapping.

    on_site: the bus does not lead over the internet. If it does, terminals that put pictures into their MQTT messages are not
    heard at all: they can post, without pictures, to a listener that blocks who sends one.
    """
    mapping = mapping or MappingFile()
    ours: tuple[Codec, ...] = (
        Zigbee2Mqtt(),
        ChirpStack(),
        *((FaceTerminal(zone),) if on_site else ()),
        FaceSubscribe(zone),
        MilesightPush(zone),
        HikCount(zone),
        HikAccess(zone),
        Ha03(zone),
        ZkPush(zone),
        Dahua(zone),
        ThingsBoard(mapping, zone),
    )
    understood = list(ours)
    for family in mapping.families:
        sample = family.topic.replace(DEVICE_LEVEL, "x").replace("+", "x").replace("#", "x")
        taken = next((c for c in understood if c.family == family.family or c.matches(sample)), None)
        if taken:
            raise BadMapping(
                f"the mapping's family {family.family!r} (topic {family.topic!r}) is already understood as {taken.family!r};"
                " give it another name or topic, or put the narrower topic first"
            )
        understood.append(Mapped(family, zone))
    return tuple(understood)
