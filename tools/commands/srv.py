"""`smets1 srv [SRV]`: lists the 129 service reference variants, or prints one as a ready request.

A ready request is unsigned (its signature is a placeholder of the right shape), smallest of its kind,
addressed to the reference home, and valid by the DUIS 5.4 schema; `srv_bodies.txt` holds the bodies.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from smets1.errors import InputError
from smets1.eui64 import Eui64, format_eui64
from smets1.tools.arguments import eui64, whole_number

if TYPE_CHECKING:
    from smets1.headend.catalogue import ServiceVariant

__all__ = ["add_arguments", "ready_request", "run"]

_REFERENCE_HOME: Final = 0x00DB1234567890A0
_TARGETS: Final[dict[str, Eui64]] = {
    "esme": _REFERENCE_HOME,
    "gsme": _REFERENCE_HOME + 1,
    "chf": _REFERENCE_HOME + 2,
    "gpf": _REFERENCE_HOME + 3,
    "ppmid": _REFERENCE_HOME + 4,
    "ihd": _REFERENCE_HOME + 5,
    "dsp": 0x90B3D51F30000002,
}
# The originators of the reference requests, by role; the first that may ask does.
_ORIGINATORS: Final = {
    "IS": 0x90B3D51F30010000,
    "GS": 0x90B3D51F30010000,
    "ES": 0x90B3D51F30010008,
    "ED": 0x90B3D51F30020000,
    "GT": 0x90B3D51F30020000,
    "OU": 0x90B3D51F30030000,
    "RSA": 0x90B3D51F30030000,
}
_TOKEN: Final = "73946144332040217315"  # the reference top-up token of DCC's test data set
_TOP_UP: Final = "2.2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("srv", metavar="SRV", nargs="?", help="a service reference variant, as 4.1.1")
    parser.add_argument("--smets1", action="store_true", help="list only what SMETS1 devices support")
    parser.add_argument("--target", metavar="EUI64", type=eui64, help="the device (default: reference home)")
    parser.add_argument("--originator", metavar="EUI64", type=eui64, help="who asks (default: one who may)")
    parser.add_argument(
        "--counter",
        metavar="N",
        type=whole_number(0, 2**64 - 1),
        help="of the request id (default: from the time)",
    )
    parser.add_argument("--token", metavar="UTRN", default=_TOKEN, help="the top-up token of 2.2")
    parser.add_argument("--json", action="store_true", help="list or describe as JSON")


def run(args: argparse.Namespace) -> int:
    from smets1.headend.catalogue import CATALOGUE, find_variant

    if args.srv is None:
        chosen = [row for row in CATALOGUE.values() if not args.smets1 or row.smets1.value == "yes"]
        _list(chosen, is_json=args.json)
        return 0
    variant = find_variant(args.srv)
    if variant is None:
        from smets1.tools.toml_reader import nearest

        hint = nearest(args.srv, CATALOGUE).partition(" (known")[0]
        raise InputError(f"{args.srv!r} is no service reference variant{hint or ': `smets1 srv` lists them'}")
    xml = ready_request(
        variant, target=args.target, originator=args.originator, counter=args.counter, token=args.token
    )
    if args.json:
        print(json.dumps({**_describe(variant), "request": xml}, indent=2))
    else:
        sys.stdout.write(xml)
    return 0


def ready_request(
    variant: ServiceVariant,
    *,
    target: Eui64 | None = None,
    originator: Eui64 | None = None,
    counter: int | None = None,
    token: str = _TOKEN,
    now: datetime | None = None,
) -> str:
    """A DUIS request as text. Raises InputError for a token that is not 20 digits."""
    if not re.fullmatch(r"[0-9]{20}", token):
        raise InputError(f"{token!r} is no UTRN: 20 digits, without spaces")
    moment = now or datetime.now(UTC)
    default_target, body = _bodies()[variant.srv]
    role = variant.roles[0].value if variant.roles else "IS"
    if counter is None:
        # A top-up's counter has its low half zero: the high half is what the token bears.
        counter = int(moment.timestamp()) << 32 if variant.srv == _TOP_UP else time.time_ns() // 1000
    ids = ":".join(
        (
            format_eui64(_ORIGINATORS[role] if originator is None else originator),
            format_eui64(_TARGETS[default_target] if target is None else target),
            str(counter),
        )
    )
    return _ENVELOPE.format(
        request_id=ids,
        command_variant=8 if variant.non_device else 1,
        service_reference=variant.service_reference,
        srv=variant.srv,
        body="\n".join(_xml(body, 2, _values(moment, token))),
    )


# --- the list --------------------------------------------------------------------------------------


def _list(variants: list[ServiceVariant], *, is_json: bool) -> None:
    if is_json:
        print(json.dumps([_describe(variant) for variant in variants], indent=2))
        return
    print(f"{'SRV':8}{'SMETS1':14}{'critical':10}{'roles':24}name")
    for variant in variants:
        critical = "critical" if variant.critical else ""
        roles = " ".join(role.value for role in variant.roles)
        print(f"{variant.srv:8}{variant.smets1.value:14}{critical:10}{roles:24}{variant.name}")


def _describe(variant: ServiceVariant) -> dict[str, object]:
    return {
        "srv": variant.srv,
        "service_reference": variant.service_reference,
        "name": variant.name,
        "smets1": variant.smets1.value,
        "critical": variant.critical,
        "on_demand": variant.on_demand,
        "future_dated": variant.future_dated.value,
        "dcc_scheduled": variant.dcc_scheduled,
        "non_device": variant.non_device,
        "roles": [role.value for role in variant.roles],
    }


# --- bodies ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Element:
    name: str
    text: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[_Element] = field(default_factory=list)


_LINE: Final = re.compile(r"( *)(\+?\w+)(?: @(\S+))?(?: (.*))?")


def _bodies() -> dict[str, tuple[str, _Element]]:
    """Variant -> default target and body, from the outline."""
    text = resources.files("smets1.tools.commands").joinpath("srv_bodies.txt").read_text(encoding="utf-8")
    bodies: dict[str, tuple[str, _Element]] = {}
    open_elements: list[_Element] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line.startswith(" "):
            depth, elements = (len(line) - len(line.lstrip())) // 2, _elements(line)
            open_elements[depth - 1].children.extend(elements)
        else:
            srv, target, element = line.split(" ", 2)
            depth, elements = 0, _elements(element)
            bodies[srv] = (target, elements[0])
        open_elements[depth:] = [elements[-1]]
    return bodies


def _elements(line: str) -> list[_Element]:
    """One line of the outline -> the element, or as many of it as its indexes say."""
    match = _LINE.fullmatch(line)
    assert match is not None, f"srv_bodies.txt: {line!r}"
    _, name, attribute, text = match.groups(default="")
    if name == "+period":
        times = [_Element("StartDateTime", "$from"), _Element("EndDateTime", "$to")]
        return [_Element("ReadLogPeriod", children=times)]
    if not attribute:
        return [_Element(name, text)]
    key, equals, value = attribute.partition("=")
    if equals:
        return [_Element(name, text, {key: value})]
    first, _, last = attribute.partition("-")
    return [_Element(name, text, {"index": str(n)}) for n in range(int(first), int(last or first) + 1)]


def _xml(element: _Element, depth: int, values: dict[str, str]) -> Iterator[str]:
    indent = "  " * depth
    tag = f"sr:{element.name}"
    attributes = "".join(f" {key}={quoteattr(value)}" for key, value in element.attributes.items())
    if element.children:
        yield f"{indent}<{tag}{attributes}>"
        for child in element.children:
            yield from _xml(child, depth + 1, values)
        yield f"{indent}</{tag}>"
    elif element.text:
        yield f"{indent}<{tag}{attributes}>{escape(Template(element.text).substitute(values))}</{tag}>"
    else:
        yield f"{indent}<{tag}{attributes}/>"


def _values(now: datetime, token: str) -> dict[str, str]:
    form = "%Y-%m-%dT%H:%M:%SZ"
    moment = now.astimezone(UTC)
    return {
        **{name: format_eui64(eui64) for name, eui64 in _TARGETS.items()},
        "now": moment.strftime(form),
        "today": moment.strftime("%Y-%m-%d"),
        "from": (moment - timedelta(days=1)).strftime(form),
        "to": moment.strftime(form),
        "token": token,
    }


# A signature of the right shape that verifies nothing: head ends ask for one by the schema.
_ENVELOPE: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<sr:Request xmlns:sr="http://www.dccinterface.co.uk/ServiceUserGateway" schemaVersion="5.4">
  <sr:Header>
    <sr:RequestID>{request_id}</sr:RequestID>
    <sr:CommandVariant>{command_variant}</sr:CommandVariant>
    <sr:ServiceReference>{service_reference}</sr:ServiceReference>
    <sr:ServiceReferenceVariant>{srv}</sr:ServiceReferenceVariant>
  </sr:Header>
  <sr:Body>
{body}
  </sr:Body>
  <ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#">
    <ds:SignedInfo>
      <ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>
      <ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"/>
      <ds:Reference URI="">
        <ds:Transforms>
          <ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>
        </ds:Transforms>
        <ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>
        <ds:DigestValue>AA==</ds:DigestValue>
      </ds:Reference>
    </ds:SignedInfo>
    <ds:SignatureValue>AA==</ds:SignatureValue>
    <ds:KeyInfo>
      <ds:X509Data>
        <ds:X509IssuerSerial>
          <ds:X509IssuerName>CN=unsigned</ds:X509IssuerName>
          <ds:X509SerialNumber>1</ds:X509SerialNumber>
        </ds:X509IssuerSerial>
      </ds:X509Data>
    </ds:KeyInfo>
  </ds:Signature>
</sr:Request>
"""
