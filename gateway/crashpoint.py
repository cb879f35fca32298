"""Named places where a process can be made to end as `kill -9` ends it, to test what is on disk at that moment.

One decision: nothing happens unless the environment says so. SMARTCARE_CRASH_AT is "name:hit" (1: the first time that the
place is passed) or "name:~text" (when one of the messages in hand holds the text: a message that kills).
"""

import os
import signal
from collections.abc import Iterable

ENVIRONMENT = "SMARTCARE_CRASH_AT"
POINTS = {
    "gateway": (
        "spool.commit",
        "spool.committed",
        "gateway.answered",
        "uplink.send",
        "uplink.sent",
        "gateway.acknowledged",
    ),
    "worker": (
        "ingest.taken",
        "ingest.read",
        "t1.commit",
        "t1.committed",
        "ingest.answer",
        "ingest.answered",
        "t2.commit",
        "t2.committed",
        "t2.checkpoint",
    ),
    "api": ("delivery.leased", "delivery.called", "delivery.finished"),
}
"""All there are, by the process that passes them."""

_name, _, _when = os.environ.get(ENVIRONMENT, "").partition(":")
_passed = 0


def crashpoint(name: str, messages: Iterable[bytes] = ()) -> None:
    """End this process here and now if that was asked for."""
    if name == _name:
        _pass(messages)


def _pass(messages: Iterable[bytes]) -> None:
    global _passed
    _passed += 1
    text = _when.removeprefix("~").encode()
    if any(text in m for m in messages) if _when.startswith("~") else _passed == int(_when):
        os.kill(os.getpid(), signal.SIGKILL)
