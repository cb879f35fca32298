"""The town that the benchmarks load: gateways with doors and counters, and their frames, made before the clock starts.

One decision: frames are made with numpy and kept as whole MQTT packets, so that the load costs the machine as little as
it can; what is measured is the receiving side.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg

from gateway.clock import HOUR_US, MINUTE_US
from gateway.events import EVENT_DTYPE, Flag, Kind
from gateway.wire import Header, encode_frame, topic_up

GATEWAYS, DEVICES, SHARDS = 100, 8, 16
STREAM = 0x51


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway of the town, on the shard it is registered for."""

    code: str
    shard: int


def gateways() -> list[Gateway]:
    """Return the town's gateways."""
    return [Gateway(code=f"bench-{n:03}", shard=n % SHARDS) for n in range(GATEWAYS)]


def register(conn: psycopg.Connection[Any]) -> None:
    """Enter the town into an empty register: a site for each gateway, a place for each device, half doors, half counters."""
    conn.execute("INSERT INTO region VALUES ('330481100001', '周王庙镇')")
    for g in gateways():
        values = {"code": g.code, "shard": g.shard, "name": f"{g.code} 站"}
        conn.execute("INSERT INTO gateway (code, shard) VALUES (%(code)s, %(shard)s)", values)
        conn.execute(
            "INSERT INTO site (code, name, kind, region, hours, shard)"
            " VALUES (%(code)s, %(name)s, 'point', '330481100001', '{}', %(shard)s)",
            values,
        )
        for d in range(DEVICES):
            mine = values | {"place": f"p{d}", "identity": identity(d), "class": "zigbee_contact" if d % 2 else "lora_counter"}
            conn.execute(
                "WITH p AS (INSERT INTO place (site, code, name, room)"
                " SELECT id, %(place)s, %(place)s, 'hall' FROM site WHERE code = %(code)s RETURNING id),"
                " d AS (INSERT INTO device (gateway, identity, class)"
                " SELECT id, %(identity)s, %(class)s FROM gateway WHERE code = %(code)s RETURNING id)"
                " INSERT INTO mounting (device, place, from_us) SELECT d.id, p.id, 0 FROM p, d",
                mine,
            )
    conn.execute("UPDATE register_version SET version = version + 1")


def identity(d: int) -> str:
    """Return the identity of a gateway's device."""
    return f"z2m/door-{d}" if d % 2 else f"lora/24e1c0ffee0000{d:02x}"


def packets(gateway: Gateway, first: int, frames: int, events: int, now_us: int, devices: int = DEVICES) -> list[bytes]:
    """Return a gateway's frames number `first` and on, of `events` events each, as MQTT PUBLISH packets.

    Doors open and close, totals grow; event number n of the stream is 20 ms after the one before. devices: of the gateway.
    """
    number = np.arange((first - 1) * events, (first - 1 + frames) * events)
    device = number % devices
    rows = np.zeros(len(number), EVENT_DTYPE)
    door = device % 2 == 1
    rows["t_us"] = now_us - HOUR_US + number * 20_000 % (HOUR_US - MINUTE_US)
    rows["received_us"] = rows["t_us"] + 1000
    rows["kind"] = np.where(door, int(Kind.CONTACT), int(Kind.COUNT_TOTAL))
    rows["aux"] = np.where(door, 0, 1)
    rows["flags"] = np.where(door, int(Flag.TIME_RECEIVED), 0)
    rows["a"] = np.where(door, number // devices % 2, number)
    rows["b"] = np.where(door, 0, number // 2)
    found = []
    for n in range(frames):
        mine = rows[n * events : (n + 1) * events]
        used, mine["device"] = np.unique(device[n * events : (n + 1) * events], return_inverse=True)
        names = [identity(d).encode() for d in used.tolist()]
        table = b"".join([struct.pack(">H", len(names)), *(struct.pack(">B", len(name)) + name for name in names)])
        body = table + struct.pack(">HH", 0, events) + mine.tobytes()
        header = Header(stream=STREAM, seq=first + n, oldest=1, since_us=now_us - HOUR_US, through_us=now_us)
        found.append(publish(topic_up(gateway.shard, gateway.code), encode_frame(header, body)))
    return found


def publish(topic: str, payload: bytes) -> bytes:
    """Return a QoS 0 PUBLISH packet of MQTT 3.1.1."""
    name = topic.encode()
    return bytes([0x30]) + length(2 + len(name) + len(payload)) + struct.pack(">H", len(name)) + name + payload


def length(n: int) -> bytes:
    """Return MQTT's remaining length, seven bits a byte."""
    digits = bytearray()
    while True:
        n, digit = divmod(n, 128)
        digits.append(digit | (0x80 if n else 0))
        if not n:
            return bytes(digits)
