"""Messages are taken apart together, and one that breaks the decoder hurts only itself."""

from collections.abc import Sequence

import pytest

from gateway.wire import BadBody, Body, decode_bodies
from ingest import reading
from tests.ingest.frames import NOW_US, Sender, contact


def test_a_body_that_breaks_the_decoder_is_bad_and_the_others_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Sender()
    messages = [sender.frame(contact(NOW_US + i, i % 2)) for i in range(5)]
    killer = messages[2].payload

    def brittle(frames: Sequence[bytes]) -> list[Body | BadBody]:
        if killer in frames:
            raise ZeroDivisionError("a fault of ours")
        return decode_bodies(frames)

    monkeypatch.setattr(reading, "decode_bodies", brittle)
    bodies = [a.body for a in reading.read(messages)]
    assert [isinstance(b, Body) for b in bodies] == [True, True, False, True, True]
    assert "a fault of ours" in str(bodies[2])
    assert [int(b.rows["t_us"][0]) - NOW_US for b in bodies if isinstance(b, Body)] == [0, 1, 3, 4]
