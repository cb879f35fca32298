"""`smartcare gateway run` and `gateway status`: the gateway process, set up by arguments or by one file that it reads again.

One decision: with --config everything is in the file, arguments and environment aside, so that a SIGHUP can change all that may
change under way; the mapping file is watched in either case.
"""

import argparse
import asyncio
import logging
import os
import signal
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smartcare import settings, trying

if TYPE_CHECKING:
    from gateway.setup import Setup

log = logging.getLogger(__name__)

Arguments = argparse.Namespace
Say = Callable[[str], None]
Forever = Callable[[Any], int]
STATUS = "127.0.0.1:8788"


class File(BaseModel):
    """A gateway's configuration file (TOML). See `gateway run --help` for what the names mean."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    shard: int = Field(ge=0, le=63)
    uplink_url: str
    bus_url: str
    spool: Path
    spool_mb: int = Field(default=512, ge=1)
    zone: str = "Asia/Shanghai"
    heartbeat_s: float = Field(default=15, ge=1, le=300)
    jitter_s: float = Field(default=5, ge=0)
    http: str = ""
    status: str = STATUS
    mapping: Path | None = None
    mqtt_ca: Path | None = None


def declare(gateway: Any, forever: Forever, say: Say) -> None:
    """Add `run` and `status` to `gateway`."""
    run = gateway.add_parser("run", help="speak with the devices, spool, send frames; uplink from SMARTCARE_UPLINK_URL")
    run.add_argument("--config", type=Path, metavar="FILE", help="配置文件 all in a TOML file, read again when it changes")
    run.add_argument("--code", help="the gateway's code in the register")
    run.add_argument("--shard", type=int, help="its shard in the register")
    run.add_argument("--spool", type=Path, help="spool file (SQLite)")
    run.add_argument("--spool-mb", type=int, default=512, help="spool budget in MB (default 512)")
    run.add_argument("--zone", default="Asia/Shanghai", help="zone of devices that give local times")
    run.add_argument("--heartbeat-s", type=float, default=15, help="seconds between heartbeats (default 15)")
    run.add_argument("--jitter-s", type=float, default=5, help="most seconds before a reconnect (default 5)")
    run.add_argument("--http", default="", metavar="HOST:PORT", help="设备 HTTP 推送 where devices post (default: nowhere)")
    run.add_argument("--status", default="", metavar="HOST:PORT", help="本机状态页 where the status page is (default: nowhere)")
    run.add_argument("--mapping", type=Path, metavar="FILE", help="映射文件 what unknown devices' messages mean (YAML)")
    run.set_defaults(run=lambda a: forever(_run(a)))
    status = gateway.add_parser("status", help="网关状态 how the gateway here is; ends with 1 where something is wrong")
    status.add_argument("--at", default=STATUS, metavar="HOST:PORT", help=f"its status page (default {STATUS})")
    status.add_argument("--json", action="store_true", help="as JSON")
    status.set_defaults(run=lambda a: _status(a, say))


async def _run(a: Arguments) -> None:
    from gateway.service import run
    from gateway.setup import Reloads

    setup = read(a)
    reloads = Reloads([f for f in (a.config, a.config and _file(a.config).mapping, a.mapping) if f], lambda: read(a))
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloads.ask)
    await run(setup.config, setup.codecs, reloads=reloads)


def read(a: Arguments) -> "Setup":
    """Read what the gateway is set up with. Raises SetupError."""
    from gateway.codecs.families import codecs
    from gateway.codecs.mapping import BadMapping
    from gateway.listener import is_on_site
    from gateway.setup import GatewayConfig, Setup, SetupError

    given = _file(a.config) if a.config else _given(a)
    try:
        mapping = trying.read_mapping(given.mapping)
        config = GatewayConfig(
            code=given.code,
            shard=given.shard,
            uplink_url=given.uplink_url,
            bus_url=given.bus_url,
            ca_file=given.mqtt_ca,
            spool=given.spool,
            spool_bytes=given.spool_mb * 1024 * 1024,
            zone=given.zone,
            heartbeat_s=given.heartbeat_s,
            reconnect_jitter_s=given.jitter_s,
            http=given.http,
            status=given.status,
        )
        on_site = is_on_site(given.bus_url)
        if not on_site:
            log.warning(
                "总线不在本地网络，不接收 MQTT 人脸终端 the bus is not of this network: face terminals on it are not heard"
            )
        return Setup(config=config, codecs=codecs(given.zone, mapping, on_site=on_site))
    except BadMapping as e:
        raise SetupError(str(e)) from e


def _file(path: Path) -> File:
    from gateway.setup import SetupError

    try:
        return File(**tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise SetupError(f"{path} cannot be read: {e}") from e
    except ValidationError as e:
        # not the error's own text: it quotes what came, and that may be a secret
        faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in e.errors())
        raise SetupError(f"{path}: {faults}") from None


def _given(a: Arguments) -> File:
    from gateway.setup import SetupError

    if not (a.code and a.shard is not None and a.spool and os.environ.get("SMARTCARE_UPLINK_URL")):
        raise SetupError("say --config FILE, or --code, --shard, --spool and SMARTCARE_UPLINK_URL")
    found = settings.load()
    names = ("code", "shard", "spool", "spool_mb", "zone", "heartbeat_s", "jitter_s", "http", "status", "mapping")
    values = {name: getattr(a, name) for name in names}
    try:
        return File(**values, uplink_url=os.environ["SMARTCARE_UPLINK_URL"], bus_url=found.bus_url, mqtt_ca=found.mqtt_ca)
    except ValidationError as e:
        raise SetupError("; ".join(f"--{f['loc'][0]}: {f['msg']}" for f in e.errors())) from None


def _status(a: Arguments, say: Say) -> int:
    import httpx
    import msgspec

    from gateway.status import Status, text

    try:
        answer = httpx.get(f"http://{a.at}/status.json", timeout=5, trust_env=False).raise_for_status().content
        status = msgspec.json.decode(answer, type=Status)
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError) as e:
        say(f"没有网关在 {a.at} 应答 no gateway answers there ({type(e).__name__}): is it running, with --status?")
        return 2
    say(answer.decode() if a.json else text(status))
    return 1 if status.troubles() else 0
