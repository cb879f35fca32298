"""How a gateway is, for whoever stands before it: a page on loopback, and the same as JSON for `smartcare gateway status`.

One decision: it shows counts, times and identities of devices, never what a message said or a person is; so it needs no sign-in
where it cannot be reached from outside, and elsewhere it is not served.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator
from html import escape

import msgspec
import uvicorn
from starlette.datastructures import QueryParams
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.clock import SECOND_US
from gateway.listener import is_local
from gateway.setup import SetupError
from gateway.wire import Blind

DEVICES = 5000
SHOWN = 200


class Heard(msgspec.Struct, kw_only=True):
    """A device: when it was last heard, and the events it made since the start."""

    device: str
    last_us: int
    events: int = 0


class Status(msgspec.Struct, kw_only=True):
    """Times in microseconds since 1970 of the gateway's clock; sizes in bytes. devices: the latest first."""

    code: str
    software: str
    now_us: int
    started_us: int
    backend: bool
    bus: bool
    user: str
    refused: str
    queued_frames: int
    queued_bytes: int
    spool_bytes: int
    budget_bytes: int
    messages: int
    quarantined: int
    persons: int
    clock_set: bool
    blind: list[Blind]
    devices: list[Heard]

    def troubles(self) -> list[str]:
        """Return what is wrong, as keys of `WORDS`."""
        found = {
            "no_backend": not self.backend,
            "no_bus": not self.bus,
            "refused": bool(self.refused),
            "no_clock": not self.clock_set,
            "disk": self.queued_bytes > self.budget_bytes // 2,
        }
        return [name for name, bad in found.items() if bad]


WORDS = {
    "title": ("网关", "Gateway"),
    "fine": ("一切正常", "All is well"),
    "no_backend": (
        "连不上平台：数据先存在本机，恢复后自动补传",
        "The backend cannot be reached: events are kept here and sent later",
    ),
    "no_bus": ("连不上设备的消息代理：现在听不到设备", "The devices' broker cannot be reached: no device is heard"),
    "refused": ("平台拒收：{refused}", "The backend stores nothing of this gateway: {refused}"),
    "no_clock": ("时钟未校准：请接入网络或 NTP", "The clock was never set: give it a network or NTP"),
    "disk": ("待传数据超过空间一半", "What waits takes over half of the space"),
    "backend": ("平台", "Backend"),
    "bus": ("设备总线", "Devices' broker"),
    "up": ("已连接", "connected"),
    "down": ("未连接", "not connected"),
    "queued": ("待上传", "Waiting to be sent"),
    "space": ("存储", "Space"),
    "messages": ("收到消息", "Messages"),
    "quarantined": ("无法识别", "Not understood"),
    "started": ("启动于", "Started"),
    "software": ("软件", "Software"),
    "user": ("凭据", "Credentials"),
    "devices": ("设备", "Devices"),
    "last": ("最近", "Last heard"),
    "events": ("事件", "Events"),
    "ago": ("{n} 秒前", "{n} s ago"),
    "ago_min": ("{n} 分钟前", "{n} min ago"),
    "none": ("还没有收到任何设备的消息", "No device was heard yet"),
    "blind": ("听不到的设备", "Devices that cannot be heard"),
    "other": ("English", "中文"),
}
STYLE = """body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color:#1b1f24;background:#fff}
h1{font-size:1.4rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;
border-bottom:1px solid #ccd}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:#555}.bad{background:#fde8e8;padding:.5rem}
.ok{background:#e6f4ea;padding:.5rem}@media(prefers-color-scheme:dark){body{background:#15181c;color:#e8eaed}dt{color:#aab}
.bad{background:#5c1f1f}.ok{background:#1e4620}a{color:#8ab4f8}}"""
CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'"


def page(status: Status, lang: str) -> str:
    """Write the page in "zh" or "en"; it renews itself every five seconds."""
    n = 0 if lang == "zh" else 1

    def say(key: str, **values: object) -> str:
        return escape(WORDS[key][n].format(**values))

    def ago(then_us: int) -> str:
        seconds = max(0, status.now_us - then_us) // SECOND_US
        return say("ago", n=seconds) if seconds < 120 else say("ago_min", n=seconds // 60)

    troubles = [f'<p class="bad">{say(t, refused=status.refused)}</p>' for t in status.troubles()]
    facts = [
        ("backend", say("up" if status.backend else "down")),
        ("bus", say("up" if status.bus else "down")),
        ("queued", f"{status.queued_frames} · {status.queued_bytes / 2**20:.1f} MB"),
        ("space", f"{status.spool_bytes / 2**20:.0f} / {status.budget_bytes / 2**20:.0f} MB"),
        ("messages", str(status.messages)),
        ("quarantined", str(status.quarantined)),
        ("started", ago(status.started_us)),
        ("user", escape(status.user or "–")),
        ("software", escape(status.software)),
    ]
    blind = "".join(f"<li>{escape(b.source or '*')} · {escape(b.reason)} · {ago(b.from_us)}</li>" for b in status.blind)
    rows = "".join(f"<tr><th scope=row>{escape(d.device)}<td>{ago(d.last_us)}<td>{d.events}" for d in status.devices[:SHOWN])
    head = f"<tr><th scope=col>{say('devices')}<th scope=col>{say('last')}<th scope=col>{say('events')}"
    other = "en" if lang == "zh" else "zh"
    return (
        f'<!doctype html><html lang="{"zh-CN" if lang == "zh" else "en"}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="5">'
        f"<title>{say('title')} {escape(status.code)}</title><style>{STYLE}</style></head><body><main>"
        f'<p><a href="/?lang={other}">{say("other")}</a></p><h1>{say("title")} {escape(status.code)}</h1>'
        + ("".join(troubles) or f'<p class="ok">{say("fine")}</p>')
        + "<dl>"
        + "".join(f"<dt>{say(key)}<dd>{value}" for key, value in facts)
        + "</dl>"
        + (f"<h2>{say('blind')}</h2><ul>{blind}</ul>" if blind else "")
        + f"<h2>{say('devices')}</h2>"
        + (f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>" if rows else f"<p>{say('none')}</p>")
        + "</main></body></html>"
    )


def text(status: Status) -> str:
    """Write it for a terminal, both languages in one."""
    lines = [f"{status.code}  {status.software}"]
    lines += [f"! {' '.join(WORDS[t]).format(refused=status.refused)}" for t in status.troubles()] or [" ".join(WORDS["fine"])]
    facts = {
        "backend": " ".join(WORDS["up" if status.backend else "down"]),
        "bus": " ".join(WORDS["up" if status.bus else "down"]),
        "queued": f"{status.queued_frames} frames, {status.queued_bytes / 2**20:.1f} MB",
        "space": f"{status.spool_bytes / 2**20:.0f} of {status.budget_bytes / 2**20:.0f} MB",
        "messages": f"{status.messages}, {status.quarantined} {' '.join(WORDS['quarantined'])}",
        "user": status.user or "-",
    }
    lines += [f"{' '.join(WORDS[key])}: {value}" for key, value in facts.items()]
    lines += [f"  {d.device}  {max(0, status.now_us - d.last_us) // SECOND_US} s  {d.events}" for d in status.devices[:SHOWN]]
    return "\n".join(lines)


class StatusPage:
    """Serves `look()` at an address of this machine or its own network. Raises SetupError for any other, OSError if taken."""

    def __init__(self, address: str, look: Callable[[], Status]) -> None:
        host, _, port = address.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        if not is_local(host):
            raise SetupError(f"the status page is for this machine and its own network, got {address!r}; take 127.0.0.1:{port}")
        self._look = look
        self._socket = socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._respond, interface="asgi3", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
            limit_concurrency=50, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = _Server(config)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            await self._server.serve([self._socket])
        finally:
            if self._server.started:
                await self._server.shutdown([self._socket])
            self._socket.close()

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        # A page elsewhere could have its reader's browser ask us by a name of its own (DNS rebinding).
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").rpartition(":")[0].strip("[]")
        if scope["method"] not in ("GET", "HEAD") or not is_local(host):
            return Response("", 404)
        if scope["path"] == "/status.json":
            return Response(msgspec.json.encode(self._look()), media_type="application/json")
        if scope["path"] != "/":
            return Response("", 404)
        lang = "en" if QueryParams(scope["query_string"]).get("lang") == "en" else "zh"
        return HTMLResponse(page(self._look(), lang), headers={"content-security-policy": CSP, "cache-control": "no-store"})


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
