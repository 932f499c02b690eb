"""`smets1 keys`: a small test PKI as files: an authority, users, the S1SP.

    smets1 keys make DIR                                what the reference home needs
    smets1 keys issue DIR --name NAME --eui64 EUI64     one more party, by the same authority
                                     [--host HOST]      which is a TLS server, such as the WAN's broker

Files: `authority.pem` (certificate), `authority.key`, and NAME.pem, NAME.key for each party. Nothing that is
there is replaced; a key file can be read by its owner only (0600). Keys come from the operating
system, and nobody outside the laboratory trusts them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smets1.errors import InputError
from smets1.eui64 import Eui64, format_eui64
from smets1.tools.arguments import eui64
from smets1.tools.new_file import make_folder

if TYPE_CHECKING:
    from smets1.headend.pki import FilePki

__all__ = ["add_arguments", "run"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_S1SP: Final = 0x90B3D51F30000001
_AUTHORITY: Final = "authority"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="make|issue", dest="action", required=True)
    make = actions.add_parser("make", help="a new authority, and its parties", description="Make a test PKI.")
    issue = actions.add_parser("issue", help="one more party", description="Issue one more certificate.")
    issue.add_argument("--name", required=True, type=_name, help="name of the files, and in the certificate")
    issue.add_argument("--eui64", required=True, type=eui64, help="the party's EUI-64")
    issue.add_argument("--host", help="of a TLS server too, at this host name or IP address: an MQTT broker")
    for part in (make, issue):
        part.add_argument("folder", metavar="DIR", type=Path, help="where the files are")
        part.add_argument("--json", action="store_true", help="say what was written as JSON")


def run(args: argparse.Namespace) -> int:
    from smets1.headend.pki import FilePki

    folder: Path = args.folder
    if args.action == "make":
        parties = _reference_parties()
        _refuse_present(folder, [_AUTHORITY, *parties])
        make_folder(folder, "DIR", mode=0o700)
        pki = FilePki.create()
        written = [*_write(folder, _AUTHORITY, *pki.authority_pem())]
    else:
        parties = {args.name: args.eui64}
        _refuse_present(folder, [*parties])
        pki = _load(folder, FilePki)
        written = []
    for name, party in parties.items():
        host = getattr(args, "host", None)
        written += _write(folder, name, *pki.issue_pem(party, name, host=host))
    if args.json:
        print(json.dumps({"written": [str(path) for path in written]}))
    else:
        for name, party in parties.items():
            print(f"{format_eui64(party)}  {folder / name}.pem")
        print(f"{len(written)} files written; a user in home.toml takes one as certificate_file")
    return 0


def _reference_parties() -> dict[str, Eui64]:
    from smets1.headend.users import DEFAULT_USERS

    users = {user.name.replace(" ", "-").lower(): user.eui64 for user in DEFAULT_USERS}
    return {**users, "s1sp": _S1SP}


def _refuse_present(folder: Path, names: list[str]) -> None:
    """Before anything is written. Raises InputError."""
    for name in names:
        for suffix in (".pem", ".key"):
            path = folder / f"{name}{suffix}"
            if path.exists() or path.is_symlink():
                raise InputError(f"{path} is there already, and is not replaced")


def _load(folder: Path, kind: type[FilePki]) -> FilePki:
    try:
        octets = [(folder / f"{_AUTHORITY}{suffix}").read_bytes() for suffix in (".pem", ".key")]
    except OSError as error:
        raise InputError(
            f"{error.filename}: {(error.strerror or str(error)).lower()}; next: smets1 keys make {folder}"
        ) from None
    return kind.load(*octets)


def _write(folder: Path, name: str, certificate: bytes, key: bytes) -> list[Path]:
    paths = []
    for suffix, octets, mode in ((".key", key, 0o600), (".pem", certificate, 0o644)):
        path = folder / f"{name}{suffix}"
        # O_EXCL: whoever made the file since we looked keeps it.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(octets)
        paths.append(path)
    return paths


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or text == _AUTHORITY:
        raise argparse.ArgumentTypeError(f"{text!r}: letters, digits, dots and dashes, 40 at most")
    return text
