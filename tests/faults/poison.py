"""Hostile bytes from devices and from a gateway: each is accounted for, and nobody else waits for them.

One decision: every hostile message has a device's name of its own, so that where it went (the gateway's quarantine, or an
unclaimed device whose odd values could be read all the same) is a question of names.
"""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import paho.mqtt.client as mqtt

from gateway.clock import now_us
from gateway.events import EVENT_DTYPE, Kind
from gateway.wire import Header, encode_frame, topic_up
from tests.e2e.stack import Bus
from tests.faults.campaign import Campaign
from tests.faults.load import GATEWAY
from tests.faults.stage import POISON, POISON_SHARD

BAD = (
    b"{",
    b"\xff\xfe{\x00}\x00",
    b"\x00" * 40,
    b"[" * 100_000,
    b"NaN",
    b'{"contact": NaN}',
    b'{"contact": true, "battery": 1e999}',
    b"null",
    b"[]",
    b'"\\ud800"',
    b'{"contact": "yes", "operator": 7, "deviceInfo": 9}',
    b'{"contact": 9223372036854775808, "operator": [], "deviceInfo": 1}',
    b'{"contact": true} {"contact": false}',
    b"9" * 5000,
    b"x" * 300_000,
)
"""Nothing of these can be read, whoever is meant to have sent them."""
ODD = (
    b'{"contact": true, "contact": false}',
    b'{"contact": true, "last_seen": "10000-01-01T00:00:00Z"}',
    b'{"contact": true, "last_seen": 9223372036854775808}',
    b'{"contact": true, "last_seen": "\\u0000"}',
    b'{"contact": true, "last_seen": "\\ud800"}',
    b'{"unknown": {"kind": [1, 2, {"deep": "\\u0000"}]}}',
    b'{"battery": 9223372036854775808}',
    b'{"battery": -0.0, "tamper": null}',
)
"""Something of these may be read; of a door only."""


def hostile(rng: Random, number: int) -> Iterator[tuple[str, str, bytes, bool]]:
    """Yield (topic, device identity, payload, whether it must be quarantined)."""
    for i in range(number):
        odd = rng.random() < 0.3
        family = "z2m" if odd else rng.choice(("z2m", "lora", "face"))
        name = {"z2m": f"poison-{i}", "lora": f"24e124000ff{i:05x}", "face": f"9{i:05d}"}[family]
        topic = {
            "z2m": f"zigbee2mqtt/{name}",
            "lora": f"application/1/device/{name}/event/up",
            "face": f"mqtt/face/{name}/Rec",
        }[family]
        yield topic, f"{family}/{name}", rng.choice(ODD if odd else BAD), not odd


def bodies() -> list[bytes]:
    """Return bodies under whose good headers nothing sensible lies."""
    t = now_us()
    row = np.zeros(1, EVENT_DTYPE)
    row["kind"], row["t_us"], row["received_us"] = int(Kind.CONTACT), t, t
    name = b"\x00\x01\x06z2m/xx\x00\x00\x00\x01"
    found = [b"", b"\xff" * 64, name, b"\x00\x01\x03a\x00b\x00\x00\x00\x01" + row.tobytes(), b"\x00\x00\x00\x00\x00\x00"]
    for column, value in (("kind", 250), ("t_us", 253_402_300_800_000_000), ("t_us", -1), ("device", 9), ("person", 3)):
        wrong = row.copy()
        wrong[column] = value
        found.append(name + wrong.tobytes())
    for column, value in (("key", 2**63), ("raw_us", 2**62), ("a", -(2**60)), ("flags", 0x8000)):
        wrong = row.copy()
        wrong[column] = value
        found.append(name + wrong.tobytes())
    return [*found, name + row.tobytes() * 2, b"\x00\x01\x06z2m/\xff\xfe\x00\x00\x00\x01" + row.tobytes()]


def poison(c: Campaign) -> None:
    """Hostile devices and a hostile gateway for a while, after a clean while of the same length."""
    seconds, number = c.of(4, 20, 60), c.of(60, 400, 900)
    with c.phase(f"{number} hostile messages"):
        c.stage.flows("the last phase")
        clean_us = now_us()
        c.stage.wait(seconds)
        dirty_us = now_us()
        sent = _from_devices(c, number, seconds)
        c.figures["poison_p99_ms_clean"], c.figures["poison_p99_ms"] = _p99(c, clean_us, dirty_us), _p99(c, dirty_us, now_us())
        c.figures["poison_p99_ratio"] = round(c.figures["poison_p99_ms"] / c.figures["poison_p99_ms_clean"], 2)
        _from_a_gateway(c)
        _account(c, sent)


def _from_devices(c: Campaign, number: int, seconds: float) -> dict[str, tuple[str, bool]]:
    """Send; return topic → (identity, must be quarantined)."""
    bus, sent = Bus(c.stage.bus_url), {}
    began = time.monotonic()
    for i, (topic, identity, payload, must) in enumerate(hostile(c.rng, number)):
        bus.client.publish(topic, payload, qos=1).wait_for_publish(60)
        sent[topic] = identity, must
        while time.monotonic() < began + seconds * i / number:
            c.stage.look()
    bus.close()
    c.figures["poison_messages"] = len(sent)
    return sent


def _p99(c: Campaign, from_us: int, to_us: int) -> float:
    query = "SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY pos - t_us) FROM event"
    query += " WHERE pos > %s AND t_us BETWEEN %s AND %s AND kind = %s"
    return round((c.stage.rows(query, from_us, from_us, to_us, Kind.CONTACT)[0][0] or 0) / 1000, 1)


def _from_a_gateway(c: Campaign) -> None:
    """Frames with good headers and bad bodies, and bytes that are no message at all, from a gateway that may speak."""
    stage, all_bodies = c.stage, bodies()
    bus = Bus(stage.broker.url(POISON))
    topic, now = topic_up(POISON_SHARD, POISON), now_us()
    frames = [
        encode_frame(Header(stream=77, seq=seq, oldest=1, since_us=now, through_us=now), body)
        for seq, body in enumerate(all_bodies, 1)
    ]
    frames.append(frames[0][:-4] + b"zzzz" if len(frames[0]) > 60 else frames[1][:-3])
    frames[-1] = encode_frame(Header(stream=77, seq=len(frames), oldest=1, since_us=now, through_us=now), b"cut off")[:-2]

    def bad_bodies() -> list[int]:
        query = "SELECT q.seq FROM quarantine q JOIN gateway g ON g.id = q.gateway WHERE g.code = %s AND q.reason = 'bad_body'"
        return sorted(seq for (seq,) in stage.rows(query, POISON))

    def all_there() -> bool:
        for frame in frames:
            bus.client.publish(topic, frame, qos=0)
        stage.wait(1)
        return len(bad_bodies()) >= len(frames)

    stage.until(all_there, "every bad body is quarantined")
    assert bad_bodies() == list(range(1, len(frames) + 1)), bad_bodies()
    for payload, reason in ((b"\xca\xfe" * 40, ""), (frames[0][:20], "bad_header"), (b'{"type": "heartbeat"}', "bad_message")):
        _one(c, bus.client, topic, payload, reason)
    bus.close()
    c.figures["poison_frames"] = len(frames) + 2


def _one(c: Campaign, client: mqtt.Client, topic: str, payload: bytes, reason: str) -> None:
    """Say one thing that cannot be read until it is quarantined; more than one a second are not kept."""
    query = "SELECT count(*) FROM quarantine q JOIN gateway g ON g.id = q.gateway WHERE g.code = %s AND q.reason = %s"

    def there() -> bool:
        client.publish(topic, payload, qos=0)
        c.stage.wait(1.2)
        return not reason or c.stage.count(query, POISON, reason) > 0

    c.stage.until(there, f"what is {reason} is quarantined")


def _account(c: Campaign, sent: dict[str, tuple[str, bool]]) -> None:
    """Each hostile message is in the gateway's quarantine, or its device is among the unclaimed."""
    stage, found = c.stage, set[str]()
    for _ in range(12):
        stage.down("gateway", 1)
        found = _quarantined(stage.spool(GATEWAY), stage.folder / "copy.sqlite")
        stage.until(lambda: stage.runs("gateway"), "the gateway is started again")  # what it sent before may still be stored
        stage.flows("the gateway was looked into")
        unclaimed = {identity for (identity,) in stage.rows("SELECT identity FROM unclaimed")}
        missing = [t for t, (identity, must) in sent.items() if t not in found and (must or identity not in unclaimed)]
        if not missing:
            break
    c.figures["poison_unaccounted"] = len(missing)
    c.figures["poison_quarantined"] = len(found & sent.keys())
    if missing:
        c.wrong.append(f"hostile messages that are nowhere: {missing[:5]}")


def _quarantined(spool: Path, copy: Path) -> set[str]:
    for suffix in ("", "-wal"):
        if Path(f"{spool}{suffix}").exists():
            shutil.copy(f"{spool}{suffix}", f"{copy}{suffix}")
    db = sqlite3.connect(copy)
    try:
        return {topic for (topic,) in db.execute("SELECT topic FROM quarantine")}
    finally:
        db.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)
