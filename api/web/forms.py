"""Reads the forms of pages that work without JavaScript: `application/x-www-form-urlencoded`, nothing else."""

from urllib.parse import parse_qsl

from fastapi import Request

from api.errors import BadRequest

MAX_FIELDS = 20


async def form(request: Request) -> dict[str, str]:
    """Return the fields; of a repeated one the last. Raises BadRequest for anything that is no such form."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise BadRequest("this address takes a form (application/x-www-form-urlencoded)")
    try:
        return dict(
            parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        )
    except ValueError as error:
        raise BadRequest(f"a form has at most {MAX_FIELDS} fields of UTF-8") from error


def whole(text: str) -> int:
    """Return a non-negative whole number of at most 18 digits. Raises BadRequest."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BadRequest("a whole number was expected")
    return int(text)
