"""The spool: what is answered is on disk, a group is all or nothing, damage is named, and no picture stays."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.blindness import MAX_SPANS, REPEAT_US, REPEATS, Blindness
from gateway.clock import MINUTE_US
from gateway.events import Event, Kind
from gateway.spool import FRAME_BODY_BYTES, FRAME_EVENTS, QUARANTINED, Quarantined, Spool, SpoolError, mask
from gateway.uplink import KEEP_US, Key, Mark, Progress
from gateway.wire import HEADER_BYTES, Blind, Config, PersonLink, decode_body, decode_header

T = 1_780_000_000_000_000


def event(n: int, device: str = "z2m/door", t: int = T, person: bytes | None = None) -> Event:
    return Event(device=device, kind=Kind.CONTACT, t_us=t, received_us=t, a=n, person=person)


def values(spool: Spool) -> list[int]:
    """The `a` of every event held, in order, with header and sizes checked on the way."""
    found: list[int] = []
    for held in spool.held():
        for i, size in enumerate(held.sizes):
            data = spool.frame(Key(held.stream, held.first + i), held.first)
            assert data
            assert len(data) == size
            header = decode_header(data)
            assert (header.stream, header.seq, header.oldest) == (held.stream, held.first + i, held.first)
            found += [int(a) for a in decode_body(data).rows["a"]]
    return found


def test_everything_of_a_group_is_there_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db")
    spool.begin_stream(9, T)
    blind = [Blind(source="z2m/", from_us=T, reason="bridge offline")]
    bad = Quarantined(at_us=T, family="z2m", topic="t", reason="r", detail="d", payload=b"{}", picture=False)
    spool.append([event(1), event(2)], through_us=T + 5, memory={"z2m/door": 1}, quarantine=[bad], blind=blind)
    spool.keep_config(Config(version=3, persons=[PersonLink(device="d", local_id="1", token="00" * 16)]))
    spool.close()
    again = Spool(tmp_path / "s.db")
    assert values(again) == [1, 2]
    assert again.memory() == {"z2m/door": 1}
    assert again.blind() == blind
    assert again.alive_us == T + 5
    assert again.lost is None
    known = again.config()
    assert known
    assert known.version == 3
    assert (tmp_path / "s.db").stat().st_mode & 0o077 == 0
    again.close()


@given(groups=st.lists(st.integers(0, 1300), min_size=1, max_size=4), names=st.integers(1, 700))
def test_a_group_of_any_size_becomes_frames_that_fit_and_whose_watermarks_hold(
    tmp_path_factory: pytest.TempPathFactory, groups: list[int], names: int
) -> None:
    spool = Spool(tmp_path_factory.mktemp("s") / "s.db")
    spool.begin_stream(9, T)
    n, now = 0, T
    for size in groups:
        events = []
        for _ in range(size):
            n, now = n + 1, now + 1
            events.append(event(n, device=f"z2m/{'x' * 100}{n % names}", t=now, person=(n % names).to_bytes(16)))
        sizes = spool.append(events, through_us=now)
        assert all(s <= FRAME_BODY_BYTES + HEADER_BYTES for s in sizes)
    assert values(spool) == list(range(1, n + 1))
    previous = T
    for held in spool.held():
        for i in range(len(held.sizes)):
            data = spool.frame(Key(held.stream, held.first + i), 1)
            assert data
            header, rows = decode_header(data), decode_body(data).rows
            assert len(rows) <= FRAME_EVENTS
            assert previous < min(rows["received_us"]) <= max(rows["received_us"]) <= header.through_us
            assert header.through_us == max(rows["received_us"])  # received one a µs: the next frame's first is just after
            previous = header.through_us
    spool.close()


def test_a_group_that_does_not_fit_the_wire_leaves_nothing_half_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db")
    spool.begin_stream(9, T)
    with pytest.raises(ValueError, match="out of range"):
        spool.append([event(1), event(2**60)], through_us=T, memory={"a": 1})
    assert values(spool) == []
    assert spool.memory() == {}
    assert spool.append([event(3)], through_us=T) != []
    assert spool.seq == 1
    spool.close()


def test_a_full_disk_goes_up_as_an_error_and_keeps_what_was_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db")
    spool.begin_stream(9, T)
    spool.append([event(1)], through_us=T)
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(SpoolError, match="free the disk"):
        spool.append([event(n) for n in range(1000)], through_us=T, memory={"a": 7})
    assert values(spool) == [1]
    assert spool.memory() == {}
    spool._db.execute("PRAGMA max_page_count = 100000")
    spool.append([event(2)], through_us=T)
    assert values(spool) == [1, 2]
    spool.close()


def test_what_was_answered_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from gateway.spool import Spool\n"
        "from gateway.events import Event, Kind\n"
        "s = Spool(pathlib.Path(sys.argv[1])); s.begin_stream(int(sys.argv[2]), 1)\n"
        "n = int(sys.argv[3])\n"
        "while True:\n"
        "    e = [Event(device='d', kind=Kind.ALIVE, t_us=1, received_us=1, a=n + i) for i in range(20)]\n"
        "    s.append(e, through_us=1, memory={'d': n}); n += 20\n"
        "    print(n, flush=True)\n"
    )
    path, answered = tmp_path / "s.db", 0
    for run in range(5):
        args = [sys.executable, "-c", script, str(path), str(run + 1), str(answered)]
        child = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        assert child.stdout
        for _ in range(20 + 7 * run):
            answered = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        for line in child.stdout:
            answered = int(line)
        child.wait()
        child.stdout.close()
        spool = Spool(path)
        assert spool.lost is None
        kept = values(spool)
        assert kept[:answered] == list(range(answered))
        assert len(kept) % 20 == 0  # groups are whole
        assert spool.memory() == {"d": len(kept) - 20}
        answered = len(kept)
        spool.close()


def test_a_damaged_file_is_set_aside_and_the_time_it_may_have_held_is_known(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    spool = Spool(path)
    spool.begin_stream(9, T)
    spool.append([event(n) for n in range(400)], through_us=T)
    spool.delivered(T + 7)
    spool.close()
    raw = bytearray(path.read_bytes())
    raw[4096 : 4096 * 3] = os.urandom(8192)
    path.write_bytes(raw)
    fresh = Spool(path)
    assert fresh.lost == T + 7
    assert fresh.held() == []
    fresh.begin_stream(10, T)
    fresh.append([event(1)], through_us=T)
    fresh.close()
    assert (tmp_path / "s.db.damaged").read_bytes() == raw


def test_a_deleted_file_leaves_the_time_it_may_have_held_and_a_new_one_has_lost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    spool = Spool(path)
    assert spool.lost is None
    spool.delivered(T + 7)
    spool.close()
    again = Spool(path)
    assert again.lost is None
    again.close()
    path.unlink()
    fresh = Spool(path)
    assert fresh.lost == T + 7
    fresh.close()


def test_two_processes_cannot_share_a_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db")
    with pytest.raises(SpoolError, match="end the other gateway"):
        Spool(tmp_path / "s.db")
    spool.close()


def test_acknowledgements_and_deletions_are_kept_and_a_new_epoch_forgets_the_former(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db")
    for stream in (5, 3):
        spool.begin_stream(stream, T)
        for n in range(3):
            spool.append([event(n)], through_us=T)
    progress = Progress(epoch=4, renewed=False, marks={5: [Mark(3, MINUTE_US)], 3: [Mark(1, MINUTE_US)]})
    spool.note(alive_us=T + 1, progress=progress, delete=[Key(5, 2)], blind=None)
    assert [(h.stream, h.first, len(h.sizes), h.marks) for h in spool.held()] == [
        (5, 3, 1, [Mark(3, MINUTE_US)]),
        (3, 1, 3, [Mark(1, MINUTE_US)]),
    ]
    assert spool.frame(Key(5, 2), 1) is None
    spool.note(alive_us=T, progress=Progress(epoch=5, renewed=True, marks={}), delete=[Key(5, 3)], blind=None)
    assert [(h.stream, h.marks) for h in spool.held()] == [(3, [])]
    assert spool.epoch() == 5
    assert spool.alive_us == T + 1  # a clock set back does not hide how long we were down
    spool.close()


def test_the_quarantine_is_bounded_and_keeps_no_picture(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db")
    spool.begin_stream(9, T)
    face = b'{"name": "\xe5\xbc\xa0 Li", "pic": "' + b"QUJD" * 100 + b'"}'
    rows = [Quarantined(at_us=i, family="f", topic="t", reason="r", detail="", payload=face, picture=True) for i in range(1010)]
    spool.append([], through_us=T, quarantine=rows)
    spool.close()
    db = sqlite3.connect(tmp_path / "s.db")
    kept = db.execute("SELECT min(at_us), count(*), max(length(head)), max(length) FROM quarantine").fetchone()
    (head,) = db.execute("SELECT head FROM quarantine LIMIT 1").fetchone()
    db.close()
    assert kept == (1010 - QUARANTINED, QUARANTINED, 128, len(face))
    assert head.startswith(b'{"xxxx": "??? xx", "xxx": "xxxx')
    assert not any(secret in (tmp_path / "s.db").read_bytes() for secret in (b"QUJDQUJD", "张".encode()))


@given(st.binary(max_size=300))
def test_a_masked_head_has_no_letter_or_digit_of_the_original(raw: bytes) -> None:
    masked = mask(raw)
    assert len(masked) == len(raw)
    kept = {m for m, r in zip(masked, raw, strict=True) if m == r}
    assert all(not chr(c).isalnum() or c in b"x0" for c in kept)
    assert all(32 <= m < 127 for m in masked)


def test_a_blind_span_is_told_until_it_was_surely_heard_and_again_after_a_restore() -> None:
    blindness = Blindness()
    blindness.lost("z2m/", T, "bridge offline")
    blindness.lost("z2m/", T + 5, "again")
    assert blindness.report(T + 9) == [Blind(source="z2m/", from_us=T, reason="bridge offline")]
    blindness.back("z2m/", T + 10)
    closed = [Blind(source="z2m/", from_us=T, to_us=T + 10, reason="bridge offline")]
    later = T + 11 + REPEAT_US
    assert blindness.report(later) == closed
    for _ in range(REPEATS):
        blindness.answered()
    assert blindness.report(T + 20) == closed  # heard, but only just now
    assert blindness.report(later) == []
    blindness.renewed()
    assert blindness.report(later) == closed
    assert blindness.kept(T + 2 * KEEP_US) == closed  # never told to the restored backend
    for _ in range(REPEATS):
        blindness.answered()
    assert blindness.kept(T + KEEP_US) == closed
    assert blindness.kept(T + 2 * KEEP_US) == []


@given(st.lists(st.tuples(st.sampled_from(["", "z2m/", "lora/"]), st.integers(1, 50)), max_size=400))
def test_too_many_spans_become_fewer_that_cover_at_least_as_much(spans: list[tuple[str, int]]) -> None:
    blindness, now = Blindness(), T
    wanted = []
    for source, length in spans:
        blindness.note(source, now, now + length, "r")
        wanted.append((source, now, now + length))
        now += 100
    told = blindness.report(now)
    assert len(told) <= MAX_SPANS
    for source, low, high in wanted:
        assert any(b.source == source and b.from_us <= low and (b.to_us or 0) >= high for b in told)
