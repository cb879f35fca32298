"""`smartcare broker` and `smartcare gateway add|rotate|revoke|source`: a broker's configuration, and who may speak at it.

One decision: the register comes first. A gateway that the broker lets in and the register does not know, or has suspended,
is refused by ingest; so whichever step is not reached, nobody speaks who should not.
"""

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smartcare import settings
from smartcare.broker import DEVICE_BUS, WORKER, BrokerError, Folder, Given, Kind, State

HAND_OVER_S = 90.0
Arguments = argparse.Namespace
Say = Callable[[str], None]
Connect = Callable[[], Any]


def declare_broker(commands: Any, say: Say) -> None:
    """Add `broker` to the command line."""
    broker = commands.add_parser("broker", help="消息代理配置 write a broker's configuration: listener, users, topics")
    broker.add_argument("folder", type=Path, help="becomes the broker's own; run as the user that it runs as, or as root")
    broker.add_argument("--kind", choices=[str(k) for k in Kind], default=str(Kind.NATS), help="(default nats)")
    broker.add_argument("--listen", required=True, metavar="HOST:PORT")
    broker.add_argument("--public", default="", metavar="HOST:PORT", help="what gateways are told (default: the same)")
    broker.add_argument("--cert", type=Path, help="PEM certificate chain: the listener speaks TLS")
    broker.add_argument("--key", type=Path, help="its PEM key")
    broker.add_argument("--bus", action="store_true", help="it is the bus of the devices too")
    broker.set_defaults(run=lambda a: _broker(a, say))


def declare(gateway: Any, connect: Connect, say: Say) -> None:
    """Add the actions to `gateway`."""
    add = _action(gateway, "add", "登记并发密钥 put it into the register and let it in; prints its address once")
    add.add_argument("--shard", required=True, type=int, help="0 to 63, fixed for ever; one for all gateways of a site")
    add.set_defaults(run=lambda a: _add(a, connect, say))
    rotate = _action(gateway, "rotate", "换密钥 another secret beside the present one; --finish ends the older one")
    rotate.add_argument("--finish", action="store_true")
    rotate.add_argument("--hand-over", action="store_true", help="send it to the running gateway, and finish once it is used")
    rotate.set_defaults(run=lambda a: _rotate(a, say))
    mount = _action(
        gateway, "mount", "让 ThingsBoard 客户端接入 let a client of ThingsBoard's MQTT API speak, at a port of its own"
    )
    what = mount.add_mutually_exclusive_group(required=True)
    what.add_argument("--port", type=int)
    what.add_argument("--end", action="store_true", help="不再接入 let it speak no more")
    mount.add_argument("--token", default="", help="the access token that it has already (default: a new one)")
    mount.set_defaults(run=lambda a: _mount(a, say))
    source = _action(
        gateway, "source", "设备总线上的独立密钥 a secret of its own on the devices' bus, bound to topics; again: a new one"
    )
    how = source.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--topic", action="append", metavar="FILTER", help="that it may publish and hear, such as mqtt/face/1026700/#"
    )
    how.add_argument("--end", action="store_true", help="停用 end its secret, throw it out")
    source.set_defaults(run=lambda a: _source(a, say))
    revoke = _action(gateway, "revoke", "停用 suspend it in the register, end its secrets, throw it out")
    revoke.set_defaults(run=lambda a: _revoke(a, connect, say))


def _action(gateway: Any, name: str, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = gateway.add_parser(name, help=about)
    about_code = {"mount": "a name for it: it becomes tb/NAME", "source": "a name for it: its user at the broker"}
    parser.add_argument("code", help=about_code.get(name, "the gateway's code in the register"))
    parser.add_argument("--broker", type=Path, metavar="FOLDER", help="the broker's folder (default: the embedded broker's)")
    return parser


def _broker(a: Arguments, say: Say) -> int:
    host, colon, port = a.listen.rpartition(":")
    if not (colon and port.isdecimal()):
        raise BrokerError(f"--listen takes HOST:PORT, got {a.listen!r}")
    if bool(a.cert) != bool(a.key):
        raise BrokerError("--cert and --key belong together")
    folder = Folder(a.folder)
    given = folder.create(
        State(
            kind=Kind(a.kind),
            host=host,
            port=int(port),
            public=a.public,
            cert=str(a.cert.absolute()) if a.cert else "",
            key=str(a.key.absolute()) if a.key else "",
            bus=a.bus,
            users={},
        )
    )
    folder.reload()
    program = "nats-server" if a.kind == Kind.NATS else "mosquitto"
    say(f"启动 start: {program} -c {folder.path / f'{a.kind}.conf'}")
    say(f"只显示一次 shown once:\nMQTT_URL={given[WORKER].url}")
    if a.bus:
        say(f"SMARTCARE_BUS_URL={given[DEVICE_BUS].url}")
    return 0


def _add(a: Arguments, connect: Connect, say: Say) -> int:
    from gateway.clock import now_us
    from ingest import register

    folder = _folder(a)
    folder.state()  # before anything is written
    with connect() as conn:
        register.load(conn, {"gateways": [{"code": a.code, "shard": a.shard}]}, now_us())
        register.suspend(conn, a.code, suspended=False)
    given = folder.add(a.code, a.shard)
    say(f"已登记 registered {a.code}, shard {a.shard}")
    return _handed_over(folder, given, say)


def _rotate(a: Arguments, say: Say) -> int:
    folder = _folder(a)
    if a.finish:
        folder.finish(a.code)
        say(f"旧密钥已停用 the older secret of {a.code} is no longer valid")
        _reload(folder, say)
        return 0
    given = folder.rotate(a.code)
    if a.hand_over:
        return _hand_over(a, folder, given, say)
    say(f"新旧密钥同时有效 both are valid until: smartcare gateway rotate {a.code} --finish")
    return _handed_over(folder, given, say)


def _hand_over(a: Arguments, folder: Folder, given: Given, say: Say) -> int:
    """Let the gateway change over by itself; both secrets stay valid where it does not."""
    from smartcare.renewal import hand_over

    _reload(folder, say)
    shard = folder.state().users[given.user].shard
    if not asyncio.run(hand_over(settings.load(), a.code, shard, given, HAND_OVER_S)):
        say(
            f"网关没有换用 {a.code} did not change over within {HAND_OVER_S:.0f} s; both secrets are valid: try when it is online"
        )
        return 1
    folder.finish(a.code)
    say(f"网关已换用新密钥，旧密钥已停用 {a.code} uses {given.user}; its older secrets are no longer valid")
    _reload(folder, say)
    return 0


def _revoke(a: Arguments, connect: Connect, say: Say) -> int:
    from ingest import register

    folder = _folder(a)
    with connect() as conn:
        register.suspend(conn, a.code, suspended=True)
    folder.revoke(a.code)
    say(f"已停用 suspended {a.code}; `smartcare gateway add` lets it in again")
    _reload(folder, say)
    return 0


def _source(a: Arguments, say: Say) -> int:
    folder = _folder(a)
    if a.end:
        folder.end_source(a.code)
        say(f"已停用 ended {a.code}")
    else:
        given = folder.source(a.code, a.topic)
        say(f"只显示一次 shown once: {' '.join(a.topic)}\n{given.url}")
    _reload(folder, say)
    return 0


def _mount(a: Arguments, say: Say) -> int:
    folder = _folder(a)
    if a.end:
        folder.unmount(a.code)
        say(f"已结束 ended {a.code}")
    else:
        mount = folder.mount(a.code, a.token, a.port)
        say(f"端口 port {mount.port}, 令牌 token {mount.token}")
    folder.reload()
    say("重启 Mosquitto 后生效 valid once Mosquitto has been started again")
    return 0


def _folder(a: Arguments) -> Folder:
    return Folder(a.broker or settings.load().state / "broker")


def _handed_over(folder: Folder, given: Given, say: Say) -> int:
    say(f"只显示一次 shown once:\nSMARTCARE_UPLINK_URL={given.url}")
    _reload(folder, say)
    return 0


def _reload(folder: Folder, say: Say) -> None:
    if not folder.reload():
        say(f"{folder.path}: 没有在此运行的代理 no broker of this folder runs here; it reads this at its start, or on SIGHUP")
