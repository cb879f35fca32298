"""The brokers' own configuration files: listener, limits, users, and the topics each user is bound to.

    worker       reads care/v1/+/+/up            writes care/v1/+/+/down
    a gateway    reads care/v1/<shard>/<it>/down writes care/v1/<shard>/<it>/up
    bus          all topics but those of the uplink, which the others do not see
    a source     reads and writes the topics of the bus that it was given
    a ThingsBoard client at its own listener: tb/<its name>/v1/…, which it knows as v1/…

One decision: what is not written here is refused; there is no pattern in a permission, so that no name can be chosen that
means another's topics.
"""

import json
from pathlib import Path
from typing import Any

from smartcare.broker import DEVICE_BUS, WORKER, Kind, Source, State, User, write_private

UPLINK_BYTES = 1024 * 1024  # a frame has 64 KiB; what a gateway is told of its people may be more
BUS_BYTES = 4 * 1024 * 1024  # face terminals put two pictures into one message; the gateway drops them

MOSQUITTO_LIMITS = """\
# Beyond this the newest message is dropped, and a gateway sends again what nobody answered.
max_queued_messages 100000
max_inflight_messages 200
"""


def write(folder: Path, state: State, limits: str = MOSQUITTO_LIMITS) -> None:
    """Write the files of the broker in `folder`. limits: of Mosquitto, in its own words."""
    if state.kind is Kind.NATS:
        write_private(folder / "nats.conf", json.dumps(nats(folder, state), indent=1).encode())
        return
    secrets = {name: user.password for name, user in state.users.items()} | {n: s.password for n, s in state.sources.items()}
    passwords = "".join(f"{name}:{password}\n" for name, password in secrets.items())
    write_private(folder / "passwords", passwords.encode())
    write_private(folder / "acl", acl(state).encode())
    for name, mount in state.mounts.items():
        # No password belongs to a token: whoever has none of these names may connect there and do nothing.
        write_private(folder / f"acl-{name}", f"user {mount.token}\ntopic readwrite tb/{name}/v1/#\n".encode())
    write_private(folder / "mosquitto.conf", mosquitto(folder, state, limits).encode())


def topics(name: str, user: User) -> tuple[list[str], list[str]]:
    """Return what a user of the uplink may publish to and subscribe to."""
    if name == WORKER:
        return ["care/v1/+/+/down"], ["care/v1/+/+/up"]
    return [f"care/v1/{user.shard}/{user.gateway}/up"], [f"care/v1/{user.shard}/{user.gateway}/down"]


def nats(folder: Path, state: State) -> dict[str, Any]:
    """Return the configuration of nats-server, which reads JSON as its own format.

    Two accounts, which cannot see each other: CARE carries the uplink, BUS the devices.
    """
    accounts: dict[str, Any] = {
        "CARE": {"jetstream": "enabled", "users": [_nats_user(n, u) for n, u in state.users.items() if n != DEVICE_BUS]}
    }
    if state.bus:
        bus = {"user": DEVICE_BUS, "password": state.users[DEVICE_BUS].password}
        sources = [_nats_source(name, source) for name, source in state.sources.items()]
        accounts["BUS"] = {"jetstream": "enabled", "users": [bus, *sources]}
    tls = {"tls": {"cert_file": state.cert, "key_file": state.key}} if state.cert else {}
    return {
        "server_name": "smartcare",
        "pid_file": str(folder / "broker.pid"),
        # The MQTT listener needs JetStream; NATS clients have no business here, so they get a port nobody is told.
        "listen": "127.0.0.1:-1",
        "jetstream": {"store_dir": str(folder / "jetstream"), "sync_interval": "always"},
        "max_payload": BUS_BYTES if state.bus else UPLINK_BYTES,
        # One unacknowledged message per subscription: with more, what a killed gateway had not acknowledged comes again
        # after what it had not yet seen, and a door that opened and closed seems to have closed and opened.
        "mqtt": {"listen": f"{state.host}:{state.port}", "ack_wait": "2s", "max_ack_pending": 1} | tls,
        "accounts": accounts,
    }


def _nats_user(name: str, user: User) -> dict[str, Any]:
    publish, subscribe = ([t.replace("/", ".").replace("+", "*") for t in ts] for ts in topics(name, user))
    return {"user": name, "password": user.password, "permissions": {"publish": publish, "subscribe": subscribe}}


def _nats_source(name: str, source: Source) -> dict[str, Any]:
    subjects = [s for t in source.topics for s in _subjects(t)]
    return {"user": name, "password": source.password, "permissions": {"publish": subjects, "subscribe": subjects}}


def _subjects(topic: str) -> list[str]:
    """Return a filter as subjects of NATS; MQTT's a/# is a too, NATS's a.> is not."""
    subject = topic.replace("/", ".").replace("+", "*")
    return [f"{subject[:-1]}>", subject[:-2]] if topic.endswith("/#") else [subject]


def acl(state: State) -> str:
    """Return Mosquitto's list of permissions."""
    lines = []
    for name, user in state.users.items():
        lines.append(f"user {name}")
        if name == DEVICE_BUS:
            lines += ["topic deny care/#", "topic readwrite #"]
            continue
        publish, subscribe = topics(name, user)
        lines += [f"topic write {t}" for t in publish] + [f"topic read {t}" for t in subscribe]
    for name, source in state.sources.items():
        lines += [f"user {name}", *(f"topic readwrite {t}" for t in source.topics)]
    return "\n".join(lines) + "\n"


def mosquitto(folder: Path, state: State, limits: str) -> str:
    """Return Mosquitto's configuration. Without the bus nothing is kept and nothing is retained: the uplink is a pipe."""
    tls = [f"certfile {state.cert}", f"keyfile {state.key}"] if state.cert else []
    lines = [
        *(["per_listener_settings true"] if state.mounts else []),
        f"listener {state.port} {state.host}",
        *tls,
        "allow_anonymous false",
        f"password_file {folder / 'passwords'}",
        f"acl_file {folder / 'acl'}",
    ]
    for name, mount in state.mounts.items():
        lines += [f"listener {mount.port} {state.host}", *tls, f"mount_point tb/{name}/"]
        lines += ["allow_anonymous true", f"acl_file {folder / f'acl-{name}'}"]
    lines += [
        f"user {folder.owner()}",
        f"pid_file {folder / 'broker.pid'}",
        f"max_packet_size {BUS_BYTES if state.bus else UPLINK_BYTES}",
        *([] if state.bus else ["retain_available false"]),
    ]
    return "\n".join(lines) + "\n" + limits
