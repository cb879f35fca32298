"""Who may speak at a broker: users, secrets and topics in one folder, from which its configuration is written.

    broker.json ── users, listener ──► nats.conf, or mosquitto.conf + passwords + acl ── SIGHUP ──► the running broker

One decision: each secret is a user of its own, bound to its gateway's two topics. A second secret for a gateway is a second
user (`gw-7.2`), so both work while the gateway changes over, on any broker. Secrets are 32 random bytes, which need no slow
hash: Mosquitto's file has salted ones, nats-server knows only bcrypt, with which thousands of gateways that come back at
once would wait for each other, so its file has the secrets themselves. All files are for the folder's owner alone.
"""

import base64
import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

import msgspec

WORKER, DEVICE_BUS = "worker", "bus"
CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")
FILTER, LEVEL = re.compile(r"[^.*>$\s\0]{1,200}"), re.compile(r"[^+#]+")
TOKEN = re.compile(r"[A-Za-z0-9_-]{12,64}")
PBKDF2_ROUNDS = 101  # as mosquitto_passwd does; against guessing 32 random bytes one would do


class BrokerError(Exception):
    """A broker's folder cannot be used, or has no such user."""


class Kind(StrEnum):
    """Brokers whose configuration we write."""

    NATS = "nats"
    MOSQUITTO = "mosquitto"


class User(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One secret. password: as the broker's own file has it. gateway, shard: whose topics; "" for WORKER and DEVICE_BUS."""

    password: str
    gateway: str = ""
    shard: int = -1


class Mount(msgspec.Struct, kw_only=True):
    """A client that knows a token and ThingsBoard's topics only, at a listener of its own: Mosquitto tells clients apart
    by listener, and puts "tb/<name>/" before what they publish there."""

    token: str
    port: int


class Source(msgspec.Struct, kw_only=True):
    """Something that speaks on the devices' bus with a secret of its own, in these topics alone (MQTT filters), both ways."""

    password: str
    topics: list[str]


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A broker as `broker.json` declares it.

    host, port: where it listens. public: HOST:PORT that its users are told, "" for the same. cert, key: PEM files that
    make the listener TLS. bus: it is the devices' bus too (pictures of face terminals make larger messages). mounts,
    sources: by name.
    """

    port: int
    kind: Kind = Kind.NATS
    host: str = "127.0.0.1"
    public: str = ""
    cert: str = ""
    key: str = ""
    bus: bool = True
    users: dict[str, User]
    mounts: dict[str, Mount] = {}
    sources: dict[str, Source] = {}

    def of(self, code: str) -> list[str]:
        """Return the users of a gateway, oldest first."""
        return sorted((n for n, u in self.users.items() if u.gateway == code), key=_number)

    def url(self, user: str, secret: str) -> str:
        """Return the address that a user is told."""
        scheme, at = "mqtts" if self.cert else "mqtt", self.public or f"{self.host}:{self.port}"
        return f"{scheme}://{user}:{quote(secret)}@{at}"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A user with its secret, which for Mosquitto is said here and never again."""

    user: str
    secret: str
    url: str


class Folder:
    """A broker's folder; any process may change it, one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def create(self, state: State) -> dict[str, Given]:
        """Declare a broker with fresh secrets of WORKER and, where it is the bus too, DEVICE_BUS. Raises BrokerError."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._file.exists():
            raise BrokerError(f"{self._file} exists: change its gateways with `smartcare gateway`, or take another folder")
        given = {name: _give(state, name, User(password="")) for name in (WORKER, DEVICE_BUS)[: 1 + state.bus]}
        self._save(state)
        return given

    @property
    def _file(self) -> Path:
        return self.path / "broker.json"

    def state(self) -> State:
        """Return what is declared now. Raises BrokerError."""
        try:
            state = msgspec.json.decode(self._file.read_bytes(), type=State)
        except FileNotFoundError:
            raise BrokerError(f"{self.path} 没有消息代理 has no broker: `smartcare broker` makes one") from None
        except (OSError, msgspec.MsgspecError) as e:
            raise BrokerError(f"{self._file} cannot be read: {e}") from e
        for name, user in state.users.items():
            if user.shard >= 0 and not user.gateway:
                user.gateway = name
        return state

    @contextmanager
    def change(self) -> Iterator[State]:
        """Give the state to be changed; saved at the end of the block, while no other process can."""
        with (self.path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self.state()
            yield state
            self._save(state)

    def _save(self, state: State) -> None:
        write_private(self._file, msgspec.json.format(msgspec.json.encode(state), indent=1))

    def add(self, code: str, shard: int) -> Given:
        """Provision a gateway's first secret. Raises BrokerError for one that has any."""
        if not CODE.fullmatch(code) or code in (WORKER, DEVICE_BUS):
            raise BrokerError(f"a gateway's code has 1 to 64 letters, digits, '-' or '_' and is no user of ours, got {code!r}")
        with self.change() as state:
            if code in state.sources:
                raise BrokerError(f"{code} 是设备总线上的名字 is a name on the devices' bus: take another")
            if state.of(code):
                raise BrokerError(f"网关 {code} 已有密钥 has a secret: `smartcare gateway rotate {code}` gives another")
            return _give(state, code, User(password="", gateway=code, shard=shard))

    def rotate(self, code: str) -> Given:
        """Give a gateway another secret; the newest one before it stays valid, older ones end. Raises BrokerError."""
        with self.change() as state:
            *older, newest = _known(state, code)
            for name in older:
                del state.users[name]
            shard = state.users[newest].shard
            return _give(state, f"{code}.{_number(newest) + 1}", User(password="", gateway=code, shard=shard))

    def finish(self, code: str) -> None:
        """End all of a gateway's secrets but the newest. Raises BrokerError."""
        with self.change() as state:
            for name in _known(state, code)[:-1]:
                del state.users[name]

    def revoke(self, code: str) -> None:
        """End all of a gateway's secrets; one that has none stays so."""
        with self.change() as state:
            for name in state.of(code):
                del state.users[name]

    def source(self, name: str, topics: list[str]) -> Given:
        """Let something speak on the bus in these topics alone; its older secret, if any, ends. Raises BrokerError."""
        if bad := [t for t in topics if not _is_filter(t)]:
            raise BrokerError(
                f"{bad[0]!r} 不可用 cannot be bound: names between '/', none of . * > $ or spaces, '+', '#' at the end"
            )
        with self.change() as state:
            if not CODE.fullmatch(name) or name in state.users or not topics or not state.bus:
                taken = ", ".join(sorted(state.users)[:3])
                raise BrokerError(
                    f"a source needs topics, a broker with the bus, and a name that is no user's ({taken}…): {name!r}"
                )
            secret = secrets.token_urlsafe(32)
            state.sources[name] = Source(password=stored(state.kind, secret), topics=topics)
            return Given(user=name, secret=secret, url=state.url(name, secret))

    def end_source(self, name: str) -> None:
        """End a source's secret. Raises BrokerError."""
        with self.change() as state:
            if state.sources.pop(name, None) is None:
                raise BrokerError(f"没有 there is no source {name}; there are: {', '.join(sorted(state.sources)) or 'none'}")

    def mount(self, name: str, token: str, port: int) -> Mount:
        """Let a client of ThingsBoard's API speak as tb/<name>; the broker must start again. Raises BrokerError."""
        if not CODE.fullmatch(name) or (token and not TOKEN.fullmatch(token)):
            raise BrokerError("a name has 1 to 64, a token 12 to 64 letters, digits, '-' or '_'")
        with self.change() as state:
            if state.kind is not Kind.MOSQUITTO or not state.bus:
                raise BrokerError(
                    "这里需要作设备总线的 Mosquitto this needs Mosquitto as the bus: smartcare broker --kind mosquitto --bus"
                )
            taken = {state.port} | {m.port for n, m in state.mounts.items() if n != name}
            if port in taken or not 0 < port < 2**16:
                raise BrokerError(f"each such client has a port of its own; {port} is taken or is none")
            state.mounts[name] = Mount(token=token or secrets.token_urlsafe(15), port=port)
            return state.mounts[name]

    def unmount(self, name: str) -> None:
        """End such a client; the broker must start again. Raises BrokerError."""
        with self.change() as state:
            if state.mounts.pop(name, None) is None:
                raise BrokerError(f"没有 there is no client {name}; there are: {', '.join(sorted(state.mounts)) or 'none'}")

    def reload(self) -> bool:
        """Write the broker's own files and have the running broker read them. False: none runs here that we can reach."""
        from smartcare import broker_files

        state = self.state()
        broker_files.write(self.path, state)
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.path / "broker.pid").read_text())
            # A number in a file may be anybody's by now.
            if str(self.path / f"{state.kind}.conf").encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGHUP)
                return True
        return False


def _known(state: State, code: str) -> list[str]:
    if found := state.of(code):
        return found
    raise BrokerError(f"网关 {code} 没有密钥 has no secret here: `smartcare gateway add {code} --shard N`")


def _is_filter(topic: str) -> bool:
    """Tell whether both brokers understand a filter alike, and it is none of the uplink's or everybody's."""
    levels = topic.split("/")
    names = [level for level in levels if level not in ("+", "#")]
    return bool(
        FILTER.fullmatch(topic)
        and levels[0] not in ("care", "+", "#")
        and "#" not in levels[:-1]
        and all(map(LEVEL.fullmatch, names))
    )


def _number(user: str) -> int:
    return int(user.rpartition(".")[2]) if "." in user else 1


def _give(state: State, name: str, user: User) -> Given:
    secret = secrets.token_urlsafe(32)
    user.password = stored(state.kind, secret)
    state.users[name] = user
    return Given(user=name, secret=secret, url=state.url(name, secret))


def stored(kind: Kind, secret: str) -> str:
    """Return what a broker's file has for a secret."""
    if kind is Kind.NATS:
        return secret
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, PBKDF2_ROUNDS)
    return f"$7${PBKDF2_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def write_private(file: Path, text: bytes) -> None:
    """Replace a file at once, readable by the owner of its folder alone, whoever we are."""
    fresh, owner = file.with_name(f".{file.name}"), file.parent.stat()
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
        f.write(text)
    if os.geteuid() == 0:
        os.chown(fresh, owner.st_uid, owner.st_gid)
    fresh.replace(file)
