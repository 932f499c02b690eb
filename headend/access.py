"""Access control: may this request be carried out, for whom, on which device?

Source: the meanings of the DUIS response codes. Where their order is not public it is an **assumption**:
form, signature, user, path, service, role, device, content.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from smets1.errors import DecodeError, EmulatorError, InputError, MisuseError, SecurityError
from smets1.eui64 import format_eui64
from smets1.firmware.civil import parse_utc
from smets1.headend.catalogue import FutureDating, ServiceVariant, Smets1Support, find_variant
from smets1.headend.duis.codes import (
    CommandVariant,
    DccAlertCode,
    DeviceStatus,
    ResponseCode,
    ServicePath,
    UserRole,
)
from smets1.headend.duis.request import DuisError, DuisRequest, parse_document, parse_request, read_request
from smets1.headend.duis.schema import SchemaValidator
from smets1.headend.duis.signature import Verifier
from smets1.headend.inventory import Inventory, InventoryDevice
from smets1.headend.non_device import BODIES as _NON_DEVICE_BODIES
from smets1.headend.precommand import SignedPreCommand, open_signed_pre_command
from smets1.headend.srv import PLANS
from smets1.headend.srv.steps import CANCELLED_UTC_US
from smets1.headend.users import ServiceUser, UserTable

__all__ = ["AccessControl", "CheckedRequest", "RefusedRequestError", "Signatures", "execution_utc_us"]

Signatures = Literal["require", "off"]

_NOT_ON_SMETS1: Final = frozenset(
    {
        CommandVariant.LOCAL,
        CommandVariant.WAN_AND_LOCAL,
        CommandVariant.SIGNED_LOCAL,
        CommandVariant.SIGNED_WAN_AND_LOCAL,
    }
)
_PATH_OF: Final = {
    CommandVariant.NON_CRITICAL: ServicePath.SEND_COMMAND,
    CommandVariant.SIGNED_PRE_COMMAND: ServicePath.SEND_COMMAND,
    CommandVariant.TRANSFORM: ServicePath.TRANSFORM,
    CommandVariant.NON_DEVICE: ServicePath.NON_DEVICE,
}
_REACHABLE: Final = frozenset(
    {
        DeviceStatus.WHITELISTED,
        DeviceStatus.INSTALLED_NOT_COMMISSIONED,
        DeviceStatus.COMMISSIONED,
        DeviceStatus.RECOVERED,
    }
)
WAITS_AT_DSP: Final = (FutureDating.DSP, FutureDating.DSP_AND_DEVICE)
"""Future dating for which the head end waits; of a request that waits in the device it knows nothing."""


class RefusedRequestError(EmulatorError):
    """An immediate refusal; `request` is what could be read of it."""

    def __init__(self, request: DuisRequest, code: ResponseCode, reason: str) -> None:
        super().__init__(reason)
        self.request = request
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRequest:
    """A request that may be carried out, or (`alert`) must be answered with an alert."""

    request: DuisRequest  # of a signed pre-command: with the body it stands for
    variant: ServiceVariant
    role: UserRole | None = None  # in which the user asks; None where an alert is the answer
    device: InventoryDevice | None = None  # None: non-device, or an alert is the answer
    alert: DccAlertCode | None = None


class AccessControl:
    """All checks before a request is accepted."""

    def __init__(
        self,
        *,
        users: UserTable,
        inventory: Inventory,
        signatures: Signatures,
        verifier: Verifier | None,
        schema: SchemaValidator | None,
        find_transformed: Callable[[str], bytes | None],
    ) -> None:
        """`find_transformed(RequestID)` is the digest of the Pre-Command given out for it, if any."""
        if signatures == "require" and verifier is None:
            raise MisuseError("signatures = require needs a certificate store")
        self._users = users
        self._inventory = inventory
        self._verifier = verifier if signatures == "require" else None
        self._schema = schema
        self._find_transformed = find_transformed

    def admit(self, octets: bytes, door: ServicePath, *, now_utc_us: int) -> CheckedRequest:
        """Octets from outside. Raises DuisError (no DUIS answer is possible) or RefusedRequestError."""
        request = parse_request(octets)
        if self._verifier is not None:
            request = self._verify(self._verifier, request, now_utc_us)
        if self._schema is not None:
            fault = self._schema.explain(parse_document(octets))
            if fault is not None:
                raise RefusedRequestError(request, ResponseCode.BAD_CONTENT, fault)
        return self.check(request, door)

    def readmit(self, octets: bytes) -> CheckedRequest:
        """A request that was admitted before the head end was restarted. Raises as `admit`."""
        request = parse_request(octets)
        return self.check(request, _PATH_OF.get(request.command_variant, ServicePath.SEND_COMMAND))

    def check(self, request: DuisRequest, door: ServicePath) -> CheckedRequest:
        """Raises RefusedRequestError."""
        variant = find_variant(request.srv)
        user = self._users.find(request.originator)
        if user is None:
            raise RefusedRequestError(request, ResponseCode.INVALID_USER, "unknown user")
        if not user.is_active:
            raise RefusedRequestError(request, ResponseCode.USER_STATUS, f"{user.name} is not active")
        if variant is None:
            reason = f"DUIS 5.4 has no service reference variant {request.srv}"
            raise RefusedRequestError(request, ResponseCode.BAD_CONTENT, reason)
        if request.service_reference != variant.service_reference:
            reason = f"the service reference of {request.srv} is {variant.service_reference}"
            raise RefusedRequestError(request, ResponseCode.BAD_CONTENT, reason)
        command_variant = request.command_variant
        if command_variant not in _NOT_ON_SMETS1 and _PATH_OF.get(command_variant) is not door:
            raise RefusedRequestError(request, ResponseCode.WRONG_PATH, f"CV {command_variant} at {door}")
        if variant.smets1 is Smets1Support.AFTER_DUIS_3:
            raise RefusedRequestError(request, ResponseCode.WRONG_DEVICE_TYPE, "not a SMETS1 service")
        alert = _alert_for(variant, command_variant)
        if alert is not None:
            # Whoever asks, and of whichever device: no SMETS1 device can do it.
            return CheckedRequest(request=request, variant=variant, alert=alert)
        if command_variant not in variant.command_variants:
            raise RefusedRequestError(
                request, ResponseCode.WRONG_COMMAND_VARIANT, f"CV {command_variant} for {variant.srv}"
            )
        if request.preceding is not None and request.preceding.originator != request.originator:
            raise RefusedRequestError(
                request, ResponseCode.SEQUENCE_FAILED, "the preceding request is another user's"
            )
        if command_variant is CommandVariant.SIGNED_PRE_COMMAND:
            request = self._open_pre_command(request)
        return self._check_role(request, variant, user)

    def _verify(self, verifier: Verifier, request: DuisRequest, now_utc_us: int) -> DuisRequest:
        """The request as its originator signed it."""
        try:
            root, credential = verifier.verify(request.xml, now_utc_us=now_utc_us)
            signed = read_request(root, request.xml, is_signature_removed=True)
        except (SecurityError, DuisError) as error:
            raise RefusedRequestError(request, ResponseCode.BAD_SIGNATURE, str(error)) from None
        if credential.eui64 != signed.originator:
            raise RefusedRequestError(request, ResponseCode.BAD_SIGNATURE, "signed by somebody else")
        return signed

    def _check_role(self, request: DuisRequest, variant: ServiceVariant, user: ServiceUser) -> CheckedRequest:
        eligible = [role for role in user.roles if role in variant.roles]
        if not eligible:
            raise RefusedRequestError(
                request, ResponseCode.ROLE_NOT_ELIGIBLE, f"{user.name} for {variant.srv}"
            )
        role, device = eligible[0], None
        if not variant.non_device:
            device = self._check_device(request, variant)
            fitting = [role for role in user.roles_for(device.device_type) if role in eligible]
            if not fitting:
                raise RefusedRequestError(
                    request, ResponseCode.NOT_USERS_DEVICE, f"{user.name}, {device.device_type}"
                )
            role = fitting[0]
        _check_content(request)
        return CheckedRequest(request=request, variant=variant, role=role, device=device)

    def _open_pre_command(self, request: DuisRequest) -> DuisRequest:
        """CV 5 -> the request it stands for, which must be what was transformed and is signed."""
        try:
            signed = open_signed_pre_command(request)
        except DecodeError as error:
            raise RefusedRequestError(request, ResponseCode.PRE_COMMAND_CHANGED, str(error)) from None
        if signed.srv != request.srv:
            raise RefusedRequestError(
                request, ResponseCode.PRE_COMMAND_CHANGED, f"it was made for {signed.srv}"
            )
        given = self._find_transformed(str(request.request_id))
        # Without signatures a laboratory may send a Pre-Command that it has from another head end.
        is_ours = given is not None and hmac.compare_digest(given, signed.digest)
        if not is_ours and (given is not None or self._verifier is not None):
            raise RefusedRequestError(
                request, ResponseCode.PRE_COMMAND_CHANGED, "it is not what was transformed"
            )
        if self._verifier is not None and not self._is_signed(self._verifier, request, signed):
            raise RefusedRequestError(
                request,
                ResponseCode.BAD_SIGNATURE,
                "the Pre-Command bears no true signature of its originator",
            )
        return replace(request, body=signed.body)

    @staticmethod
    def _is_signed(verifier: Verifier, request: DuisRequest, signed: SignedPreCommand) -> bool:
        return verifier.is_signed_by(request.originator, signed.signature, signed.signed_octets)

    def _check_device(self, request: DuisRequest, variant: ServiceVariant) -> InventoryDevice:
        device = self._inventory.find(request.target)
        if device is None:
            raise RefusedRequestError(request, ResponseCode.UNKNOWN_DEVICE, format_eui64(request.target))
        if device.device_type not in PLANS[variant.srv].devices:
            raise RefusedRequestError(
                request, ResponseCode.WRONG_DEVICE_TYPE, f"{variant.srv} for a {device.device_type}"
            )
        if device.status not in _REACHABLE:
            raise RefusedRequestError(request, ResponseCode.DEVICE_STATUS, device.status)
        return device


def _alert_for(variant: ServiceVariant, command_variant: CommandVariant) -> DccAlertCode | None:
    is_built = variant.srv in PLANS or variant.srv in _NON_DEVICE_BODIES
    if variant.smets1 is Smets1Support.NO or not is_built:
        return DccAlertCode.SRV_NOT_SUPPORTED
    if command_variant in _NOT_ON_SMETS1:
        return DccAlertCode.COMMAND_VARIANT_NOT_SUPPORTED
    return None


def _check_content(request: DuisRequest) -> None:
    plan = PLANS.get(request.srv)
    expected = plan.body_name if plan else _NON_DEVICE_BODIES[request.srv]
    if request.body.name != expected:
        raise RefusedRequestError(
            request, ResponseCode.BAD_CONTENT, f"the body is {request.body.name}, not {expected}"
        )
    try:
        execution_utc_us(request)
    except InputError as error:
        raise RefusedRequestError(request, ResponseCode.BAD_CONTENT, str(error)) from None


def execution_utc_us(request: DuisRequest) -> int | None:
    """When a future-dated request is to be carried out; None: now. Raises InputError."""
    text = request.body.value("ExecutionDateTime")
    return None if text is None else parse_utc(text)


def is_cancellation(checked: CheckedRequest) -> bool:
    """Whether it withdraws future-dated requests that wait here: its execution date is 3000-12-31."""
    if checked.variant.future_dated not in WAITS_AT_DSP:
        return False
    return execution_utc_us(checked.request) == CANCELLED_UTC_US
