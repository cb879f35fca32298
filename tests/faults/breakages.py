"""Links that break, commits nobody hears of, servers that are away, stand still, are emptied or full."""

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from smartcare.embedded import nats
from tests.e2e.brokers import Mosquitto
from tests.faults.campaign import Campaign
from tests.faults.proxy import may_forget
from tests.faults.stage import GATEWAY_BROKER, POSTGRES, WORKER_BROKER

LINKS = (GATEWAY_BROKER, WORKER_BROKER, POSTGRES)
MODES = ("cut", "stall", "refuse", "half")


def break_links(c: Campaign) -> None:
    """Cut, stall, refuse and half-open each link in turn."""
    seconds = c.of(1, 3, 10)
    if not may_forget():
        c.skip("half-open links", "connections can be closed silently by root only")
    for link in LINKS:
        for mode in MODES if c.size else ("cut",):
            if mode == "half" and not may_forget():
                continue
            with c.phase(f"{link}: {mode}"):
                c.stage.proxy.tell(link, mode)
                c.stage.wait(seconds)
                if mode in ("stall", "refuse"):
                    c.stage.proxy.tell(link, "pass")
                c.stage.flows(f"{link}: {mode}")
                c.add("links_broken")


def commit_with_unknown_outcome(c: Campaign) -> None:
    """The ghost standby: COMMIT hangs after the flush, and the connection is cut there, so nobody hears that it is done."""
    stage, number = c.stage, c.of(3, 12, 60)
    waiting = "SELECT pid, application_name FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with c.phase(f"{number} commits with unknown outcome"), stage.connect() as admin:
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'ghost'")
        admin.execute("SELECT pg_reload_conf()")
        try:
            cut = 0
            while cut < number:
                found = stage.until(lambda: admin.execute(waiting).fetchall(), "a commit hangs")
                for pid, name in found:
                    admin.execute("SELECT pg_terminate_backend(%s)", [pid])
                    c.add(f"unknown_commits_of_{(name or 'api').removeprefix('smartcare ').replace(' ', '_').lower()}")
                cut += len(found)
                stage.wait(0.2)
        finally:
            admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            admin.execute("SELECT pg_reload_conf()")
        stage.flows("unknown commits")
        c.add("unknown_commits", cut)


def database_away(c: Campaign) -> None:
    """PostgreSQL is gone for a minute."""
    _away(c, "postgres", c.of(4, 60, 60))


def standing_still(c: Campaign) -> None:
    """SIGSTOP for half a minute: of the worker, and shorter of the others."""
    for name, seconds in (("worker", c.of(3, 30, 30)), ("gateway", c.of(0, 10, 30)), ("broker", c.of(0, 5, 30))):
        if seconds:
            with c.phase(f"{name} stopped for {seconds} s"), _paused(c, name):
                c.stage.wait(seconds)
            c.stage.flows(f"{name} was stopped")
    if c.size:
        with c.phase("postgres stopped"), _paused(c, "postgres"):
            time.sleep(c.of(0, 8, 30))  # looking at the database would wait with it
        c.stage.flows("postgres was stopped")


def broker_emptied(c: Campaign) -> None:
    """The uplink's broker is restarted with nothing on its disk."""
    with c.phase("broker restarted empty"):
        c.stage.down("broker", 1)
        shutil.rmtree(c.stage.folder / "broker" / "jetstream", ignore_errors=True)
        c.stage.flows("the broker was emptied")


def mosquitto_at_its_limits(c: Campaign) -> None:
    """The uplink over Mosquitto as it is installed, with a worker that does not read for a while."""
    if not Mosquitto.program():
        return c.skip("mosquitto", "mosquitto is not installed")
    stage = c.stage
    assert isinstance(stage.broker, nats.Broker)
    other = Mosquitto(stage.folder / "mosquitto", limits="")
    for user in (nats.WORKER, *(g["code"] for g in stage.register["gateways"])):
        other.adopt(user, stage.broker.password(user))
    for gateway in stage.register["gateways"]:
        other.add_gateway(gateway["code"], gateway["shard"])
    with c.phase("Mosquitto at its default limits"):
        other.start()
        try:
            _lead_to(c, other.port)
            stage.flows("Mosquitto took over")
            with _paused(c, "worker"):
                stage.wait(c.of(1, 5, 20))
            stage.flows("the worker reads again")
        finally:
            _lead_to(c, stage.broker.port)
            other.stop()
        stage.flows("the first broker is back")
    return None


def disks_full(c: Campaign) -> None:
    """No room left for the spool, then for the database."""
    if not c.stage.disks:
        return c.skip("disks_full", "small disks can be mounted by root only")
    for name, runs in (("spool", "gateway"), ("postgres", "worker")):
        with c.phase(f"disk of {name} full"):
            with _full(c.stage.folder / name):
                c.stage.wait(c.of(2, 8, 20))
            c.stage.flows(f"{runs} has room again")
            c.add("disks_filled")
    return None


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            while _written(file.write, bytes(size)):
                pass
    try:
        yield
    finally:
        ballast.unlink()


def _written(write: Callable[[bytes], int | None], data: bytes) -> bool:
    try:
        return write(data) == len(data)
    except OSError:
        return False


@contextmanager
def _paused(c: Campaign, name: str) -> Iterator[None]:
    c.stage.signal_all(name, signal.SIGSTOP)
    try:
        yield
    finally:
        c.stage.signal_all(name, signal.SIGCONT)


def _away(c: Campaign, name: str, seconds: float) -> None:
    with c.phase(f"{name} away for {seconds} s"):
        c.stage.down(name, seconds)
        c.stage.wait(seconds)
        c.stage.flows(f"{name} is back")


def _lead_to(c: Campaign, port: int) -> None:
    for link in (GATEWAY_BROKER, WORKER_BROKER):
        c.stage.proxy.tell(link, "cut", target=port)
