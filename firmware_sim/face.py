"""A face terminal that speaks mqtt/face: pictures inline, numbers as text, local time without a zone.

One decision: like the real ones (ResumefromBreakpoint), it pushes its oldest unacknowledged record until it is
acknowledged, and only then the next; a record pushed more than ten seconds after it was taken says Sendintime 0.
"""

import base64
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from zoneinfo import ZoneInfo

from firmware_sim.device import Connected, Face, Fault, Input, Output, Step, Told, Trouble

SECOND_US = 1_000_000
REPUSH_US = 10 * SECOND_US
GREET_US = 5 * SECOND_US
_JPEG = bytes.fromhex("ffd8ffe000104a46494600010101004800480000ffdb004300") + bytes(range(1, 65))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Somebody whom a terminal saw, until the record is acknowledged."""

    t_us: int
    number: int
    local_id: str  # "": a snap of a stranger
    refused: bool


class FaceTerminal:
    """A terminal. first: number before its first record; Online is repeated every `GREET_US` until it is acknowledged."""

    def __init__(self, number: str, seed: int, *, zone: str, first: int = 0, qos: int = 0, heartbeat_us: int = 60 * SECOND_US):
        self.identity = self.link = f"face/{number}"
        self.online = False
        """Online was acknowledged."""
        self._number, self._seed, self._zone, self._qos = number, seed, ZoneInfo(zone), qos
        self._heartbeat_us = heartbeat_us
        self._records = self._snaps = first
        self._waiting: deque[Record] = deque()
        self._up = False
        self._pushed_us = self._greeted_us = 0
        self._pushed_before = False
        self._dead = self._blind = False
        self._ahead_us = 0

    @property
    def waiting(self) -> int:
        """Number of records that nobody has acknowledged."""
        return len(self._waiting)

    @property
    def _interval_us(self) -> int:
        return self._heartbeat_us if self.online else GREET_US

    def forget_before(self, t_us: int) -> None:
        """Treat older records as acknowledged long ago."""
        self._waiting = deque(r for r in self._waiting if r.t_us >= t_us)

    def will(self) -> Output:
        """Return the last will."""
        return self._say("mqtt/face/basic", "Offline", {"facesluiceId": self._number})

    def update(self, now_us: int, inputs: Sequence[Input]) -> Step:
        """Take faces, acknowledgements and the state of the connection; push, greet and sign life when it is time."""
        news = False
        for one in inputs:
            if isinstance(one, Fault):
                self._fault(one)
            elif self._dead:
                continue
            elif isinstance(one, Face):
                if not self._blind:
                    news |= not self._waiting
                    self._take(now_us, one)
            elif isinstance(one, Connected):
                self._up, self.online, self._pushed_us, self._greeted_us = one.up, False, 0, 0
            elif isinstance(one, Told):
                news |= self._told(one.payload)
        if not self._up:
            return [], None
        outputs: list[Output] = []
        if now_us >= self._greeted_us + self._interval_us:
            self._greeted_us = now_us
            outputs.append(self._life(now_us))
        if self._waiting and (news or now_us >= self._pushed_us + REPUSH_US):
            self._pushed_us = now_us
            outputs.append(self._push(now_us, self._waiting[0]))
            self._pushed_before = True
        calls = [self._greeted_us + self._interval_us]
        if self._waiting:
            calls.append(self._pushed_us + REPUSH_US)
        return outputs, min(calls)

    def answer(self, output: Output) -> Told | None:
        """Return what a gateway in good health says to an output; for a simulation without one."""
        if output.topic == "mqtt/face/basic":
            return Told(payload=b'{"operator":"Online-Ack"}')
        if not output.topic.endswith(("/Rec", "/Snap")):
            return None
        first = self._waiting[0]
        info = {"PushAckType": 2 if first.local_id else 1, "SnapOrRecordID": first.number}
        return Told(payload=json.dumps({"operator": "PushAck", "info": info}).encode())

    def _fault(self, fault: Fault) -> None:
        match fault.trouble:
            case Trouble.DEAD:
                self._dead, self._up = bool(fault.value), not fault.value
                self.online, self._pushed_us, self._greeted_us = False, 0, 0
            case Trouble.BLIND:
                self._blind = bool(fault.value)
            case Trouble.CLOCK:
                self._ahead_us = round(fault.value * SECOND_US)

    def _take(self, now_us: int, face: Face) -> None:
        t_us = now_us // SECOND_US * SECOND_US  # its clock shows whole seconds
        if face.local_id:
            self._records += 1
        else:
            self._snaps += 1
        number = self._records if face.local_id else self._snaps
        self._waiting.append(Record(t_us=t_us, number=number, local_id=face.local_id, refused=face.refused))

    def _told(self, payload: bytes) -> bool:
        try:
            told = json.loads(payload)
        except ValueError:
            return False
        if told.get("operator") == "Online-Ack":
            self.online = True
        first = self._waiting[0] if self._waiting else None
        if told.get("operator") != "PushAck" or first is None:
            return False
        if told["info"] != {"PushAckType": 2 if first.local_id else 1, "SnapOrRecordID": first.number}:
            return False
        self._waiting.popleft()
        self._pushed_before = False
        return bool(self._waiting)

    def _life(self, now_us: int) -> Output:
        info: dict[str, object] = {"facesluiceId": self._number, "time": self._local(now_us)}
        if self.online:
            return self._say("mqtt/face/heartbeat", "HeartBeat", info)
        info |= {"username": "admin", "ip": "192.0.2.61", "facesname": f"terminal-{self._number}"}
        return self._say("mqtt/face/basic", "Online", info)

    def _push(self, now_us: int, record: Record) -> Output:
        snap = not record.local_id
        info: dict[str, object] = {"facesluiceId": self._number, "time": self._local(record.t_us), "isNoMask": "1", "PushType": 0}
        if snap:
            info |= {"SnapID": str(record.number)}
        else:
            info |= {"customId": "", "personId": record.local_id, "RecordID": str(record.number)}
            info |= {"VerifyStatus": str(1 + record.refused), "PersonType": str(int(record.refused))}
            info |= {"similarity1": "91.000000", "personName": f"姓名{record.local_id}", "telnum": " "}
        info |= {"Sendintime": int(now_us - record.t_us <= REPUSH_US), "targetPosInScene": [310, 40, 620, 480]}
        info |= {"pic": self._picture(record)}
        observation: dict[str, object] = {
            "identity": self.identity,
            "kind": "passage",
            "snap": snap,
            "record": record.number,
            "key": record.number + (1 << 62 if snap else 0),
            "local_id": record.local_id,
            "t_us": record.t_us,
        }
        kind, topic = ("StrSnapPush", "Snap") if snap else ("RecPush", "Rec")
        return self._say(f"mqtt/face/{self._number}/{topic}", kind, info, None if self._pushed_before else observation)

    def _picture(self, record: Record) -> str:
        rng = Random(f"{self._seed}/{self._number}/{record.local_id and 'rec'}/{record.number}")  # noqa: S311 - repeatable
        return "data:image/jpeg;base64," + base64.b64encode(_JPEG + rng.randbytes(1500) + b"\xff\xd9").decode()

    def _local(self, t_us: int) -> str:
        return f"{datetime.fromtimestamp((t_us + self._ahead_us) // SECOND_US, UTC).astimezone(self._zone):%Y-%m-%d %H:%M:%S}"

    def _say(self, topic: str, operator: str, info: dict[str, object], observation: dict[str, object] | None = None) -> Output:
        payload = json.dumps({"operator": operator, "info": info}, ensure_ascii=False, separators=(",", ":")).encode()
        return Output(topic=topic, payload=payload, qos=self._qos, observation=observation)
