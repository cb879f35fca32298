"""What a sensor proves about an interval."""

import pytest

from analytics.rules import GAP_US
from analytics.sight import KEPT, Sight, View, judge
from ingest.columns import BlindSpan, Coverage

MIN = 60_000_000


def view(*spans: tuple[int, int], blind: tuple[tuple[str, int, int | None], ...] = ()) -> View:
    """A gateway's view, in minutes."""
    v = View()
    for n, (a, b) in enumerate(spans):
        v.extend(Coverage(gateway=1, stream=n, from_us=a * MIN, through_us=b * MIN))
    for source, a, b2 in blind:
        to_us = None if b2 is None else b2 * MIN
        v.blind(BlindSpan(gateway=1, source=source, from_us=a * MIN, to_us=to_us, reason="x"))
    v.find_holes()
    return v


def sight(v: View, s: int, e: int, *, active: int = 0, heard: int = 0, alive: int = 30) -> Sight:
    """Judge in minutes."""
    return judge(v, "z2m/a", (s * MIN, e * MIN), active_us=active * MIN, heard_us=heard * MIN, alive_every_us=alive * MIN)


@pytest.mark.parametrize(
    ("v", "heard", "expected"),
    [
        (view((0, 200)), 95, Sight.PROVEN_QUIET),  # shortly before the end
        (view((0, 200)), 71, Sight.PROVEN_QUIET),
        (view((0, 200)), 70, Sight.UNKNOWN),  # alive_every before it: too long
        (view((0, 200)), 100, Sight.PROVEN_QUIET),  # after it, however late
        (view((0, 200)), 190, Sight.PROVEN_QUIET),
        (view((0, 200)), 0, Sight.UNKNOWN),  # never heard: the gateway alone proves nothing
        (view((0, 99)), 95, Sight.UNKNOWN),  # not through yet
        (view((60, 200)), 95, Sight.UNKNOWN),  # began too late
        (view((0, 70), (76, 200)), 95, Sight.UNKNOWN),  # a hole
        (view((0, 70), (74, 200)), 95, Sight.PROVEN_QUIET),  # too short to count
        (view((0, 200), blind=(("z2m/", 60, 70),)), 95, Sight.UNKNOWN),
        (view((0, 200), blind=(("z2m/", 80, None),)), 95, Sight.UNKNOWN),
        (view((0, 200), blind=(("", 80, 90),)), 95, Sight.UNKNOWN),
        (view((0, 200), blind=(("face/", 60, None),)), 95, Sight.PROVEN_QUIET),  # another's blindness
        (view((0, 200), blind=(("z2m/", 20, 49), ("z2m/", 101, None))), 95, Sight.PROVEN_QUIET),  # at another time
    ],
)
def test_a_sensor_proves_quiet_only_when_it_and_its_gateway_were_there(v: View, heard: int, expected: Sight) -> None:
    assert sight(v, 50, 100, heard=heard) is expected


def test_activity_in_the_interval_is_seen_whatever_else() -> None:
    assert sight(view(), 50, 100, active=50) is Sight.SEEN
    assert sight(view(), 50, 100, active=100) is Sight.SEEN
    assert sight(view((0, 200)), 50, 100, active=101, heard=101) is Sight.PROVEN_QUIET


def test_a_device_is_listened_to_since_the_last_hole_however_short() -> None:
    v = view((0, 70), (72, 200), blind=(("z2m/", 100, 110),))
    assert v.looking_since("z2m/a", 20 * MIN, 60 * MIN) == 20 * MIN
    assert v.looking_since("z2m/a", 20 * MIN, 90 * MIN) == 72 * MIN
    assert v.looking_since("face/a", 80 * MIN, 150 * MIN) == 80 * MIN
    assert v.looking_since("z2m/a", 80 * MIN, 105 * MIN) is None
    assert v.looking_again("z2m/a", 105 * MIN) == 110 * MIN
    assert view((0, 70)).looking_again("z2m/a", 80 * MIN) is None


def test_the_same_blind_span_with_its_end_is_one_gap() -> None:
    v = view((0, 200), blind=(("z2m/", 60, None), ("z2m/", 60, 70)))
    assert [(g.from_us, g.to_us) for g in v.gaps] == [(60 * MIN, 70 * MIN)]


def test_memory_of_streams_and_gaps_is_bounded_and_keeps_the_newest() -> None:
    v = View()
    for n in range(KEPT * 2):
        v.extend(Coverage(gateway=1, stream=n, from_us=n * 100 * MIN, through_us=(n * 100 + 90) * MIN))
        v.find_holes()
    assert (len(v.spans), len(v.gaps)) == (KEPT, KEPT)
    assert v.spans[-1][0] == (KEPT * 2 - 1) * 100 * MIN
    assert GAP_US == 5 * MIN


def test_a_newer_stream_told_before_an_older_one_makes_no_false_hole() -> None:
    v = View()
    for stream, a, b in ((2, 70, 200), (1, 0, 69)):
        v.extend(Coverage(gateway=1, stream=stream, from_us=a * MIN, through_us=b * MIN))
    v.find_holes()
    assert v.gaps == []
