"""From a vendor's payload to the commit, the alert and the platform, at 1,000 events a second, with every process real.

One decision: PostgreSQL itself says when a transaction was committed (`track_commit_timestamp`), so nothing polls while it is
measured; a payload is known again by its counter's total, an alert by its site.

    counters (500 LoRaWAN messages a second, two events each) ─┬─ broker ─ gateway, spool flushed ─ broker ─ worker: T1, T2
    doors of closed sites (ten openings a second)             ─┘                                      └ api ─ platform's ledger
"""

import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from benchmarks import load, town, vendors
from benchmarks.ingest_path import Say
from gateway.clock import now_us
from smartcare.embedded import nats
from tests.e2e.stack import GATEWAY, Stack, small_register

LINES = 3
"""Counters of each open site."""
TICK_S = 0.01
MESSAGES, DOORS = 5, 0.1
"""Messages and openings of each tick."""
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Seconds of load, of which the first are not counted."""

    seconds: float
    warm_s: float


FULL = Size(seconds=60, warm_s=10)
SMOKE = Size(seconds=4, warm_s=1)


@dataclass(slots=True, kw_only=True)
class Sent:
    """When each payload was published: by EUI and turn, and by site."""

    counts: dict[tuple[str, int], int]
    doors: dict[str, int]


def measure(size: Size, say: Say) -> dict[str, float]:
    """Return the 99th percentiles in milliseconds."""
    doors = int(size.seconds / TICK_S * DOORS)
    with tempfile.TemporaryDirectory(prefix="smartcare-bench-") as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder), "nats", _register(doors))
        stack.postgres.settings["track_commit_timestamp"] = "on"
        with stack:
            sent = _publish(stack, doors, size, say)
            return _figures(stack, sent, size, say)


def _register(doors: int) -> dict[str, Any]:
    """Closed sites with a door each, and sites that never close with three counters each."""
    document = small_register(doors)
    always = {day: [["00:00", "24:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    for n in range(vendors.SITES):
        site = document["sites"][0] | {"code": f"open-{n}", "hours": always, "capacity": 100_000}
        document["sites"].append(site)
        for line in range(LINES):
            place = {"site": f"open-{n}", "code": f"line-{line}", "name": f"客流{line}", "name_en": "", "room": "hall"}
            device = {"gateway": GATEWAY, "identity": f"lora/{_eui(n, line)}", "class": "lora_counter", "name": "客流"}
            document["places"].append(place)
            document["devices"].append(device | {"place": f"open-{n}/line-{line}"})
    return document


def _eui(site: int, line: int) -> str:
    return f"24e1c0ffee0{line}{site:04x}"


def _publish(stack: Stack, doors: int, size: Size, say: Say) -> Sent:
    """Let every door be known as closed, then keep the rate for so long."""
    sent, at = Sent(counts={}, doors={}), urlsplit(stack.bus_url)
    assert at.port
    assert at.password
    with load.login(at.port, "bench-bus", nats.DEVICE_BUS, at.password) as bus:
        for n in range(1, doors + 1):
            bus.sendall(_door(n, closed=True))
        stack.until(lambda: stack.count("SELECT count(DISTINCT device) FROM event") >= doors, "every door is known", PATIENCE_S)
        began, number, opened = time.perf_counter(), 0, 0
        for tick in range(int(size.seconds / TICK_S)):
            number = _tick(bus, sent, number)
            if opened < doors and (tick + 1) * DOORS > opened:
                opened += 1
                sent.doors[f"e2e-{opened}"] = now_us()
                bus.sendall(_door(opened, closed=False))
            time.sleep(max(0.0, began + (tick + 1) * TICK_S - time.perf_counter()))
        took = time.perf_counter() - began
    say(f"latency: {2 * len(sent.counts) / took:,.0f} events/s and {opened} alerts in {took:.1f} s")
    return sent


def _tick(bus: socket.socket, sent: Sent, number: int) -> int:
    """Send the next counters' messages; returns how many there are so far."""
    packets, at = [], now_us()
    for n in range(number, number + MESSAGES):
        line, site, turn = n % LINES, n // LINES % vendors.SITES, n // (LINES * vendors.SITES) + 1
        packets.append(vendors.message((turn - 1) * 10 * vendors.SITES + site * 10 + line, at, {}).data)
        sent.counts[_eui(site, line), turn] = at
    bus.sendall(b"".join(packets))
    return number + MESSAGES


def _door(n: int, *, closed: bool) -> bytes:
    said = b'{"contact": %s, "battery": 91, "linkquality": 120}' % (b"true" if closed else b"false")
    return town.publish(f"zigbee2mqtt/door-{n}", said)


def _figures(stack: Stack, sent: Sent, size: Size, say: Say) -> dict[str, float]:
    since = min(sent.counts.values()) + int(size.warm_s * 1e6)
    stack.until(lambda: len(_told(stack)) >= len(sent.doors), "every alert has reached the platform", PATIENCE_S)
    committed = stack.rows(
        "SELECT split_part(d.identity, '/', 2), e.a, extract(epoch FROM pg_xact_commit_timestamp(e.xmin)) * 1000000"
        " FROM event e JOIN device d ON d.id = e.device WHERE d.identity LIKE 'lora/%%' AND e.kind = 2"
    )
    alerted = stack.rows(
        "SELECT s.code, extract(epoch FROM min(pg_xact_commit_timestamp(c.xmin))) * 1000000 FROM alert a"
        " JOIN alert_change c ON c.alert = a.id JOIN site s ON s.id = a.site WHERE a.rule = 'opened_after_hours' GROUP BY 1"
    )
    times = {
        "commit": [(sent.counts[eui, a // 3], int(at)) for eui, a, at in committed if (eui, a // 3) in sent.counts],
        "alert": [(sent.doors[code], int(at)) for code, at in alerted],
        "webhook": [(sent.doors[code], at) for code, at in _told(stack).items()],
    }
    found = {}
    for name, pairs in times.items():
        ms = np.array([(at - published) / 1000 for published, at in pairs if published >= since])
        say(f"latency: event to {name}: {_words(ms)}")
        found[f"latency.event_to_{name}_p99_ms"] = float(np.percentile(ms, 99))
    return found


def _words(ms: NDArray[np.float64]) -> str:
    parts = [f"{q} % {np.percentile(ms, q):.0f} ms" for q in (50, 90, 99)]
    return f"{len(ms)}: {', '.join(parts)}, at most {ms.max():.0f} ms"


def _told(stack: Stack) -> dict[str, int]:
    """Return when the platform first heard of each site's alert."""
    found: dict[str, int] = {}
    for entry in stack.received():
        if entry["body"]["data"]["rule"] == "opened_after_hours":
            found.setdefault(entry["body"]["data"]["site"]["code"], entry["received_us"])
    return found
