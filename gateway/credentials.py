"""Which user and secret this gateway shows at the broker of the uplink: those it was set up with, or newer ones it was sent.

One decision: what was sent is tried first and kept beside the spool (mode 0600), and the others stay at hand until it has worked:
a renewal that the broker does not know yet, or one that was lost half-way, locks nobody out.
"""

import contextlib
import logging
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from gateway.wire import Renewal

log = logging.getLogger(__name__)


class Credentials:
    """url: as set up, with user and secret in it. file: where a renewal is kept."""

    def __init__(self, url: str, file: Path) -> None:
        self._file = file
        self._configured = _of(url)
        self._renewed: tuple[str, str] | None = None
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            found = msgspec.json.decode(file.read_bytes(), type=Renewal)
            self._renewed = found.user, found.secret
        self._use_renewed = self._renewed is not None

    def present(self) -> tuple[str, str]:
        """Return the user and the secret to connect with, "" for none."""
        return self._renewed if self._renewed and self._use_renewed else self._configured

    def renew(self, renewal: Renewal) -> bool:
        """Take what the backend sent; tell whether that changes what is shown (one that was refused is tried once more)."""
        if self._use_renewed and self._renewed == (renewal.user, renewal.secret):
            return False
        self._renewed, self._use_renewed = (renewal.user, renewal.secret), True
        fresh = self._file.with_name(self._file.name + ".new")
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as out:
            out.write(msgspec.json.encode(renewal))
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self._file)
        return True

    def reconfigure(self, url: str) -> None:
        """Take what was set up anew: a person's word goes before what was sent earlier."""
        if (found := _of(url)) != self._configured:
            self._configured, self._renewed, self._use_renewed = found, None, False
            self._file.unlink(missing_ok=True)

    def refused(self) -> None:
        """The broker could not be had with the present ones: try the others next."""
        if self._renewed:
            self._use_renewed = not self._use_renewed

    def accepted(self) -> None:
        """The broker took the present ones."""
        if self._renewed and self._use_renewed and self._renewed[0] != self._configured[0]:
            log.info("the broker knows us as %s", self._renewed[0])


def _of(url: str) -> tuple[str, str]:
    at = urlsplit(url)
    return unquote(at.username or ""), unquote(at.password or "")
