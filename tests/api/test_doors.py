"""The timeline of a door, by itself."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from api.web.charts.doors import MIN_WIDTH, Mark, Message, Period, State, marks, periods

OPEN, CLOSED, UNKNOWN = State.OPEN, State.CLOSED, State.UNKNOWN


def opens(t_us: int) -> Message:
    """The contact saw the door open."""
    return Message(t_us=t_us, is_open=True, edge=True)


def closes(t_us: int) -> Message:
    """The contact saw the door close."""
    return Message(t_us=t_us, is_open=False, edge=True)


def still(t_us: int, *, is_open: bool) -> Message:
    """The contact repeated its state."""
    return Message(t_us=t_us, is_open=is_open, edge=False)


def said(found: list[Period]) -> list[tuple[int, int, State]]:
    """The periods, short."""
    return [(p.from_us, p.to_us, p.state) for p in found]


def test_a_door_is_what_its_last_message_said() -> None:
    found = periods([closes(-5), opens(10), closes(40)], [], 0, 100)
    assert said(found) == [(0, 10, CLOSED), (10, 40, OPEN), (40, 100, CLOSED)]


def test_nothing_is_known_before_the_first_message_and_without_any() -> None:
    assert said(periods([opens(10)], [], 0, 100)) == [(0, 10, UNKNOWN), (10, 100, OPEN)]
    assert said(periods([], [], 0, 100)) == [(0, 100, UNKNOWN)]


def test_while_nobody_listens_nothing_is_known_until_the_door_is_heard_again() -> None:
    assert said(periods([closes(0)], [(30, 50)], 0, 100)) == [(0, 30, CLOSED), (30, 100, UNKNOWN)]


def test_the_first_message_after_a_gap_says_how_the_door_was_before_it() -> None:
    found = periods([closes(0), opens(70)], [(30, 50)], 0, 100)
    assert said(found) == [(0, 30, CLOSED), (30, 50, UNKNOWN), (50, 70, CLOSED), (70, 100, OPEN)]
    found = periods([closes(0), still(70, is_open=True)], [(30, 50)], 0, 100)
    assert said(found) == [(0, 30, CLOSED), (30, 50, UNKNOWN), (50, 100, OPEN)]


def test_messages_that_disagree_leave_the_time_between_them_unknown() -> None:
    found = periods([opens(0), opens(60)], [], 0, 100)  # the closing between them was lost
    assert said(found) == [(0, 60, UNKNOWN), (60, 100, OPEN)]


def test_what_a_device_kept_while_nobody_listened_counts_as_heard() -> None:
    found = periods([closes(0), opens(40), closes(50), opens(80)], [(30, 60)], 0, 100)
    assert said(found) == [
        (0, 30, CLOSED),
        (30, 40, UNKNOWN),
        (40, 50, OPEN),
        (50, 60, UNKNOWN),
        (60, 80, CLOSED),
        (80, 100, OPEN),
    ]


MESSAGES = st.lists(st.builds(Message, t_us=st.integers(-50, 300), is_open=st.booleans(), edge=st.booleans()), max_size=12).map(
    lambda found: sorted(found, key=lambda m: m.t_us)
)
GAPS = st.lists(st.tuples(st.integers(-50, 250), st.integers(1, 80)).map(lambda g: (g[0], g[0] + g[1])), max_size=5)


@given(MESSAGES, GAPS)
def test_periods_cover_the_whole_time_once_and_change_at_each_step(messages: list[Message], gaps: list[tuple[int, int]]) -> None:
    found = periods(messages, gaps, 0, 200)
    assert found[0].from_us == 0
    assert found[-1].to_us == 200
    for a, b in itertools.pairwise(found):
        assert a.to_us == b.from_us
        assert a.state is not b.state
    assert all(p.from_us < p.to_us for p in found)


@given(MESSAGES, GAPS)
def test_a_gap_without_messages_is_never_called_open_or_closed(messages: list[Message], gaps: list[tuple[int, int]]) -> None:
    for a, b in gaps:
        quiet = not any(a <= m.t_us <= b for m in messages)
        merged = [g for g in gaps if g[0] <= b and g[1] >= a]
        if quiet and len(merged) == 1:
            for p in periods(messages, gaps, 0, 200):
                assert p.state is UNKNOWN or p.to_us <= a or p.from_us >= b


@given(MESSAGES, GAPS)
def test_marks_stay_on_the_line_and_are_wide_enough_to_see(messages: list[Message], gaps: list[tuple[int, int]]) -> None:
    for mark in marks(periods(messages, gaps, 0, 200), 0, 1_000_000):
        assert mark.left >= 0
        assert mark.left + mark.width <= 100.001
        assert mark.width >= MIN_WIDTH - 0.001


def test_marks_lie_in_per_cent_of_the_line() -> None:
    found = [Period(from_us=0, to_us=250, state=CLOSED), Period(from_us=250, to_us=500, state=OPEN)]
    assert marks(found, 0, 1000) == [Mark(left=0, width=25, state=CLOSED), Mark(left=25, width=25, state=OPEN)]


def test_what_lies_outside_the_line_is_cut_off() -> None:
    assert marks([Period(from_us=0, to_us=500, state=OPEN)], 100, 300) == [Mark(left=0, width=100, state=OPEN)]
    assert marks([Period(from_us=0, to_us=500, state=OPEN)], 500, 900) == []


def test_people_going_in_and_out_all_day_are_few_marks_and_no_door_that_stood_open() -> None:
    messages = [m for n in range(1000) for m in (opens(n * 100), closes(n * 100 + 1))]
    found = marks(periods(messages, [], 0, 100_000), 0, 100_000)
    assert len(found) < 100
    assert all(m.brief for m in found if m.state is OPEN)
    assert marks([Period(from_us=0, to_us=30, state=OPEN)], 0, 100) == [Mark(left=0, width=30, state=OPEN, brief=False)]
