"""Building DUIS responses: every function gives the octets of one `sr:Response` that the schema accepts.

What a device answered is put into the element that the catalogue names (`ReadMeterBalanceRsp` and so
on) as a tree of `XmlNode`. Source: DUIS-5.4.xsd, Response, SMETS1ResponseMessage, S1SPAlert;
MMC-5.4.xsd, HeaderType, ResponsePayload, StatusSMETS1.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from lxml import etree

from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import format_utc
from smets1.headend.duis.codes import DS, RA, SCHEMA_VERSION, SR, DccAlertCode, ResponseCode
from smets1.headend.duis.request import DuisRequest, RequestId, XmlNode, append_tree

__all__ = ["DebugEntry", "DeviceTime", "ResponseBuilder", "ResponseSigner", "element", "is_success", "node"]

_PREFIXES: Final = {"sr": SR, "ra": RA, "ds": DS}
_NO_SUCH_SERVICE: Final = 0x85  # as ZCL INVALID_FIELD
_MAX_ERROR: Final = 250  # MMC-5.4.xsd, StatusSMETS1/Error


class ResponseSigner(Protocol):
    """Adds an enveloped `ds:Signature` as last child and gives the signed root back."""

    def sign(self, root: etree._Element) -> etree._Element: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DebugEntry:
    """Why a device, or the S1SP for it, said no. Source: MMC-5.4.xsd, StatusSMETS1."""

    error: str  # 250 characters at most reach the document
    response_code: int
    position: int = 1  # 1..; which of the equivalent steps


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTime:
    """The device's own time of an answer. Source: MMC-5.4.xsd, HeaderType/Timestamp."""

    utc_us: int
    is_from_gsme: bool
    clock_status: str = "reliable"


def node(name: str, content: object = None, **attributes: object) -> XmlNode | None:
    """Shorthand for a tree: `content` is text, a number, a truth value or a list of nodes.

    None for no content and no attributes; a list leaves out its Nones.
    """
    if content is None and not attributes:
        return None
    if isinstance(content, list):
        return element(name, content, **attributes)
    pairs = tuple((key, _text(value)) for key, value in attributes.items())
    return XmlNode(name, text="" if content is None else _text(content), attributes=pairs)


def element(name: str, children: Sequence[XmlNode | None], **attributes: object) -> XmlNode:
    """As `node` of a list, which is there also where the list is empty."""
    pairs = tuple((key, _text(value)) for key, value in attributes.items())
    return XmlNode(name, attributes=pairs, children=tuple(child for child in children if child))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class ResponseBuilder:
    """Makes responses on behalf of the DSP `dsp`, with device answers signed by the S1SP."""

    def __init__(self, *, dsp: Eui64, signer: ResponseSigner) -> None:
        self._dsp = dsp
        self._signer = signer

    def service(
        self,
        request: DuisRequest,
        code: ResponseCode,
        *,
        now_utc_us: int,
        content: XmlNode | None = None,
    ) -> bytes:
        """ResponseMessage: acknowledgement, refusal, or what the DSP itself knows (`content`)."""
        root, body = self._root(request.request_id, code, now_utc_us)
        message = _child(body, SR, "ResponseMessage")
        _references(message, SR, request)
        if content is not None:
            append_tree(message, SR, content)
        return _octets(root)

    def nameless_refusal(
        self, request: DuisRequest, code: ResponseCode, reason: str, *, now_utc_us: int
    ) -> bytes:
        """Of a service that DUIS does not have: a ResponseMessage must name one that it has.

        **Assumption**: a SMETS1ResponseMessage need name none; the reason is its debug information.
        """
        response_id = request.request_id.reversed()
        root, body = self._root(request.request_id, code, now_utc_us, response_id=response_id)
        message = _child(body, SR, "SMETS1ResponseMessage")
        signed, content = self._signed_response(response_id, None, None)
        entry = DebugEntry(error=reason, response_code=_NO_SUCH_SERVICE)
        _append_debug(_child(content, SR, "ResponseMessage"), (entry,))
        message.append(self._signer.sign(signed))
        return _octets(root)

    def device_answer(
        self,
        request: DuisRequest,
        *,
        now_utc_us: int,
        data: XmlNode | None,
        time: DeviceTime | None,
        debug: tuple[DebugEntry, ...] = (),
        schedule_id: int | None = None,
    ) -> bytes:
        """SMETS1ResponseMessage with the S1SP's signature: what the device answered, good or bad.

        What a DSP schedule asked for bears the schedule's id, and no RequestID, since no user sent one.
        """
        root, body = self._root(
            request.request_id if schedule_id is None else None,
            ResponseCode.SUCCESS,
            now_utc_us,
            response_id=request.request_id.reversed(),
        )
        message = _child(body, SR, "SMETS1ResponseMessage")
        _references(message, SR, request)
        if schedule_id is not None:
            _child(message, SR, "DSPScheduleID", str(schedule_id))
        signed, content = self._signed_response(request.request_id.reversed(), request, time)
        payload = _child(content, SR, "ResponseMessage")
        if data is not None:
            append_tree(_child(payload, RA, "SMETSData"), RA, data)
        if debug:
            _append_debug(payload, debug)
        message.append(self._signer.sign(signed))
        return _octets(root)

    def dcc_alert(
        self,
        alert_id: RequestId,
        code: DccAlertCode,
        content: XmlNode,
        *,
        now_utc_us: int,
        request_id: RequestId | None = None,
    ) -> bytes:
        """DCCAlertMessage. `content` is the one element inside DCCAlert."""
        root, body = self._root(request_id, ResponseCode.SUCCESS, now_utc_us, response_id=alert_id)
        message = _child(body, SR, "DCCAlertMessage")
        _child(message, SR, "DCCAlertCode", code)
        append_tree(_child(message, SR, "DCCAlert"), SR, content)
        return _octets(root)

    def command_failure(
        self, request: DuisRequest, code: DccAlertCode, *, device: Eui64, now_utc_us: int
    ) -> bytes:
        """N60 or N61 about one request. **Assumption**: carried as a CommandFailure."""
        content = XmlNode(
            "CommandFailure",
            children=(
                XmlNode("CommandRequestID", str(request.request_id)),
                XmlNode("DeviceID", format_eui64(device)),
            ),
        )
        alert_id = RequestId(self._dsp, request.originator, request.request_id.counter)
        return self.dcc_alert(alert_id, code, content, now_utc_us=now_utc_us, request_id=request.request_id)

    def s1sp_alert(
        self,
        alert_id: RequestId,
        alert_code: str,
        *,
        device: Eui64,
        now_utc_us: int,
        request_id: RequestId | None = None,
        utrn: str | None = None,
        information: str | None = None,
    ) -> bytes:
        """A signed S1SPAlert inside a DCC alert. Which DCCAlertCode carries it is an **assumption**."""
        alert = etree.Element(f"{{{SR}}}S1SPAlert", nsmap=_PREFIXES, schemaVersion=SCHEMA_VERSION)
        if request_id is not None:
            _child(alert, SR, "RequestID", str(request_id))
        _child(alert, SR, "DeviceID", format_eui64(device))
        _child(alert, SR, "S1SPAlertCode", alert_code)
        if information is not None:
            _child(alert, SR, "AdditionalInformation", information)
        if utrn is not None:
            _child(alert, SR, "UTRN", utrn)
        _child(alert, SR, "DateTime", format_utc(now_utc_us))
        root, body = self._root(None, ResponseCode.SUCCESS, now_utc_us, response_id=alert_id)
        message = _child(body, SR, "DCCAlertMessage")
        _child(message, SR, "DCCAlertCode", DccAlertCode.S1SP_ALERT)
        _child(_child(message, SR, "DCCAlert"), SR, "S1SPAlertDSP").append(self._signer.sign(alert))
        return _octets(root)

    def device_alert(
        self,
        alert_id: RequestId,
        alert_code: int,
        description: str,
        *,
        now_utc_us: int,
        time: DeviceTime,
        throttled: tuple[int, int] | None = None,
    ) -> bytes:
        """A device's own alert (`alert_code` 0..0xFFFF), from `alert_id.originator` to its user.

        `throttled`: number of the throttled series, and how many alerts this one stands for.
        """
        root, body = self._root(None, ResponseCode.SUCCESS, now_utc_us, response_id=alert_id)
        message = _child(body, SR, "SMETS1ResponseMessage")
        if throttled is not None:
            _child(message, SR, "ThrottledAlertSequenceId", str(throttled[0]))
            _child(message, SR, "ThrottledAlertCount", str(throttled[1]))
        signed, content = self._signed_response(alert_id, None, time)
        alert = _child(content, SR, "DeviceAlertMessage")
        details = _child(alert, RA, "DeviceAlertContent")
        _child(details, RA, "GBCSHexAlertCode", f"{alert_code:04X}")
        _child(details, RA, "AlertDescription", description[:_MAX_ERROR])
        _child(details, RA, "Timestamp", format_utc(time.utc_us))
        message.append(self._signer.sign(signed))
        return _octets(root)

    def pre_command(self, request: DuisRequest, payload: bytes, *, now_utc_us: int) -> bytes:
        """The answer to Transform."""
        content = XmlNode(
            "PreCommand",
            children=(
                XmlNode("GBCSVersion", "SMETS1"),
                XmlNode("GBCSPayload", base64.b64encode(payload).decode()),
            ),
        )
        return self.service(request, ResponseCode.SUCCESS, now_utc_us=now_utc_us, content=content)

    def _root(
        self,
        request_id: RequestId | None,
        code: ResponseCode,
        now_utc_us: int,
        *,
        response_id: RequestId | None = None,
    ) -> tuple[etree._Element, etree._Element]:
        root = etree.Element(f"{{{SR}}}Response", nsmap=_PREFIXES, schemaVersion=SCHEMA_VERSION)
        header = _child(root, SR, "Header")
        if request_id is not None:
            _child(header, SR, "RequestID", str(request_id))
        if response_id is not None:
            _child(header, SR, "ResponseID", str(response_id))
        _child(header, SR, "ResponseCode", code)
        _child(header, SR, "ResponseDateTime", format_utc(now_utc_us))
        return root, _child(root, SR, "Body")

    def _signed_response(
        self, message_id: RequestId, request: DuisRequest | None, time: DeviceTime | None
    ) -> tuple[etree._Element, etree._Element]:
        """A SMETS1SignedResponse still without signature, and the Body inside it."""
        signed = etree.Element(f"{{{SR}}}SMETS1SignedResponse", nsmap=_PREFIXES, schemaVersion=SCHEMA_VERSION)
        response = _child(signed, SR, "SMETS1Response")
        header = _child(response, SR, "Header")
        _child(header, RA, "BusinessOriginatorID", format_eui64(message_id.originator))
        _child(header, RA, "BusinessTargetID", format_eui64(message_id.target))
        _child(header, RA, "OriginatorCounter", str(message_id.counter))
        if request is not None:
            _references(header, RA, request)
        if time is not None:
            stamp = _child(header, RA, "Timestamp", format_utc(time.utc_us))
            stamp.set("isFromGSME", _text(time.is_from_gsme))
            stamp.set("ClockStatus", time.clock_status)
        return signed, _child(response, SR, "Body")


def is_success(response: bytes) -> bool:
    """Of a response that was made here: I0, and no device has said no."""
    return b"<sr:ResponseCode>I0<" in response and b'MessageSuccess="false"' not in response


def _references(parent: etree._Element, namespace: str, request: DuisRequest) -> None:
    _child(parent, namespace, "ServiceReference", request.service_reference)
    _child(parent, namespace, "ServiceReferenceVariant", request.srv)


def _append_debug(payload: etree._Element, entries: tuple[DebugEntry, ...]) -> None:
    debug = _child(_child(payload, RA, "DebugInfo"), RA, "SMETS1Debug")
    for entry in entries:
        status = _child(debug, RA, "SMETS1Response")
        status.set("ResponseCode", str(entry.response_code))
        status.set("Position", str(entry.position))
        _child(status, RA, "Error", entry.error[:_MAX_ERROR])


def _child(parent: etree._Element, namespace: str, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{namespace}}}{name}")
    if text is not None:
        element.text = str(text)
    return element


def _octets(root: etree._Element) -> bytes:
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))
