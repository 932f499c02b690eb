"""The command `smets1`. Only the module of the sub-command asked for is imported, so --help is quick.

A module in `commands/` offers `add_arguments(parser)` and `run(args) -> int`. Exit codes: 0 done,
1 the thing asked for failed (one line on standard error says why), 2 usage.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn, Protocol, cast

from smets1 import __version__
from smets1.errors import EmulatorError
from smets1.tools.arguments import UsageError

__all__ = ["DONE", "FAILED", "USAGE", "main"]

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
_INTERRUPTED: Final = 130  # what a shell says of a program that Ctrl-C ended

_COMMANDS: Final = {
    "init": "write a commented home.toml",
    "run": "run a home",
    "demo": "the main job: a six-device home for one day",
    "doctor": "examine this machine's rig: sticks, firmware, clock, broker, keys",
    "dongle": "simulated radio sticks, for any program to open",
    "parameters": "what the devices of a running home are configured to, and must be",
    "request": "send one DUIS request, print the DUIS response",
    "srv": "list the service reference variants, or print one as a ready request",
    "utrn": "make a top-up token, or explain one",
    "migrate": "migrate homes from authorisation to outcome, write every file",
    "scenario": "play named migration scenarios, judge them, tell their story",
    "keys": "make a test PKI: an authority, users, the S1SP",
}


class _Command(Protocol):
    """What a module in `commands/` offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> int: ...


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (without the program's name); give its exit code. argparse may exit by itself."""
    words = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a story is followed while it goes on, in a pipe too
        sys.stdout.reconfigure(line_buffering=True)
    chosen = next((word for word in words if not word.startswith("-")), "")
    parser = _Parser(prog="smets1", description="An emulator of a GB SMETS1 smart-metering home.")
    parser.add_argument("--version", action="version", version=f"smets1 {__version__}")
    parsers = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    command: _Command | None = None
    for name, does in _COMMANDS.items():
        part = parsers.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.")
        if name == chosen:
            command = cast(_Command, importlib.import_module(f"smets1.tools.commands.{name}"))
            command.add_arguments(part)
    args, unknown = parser.parse_known_args(words)
    if unknown:  # said by the command itself: its --help is the one that helps
        parsers.choices[args.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    assert command is not None, "argparse refuses an unknown command"
    return _guarded(command, args)


def _guarded(command: _Command, args: argparse.Namespace) -> int:
    """Run it; what a person can mend becomes one line, a bug of ours keeps its traceback."""
    try:
        code = command.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # `smets1 srv | head`: whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except UsageError as error:
        return _complain(args, f"{error} (see smets1 {args.command} --help)", USAGE)
    except EmulatorError as error:
        return _complain(args, str(error), FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(args, f"{where}{error.strerror or error}", FAILED)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _complain(args: argparse.Namespace, text: str, code: int) -> int:
    print(f"smets1 {args.command}: {' '.join(text.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
