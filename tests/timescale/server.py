"""A real TimescaleDB that needs only npm: PostgreSQL and the extension built for WebAssembly, behind a bridge.

One decision: packages are installed once, into build/timescale. One connection at a time may be busy.
"""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smartcare.embedded import process

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "timescale"
START_S = 180  # the extension's scripts run in WebAssembly


class NotInstalled(Exception):
    """npm could not install it; the message is npm's."""


def install() -> None:
    """Install what is missing. Raises NotInstalled."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "bridge.mjs"):
        shutil.copyfile(HERE / name, BUILD / name)
    if (BUILD / "node_modules" / "@unni-craftsman" / "pglite").exists():
        return
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled(f"npm could not install TimescaleDB into {BUILD}:\n{done.stderr}")


@contextmanager
def serve(log: Path) -> Iterator[str]:
    """Run it with an empty database; gives the connection string. Raises process.ServerError."""
    port = process.free_port()
    node = process.spawn(["node", "bridge.mjs", str(port)], log=log, on_parent_death=signal.SIGKILL, cwd=BUILD)
    try:
        process.wait_ready(node, lambda: process.accepts(port), what="TimescaleDB", log=log, seconds=START_S)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
    finally:
        process.stop(node, signal.SIGTERM, 5)
