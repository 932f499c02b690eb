"""`smets1 migrate`: a migration week from MA to COF, for one home or a list; every file is written.

smets1 migrate                                   the reference home
smets1 migrate a.toml b.toml --out ./files       two homes of yours, files and story
smets1 migrate --list homes.csv --json           active, dormant, split, with faults: one row a home
smets1 migrate --population 1000                 light homes, to see that a whole week adds up
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections import Counter
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from smets1.errors import InputError
from smets1.tools.arguments import UsageError, whole_number
from smets1.tools.new_file import make_folder

if TYPE_CHECKING:
    from smets1.tools.migration.batch import HomeResult

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", metavar="home.toml", nargs="*", type=Path, help="homes (default: the reference home)"
    )
    parser.add_argument(
        "--list",
        metavar="FILE.csv",
        type=Path,
        help="columns home, electricity, gas, gas_supplier, fault (docs/migration.md)",
    )
    parser.add_argument(
        "--population", metavar="N", type=whole_number(1, 100_000), help="N light homes in place of emulated"
    )
    parser.add_argument("--dormant", action="store_true", help="homes without active suppliers")
    parser.add_argument(
        "--by-supplier", action="store_true", help="the supplier commissions, not the Commissioning Party"
    )
    parser.add_argument("--dco-process", action="store_true", help="the DCO runs in a process of its own")
    parser.add_argument("--out", metavar="DIR", type=Path, help="write every migration file there")
    parser.add_argument(
        "--captures", action="store_true", help="with --out: the air of each home too, and its keys"
    )
    parser.add_argument(
        "--seed", metavar="N", type=whole_number(0, 2**63 - 1), default=7, help="all randomness"
    )
    parser.add_argument("--schema", action="store_true", help="print the XSD of all files, and nothing else")
    parser.add_argument("--quiet", action="store_true", help="no story, only what each home came to")
    parser.add_argument("--json", action="store_true", help="what each home came to, as JSON; no story")


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(handlers=[logging.NullHandler()])  # the story is told in print
    if args.schema:
        from smets1.headend.migration.files import schema

        print(schema(), end="")
        return 0
    if sum((bool(args.files), args.list is not None, args.population is not None)) > 1:
        raise UsageError("give home files, or --list, or --population: one of them")
    if args.captures and (args.out is None or args.population is not None):
        raise UsageError("--captures needs --out, and emulated homes")
    if args.dormant and args.list is not None:
        raise UsageError("--dormant: write it into the list, in the columns electricity and gas")
    if args.population is not None and (args.dormant or args.by_supplier or args.dco_process):
        raise UsageError("--population is as it is: leave out --dormant, --by-supplier and --dco-process")
    if args.out is not None:
        _begin_folder(args.out)
    return _run_population(args) if args.population is not None else _run_homes(args)


def _begin_folder(folder: Path) -> None:
    make_folder(folder, "--out")
    if any(folder.glob("*.xml")):
        raise InputError(f"--out {folder}: has files of an earlier run: give an empty folder")


def _run_homes(args: argparse.Namespace) -> int:
    # here, since homes are slow to import and --help needs none
    from smets1.headend.migration.files import SupplyStatus
    from smets1.tools.migration.batch import migrate
    from smets1.tools.migration.orders import from_files, read_list

    if args.list is not None:
        orders = read_list(args.list)
    else:
        status = SupplyStatus.DORMANT if args.dormant else SupplyStatus.ACTIVE
        orders = from_files(args.files, status=status)
    is_quiet = args.json or args.quiet
    began_s = time.monotonic()
    results = migrate(
        orders,
        seed=args.seed,
        folder=args.out,
        captures=args.captures,
        by_supplier=args.by_supplier,
        has_dco_process=args.dco_process,
        on_line=(lambda _line: None) if is_quiet else print,
    )
    if args.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        _tell(results, began_s, args.out)
    return 0 if all(result.is_commissioned for result in results) else 1


def _tell(results: list[HomeResult], began_s: float, folder: Path | None) -> None:
    print()
    for result in results:
        row = f", row {result.row} of the SUA table" if result.row else ""
        why = f": {result.reason}" if result.reason else ""
        print(f"{result.hub}  {result.outcome}{row}, the account is the {result.account}'s{why}")
    ends = Counter(result.outcome for result in results)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ends.items()))
    where = "" if folder is None else f"; the files are in {folder}"
    homes = f"{len(results)} home{'s' if len(results) != 1 else ''}"
    print(f"{homes}: {told}; {time.monotonic() - began_s:.1f} s{where}")


def _run_population(args: argparse.Namespace) -> int:
    from smets1.tools.migration.population import run_population

    is_quiet = args.json or args.quiet
    began_s = time.monotonic()

    def on_batch(done: int) -> None:
        print(f"{done} of {args.population} homes, {time.monotonic() - began_s:.0f} s")

    tally = run_population(
        args.population,
        seed=args.seed,
        folder=args.out,
        on_batch=(lambda _done: None) if is_quiet else on_batch,
    )
    if args.json:
        counts = {"ends": dict(tally.ends), "files": {str(kind): n for kind, n in tally.files.items()}}
        counted = {field.name: getattr(tally, field.name) for field in fields(tally)}
        print(json.dumps(counted | counts, indent=2))
    else:
        ends = ", ".join(f"{count} {end}" for end, count in sorted(tally.ends.items()))
        files = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.files.items()))
        print(f"{tally.homes} homes: {ends}\nfiles: {files}")
        print(f"homes in SCFs {tally.in_scf}, in COFs {tally.in_cof}, in reports {tally.in_reports}")
        for fault in tally.faults:
            print(f"does not add up: {fault}")
    return 1 if tally.faults else 0
