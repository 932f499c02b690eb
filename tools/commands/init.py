"""`smets1 init [DIR]`: writes a commented home.toml, whole or not at all."""

from __future__ import annotations

import argparse
import json
import os
from importlib import resources
from pathlib import Path

from smets1.errors import InputError
from smets1.tools.new_file import make_folder

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="DIR", nargs="?", default=".", type=Path, help="where (default: here)"
    )
    parser.add_argument("--force", action="store_true", help="replace a home.toml that is there")
    parser.add_argument("--json", action="store_true", help="say what was written as JSON")


def run(args: argparse.Namespace) -> int:
    path = write_template(args.folder, is_forced=args.force)
    if args.json:
        print(json.dumps({"written": str(path)}))
    else:
        print(f"{path} written; next: smets1 run {path}")
    return 0


def write_template(folder: Path, *, is_forced: bool = False) -> Path:
    """Path of the new file. Raises InputError where one is there and is not to be replaced."""
    text = resources.files("smets1.tools").joinpath("home_template.toml").read_text(encoding="utf-8")
    path = folder / "home.toml"
    if path.exists() and not is_forced:
        raise InputError(f"{path} is there already: --force replaces it")
    make_folder(folder, "DIR")
    part = folder / f".home.toml.{os.getpid()}"
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
