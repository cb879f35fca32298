"""The columnar path against a plain one that takes one event after another, on a real PostgreSQL.

Whatever gateways send, and however it is cut into transactions and workers, what is stored is what the plain reference
says: it knows no arrays, no batches and no database.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import HOUR_US
from gateway.events import Event, Flag, Kind, Method, Result
from ingest.reading import Message
from tests.ingest.frames import COUNTER, DOOR, FACE, MINUTE_US, NOW_US, TOKEN, Sender, store

Conn = psycopg.Connection[Any]
LOG = ("event", "passage", "frame", "cursor", "coverage", "blind", "loss", "liveness", "quarantine", "unclaimed", "rollup_hour")
SOURCE = "JOIN frame f ON f.pos = e.pos AND f.shard = e.shard AND e.ordinal BETWEEN f.first AND f.first + f.events - 1"


times = st.integers(0, 9).map(lambda n: NOW_US - n * 25 * MINUTE_US)
KINDS = [Kind.CONTACT, Kind.COUNT_PERIOD, Kind.COUNT_TOTAL, Kind.COUNT_TOTAL, Kind.PASSAGE, Kind.PASSAGE, Kind.PASSAGE]
live = st.sampled_from([Flag(0), Flag.TIME_RECEIVED, Flag.REPEAT, Flag.LATE])
devices = st.sampled_from([DOOR, FACE, "z2m/unknown"])
people = st.integers(-1, 3) | st.integers(0, 70_000) | st.just(2_000_000)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Any event of the town's devices; few enough times, keys and totals that they meet."""
    t_us, kind = draw(times), draw(st.sampled_from(KINDS))
    common: dict[str, Any] = {"kind": kind, "t_us": t_us, "received_us": t_us + draw(st.sampled_from([0, 700_000]))}
    if kind is Kind.COUNT_TOTAL:
        flags = draw(live) | draw(st.sampled_from([Flag(0), Flag.WRAP16, Flag.DAILY]))
        return Event(device=COUNTER, aux=draw(st.integers(1, 2)), a=draw(people), b=draw(people), flags=flags, **common)
    if kind is Kind.COUNT_PERIOD:
        return Event(device=draw(devices), aux=1, a=draw(people), b=draw(people), flags=draw(live), **common)
    if kind is Kind.CONTACT:
        return Event(device=draw(devices), a=draw(st.integers(0, 1)), flags=draw(live), **common)
    values: dict[str, Any] = {"key": draw(st.integers(1, 2)), "raw_us": draw(st.sampled_from([0, NOW_US, NOW_US + 5 * HOUR_US]))}
    person, flags = draw(st.sampled_from([None, TOKEN, b"?" * 16])), Flag.HAS_KEY | draw(live)
    device, result = draw(st.just(FACE) | devices), draw(st.sampled_from([*Result, 9]))
    return Event(device=device, aux=Method.FACE, a=result, b=1, person=person, flags=flags, **values, **common)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A frame as it was sent."""

    gateway: str
    stream: int
    seq: int
    oldest: int
    events: list[Event]
    broken: bool
    message: Message


@st.composite
def traffic(draw: st.DrawFn) -> list[Sent]:
    """Frames of three streams; some come twice, some are held back, broken or given up."""
    senders = [("gw-hc01", Sender()), ("gw-hc01", Sender(stream=0xB7)), ("gw-hc02", Sender("gw-hc02", 4))]
    sent: list[Sent] = []
    for _ in range(draw(st.integers(2, 14))):
        code, sender = draw(st.sampled_from(senders))
        fate = draw(st.sampled_from(["ok", "ok", "ok", "twice", "broken", "held back", "given up"]))
        carried = draw(st.lists(events(), min_size=1, max_size=8))
        oldest = sender.seq + 2 if fate == "given up" else 1
        message = sender.frame(*carried, skip=int(fate == "given up"), oldest=oldest)
        if fate == "broken":
            message = replace(message, payload=message.payload[:-1] + bytes([message.payload[-1] ^ 1]))
        frame = Sent(
            gateway=code,
            stream=sender.stream,
            seq=sender.seq,
            oldest=oldest,
            events=carried,
            broken=fate == "broken",
            message=message,
        )
        sent += [frame] * {"twice": 2, "held back": 0}.get(fate, 1)
    return sent


@dataclass
class Plain:
    """The reference: one event after another."""

    town: dict[str, int]
    person: int
    cursors: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    rows: list[tuple[int, ...]] = field(default_factory=list)
    passages: list[tuple[int, ...]] = field(default_factory=list)
    lost: list[tuple[int, int, int]] = field(default_factory=list)
    quarantined: list[tuple[int, int]] = field(default_factory=list)
    unclaimed: Counter[tuple[str, str]] = field(default_factory=Counter)
    rollups: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * 5))
    records: set[tuple[int, ...]] = field(default_factory=set)
    totals: dict[tuple[int, int], tuple[int, int, int]] = field(default_factory=dict)

    def frame(self, f: Sent) -> None:
        """Take a frame."""
        stream = f.gateway, f.stream
        expected = self.cursors[stream] + 1
        if f.seq < expected or (f.seq > expected and f.oldest < f.seq):
            return
        if f.seq > expected:
            self.lost.append((f.stream, expected, f.seq - 1))
        self.cursors[stream] = f.seq
        if f.broken:
            self.quarantined.append((f.stream, f.seq))
            return
        for n, e in enumerate(f.events):
            self.event(f.gateway, e, (f.stream, f.seq, n))

    def event(self, gateway: str, e: Event, source: tuple[int, int, int]) -> None:
        """Take an event; source: stream, seq, and its number in the frame."""
        device = self.town.get(f"dev:{gateway} {e.device}")
        if device is None:
            self.unclaimed[gateway, e.device] += 1
            return
        if e.flags & Flag.HAS_KEY:
            record = device, int(e.kind), e.aux, e.key, e.raw_us or e.t_us
            if record in self.records:
                return
            self.records.add(record)
        site = {"gw-hc01": "HC01", "gw-hc02": "HC02"}[gateway]
        place = self.town[f"place:{site}/{'canteen' if e.device == FACE else 'door'}"]
        came, went = self.counted(device, e)
        hour = self.rollups[place, e.t_us // HOUR_US * HOUR_US]
        hour[0] += came
        hour[1] += went
        hour[2] += e.kind == Kind.PASSAGE and e.a == Result.ALLOWED
        hour[3] += e.kind == Kind.CONTACT and e.a == 1 and not e.flags & Flag.REPEAT
        hour[4] += 1
        if e.kind == Kind.PASSAGE:
            person = self.person if e.person == TOKEN else 0
            result = e.a if e.a in list(Result) else 0
            self.passages.append((*source, device, place, e.t_us, e.raw_us, e.key, e.aux, result, e.b, int(e.flags), person))
        else:
            self.rows.append(
                (*source, device, place, e.t_us, e.raw_us, e.a, e.b, e.key, int(e.kind), e.aux, int(e.flags), came, went)
            )

    def counted(self, device: int, e: Event) -> tuple[int, int]:
        """Return the people in and out that an event adds."""
        if e.kind == Kind.COUNT_PERIOD:
            return tuple(n if 0 <= n <= 1_000_000 else 0 for n in (e.a, e.b))  # type: ignore[return-value]  # two of them
        modulus = 2**16 if e.flags & Flag.WRAP16 else 2**32
        if e.kind != Kind.COUNT_TOTAL or e.flags & Flag.LATE or not (0 <= e.a < modulus and 0 <= e.b < modulus):
            return 0, 0
        last = self.totals.get((device, e.aux))
        if last and e.t_us < last[0]:
            return 0, 0
        self.totals[device, e.aux] = e.t_us, e.a, e.b
        if not last:
            return 0, 0
        most = min(100 + 2 * ((e.t_us - last[0]) // 1_000_000), modulus // 4)
        steps, restarted = [], False
        for before, now in zip(last[1:], (e.a, e.b), strict=True):
            step = now - before
            if step < 0:
                step += modulus
                restarted |= bool(e.flags & Flag.DAILY) or not 0 <= step <= most
            steps.append(step)
        came, went = (e.a, e.b) if restarted else steps
        return (came if came <= 1_000_000 else 0), (went if went <= 1_000_000 else 0)


def cut(frames: list[Sent], cuts: list[int]) -> Iterator[list[Message]]:
    """Cut the traffic into transactions."""
    at = 0
    for size in [*cuts, len(frames)]:
        if at < len(frames):
            yield [f.message for f in frames[at : at + size]]
        at += size


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=traffic(), cuts=st.lists(st.integers(1, 5), max_size=6), restart=st.sampled_from([0, 1, 2, 99]))
def test_what_is_stored_is_what_one_event_after_another_gives(
    conn: Conn, dsn: str, town: dict[str, int], frames: list[Sent], cuts: list[int], restart: int
) -> None:
    conn.execute("; ".join(f"DELETE FROM {table}" for table in LOG))  # much faster than TRUNCATE of partitions
    plain = Plain(town, conn.execute("SELECT id FROM person").fetchall()[0][0])
    for f in frames:
        plain.frame(f)
    handed_over = 0
    with ExitStack() as stack:
        s = stack.enter_context(store(dsn))
        for n, messages in enumerate(cut(frames, cuts)):
            if n == restart:
                handed_over += sum(len(b.rows) for b in s.batches)
                s.worker.close()
                s = stack.enter_context(store(dsn))
            s.take(*messages, now_us=NOW_US + n)
        handed_over += sum(len(b.rows) for b in s.batches)
    # The log is ordered by shard; within one, as it came.
    columns = "device, place, t_us, raw_us, a, b, key, kind, aux, flags, d_in, d_out"
    assert log(conn, "event", columns) == by_gateway(town, plain.rows)
    columns = "device, place, t_us, raw_us, key, method, result, list_role, flags, person"
    assert log(conn, "passage", columns) == by_gateway(town, plain.passages)
    assert handed_over == len(plain.rows) + len(plain.passages)
    assert_the_books_agree(conn, town, plain)


def log(conn: Conn, table: str, columns: str) -> list[tuple[int, ...]]:
    """Return rows of a log table in log order, by shard, each with the place in its stream that it came from."""
    columns = ", ".join(f"e.{column.strip()}" for column in columns.split(","))
    query = f"SELECT f.stream, f.seq, e.ordinal - f.first, {columns} FROM {table} e {SOURCE} ORDER BY e.shard, e.pos, e.ordinal"
    return conn.execute(query.encode()).fetchall()


def by_gateway(town: dict[str, int], rows: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Sort by the shard of the device's gateway and keep the order otherwise."""
    second = {device for name, device in town.items() if name.startswith("dev:gw-hc02")}
    return sorted(rows, key=lambda row: row[3] in second)


def assert_the_books_agree(conn: Conn, town: dict[str, int], plain: Plain) -> None:
    """Compare all that is kept beside the rows."""
    rollups = conn.execute(
        "SELECT place, hour_us, people_in, people_out, passages, openings, events FROM rollup_hour ORDER BY place, hour_us"
    ).fetchall()
    assert rollups == [(*key, *plain.rollups[key]) for key in sorted(plain.rollups)]
    cursors = {(gateway, stream): seq for gateway, stream, seq in conn.execute("SELECT * FROM cursor").fetchall()}
    assert cursors == {(town[f"gw:{code}"], stream): seq for (code, stream), seq in plain.cursors.items() if seq}
    assert conn.execute("SELECT stream, from_seq, to_seq FROM loss ORDER BY 1, 2").fetchall() == sorted(plain.lost)
    assert conn.execute("SELECT stream, seq FROM quarantine ORDER BY 1, 2").fetchall() == sorted(plain.quarantined)
    unclaimed = conn.execute("SELECT g.code, u.identity, u.events FROM unclaimed u JOIN gateway g ON g.id = u.gateway").fetchall()
    assert {(code, identity): n for code, identity, n in unclaimed} == plain.unclaimed
