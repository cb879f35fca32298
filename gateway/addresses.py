"""Which device posts to which address: a random token in the path of each, kept in a file beside the spool.

One decision: most devices can be given a URL and nothing else, so the URL is the credential and says who is speaking.
ZKTeco terminals can be given a host and a port only; those are known by the serial number in their query, and only where
the listener is not open to the internet. What was set up for ThingsBoard keeps its token and ThingsBoard's paths.
"""

import os
import re
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from gateway.codecs.request import NAME

_PATH = re.compile(r"/d/([A-Za-z0-9_-]{20,64})(/.*)?")
_API_PATH = re.compile(r"/api/v1/([A-Za-z0-9_-]{12,64})(/.*)?")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{12,64}")
_SERIAL_PATH = re.compile(r"(?:/iclock)+/[a-z]{1,20}(?:\.aspx)?")
SERIAL_FAMILY, TOKEN_FAMILY = "zk", "tb"
TOKEN_BYTES = 18


class AddressError(ValueError):
    """A device cannot be given an address, or the file of addresses cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A device that may post. blocked: it has sent a picture where none may come, and must be set up anew."""

    token: str
    family: str
    name: str
    blocked: bool = False

    @property
    def path(self) -> str:
        """The path to set up in the device."""
        return f"/api/v1/{self.token}" if self.family == TOKEN_FAMILY else f"/d/{self.token}"


_lists = msgspec.json.Decoder(list[Address])


class Addresses:
    """The addresses in `file` (mode 0600), which another process may change at any time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int] = (0, 0)
        self._all: list[Address] = []
        self._by_token: dict[str, Address] = {}
        self.reload()

    def reload(self) -> None:
        """Read the file again if it has changed. Raises AddressError where it cannot be read."""
        try:
            found = self._file.stat()
        except FileNotFoundError:
            self._take([])
            return
        if (found.st_mtime_ns, found.st_ino) == self._seen:
            return
        try:
            self._take(_lists.decode(self._file.read_bytes()))
        except (OSError, msgspec.MsgspecError) as e:
            raise AddressError(f"{self._file} cannot be read ({type(e).__name__}); repair it or add the devices again") from e
        self._seen = (found.st_mtime_ns, found.st_ino)

    def add(self, family: str, name: str, token: str = "") -> Address:
        """Give a device an address, a new one where it had one; the old one ends and a block is lifted.

        token: what a ThingsBoard device has already; others get a random one. Raises AddressError.
        """
        if not NAME.fullmatch(name) or set(name) == {"."}:
            raise AddressError(f"a device's name has 1 to 64 letters, digits, '-', '_' or '.', got {name!r}")
        if token and (family != TOKEN_FAMILY or not _TOKEN.fullmatch(token)):
            raise AddressError(
                "a token is given to family tb only: 12 to 64 letters, digits, '-' or '_' (whoever guesses it speaks)"
            )
        self.reload()
        if token and any(a.token == token and (a.family, a.name) != (family, name) for a in self._all):
            raise AddressError("another device has that token; in ThingsBoard each device has its own")
        address = Address(token=token or secrets.token_urlsafe(TOKEN_BYTES), family=family, name=name)
        self._write([a for a in self._all if (a.family, a.name) != (family, name)] + [address])
        return address

    def block(self, address: Address) -> None:
        """Refuse the device until it is added again."""
        self.reload()
        self._write([replace(a, blocked=True) if a.token == address.token else a for a in self._all])

    def find(self, path: str, serial: str, *, by_serial: bool) -> tuple[Address, str] | None:
        """Return whose path that is, and the device's own part of it; by_serial: also without a token."""
        self.reload()
        if match := _PATH.fullmatch(path) or _API_PATH.fullmatch(path):
            found = self._by_token.get(match[1])
            return (found, match[2] or "/") if found and path.startswith(found.path) else None
        if by_serial and _SERIAL_PATH.fullmatch(path):
            known = next((a for a in self._all if (a.family, a.name) == (SERIAL_FAMILY, serial)), None)
            return (known, path.removesuffix(".aspx")) if known else None
        return None

    def _take(self, addresses: list[Address]) -> None:
        self._all = addresses
        self._by_token = {a.token: a for a in addresses}

    def _write(self, addresses: list[Address]) -> None:
        fresh = self._file.with_name(self._file.name + ".new")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(addresses), indent=2))
        fresh.replace(self._file)
        self.reload()


def beside(spool: Path) -> Path:
    """Return the file of addresses that belongs to a spool."""
    return spool.with_suffix(".devices.json")
