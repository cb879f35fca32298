"""The only way out: calls go to what the operator has listed, and nowhere else. An empty list means that nothing leaves.

One decision: the check sits where the connection is made. A name is resolved once, every address it gives is checked,
and the connection goes to a checked address, so that no redirect, second look-up or spelling of an address gets past it.

    "platform.example:443"   this name, as long as it leads to public addresses
    "10.20.0.0/16:8443"      any name or number that leads into this network; needed for private addresses
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpcore
import httpx

from api.errors import ApiError

MAX_REPLY_BYTES = 64 * 1024  # a success rule reads the whole of it
CONNECT_S = 5.0
HOST = re.compile(rb"[A-Za-z0-9_.-]+")
PUBLIC_V6 = IPv6Network("2000::/3")
NOT_PUBLIC = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv6Network("2001::/23"),  # protocol assignments
    IPv6Network("3fff::/20"),  # documentation
)
TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("::ffff:0:0:0/96"), IPv6Network("::/96"))
"""Prefixes whose last 32 bits are an IPv4 address: NAT64, SIIT, IPv4-compatible."""


class OutgoingError(ApiError):
    """Base of why a call gave no answer; the message is meant for the operator."""

    slug = "outgoing"


class BadRule(OutgoingError):
    """A line of the allow-list that cannot be read."""


class NotListed(OutgoingError):
    """The allow-list does not cover where the call would go: nothing has left."""


class CallFailed(OutgoingError):
    """No answer: name not resolved, connection refused or cut, TLS refused, time over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back. body: its first 64 KiB. retry_after: that header, "" if absent."""

    status: int
    retry_after: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList:
    """The operator's list: (name, port) and (network, port)."""

    names: frozenset[tuple[str, int]]
    networks: tuple[tuple[IPv4Network | IPv6Network, int], ...]

    def check(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Raise NotListed unless every address that `host` resolved to may be called on `port`."""
        named = (host.lower().rstrip("."), port) in self.names
        for text in addresses:
            address = plain(text)
            in_network = any(port == p and address in network for network, p in self.networks)
            if in_network or (named and is_public(address)):
                continue
            if named:
                raise NotListed(
                    f"未发送：{host} 指向非公网地址 {address}，允许名单需另加一行网段 · "
                    f"not sent: {host} leads to {address}, which is not public; allow its network too, e.g. {address}:{port}"
                )
            raise NotListed(
                f"未发送：{host}:{port}（{address}）不在允许名单内 · "
                f"not sent: {host}:{port} ({address}) is not on the allow-list of outgoing calls"
            )


def parse_allow_list(lines: Iterable[str]) -> AllowList:
    """Read "name:port", "address:port" and "network/bits:port"; IPv6 in brackets. Raises BadRule."""
    names: set[tuple[str, int]] = set()
    networks = []
    for line in lines:
        host, _, port_text = line.strip().rpartition(":")
        if not (port_text.isascii() and port_text.isdigit() and 1 <= int(port_text[:6]) <= 65535):
            raise BadRule(f"an allowed place is name:port or network/bits:port with a port of 1 to 65535, got {line!r}")
        bare = host.removeprefix("[").removesuffix("]") if ":" in host else host
        try:
            networks.append((ipaddress.ip_network(bare), int(port_text)))
            continue
        except ValueError:
            pass
        try:
            if "/" in host or ":" in host:
                raise NotListed("neither a network nor a name")
            names.add((parse_url(f"https://{host}").host.decode().lower().rstrip("."), int(port_text)))
        except NotListed:
            raise BadRule(f"expected a host name, an address or a network without host bits, got {line!r}") from None
    return AllowList(names=frozenset(names), networks=tuple(networks))


def parse_url(url: str) -> httpcore.URL:
    """Read a URL the one way that is used for checking and for connecting. Raises NotListed."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError) as e:
        raise NotListed(f"地址无法解析 · the URL cannot be read: {e}") from None
    readable = ":" in parsed.host or HOST.fullmatch(parsed.raw_host)
    if parsed.scheme not in ("http", "https") or not readable or parsed.userinfo:
        raise NotListed("地址须为不含用户名的 http(s):// · a URL is http:// or https:// with a host and no user name")
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    if port > 65535:
        raise NotListed(f"端口须为 1–65535 · a port is 1 to 65535, got {port}")
    return httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=port, target=parsed.raw_path)


def plain(text: str) -> IPv4Address | IPv6Address:
    """Return the address that packets end up at: IPv4 inside mapped, translated, 6to4 and Teredo addresses comes out."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if any(address in network for network in TRANSLATED) and int(address) > 1:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether a plain address is an ordinary one on the public internet."""
    if address.version == 6 and address not in PUBLIC_V6:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in NOT_PUBLIC)


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that the list allows; Host and SNI stay the URL's."""

    def __init__(self, allow: AllowList) -> None:
        self._allow = allow
        self._tcp = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve once, check every address, try them in order. Raises NotListed, httpcore.ConnectError."""
        if not self._allow.names and not self._allow.networks:
            raise NotListed(
                "未发送：外呼允许名单为空，请在设置中写入平台地址 · "
                "not sent: the allow-list of outgoing calls is empty; add the platform's host and port to the settings"
            )
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as e:
            raise httpcore.ConnectError(f"{host}: {e}") from None
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        self._allow.check(host, port, addresses)
        refusals = []
        for address in addresses:
            try:
                return await self._tcp.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as e:
                refusals.append(f"{address}: {e}")
        raise httpcore.ConnectError("; ".join(refusals))

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore asks for it between connection retries, of which we configure none."""
        await asyncio.sleep(seconds)


class Caller:
    """Posts bytes. One connection for each call, no redirects, nothing taken from the environment."""

    def __init__(self, allow: AllowList, *, timeout_s: float = 20.0) -> None:
        """`timeout_s`: for the whole call, from resolving the name to the last byte read."""
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()  # besides the bundled authorities those that the operator has installed
        self._timeout_s = timeout_s
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, max_connections=None, max_keepalive_connections=0, network_backend=CheckedNetwork(allow)
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send `body` as it is and return the answer, whatever its status. Raises NotListed, CallFailed."""
        target = parse_url(url)
        host = b"[%b]:%d" if b":" in target.host else b"%b:%d"
        fields = [(b"Host", host % (target.host, target.port)), *((k.encode(), v.encode()) for k, v in headers.items())]
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._pool.stream(
                    "POST", target, headers=fields, content=body, extensions={"timeout": {"connect": CONNECT_S}}
                ) as response,
            ):
                read = b""
                async for part in response.aiter_stream():
                    read += part[: MAX_REPLY_BYTES - len(read)]
                    if len(read) == MAX_REPLY_BYTES:
                        break
        except TimeoutError:
            raise CallFailed(f"{self._timeout_s:g} 秒内无应答 · no answer within {self._timeout_s:g} s") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as e:
            raise CallFailed(f"连接失败 · no connection ({type(e).__name__}): {e}"[:500]) from None
        after = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
        return Reply(status=response.status, retry_after=after.decode("latin-1"), body=read)
