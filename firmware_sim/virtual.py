"""A scenario in virtual time: what arrives at each gateway, in order, as fast as it can be taken; no broker, no clock.

One decision: it is an iterator, and terminals are answered here, so that whoever reads it needs to say nothing back.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from firmware_sim.models import Pace
from firmware_sim.play import PLAIN, Play
from firmware_sim.plot import Switch
from firmware_sim.scenario import Scenario
from firmware_sim.zigbee import BRIDGE_ONLINE
from gateway.clock import MINUTE_US

STEP_US = 5 * MINUTE_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A vendor's message arrives at a gateway.

    identity, content_type: of a device that posts it, "" over MQTT; topic is then what follows the device's address.
    """

    at_us: int
    gateway: str
    topic: str
    payload: bytes
    identity: str = ""
    content_type: str = ""


def play(scenario: Scenario, pace: Pace = PLAIN) -> Iterator[Delivery | Switch]:
    """Yield all that arrives and what becomes of the gateways, by time."""
    stage = Play(scenario.town, scenario.plot, from_us=scenario.from_us, pace=pace, answers=True)
    gateways = {d["identity"]: d["gateway"] for d in scenario.town.document["devices"]}
    gateways |= {f"bridge/{g['code']}": g["code"] for g in scenario.town.document["gateways"]}
    switches = sorted(scenario.plot.switches, key=lambda s: s.at_us)
    bridged = {d["gateway"] for d in scenario.town.document["devices"] if d["identity"].startswith("z2m/")}
    for gateway in sorted(bridged):
        yield Delivery(at_us=scenario.from_us, gateway=gateway, topic=BRIDGE_ONLINE.topic, payload=BRIDGE_ONLINE.payload)
    for at_us in range(scenario.from_us + STEP_US, scenario.to_us + 1, STEP_US):
        for said in stage.advance(at_us):
            while switches and switches[0].at_us <= said.at_us:
                yield switches.pop(0)
            identity, output = said.device.identity, said.output
            yield Delivery(
                at_us=said.at_us,
                gateway=gateways[identity],
                topic=output.topic,
                payload=output.payload,
                identity=identity if output.content_type else "",
                content_type=output.content_type,
            )
