"""Hikvision people counting: three namespaces, two meanings of the same numbers, times as cameras write them."""

import pytest

from gateway.codecs.contract import Decoded, Message, Reply
from gateway.codecs.hikcount import HikCount
from gateway.events import NO_FLAGS, Event, Flag, Kind

NOW = 1_790_000_000_000_000  # 22:13:20 in Shanghai
SEEN = 1_789_999_995_000_000
TOPIC = "http/hikcount/hall-cam/"
REAL_TIME = b"""<?xml version="1.0" encoding="UTF-8"?>
<EventNotificationAlert version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema">
<ipAddress>192.0.2.20</ipAddress><protocol>HTTP</protocol><macAddress>a4:d5:c2:00:00:20</macAddress><channelID>1</channelID>
<dateTime>2026-09-21T22:13:16+08:00</dateTime><activePostCount>1</activePostCount>
<eventType>PeopleCounting</eventType><eventState>active</eventState><channelName>Hall</channelName>
<childCounting><enter>90</enter><exit>91</exit></childCounting>
<peopleCounting><statisticalMethods>realTime</statisticalMethods>
<RealTime><time>2026-09-21T22:13:15+08:00</time></RealTime>
<enter>41</enter><exit>38</exit><pass>7</pass><regionsID>1</regionsID></peopleCounting>
<childCounting><enter>92</enter><exit>93</exit></childCounting>
</EventNotificationAlert>
"""
WINDOW = (
    REAL_TIME.replace(b">realTime<", b">timeRange<")
    .replace(b"<RealTime><time>", b"<TimeRange><startTime>2026-09-21T22:00:00+08:00</startTime><endTime>")
    .replace(b"</time></RealTime>", b"</endTime></TimeRange>")
)
HEARTBEAT = b"""<EventNotificationAlert version="1.0" xmlns="urn:psialliance-org"><dateTime>2026-09-21T22:13:15+08:00</dateTime>
<eventType>videoloss</eventType><eventState>inactive</eventState></EventNotificationAlert>"""
KEY = SEEN // 1_000_000


def decode(payload: bytes, received_us: int = NOW) -> Decoded:
    return HikCount().decode(Message(topic=TOPIC, payload=payload, received_us=received_us), {}, {})


def event(kind: Kind, a: int = 0, b: int = 0, flags: Flag = NO_FLAGS, *, aux: int = 1, t_us: int = SEEN, key: int = 0) -> Event:
    aux = 0 if kind is Kind.ALIVE else aux
    return Event(device="hikcount/hall-cam", kind=kind, aux=aux, a=a, b=b, flags=flags, t_us=t_us, received_us=NOW, key=key)


def test_running_totals_since_midnight_are_totals_and_children_are_not_mixed_in() -> None:
    expected = event(Kind.COUNT_TOTAL, 41, 38, Flag.DAILY)
    assert decode(REAL_TIME) == Decoded(events=(expected,), replies=(Reply(topic=TOPIC, payload=b"OK"),))


@pytest.mark.parametrize("method", [b"timeRange", b"signalTrigger"])
def test_a_window_is_its_own_count_and_the_same_window_twice_is_one(method: bytes) -> None:
    expected = event(Kind.COUNT_PERIOD, 41, 38, Flag.HAS_KEY, key=KEY)
    assert decode(WINDOW.replace(b">timeRange<", b">" + method + b"<")).events == (expected,)


@pytest.mark.parametrize(
    "root",
    [
        b'<EventNotificationAlert version="1.0" xmlns="urn:psialliance-org">',
        b'<EventNotificationAlert version="2.0" xmlns="http://www.hikvision.com/ver20/XMLSchema">',
        b"<EventNotificationAlert>",
    ],
)
def test_any_namespace_is_the_same_message(root: bytes) -> None:
    known = b'<EventNotificationAlert version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema">'
    assert known in REAL_TIME
    assert decode(REAL_TIME.replace(known, root)) == decode(REAL_TIME)


def test_a_namespace_with_a_prefix_is_the_same_message() -> None:
    payload = REAL_TIME.replace(b"<peopleCounting>", b'<h:peopleCounting xmlns:h="http://www.std-cgi.com/ver20/XMLSchema">')
    payload = payload.replace(b"</peopleCounting>", b"</h:peopleCounting>").replace(
        b"<enter>41</enter>", b"<h:enter>41</h:enter>"
    )
    assert decode(payload) == decode(REAL_TIME)


@pytest.mark.parametrize(
    "time",
    [
        b"2026-09-21T09:13:15-5:00",  # no leading zero
        b"2026-09-21T22:13:15",
        b"2026-09-21T14:13:15Z",
        b"2026-09-21T22:13:15-5:00",  # the clock is right, the label of its zone is not
        b"2026-09-21T22:13:15Z",
    ],
)
def test_every_way_in_which_cameras_write_the_time_is_the_same_moment(time: bytes) -> None:
    payload = REAL_TIME.replace(b"2026-09-21T22:13:15+08:00", time)
    assert decode(payload).events == (event(Kind.COUNT_TOTAL, 41, 38, Flag.DAILY),)


def test_a_camera_far_from_the_truth_keeps_its_counts() -> None:
    payload = WINDOW.replace(b"2026-09-21T22:13:15+08:00", b"1970-01-01T00:00:09Z")
    (counted,) = decode(payload).events
    assert (counted.t_us, counted.raw_us, counted.key) == (NOW, 9_000_000, 9)
    (timeless,) = decode(payload.replace(b"1970-01-01T00:00:09Z", b"yesterday")).events
    assert (timeless.t_us, timeless.raw_us, timeless.key, timeless.flags) == (NOW, -1, 0, Flag.TIME_IMPLAUSIBLE)


@pytest.mark.parametrize(("payload", "kind"), [(REAL_TIME, Kind.COUNT_TOTAL), (WINDOW, Kind.COUNT_PERIOD)])
def test_firmware_that_does_not_say_how_it_counted_shows_it_by_the_time(payload: bytes, kind: Kind) -> None:
    for method in (b"realTime", b"timeRange"):
        payload = payload.replace(b"<statisticalMethods>" + method + b"</statisticalMethods>", b"")
    assert [e.kind for e in decode(payload).events] == [kind]


def test_counts_that_could_mean_either_are_not_counted_and_not_asked_for_again() -> None:
    payload = REAL_TIME.replace(b"<statisticalMethods>realTime</statisticalMethods>", b"")
    payload = payload.replace(b"<RealTime><time>2026-09-21T22:13:15+08:00</time></RealTime>", b"")
    decoded = decode(payload)
    assert (decoded.events, len(decoded.replies)) == ((), 1)
    assert decoded.reject is not None
    assert decoded.reject.reason == "unknown_method"


def test_a_retransmission_is_late() -> None:
    payload = WINDOW.replace(b"<eventState>", b"<isDataRetransmission>true</isDataRetransmission><eventState>")
    assert decode(payload).events == (event(Kind.COUNT_PERIOD, 41, 38, Flag.HAS_KEY | Flag.LATE, key=KEY),)


def test_regions_are_lines_and_channels_of_a_recorder_are_devices() -> None:
    payload = REAL_TIME.replace(b"<regionsID>1<", b"<regionsID>3<").replace(b"<channelID>1<", b"<channelID>33<")
    (counted,) = decode(payload).events
    assert (counted.device, counted.aux) == ("hikcount/hall-cam/33", 3)


def test_a_heartbeat_and_events_of_other_kinds_are_signs_of_life() -> None:
    assert decode(HEARTBEAT).events == (event(Kind.ALIVE),)
    assert [e.kind for e in decode(REAL_TIME.replace(b">PeopleCounting<", b">VMD<")).events] == [Kind.ALIVE]


def test_with_a_picture_behind_it_even_cut_off_the_count_is_read() -> None:
    head = b'--MIME_boundary\r\nContent-Disposition: form-data; name="counts.xml"\r\nContent-Type: application/xml\r\n\r\n'
    picture = b'\r\n--MIME_boundary\r\nContent-Disposition: form-data; name="Picture"\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8'
    body = head + REAL_TIME + picture
    for end in range(len(head + REAL_TIME), len(body) + 1):
        assert decode(body[:end]) == decode(REAL_TIME), end
    cut = decode(head + REAL_TIME[:-5])
    assert (cut.events, cut.replies) == ((), ())


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (REAL_TIME[:-10], "bad_xml"),
        (b"", "bad_xml"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "bad_xml"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "bad_xml"),
        (b"<a>&b;</a>", "bad_xml"),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", "bad_xml"),
        (b"<a>" * 50 + b"</a>" * 50, "bad_xml"),
        (REAL_TIME.replace(b"<enter>41<", b"<enter>-1<"), "bad_field"),
        (REAL_TIME.replace(b"<enter>41<", b"<enter>4294967296<"), "bad_field"),
        (REAL_TIME.replace(b"<enter>41</enter>", b""), "bad_field"),
        (REAL_TIME.replace(b"<regionsID>1<", b"<regionsID>17<"), "bad_field"),
    ],
)
def test_what_cannot_be_read_is_rejected_and_what_was_cut_is_not_answered(payload: bytes, reason: str) -> None:
    decoded = decode(payload)
    assert decoded.events == ()
    assert decoded.reject is not None
    assert (decoded.reject.reason, decoded.reject.picture) == (reason, True)
    assert len(decoded.replies) == (reason == "bad_field")
