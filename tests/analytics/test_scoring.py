"""Alerts matched with what really happened."""

import pytest

from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from analytics.scoring import Alert, Score, Truth, alerts_of, score
from gateway.clock import HOUR_US, MINUTE_US

T = 1_789_948_800_000_000


def truth(rule: str | None = "stuck", begin_h: float = 0, end_h: float = 2, *, also: tuple[str, ...] = ()) -> Truth:
    """An incident at site s, about device d."""
    return Truth(
        incident="case",
        rule=rule,
        subjects=["d"],
        sites=["s"],
        begin_us=T + round(begin_h * HOUR_US),
        end_us=T + round(end_h * HOUR_US),
        also=list(also),
    )


def alert(rule: str = "stuck", at_h: float = 1, *, subject: str = "d", site: str = "s") -> Alert:
    at = T + round(at_h * HOUR_US)
    return Alert(rule=rule, subject=subject, site=site, since_us=at, begin_us=at)


def of(rule: str, scores: list[Score]) -> Score:
    return next(s for s in scores if s.rule == rule)


def test_an_alert_about_the_right_subject_at_the_right_time_finds_the_incident() -> None:
    s = of("stuck", score([truth()], [alert()])[0])
    assert (s.incidents, s.found, s.right, s.false, s.precision, s.recall, s.delay_s) == (1, 1, 1, 0, 1.0, 1.0, 3600)


@pytest.mark.parametrize(
    "wrong", [alert(subject="e"), alert(at_h=2.6), alert(at_h=-0.6)], ids=["subject", "too late", "too early"]
)
def test_an_alert_about_another_subject_or_time_is_false_and_finds_nothing(wrong: Alert) -> None:
    s = of("stuck", score([truth()], [wrong])[0])
    assert (s.found, s.right, s.false, s.precision, s.recall, s.delay_s) == (0, 0, 1, 0.0, 0.0, None)


def test_an_alert_of_another_rule_is_false_for_that_rule() -> None:
    scores, _ = score([truth()], [alert("flapping")])
    assert (of("flapping", scores).false, of("flapping", scores).recall) == (1, None)
    assert (of("stuck", scores).found, of("stuck", scores).precision) == (0, None)


def test_what_follows_from_an_incident_is_neither_right_nor_wrong() -> None:
    silent = alert("device_silent", subject="other")
    scores, _ = score([truth(also=("device_silent",))], [silent, alert()])
    s = of("device_silent", scores)
    assert (s.alerts, s.excused, s.false, s.precision) == (1, 1, 0, None)
    elsewhere = alert("device_silent", subject="other", site="far")
    assert of("device_silent", score([truth(also=("device_silent",))], [elsewhere])[0]).false == 1


def test_two_quarters_of_an_hour_are_forgiven_at_both_ends() -> None:
    late = alert(at_h=2.5)
    early = alert(at_h=-0.5)
    for one in (late, early):
        assert of("stuck", score([truth()], [one])[0]).found == 1


def test_what_an_alert_is_about_may_begin_long_before_it() -> None:
    daily = Alert(rule="stuck", subject="d", site="s", since_us=T, begin_us=T + 20 * HOUR_US)
    s = of("stuck", score([truth()], [daily])[0])
    assert (s.found, s.delay_s) == (1, 20 * 3600)


def test_several_alerts_about_one_incident_are_right_and_the_first_gives_the_delay() -> None:
    s = of("stuck", score([truth()], [alert(at_h=1.5), alert(at_h=0.5)])[0])
    assert (s.right, s.found, s.delay_s) == (2, 1, 1800)


def test_the_delay_is_the_median_of_the_incidents_that_were_found() -> None:
    truths = [truth(begin_h=h, end_h=h + 1) for h in (0, 10, 20, 30)]
    alerts = [alert(at_h=h + d / 60) for h, d in ((0, 10), (10, 20), (20, 50))]
    s = of("stuck", score(truths, alerts)[0])
    assert (s.found, s.recall, s.delay_s) == (3, 0.75, 1200)


def test_incidents_that_should_raise_nothing_are_disturbed_by_what_is_false_there() -> None:
    quiet = [truth(None), truth(None, 10, 12)]  # both at site s
    _, told = score(quiet, [alert("flapping", subject="x"), alert("flapping", at_h=10.5, site="far", subject="y")])
    assert [(q.incident, q.incidents, q.disturbed) for q in told] == [("case", 2, 1)]
    _, told = score([*quiet, truth("flapping")], [alert("flapping")])
    assert told[0].disturbed == 0, "an alert about something else that happened there does not disturb"


def test_only_what_begins_in_the_judged_time_counts_but_earlier_incidents_explain() -> None:
    during = (T + HOUR_US, T + 100 * HOUR_US)
    scores, _ = score([truth(), truth(begin_h=50, end_h=51)], [alert(at_h=0.5), alert(at_h=1.5)], during=during)
    s = of("stuck", scores)
    assert (s.incidents, s.found, s.alerts, s.right) == (1, 0, 1, 1)


def test_findings_fold_into_alerts_and_what_was_taken_back_is_none() -> None:
    def finding(phase: Phase, at_us: int, episode: int) -> Finding:
        return Finding(
            shard=1,
            rule=Rule.STUCK,
            subject_kind=SubjectKind.DEVICE,
            subject=4,
            site=2,
            episode=episode,
            phase=phase,
            at_us=at_us,
            severity=Severity.MINOR,
            reason={},
        )

    steps = [(Phase.BEGIN, 5), (Phase.CONTINUE, 6), (Phase.END, 8)]
    found = [finding(phase, T + n * MINUTE_US, T) for phase, n in steps]
    found += [finding(Phase.BEGIN, T + HOUR_US, T + 1), finding(Phase.RETRACT, T + 2 * HOUR_US, T + 1)]
    found += [finding(Phase.BEGIN, T + 3 * HOUR_US, T + 2), finding(Phase.END, T, T + 9)]
    codes = {"device": {4: "z2m/d"}, "site": {2: "s"}}
    assert alerts_of(found, codes) == [
        Alert(rule="stuck", subject="z2m/d", site="s", since_us=T, begin_us=T + 5 * MINUTE_US),
        Alert(rule="stuck", subject="z2m/d", site="s", since_us=T + 2, begin_us=T + 3 * HOUR_US),
    ]
