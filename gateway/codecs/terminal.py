"""What terminals of all makes have in common: numbers that are texts, ids of persons, rejects that tell nothing.

One decision: a reject of a family that may send pictures or names is a reason, a length and fixed words. Nothing of the
payload is ever quoted, not even in part.
"""

import re
from collections.abc import Mapping
from zlib import crc32

from gateway.codecs.contract import Reject
from gateway.events import Method

Persons = Mapping[tuple[str, str], bytes]
"""(device identity, local id) → the token of someone who has consented."""

_DIGITS = re.compile(r"[0-9]{1,18}")
_BUCKETS = 16
_WORDS = {
    "bad_json": "not the JSON of a terminal",
    "bad_xml": "not XML, cut short, or XML with a document type or entities, which no device needs",
    "bad_form": "not the form of a sensor",
    "bad_field": "a field has another type or range than the protocol says",
    "bad_identity": "the device's number is missing, is not one, or is not that of the topic or the address",
    "bad_record": "the record's number is missing or not a number",
    "bad_row": "a row of the table is not as the protocol says; the others are kept",
    "bad_status": "VerifyStatus is not a number",
    "no_part": "no part of the message is an event that can be read whole",
    "unknown_method": "the counts say neither that they are running totals nor of which time",
    "unknown_operator": "the operator is none that a terminal sends",
}


def reject(reason: str, payload: bytes) -> Reject:
    """Make the reject of a family that may send pictures or names."""
    return Reject(reason=reason, detail=f"{len(payload)} bytes: {_WORDS[reason]}", picture=True)


def integer(value: object) -> int | None:
    """Return a number below 10^18 that came as a number or as digits; anything else is None."""
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        return int(value)
    return value if type(value) is int and 0 <= value < 10**18 else None


def local_id(*values: object) -> str:
    """Return the first of the values that says something, as text."""
    for value in values:
        number = None if isinstance(value, str) else integer(value)
        text = value.strip() if isinstance(value, str) else "" if number is None else str(number)
        if text:
            return text
    return ""


def record_key(raw_us: int, who: str) -> int:
    """Make the key of a record that has no number: its second, and one of 16 groups of persons.

    Two persons in one second nearly always differ, and a group of a sixteenth of all people names nobody. 0 where the
    record's own time cannot be read: then nothing tells it from another.
    """
    if raw_us <= 0:
        return 0
    return raw_us // 1_000_000 * _BUCKETS + crc32(who.encode("utf-8", "replace")) % _BUCKETS


def method(number: int | None, methods: Mapping[int, Method]) -> Method:
    """Return how someone was recognised; a way that is not listed counts as a check-in by hand."""
    return Method.MANUAL if number is None else methods.get(number, Method.MANUAL)
