"""Two hundred ways to say an inner address, names that change their answer, and proxies: none reaches what is not listed."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.outgoing import BadRule, Caller, CallFailed, NotListed, OutgoingError, is_public, parse_allow_list, plain
from tests.api.outbox import receiver
from tests.api.serving import serving
from tests.api.ssrf import INNER, spellings, urls

URLS = urls()


def test_there_are_at_least_two_hundred_of_them() -> None:
    assert len(set(URLS)) >= 200


async def test_none_of_them_reaches_a_server_on_loopback() -> None:
    reached: list[str] = []

    async def take(request: Request) -> Response:
        reached.append(str(request.url))
        return Response()

    with serving(receiver(take)) as port, serving(receiver(take), host="::1") as port6:
        # What an operator may have listed beside it: another port, another network, names that are public by right.
        places = [
            f"127.0.0.1:{port + 1}",
            f"[::1]:{port + 1}",
            f"platform.example.cn:{port}",
            f"localhost:{port}",
            f"localhost:{port6}",
        ]
        caller = Caller(parse_allow_list([*places, f"11.0.0.0/8:{port}"]), timeout_s=10)
        for url in URLS:
            for target in {url.replace("{port}", str(p)) for p in (port, port6)}:
                with pytest.raises((NotListed, CallFailed)):
                    await caller.post(target, b"x", {})
    assert reached == []


@pytest.mark.parametrize("address", INNER)
def test_every_spelling_of_an_inner_address_comes_down_to_one_that_is_not_public(address: str) -> None:
    for host in spellings(address):
        if ":" in host:
            assert not is_public(plain(host.strip("[]"))), host
        else:  # what the system's resolver makes of it, if it is one at all
            try:
                found = socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            except OSError:
                continue
            assert all(not is_public(plain(str(info[4][0]))) for info in found), host


class Resolver:
    """Answers each question with the next of its answers, as a name under attack does."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int, **more: Any) -> list[tuple[Any, ...]]:
        del host, more
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in found]


@pytest.mark.parametrize(
    "answers",
    [
        [["8.8.8.8"], ["127.0.0.1"]],  # checked as public, then asked again
        [["8.8.8.8", "127.0.0.1"]],  # one of them is inside
        [["127.0.0.1"]],
        [["::ffff:127.0.0.1"]],
        [["64:ff9b::7f00:1"]],
        [["2002:7f00:1::"]],
    ],
)
async def test_a_name_that_changes_its_answer_is_asked_once_and_never_leads_inside(
    monkeypatch: pytest.MonkeyPatch, answers: list[list[str]]
) -> None:
    reached: list[str] = []
    dialled: list[str] = []

    async def take(request: Request) -> Response:
        reached.append(str(request.url))
        return Response()

    with serving(receiver(take)) as port:
        caller = Caller(parse_allow_list([f"platform.example.cn:{port}"]), timeout_s=5)
        resolver = Resolver(*answers)
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", resolver)
        connect = caller.network._tcp.connect_tcp

        async def dial(host: str, *rest: Any) -> Any:
            dialled.append(host)
            if host != "127.0.0.1":
                raise CallFailed("not here")
            return await connect(host, *rest)

        monkeypatch.setattr(caller.network._tcp, "connect_tcp", dial)
        with pytest.raises(OutgoingError):
            await caller.post(f"http://platform.example.cn:{port}/", b"x", {})
        asked = resolver.asked
    assert (reached, asked) == ([], 1)
    assert all(is_public(plain(address)) for address in dialled)


async def test_a_redirect_inside_is_an_answer_and_not_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[str] = []

    async def inside(request: Request) -> Response:
        reached.append(str(request.url))
        return Response()

    del monkeypatch
    with serving(receiver(inside)) as inner:

        async def elsewhere(request: Request) -> Response:
            return RedirectResponse(f"http://127.0.0.1:{inner}/", int(request.url.path[1:]))

        with serving(receiver(elsewhere)) as port:
            caller = Caller(parse_allow_list([f"127.0.0.1:{port}", f"127.0.0.1:{inner}"]), timeout_s=5)
            for status in (301, 302, 303, 307, 308):
                assert (await caller.post(f"http://127.0.0.1:{port}/{status}", b"x", {})).status == status
    assert reached == []


@asynccontextmanager
async def proxy(answer: str = "200 Connection established") -> AsyncIterator[tuple[int, list[str]]]:
    """An HTTP proxy that knows CONNECT only, and where every name is on loopback."""
    asked: list[str] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b" ", 2)
        asked.append(f"{method.decode()} {target.decode()}")
        writer.write(f"HTTP/1.1 {answer}\r\n\r\n".encode())
        if answer.startswith("200"):
            up, down = await asyncio.open_connection("127.0.0.1", int(target.rpartition(b":")[2]))
            async with asyncio.TaskGroup() as both:
                both.create_task(pipe(reader, down))
                both.create_task(pipe(up, writer))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


async def test_a_place_behind_a_proxy_is_reached_through_it_and_its_name_is_not_resolved_here() -> None:
    hosts: list[str] = []

    async def take(request: Request) -> Response:
        hosts.append(request.headers["host"])
        return Response(status_code=202)

    with serving(receiver(take)) as port:
        async with proxy() as (proxy_port, asked):
            caller = Caller(parse_allow_list([f"platform.invalid:{port} via 127.0.0.1:{proxy_port}"]), timeout_s=5)
            assert (await caller.post(f"http://platform.invalid:{port}/in", b"x", {})).status == 202
            for elsewhere in (f"http://other.invalid:{port}/", f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{proxy_port}/"):
                with pytest.raises((NotListed, CallFailed)):
                    await caller.post(elsewhere, b"x", {})
    assert (asked, hosts) == ([f"CONNECT platform.invalid:{port}"], [f"platform.invalid:{port}"])


@pytest.mark.parametrize("answer", ["407 Proxy Authentication Required", "502 Bad Gateway", "nonsense"])
async def test_a_proxy_that_gives_no_tunnel_is_a_failed_call(answer: str) -> None:
    async with proxy(answer) as (port, asked):
        caller = Caller(parse_allow_list([f"platform.invalid:80 via 127.0.0.1:{port}"]), timeout_s=5)
        with pytest.raises(CallFailed, match="gave no tunnel"):
            await caller.post("http://platform.invalid/", b"x", {})
    assert len(asked) == 1


@pytest.mark.parametrize(
    "line", ["a.cn:443 via", "a.cn:443 via 10.0.0.0/8:3128", "10.0.0.0/8:443 via p.cn:3128", "a.cn via p.cn:1"]
)
def test_a_proxy_entry_that_cannot_be_read_is_refused(line: str) -> None:
    with pytest.raises(BadRule):
        parse_allow_list([line])
