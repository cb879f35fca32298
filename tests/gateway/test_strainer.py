"""Pictures are taken out while the body streams in, wherever it is cut, and nothing else is."""

import base64
import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.codecs.multipart import parts
from gateway.strainer import LONGEST_RUN, Strainer
from tests.gateway.codecs.test_hikaccess import EVENT
from tests.gateway.codecs.test_hostile import VALID

MULTIPART = "multipart/form-data; boundary=MIME_boundary"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40 + b"\r\n--not the boundary\r\n" + b"\xff\xd9"
BODY = (
    b'--MIME_boundary\r\nContent-Disposition: form-data; name="Picture"\r\nContent-Type: image/jpeg\r\n\r\n' + JPEG + b"\r\n"
    b'--MIME_boundary\r\nContent-Disposition: form-data; name="event_log"\r\nContent-Type: application/json\r\n\r\n'
    + EVENT
    + b'\r\n--MIME_boundary\r\nContent-Disposition: form-data; name="Picture"; filename="a.jpg"\r\n\r\n'
    + JPEG
    + b"\r\n--MIME_boundary--\r\n"
)


def strain(body: bytes, content_type: str, cuts: list[int] | None = None) -> tuple[bytes, Strainer]:
    strainer = Strainer(content_type)
    places = sorted({0, len(body), *(c % (len(body) + 1) for c in cuts or [])})
    kept = b"".join(strainer.feed(body[a:b]) for a, b in pairwise(places))
    return kept + strainer.close(), strainer


@given(st.lists(st.integers(0, 100_000), max_size=8))
def test_parts_that_are_pictures_lose_their_content_and_the_event_stays_whole(cuts: list[int]) -> None:
    kept, strainer = strain(BODY, MULTIPART, cuts)
    assert [part.body for part in parts(kept)] == [b"", EVENT, b""]
    assert strainer.picture
    assert len(kept) + strainer.dropped >= len(BODY)


@given(st.integers(0, len(BODY)))
def test_a_body_cut_anywhere_keeps_no_byte_of_a_picture(end: int) -> None:
    kept, _ = strain(BODY[:end], MULTIPART)
    assert b"\xff" not in kept


@given(st.binary(min_size=LONGEST_RUN, max_size=3000), st.lists(st.integers(0, 100_000), max_size=8))
def test_inline_pictures_leave_json_that_can_still_be_read(picture: bytes, cuts: list[int]) -> None:
    text = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    body = json.dumps({"a": 1, "pic": text, "b": [2, "门"], "last": text}, ensure_ascii=False).encode()
    kept, strainer = strain(body, "application/json", cuts)
    assert json.loads(kept) == {"a": 1, "pic": "data:image/jpeg;base64,", "b": [2, "门"], "last": "data:image/jpeg;base64,"}
    assert strainer.picture
    assert strainer.dropped + len(kept) == len(body)


@given(st.sampled_from([payload for _, payload in VALID]), st.lists(st.integers(0, 5000), max_size=8))
def test_what_is_no_picture_passes_unchanged_however_it_is_cut(payload: bytes, cuts: list[int]) -> None:
    kept, strainer = strain(payload, "text/plain", cuts)
    assert kept == payload
    assert not strainer.picture


def test_a_body_that_is_a_picture_leaves_nothing() -> None:
    kept, strainer = strain(JPEG, "image/jpeg")
    assert kept == b""
    assert strainer.picture


def test_a_picture_of_any_length_is_never_held() -> None:
    strainer = Strainer(MULTIPART)
    strainer.feed(b"--MIME_boundary\r\nContent-Type: image/jpeg\r\n\r\n")
    held = b"".join(strainer.feed(b"\x00" * 65536) for _ in range(100)) + strainer.close()
    assert b"\x00" not in held
    assert strainer.dropped > 6_000_000


def test_a_head_without_end_is_no_way_in() -> None:
    kept, strainer = strain(b"--MIME_boundary\r\n" + JPEG, MULTIPART)
    assert b"\xff" not in kept
    assert strainer.picture
