"""`smartcare gateway try FILE PAYLOAD`: what a mapping, or one of our own codecs, makes of a device's message.

One decision: it is the gateway's own path, codecs and the wire's check included; only the spool is missing. Several payloads
are one after the other, so that edges show: a first state is no edge.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from gateway.codecs.mapping import MappingFile

Say = Callable[[str], None]


def declare(gateway: Any, say: Say) -> None:
    """Add `try` to `gateway`."""
    attempt = gateway.add_parser("try", help="试映射 show the events that a mapping makes of a message, or what is wrong")
    attempt.add_argument("file", type=Path, help="mapping file (YAML)")
    attempt.add_argument("payload", type=Path, nargs="+", help="files with a message each, in order; - is standard input")
    attempt.add_argument("--topic", default="", help="MQTT topic it comes on (default: the file's first one)")
    attempt.add_argument("--zone", default="Asia/Shanghai", help="zone of devices that give local times")
    attempt.set_defaults(run=lambda a: _try(a, say))


def read_mapping(file: Path | None) -> "MappingFile":
    """Read a mapping file; None: an empty mapping. Raises BadMapping."""
    from gateway.codecs.mapping import BadMapping, MappingFile, parse

    if file is None:
        return MappingFile()
    try:
        return parse(file.read_text(encoding="utf-8"), file.name)
    except (OSError, UnicodeDecodeError) as e:
        raise BadMapping(f"{file} cannot be read: {e}") from None


def _try(a: argparse.Namespace, say: Say) -> int:
    from gateway.clock import now_us
    from gateway.codecs.contract import Message
    from gateway.codecs.families import codecs
    from gateway.codecs.telling import told
    from gateway.intake import decode_group

    mapping = read_mapping(a.file)
    family = codecs(a.zone, mapping)
    topic = a.topic or _topic(mapping)
    memory: dict[str, int] = {}
    status = 0
    for file in a.payload:
        payload = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        group = decode_group([Message(topic=topic, payload=payload, received_us=now_us())], family, memory, {})
        memory |= group.memory
        for event in group.events:
            say(msgspec.json.encode(told(event)).decode())
        for bad in group.quarantine:
            status = 1
            known = f"; it is one of {', '.join(t for c in family for t in c.topics)}" if bad.reason == "no_codec" else ""
            say(f"不懂 not understood ({bad.reason}) on {topic}: {bad.detail}{known}")
        if not group.events and not group.quarantine:
            say(f"无事件 no event: messages on {topic} say nothing of a place")
    return status


def _topic(mapping: "MappingFile") -> str:
    """Return a topic of the first device that the file is about."""
    if mapping.families:
        first = mapping.families[0]
        topic = first.topic.replace("{device}", "device").replace("+", "x").replace("#", "x")
        return topic or f"http/{first.family}/device/"
    return "tb/device/v1/devices/me/telemetry"
