"""SUA key rotation, as an internal operation of the S1SP with the DCO and one device.

The order GSME then ESME, and what follows from each outcome (TMAD consultation, table 2), is the
caller's. An attempt ends in one of three ways: the device has confirmed the new key; the device still
has the old one; or nobody knows yet, and the device's own status push will tell.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from enum import StrEnum, unique
from typing import Any, Final

import cbor2

from smets1.errors import DecodeError, InputError, RefusedError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.civil import CivilClock
from smets1.firmware.sua import SHARE_OCTETS
from smets1.firmware.wan.messages import WanEvent, WanRequest, WanResponse, WanStatus
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.headend.dco import DcoFace, RotationOffer
from smets1.headend.inventory import Inventory
from smets1.headend.s1sp import S1sp, StepFailedError, Wan, wan_request_id
from smets1.headend.srv import critical, frames
from smets1.headend.srv.steps import RefusedByDeviceError
from smets1.headend.store import Store, StoredRequest

__all__ = ["RotationResult", "Rotator"]

_log = logging.getLogger(__name__)

_SRV: Final = "rotate"  # in the place of a service reference variant, which it is not
_ENDPOINT: Final = 1
_CLUSTER: Final = AUTHORISATION.cluster_id
_ACK_LIFETIME_US: Final = 86_400_000_000


@unique
class RotationResult(StrEnum):
    """What is known about a device's key after an attempt."""

    ROTATED = "rotated"  # the device has shown that it holds the new key
    NOT_ROTATED = "not rotated"  # the device says that it still has the old generation
    UNKNOWN = "unknown"  # no answer: its status push will tell


class Rotator:
    """Starts rotations, takes them up after a restart, and hears status pushes."""

    def __init__(
        self,
        *,
        store: Store,
        s1sp: S1sp,
        wan: Wan,
        dco: DcoFace,
        civil: CivilClock,
        random_octets: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._s1sp = s1sp
        self._wan = wan
        self._dco = dco
        self._civil = civil
        self._random_octets = random_octets
        self.on_confirmed: Callable[[Eui64], None] = lambda _device: None
        """A device has proven by a status push that it holds the key in use."""
        self.on_accepted: Callable[[StoredRequest], None] = lambda _stored: None
        self.on_ended: Callable[[str], None] = lambda _key: None

    def owns(self, stored: StoredRequest) -> bool:
        return stored.srv == _SRV

    async def rotate(
        self,
        device: Eui64,
        inventory: Inventory,
        *,
        lifetime_us: int,
        hub: Eui64 | None = None,
        generation: int | None = None,
    ) -> RotationResult:
        """One attempt, durable from here on. Raises InputError for an unknown device or one without key.

        `generation`: the one that is wanted; where the device is known to hold it already nothing is asked.
        `hub`: of a device that is not in the inventory yet, since its home is still migrating.
        """
        if (hub is None and inventory.find(device) is None) or not self._dco.is_enrolled(device):
            raise InputError(f"{format_eui64(device)} is not a device with a SUA key")
        now_utc_us = self._civil.utc_us()
        attempt = self._store.next_count(f"rotations {device:016x}")
        stored = StoredRequest(
            key=f"{_SRV}:{device:016x}:{attempt}",
            originator=0,
            target=device,
            srv=_SRV,
            xml=_note(hub, generation),
            accepted_utc_us=now_utc_us,
            not_before_utc_us=now_utc_us,
            expires_utc_us=now_utc_us + lifetime_us,
        )
        self._store.accept(stored)
        self.on_accepted(stored)
        return await self.resume(stored, inventory)

    async def resume(self, stored: StoredRequest, inventory: Inventory) -> RotationResult:
        """Carry an accepted rotation to its end, from wherever it stopped."""
        known = inventory.find(stored.target)
        noted, wanted = _read_note(stored.xml)
        hub = noted if noted is not None else stored.target if known is None else known.hub
        async with self._s1sp.device_lock(stored.target):
            generation = self._dco.generation(stored.target) + 1
            try:
                if wanted is not None and wanted < generation:
                    result = RotationResult.ROTATED
                else:
                    result = await self._attempt(stored, hub)
            except StepFailedError as error:
                _log.warning("rotation of %s: %s", format_eui64(stored.target), error)
                result = RotationResult.UNKNOWN
            except RefusedByDeviceError as error:
                _log.warning("rotation of %s: %s", format_eui64(stored.target), error)
                result = await self._ask_generation(stored, hub, generation)
        self._store.finish(stored.key, user=0, xml=None, now_utc_us=self._civil.utc_us())
        self.on_ended(stored.key)
        return result

    async def _attempt(self, stored: StoredRequest, hub: Eui64) -> RotationResult:
        """Raises StepFailedError (no answer) or RefusedByDeviceError (a clear no)."""
        step = self._store.steps(stored.key).get(0)
        if step is not None and step.answer is not None:
            response = WanResponse.decode(step.answer)
        else:
            request = self._prepare(stored) if step is None else WanRequest.decode(step.request)
            response = await self._s1sp.ask(hub, request)
            self._store.put_answer(stored.key, 0, response.encode())
            self._wan.forget(response.request_id)
        if response.status is not WanStatus.DONE:
            return RotationResult.UNKNOWN
        try:
            inner = critical.unwrap(response.frame)
            values = frames.parse_command(_CLUSTER, "rotate_key_response", inner)
        except DecodeError as error:
            _log.warning("rotation of %s: %s", format_eui64(stored.target), error)
            return RotationResult.UNKNOWN
        is_held = self._dco.confirm_rotation(stored.target, values["generation"], values["confirmation"])
        return RotationResult.ROTATED if is_held else RotationResult.UNKNOWN

    def _prepare(self, stored: StoredRequest) -> WanRequest:
        """Raises RefusedByDeviceError where the DCO refuses: the device was not asked."""
        wan_id = wan_request_id(stored.key, 0, 0)
        try:
            offer: RotationOffer = self._dco.offer_rotation(
                stored.target,
                self._random_octets(SHARE_OCTETS),
                instruction_id=wan_id,
                now_utc_us=self._civil.utc_us(),
            )
        except RefusedError as error:
            raise RefusedByDeviceError(str(error), error.status) from None
        cluster_id, frame = critical.wrap(offer.instruction, offer.authorisation)
        request = WanRequest(
            request_id=wan_id,
            expires_utc_us=stored.expires_utc_us,
            target=stored.target,
            endpoint=_ENDPOINT,
            cluster_id=cluster_id,
            frame=frame,
        )
        self._store.put_step(stored.key, 0, request.encode())
        return request

    async def _ask_generation(self, stored: StoredRequest, hub: Eui64, new_generation: int) -> RotationResult:
        """After a "no": the device may have rotated before, and only its answer was lost."""
        request = WanRequest(
            request_id=wan_request_id(stored.key, 1, 0),
            expires_utc_us=stored.expires_utc_us,
            target=stored.target,
            endpoint=_ENDPOINT,
            cluster_id=_CLUSTER,
            frame=frames.read_attributes(_CLUSTER, ("sua_generation",)),
        )
        try:
            response = await self._s1sp.ask(hub, request)
            self._wan.forget(response.request_id)
            values = frames.parse_read(_CLUSTER, ("sua_generation",), response.frame)
        except (StepFailedError, RefusedByDeviceError, DecodeError):
            return RotationResult.UNKNOWN
        held = values.get("sua_generation")
        is_old = response.status is WanStatus.DONE and held is not None and held < new_generation
        # Saying a new generation is no proof of holding the key: the confirmation in the push is.
        return RotationResult.NOT_ROTATED if is_old else RotationResult.UNKNOWN

    def on_event(
        self, hub: Eui64, event: WanEvent, inventory: Inventory
    ) -> Coroutine[Any, Any, object] | None:
        """A status push is judged by the DCO and, where it is true, acknowledged to the device."""
        if event.cluster_id != _CLUSTER:
            _log.info("event of %s on cluster 0x%04X", format_eui64(event.source), event.cluster_id)
            return None
        device = inventory.find(event.source)
        is_other = device is not None and device.hub not in (0, hub)
        if is_other or (device is None and not self._dco.is_enrolled(event.source)):
            _log.warning("hub %s reports an event of a device it does not have", format_eui64(hub))
            return None
        try:
            values = frames.parse_command(_CLUSTER, "status_push", event.frame)
            is_held = self._dco.confirm_rotation(event.source, values["generation"], values["confirmation"])
        except (DecodeError, RefusedByDeviceError, RefusedError) as error:
            _log.warning("status push of %s: %s", format_eui64(event.source), error)
            return None
        if not is_held:
            return None
        self.on_confirmed(event.source)
        return self._acknowledge(hub, event, values["generation"])

    async def _acknowledge(self, hub: Eui64, event: WanEvent, generation: int) -> None:
        request = WanRequest(
            request_id=wan_request_id(f"push:{hub:016x}:{event.event_id}", 0, 0),
            expires_utc_us=self._civil.utc_us() + _ACK_LIFETIME_US,
            target=event.source,
            endpoint=_ENDPOINT,
            cluster_id=_CLUSTER,
            frame=frames.command(_CLUSTER, "status_push_ack", {"generation": generation}),
        )
        try:
            response = await self._s1sp.ask(hub, request)
            self._wan.forget(response.request_id)
        except StepFailedError as error:
            _log.info("acknowledgement to %s: %s", format_eui64(event.source), error)


def _note(hub: Eui64 | None, generation: int | None) -> bytes:
    """What an attempt must remember besides its device; empty as in attempts of earlier versions."""
    return b"" if hub is None and generation is None else cbor2.dumps([hub, generation])


def _read_note(octets: bytes) -> tuple[Eui64 | None, int | None]:
    value: Any = load_strict(octets) if octets else [None, None]
    return value[0], value[1]
