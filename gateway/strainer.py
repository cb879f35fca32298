"""Takes pictures out of a body while it streams in, so that none is ever held whole, written or quoted.

One decision: what is kept stays in its own format (JSON, XML, multipart), so that codecs read it as if the device had sent
it without pictures. Parts of a multipart body that are not text lose their content; in what is left, every unbroken run of
base64 longer than any name or number is cut out.

    chunk → parts that are text → without long runs → kept
"""

import re
from enum import Enum

LONGEST_RUN = 256
"""Characters of base64 in a row from which on it is a picture or a face's features; no number or name is that long."""
_RUN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\%\r\n_-"
_LONG = re.compile(rb"[A-Za-z0-9+/=\\%%\r\n_-]{%d,}" % LONGEST_RUN)
_BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,200})', re.IGNORECASE)
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_TEXT = re.compile(rb"content-type:\s*(?:text/|application/(?:json|xml))", re.IGNORECASE)
_LONGEST_HEAD = 4096


class _In(Enum):
    TEXT = 1
    HEAD = 2
    PICTURE = 3


class Strainer:
    """Of one body. picture: whether one has come. dropped: bytes taken out."""

    def __init__(self, content_type: str) -> None:
        found = _BOUNDARY.search(content_type) if content_type.lower().startswith("multipart/") else None
        self.picture = False
        self.dropped = 0
        self._delimiter = b"--" + found[1].encode("utf-8", "replace") if found else b""
        self._in = _In.PICTURE if content_type.lower().startswith("image/") else _In.TEXT
        self._buffer = b""
        self._tail = b""
        self._running = False

    def feed(self, chunk: bytes) -> bytes:
        """Return what may be kept of the body so far and was not returned before; holds back at most a head."""
        self._buffer += chunk
        kept = bytearray()
        while self._step(kept):
            pass
        return self._without_runs(bytes(kept))

    def close(self) -> bytes:
        """Return what was held back; the body may end anywhere."""
        rest = b"" if self._in is _In.PICTURE else self._buffer
        return self._without_runs(rest) + self._tail

    def _step(self, kept: bytearray) -> bool:
        """Go on to the next boundary or blank line; False where more must come first."""
        if self._in is _In.HEAD:
            return self._head(kept)
        size = len(self._delimiter)
        at = self._buffer.find(self._delimiter) if size else -1
        if at >= 0:
            content, self._buffer = self._buffer[:at], self._buffer[at + size :]
        else:
            held = min(len(self._buffer), size)
            content, self._buffer = self._buffer[: len(self._buffer) - held], self._buffer[len(self._buffer) - held :]
        if self._in is _In.TEXT:
            kept += content
        else:
            self.dropped += len(content)
            self.picture |= bool(content.strip())
        if at < 0:
            return False
        kept += b"\r\n" + self._delimiter if self._in is _In.PICTURE else self._delimiter
        self._in = _In.HEAD
        return True

    def _head(self, kept: bytearray) -> bool:
        end = _END_OF_HEAD.search(self._buffer)
        if end is None and len(self._buffer) <= _LONGEST_HEAD:
            return False
        head = self._buffer[: end.end()] if end else b""
        self._buffer = self._buffer[len(head) :]
        kept += head
        plain = b"content-type:" not in head.lower() and b"pic" not in head.lower() and b".jp" not in head.lower()
        self._in = _In.TEXT if end and (plain or _TEXT.search(head)) else _In.PICTURE
        return True

    def _without_runs(self, data: bytes) -> bytes:
        data, self._tail = self._tail + data, b""
        size = len(data)
        if self._running:
            data = data.lstrip(_RUN)
            self._running = not data
        body = data.rstrip(_RUN)
        self._tail = data[len(body) :]
        if len(self._tail) >= LONGEST_RUN:
            self._running, self._tail = True, b""
        kept = _LONG.sub(b"", body)
        lost = size - len(kept) - len(self._tail)
        self.dropped += lost
        self.picture |= lost > 0
        return kept
