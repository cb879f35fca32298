"""The simulated terminal says what mqtt/face terminals say, and does not give up."""

import base64
import json
from typing import Any

from firmware_sim.device import Connected, Face, Output, Told
from firmware_sim.face import FaceTerminal

S = 1_000_000
T = 1_790_000_000 * S
UP = Connected(up=True)
ONLINE_ACK = Told(payload=b'{"operator":"Online-Ack","info":{"facesluiceId":"2046381","result":"ok"}}')


def terminal() -> FaceTerminal:
    return FaceTerminal("2046381", 7, zone="Asia/Shanghai", first=100)


def ack(kind: int, number: int) -> Told:
    return Told(payload=json.dumps({"operator": "PushAck", "info": {"PushAckType": kind, "SnapOrRecordID": number}}).encode())


def said(outputs: list[Output]) -> list[tuple[str, Any]]:
    bodies = [json.loads(output.payload) for output in outputs]
    return [(body["operator"], body["info"].get("RecordID") or body["info"].get("SnapID")) for body in bodies]


def test_a_recognition_has_numbers_as_text_a_local_time_and_a_jpeg() -> None:
    t = terminal()
    t.update(T, [UP, ONLINE_ACK])
    ((push,), call_us) = t.update(T + 900_000, [Face(local_id="17")])
    info = json.loads(push.payload)["info"]
    assert (push.topic, call_us) == ("mqtt/face/2046381/Rec", T + 900_000 + 10 * S)
    assert (info["RecordID"], info["VerifyStatus"], info["PersonType"], info["personId"]) == ("101", "1", "0", "17")
    assert (info["time"], info["Sendintime"], info["PushType"]) == ("2026-09-21 22:13:20", 1, 0)
    picture = base64.b64decode(info["pic"].removeprefix("data:image/jpeg;base64,"))
    assert picture[:3] == b"\xff\xd8\xff"
    assert picture[-2:] == b"\xff\xd9"
    expected = {
        "identity": "face/2046381",
        "kind": "passage",
        "snap": False,
        "record": 101,
        "key": 101,
        "local_id": "17",
        "t_us": T,
    }
    assert push.observation == expected


def test_a_stranger_is_a_snap_with_a_number_of_its_own() -> None:
    t = terminal()
    t.update(T, [UP, ONLINE_ACK])
    ((push,), _) = t.update(T, [Face(local_id="")])
    assert push.topic == "mqtt/face/2046381/Snap"
    assert said([push]) == [("StrSnapPush", "101")]
    assert push.observation is not None
    assert push.observation["key"] == (1 << 62) + 101


def test_the_oldest_record_is_pushed_again_every_ten_seconds_until_it_is_acknowledged() -> None:
    t = terminal()
    t.update(T, [UP, ONLINE_ACK])
    (first, _) = t.update(T, [Face(local_id="1")])
    assert t.update(T + S, [Face(local_id="2")])[0] == []  # in order: the second waits for the first
    assert t.update(T + 10 * S - 1, [])[0] == []
    (again, _) = t.update(T + 10 * S, [])
    assert said(again) == said(first) == [("RecPush", "101")]
    assert again[0].observation is None  # it is in the ledger already
    (late, _) = t.update(T + 20 * S, [])
    assert json.loads(late[0].payload)["info"]["Sendintime"] == 0
    assert t.update(T + 21 * S, [ack(1, 101)])[0] == []  # of a snap, not of the record
    (second, _) = t.update(T + 22 * S, [ack(2, 101)])
    assert said(second) == [("RecPush", "102")]
    assert (second[0].observation or {})["record"] == 102
    t.update(T + 23 * S, [ack(2, 102), ack(2, 102)])
    assert t.waiting == 0


def test_online_is_repeated_until_it_is_acknowledged_then_heartbeats_follow() -> None:
    t = terminal()
    assert said(t.update(T, [UP])[0]) == [("Online", None)]
    assert said(t.update(T + 5 * S, [])[0]) == [("Online", None)]
    assert t.update(T + 6 * S, [ONLINE_ACK])[0] == []
    assert t.update(T + 60 * S, [])[0] == []
    assert said(t.update(T + 65 * S, [])[0]) == [("HeartBeat", None)]


def test_what_is_taken_without_a_connection_is_pushed_when_there_is_one() -> None:
    t = terminal()
    assert t.update(T, [Face(local_id="1")]) == ([], None)
    assert said(t.update(T + 60 * S, [UP])[0]) == [("Online", None), ("RecPush", "101")]
    assert t.update(T + 61 * S, [Connected(up=False)]) == ([], None)
    assert said(t.update(T + 62 * S, [UP])[0]) == [("Online", None), ("RecPush", "101")]


def test_the_will_is_the_protocols_offline() -> None:
    will = terminal().will()
    assert (will.topic, will.payload) == ("mqtt/face/basic", b'{"operator":"Offline","info":{"facesluiceId":"2046381"}}')
