"""The script that sets a small box up: into a folder, again, and without doing anything."""

import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from smartcare.embedded import process
from smartcare.gateway_run import File
from tests.programs import need

SCRIPT = Path(__file__).parents[2] / "packaging" / "install.sh"
URL = "mqtts://gw-7:s3cret-secret@mqtt.example.cn:8883"
USUAL = ("--code", "gw-7", "--shard", "12", "--source", "zigbee2mqtt", "--source", "chirpstack")
pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64", "arm64"), reason="no box has such a processor")


def install(root: Path, *arguments: str, url: str = URL) -> tuple[int, str]:
    """Run the script below `root`; returns its status and all that it said."""
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SMARTCARE_UPLINK_URL": url}
    command = ["bash", str(SCRIPT), *(arguments or USUAL), "--root", str(root)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout + done.stderr


def files(root: Path) -> dict[str, tuple[bytes, int]]:
    """What lies below `root`, with its mode."""
    found = (f for f in root.rglob("*") if f.is_file())
    return {str(f.relative_to(root)): (f.read_bytes(), f.stat().st_mode & 0o777) for f in found}


def test_the_script_is_sound() -> None:
    need_shellcheck = shutil.which("shellcheck") or str(Path(sys.executable).parent / "shellcheck")
    done = subprocess.run([need_shellcheck, str(SCRIPT)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout


def test_it_writes_what_the_gateway_and_the_bridges_need_and_nothing_the_second_time(tmp_path: Path) -> None:
    chirpstack = tmp_path / "etc/chirpstack/chirpstack.toml"
    chirpstack.parent.mkdir(parents=True)
    chirpstack.write_text('[network]\nnet_id = "000000"\n')
    status, said = install(tmp_path)
    assert status == 0, said
    assert "s3cret" not in said
    written = files(tmp_path)
    config, mode = written["etc/smartcare/gateway.toml"]
    assert mode == 0o640
    given = File(**tomllib.loads(config.decode()))
    assert (given.code, given.shard, given.uplink_url, given.status) == ("gw-7", 12, URL, "127.0.0.1:8788")
    lora = tomllib.loads(chirpstack.read_text())
    assert lora["network"]["net_id"] == "000000"
    assert (lora["integration"]["mqtt"]["json"], lora["integration"]["mqtt"]["qos"]) == (True, 1)
    zigbee = written["etc/systemd/system/zigbee2mqtt.service.d/smartcare.conf"][0].decode().splitlines()
    settings = dict(shlex.split(line)[0].removeprefix("Environment=").split("=", 1) for line in zigbee if "=" in line)
    assert settings["ZIGBEE2MQTT_CONFIG_ADVANCED_LAST_SEEN"] == "ISO_8601"
    assert json.loads(settings["ZIGBEE2MQTT_CONFIG_DEVICE_OPTIONS"]) == {"qos": 1}
    status, said = install(tmp_path, url="")  # the secret is known by now
    assert status == 0, said
    assert "nothing changed" in said
    assert files(tmp_path) == written
    install(tmp_path, *USUAL, "--spool-mb", "512")
    assert {name for name, what in files(tmp_path).items() if what != written[name]} == {"etc/smartcare/gateway.toml"}


def test_a_dry_run_says_all_and_does_nothing(tmp_path: Path) -> None:
    status, said = install(tmp_path, *USUAL, "--dry-run")
    assert status == 0, said
    assert "would write" in said
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "url", "fault"),
    [
        (("--code", 'gw"; rm -rf /', "--shard", "1", "--source", "none"), URL, "--code"),
        (("--code", "gw", "--shard", "64", "--source", "none"), URL, "--shard"),
        (("--code", "gw", "--shard", "1"), URL, "--source"),
        (("--code", "gw", "--shard", "1", "--source", "none"), "", "SMARTCARE_UPLINK_URL"),
        (("--code", "gw", "--shard", "1", "--source", "none"), 'mqtt://a:"\n@host', "SMARTCARE_UPLINK_URL"),
        (("--code",), URL, "takes a value"),
        (("--colour", "red"), URL, "unknown option"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(tmp_path: Path, arguments: tuple[str, ...], url: str, fault: str) -> None:
    if arguments == ("--code",):
        done = subprocess.run(["bash", str(SCRIPT), "--code"], capture_output=True, text=True, timeout=30, check=False)
        status, said = done.returncode, done.stderr
    else:
        status, said = install(tmp_path, *arguments, url=url)
    assert status == 2
    assert fault in said
    assert files(tmp_path) == {}


def test_systemd_and_mosquitto_read_what_was_written(tmp_path: Path) -> None:
    install(tmp_path)
    unit = tmp_path / "etc/systemd/system/smartcare-gateway.service"
    if analyze := shutil.which("systemd-analyze"):
        done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=30, check=False)
        faults = [line for line in done.stderr.splitlines() if unit.name in line and "is not executable" not in line]
        assert faults == []
    program = need(shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto"), "mosquitto")
    port, config = process.free_port(), tmp_path / "etc/mosquitto/conf.d/smartcare.conf"
    text = config.read_text().replace("listener 1883", f"listener {port}")
    config.write_text("user root\n" + text.replace("/etc/mosquitto", str(tmp_path / "etc/mosquitto")))
    log = tmp_path / "mosquitto.log"
    child = process.spawn([program, "-c", str(config)], log=log, on_parent_death=signal.SIGTERM)
    try:
        process.wait_ready(child, lambda: process.accepts(port), what="Mosquitto", log=log)
    finally:
        process.stop(child, signal.SIGTERM, 2)
