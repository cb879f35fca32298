"""Names of persons, encrypted: AES-256-GCM with a key that is a file beside the application and never in the database.

One decision: the person's number is authenticated with each name, so that a name moved to another row opens as nothing.
"""

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from api.errors import ApiError

VERSION = b"\x01"
NONCE_BYTES = 12
KEY_BYTES = 32


class NoNames(ApiError):
    """Names cannot be kept or read here."""

    status = 503
    slug = "no-names"


class Sealer:
    """Seals and opens short texts about persons. The key's file is made, mode 0600, when it is first needed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._cipher: AESGCM | None = None

    def seal(self, person: int, text: str) -> bytes:
        """Return `text` encrypted for this person. Raises NoNames."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return VERSION + nonce + self._key().encrypt(nonce, text.encode(), str(person).encode())

    def open(self, person: int, sealed: bytes) -> str:
        """Return what was sealed for this person. Raises NoNames for another key, person or version."""
        if sealed[:1] != VERSION:
            raise NoNames("this name was written by a newer version")
        nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return self._key().decrypt(nonce, body, str(person).encode()).decode()
        except InvalidTag as error:
            raise NoNames("this name does not open with the present key; put the key's file back from its backup") from error

    def _key(self) -> AESGCM:
        if self._cipher is None:
            if self._path is None:
                raise NoNames("no file is set for the key of names (SMARTCARE_NAME_KEY)")
            try:
                self._cipher = AESGCM(bytes.fromhex(_read_or_make(self._path)))
            except (OSError, ValueError) as error:
                raise NoNames(f"the key of names at {self._path} cannot be read") from error
        return self._cipher


def _read_or_make(path: Path) -> str:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES))
    except FileExistsError:
        pass
    return path.read_text().strip()
