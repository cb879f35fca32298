"""`python -m firmware_sim`: a simulated town on an MQTT broker."""

import argparse
import asyncio
import re
import sys
from pathlib import Path

import yaml

from firmware_sim.run import run
from firmware_sim.town import Town, build_town
from gateway.clock import HOUR_US, MINUTE_US, SECOND_US, now_us

_UNITS = {"s": SECOND_US, "m": MINUTE_US, "h": HOUR_US}


def duration_us(text: str) -> int:
    """Read "90s", "30m" or "2h". Raises argparse.ArgumentTypeError."""
    match = re.fullmatch(r"(\d+)([smh])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected a number with s, m or h, such as 2h, got {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def main() -> int:
    """Parse the command line and run. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m firmware_sim", description="模拟设备 Simulate a town's devices.")
    parser.add_argument("--bus", required=True, help="mqtt://user:password@host:port of the device bus")
    parser.add_argument("--town", type=Path, help="register file (YAML); without it, a demonstration town")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same devices and visits (default 1)")
    parser.add_argument("--sites", type=int, default=8, help="sites of the demonstration town (default 8)")
    parser.add_argument("--backlog", type=duration_us, default=0, help="history to send first, such as 2h")
    parser.add_argument("--ledger", type=Path, help="write every observation here, fsynced, before it is published")
    parser.add_argument("--rate", type=float, help="observations a second instead of people's habits")
    parser.add_argument("--count", type=int, help="with --rate: stop after so many, once everything is acknowledged")
    a = parser.parse_args()
    if a.town:
        town = Town(seed=a.seed, document=yaml.safe_load(a.town.read_text(encoding="utf-8")))
    else:
        town = build_town(a.seed, a.sites, now_us())
    try:
        summary = asyncio.run(run(town, a.bus, backlog_us=a.backlog, ledger=a.ledger, rate=a.rate, count=a.count))
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(f"{summary}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
