"""Device classes: what a kind of sensor is good for, and how long it may be silent.

One decision: a class is code, not a row, because rules and codecs are written against it; a device may only override how
often it says that it is alive.
"""

from dataclasses import dataclass

from gateway.clock import HOUR_US, MINUTE_US


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceClass:
    """family: "door", "counter", "terminal" or "desk" (no sensor: staff enter it).

    alive_every_us: silence longer than this proves nothing about its place.

    A class's limit is its reporting interval with one or two reports missed.
    """

    name: str
    family: str
    alive_every_us: int
    zh: str
    en: str


CLASSES = {
    c.name: c
    for c in (
        DeviceClass(
            name="zigbee_contact",
            family="door",
            alive_every_us=3 * HOUR_US,  # checks in every hour
            zh="Zigbee 门磁",
            en="Zigbee door contact",
        ),
        DeviceClass(
            name="lora_contact",
            family="door",
            alive_every_us=19 * HOUR_US,  # may report every 18 hours only
            zh="LoRaWAN 门磁",
            en="LoRaWAN door contact",
        ),
        DeviceClass(
            name="lora_counter",
            family="counter",
            alive_every_us=30 * MINUTE_US,  # reports every 10 minutes
            zh="LoRaWAN 人流计数器",
            en="LoRaWAN people counter",
        ),
        DeviceClass(
            name="face_terminal",
            family="terminal",
            alive_every_us=5 * MINUTE_US,  # heartbeat every minute
            zh="人脸识别终端",
            en="Face recognition terminal",
        ),
        DeviceClass(
            name="nbiot_contact",
            family="door",
            alive_every_us=25 * HOUR_US,  # reports once a day besides its edges
            zh="NB-IoT 门磁",
            en="NB-IoT door contact",
        ),
        DeviceClass(
            name="network_counter",
            family="counter",
            alive_every_us=45 * MINUTE_US,  # reports every 15 minutes
            zh="网络人流计数器",
            en="Networked people counter",
        ),
        DeviceClass(
            name="access_terminal",
            family="terminal",
            alive_every_us=5 * MINUTE_US,  # heartbeat or poll every minute
            zh="门禁终端",
            en="Access terminal",
        ),
        DeviceClass(
            name="desk",
            family="desk",
            alive_every_us=365 * 24 * HOUR_US,  # nobody need check in by hand: its silence is no fault and proves nothing
            zh="签到台",
            en="Check-in desk",
        ),
    )
}

SEES_FACES = frozenset({"face_terminal", "access_terminal"})
"""Classes that need an impact assessment before they start, and that no private room may have."""

PRIVATE_ROOMS = frozenset({"bathroom", "toilet", "changing", "rest"})
