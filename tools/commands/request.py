"""`smets1 request FILE|-`: sends one DUIS request to a head end and prints the DUIS response.

The Command Variant in the request chooses the path, as DCC Boxed's clients do: 4 to serviceT
(transform), 8 to serviceD (non-device), all others to serviceS. Exit code 1 where the answer is a
refusal: an E code, a DCC alert, or a device that says no. Standard library only, to start quickly.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smets1.errors import InputError
from smets1.tools.http_client import add_address_arguments, exchange, split_address

__all__ = ["Answer", "add_arguments", "post", "run", "service_path"]

_SLACK_S: Final = 10  # beyond --wait: the head end answers at its end
_PATHS: Final = {"4": "/api/v1/serviceT", "8": "/api/v1/serviceD"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the request; - reads standard input")
    add_address_arguments(parser)
    parser.add_argument(
        "--wait", metavar="SECONDS", type=_seconds, default=30.0,
        help="wait so long for the final answer; 0 takes the acknowledgement I99 (default 30)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print codes and response as JSON")


def run(args: argparse.Namespace) -> int:
    octets = _read(args.file)
    answer = post(octets, url=args.url, wait_s=args.wait, token=args.token)
    if args.json:
        print(json.dumps(answer.as_dict(), indent=2))
    else:
        sys.stdout.write(answer.xml if answer.xml.endswith("\n") else answer.xml + "\n")
    if answer.refusal:
        print(f"smets1 request: {answer.refusal}", file=sys.stderr)
        return 1
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A DUIS response (or what came in its place), and the codes found in it."""

    http_status: int
    xml: str
    response_code: str | None
    dcc_alert_code: str | None
    is_unsuccessful: bool  # the device answered, and said no

    @classmethod
    def of(cls, http_status: int, xml: str) -> Answer:
        return cls(
            http_status=http_status,
            xml=xml,
            response_code=_first(xml, "ResponseCode"),
            dcc_alert_code=_first(xml, "DCCAlertCode"),
            is_unsuccessful=_first(xml, "MessageSuccess") in ("false", "0"),
        )

    @property
    def refusal(self) -> str | None:
        """Why the thing asked for was not done, in one line; None where it was, or will be."""
        if self.response_code and self.response_code.startswith("E"):
            return f"refused with response code {self.response_code}"
        if self.dcc_alert_code:
            return f"answered with DCC alert {self.dcc_alert_code}"
        if self.http_status >= 400:
            return f"HTTP status {self.http_status} from the head end"
        if self.is_unsuccessful:
            return "the device did not do it: see SMETS1Debug in the response"
        if self.response_code is None:
            return "what answered is no DUIS head end: check --url"
        return None

    def as_dict(self) -> dict[str, object]:
        return {
            "http_status": self.http_status,
            "response_code": self.response_code,
            "dcc_alert_code": self.dcc_alert_code,
            "refusal": self.refusal,
            "xml": self.xml,
        }


def service_path(octets: bytes) -> str:
    """The path for a request by its Command Variant. A look, not a parse: judging is the head end's."""
    variant = re.search(rb"<(?:[\w.-]+:)?CommandVariant>\s*(\d)\s*<", octets)
    return _PATHS.get(variant[1].decode() if variant else "", "/api/v1/serviceS")


def post(octets: bytes, *, url: str, wait_s: float, token: str = "") -> Answer:
    """Send and wait. Raises InputError (unusable URL), LostError (nobody there, or gone silent)."""
    target = _target(url, octets, wait_s)
    status, body = exchange(
        target, data=octets, media_type="application/xml", token=token, timeout_s=wait_s + _SLACK_S
    )
    return Answer.of(status, _text(body))


def _target(url: str, octets: bytes, wait_s: float) -> str:
    parts = split_address(url)
    path = parts.path if parts.path not in ("", "/") else service_path(octets)
    query = "&".join(part for part in (parts.query, f"wait={wait_s:g}" if wait_s else "") if part)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _read(name: str) -> bytes:
    octets = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    if not octets.strip():
        raise InputError(f"{'standard input' if name == '-' else name} is empty: a DUIS request was expected")
    return octets


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("seconds, 0 to 86400")
    return seconds


def _first(xml: str, element: str) -> str | None:
    found = re.search(rf"<(?:[\w.-]+:)?{element}>\s*([^<\s]+)\s*<", xml)
    return found[1] if found else None


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")
