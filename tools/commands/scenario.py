"""`smets1 scenario NAME...|FILE`: plays named migration scenarios or a script, judges, tells what happened.

smets1 scenario --list
smets1 scenario row-2-gsme-refuses --out ./files      every migration file is written there
smets1 scenario --all --json
smets1 scenario docs/examples/morning.toml --on air: --on ezsp:simulated    one script, two worlds, compared
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smets1.errors import InputError
from smets1.tools.arguments import UsageError, judged, speed

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="a scenario, or more than one; or the FILE of a script"
    )
    parser.add_argument("--list", action="store_true", help="list all, with what each rehearses")
    parser.add_argument("--all", action="store_true", help="play all")
    parser.add_argument(
        "--speed", type=speed, default="max", help="max jumps to the next event; sticks that are there need 1"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="write the migration files there; of a script, captures and keys",
    )
    parser.add_argument(
        "--on",
        metavar="RADIO[,RADIO]",
        type=_radios,
        action="append",
        default=[],
        help="of a script: the radios of its devices, in turn (may be given again: compared with the first); "
        "'file': those that it names",
    )
    parser.add_argument("--strict", action="store_true", help="of a script: a difference is a failure")
    parser.add_argument("--json", action="store_true", help="verdicts, or the list, as JSON; no story")


def _radios(text: str) -> str:
    """As given, once each of them is known to be one."""
    from smets1.tools.home_file import parse_radio
    from smets1.tools.script.player import AS_WRITTEN

    for each in () if text == AS_WRITTEN else text.split(","):
        judged(parse_radio, each)
    return text


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(handlers=[logging.NullHandler()])  # the story is told in print
    from smets1.hardware.clock import MAX_SPEED
    from smets1.tools.scenarios import CATALOGUE

    if sum((bool(args.names), args.all, args.list)) != 1:
        raise UsageError("name a scenario, or give --list or --all: one of them")
    if args.list:
        return _list(is_json=args.json)
    scripts = [name for name in args.names if name.endswith(".toml")]
    if scripts:
        if len(args.names) > 1:
            raise UsageError("one script at a time, without names of scenarios")
        return _run_script(Path(scripts[0]), args)
    if args.on or args.strict or args.speed != MAX_SPEED:
        raise UsageError("--on, --strict and --speed are for the FILE.toml of a script")
    names = list(CATALOGUE) if args.all else args.names
    unknown = [name for name in names if name not in CATALOGUE]
    if unknown:
        raise InputError(f"there is no scenario {unknown[0]}: `smets1 scenario --list` names them")
    verdicts = [_play(name, args) for name in names]
    if args.json:
        print(json.dumps(verdicts, indent=2))
    elif len(names) > 1:
        print(f"{sum(bool(v['is_passed']) for v in verdicts)} of {len(verdicts)} scenarios as they should be")
    return 0 if all(verdict["is_passed"] for verdict in verdicts) else 1


def _run_script(path: Path, args: argparse.Namespace) -> int:
    from smets1.tools.script.worlds import run_worlds

    say = (lambda _line: None) if args.json else print
    outcome = run_worlds(path, args.on, out=args.out, speed=args.speed, say=say)
    if args.json:
        print(json.dumps(outcome.as_json(), indent=2))
    return 0 if outcome.is_passed and (outcome.is_same or not args.strict) else 1


def _play(name: str, args: argparse.Namespace) -> dict[str, Any]:
    from smets1.tools.scenarios import CATALOGUE, play

    chosen = CATALOGUE[name]
    if not args.json:
        print(f"{name}: {chosen.title} ({chosen.source})\n")
    folder = None if args.out is None else args.out / name
    began_s = time.monotonic()
    verdict = play(name, on_line=(lambda _line: None) if args.json else print, folder=folder)
    took_s = time.monotonic() - began_s
    if not args.json:
        end = f"as it should be ({verdict.held} findings)" if verdict.is_passed else verdict.reason
        print(f"\n{name}: {end}; {took_s:.1f} s\n")
    return {**asdict(verdict), "took_s": round(took_s, 2)}


def _list(*, is_json: bool) -> int:
    from smets1.tools.scenarios import CATALOGUE

    rows = [{"name": s.name, "title": s.title, "source": s.source} for s in CATALOGUE.values()]
    if is_json:
        print(json.dumps(rows, indent=2))
        return 0
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        print(f"{row['name']:<{width}}  {row['title']} ({row['source']})")
    return 0
