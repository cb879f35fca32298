"""`smartcare gateway add|rotate|revoke` against running brokers, empty ones and ones with 5,000 gateways."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from smartcare import cli
from smartcare.broker import WORKER, Folder, Kind, State, User, stored
from smartcare.embedded import nats, process
from tests.e2e.brokers import Mosquitto
from tests.e2e.test_only_as_itself import Peer

pytestmark = pytest.mark.e2e
MANY = 5000
PATIENCE_S = 15

Command = Callable[..., str]


@pytest.fixture
def broker(broker_name: str, tmp_path: Path) -> Iterator[nats.Broker | Mosquitto]:
    """A running broker of MANY gateways."""
    state = State(kind=Kind(broker_name), port=process.free_port(), bus=False, users={})
    running: nats.Broker | Mosquitto
    if broker_name == "nats":
        Folder(tmp_path / "broker").create(state)
        running = nats.Broker(tmp_path / "broker")
    else:
        running = Mosquitto(tmp_path / "broker", declared=state)
    with running.credentials.change() as state:
        for n in range(MANY):
            secret = stored(state.kind, f"{n:043}")
            state.users[f"many-{n}"] = User(password=secret, gateway=f"many-{n}", shard=n % 64)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def command(
    broker: nats.Broker | Mosquitto, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run `smartcare gateway …` and return the address it gave out, or what it said."""
    monkeypatch.setenv("DATABASE_URL", dsn)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            cli.main(["gateway", *arguments, "--broker", str(broker.folder)])
        said = capsys.readouterr()
        assert end.value.code == 0, said.err
        return said.out.partition("SMARTCARE_UPLINK_URL=")[2].splitlines()[0] if "_URL=" in said.out else said.out

    return run


def let_in(url: str, wanted: bool = True) -> float:
    """Connect until it comes out as wanted. Returns the seconds that took."""
    began = time.monotonic()
    while time.monotonic() < began + PATIENCE_S:
        peer = Peer(url)
        found = peer.connected
        peer.close()
        if found is wanted:
            return time.monotonic() - began
        time.sleep(0.02)
    raise AssertionError(f"still not {'let in' if wanted else 'refused'} after {PATIENCE_S} s")


def test_a_gateway_is_added_rotated_and_revoked_while_5000_others_stay(
    broker: nats.Broker | Mosquitto, command: Command, dsn: str, record_property: Callable[[str, object], None]
) -> None:
    worker = Peer(broker.url(WORKER), "care/v1/+/+/up")
    stays = Peer(f"mqtt://many-7:{7:043}@127.0.0.1:{broker.port}", "care/v1/7/many-7/down")
    began = time.monotonic()
    first = command("add", "gw-new", "--shard", "9")
    record_property("command_s", time.monotonic() - began)
    record_property("connects_after_s", let_in(first))

    second = command("rotate", "gw-new")
    let_in(second)
    old, new = Peer(first), Peer(second, "care/v1/9/gw-new/down")
    for peer in (old, new):
        peer.say("care/v1/9/gw-new/up", b"both")
    worker.until(lambda: worker.heard.count(("care/v1/9/gw-new/up", b"both")) == 2)

    command("rotate", "gw-new", "--finish")
    old.until(lambda: not old.connected)
    let_in(first, wanted=False)
    worker.say("care/v1/9/gw-new/down", b"still there")
    new.until(lambda: new.heard)

    command("revoke", "gw-new")
    new.until(lambda: not new.connected)
    let_in(second, wanted=False)
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT code, shard, suspended FROM gateway").fetchall() == [("gw-new", 9, True)]
    stays.say("care/v1/7/many-7/up", b"never disturbed")
    worker.until(lambda: ("care/v1/7/many-7/up", b"never disturbed") in worker.heard)
    assert stays.connected
    assert worker.connected

    let_in(command("add", "gw-new", "--shard", "9"))
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT suspended FROM gateway").fetchall() == [(False,)]
    for peer in (worker, stays, old, new):
        peer.close()
