"""Says on the page what is wrong with the system itself, the gravest first, and what it means for what is shown."""

from collections.abc import Mapping, Sequence

from api.health import Health, Kind
from api.reading import NAMED, Troubled
from api.web.i18n import Say
from api.web.views import BannerView

ZONE = "Asia/Shanghai"


KINDS = (Kind.STOPPED, Kind.BROKER, Kind.LAGGING)
"""Troubles of shards that are said by the sites they concern."""


def banners(found: Health, told: Mapping[str, Troubled], say: Say) -> list[BannerView]:
    """Return a banner for each kind of trouble. told: the sites that each concerns.

    A failing analyzer has its own (`views.banners`).
    """
    shown = []
    for kind in KINDS:
        if shards := found.of(kind):
            names = _sites(told[kind], say) if kind in told else say("banner.no_site")
            title = say(f"banner.{kind}")
            if kind is Kind.LAGGING:
                title = say("banner.lagging", span=say.span(max(s.lag_us for s in shards)))
            text = say(f"banner.{kind}_text", sites=names)
            shown.append(BannerView(kind="warn" if kind is Kind.LAGGING else "bad", title=title, text=text))
    if found.lost:
        title = say("banner.gateway", time=say.clock(found.lost[0].at_us, ZONE))
        text = say("banner.gateway_text", gateways=_some([g.code for g in found.lost], say))
        shown.append(BannerView(kind="bad", title=title, text=text))
    if blind := told.get("blind"):
        shown.append(BannerView(kind="warn", title=say("banner.blind"), text=say("banner.blind_text", sites=_sites(blind, say))))
    if found.breakers:
        text = say("banner.breaker_text", endpoints=_some(found.breakers, say))
        shown.append(BannerView(kind="warn", title=say("banner.breaker"), text=text))
    return shown


def _sites(found: Troubled, say: Say) -> str:
    listed = say("banner.between").join(say.name(*name) for name in found.names)
    return listed if found.sites <= len(found.names) else say("banner.more", listed=listed, count=found.sites)


def _some(names: Sequence[str], say: Say) -> str:
    listed = say("banner.between").join(names[:NAMED])
    return listed if len(names) <= NAMED else say("banner.more", listed=listed, count=len(names))
