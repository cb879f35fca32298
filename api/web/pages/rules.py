"""The rules of a site: every setting with its default, what differs, and a preview of what other numbers would have raised.

One decision: numbers are tried before they are saved with the same form; only what differs from the defaults is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from analytics import reasons
from analytics.rules import DEFAULT, KINDS, compile_rules
from api import previews, reading, registering
from api.access import Reader, Registrar
from api.accounts import Principal
from api.console import console
from api.errors import BadRequest, NotFound
from api.preview_job import Request as Asked
from api.registering import Connection
from api.web.forms import form
from api.web.i18n import Say
from api.web.page import say_for, show
from gateway.clock import now_us
from ingest.declaration import RegisterError

router = APIRouter(include_in_schema=False)
MOST = 1e6
LISTED = 50
"""Alerts that a preview lists of each side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingView:
    """A number of a rule."""

    name: str
    words: str
    value: str
    default: str
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    """A rule with its settings. differs: this site has numbers of its own."""

    name: str
    words: str
    settings: list[SettingView]
    differs: bool


@router.get("/sites/{code}/rules")
async def rules(request: Request, who: Reader, code: str) -> Response:
    """Every rule with this site's numbers."""
    say = say_for(request)
    async with console(request).scoped(who) as conn:
        row = await _row(conn, who, code)
    shown = [_rule(rule, row["rules"], say) for rule in KINDS]
    name = say.name(row["name"], row["name_en"])
    return show(request, "site_rules.html", who=who, say=say, here="sites", code=code, name=name, rules=shown, days=previews.DAYS)


@router.post("/sites/{code}/rules")
async def change(request: Request, who: Registrar, code: str) -> Response:
    """Save a rule's numbers, set it back to the defaults, or try the numbers on the last 30 days: do = save, reset, preview."""
    given = await form(request)
    rule, do = given.get("rule", ""), given.get("do", "")
    if rule not in KINDS:
        raise BadRequest(f"a rule is one of {', '.join(KINDS)}")
    numbers = {} if do == "reset" else _numbers(rule, given)
    if do == "preview":
        return await _preview(request, who, code, rule, numbers)
    async with console(request).scoped(who) as conn:
        row = await _row(conn, who, code)
        default = getattr(DEFAULT, rule)
        own = {name: value for name, value in numbers.items() if value != getattr(default, name)}
        changed = {name: values for name, values in row["rules"].items() if name != rule} | ({rule: own} if own else {})
        try:
            await registering.put(conn, who, {"sites": [row | {"rules": changed}]}, now_us())
        except RegisterError as refused:
            raise BadRequest(str(refused)) from refused
    return RedirectResponse(f"/sites/{code}/rules#{rule}", 303)


async def _preview(request: Request, who: Principal, code: str, rule: str, numbers: dict[str, float]) -> Response:
    state = console(request)
    async with state.scoped(who) as conn:
        sites = await reading.sites(conn, who.sites, code)
        if not sites:
            raise NotFound(f"there is no site {code!r}")
        last = await (await conn.execute(registering.SQL["last_pos"], {"shard": sites[0].shard})).fetchone()
    from_us, to_us = previews.span(now_us())
    asked = Asked(
        database_url=state.settings.database_url,
        shard=sites[0].shard,
        last=int(last[0]) if last else 0,
        site=sites[0].id,
        code=code,
        settings={rule: numbers},
        from_us=from_us,
        to_us=to_us,
    )
    return RedirectResponse(f"/sites/{code}/previews/{state.previews.start(rule, asked).id}", 303)


@router.get("/sites/{code}/previews/{number}")
async def preview(request: Request, who: Registrar, code: str, number: int) -> Response:
    """How far a preview is, then what it found; the page looks again by itself."""
    state, say = console(request), say_for(request)
    found = state.previews.find(number)
    async with state.scoped(who) as conn:
        sites = await reading.sites(conn, who.sites, code)
    if not sites or found.request.code != code:
        raise NotFound(f"there is no site {code!r}")
    before, after = (_lines(raised, sites[0].zone, say) for raised in (found.before, found.after))
    keys = [{line[0] for line in lines} for lines in (before, after)]
    return show(
        request,
        "preview.html",
        who=who,
        say=say,
        here="sites",
        code=code,
        name=say.name(sites[0].name, sites[0].name_en),
        preview=found,
        rule=reasons.rule_name(found.rule, say.lang),
        numbers=[
            (say.word("setting", f"{found.rule}-{name}"), f"{v:g}") for name, v in found.request.settings[found.rule].items()
        ],
        counts=(len(before), len(after)),
        gone=[line[1:] for line in before if line[0] not in keys[1]][:LISTED],
        new=[line[1:] for line in after if line[0] not in keys[0]][:LISTED],
        days=previews.DAYS,
    )


def _lines(raised: list[dict[str, Any]], zone: str, say: Say) -> list[tuple[tuple[object, ...], str, str]]:
    return [
        (
            (r["rule"], r["subject_kind"], r["subject"], r["episode"]),
            say.clock(r["at_us"], zone),
            reasons.render(r["rule"], r["reason"], say.lang, zone),
        )
        for r in raised
    ]


def _rule(rule: str, own: Mapping[str, Mapping[str, float]], say: Say) -> RuleView:
    default, present = getattr(DEFAULT, rule), getattr(compile_rules(own), rule)
    settings = [
        SettingView(
            name=f.name,
            words=say.word("setting", f"{rule}-{f.name}"),
            value=f"{getattr(present, f.name):g}",
            default=f"{getattr(default, f.name):g}",
            differs=getattr(present, f.name) != getattr(default, f.name),
        )
        for f in fields(default)
    ]
    differs = any(s.differs for s in settings)
    return RuleView(name=rule, words=reasons.rule_name(rule, say.lang), settings=settings, differs=differs)


def _numbers(rule: str, given: Mapping[str, str]) -> dict[str, float]:
    """Read the numbers of a rule's form. Raises BadRequest."""
    found = {}
    for f in fields(KINDS[rule]):
        text = given.get(f.name, "").strip()
        try:
            value = float(text)
        except ValueError as error:
            raise BadRequest(f"{rule}.{f.name} is a number") from error
        if not 0 <= value <= MOST:  # NaN is neither
            raise BadRequest(f"{rule}.{f.name} lies between 0 and {MOST:g}")
        found[f.name] = value
    return found


async def _row(conn: Connection, who: Principal, code: str) -> dict[str, Any]:
    found = await registering.rows(conn, who, "sites", code)
    if not found:
        raise NotFound(f"there is no site {code!r}")
    return dict(found[0])
