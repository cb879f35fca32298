"""Where alerts go: an endpoint is configuration, and from it and an alert's bytes follows the exact request.

One decision: a dry run and a delivery build their request with the same two functions, `compose` and `request`, so that what
the dry run shows is what leaves.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec
import psycopg
from psycopg.rows import dict_row

from analytics import alerts
from api import mapping, robots
from api.errors import BadRequest, NotFound
from api.outgoing import parse_url
from api.robots import ROBOTS
from api.signers import Attempt, Request, Signer, check_secret, signed
from api.success import Rule
from api.success import parse as parse_rule
from ingest.store.queries import Queries

SQL = Queries("api", "delivery.sql")
USER_AGENT = f"smartcare/{version('smartcare')}"
KINDS = ("webhook", *ROBOTS)
SIGNERS = (Signer.STANDARD, Signer.SM3, Signer.ZWDD, Signer.MD5)
"""What a webhook can be signed with; a robot's kind says how it is signed."""
SECRET_PARAMETERS = frozenset({"access_token", "key", "token", "secret"})
SAMPLE = msgspec.json.encode(
    {
        "type": "alert.opened",
        "timestamp": "2026-11-20T01:31:05Z",
        "data": {
            "alert_id": 1024,
            "version": 1,
            "rule": "not_opened",
            "rule_zh": "未按时开门",
            "rule_en": "Not opened",
            "state": "open",
            "severity": "urgent",
            "site": {"code": "sample", "name": "示例照料中心", "region": "999001001000"},
            "subject": {"kind": "site", "code": "sample", "name": "示例照料中心"},
            "begin": "2026-11-20T01:30:00Z",
            "detected": "2026-11-20T01:31:05Z",
            "end": None,
            "late": False,
            "reason_zh": "09:30 前未开门，3 个传感器均在线",
            "reason_en": "Not opened by 09:30 with 3 sensors watching",
            "ended_zh": "",
            "ended_en": "",
            "outcome": None,
            "note": "",
        },
    }
)
"""An alert as an endpoint is told of it; mappings are tried on it before they are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A receiver. mapping, success: see api/mapping.py, api/success.py; "" is our own JSON and any 2xx. fields: None is all."""

    name: str
    url: str
    secret: str = field(repr=False)
    kind: str = "webhook"
    signer: Signer = Signer.STANDARD
    key_id: str = ""
    mapping: str = ""
    fields: tuple[str, ...] | None = None
    success: str = ""
    enabled: bool = True
    id: int = 0

    @property
    def signing(self) -> Signer:
        """How its requests are signed."""
        return ROBOTS[self.kind].signer if self.kind in ROBOTS else self.signer

    @property
    def rule(self) -> Rule:
        """What a 2xx answer must say."""
        return ROBOTS[self.kind].success if self.kind in ROBOTS else parse_rule(self.success)

    @property
    def form(self) -> bool:
        """Whether it takes a form instead of JSON."""
        return self.signing is Signer.ZWDD


def compose(to: Endpoint, bodies: Sequence[bytes], public_url: str) -> bytes:
    """Return what `to` is told of these canonical bodies (several: a robot only), not signed yet. Raises mapping.BadMapping."""
    events = [mapping.keep(msgspec.json.decode(body), to.fields) for body in bodies]
    if to.kind in ROBOTS:
        return robots.message(ROBOTS[to.kind], events, public_url)
    if not to.mapping and to.fields is None and not to.form:
        return bodies[0]  # our own JSON leaves as it was stored
    document = mapping.parse(to.mapping).apply(events[0]) if to.mapping else events[0]
    return mapping.serialise(document, form=to.form)


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
    if to.kind == "webhook" and to.signer not in SIGNERS:
        raise BadRequest(f"a webhook's signer is one of {', '.join(SIGNERS)}, got {to.signer}")
    parse_url(to.url)
    check_secret(to.signing, to.secret, to.key_id)
    parse_rule(to.success)
    known = paths(msgspec.json.decode(SAMPLE)["data"])
    if strange := sorted(set(to.fields or ()) - known):
        raise BadRequest(f"an alert has no field {', '.join(strange)}; it has {', '.join(sorted(known))}")
    with suppress(mapping.NoCode):  # a table need not know the sample's site
        compose(to, [SAMPLE], "")


def paths(data: dict[str, Any]) -> set[str]:
    """Return what a field allow-list can name of an alert's data: "site" and "site.code" alike."""
    inner = {f"{name}.{key}" for name, value in data.items() if isinstance(value, dict) for key in value}
    return set(data) | inner


def register(conn: psycopg.Connection[Any], to: Endpoint) -> int:
    """Add an endpoint by its name or bring it up to date, and return its id. Raises as `check` does."""
    check(to)
    values = {name: getattr(to, name) for name in ("name", "url", "secret", "kind", "signer", "key_id", "mapping", "success")}
    row = conn.execute(SQL["register_endpoint"], values | {"fields": None if to.fields is None else list(to.fields)}).fetchone()
    assert row is not None
    return int(row[0])


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
    to = find(conn, name)
    if to is None:
        raise NotFound(f"there is no endpoint {name!r}; add it with `smartcare endpoint add`")
    body = compose(to, [newest(conn, now_us)], public_url)
    made = request(to, "evt_dry_run", body, now_us, 0)
    headers = dict(made.headers) | ({"apiKey": _mask(to.key_id)} if "apiKey" in made.headers else {})
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
