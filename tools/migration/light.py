"""Light homes: thousands in one process, to see that a whole population adds up.

**What is light about them**: there is no air, no ZigBee stack, no hub, no clock of their own, no meter that
counts energy, and no WAN message; a request of the S1SP or the SMSO is answered after a moment. What is not:
the ZCL frames of requests and answers, the meters' authorisation core (SUA check, counter, key rotation,
confirmation: `devices.authorisation`), their parameter registry, the proof of the prepayment key, and every
party outside the home.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum, unique
from typing import Any, Final

from smets1.devices.authorisation import AuthorisationCore
from smets1.devices.parameters import (
    DISPLAY_PARAMETERS,
    ELECTRICITY_PARAMETERS,
    GAS_PARAMETERS,
    Access,
    ParameterBook,
)
from smets1.errors import DecodeError, NoAnswerError, RefusedError, SecurityError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.civil import CivilClock, zigbee_s
from smets1.firmware.key_proof import prove_prepayment_key
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.wan.messages import WanRequest, WanResponse, WanStatus
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.clusters.smets1 import CriticalStatus
from smets1.firmware.zcl.frame import ZclFrame, command_frame, general_frame
from smets1.firmware.zcl.general import (
    DefaultResponse,
    ReadAttributes,
    ReadAttributesResponse,
    ReadRecord,
)
from smets1.firmware.zcl.status import FrameType, Side, Status
from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.files import DeviceEntry

import cbor2  # isort: skip

__all__ = ["Ailment", "LightHome"]

_DELAY_S: Final = 0.5
_METERS: Final = (DeviceType.ESME, DeviceType.GSME)
_PARAMETERS: Final = {DeviceType.ESME: ELECTRICITY_PARAMETERS, DeviceType.GSME: GAS_PARAMETERS}


@unique
class Ailment(StrEnum):
    """What is wrong with a home."""

    NONE = "none"
    GSME_KEY = "the SMSO's SUA key of the GSME is wrong"
    ESME_KEY = "the SMSO's SUA key of the ESME is wrong"
    SILENT_GSME = "the GSME rotates and is never heard again"
    PRIVACY_PIN = "a privacy PIN is left on the ESME"
    FIRMWARE = "its firmware is not on the EPCL"


class LightHome:
    """One home, as a WAN link that the S1SP may ask. `keys`: SUA and prepayment key of each meter."""

    def __init__(
        self,
        devices: tuple[DeviceEntry, ...],
        *,
        sua_keys: dict[Eui64, bytes],
        prepayment_keys: dict[Eui64, bytes],
        civil: CivilClock,
        ailment: Ailment = Ailment.NONE,
    ) -> None:
        self._devices = {entry.device: entry for entry in devices}
        self._prepayment_keys = prepayment_keys
        self._civil = civil
        self._ailment = ailment
        self._books = {
            entry.device: ParameterBook(_PARAMETERS.get(entry.device_type, DISPLAY_PARAMETERS))
            for entry in devices
        }
        self.authorisations: dict[Eui64, AuthorisationCore] = {}
        for meter, key in sua_keys.items():
            self.authorisations[meter] = AuthorisationCore(device=meter, nvm=MemoryNvm())
            self.authorisations[meter].provision(key)
        if ailment is Ailment.PRIVACY_PIN:
            book = self._books[self._first(DeviceType.ESME)]
            book.write("privacy_pin", "1234", writer=Access.SMSO, utc_us=civil.utc_us())

    def _first(self, kind: DeviceType) -> Eui64:
        return next(entry.device for entry in self._devices.values() if entry.device_type is kind)

    # --- the WAN ------------------------------------------------------------------------------------

    async def ask(self, hub: Eui64, request: WanRequest) -> WanResponse:
        """Raises NoAnswerError at the request's expiry, where the home has fallen silent."""
        await asyncio.sleep(_DELAY_S)
        entry = self._devices.get(request.target)
        if entry is None:
            return WanResponse(request_id=request.request_id, status=WanStatus.UNKNOWN_TARGET)
        is_mute = self._is_mute(entry)
        frame = b"" if is_mute else self._execute(entry, request.cluster_id, request.frame)
        if self._is_mute(entry):  # now, or from the moment at which it rotated
            left_us = request.expires_utc_us - self._civil.utc_us()
            await asyncio.sleep(max(0, left_us) / 1e6)
            raise NoAnswerError("a light home is silent", 1, left_us)
        return WanResponse(
            request_id=request.request_id,
            status=WanStatus.DONE,
            frame=frame,
            device_utc_us=self._civil.utc_us(),
        )

    def forget(self, request_id: str) -> None:
        """Nothing is kept."""

    def _is_mute(self, entry: DeviceEntry) -> bool:
        if self._ailment is not Ailment.SILENT_GSME or entry.device_type is not DeviceType.GSME:
            return False
        return self.authorisations[entry.device].generation > 0

    # --- ZCL ----------------------------------------------------------------------------------------

    def _execute(self, entry: DeviceEntry, cluster_id: int, octets: bytes, *, by_sua: bool = False) -> bytes:
        cluster = CLUSTERS[cluster_id]
        try:
            frame = ZclFrame.decode(octets)
            if frame.header.frame_type is FrameType.GLOBAL:
                return self._read_attributes(entry, cluster_id, frame.general())
            name, values = frame.command(cluster)
            handler = _HANDLERS.get(name)
            if handler is None or (name in _BY_SUA and entry.device_type in _METERS and not by_sua):
                raise RefusedError(Status.NOT_AUTHORIZED)
            response, fields = handler(self, entry, values)
            return command_frame(cluster, response, fields, sender=Side.SERVER)
        except (DecodeError, RefusedError, SecurityError):
            refusal = DefaultResponse(octets[4] if len(octets) > 4 else 0, Status.NOT_AUTHORIZED)
            code = cluster.manufacturer_code
            return general_frame(refusal, sender=Side.SERVER, manufacturer_code=code)

    def _read_attributes(self, entry: DeviceEntry, cluster_id: int, message: object) -> bytes:
        if not isinstance(message, ReadAttributes):
            raise RefusedError(Status.NOT_AUTHORIZED)
        cluster, records = CLUSTERS[cluster_id], []
        known: dict[str, Any] = {
            "firmware_version": int(entry.firmware, 16),
            "model": entry.model,
            "manufacturer": entry.manufacturer,
        }
        if entry.device in self.authorisations:
            known["sua_generation"] = self.authorisations[entry.device].generation
        for attribute_id in message.attribute_ids:
            attribute = cluster.attributes_by_id[Side.SERVER][attribute_id]
            value = known.get(attribute.name)
            if value is None:
                records.append(ReadRecord(attribute_id, Status.UNSUPPORTED_ATTRIBUTE))
            else:
                records.append(ReadRecord(attribute_id, Status.SUCCESS, attribute.type.type_id, value))
        return general_frame(
            ReadAttributesResponse(tuple(records)),
            sender=Side.SERVER,
            manufacturer_code=cluster.manufacturer_code,
        )

    def _device_log(self, entry: DeviceEntry, values: Any) -> _Reply:
        unlisted = (DeviceType.CHF, DeviceType.GPF, DeviceType.ESME)
        heard = zigbee_s(self._civil.utc_us())
        listed = [
            {"device": other.device, "device_type": 0xFF, "last_communication": heard}
            for other in self._devices.values()
            if other.device_type not in unlisted
        ]
        part = listed[values["first_index"] :]
        return "device_log", {
            "total": len(listed),
            "first_index": values["first_index"],
            "count": len(part),
            "entries": part,
        }

    def _read_parameter(self, entry: DeviceEntry, values: Any) -> _Reply:
        name = str(values["name"])
        try:
            value = self._books[entry.device].read(name, reader=Access.SMSO)
        except RefusedError as error:
            return "parameter_value", {"name": name, "status": error.status, "value": b""}
        return "parameter_value", {"name": name, "status": 0, "value": cbor2.dumps(value)}

    def _write_parameter(self, entry: DeviceEntry, values: Any) -> _Reply:
        name = str(values["name"])
        value = load_strict(bytes(values["value"]))
        self._books[entry.device].write(name, value, writer=Access.SMSO, utc_us=self._civil.utc_us())
        return "write_parameter_response", {"name": name, "status": 0}

    def _prove(self, entry: DeviceEntry, values: Any) -> _Reply:
        key = self._prepayment_keys[entry.device]
        proof = prove_prepayment_key(key, entry.device, bytes(values["nonce"]))
        return "prepayment_key_proof", {"proof": proof}

    def _critical(self, entry: DeviceEntry, values: Any) -> _Reply:
        core = self.authorisations[entry.device]
        counter, cluster_id, frame = values["counter"], values["cluster"], bytes(values["frame"])
        verdict = core.authorise(
            counter=counter, sua=bytes(values["sua"]), cluster_id=cluster_id, frame=frame
        )
        inner = b""
        if verdict.status is CriticalStatus.EXECUTED:
            inner = self._execute(entry, cluster_id, frame, by_sua=True)
        return "critical_result", {"counter": counter, "status": int(verdict.status), "frame": inner}

    def _rotate(self, entry: DeviceEntry, values: Any) -> _Reply:
        core = self.authorisations[entry.device]
        held = core.stage(values["generation"], bytes(values["wrapped_key"]))
        core.drop_old_key()
        return "rotate_key_response", {"generation": held.generation, "confirmation": held.confirmation}


_Reply = tuple[str, dict[str, Any]]
_BY_SUA: Final = ("rotate_key", "write_parameter")
_HANDLERS: Final[dict[str, Callable[[LightHome, DeviceEntry, Any], _Reply]]] = {
    "read_device_log": LightHome._device_log,
    "read_parameter": LightHome._read_parameter,
    "write_parameter": LightHome._write_parameter,
    "verify_prepayment_key": LightHome._prove,
    "critical_instruction": LightHome._critical,
    "rotate_key": LightHome._rotate,
}
