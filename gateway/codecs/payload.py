"""Reading bytes that strangers sent: JSON that cannot hurt, identities that fit the wire, rejects that tell nothing.

One decision: whatever goes wrong while reading ends as one `Unreadable` with a stable reason, so that no codec can raise.
"""

from typing import TypeVar

import msgspec

from gateway.codecs.contract import Decoded, Reject
from gateway.wire import MAX_DEVICE_BYTES

T = TypeVar("T")
_PICTURE_SIGNS = (b"data:image", b"/9j/", b"iVBORw0KGgo")  # a data URL; JPEG and PNG in base64


class Unreadable(Exception):
    """A message that cannot be understood; `reason` is a stable word, `detail` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def read_json(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Decode JSON. Raises Unreadable, whose detail names the place and the types, never a value."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as e:
        raise Unreadable("bad_field", str(e)) from None
    except RecursionError:
        raise Unreadable("bad_json", f"{len(data)} bytes, nested too deeply") from None
    except ValueError as e:  # malformed JSON, bytes that are not UTF-8, numbers of thousands of digits
        detail = str(e) if isinstance(e, msgspec.MsgspecError) else type(e).__name__
        raise Unreadable("bad_json", f"{len(data)} bytes: {detail}") from None


def identity(family: str, name: str) -> str:
    """Make "<family>/<name>". Raises Unreadable where the wire cannot carry it."""
    device = f"{family}/{name}"
    try:
        size = len(device.encode())
    except UnicodeEncodeError:
        raise Unreadable("bad_identity", "a device's name is not valid Unicode") from None
    if not name or size > MAX_DEVICE_BYTES or not name.isprintable():
        raise Unreadable("bad_identity", f"a device's name is printable and has at most {MAX_DEVICE_BYTES} bytes, got {size}")
    return device


def rejected(error: Unreadable, data: bytes) -> Decoded:
    """Quarantine a message of a family that sends no pictures, unless it looks like one all the same."""
    picture = any(sign in data for sign in _PICTURE_SIGNS)
    return Decoded(reject=Reject(reason=error.reason, detail=error.detail, picture=picture))
