"""`python -m firmware_sim`: a simulated town on an MQTT broker, live, or as history.

python -m firmware_sim --bus mqtt://…                              the demonstration town, live
python -m firmware_sim --bus … --scenario power-cut                a scenario whose first day is today, live
python -m firmware_sim --bus … --scenario power-cut --past         one that ended last midnight, as fast as it is taken
python -m firmware_sim --out history.jsonl --fleet town --days 60  two ordinary months of a town into a file
python -m firmware_sim --fleet province --seed 7 --register DIR    a register of 25,000 sites
"""

import argparse
import asyncio
import re
import sys
from datetime import date, timedelta
from pathlib import Path

import yaml

from firmware_sim.backfill import BrokerGone, backfill, to_broker, to_file
from firmware_sim.families import build_families
from firmware_sim.fleet import SIZES, build_fleet, write_register
from firmware_sim.people import local_day
from firmware_sim.posts import read_addresses
from firmware_sim.run import run
from firmware_sim.scenario import BadScenario, Scenario, build, load, names
from firmware_sim.town import ZONE, Town, build_town
from firmware_sim.truth import write
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
    a = _arguments().parse_args()
    try:
        scenario = _scenario(a)
        if a.register:
            _write_register(
                scenario.town
                if scenario
                else build_families(a.seed)
                if a.families
                else build_fleet(a.fleet or "town", a.seed, a.sites),
                a.register,
            )
        if scenario and a.truth:
            write(a.truth, scenario.plot.truths)
        if a.out or a.bus:
            sys.stdout.write(f"{_play(a, scenario)}\n")
    except (BadScenario, BrokerGone, OSError) as e:
        sys.stderr.write(f"firmware_sim: {e}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m firmware_sim", description="模拟设备 Simulate a town's devices.")
    parser.add_argument("--bus", help="mqtt://user:password@host:port of the device bus")
    parser.add_argument("--town", type=Path, help="register file (YAML); without it, a demonstration town")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same devices and visits (default 1)")
    parser.add_argument("--sites", type=int, help="sites of the town (default 8, or all of the fleet)")
    parser.add_argument("--backlog", type=duration_us, default=0, help="history to send first, such as 2h")
    parser.add_argument("--ledger", type=Path, help="write every observation here, fsynced, before it is published")
    parser.add_argument("--rate", type=float, help="observations a second instead of people's habits")
    parser.add_argument("--count", type=int, help="with --rate: stop after so many, once everything is acknowledged")
    parser.add_argument("--families", action="store_true", help="a site for each family of devices instead of a town")
    parser.add_argument("--http", metavar="URL", help="http://host:port of the gateway that devices post to; with --addresses")
    parser.add_argument("--addresses", type=Path, metavar="FILE", help="that gateway's <spool>.devices.json")
    story = parser.add_argument_group("情景与历史 scenarios and history")
    story.add_argument("--scenario", metavar="NAME", help=f"one of {', '.join(names())}")
    story.add_argument("--fleet", choices=list(SIZES), help="a generated fleet instead; with --days, its ordinary history")
    story.add_argument("--days", type=int, help="days of a fleet's history")
    story.add_argument("--past", action="store_true", help="the scenario ended last midnight: send it all, then stop")
    story.add_argument("--speed", type=float, default=0, help="multiple of real time (default: as fast as it is taken)")
    story.add_argument("--out", type=Path, metavar="FILE", help="write what arrives at the gateways as JSON lines instead")
    story.add_argument("--register", type=Path, metavar="PATH", help="write the register: a .yaml file, or a folder of CSV")
    story.add_argument("--truth", type=Path, metavar="FILE", help="write the truth about incidents, for `smartcare score`")
    return parser


def _scenario(a: argparse.Namespace) -> Scenario | None:
    today = local_day(now_us(), ZONE)
    if a.scenario:
        first = load(a.scenario)
        length = (first.to_us - first.from_us) // (24 * HOUR_US)
        return load(a.scenario, begins=today - timedelta(days=length if a.past or a.out else 0))
    if a.fleet and a.days:
        return _ordinary(a, today - timedelta(days=a.days))
    return None


def _ordinary(a: argparse.Namespace, begins: date) -> Scenario:
    fleet = {"name": a.fleet, "seed": a.seed, "sites": a.sites}
    return build(a.fleet, {"zh": "平常日子", "en": "ordinary days", "fleet": fleet, "begins": begins, "days": a.days})


def _play(a: argparse.Namespace, scenario: Scenario | None) -> str:
    posts = read_addresses(a.addresses, a.http) if a.http and a.addresses else {}
    if scenario and (a.out or a.past or a.days):
        with to_file(a.out) if a.out else to_broker(a.bus, posts) as sink:
            sent = backfill(scenario, sink, speed=a.speed)
        return f"已发送 {sent} 条消息 sent {sent} messages"
    if scenario:
        today_us = now_us() - scenario.from_us
        story = run(scenario.town, a.bus, script=scenario.plot, backlog_us=today_us, ledger=a.ledger, posts=posts)
        return str(asyncio.run(story))
    if a.town:
        town = Town(seed=a.seed, document=yaml.safe_load(a.town.read_text(encoding="utf-8")))
    elif a.families:
        town = build_families(a.seed)
    else:
        town = build_town(a.seed, a.sites or 8, now_us())
    work = run(town, a.bus, backlog_us=a.backlog, ledger=a.ledger, rate=a.rate, count=a.count, posts=posts)
    return str(asyncio.run(work))


def _write_register(town: Town, path: Path) -> None:
    if path.suffix in (".yaml", ".yml"):
        path.write_text(yaml.safe_dump(town.register(), allow_unicode=True, sort_keys=False), encoding="utf-8")
    else:
        write_register(town, path)


if __name__ == "__main__":
    raise SystemExit(main())
