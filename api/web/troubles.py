"""Says on the page what is wrong with the system itself, the gravest first, and what it means for what is shown."""

from collections.abc import Sequence

from api.health import Health, Kind
from api.reading import SiteRow
from api.web.i18n import Say
from api.web.views import BannerView

ZONE = "Asia/Shanghai"
NAMED = 5
"""Gateways and receivers that are named; of more, how many."""


def banners(found: Health, sites: Sequence[SiteRow], say: Say) -> list[BannerView]:
    """Return a banner for each kind of trouble. A failing analyzer has its own, by site (`views.banners`)."""
    shown = []
    for kind in (Kind.STOPPED, Kind.BROKER, Kind.LAGGING):
        if shards := found.of(kind):
            mine = {s.id for s in shards}
            names = _some([say.name(r.name, r.name_en) for r in sites if r.shard in mine], say) or say("banner.no_site")
            title = say(f"banner.{kind}")
            if kind is Kind.LAGGING:
                title = say("banner.lagging", span=say.span(max(s.lag_us for s in shards)))
            text = say(f"banner.{kind}_text", sites=names)
            shown.append(BannerView(kind="warn" if kind is Kind.LAGGING else "bad", title=title, text=text))
    if found.lost:
        title = say("banner.gateway", time=say.clock(found.lost[0].at_us, ZONE))
        text = say("banner.gateway_text", gateways=_some([g.code for g in found.lost], say))
        shown.append(BannerView(kind="bad", title=title, text=text))
    if blind := [say.name(r.name, r.name_en) for r in sites if r.state == "blind"]:
        shown.append(BannerView(kind="warn", title=say("banner.blind"), text=say("banner.blind_text", sites=_some(blind, say))))
    if found.breakers:
        text = say("banner.breaker_text", endpoints=_some(found.breakers, say))
        shown.append(BannerView(kind="warn", title=say("banner.breaker"), text=text))
    return shown


def _some(names: Sequence[str], say: Say) -> str:
    listed = say("banner.between").join(names[:NAMED])
    return listed if len(names) <= NAMED else say("banner.more", listed=listed, count=len(names))
