"""Renders pages and fragments from the templates.

One decision: a page is made of the very fragments that the live stream sends later, rendered by the same function.
"""

from functools import cache, partial
from typing import Any

import jinja2
from fastapi import Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from api.accounts import Principal
from api.console import console
from api.web.assets import Assets
from api.web.i18n import LANGUAGES, Say
from gateway.clock import now_us

NAV = (
    ("overview", "/"),
    ("sites", "/sites"),
    ("alerts", "/alerts"),
    ("visits", "/visits"),
    ("devices", "/devices"),
    ("reports", "/reports"),
    ("more", "/more"),
)


FORMS: dict[str, frozenset[str]] = {
    "act": frozenset({"city", "town", "staff"}),
    "register": frozenset({"city", "town"}),
    "people": frozenset({"city", "town", "staff"}),
    "operate": frozenset({"city"}),
    "install": frozenset({"city", "town", "installer"}),
}
"""Which roles are shown which forms; what a form does is guarded by its own route."""


def may(who: Principal | None, what: str) -> bool:
    """Tell whether to show someone the forms of this kind."""
    return who is not None and who.role in FORMS[what]


def environment(assets: Assets) -> jinja2.Environment:
    """The templates, with escaping always on and a missing value an error."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("api.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sprite = assets.url("icons.svg")

    @cache
    def icon(name: str) -> Markup:
        return Markup('<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>').format(sprite, name)

    env.globals |= {"asset": assets.url, "icon": icon, "nav": NAV}
    return env


def say_for(request: Request) -> Say:
    """The reader's language, from its cookie; Chinese unless they chose otherwise."""
    lang = request.cookies.get("lang", "zh")
    return Say(lang if lang in LANGUAGES else "zh", now_us())


def show(request: Request, template: str, *, who: Principal | None, status: int = 200, **values: Any) -> HTMLResponse:
    """Render a whole page. here: name of its entry in the navigation. topics: what it wants to hear of, with `position`."""
    say = values.pop("say", None) or say_for(request)
    large = request.cookies.get("text") == "large"
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    base = {"here": "", "topics": (), "position": "", "selected": "", "zone": "Asia/Shanghai", "may": partial(may, who)}
    text = (
        console(request)
        .templates.get_template(template)
        .render(base | values, say=say, who=who, large=large, back=back if request.method == "GET" else "/")
    )
    return HTMLResponse(text, status)


def error_page(request: Request, status: int, slug: str) -> Response:
    """Say to a person what went wrong, without any detail of ours."""
    say = say_for(request)
    key = slug if say.word("error", slug) != slug else "other"
    return show(request, "error.html", who=None, status=status, say=say, text=say("error." + key))


def safe_back(path: str) -> str:
    """Return the path if it leads to this very site, else the overview: no open redirects."""
    fine = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if fine else "/"
