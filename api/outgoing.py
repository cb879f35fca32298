"""The only way out: calls go to what the operator has listed, and nowhere else. An empty list means that nothing leaves.

One decision: the check sits where the connection is made. A name is resolved once, every address it gives is checked,
and the connection goes to a checked address, so that no redirect, second look-up or spelling of an address gets past it.

    "platform.example:443"   this name, as long as it leads to public addresses
    "10.20.0.0/16:8443"      any name or number that leads into this network; needed for private addresses
    "platform.example:443 via 10.0.0.5:3128"   this name or number through this HTTP proxy (CONNECT), which resolves it
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpcore
import httpx

from api.errors import ApiError

MAX_REPLY_BYTES = 64 * 1024  # a success rule reads the whole of it
MAX_TUNNEL_HEAD = 8 * 1024
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
    """The operator's list: (name, port), (network, port), and (host, port) → (proxy, port)."""

    names: frozenset[tuple[str, int]]
    networks: tuple[tuple[IPv4Network | IPv6Network, int], ...]
    proxies: Mapping[tuple[str, int], tuple[str, int]]

    def proxy(self, host: str, port: int) -> tuple[str, int] | None:
        """Return the proxy that calls to `host` go through, if any."""
        return self.proxies.get((host.lower().rstrip("."), port))

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
    """Read "name:port", "address:port", "network/bits:port" and "… via proxy:port"; IPv6 in brackets. Raises BadRule."""
    names: set[tuple[str, int]] = set()
    networks = []
    proxies: dict[tuple[str, int], tuple[str, int]] = {}
    for line in lines:
        target, via, proxy = line.partition(" via ")
        place, port = _place(target, line)
        if via:
            through, proxy_port = _place(proxy, line)
            proxies[_single(place, line), port] = _single(through, line), proxy_port
        elif isinstance(place, str):
            names.add((place, port))
        else:
            networks.append((place, port))
    return AllowList(names=frozenset(names), networks=tuple(networks), proxies=proxies)


def _place(text: str, line: str) -> tuple[str | IPv4Network | IPv6Network, int]:
    host, _, port_text = text.strip().rpartition(":")
    if not (port_text.isascii() and port_text.isdigit() and 1 <= int(port_text[:6]) <= 65535):
        raise BadRule(f"an allowed place is name:port or network/bits:port with a port of 1 to 65535, got {line!r}")
    bare = host.removeprefix("[").removesuffix("]") if ":" in host else host
    with suppress(ValueError):
        return ipaddress.ip_network(bare), int(port_text)
    try:
        if "/" in host or ":" in host:
            raise NotListed("neither a network nor a name")
        return parse_url(f"https://{host}").host.decode().lower().rstrip("."), int(port_text)
    except NotListed:
        raise BadRule(f"expected a host name, an address or a network without host bits, got {line!r}") from None


def _single(place: str | IPv4Network | IPv6Network, line: str) -> str:
    if isinstance(place, str):
        return place
    if place.num_addresses != 1:
        raise BadRule(f"a proxy and what lies behind it are one name or address each, got {line!r}")
    return str(place.network_address)


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


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name, once each, in the resolver's order. Raises httpcore.ConnectError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        raise httpcore.ConnectError(f"{host}: {e}") from None
    return list(dict.fromkeys(str(info[4][0]) for info in found))


async def _tunnel(stream: httpcore.AsyncNetworkStream, target: str, timeout: float | None) -> None:
    """Ask an HTTP proxy for a tunnel (CONNECT, RFC 9110 9.3.6). Raises httpcore.ConnectError where it gives none."""
    await stream.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode(), timeout)
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MAX_TUNNEL_HEAD:
        part = await stream.read(1024, timeout)
        if not part:
            break
        head += part
    said = head.partition(b"\r\n")[0].split()
    if not (head.endswith(b"\r\n\r\n") and len(said) > 1 and said[0].startswith(b"HTTP/1.") and said[1][:1] == b"2"):
        await stream.aclose()
        raise httpcore.ConnectError(f"the proxy gave no tunnel to {target}: {head[:100].decode('latin-1')!r}")


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
        if through := self._allow.proxy(host, port):
            stream = await self._connect(through[0], through[1], await resolve(*through), timeout, local_address, socket_options)
            await _tunnel(stream, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", timeout)
            return stream
        return await self._connect(host, port, await self.addresses(host, port), timeout, local_address, socket_options)

    async def addresses(self, host: str, port: int) -> list[str]:
        """Resolve a name once and return its addresses, all of them allowed. Raises NotListed, httpcore.ConnectError."""
        if not (self._allow.names or self._allow.networks or self._allow.proxies):
            raise NotListed(
                "未发送：外呼允许名单为空，请在设置中写入平台地址 · "
                "not sent: the allow-list of outgoing calls is empty; add the platform's host and port to the settings"
            )
        found = await resolve(host, port)
        self._allow.check(host, port, found)
        return found

    async def _connect(
        self,
        host: str,
        port: int,
        addresses: Sequence[str],
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.AsyncNetworkStream:
        refusals = []
        for address in addresses:
            try:
                return await self._tcp.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as e:
                refusals.append(f"{address}: {e}")
        raise httpcore.ConnectError(f"{host}: " + "; ".join(refusals))

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore asks for it between connection retries, of which we configure none."""
        await asyncio.sleep(seconds)


class Caller:
    """Posts bytes. One connection for each call, no redirects, nothing taken from the environment."""

    def __init__(self, allow: AllowList, *, timeout_s: float = 20.0) -> None:
        """`timeout_s`: for the whole call, from resolving the name to the last byte read."""
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()  # besides the bundled authorities those that the operator has installed
        self.network = CheckedNetwork(allow)
        self.tls = context
        self.timeout_s = timeout_s
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, max_connections=None, max_keepalive_connections=0, network_backend=self.network
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send `body` as it is and return the answer, whatever its status. Raises NotListed, CallFailed."""
        return await self._call("POST", url, body, headers, MAX_REPLY_BYTES)

    async def get(self, url: str, headers: Mapping[str, str], max_bytes: int = MAX_REPLY_BYTES) -> Reply:
        """Ask for a page, of which at most `max_bytes` are read. Raises NotListed, CallFailed."""
        return await self._call("GET", url, b"", headers, max_bytes)

    async def _call(self, method: str, url: str, body: bytes, headers: Mapping[str, str], max_bytes: int) -> Reply:
        target = parse_url(url)
        host = b"[%b]:%d" if b":" in target.host else b"%b:%d"
        fields = [(b"Host", host % (target.host, target.port)), *((k.encode(), v.encode()) for k, v in headers.items())]
        try:
            async with (
                asyncio.timeout(self.timeout_s),
                self._pool.stream(
                    method,
                    target,
                    headers=fields,
                    content=None if method == "GET" else body,
                    extensions={"timeout": {"connect": CONNECT_S}},
                ) as response,
            ):
                read = bytearray()
                async for part in response.aiter_stream():
                    read += part[: max_bytes - len(read)]
                    if len(read) == max_bytes:
                        break
        except TimeoutError:
            raise CallFailed(f"{self.timeout_s:g} 秒内无应答 · no answer within {self.timeout_s:g} s") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as e:
            raise CallFailed(f"连接失败 · no connection ({type(e).__name__}): {e}"[:500]) from None
        after = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
        return Reply(status=response.status, retry_after=after.decode("latin-1"), body=bytes(read))
