"""A gateway set up by one file: run, asked how it is, and given another secret, all by the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from smartcare.broker import DEVICE_BUS, WORKER
from smartcare.cli import main
from smartcare.embedded import nats, process

CODE = "gw-9"
TIMEOUT_S = 60


@dataclass
class Box:
    """A running gateway, with the commands that speak to it."""

    file: Path
    port: int
    folder: Path
    child: subprocess.Popen[bytes]
    capsys: pytest.CaptureFixture[str]

    def ask(self, *arguments: str) -> tuple[int, str]:
        """Run a command of `smartcare gateway`; returns its status and what it said."""
        with pytest.raises(SystemExit) as ended:
            main(["gateway", *arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code, self.capsys.readouterr().out

    def status(self) -> tuple[int, dict[str, Any]]:
        code, said = self.ask("status", "--at", f"127.0.0.1:{self.port}", "--json")
        return code, json.loads(said) if code < 2 else {}

    def until(self, code: int) -> dict[str, Any]:
        """Wait until `status` ends with `code`, with a bound; returns what it said."""
        end = time.monotonic() + TIMEOUT_S
        while (found := self.status())[0] != code:
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found[1]


@pytest.fixture
def box(
    broker: nats.Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Box]:
    monkeypatch.setenv("MQTT_URL", broker.url(WORKER))
    monkeypatch.setenv("SMARTCARE_STATE", str(tmp_path / "none"))
    broker.add_gateway(CODE, 3)
    broker.stop()
    broker.start()
    file, port, log = tmp_path / "gateway.toml", process.free_port(), (tmp_path / "gateway.log").open("wb")
    file.write_text(
        f'code = "{CODE}"\nshard = 3\nspool = "{tmp_path}/spool.db"\nstatus = "127.0.0.1:{port}"\nheartbeat_s = 1\n'
        f'jitter_s = 0.2\nuplink_url = "{broker.url(CODE)}"\nbus_url = "{broker.url(DEVICE_BUS)}"\n'
    )
    with log, subprocess.Popen([sys.executable, "-m", "smartcare", "gateway", "run", "--config", str(file)], stderr=log) as child:
        try:
            until = time.monotonic() + TIMEOUT_S
            while not process.accepts(port):
                assert time.monotonic() < until
                time.sleep(0.05)
            yield Box(file=file, port=port, folder=tmp_path, child=child, capsys=capsys)
        finally:
            child.terminate()


def test_one_file_sets_a_gateway_up_and_it_says_how_it_is_and_takes_another_secret(box: Box, broker: nats.Broker) -> None:
    assert box.until(0)["code"] == CODE
    assert "一切正常" in box.ask("status", "--at", f"127.0.0.1:{box.port}")[1]
    assert box.ask("rotate", CODE, "--broker", str(broker.folder), "--hand-over")[0] == 0
    assert broker.credentials.state().of(CODE) == [f"{CODE}.2"]  # the first one has ended
    assert box.status()[1]["user"] == f"{CODE}.2"
    box.file.write_text("code = 7\nsecret = 'what nobody should read in a log'")
    os.kill(box.child.pid, signal.SIGHUP)
    assert box.status()[1]["code"] == CODE
    broker.stop()
    box.until(1)
    box.child.terminate()
    assert box.child.wait(10) == 0
    log = (box.folder / "gateway.log").read_text()
    assert "stays as it was" in log
    assert "nobody should read" not in log
    assert box.status()[0] == 2


def test_a_gateway_without_a_setup_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SMARTCARE_UPLINK_URL", raising=False)
    for arguments, said in (([], "--config FILE"), (["--config", str(tmp_path / "none")], "cannot be read")):
        with pytest.raises(SystemExit) as ended:
            main(["gateway", "run", *arguments])
        assert ended.value.code == 1
        assert said in capsys.readouterr().err
