"""Previews of rules: what the last 30 days would have raised, computed beside the server, one at a time.

    start → queue (3) → run → a process per preview (preview_job) → share, result

One decision: a preview lives in this process's memory only, the newest few of them: it is a question, not a record. Full: whoever
asks next is told to wait.
"""

import asyncio
import logging
import sys
from dataclasses import dataclass, field
from typing import Any

import msgspec

from api.errors import NotFound, TooManyAttempts
from api.preview_job import Request
from gateway.clock import DAY_US

LOG = logging.getLogger(__name__)
DAYS = 30
WAITING = 3
KEPT = 20
LONGEST_S = 180
"""Seconds after which a preview is given up: the log is too long to be asked by the way."""
MAX_LINE = 16 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Preview:
    """One question. state: "waiting", "running", "done", "failed" (with why) or "long"."""

    id: int
    request: Request
    rule: str
    state: str = "waiting"
    share: float = 0.0
    before: list[dict[str, Any]] = field(default_factory=list)
    after: list[dict[str, Any]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Previews:
    """`run` works through the queue for ever; `start` puts something into it."""

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._queue: asyncio.Queue[Preview] = asyncio.Queue(WAITING)
        self._known: dict[int, Preview] = {}
        self._last = 0
        self._longest_s = longest_s

    def start(self, rule: str, request: Request) -> Preview:
        """Ask what `request` would have raised. Raises TooManyAttempts while others wait already."""
        self._last += 1
        preview = Preview(id=self._last, request=request, rule=rule)
        try:
            self._queue.put_nowait(preview)
        except asyncio.QueueFull as full:
            raise TooManyAttempts("other previews are waiting; try again in a minute", retry_after=60) from full
        self._known[preview.id] = preview
        for old in sorted(self._known)[:-KEPT]:
            del self._known[old]
        return preview

    def find(self, number: int) -> Preview:
        """Return a preview. Raises NotFound for one that never was or is forgotten."""
        if number not in self._known:
            raise NotFound(f"there is no preview {number} any more; ask again")
        return self._known[number]

    async def run(self) -> None:
        """Compute what is asked, one after the other, until cancelled."""
        while True:
            preview = await self._queue.get()
            preview.state = "running"
            try:
                async with asyncio.timeout(self._longest_s):
                    await _compute(preview)
            except TimeoutError:
                preview.state = "long"
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                LOG.warning("preview %d failed: %s", preview.id, error)
                preview.state = "failed"
            preview.ended.set()


async def _compute(preview: Preview) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "api.preview_job",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=MAX_LINE,
    )
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(msgspec.json.encode(preview.request))
        process.stdin.close()
        while line := await process.stdout.readline():
            said = msgspec.json.decode(line)
            if "share" in said:
                preview.share = said["share"]
            else:
                preview.before, preview.after, preview.state = said["before"], said["after"], "done"
        await process.wait()
        if preview.state != "done":
            raise ValueError(f"the process ended with {process.returncode} and no result")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def span(now_us: int) -> tuple[int, int]:
    """Return the time that a preview is about."""
    return now_us - DAYS * DAY_US, now_us
