"""The server stops without a traceback: what it cuts off is answered, and its signal is not raised a second time."""

import asyncio
import signal

from starlette.types import Message, Receive, Scope, Send

from api import serve
from api.settings import ApiSettings
from api.web.security import CutOff

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def cut_off(*, stopping: bool, begun: bool) -> list[Message]:
    """Cancel a request that would never end, and return what was sent of it."""
    sent: list[Message] = []
    waiting = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        waiting.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(CutOff(endless, lambda: stopping)(SCOPE, receive, send))
        await waiting.wait()
        task.cancel()
    assert task.cancelled() is not stopping
    return sent


async def test_a_request_that_is_cut_off_by_the_end_of_the_server_is_told_so() -> None:
    assert [m.get("status") for m in await cut_off(stopping=True, begun=False)] == [503, None]
    assert [m.get("status") for m in await cut_off(stopping=True, begun=True)] == [200]
    assert await cut_off(stopping=False, begun=False) == []


def test_a_signal_ends_the_server_and_is_not_raised_again_afterwards() -> None:
    settings = ApiSettings(database_url="postgresql://127.0.0.1:1/none", public_url="http://127.0.0.1")
    server = serve.server(settings, "127.0.0.1", 0)
    with server.capture_signals():  # a KeyboardInterrupt at its end would be the second time
        signal.raise_signal(signal.SIGINT)
    assert (server.should_exit, server.force_exit) == (True, False)
    server.handle_exit(signal.SIGINT, None)
    assert server.force_exit
