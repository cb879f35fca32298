"""History in virtual time, straight to a broker or into a file, as fast as it is taken, with a progress bar.

One decision: the same deliveries as in tests; over a broker they carry their own times, so a gateway believes those of the
last seven days and marks older ones.
"""

import base64
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from rich.progress import Progress

from firmware_sim.plot import Switch
from firmware_sim.scenario import Scenario
from firmware_sim.virtual import Delivery, play
from gateway.clock import DAY_US, SECOND_US

Sink = Callable[[Delivery], None]
UNACKNOWLEDGED = 1000
PATIENCE_S = 30.0


class BrokerGone(Exception):
    """The broker no longer takes messages."""


def backfill(scenario: Scenario, sink: Sink, *, speed: float = 0.0) -> int:
    """Deliver a scenario; speed: multiple of real time, 0 as fast as the sink takes it. Returns the number of messages."""
    messages, began = 0, time.monotonic()
    with Progress(transient=True) as progress:
        task = progress.add_task(scenario.name, total=(scenario.to_us - scenario.from_us) / DAY_US)
        for item in play(scenario):
            if isinstance(item, Switch):
                continue  # nothing that a device says
            if speed:
                due = began + (item.at_us - scenario.from_us) / SECOND_US / speed
                time.sleep(max(0.0, due - time.monotonic()))
            sink(item)
            messages += 1
            if messages % 500 == 0:
                progress.update(task, completed=(item.at_us - scenario.from_us) / DAY_US)
    return messages


@contextmanager
def to_file(path: Path) -> Iterator[Sink]:
    """Write each delivery as a JSON line: at_us, gateway, topic, payload (base64), and the identity of a device that posts."""
    with path.open("w", encoding="utf-8") as f:

        def write(d: Delivery) -> None:
            payload = base64.b64encode(d.payload).decode()
            line = {"at_us": d.at_us, "gateway": d.gateway, "topic": d.topic, "payload": payload}
            line |= {"identity": d.identity} if d.identity else {}
            f.write(json.dumps(line, ensure_ascii=False) + "\n")

        yield write


@contextmanager
def to_broker(url: str, posts: Mapping[str, str] | None = None) -> Iterator[Sink]:
    """Publish each delivery with QoS 1, at most `UNACKNOWLEDGED` on their way; returns when all are acknowledged.

    posts: identity → URL, of devices that post; what has none is not said. Raises BrokerGone, OSError.
    """
    at = urlsplit(url)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    if at.username:
        client.username_pw_set(unquote(at.username), unquote(at.password or ""))
    if at.scheme == "mqtts":
        client.tls_set()
    client.max_inflight_messages_set(UNACKNOWLEDGED)
    client.connect(at.hostname or "127.0.0.1", at.port or 1883)
    client.loop_start()
    waiting: deque[mqtt.MQTTMessageInfo] = deque()

    def settle(left: int) -> None:
        while len(waiting) > left:
            info = waiting.popleft()
            info.wait_for_publish(PATIENCE_S)
            if not info.is_published():
                raise BrokerGone(f"{at.hostname}:{at.port} has acknowledged nothing for {PATIENCE_S:.0f} s")

    def post(at: str, d: Delivery) -> None:
        try:
            poster.post(at, content=d.payload, headers={"content-type": d.content_type})
        except httpx.HTTPError as e:
            raise BrokerGone(f"nobody answers at {urlsplit(at).netloc}: {e}") from None

    def publish(d: Delivery) -> None:
        if d.identity:
            if d.identity in (posts or {}):
                post((posts or {})[d.identity] + d.topic, d)
            return
        waiting.append(client.publish(d.topic, d.payload, qos=1))
        settle(UNACKNOWLEDGED)

    try:
        with httpx.Client(timeout=PATIENCE_S, trust_env=False) as poster:
            yield publish
        settle(0)
    finally:
        client.disconnect()
        client.loop_stop()
