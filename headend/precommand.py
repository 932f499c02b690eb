"""Pre-Commands: what Transform (CV 4) returns for the user to sign, and what comes back as CV 5.

A SMETS1 request is never turned into GBCS, so what a Pre-Command holds is not public. **Assumption**: the
GBCS general-signing envelope that today's clients know how to sign, around a CBOR map of our own:

    DF | 09 | 01 counter (8) | 08 originator (8) | 08 target (8) | 00 | 02 message code (2)
       | length | content | signature length (00, or 40 and 64 octets r | s)

Source: GBCS 7.2.6 (Grouping Header, MAC header apart); the message code 0x0000 says "not GBCS".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

import cbor2

from smets1.errors import DecodeError
from smets1.firmware.cbor import load_strict
from smets1.headend.duis.request import DuisError, DuisRequest, XmlNode, parse_document, read_node

__all__ = ["SignedPreCommand", "build_pre_command", "open_signed_pre_command", "pre_command_digest"]

_GENERAL_SIGNING: Final = 0xDF
_COMMAND: Final = 0x01  # CRA flag
_VERSION: Final = 1
_SIGNATURE_SIZES: Final = (0, 64)


def build_pre_command(request: DuisRequest) -> bytes:
    """The same request always gives the same octets."""
    content = cbor2.dumps({"version": _VERSION, "srv": request.srv, "body": request.body_xml})
    return _envelope(request) + _length(len(content)) + content + b"\x00"


def pre_command_digest(payload: bytes) -> bytes:
    """SHA-256 of an unsigned Pre-Command without its empty signature."""
    return hashlib.sha256(payload[:-1]).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPreCommand:
    """What came back as CV 5."""

    srv: str
    body: XmlNode = field(repr=False)
    signature: bytes  # r | s, 64 octets, or empty
    # **Assumption**: all but the tag and the signature, as DLMS general signing has it.
    signed_octets: bytes = field(repr=False)
    digest: bytes  # as `pre_command_digest`


def open_signed_pre_command(request: DuisRequest) -> SignedPreCommand:
    """A CV 5 request -> the Pre-Command that it carries.

    Raises DecodeError where it does not carry a Pre-Command made here for this very RequestID.
    """
    text = request.body.value("GBCSPayload") if request.body.name == "SignedPreCommand" else None
    try:
        payload = base64.b64decode("".join((text or "").split()), validate=True)
    except ValueError:
        raise DecodeError("pre-command", 0, "GBCSPayload is not base64") from None
    head = _envelope(request)
    if not hmac.compare_digest(payload[: len(head)], head):
        raise DecodeError("pre-command", 0, "not the pre-command of this request")
    size, at = _read_length(payload, len(head))
    content, signature = payload[at : at + size], payload[at + size :]
    if len(content) != size or not signature or signature[0] != len(signature) - 1:
        raise DecodeError("pre-command", len(payload), "ends too early, or too late")
    if len(signature) - 1 not in _SIGNATURE_SIZES:
        raise DecodeError("pre-command", at + size, "the signature has 0 or 64 octets")
    srv, body = _open_content(content)
    return SignedPreCommand(
        srv=srv,
        body=body,
        signature=signature[1:],
        signed_octets=payload[1 : at + size],
        digest=hashlib.sha256(payload[: at + size]).digest(),
    )


def _envelope(request: DuisRequest) -> bytes:
    request_id = request.request_id
    return (
        bytes((_GENERAL_SIGNING, 9, _COMMAND))
        + request_id.counter.to_bytes(8, "big")
        + b"\x08"
        + request_id.originator.to_bytes(8, "big")
        + b"\x08"
        + request_id.target.to_bytes(8, "big")
        + b"\x00\x02\x00\x00"
    )


def _length(size: int) -> bytes:
    """DLMS length: one octet below 128, else 0x82 and two."""
    return bytes((size,)) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")


def _read_length(octets: bytes, at: int) -> tuple[int, int]:
    if at < len(octets) and octets[at] < 0x80:
        return octets[at], at + 1
    if octets[at : at + 1] == b"\x82" and len(octets) >= at + 3:
        return int.from_bytes(octets[at + 1 : at + 3], "big"), at + 3
    raise DecodeError("pre-command", at, "not a length")


def _open_content(content: bytes) -> tuple[str, XmlNode]:
    value = load_strict(content)
    if not isinstance(value, dict) or value.get("version") != _VERSION:
        raise DecodeError("pre-command", 0, "its content is not ours")
    srv, body = value.get("srv"), value.get("body")
    if not isinstance(srv, str) or not isinstance(body, bytes):
        raise DecodeError("pre-command", 0, "its content is not ours")
    try:
        return srv, read_node(parse_document(body))
    except DuisError as error:
        raise DecodeError("pre-command", 0, str(error)) from None
