"""Nothing leaves but to what the operator has listed, whatever the URL, the name or the receiver tries."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from api.outgoing import (
    BadRule,
    Caller,
    CallFailed,
    NotListed,
    is_public,
    parse_allow_list,
    parse_url,
    plain,
)
from tests.api.serving import serving

INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.8",
    "100.64.7.7",
    "127.0.0.1",
    "127.255.3.4",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.254",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.4",
    "203.0.113.9",
    "224.0.0.251",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "0:0:0:0:0:ffff:a9fe:a9fe",
    "::ffff:0:192.168.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:5ef5:79fd:0:0:f5ff:fffe",  # Teredo for 10.0.0.1
    "2001:1::1",
    "2001:db8::1",
    "2002:a9fe:a9fe::",
    "2002:7f00:1::1",
    "2002:c0a8:0101::9",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%1",
    "fe81::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_a_listed_name_that_leads_inside_is_not_called(address: str) -> None:
    allow = parse_allow_list(["platform.example:443"])
    with pytest.raises(NotListed, match="not public"):
        allow.check("platform.example", 443, [address])
    with pytest.raises(NotListed, match="not public"):
        allow.check("platform.example", 443, ["1.1.1.1", address])


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "59.202.38.4", "2400:3200::1", "::ffff:1.1.1.1", "2002:101:101::", "64:ff9b::1.1.1.1"]
)
def test_a_listed_name_that_leads_to_a_public_address_is_called(address: str) -> None:
    parse_allow_list(["platform.example:443"]).check("Platform.Example.", 443, [address])


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_that_is_not_listed_is_not_called_wherever_it_leads(address: str) -> None:
    for allow in ([], ["platform.example:443"], ["11.0.0.0/8:443", "[2600::/12]:443"]):
        with pytest.raises(NotListed):
            parse_allow_list(allow).check("other.example", 443, [address])


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.20.30.40", True),
        ("::ffff:10.20.30.40", True),
        ("64:ff9b::a14:1e28", True),
        ("10.21.0.1", False),
        ("fd00:7::9", True),
        ("fd00:8::9", False),
        ("1.1.1.1", False),
    ],
)
def test_a_listed_network_is_called_by_any_name_and_nothing_beside_it(address: str, allowed: bool) -> None:
    rules = parse_allow_list(["10.20.0.0/16:8443", "[fd00:7::/32]:8443", "127.0.0.1:80"])
    if allowed:
        rules.check("any.example", 8443, [address])
    else:
        with pytest.raises(NotListed, match="not on the allow-list"):
            rules.check("any.example", 8443, [address])
    with pytest.raises(NotListed):
        rules.check("any.example", 443, [address])


@given(st.ip_addresses(v=6))
def test_what_is_public_lies_in_the_public_internet_whatever_the_spelling(address: Any) -> None:
    ends_at = plain(str(address))
    assert plain(address.exploded) == ends_at
    if ends_at.version == 6 and is_public(ends_at):
        assert int(address) >> 125 == 1
        assert not ends_at.is_private


@given(st.ip_addresses(v=4))
def test_every_disguise_of_an_ipv4_address_is_seen_through(address: Any) -> None:
    n = int(address)
    for disguise in (
        ip_address((0xFFFF << 32) | n),
        ip_address((0xFFFF << 48) | n),
        ip_address((0x64FF9B << 96) | n),
        ip_address((0x2002 << 112) | (n << 80) | 7),
        ip_address((0x20010000 << 96) | (n ^ 0xFFFFFFFF)),
    ):
        assert plain(str(disguise)) == address


UNREADABLE_LINES = """host|host:|:443|host:0|host:65536|host:x|host:４４３|10.0.0.1/8:443|*:443|*.example:443
a b:443|http://host:443|host/x:443|fd00::g:443|0.0.0.0/33:443|user@host:443|host:443:443""".replace("\n", "|").split("|")


@pytest.mark.parametrize("line", ["", "host:" + "9" * 5000, *UNREADABLE_LINES])
def test_a_line_that_cannot_be_read_is_refused_and_not_guessed(line: str) -> None:
    with pytest.raises(BadRule):
        parse_allow_list([line])


UNREADABLE_URLS = [
    "platform",
    "//platform/x",
    "ftp://platform/",
    "file:///etc/passwd",
    "gopher://platform/",
    "unix:///x",
    "http://",
    "http:///x",
    "http://listed@evil/",
    "http://u:p@evil/",
    "http://a%20b/",
    "http://host:99999/",
    "http://[::1/",
    "http://a%00b/",
    "http://a%2eb/",
]


@pytest.mark.parametrize("url", ["", "http://a b/", "http://\x00/", *UNREADABLE_URLS])
def test_a_url_that_is_no_plain_http_address_is_refused(url: str) -> None:
    with pytest.raises(NotListed):
        parse_url(url)


Handler = Callable[[Request], Awaitable[Response]]


def app(handler: Handler) -> Starlette:
    return Starlette(routes=[Route("/{rest:path}", handler, methods=["GET", "POST"])])


class Seen:
    """Counts what arrives and answers with the Host it was asked for."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.hosts: list[str] = []

    async def take(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.hosts.append(request.headers["host"])
        return PlainTextResponse("taken", 202)


def loopback(port: int) -> Caller:
    return Caller(parse_allow_list([f"127.0.0.1:{port}"]), timeout_s=5)


async def test_a_listed_receiver_gets_the_bytes_as_they_are_and_the_name_it_is_called_by() -> None:
    seen, body = Seen(), bytes(range(256)) * 40
    with serving(app(seen.take)) as port:
        reply = await loopback(port).post(f"http://127.0.0.1:{port}/a", body, {"content-type": "application/json"})
        reply_by_name = await loopback(port).post(f"http://localhost:{port}/a", body, {}) if resolves_to_v4_only() else reply
    assert (reply.status, reply.body, reply.retry_after) == (202, b"taken", "")
    assert reply_by_name.status == 202
    assert set(seen.bodies) == {body}
    assert seen.hosts[0] == f"127.0.0.1:{port}"


def resolves_to_v4_only() -> bool:
    return {i[4][0] for i in socket.getaddrinfo("localhost", 80)} == {"127.0.0.1"}


async def test_an_ipv6_receiver_is_called_with_brackets_in_the_host() -> None:
    seen = Seen()
    with serving(app(seen.take), host="::1") as port:
        reply = await Caller(parse_allow_list([f"[::1]:{port}"])).post(f"http://[::1]:{port}/", b"x", {})
    assert reply.status == 202
    assert seen.hosts == [f"[::1]:{port}"]


SPELLINGS = ["127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "017700000001", "[::ffff:127.0.0.1]", "0"]


@pytest.mark.parametrize("allow", [[], ["127.0.0.1:1"], ["127.0.0.2:{port}"], ["localhost:{port}"], ["10.0.0.0/8:{port}"]])
async def test_no_spelling_of_loopback_is_called_unless_it_is_listed(allow: list[str]) -> None:
    seen = Seen()
    with serving(app(seen.take)) as port:
        caller = Caller(parse_allow_list([line.format(port=port) for line in allow]), timeout_s=5)
        for host in SPELLINGS:
            with pytest.raises(NotListed):
                await caller.post(f"http://{host}:{port}/", b"x", {})
    assert seen.bodies == []


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    seen = Seen()

    async def elsewhere(request: Request) -> Response:
        if request.url.path == "/there":
            return await seen.take(request)
        return RedirectResponse("/there", 307)

    with serving(app(elsewhere)) as port:
        assert (await loopback(port).post(f"http://127.0.0.1:{port}/here", b"x", {})).status == 307
    assert seen.bodies == []


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, proxy = Seen(), Seen()
    with serving(app(seen.take)) as port, serving(app(proxy.take)) as proxy_port:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy_port}")
        await loopback(port).post(f"http://127.0.0.1:{port}/", b"x", {})
    assert (len(seen.bodies), len(proxy.bodies)) == (1, 0)


async def test_of_a_huge_answer_64_kibibytes_are_read() -> None:
    async def huge(_: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(2000):
                yield b"x" * 1000
                await asyncio.sleep(0)

        return StreamingResponse(parts())

    with serving(app(huge)) as port:
        reply = await loopback(port).post(f"http://127.0.0.1:{port}/", b"x", {})
    assert reply.body == b"x" * 65_536


async def test_an_answer_that_trickles_ends_with_the_total_time() -> None:
    async def trickle(_: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield b"."
                await asyncio.sleep(0.02)

        return StreamingResponse(parts())

    with serving(app(trickle)) as port:
        caller = Caller(parse_allow_list([f"127.0.0.1:{port}"]), timeout_s=0.3)
        with pytest.raises(CallFailed, match=r"no answer within 0\.3 s"):
            await caller.post(f"http://127.0.0.1:{port}/", b"x", {})


async def test_a_refused_connection_and_a_name_that_does_not_resolve_are_failed_calls() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = taken.getsockname()[1]
        with pytest.raises(CallFailed, match="no connection"):
            await loopback(port).post(f"http://127.0.0.1:{port}/", b"x", {})
    with pytest.raises(CallFailed, match="no connection"):
        await loopback(port).post(f"http://nowhere.invalid:{port}/", b"x", {})


async def test_a_receiver_that_answers_nonsense_is_a_failed_call() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x00\xff not http at all\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(CallFailed, match="no connection"):
            await loopback(port).post(f"http://127.0.0.1:{port}/", b"x", {})


def self_signed(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=platform",
    ]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


async def test_a_certificate_nobody_vouches_for_is_refused_and_one_the_operator_installed_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    seen = Seen()
    with serving(app(seen.take), tls=(certificate, key)) as port:
        with pytest.raises(CallFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await loopback(port).post(f"https://127.0.0.1:{port}/", b"x", {})
        assert seen.bodies == []
        monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(certificate))
        assert (await loopback(port).post(f"https://127.0.0.1:{port}/", b"x", {})).status == 202
