"""Says why people were or were not told, who is on duty, and what is silenced, in the reader's language."""

from collections.abc import Sequence
from dataclasses import dataclass

from analytics import messages, reasons
from analytics.findings import Rule
from api import duty
from api.reading import AlertRow
from api.web.i18n import Say


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """One decision about telling. link: where its detail leads, "" for nowhere."""

    time: str
    reason: str
    detail: str
    link: str
    to: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceView:
    """A silence as a row says it."""

    id: int
    kind: str
    what: str
    until: str
    author: str
    reason: str
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftView:
    """A shift as a row says it."""

    id: int
    contact: str
    level: str
    where: str
    span: str
    present: bool
    over: bool


def marks(row: AlertRow, say: Say) -> list[str]:
    """Say what is special about an alert: known late, come back, calm, nobody reached."""
    found = [] if row.late else [messages.happened(row.begin_us, row.detected_us, say.lang)]
    if row.count > 1:
        found.append(say("alert.recurred", count=row.count))
    if row.recurs is not None:
        found.append(say("alert.recurs", alert=row.recurs))
    if row.calm_us is not None and row.state in ("open", "acknowledged"):
        found.append(say("alert.calm", time=say.clock(row.calm_us, row.zone)))
    if row.reach == "unreached":
        found.append(say("alert.unreached"))
    return [mark for mark in found if mark]


def decision(row: duty.Decision, to: Sequence[duty.Recipient], zone: str, say: Say) -> DecisionView:
    """Say one decision and what became of its messages."""
    detail, link = "", ""
    if "silence" in row.detail:
        detail, link = say("notice.silence", number=row.detail["silence"]), "/silences"
    elif "alert" in row.detail:
        detail, link = say("notice.alert", alert=row.detail["alert"]), f"/alerts/{row.detail['alert']}"
    reason = say.word("notice_reason", row.reason)
    if row.told:
        reason = f"{reason} · {say.word('level', str(row.level))}"
    return DecisionView(time=say.seconds(row.at_us, zone), reason=reason, detail=detail, link=link, to=[_to(r, say) for r in to])


def _to(recipient: duty.Recipient, say: Say) -> str:
    kind, state = say.word("channel", recipient.kind), say.word("delivery", recipient.state)
    error = f"：{recipient.last_error}" if recipient.last_error and recipient.state in ("pending", "dead") else ""
    return f"{recipient.name}（{kind}）{state}{error}" if say.lang == "zh" else f"{recipient.name} ({kind}): {state}{error}"


def silence(row: duty.Silence, zone: str, say: Say) -> SilenceView:
    """Say what a silence keeps quiet and for how long."""
    parts = [
        say.name(row.site_name, row.site_name_en),
        say.name(row.region_name, row.region_name_en) if row.region_name else (row.area or ""),
        reasons.rule_name(row.rule, say.lang) if row.rule else "",
        say.word("severity", row.severity) if row.severity else "",
        f"{row.subject_kind} {row.subject}" if row.subject else "",
    ]
    return SilenceView(
        id=row.id,
        kind=say.word("silence_kind", row.kind),
        what=" · ".join(part for part in parts if part),
        until=say("silence.span", start=say.clock(row.from_us, zone), end=say.clock(row.to_us, zone)),
        author=row.author,
        reason=row.reason,
        active=row.to_us > say.now_us,
    )


def shift(row: duty.Shift, zone: str, say: Say) -> ShiftView:
    """Say who is on duty where and when."""
    where = (
        say.name(row.site_name, row.site_name_en) if row.site else say.name(row.region_name, row.region_name_en) or row.area or ""
    )
    end = say("roster.open_end") if row.to_us is None else say.clock(row.to_us, zone)
    return ShiftView(
        id=row.id,
        contact=row.contact,
        level=say.word("level", str(row.level)),
        where=where,
        span=say("silence.span", start=say.clock(row.from_us, zone), end=end),
        present=row.from_us <= say.now_us and (row.to_us is None or row.to_us > say.now_us),
        over=row.to_us is not None and row.to_us <= say.now_us,
    )


def rules(say: Say) -> list[tuple[str, str]]:
    """Return the rules to choose from: (name, words)."""
    return [(str(rule), reasons.rule_name(rule, say.lang)) for rule in Rule]
