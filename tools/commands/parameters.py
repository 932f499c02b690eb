"""`smets1 parameters`: what the meters and displays of a running home are configured to, and must be.

Lists every parameter with its value, range and source; `--set NAME=VALUE` writes as the operator does;
`--differences` shows only what is not as the pre-enrolment table of a Group ID demands, and fails where there
is any. It asks the home over HTTP (`smets1 run`). Standard library only, to start quickly.
"""

from __future__ import annotations

import argparse
import json
import urllib.parse
from typing import Any, Final

from smets1.errors import InputError
from smets1.tools.arguments import UsageError
from smets1.tools.http_client import add_address_arguments, exchange, split_address

__all__ = ["add_arguments", "run"]

_TIMEOUT_S: Final = 30.0
_KINDS: Final = ("chf", "esme", "gsme", "ppmid", "ihd", "cad")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "device", metavar="DEVICE", nargs="?", default="",
        help=f"its EUI-64, or one of {', '.join(_KINDS)}; left out: all of them",
    )  # fmt: skip
    parser.add_argument(
        "--set", metavar="NAME=VALUE", type=_setting, action="append", default=[], dest="values",
        help="write one first",
    )  # fmt: skip
    parser.add_argument(
        "--differences", metavar="GROUP", nargs="?", const="DA", default="",
        help="only what is not as it must be before enrolment in this Group ID (default DA)",
    )  # fmt: skip
    add_address_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def _setting(text: str) -> tuple[str, str]:
    """'NAME=VALUE' -> both."""
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=VALUE")
    return name, value


def run(args: argparse.Namespace) -> int:
    if args.values and not args.device:
        raise UsageError("name the device whose parameters are to be set")
    home = _Home(args.url, args.token)
    devices = [device for device in home.get("home")["devices"] if device["kind"] in _KINDS]
    chosen = [each for each in devices if args.device.lower() in ("", each["kind"], each["eui64"].lower())]
    if not devices:
        raise InputError("no meter or display runs there")
    if not chosen:
        known = ", ".join(f"{each['eui64']} ({each['kind']})" for each in devices)
        raise InputError(f"no device {args.device!r} runs there: there are {known}")
    for device in chosen:
        for name, value in args.values:
            home.set(device["eui64"], name, value)
    if args.differences:
        return _show_differences(home, chosen, args.differences, as_json=args.json)
    found = {each["eui64"]: home.parameters(each["eui64"]) for each in chosen}
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    for device in chosen:
        print(f"{device['eui64']} {device['kind']}")
        for row in found[device["eui64"]]:
            print(_line(row))
    return 0


def _show_differences(home: _Home, devices: list[dict[str, Any]], group: str, *, as_json: bool) -> int:
    found = [
        {"device": device["eui64"], "kind": device["kind"], **difference}
        for device in devices
        for difference in home.get(
            f"devices/{device['eui64']}/enrolment?group={urllib.parse.quote(group, safe='')}"
        )["differences"]
    ]
    if as_json:
        print(json.dumps(found, indent=2))
    for each in () if as_json else found:
        shown = "(no such parameter)" if each["is"] is None else repr(each["is"])
        print(
            f"{each['device']} {each['kind']} part {each['part']} {each['name']}:"
            f" is {shown}, must be {each['must_be']!r}"
        )
    return 1 if found else 0


def _line(row: dict[str, Any]) -> str:
    value = ("(set)" if row["value"] else "(not set)") if row["is_secret"] else repr(row["value"])
    span = "" if row["low"] is None or row["kind"] != "number" else f"{row['low']} to {row['high']}"
    choices = ", ".join(f"{number} {name.lower()}" for name, number in row["choices"].items())
    what = f"{row['name']:45}{value:>18} {row['unit']:12} part {row['part']}"
    return f"  {what}  {span or choices:24}  {row['source']}".rstrip()


class _Home:
    """The home at an address."""

    def __init__(self, url: str, token: str) -> None:
        parts = split_address(url)
        self._base = urllib.parse.urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        self._token = token

    def get(self, path: str) -> Any:
        return self._ask(path)

    def parameters(self, eui64: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.get(f"devices/{eui64}/parameters")["parameters"]
        return rows

    def set(self, eui64: str, name: str, value: str) -> None:
        """What a number looks like is read as one where the parameter is one."""
        row = next((each for each in self.parameters(eui64) if each["name"] == name), None)
        kind = "text" if row is None else row["kind"]
        self._ask(f"devices/{eui64}/parameters", {"name": name, "value": _read(value, kind, name)})

    def _ask(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        status, octets = exchange(
            f"{self._base}/api/v1/{path}",
            data=data,
            media_type="application/json",
            token=self._token,
            timeout_s=_TIMEOUT_S,
        )
        text = octets.decode("utf-8", "replace")
        if status != 200 and not text.lstrip().startswith("<"):  # a home says what is wrong in plain text
            raise InputError(text[:300] or f"HTTP status {status}")
        try:
            return json.loads(text)
        except ValueError:
            raise InputError(f"what answers at {self._base} is no home: check --url") from None


def _read(value: str, kind: str, name: str) -> object:
    if kind == "bool":
        if value not in ("true", "false"):
            raise InputError(f"{name} is true or false")
        return value == "true"
    if kind == "text":
        return value
    try:
        return int(value)
    except ValueError:
        raise InputError(f"{name} is a number") from None
