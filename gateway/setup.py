"""What a gateway is set up with, and how that changes while it runs.

One decision: the new setup is read whole before any of it holds; one that cannot be read changes nothing and is told. What cannot
change under way (code, shard, spool, where devices post) is told too, and waits for a restart.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.codecs.contract import Codec

log = logging.getLogger(__name__)

LOOK_S = 2.0
FIXED = ("code", "shard", "spool", "http", "status", "zone")
"""Settings that hold until the next start."""


class SetupError(ValueError):
    """A setup cannot be read or does not make sense; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Settings of one gateway. Urls are mqtt://user:password@host:port, or mqtts://.

    code and shard: as provisioned. spool_bytes: frames kept on disk, beyond it the oldest are lost by name; less where the disk
    has less. zone: where the devices' zone-less clocks are. heartbeat_s: until the backend says otherwise. reconnect_jitter_s:
    spread of the reconnects after a lost backend; a small one for demos. http: HOST:PORT where devices post, "" for none.
    status: HOST:PORT of the local status page, "" for none. ca_file: PEM of the authority that signed the brokers'
    certificates (mqtts://), None for the system's.
    """

    code: str
    shard: int
    uplink_url: str
    bus_url: str
    spool: Path
    spool_bytes: int = 512 * 1024 * 1024
    zone: str = "Asia/Shanghai"
    heartbeat_s: float = 15.0
    reconnect_jitter_s: float = 60.0
    http: str = ""
    status: str = ""
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A whole setup."""

    config: GatewayConfig
    codecs: Sequence[Codec]


class Reloads:
    """Reads a setup again when one of its files changes or somebody asks. load: raises SetupError."""

    def __init__(self, files: Sequence[Path], load: Callable[[], Setup]) -> None:
        self._files, self._load = files, load
        self._asked = asyncio.Event()
        self._stamps = self._look()

    def ask(self) -> None:
        """Read it again now."""
        self._asked.set()

    async def run(self, apply: Callable[[Setup], Awaitable[None]]) -> None:
        """Look for ever, and apply what is new."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._asked.wait()
            asked, stamps = self._asked.is_set(), self._look()
            self._asked.clear()
            if not asked and stamps == self._stamps:
                continue
            self._stamps = stamps
            try:
                setup = self._load()
            except SetupError as e:
                log.error("设置未改变 the setup stays as it was: %s", e)
                continue
            await apply(setup)

    def _look(self) -> list[tuple[int, int]]:
        found = []
        for file in self._files:
            try:
                at = file.stat()
                found.append((at.st_mtime_ns, at.st_ino))
            except OSError:
                found.append((0, 0))
        return found


def unchangeable(before: GatewayConfig, after: GatewayConfig) -> list[str]:
    """Return the settings that differ and have to wait for a restart."""
    return [name for name in FIXED if getattr(before, name) != getattr(after, name)]
