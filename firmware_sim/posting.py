"""Counters and terminals that post over HTTP, in their vendors' bytes: Milesight, Hikvision, Dahua, ZKTeco, mqtt/face.

One decision: a counter's report is said once, as their firmware does; a terminal pushes its oldest record until it is answered,
like the terminals that speak MQTT, and its answer is the answer of its post.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from zoneinfo import ZoneInfo

from firmware_sim.device import Face, Input, Output, Step, Told
from firmware_sim.face import REPUSH_US, SECOND_US, FaceTerminal, Record
from firmware_sim.milesight import MilesightCounter

JSON, XML, TEXT = "application/json", "application/xml", "text/plain"
_JPEG = bytes.fromhex("ffd8ffe000104a46494600010101004800480000")


class MilesightPushCounter(MilesightCounter):
    """A VS125 or VS133 with its own network."""

    def __init__(self, serial: str, rng: Random, *, zone: str, report_us: int | None = None) -> None:
        super().__init__(serial, rng, 0, report_us=report_us)
        self.identity = self.link = f"milesight/{serial}"
        self._serial, self._zone = serial, ZoneInfo(zone)

    def _uplink(self, now_us: int) -> Output:
        (total_in, total_out), (period_in, period_out) = self._total, self._period
        self._period = [0, 0]
        said = {
            "event": "periodic_report",
            "device_info": {"device_sn": self._serial.upper(), "device_name": "People Counter"},
            "time_info": {"end_time": _local(now_us, self._zone).isoformat()},
            "line_periodic_data": [{"line": 1, "total": {"in": period_in, "out": period_out}}],
            "line_total_data": [{"line": 1, "total": {"in_counted": total_in, "out_counted": total_out}}],
        }
        observation = _count(self.identity, now_us, (total_in, total_out), (period_in, period_out))
        return Output(topic="", payload=json.dumps(said).encode(), content_type=JSON, observation=observation)


class HikCounter(MilesightCounter):
    """A Hikvision people counting camera: totals that begin at local midnight."""

    def __init__(self, name: str, rng: Random, *, zone: str, report_us: int | None = None) -> None:
        super().__init__(name, rng, 0, report_us=report_us)
        self.identity = self.link = f"hikcount/{name}"
        self._zone = ZoneInfo(zone)
        self._day: object = None

    def update(self, now_us: int, inputs: Sequence[Input]) -> Step:
        """Begin anew with the day, then count."""
        today = _local(now_us, self._zone).date()
        if today != self._day:
            self._day, self._total = today, [0, 0]
        return super().update(now_us, inputs)

    def _uplink(self, now_us: int) -> Output:
        enter, leave = self._total
        self._period = [0, 0]
        when = _local(now_us, self._zone).isoformat()
        said = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<EventNotificationAlert version="2.0" xmlns="http://www.hikvision.com/ver20/XMLSchema">'
            f"<ipAddress>192.0.2.64</ipAddress><channelID>1</channelID><dateTime>{when}</dateTime>"
            "<eventType>PeopleCounting</eventType><eventState>active</eventState><peopleCounting>"
            f"<statisticalMethods>realTime</statisticalMethods><RealTime><time>{when}</time></RealTime>"
            f"<enter>{enter}</enter><exit>{leave}</exit><regionsID>1</regionsID></peopleCounting></EventNotificationAlert>"
        )
        observation = _count(self.identity, now_us, (enter, leave), None)
        return Output(topic="", payload=said.encode(), content_type=XML, observation=observation)


class PostingTerminal(FaceTerminal):
    """A terminal that posts. family: "hikaccess", "dahua", "zk" or "face".

    log: what a zk keeps: attendance ("ATTLOG", only whom it let in) or what happens at its door ("rtlog").
    """

    def __init__(
        self,
        family: str,
        name: str,
        seed: int,
        *,
        zone: str,
        first: int = 0,
        heartbeat_us: int = 60 * SECOND_US,
        log: str = "ATTLOG",
    ):
        super().__init__(name, seed, zone=zone, first=first, heartbeat_us=heartbeat_us)
        self.identity = self.link = f"{family}/{name}"
        self._family, self._log = family, log
        self._up = self.online = True  # it has no connection, only posts

    def answer(self, output: Output) -> Told | None:
        """Return what a post is answered with, in a simulation without a gateway."""
        return Told(payload=output.receipt) if output.receipt else None

    def _take(self, now_us: int, face: Face) -> None:
        super()._take(now_us, face)
        if self._family == "zk" and self._log == "ATTLOG" and (not face.local_id or face.refused):
            self._waiting.pop()

    def _told(self, payload: bytes) -> bool:
        if not self._waiting or payload != _receipt(self._waiting[0]):
            return False
        self._waiting.popleft()
        self._pushed_before = False
        return bool(self._waiting)

    def _life(self, now_us: int) -> Output:
        when = self._local(now_us)
        match self._family:
            case "hikaccess":
                return _post("", {"dateTime": _iso(when), "eventType": "heartBeat"})
            case "dahua":
                return Output(topic="", payload=b"Heartbeat", content_type=TEXT)
            case "zk":
                return Output(topic=f"/iclock/cdata?SN={self._number}&table=OPERLOG", payload=b"", content_type=TEXT)
        return _post("/Subscribe/heartbeat", {"operator": "HeartBeat", "info": {"DeviceID": self._number, "Time": when}})

    def _push(self, now_us: int, record: Record) -> Output:
        in_time = now_us - record.t_us <= REPUSH_US
        topic, payload, kind = {"hikaccess": self._hikvision, "dahua": self._dahua, "zk": self._zkteco}.get(
            self._family, self._subscribed
        )(record, in_time)
        observation: dict[str, object] = {"identity": self.identity, "kind": "passage", "snap": not record.local_id}
        observation |= {"record": record.number, "local_id": record.local_id, "t_us": record.t_us}
        return Output(
            topic=topic,
            payload=payload,
            content_type=kind,
            receipt=_receipt(record),
            observation=None if self._pushed_before else observation,
        )

    def _hikvision(self, record: Record, in_time: bool) -> tuple[str, bytes, str]:
        minor = 76 if not record.local_id or record.refused else 75
        event: dict[str, object] = {
            "majorEventType": 5,
            "subEventType": minor,
            "serialNo": _number(record),
            "currentEvent": in_time,
        }
        event |= {"employeeNoString": record.local_id, "name": f"姓名{record.local_id}"} if record.local_id else {}
        alert = {"dateTime": _iso(self._local(record.t_us)), "eventType": "AccessControllerEvent", "AccessControllerEvent": event}
        head = b'--MIME_boundary\r\nContent-Disposition: form-data; name="event_log"\r\nContent-Type: application/json\r\n\r\n'
        body = head + json.dumps(alert, ensure_ascii=False).encode() + b"\r\n--MIME_boundary\r\n"
        body += b'Content-Disposition: form-data; name="Picture"; filename="Picture.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        return "", body + _JPEG + b"\r\n--MIME_boundary--\r\n", "multipart/form-data; boundary=MIME_boundary"

    def _dahua(self, record: Record, in_time: bool) -> tuple[str, bytes, str]:
        utc = int(datetime.fromisoformat(self._local(record.t_us)).replace(tzinfo=self._zone).timestamp())
        data = {"UserID": record.local_id, "UTC": utc, "Method": 15, "RecNo": _number(record)}
        data["Status"] = int(bool(record.local_id) and not record.refused)
        text = f"Code=AccessControl;action=Pulse;index=0;data={json.dumps(data, indent=1)}\n"
        return "", text.encode(), TEXT

    def _zkteco(self, record: Record, in_time: bool) -> tuple[str, bytes, str]:
        if self._log == "rtlog":
            event = 27 if not record.local_id else 41 if record.refused else 3
            happened = {"time": self._local(record.t_us), "pin": record.local_id or "0", "cardno": "0", "eventaddr": "1"}
            happened |= {"event": str(event), "inoutstatus": "0", "verifytype": "15", "index": str(_number(record))}
            fields = "\t".join(f"{key}={value}" for key, value in happened.items())
            return f"/iclock/cdata?SN={self._number}&table=rtlog", fields.encode(), TEXT
        row = f"{record.local_id}\t{self._local(record.t_us)}\t0\t15\t\t0\t0\n"
        return f"/iclock/cdata?SN={self._number}&table=ATTLOG&Stamp=9999", row.encode(), TEXT

    def _subscribed(self, record: Record, in_time: bool) -> tuple[str, bytes, str]:
        info: dict[str, object] = {"DeviceID": self._number, "nRecordIndex": record.number, "Sendintime": int(in_time)}
        info |= {"PushType": 2, "CreateTime": self._local(record.t_us).replace(" ", "T")}
        if record.local_id:
            info |= {"PersonID": record.local_id, "VerifyStatus": 1 + record.refused, "PersonType": int(record.refused)}
        snap = not record.local_id
        said = {"operator": "SnapPush" if snap else "VerifyPush", "info": info, "SanpPic": self._picture(record)}
        return f"/Subscribe/{'Snap' if snap else 'Verify'}", json.dumps(said).encode(), JSON


def _receipt(record: Record) -> bytes:
    return f"{'record' if record.local_id else 'snap'} {record.number}".encode()


def _number(record: Record) -> int:
    """Strangers count apart in the model, and together with the others on these terminals."""
    return 2 * record.number + (not record.local_id)


def _post(topic: str, said: object) -> Output:
    return Output(topic=topic, payload=json.dumps(said, ensure_ascii=False).encode(), content_type=JSON)


def _iso(local: str) -> str:
    return f"{local.replace(' ', 'T')}"


def _local(now_us: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(now_us // SECOND_US, UTC).astimezone(zone)


def _count(identity: str, now_us: int, total: tuple[int, int], period: tuple[int, int] | None) -> dict[str, object]:
    observation: dict[str, object] = {"identity": identity, "kind": "count", "line": 1, "in": total[0], "out": total[1]}
    if period:
        observation |= {"period_in": period[0], "period_out": period[1]}
    return observation | {"t_us": now_us // SECOND_US * SECOND_US}
