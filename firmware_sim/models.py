"""The models of devices: what each is called, which class it is registered as, and how it is made.

One decision: a town says of a device only its model, so that any door, counter or terminal can stand in any story; where it
says nothing, the model is the usual one of the identity's family and class.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from firmware_sim.declared import TB_GATEWAY, MappedDoor, ThingsBoardCounter, ThingsBoardDoor
from firmware_sim.device import Device
from firmware_sim.doors import Ha03Door, LoraDoor, Zigbee1Door
from firmware_sim.face import FaceTerminal
from firmware_sim.milesight import MilesightCounter
from firmware_sim.posting import HikCounter, MilesightPushCounter, PostingTerminal
from firmware_sim.town import Site, Town, kind_of, secret
from firmware_sim.zigbee import Zigbee2MqttDoor
from gateway.clock import DAY_US

RECORDS_A_DAY = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often devices speak though nothing happens: a door repeats its state, a counter reports, a terminal signs life."""

    door_us: int | None
    counter_us: int | None
    terminal_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """What a device is made from. name: its identity without the family. qos: of its messages, where it speaks MQTT."""

    identity: str
    name: str
    town: Town
    zone: str
    rng: Random
    start_us: int
    qos: int
    pace: Pace

    @property
    def session(self) -> int:
        """Return the number of its LoRaWAN session."""
        return int(secret(self.town.seed, self.identity, self.start_us)[:8], 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A kind of device. device_class: of the register. named: identity from a site's code and some digits of its own.

    posts: over HTTP, to an address of its own.
    """

    device_class: str
    zh: str
    en: str
    named: Callable[[str, str], str]
    make: Callable[[Spot], Device]
    posts: bool = False

    @property
    def kind(self) -> str:
        """Return "door", "counter" or "terminal"."""
        return kind_of(self.device_class)


def _number(digits: str) -> str:
    return str(1_000_000 + int(digits[:8], 16) % 9_000_000)


def _eui(code: str, digits: str) -> str:
    return f"lora/24e124{digits[:10]}"


def _numbered(family: str) -> Callable[[str, str], str]:
    return lambda code, digits: f"{family}/{_number(digits)}"


def _lora_door(model: str) -> Callable[[Spot], Device]:
    return lambda s: LoraDoor(s.name, s.rng, s.session, qos=s.qos, repeat_us=s.pace.door_us, model=model)


def _lora_counter(model: str) -> Callable[[Spot], Device]:
    return lambda s: MilesightCounter(s.name, s.rng, s.session, qos=s.qos, report_us=s.pace.counter_us, model=model)


def _posting(family: str, log: str = "ATTLOG") -> Callable[[Spot], Device]:
    def make(s: Spot) -> Device:
        first, pulse = s.start_us // DAY_US * RECORDS_A_DAY, s.pace.terminal_us
        return PostingTerminal(family, s.name, s.town.seed, zone=s.zone, first=first, heartbeat_us=pulse, log=log)

    return make


def _face(s: Spot) -> Device:
    first, pulse = s.start_us // DAY_US * RECORDS_A_DAY, s.pace.terminal_us
    return FaceTerminal(s.name, s.town.seed, zone=s.zone, first=first, qos=s.qos, heartbeat_us=pulse)


def _access(zh: str, en: str, family: str, log: str = "ATTLOG") -> Model:
    make = _posting(family, log)
    return Model(device_class="access_terminal", zh=zh, en=en, named=_numbered(family), make=make, posts=True)


def _lora(kind: str, model: str) -> Model:
    if kind == "door":
        return Model(device_class="lora_contact", zh=f"{model} 门磁", en=f"{model} door", named=_eui, make=_lora_door(model))
    return Model(device_class="lora_counter", zh=f"{model} 计数器", en=f"{model} counter", named=_eui, make=_lora_counter(model))


MODELS: Mapping[str, Model] = {
    "z2m": Model(
        device_class="zigbee_contact",
        zh="Zigbee 门磁",
        en="Zigbee door contact",
        named=lambda code, _: f"z2m/{code}/前门",
        make=lambda s: Zigbee2MqttDoor(s.name, s.rng, qos=s.qos, repeat_us=s.pace.door_us),
    ),
    "z2m1": Model(
        device_class="zigbee_contact",
        zh="Zigbee 门磁（1.x 网桥）",
        en="Zigbee door contact behind a bridge 1.x",
        named=lambda code, _: f"z2m/{code}/旧门",
        make=lambda s: Zigbee1Door(s.name, s.rng, qos=s.qos, repeat_us=s.pace.door_us),
    ),
    "ws301": _lora("door", "WS301"),
    "em300": _lora("door", "EM300-MCS"),
    "ha03": Model(
        device_class="nbiot_contact",
        zh="NB-IoT 门磁",
        en="NB-IoT door contact",
        named=lambda _, digits: f"ha03/86{_number(digits)}{_number(digits)[:6]}",
        make=lambda s: Ha03Door(s.name, s.rng, zone=s.zone, repeat_us=s.pace.door_us),
        posts=True,
    ),
    "door4g": Model(
        device_class="nbiot_contact",
        zh="4G 门磁（映射）",
        en="4G door contact, by a mapping",
        named=lambda _, digits: f"door4g/{_number(digits)}",
        make=lambda s: MappedDoor(s.name, s.rng, qos=s.qos, repeat_us=s.pace.door_us),
    ),
    "tbdoor": Model(
        device_class="nbiot_contact",
        zh="ThingsBoard 门磁",
        en="Door contact made for ThingsBoard",
        named=lambda _, digits: f"tb/door{_number(digits)}",
        make=lambda s: ThingsBoardDoor(s.name, s.rng, repeat_us=s.pace.door_us),
        posts=True,
    ),
    "vs121": _lora("counter", "VS121"),
    "vs132": _lora("counter", "VS132"),
    "vs133": _lora("counter", "VS133"),
    "vs135": _lora("counter", "VS135"),
    "vs350": _lora("counter", "VS350"),
    "vs351": _lora("counter", "VS351"),
    "milesight": Model(
        device_class="network_counter",
        zh="Milesight 计数器",
        en="Milesight counter",
        named=lambda _, digits: f"milesight/6771{digits[:12]}",
        make=lambda s: MilesightPushCounter(s.name, s.rng, zone=s.zone, report_us=s.pace.counter_us),
        posts=True,
    ),
    "hikcount": Model(
        device_class="network_counter",
        zh="海康客流相机",
        en="Hikvision counting camera",
        named=_numbered("hikcount"),
        make=lambda s: HikCounter(s.name, s.rng, zone=s.zone, report_us=s.pace.counter_us),
        posts=True,
    ),
    "tbcount": Model(
        device_class="network_counter",
        zh="ThingsBoard 计数器",
        en="Counter behind a ThingsBoard gateway",
        named=lambda _, digits: f"tb/{TB_GATEWAY}/hall{_number(digits)}",
        make=lambda s: ThingsBoardCounter(s.name.rpartition("/")[2], s.rng, qos=s.qos, report_us=s.pace.counter_us),
    ),
    "mqttface": Model(device_class="face_terminal", zh="人脸终端", en="Face terminal", named=_numbered("face"), make=_face),
    "face": Model(
        device_class="face_terminal",
        zh="人脸终端（HTTP）",
        en="Face terminal over HTTP",
        named=_numbered("face"),
        make=_posting("face"),
        posts=True,
    ),
    "hikaccess": _access("海康门禁", "Hikvision access terminal", "hikaccess"),
    "dahua": _access("大华门禁", "Dahua access terminal", "dahua"),
    "zk": _access("中控考勤", "ZKTeco attendance terminal", "zk"),
    "zkdoor": _access("中控门禁", "ZKTeco access terminal", "zk", "rtlog"),
}
_USUAL = {
    "zigbee_contact": "z2m",
    "lora_contact": "ws301",
    "nbiot_contact": "ha03",
    "lora_counter": "vs133",
    "face_terminal": "mqttface",
}


def devices(town: Town, site: Site, start_us: int, qos: int, pace: Pace) -> Iterator[Device]:
    """Make what is mounted at a site; what is of no model is not there."""
    for identity, device_class in zip(site.devices, site.classes, strict=True):
        family, _, name = identity.partition("/")
        model = MODELS.get(town.models.get(identity) or _USUAL.get(device_class, family))
        if model is None:
            continue
        rng = Random(f"{town.seed}/{identity}/{start_us // DAY_US}")  # noqa: S311 - repeatable by intention
        yield model.make(
            Spot(identity=identity, name=name, town=town, zone=site.zone, rng=rng, start_us=start_us, qos=qos, pace=pace)
        )
