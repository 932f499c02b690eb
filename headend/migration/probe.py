"""What the SMSO and the S1SP ask of a home's devices: whitelist, configuration, identity, prepayment key.

Everything goes over the WAN as ZCL frames to the device itself, as any instruction does. A device that
gives no answer raises NoAnswerError; one whose answer cannot be read, or says no, raises RefusedError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import cbor2

from smets1.errors import DecodeError, NoAnswerError, RefusedError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.civil import CivilClock, from_zigbee_s
from smets1.firmware.key_proof import NONCE_OCTETS, is_prepayment_key_proof
from smets1.firmware.wan.messages import WanRequest, WanResponse, WanStatus
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION, DEVICE_INFORMATION, HUB_CONTROL
from smets1.firmware.zcl.status import Status
from smets1.headend.srv import frames
from smets1.headend.srv.critical import Authorisation, Instruction, unwrap, wrap
from smets1.headend.srv.steps import RefusedByDeviceError

__all__ = ["Authorise", "Prober", "Value", "WanPort"]

Value = int | bool | str
Authorise = Callable[[Eui64, Instruction], Authorisation]
"""Who holds the SUA key consents to an instruction."""

_ENDPOINT: Final = 1
_NEVER: Final = 0xFFFFFFFF
_MAX_LOG: Final = 16
_IDENTITY: Final = ("firmware_version", "model", "manufacturer")


class WanPort(Protocol):
    """As `headend.s1sp.Wan`."""

    async def ask(self, hub: Eui64, request: WanRequest) -> WanResponse: ...
    def forget(self, request_id: str) -> None: ...


class Prober:
    """One party's questions. `next_id()` gives WAN request ids that are never used twice."""

    def __init__(
        self, wan: WanPort, civil: CivilClock, *, next_id: Callable[[], str], lifetime_us: int
    ) -> None:
        self._wan = wan
        self._civil = civil
        self._next_id = next_id
        self._lifetime_us = lifetime_us

    async def whitelist(self, hub: Eui64) -> dict[Eui64, int | None]:
        """The CHF Whitelist: UTC of the last communication by device, None: never (16.12)."""
        found: dict[Eui64, int | None] = {}
        while True:
            values = await self._command(
                hub, hub, HUB_CONTROL.cluster_id, "read_device_log", "device_log", first_index=len(found)
            )
            for entry in values["entries"]:
                heard = entry["last_communication"]
                found[entry["device"]] = None if heard in (None, _NEVER) else from_zigbee_s(heard)
            if not values["entries"] or len(found) >= min(values["total"], _MAX_LOG):
                return found

    async def read_parameter(self, hub: Eui64, device: Eui64, name: str) -> Value | None:
        """A configuration parameter's value; None: the device has no such parameter."""
        values = await self._command(
            hub, device, DEVICE_INFORMATION.cluster_id, "read_parameter", "parameter_value", name=name
        )
        if values["status"]:
            return None
        try:
            value = load_strict(bytes(values["value"]))
        except DecodeError as error:
            raise RefusedError(Status.FAILURE, f"{format_eui64(device)}: {name}: {error}") from None
        if not isinstance(value, int | str):
            raise RefusedError(
                Status.FAILURE, f"{format_eui64(device)}: {name} is neither number, text nor truth value"
            )
        return value

    async def write_parameter(
        self, hub: Eui64, device: Eui64, name: str, value: Value, *, authorise: Authorise | None
    ) -> None:
        """`authorise` where the device is a meter: there it is a Critical Instruction."""
        cluster = DEVICE_INFORMATION.cluster_id
        frame = frames.command(cluster, "write_parameter", {"name": name, "value": cbor2.dumps(value)})
        if authorise is None:
            answer = await self._ask(hub, device, cluster, frame)
        else:
            answer = await self.critical(hub, device, Instruction(cluster_id=cluster, frame=frame), authorise)
        values = self._parse(device, cluster, "write_parameter_response", answer)
        if values["status"]:
            raise RefusedError(values["status"], f"{format_eui64(device)} does not take {name}")

    async def critical(
        self, hub: Eui64, device: Eui64, instruction: Instruction, authorise: Authorise
    ) -> bytes:
        """The device's answer to an authorised instruction."""
        cluster, frame = wrap(instruction, authorise(device, instruction))
        answer = await self._ask(hub, device, cluster, frame)
        with _read_of(device, Status.NOT_AUTHORIZED):
            return unwrap(answer)

    async def identity(self, hub: Eui64, device: Eui64) -> dict[str, Any]:
        """firmware_version (number), model, manufacturer."""
        cluster = DEVICE_INFORMATION.cluster_id
        answer = await self._ask(hub, device, cluster, frames.read_attributes(cluster, _IDENTITY))
        with _read_of(device):
            return frames.parse_read(cluster, _IDENTITY, answer)

    async def holds_prepayment_key(self, hub: Eui64, device: Eui64, key: bytes, nonce: bytes) -> bool:
        """Prepayment key verification; `nonce` of NONCE_OCTETS is used this once."""
        assert len(nonce) == NONCE_OCTETS, "a nonce of the right length"
        values = await self._command(
            hub,
            device,
            AUTHORISATION.cluster_id,
            "verify_prepayment_key",
            "prepayment_key_proof",
            nonce=nonce,
        )
        return is_prepayment_key_proof(bytes(values["proof"]), key, device, nonce)

    # --- one question ------------------------------------------------------------------------------

    async def _command(
        self, hub: Eui64, device: Eui64, cluster: int, command: str, response: str, /, **values: Any
    ) -> dict[str, Any]:
        answer = await self._ask(hub, device, cluster, frames.command(cluster, command, values))
        return self._parse(device, cluster, response, answer)

    @staticmethod
    def _parse(device: Eui64, cluster: int, response: str, answer: bytes) -> dict[str, Any]:
        with _read_of(device):
            return frames.parse_command(cluster, response, answer)

    async def _ask(self, hub: Eui64, device: Eui64, cluster: int, frame: bytes) -> bytes:
        request = WanRequest(
            request_id=self._next_id(),
            expires_utc_us=self._civil.utc_us() + self._lifetime_us,
            target=device,
            endpoint=_ENDPOINT,
            cluster_id=cluster,
            frame=frame,
        )
        response = await self._wan.ask(hub, request)
        self._wan.forget(request.request_id)
        if response.status is WanStatus.REFUSED:
            raise RefusedError(Status.FAILURE, f"{format_eui64(device)} refuses")
        if response.status is not WanStatus.DONE:
            raise NoAnswerError(f"{format_eui64(device)}: {response.status.name}")
        return response.frame


@contextmanager
def _read_of(device: Eui64, status: Status = Status.FAILURE) -> Iterator[None]:
    """An answer that says no, or cannot be read, becomes RefusedError."""
    try:
        yield
    except (RefusedByDeviceError, DecodeError) as error:
        raise RefusedError(status, f"{format_eui64(device)}: {error}") from None
