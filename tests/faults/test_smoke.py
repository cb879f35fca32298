"""The campaign of `make faults`, a minute of it: kills, crash points, a poisoned bus, hostile receivers, set algebra."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
PHASES = ("kills", "crash-points", "unknown-commit", "poison")
NOTHING = (
    "events_lost",
    "events_twice",
    "alerts_missing",
    "alerts_twice",
    "alerts_false",
    "deliveries_lost",
    "deliveries_disordered",
    "named_losses",
    "poison_unaccounted",
)


def test_a_minute_of_faults_loses_doubles_and_disorders_nothing(tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    command = [sys.executable, "-m", "tests.faults", "--smoke", "--seed", "3", "--out", str(out), "--only", *PHASES]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:]
    figures = {name.removeprefix("faults."): value for name, value in json.loads(out.read_text()).items()}
    assert {name: figures[name] for name in NOTHING} == dict.fromkeys(NOTHING, 0)
    assert figures["wrong"] == figures["crash_points_missed"] == []
    assert figures["kills"] >= 5
    assert figures["crash_points"] >= 6
    assert figures["unknown_commits"] >= 3
    assert figures["events_sent"] > 500
    assert figures["alerts_expected"] > 5
    assert figures["deliveries_expected"] > 20
