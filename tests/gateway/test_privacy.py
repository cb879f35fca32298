"""Whatever families send, whole or cut off at any byte: no picture, name or number of a person is in any file of the gateway.

The bytes of the files are searched: the spool with its write-ahead log (frames, memory, quarantine), what was logged, and
what goes to the backend.
"""

import base64
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.codecs.contract import Codec, Message
from gateway.codecs.families import codecs
from gateway.intake import decode_group
from gateway.spool import Spool
from gateway.strainer import Strainer
from gateway.uplink import Key
from tests.gateway.codecs.test_hostile import VALID
from tests.gateway.codecs.test_mapped import FILE
from tests.gateway.codecs.test_mapped import VALID as MAPPED
from tests.gateway.test_listener import gateway

NOW = 1_790_000_000_000_000
NAME, CARD, PHONE, LOCAL = "欧阳静姝", "330481193902170048", "13905731234", "E-7731-Q"
LATIN = "Ouyang Jingshu"
PICTURE = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes((i * 37 + 11) % 256 for i in range(400)) + b"\xff\xd9"
BASE64 = base64.b64encode(PICTURE).decode()
HEAD = b'--MIME_boundary\r\nContent-Disposition: form-data; name="%s"\r\nContent-Type: %s\r\n\r\n'
MULTIPART = "multipart/form-data; boundary=MIME_boundary"
PERSON = f'"Name":"{NAME}","personName":"{LATIN}","idCard":"{CARD}","telnum":"{PHONE}"'
PICTURES = f'"pic":"data:image/jpeg;base64,{BASE64}","scene":"data:image/jpeg;base64,{BASE64}"'


def multipart(name: bytes, kind: bytes, event: bytes) -> bytes:
    picture = HEAD % (b"Picture", b"image/jpeg") + PICTURE
    return HEAD % (name, kind) + event + b"\r\n" + picture + b"\r\n--MIME_boundary--\r\n"


HIK = (
    f'{{"dateTime":"2026-09-21T22:13:15+08:00","eventType":"AccessControllerEvent","AccessControllerEvent":{{'
    f'"majorEventType":5,"subEventType":75,{PERSON},"cardNo":"{CARD}","employeeNoString":"{LOCAL}","serialNo":4}}}}'
).encode()
COUNT = (
    f"<EventNotificationAlert><eventType>PeopleCounting</eventType><channelName>{NAME}</channelName><peopleCounting>"
    "<statisticalMethods>realTime</statisticalMethods><enter>1</enter><exit>1</exit></peopleCounting></EventNotificationAlert>"
).encode()
SAMPLES: list[tuple[str, str, bytes]] = [
    (
        "mqtt/face/2046381/Rec",
        "",
        f'{{"operator":"RecPush","info":{{"facesluiceId":"2046381","customId":"{LOCAL}","RecordID":"4","VerifyStatus":"1",'
        f'"time":"2026-09-21 22:13:15",{PERSON},{PICTURES}}}}}'.encode(),
    ),
    (
        "mqtt/face/2046381/Snap",
        "",
        f'{{"operator":"StrSnapPush","info":{{"facesluiceId":"2046381","SnapID":"4",{PICTURES}}}}}'.encode(),
    ),
    (
        "http/face/2046381/Verify",
        "application/json",
        f'{{"operator":"VerifyPush","info":{{"DeviceID":"2046381","CustomizeID":"{LOCAL}","nRecordIndex":4,"VerifyStatus":1,'
        f'{PERSON}}},"SanpPic":"data:image/jpeg;base64,{BASE64}"}}'.encode(),
    ),
    (
        "http/face/2046381/Snap",
        "application/json",
        f'{{"operator":"SnapPush","info":{{"DeviceID":2046381,"nRecordIndex":4}},"SanpPic":"data:image/jpeg;base64,{BASE64}",'
        f'"ScenePic":"data:image/jpeg;base64,{BASE64}"}}'.encode(),
    ),
    (
        "mqtt/face/2046381/rec/AttendanceRecord",
        "",
        f'{{"operator":"RecPush","info":{{"facesluiceId":"2046381","customId":"{LOCAL}","RecordID":"5","persionName":"{NAME}",'
        f'"cardNum2":"{CARD}","telnum":"{PHONE}",{PICTURES}}}}}'.encode(),
    ),
    (
        "mqtt/face/basic",
        "",
        f'{{"operator":"Online","info":{{"facesluiceId":"2046381","username":"{LATIN}","facesname":"{NAME}"}}}}'.encode(),
    ),
    ("http/hikaccess/front/", MULTIPART, multipart(b"event_log", b"application/json", HIK)),
    ("http/hikaccess/front/", "application/json", b'{"EventNotificationAlert":' + HIK + b"}"),
    (
        "http/hikaccess/front/",
        "application/json",
        f'{{"AcsEvent":{{"InfoList":[{{"major":5,"minor":75,"cardNo":"{CARD}","employeeNoString":"{LOCAL}",{PERSON}}}]}}}}'.encode(),
    ),
    ("http/hikaccess/front/", "application/json", HIK),
    ("http/hikcount/cam/", MULTIPART, multipart(b"counts.xml", b"application/xml", COUNT)),
    (
        "http/zk/CK1/cdata?table=tabledata&tablename=user&count=1",
        "text/plain",
        f"user pin={LOCAL}\tname={NAME}\tcardno={CARD}\tphone={PHONE}\n".encode(),
    ),
    (
        "http/zk/CK1/cdata?table=tabledata&tablename=biophoto&count=1",
        "text/plain",
        f"biophoto pin={LOCAL}\tsize={len(BASE64)}\tcontent={BASE64}\n".encode(),
    ),
    ("http/zk/CK1/cdata?table=ATTLOG", "text/plain", f"{LOCAL}\t2026-09-21 22:13:15\t0\t15\t{LATIN}\t{CARD}\n".encode()),
    (
        "http/zk/CK1/cdata?table=rtlog",
        "text/plain",
        f"time=2026-09-21 22:13:15\tpin={LOCAL}\tcardno={CARD}\tname={LATIN}\tevent=0\tverifytype=15\tindex=1\n".encode(),
    ),
    (
        "http/dahua/side/",
        MULTIPART,
        multipart(
            b"event",
            b"text/plain",
            f'Code=AccessControl;action=Pulse;index=0;data={{"UserID":"{LOCAL}","CardName":"{NAME}","CardNo":"{CARD}",'
            f'"Phone":"{PHONE}","UTC":1789999995,"Method":15,"Status":1}}'.encode(),
        ),
    ),
    (
        "http/dahua/side/",
        "text/plain",
        f"Events[0].Code=AccessControl\r\nEvents[0].Data.UserID={LOCAL}\r\nEvents[0].Data.CardName={NAME}\r\n"
        f"Events[0].Data.CardNo={CARD}\r\nEvents[0].Data.Phone={PHONE}\r\nEvents[0].Data.UTC=1789999995\r\n".encode(),
    ),
    (
        "http/ha03/861234050000017/",
        "application/x-www-form-urlencoded",
        f"imei=861234050000017&data_type=alarm&contact={LATIN}&phone={PHONE}&date_str=20260921221315".encode(),
    ),
    (
        "http/milesight/6771E2B490310007/",
        "application/json",
        f'{{"device_info":{{"device_sn":"6771E2B490310007","owner":"{LATIN}"}},{PERSON},"snapshot":"{BASE64}"}}'.encode(),
    ),
    (
        "http/tb/door7/telemetry",
        "application/json",
        f'{{"contact":true,{PERSON},"batteryLevel":"{CARD}","x":"{BASE64}"}}'.encode(),
    ),
    ("tb/site7/v1/gateway/telemetry", "", f'{{"door 1":[{{"ts":"{PHONE}","values":{{{PERSON},{PICTURES}}}}}]}}'.encode()),
    (
        "door/front/state",
        "",
        f'{{"open":"{NAME}","cover":"{LATIN}","batt":"{CARD}","ts":"{PHONE}",{PERSON},{PICTURES}}}'.encode(),
    ),
    ("http/desk/front/", "application/x-www-form-urlencoded", f"card={LOCAL}&name={LATIN}&ok=9&when={PHONE}".encode()),
    ("unheard/of", "application/json", f"{{{PERSON},{PICTURES}}}".encode()),
]


def pieces() -> Iterator[bytes]:
    """What must be nowhere: names in both encodings, numbers, and every stretch of the picture, raw and in base64."""
    for text in (NAME, LATIN, LATIN.split()[1], CARD, CARD[:9], PHONE, PHONE[:8], LOCAL):
        yield text.encode()
    yield NAME.encode("gb18030")
    yield NAME.encode("unicode-escape")
    yield b"JFIF"
    for data, size in ((PICTURE, 10), (BASE64.encode(), 12)):
        yield from (data[i : i + size] for i in range(0, len(data) - size, 5))


def nothing_of_anyone_in(data: bytes) -> bool:
    return not [piece for piece in pieces() if piece in data]


def strained(content_type: str, payload: bytes) -> bytes:
    """Do what the listener does; messages of the bus come as they are."""
    if not content_type:
        return payload
    strainer = Strainer(content_type)
    return strainer.feed(payload) + strainer.close()


def bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def spooled(path: Path, messages: list[Message]) -> bytes:
    """Take the messages as the gateway does and return all bytes that are then in its files and frames."""
    family: list[Codec] = list(codecs(mapping=FILE))
    spool = Spool(path)
    spool.begin_stream(7, NOW - 1)
    memory: dict[str, int] = {}
    for some in (messages[i : i + 400] for i in range(0, len(messages), 400)):
        group = decode_group(some, family, memory, {})
        memory |= group.memory
        spool.append(group.events, through_us=NOW, memory=group.memory, quarantine=group.quarantine)
    data = bytes_of(path.parent)
    frames = [spool.frame(Key(7, seq), 1) or b"" for seq in range(1, spool.seq + 1)]
    spool.close()
    return data + b"".join(frames) + bytes_of(path.parent)


@pytest.mark.parametrize(("topic", "content_type", "payload"), SAMPLES, ids=[f"{i}-{s[0][:30]}" for i, s in enumerate(SAMPLES)])
def test_nothing_of_a_person_is_in_the_files_whatever_is_cut_off(
    topic: str, content_type: str, payload: bytes, tmp_path: Path
) -> None:
    cuts = (payload[:end] for end in range(len(payload) + 1))
    messages = [Message(topic=topic, payload=strained(content_type, cut), received_us=NOW) for cut in cuts]
    data = spooled(tmp_path / "spool.db", messages)
    assert nothing_of_anyone_in(data)
    assert len(data) > 10_000


def test_the_search_finds_what_is_there() -> None:
    assert not nothing_of_anyone_in(PICTURE[100:150])
    assert not nothing_of_anyone_in(b"x" + BASE64.encode()[200:240])
    assert not nothing_of_anyone_in(NAME.encode() + b"1")


def test_every_family_is_among_the_samples() -> None:
    sampled = {c.family for c in codecs(mapping=FILE) for topic, _, _ in SAMPLES if c.matches(topic)}
    people = {c.family for c in codecs(mapping=FILE) for topic, _ in (*VALID, *MAPPED) if c.matches(topic)} - {
        "z2m",
        "lora",
        "gate",
        "lwt",
    }  # these say no persons
    assert people <= sampled


async def test_nothing_of_a_person_is_in_the_files_or_the_log_of_a_gateway_that_was_posted_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with gateway(tmp_path) as g:
        for topic, content_type, payload in SAMPLES:
            if not topic.startswith("http/"):
                continue
            _, family, name, rest = topic.split("/")
            path = f"{g.addresses.add(family, name).path}/{rest}"
            for end in (len(payload), len(payload) // 2, len(payload) // 3):
                await g.post(path, payload[:end], content_type)
    assert nothing_of_anyone_in(bytes_of(tmp_path))
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("gateway", "uvicorn", "starlette"))]
    assert ours
    assert nothing_of_anyone_in("\n".join(ours).encode())
