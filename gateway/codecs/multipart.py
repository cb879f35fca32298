"""Parts of a multipart body, however it ends: terminals cut the body off in the middle of the picture.

One decision: the boundary is the body's own first line, so the content type need not be known; a part that has no
boundary behind it is a part all the same, because whether XML or JSON is whole shows in reading it. A body that does not
begin with a boundary is one part.
"""

import re
from dataclasses import dataclass

_FIRST = re.compile(rb"\s*(--[^\r\n]{1,200}?)[ \t]*\r?\n")
_NAME = re.compile(rb'[;\s]name="?([A-Za-z0-9_.-]{1,64})', re.IGNORECASE)
_PICTURE = re.compile(rb"content-type:\s*(?:image|application/octet-stream)", re.IGNORECASE)
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_MOST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """name: as the form says it, "" if it does not. picture: its head says that it is one."""

    name: str
    picture: bool
    body: bytes


def parts(body: bytes) -> list[Part]:
    """Split a body; never raises."""
    first = _FIRST.match(body)
    if first is None:
        return [Part(name="", picture=False, body=body)]
    found = []
    boundary = b"\n" + first[1]
    for piece in _uncut(body[first.end(1) :], boundary).split(boundary, _MOST):
        end = _END_OF_HEAD.search(piece)
        if end is None:
            continue
        head, content = piece[: end.start()], piece[end.end() :]
        name = _NAME.search(head)
        picture = _PICTURE.search(head) is not None
        found.append(Part(name=name[1].decode() if name else "", picture=picture, body=content.strip()))
    return found


def _uncut(body: bytes, boundary: bytes) -> bytes:
    """Remove the beginning of a boundary at which the body was cut off."""
    for size in range(len(boundary) - 1, 1, -1):
        if body.endswith(boundary[:size]):
            return body[:-size]
    return body
