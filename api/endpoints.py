"""Where alerts go: an endpoint is configuration, and from it and an alert's bytes follows the exact request.

One decision: a dry run and a delivery build their request with the same two functions, `compose` and `request`, so that what
the dry run shows is what leaves.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec
import psycopg
from psycopg.rows import dict_row

from analytics import alerts
from api import mapping, periods, robots
from api.errors import BadRequest, NotFound
from api.outgoing import parse_url
from api.robots import ROBOTS
from api.samples import DATA_SAMPLES, SAMPLE
from api.signers import Attempt, Request, Signer, check_secret, secret_of, signed
from api.success import Rule
from api.success import parse as parse_rule
from ingest.store.queries import Queries

SQL = Queries("api", "delivery.sql")
USER_AGENT = f"smartcare/{version('smartcare')}"
KINDS = ("webhook", *ROBOTS, "sms", "email")
SIGNERS = (Signer.STANDARD, Signer.SM3, Signer.ZWDD, Signer.MD5, Signer.BEARER)
"""What a webhook can be signed with; a robot's kind says how it is signed. For SMS there is also "none"."""
NOTICE = {"notice", "notice.text_zh", "notice.text_en"}
"""What a notice to a person says beside its alert."""
ADDRESS = re.compile(r"[^\s@,<>]+@[^\s@,<>]+")
MAIL_PORTS = {"smtps": 465, "smtp+starttls": 587, "smtp": 25}
STORED = (
    *("name", "url", "secret", "kind", "signer", "key_id", "mapping", "success", "alerts", "codes", "sender", "token_url"),
    "fallback",
)
SECRET_PARAMETERS = frozenset({"access_token", "key", "token", "secret"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A receiver. mapping, success: see api/mapping.py, api/success.py; "" is our own JSON and any 2xx. fields: None is all.

    codes: the platform's own codes of sites, regions and device classes, as YAML. fallback: id of who takes over.
    """

    name: str
    url: str
    secret: str = field(repr=False)
    kind: str = "webhook"
    signer: Signer = Signer.STANDARD
    key_id: str = ""
    mapping: str = ""
    fields: tuple[str, ...] | None = None
    success: str = ""
    alerts: bool = True
    codes: str = ""
    recipients: tuple[str, ...] = ()
    sender: str = ""
    token_url: str = ""
    fallback: int | None = None
    enabled: bool = True
    id: int = 0

    @property
    def signing(self) -> Signer:
        """How its requests are signed."""
        if self.kind == "email":
            return Signer.NONE
        return ROBOTS[self.kind].signer if self.kind in ROBOTS else self.signer

    @property
    def rule(self) -> Rule:
        """What a 2xx answer must say."""
        return ROBOTS[self.kind].success if self.kind in ROBOTS else parse_rule(self.success)

    @property
    def form(self) -> bool:
        """Whether it takes a form instead of JSON."""
        return self.signing is Signer.ZWDD or bool(self.mapping and mapping.parse(self.mapping).form)


def compose(to: Endpoint, bodies: Sequence[bytes], public_url: str) -> bytes:
    """Return what `to` is told of these canonical bodies (several: a robot only), not signed yet. Raises mapping.BadMapping."""
    if to.kind == "webhook" and not (to.mapping or to.fields is not None or to.codes or to.form):
        return bodies[0]  # our own JSON leaves as it was stored
    events = [compose_event(to, body) for body in bodies]
    if to.kind in ROBOTS:
        return robots.message(ROBOTS[to.kind], events, public_url)
    if to.kind == "email":
        return robots.text(events[0], public_url).encode()
    event = events[0]
    if to.kind == "sms":
        event |= {"text": robots.text(event, public_url), "to": list(to.recipients)}
    document = mapping.parse(to.mapping).apply(event) if to.mapping else event
    return mapping.serialise(document, form=to.form)


def compose_event(to: Endpoint, body: bytes) -> dict[str, Any]:
    """Return a canonical body with only what may leave, in the platform's own codes. Raises mapping.NoCode."""
    return mapping.translate(mapping.keep(msgspec.json.decode(body), to.fields), mapping.parse_codes(to.codes))


def request(to: Endpoint, webhook_id: str, body: bytes, at_us: int, nonce: int) -> Request:
    """Return one attempt to send a composed body. Raises signing.BadSecret."""
    content = "application/x-www-form-urlencoded" if to.form else "application/json"
    plain = Request(url=to.url, headers={"content-type": content, "user-agent": USER_AGENT}, body=body)
    attempt = Attempt(secret=to.secret, key_id=to.key_id, webhook_id=webhook_id, at_us=at_us, nonce=nonce)
    return signed(to.signing, plain, attempt)


def check(to: Endpoint) -> None:
    """Raise BadRequest, NotListed, BadSecret, BadMapping or BadRule where `to` could never work."""
    if to.kind not in KINDS:
        raise BadRequest(f"a kind is one of {', '.join(KINDS)}, got {to.kind!r}")
    if to.kind in ROBOTS and (to.mapping or to.success or to.signer is not Signer.STANDARD):
        raise BadRequest(f"{to.kind} has its own message, signature and success rule; leave mapping, signer and success out")
    if to.kind in ("webhook", "sms") and to.signer not in (*SIGNERS, *((Signer.NONE,) if to.kind == "sms" else ())):
        raise BadRequest(f"a webhook's signer is one of {', '.join(SIGNERS)} (for sms also none), got {to.signer}")
    if to.token_url and to.signer not in (Signer.ZWDD, Signer.MD5):
        raise BadRequest("only zwdd and md5 have a token URL")
    if to.kind == "email":
        _check_mail(to)
    else:
        for url in filter(None, (to.url, to.token_url)):
            parse_url(url)
    if to.kind == "sms" and not to.mapping:
        raise BadRequest("sms needs a mapping: the gateway's own body, with =text and =to in it")
    check_secret(to.signing, to.secret, to.key_id)
    parse_rule(to.success)
    mapping.parse_codes(to.codes)
    _check_body(to, SAMPLE)


def check_data(to: Endpoint, what: str, period: str) -> None:
    """Raise BadRequest or BadMapping where an endpoint could not be sent data; its mapping and fields are the subscription's."""
    if what not in periods.WHATS or period not in ("hour", "day"):
        raise BadRequest(f"data is one of {', '.join(periods.WHATS)} by hour or day, got {what!r} by {period!r}")
    if what in periods.DAILY and period != "day":
        raise BadRequest(f"{what} is said of days; subscribe to it by day")
    if to.kind != "webhook":
        raise BadRequest(f"data goes to webhooks, {to.name!r} is {to.kind}")
    _check_body(to, DATA_SAMPLES[what])


def _check_body(to: Endpoint, sample: bytes) -> None:
    known = paths(msgspec.json.decode(sample)["data"]) | NOTICE
    if strange := sorted(set(to.fields or ()) - known):
        raise BadRequest(f"there is no field {', '.join(strange)}; there are {', '.join(sorted(known))}")
    with suppress(mapping.NoCode):  # a table need not know the sample's site
        compose(to, [sample], "")


def _check_mail(to: Endpoint) -> None:
    parts = urlsplit(to.url)
    if parts.scheme not in MAIL_PORTS or not parts.hostname or parts.username or parts.path.strip("/") or parts.query:
        raise BadRequest("a mail server is smtps://host:465, smtp+starttls://host:587 or smtp://host:25, without a user name")
    if to.mapping or to.success:
        raise BadRequest("email has its own text and success rule; leave mapping and success out")
    if not to.recipients or not all(ADDRESS.fullmatch(a) for a in (to.sender, *to.recipients)):
        raise BadRequest("email needs a sender and recipients like duty@example.cn")


def paths(data: dict[str, Any]) -> set[str]:
    """Return what a field allow-list can name of an alert's data: "site" and "site.code" alike."""
    inner = {f"{name}.{key}" for name, value in data.items() if isinstance(value, dict) for key in value}
    return set(data) | inner


def register(conn: psycopg.Connection[Any], to: Endpoint) -> int:
    """Add an endpoint by its name or bring it up to date, and return its id. Raises as `check` does."""
    check(to)
    if to.fallback is not None:
        found = conn.execute(SQL["falls_back"], {"start": to.fallback, "name": to.name}).fetchone()
        if found and found[0]:
            raise BadRequest(f"{to.name!r} would be its own fallback; what nobody can deliver must end somewhere")
    values = {name: getattr(to, name) for name in STORED}
    lists = {"fields": None if to.fields is None else list(to.fields), "recipients": list(to.recipients)}
    row = conn.execute(SQL["register_endpoint"], values | lists).fetchone()
    assert row is not None
    return int(row[0])


def rotate(conn: psycopg.Connection[Any], name: str, new: str) -> str:
    """Put a new secret before the present one, or (new "") end the rotation. Returns the secret. Raises NotFound, BadRequest.

    During a rotation requests carry a signature of each or, where a signer has room for one only, attempts take turns.
    """
    to = known(conn, name)
    several = to.secret.split()
    if new and len(several) > 1:
        raise BadRequest(f"{name!r} is being rotated already; end it first with `smartcare endpoint rotate {name} --finish`")
    if not new and len(several) < 2:
        raise BadRequest(f"{name!r} is not being rotated")
    kept = f"{new} {to.secret}".strip() if new else several[0]
    check(replace(to, secret=kept))
    conn.execute(SQL["set_secret"], {"id": to.id, "secret": kept})
    return kept


def known(conn: psycopg.Connection[Any], name: str) -> Endpoint:
    """Return the endpoint of that name. Raises NotFound."""
    to = find(conn, name)
    if to is None:
        raise NotFound(f"there is no endpoint {name!r}; add it with `smartcare endpoint add`")
    return to


def find(conn: psycopg.Connection[Any], name: str) -> Endpoint | None:
    """Return the endpoint of that name."""
    row = conn.execute(SQL["find_endpoint"], {"name": name}).fetchone()
    return None if row is None else msgspec.convert(row[0], Endpoint)


def newest(conn: psycopg.Connection[Any], now_us: int) -> bytes:
    """Return what an endpoint would be told of the newest alert now, or of a sample where there is none."""
    last = conn.execute(SQL["newest_alert"]).fetchone()
    if last is None:
        return SAMPLE
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(alerts.QUERIES["snapshot"], {"id": last[0]}).fetchone()
    assert row is not None
    return alerts.snapshot(row, last[1], now_us)


def dry_run(conn: psycopg.Connection[Any], name: str, public_url: str, now_us: int) -> str:
    """Return the request that `name` would be sent now, as HTTP writes it, with secrets masked. Raises NotFound, BadMapping."""
    to = known(conn, name)
    body = compose(to, [newest(conn, now_us)], public_url)
    if to.kind == "email":
        return f"{to.url}\nFrom: {to.sender}\nTo: {', '.join(to.recipients)}\n\n{body.decode()}"
    to = replace(to, secret=secret_of(to.signing, to.secret, 0))
    made = request(to, "evt_dry_run", body, now_us, 0)
    hidden = {"apiKey": _mask(to.key_id), "authorization": f"Bearer {_mask(to.secret)}"}
    headers = {name: hidden.get(name, value) for name, value in made.headers.items()}
    lines = [f"POST {masked(to, made.url)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\n".join([*lines, "", made.body.decode()])


def masked(to: Endpoint, url: str) -> str:
    """Return the URL without what would let someone else post there."""
    parts = urlsplit(url)
    query = [
        (k, _mask(v) if k in SECRET_PARAMETERS or k == "appKey" else v) for k, v in parse_qsl(parts.query, keep_blank_values=True)
    ]
    path = parts.path
    if to.kind == "feishu":  # its token is the last part of the path
        above, _, token = path.rpartition("/")
        path = f"{above}/{_mask(token)}"
    return parts._replace(path=path, query=urlencode(query, quote_via=quote, safe="*")).geturl()


def _mask(secret: str) -> str:
    return secret[:4] + "****" if len(secret) > 8 else "****"
