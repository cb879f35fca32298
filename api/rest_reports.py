"""Reports over REST: figures, files, what is behind a figure, corrections, acceptances.

One decision: figures are named as in the tables of a report, so that a program and a spreadsheet speak of the same.
"""

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api import acceptance, audit, evidence, report_evidence, report_period, reports
from api.access import Installer, Registrar, Reporter
from api.accounts import Principal
from api.console import console
from api.errors import BadRequest
from api.exports import MEDIA
from api.report_evidence import Events, What
from api.report_figures import Figures, Sensor, SiteReport
from api.report_tables import METRICS, RULES
from api.reports import Report, Scope
from api.web.i18n import Say
from gateway.clock import now_us

router = APIRouter(prefix="/api/v1")

Period = Annotated[str, Query(description="2026-11, 2026-Q4, 2026 or 2026-11-03..2026-11-17 (both days included)", max_length=30)]
SiteCode = Annotated[str | None, Query(description="Code of a site; without it, the sites of the region", max_length=100)]
Region = Annotated[str, Query(description="Beginning of region codes: a county, a town or a village; empty: all", max_length=12)]
Form = Literal["xlsx", "csv", "json"]


class FigureSet(BaseModel):
    """measured: by name, null where there is none. corrected: those that people have corrected. seen_percent: of the planned
    hours, how much the sensors concerned could see: opening, footfall, service."""

    measured: dict[str, float | int | str | None]
    corrections: dict[str, int]
    corrected: dict[str, int]
    seen_percent: dict[str, float | None]


class SiteFigures(FigureSet):
    """The figures of a site."""

    code: str
    name: str
    name_en: str
    region: str


class ReportBody(BaseModel):
    """A report. rules: how everything is counted, by language."""

    site: str | None
    region: str
    name: str
    name_en: str
    period: str
    first: date
    last: date
    through_us: int
    rules: dict[str, dict[str, str]]
    total: FigureSet
    sites: list[SiteFigures]


class DayFigures(BaseModel):
    """A local day of a site. opened: null where it cannot be judged. seen_percent: by kind of sensors."""

    day: date
    planned_minutes: int
    opened: bool | None
    first_us: int | None
    last_us: int | None
    people_in: int
    people_out: int
    served: int
    anonymous: int
    staff: int
    meals: int
    seen_percent: dict[str, float | None]


class SensorFigures(BaseModel):
    """What watches a place. blind_us: [from, to) in which it could not see."""

    model_config = ConfigDict(from_attributes=True)

    place: str
    name: str
    room: str
    classes: list[str]
    identities: list[str]
    mounted_us: int
    holes: list[tuple[int, int]]


class Correct(BaseModel):
    """What should be added to a day's figure, and why; to take a correction back, add the opposite."""

    model_config = ConfigDict(extra="forbid")

    day: date
    what: Literal["opening_days", "footfall", "served", "meals"]
    delta: Annotated[int, Field(gt=-1_000_000, lt=1_000_000)]
    reason: Annotated[str, Field(min_length=1, max_length=reports.MAX_REASON)]


class CorrectionBody(BaseModel):
    """A correction as it stands."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    site: str
    day: date
    what: str
    delta: int
    reason: str
    author: str
    at_us: int


class Accept(BaseModel):
    """Over how many whole days before today."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Field(ge=1, le=acceptance.MOST_DAYS)] = 7


class AcceptanceBody(BaseModel):
    """A signed acceptance. signature: Ed25519 over the record as JSON with sorted keys."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    made_us: int
    author: str
    passed: bool
    record: dict[str, Any]
    signature: str


async def read(request: Request, who: Principal, site: str | None, region: str, period: str) -> Report:
    """Read a report for someone. Raises NotFound, BadRequest."""
    state = console(request)
    async with state.scoped(who) as conn:
        scope = Scope(site=site or None, region="" if site else region)
        parsed = report_period.parse(period)
        return await reports.read(conn, scope, parsed, now_us(), who.sites, state.settings.country)


@router.get("/reports")
async def report(request: Request, who: Reporter, period: Period, site: SiteCode = None, region: Region = "") -> ReportBody:
    """The report of a site or region."""
    found = await read(request, who, site, region, period)
    said = {lang: {key: Say(lang, found.through_us)("count_rule." + key) for key in RULES} for lang in ("zh", "en")}
    return ReportBody(
        site=found.scope.site,
        region=found.scope.region,
        name=found.name,
        name_en=found.name_en,
        period=found.period.text,
        first=found.period.first,
        last=found.period.last,
        through_us=found.through_us,
        rules=said,
        total=FigureSet(**_figures(found.total)),
        sites=[
            SiteFigures(code=s.site.code, name=s.site.name, name_en=s.site.name_en, region=s.site.region, **_figures(s.figures))
            for s in found.sites
        ],
    )


@router.get("/reports/export", response_class=Response, responses={200: {"content": {m: {} for m in MEDIA.values()}}})
async def export(
    request: Request,
    who: Reporter,
    period: Period,
    site: SiteCode = None,
    region: Region = "",
    form: Annotated[Form, Query(alias="format")] = "xlsx",
    table: Annotated[str, Query(description="The table that a CSV holds", max_length=20)] = "summary",
    lang: Literal["zh", "en"] = "zh",
) -> Response:
    """A report as a file with its signed manifest; `smartcare evidence verify` checks it."""
    state = console(request)
    async with state.scoped(who) as conn:
        scope = Scope(site=site or None, region="" if site else region)
        found = await reports.read(conn, scope, report_period.parse(period), now_us(), who.sites, state.settings.country)
    body = evidence.export(await state.signing_key(), found, lang, who.name, form, table=table)
    name = f"smartcare-{scope.region or 'all'}-{period}.{form}" if not site else f"smartcare-site-{period}.{form}"
    return Response(body, media_type=MEDIA[form], headers={"content-disposition": f'attachment; filename="{name}"'})


@router.get("/reports/sites/{code}/days")
async def days(request: Request, who: Reporter, code: str, period: Period) -> list[DayFigures]:
    """The days that a site's figures are sums of."""
    return [
        DayFigures(
            **{n: getattr(d, n) for n in DayFigures.model_fields if n not in ("planned_minutes", "seen_percent")},
            planned_minutes=d.planned_us // 60_000_000,
            seen_percent={kind: round(100 * seen / of, 1) if of else None for kind, (seen, of) in d.seen.items()},
        )
        for d in (await one(request, who, code, period)).days
    ]


@router.get("/reports/sites/{code}/sensors")
async def sensors(request: Request, who: Reporter, code: str, period: Period) -> list[SensorFigures]:
    """A site's sensors, and when each could not see."""
    return [_sensor(s) for s in (await one(request, who, code, period)).sensors]


@router.get("/reports/sites/{code}/events")
async def events(
    request: Request,
    who: Reporter,
    code: str,
    day: date,
    what: What,
    after: Annotated[str | None, Query(max_length=60)] = None,
) -> Events:
    """The stored events of a local day that a figure is made of, oldest first, each with the frame that brought it."""
    async with console(request).scoped(who) as conn:
        (row,) = await reports.sites_of(conn, Scope(site=code), who.sites)
        return await report_evidence.events(conn, row, day, what, after)


@router.get("/reports/sites/{code}/corrections")
async def corrections(request: Request, who: Reporter, code: str, period: Period) -> list[CorrectionBody]:
    """A site's corrections, in the order in which they were entered."""
    return [CorrectionBody.model_validate(c) for c in (await one(request, who, code, period)).corrections]


@router.post("/reports/sites/{code}/corrections", status_code=201)
async def correct(request: Request, who: Registrar, code: str, body: Correct) -> CorrectionBody:
    """Enter a correction: it stands beside what was measured."""
    return CorrectionBody(**await entered(request, who, code, body.day, body.what, body.delta, body.reason))


@router.get("/sites/{code}/acceptances")
async def acceptances(request: Request, who: Reporter, code: str) -> list[AcceptanceBody]:
    """A site's signed acceptances, newest first."""
    async with console(request).scoped(who) as conn:
        await reports.sites_of(conn, Scope(site=code), who.sites)
        return [AcceptanceBody.model_validate(r) for r in await acceptance.records(conn, code, who.sites)]


@router.post("/sites/{code}/acceptances", status_code=201)
async def accept(request: Request, who: Installer, code: str, body: Accept) -> AcceptanceBody:
    """Judge a site's last days and sign the record."""
    return AcceptanceBody.model_validate(await accepted(request, who, code, body.days))


async def one(request: Request, who: Principal, code: str, period: str) -> SiteReport:
    """Return one site's report. Raises NotFound, BadRequest."""
    return (await read(request, who, code, "", period)).sites[0]


async def entered(request: Request, who: Principal, code: str, day: date, what: str, delta: int, reason: str) -> dict[str, Any]:
    """Enter a correction, audited; returns it. Raises NotFound, BadRequest."""
    if not 2000 <= day.year <= 2099:
        raise BadRequest(f"a day between 2000 and 2099 was expected, not {day}")
    now = now_us()
    async with console(request).scoped(who) as conn:
        (row,) = await reports.sites_of(conn, Scope(site=code), who.sites)
        number = await reports.correct(conn, row["id"], day, what, delta, reason, who.name, now)
        said = {"day": day.isoformat(), "what": what, "delta": delta, "reason": reason.strip()}
        await audit.write(conn, who, action="report.corrected", subject=f"site/{code}", detail=said)
    return said | {"id": number, "site": code, "author": who.name, "at_us": now}


async def accepted(request: Request, who: Principal, code: str, days: int) -> acceptance.Signed:
    """Make an acceptance, audited. Raises NotFound, BadRequest."""
    state = console(request)
    key = await state.signing_key()
    async with state.scoped(who) as conn:
        made = await acceptance.make(conn, key, code, days, who.name, now_us(), who.sites, state.settings.country)
        said = {"id": made.id, "passed": made.passed, "days": days}
        await audit.write(conn, who, action="site.accepted", subject=f"site/{code}", detail=said)
    return made


def _figures(f: Figures) -> dict[str, Any]:
    kinds = {"opening": "all", "footfall": "counter", "service": "terminal"}
    shares = {name: f.seen_share(kind) for name, kind in kinds.items()}
    return {
        "measured": {m.key: m.value(f) for m in METRICS},
        "corrections": dict(f.corrections),
        "corrected": {what: f.corrected(what) for what in f.corrections},
        "seen_percent": {name: None if share is None else round(100 * share, 1) for name, share in shares.items()},
    }


def _sensor(s: Sensor) -> SensorFigures:
    return SensorFigures.model_validate(s)
