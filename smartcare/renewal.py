"""Hands a gateway its new secret over the connection that it has, and waits until it uses it.

One decision: only user and secret are sent, never an address, over the topic that this gateway alone may read; and the older
secret ends only after a heartbeat has said that the new one works.
"""

import asyncio
from urllib.parse import unquote, urlsplit

import aiomqtt

from gateway.wire import BadMessage, Renewal, decode_heartbeat, encode_message, is_frame, topic_down, topic_up
from smartcare.broker import BrokerError, Given
from smartcare.settings import Settings

AGAIN_S = 3.0


async def hand_over(found: Settings, code: str, shard: int, given: Given, patience_s: float) -> bool:
    """Send the renewal until the gateway's heartbeats name the new user; tell whether they did. Raises BrokerError."""
    at = urlsplit(found.mqtt_url)
    if not at.hostname:
        raise BrokerError("MQTT_URL 未设置 — set MQTT_URL, the worker's address at the broker, to hand a secret over")
    tls = aiomqtt.TLSParameters(ca_certs=str(found.mqtt_ca) if found.mqtt_ca else None) if at.scheme == "mqtts" else None
    client = aiomqtt.Client(
        at.hostname,
        at.port or (8883 if tls else 1883),
        username=unquote(at.username or "") or None,
        password=unquote(at.password or "") or None,
        tls_params=tls,
    )
    try:
        async with client:
            await client.subscribe(topic_up(shard, code))
            async with asyncio.timeout(patience_s), asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(_send(client, topic_down(shard, code), given), name="renewal.send")
                await _used(client, given.user)
                sending.cancel()
    except TimeoutError:
        return False
    except aiomqtt.MqttError as e:
        raise BrokerError(f"the broker at {at.hostname} does not take the renewal: {e}") from e
    return True


async def _send(client: aiomqtt.Client, topic: str, given: Given) -> None:
    renewal = encode_message(Renewal(user=given.user, secret=given.secret))
    while True:
        await client.publish(topic, renewal)
        await asyncio.sleep(AGAIN_S)


async def _used(client: aiomqtt.Client, user: str) -> None:
    async for message in client.messages:
        if not isinstance(message.payload, bytes) or is_frame(message.payload):
            continue
        try:
            if decode_heartbeat(message.payload).user == user:
                return
        except BadMessage:
            continue
