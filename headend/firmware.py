"""Firmware: SRV 11.1 takes an image in for a list of devices, and the S1SP carries it to their hubs.

The image is the OTA file that the device's maker and the DCC have agreed on (ZCL chapter 11): its header
names manufacturer, kind of device and version, and it carries its own integrity code. The request is
answered at once; devices that cannot have it are listed in a warning. For each hub that is concerned one
internal operation, durable with the answer, hands the file over in pieces; the devices fetch it over the
air, verify it (alert 0x8F72, or 0x8F1C), and wait for 11.3. A hub that is not reached in time: alert
FirmwareDistributionFailure to who asked.

Source: DUIS-5.4.xsd, UpdateFirmware, DSPUpdateFirmwareWarning, FirmwareDistributionFailure; Uplift 1.2, 4.3
(PPMID firmware, but not of Group IDs EA and EB).
**Assumptions**: which list a device is named in; FirmwareHash of 11.3 is SHA-256 of the whole image.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import cbor2

from smets1.errors import DecodeError, InputError
from smets1.eui64 import Eui64, format_eui64, parse_eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.civil import CivilClock
from smets1.firmware.ota.image_file import OtaFile, OtaHeader
from smets1.firmware.wan.messages import WanRequest
from smets1.firmware.zcl.clusters.smets1 import HUB_CONTROL
from smets1.headend.alerts import AlertDesk
from smets1.headend.duis.codes import DeviceStatus, DeviceType, ResponseCode
from smets1.headend.duis.request import DuisRequest, RequestId, XmlNode
from smets1.headend.duis.response import node
from smets1.headend.inventory import Inventory, InventoryDevice
from smets1.headend.s1sp import S1sp, StepFailedError, Wan, check_status, wan_request_id
from smets1.headend.srv import frames
from smets1.headend.srv.steps import RefusedByDeviceError
from smets1.headend.store import Store, StoredRequest

__all__ = ["FirmwareDesk"]

_log = logging.getLogger(__name__)

_SRV: Final = "firmware"  # in the place of a service reference variant, which it is not
_IMAGES: Final = "firmware"
_PIECE_OCTETS: Final = 16 * 1024
_ENDPOINT: Final = 1
_CLUSTER: Final = HUB_CONTROL.cluster_id
_LIFETIME_US: Final = 7 * 86_400_000_000  # a hub may be away for days
# GBCS device types, which OTA files name as image type.
_IMAGE_TYPES: Final = {
    DeviceType.GSME: 0,
    DeviceType.ESME: 1,
    DeviceType.CHF: 2,
    DeviceType.PPMID: 7,
}
_INVALID, _NOT_COMMISSIONED, _NOT_APPLICABLE, _BUSY = (
    "InvalidDeviceIDList",
    "NotCommissionedDeviceIDList",
    "NotApplicableFirmwareDeviceIDList",
    "OtherRequestInProgressList",
)
_LISTS: Final = (_INVALID, _NOT_COMMISSIONED, _NOT_APPLICABLE, _BUSY)  # in the schema's order


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivery:
    """One hub's part of a request; CBOR in the place of the request's XML."""

    digest: bytes
    targets: tuple[Eui64, ...]

    def encode(self) -> bytes:
        return cbor2.dumps([self.digest, list(self.targets)])

    @classmethod
    def decode(cls, octets: bytes) -> _Delivery:
        """Our own record. Raises DecodeError."""
        match load_strict(octets):
            case [bytes(digest), list(targets)]:
                return cls(digest=digest, targets=tuple(int(target) for target in targets))
            case _:
                raise DecodeError("store", 0, "not a firmware delivery")


class FirmwareDesk:
    """`accept` inside the transaction of the answer; then `resume` what `take_fresh` gives."""

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        s1sp: S1sp,
        wan: Wan,
        civil: CivilClock,
        alerts: AlertDesk,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._s1sp = s1sp
        self._wan = wan
        self._civil = civil
        self._alerts = alerts
        self._fresh: list[StoredRequest] = []
        self.on_ended: Callable[[str], None] = lambda _key: None
        self._busy: dict[Eui64, bytes] = {}  # the file that is on its way to each device

    def owns(self, stored: StoredRequest) -> bool:
        return stored.srv == _SRV

    def version_of(self, firmware_hash: str) -> int | None:
        """The version of an image that was taken in, by the hash that 11.3 gives (64 hex digits)."""
        octets = self._store.record(_IMAGES, firmware_hash.lower())
        return None if octets is None else OtaHeader.decode(octets)[0].file_version

    # --- 11.1 ---------------------------------------------------------------------------------------------

    def accept(self, request: DuisRequest, *, now_utc_us: int) -> tuple[ResponseCode, XmlNode | None]:
        """Raises InputError for what is no image, version or list."""
        octets = _image(request.body.value("FirmwareImage") or "")
        version = request.body.value("FirmwareVersion") or ""
        listed = [parse_eui64(text) for text in (request.body.value("DeviceIDList") or "").split(",")]
        digest, file = hashlib.sha256(octets).digest(), _intact(octets)
        refused: dict[str, list[Eui64]] = {name: [] for name in _LISTS}
        by_hub: dict[Eui64, list[Eui64]] = {}
        for eui64 in dict.fromkeys(listed):
            device = self._inventory.find(eui64)
            fault = self._fault(device, file, version, digest)
            if device is None or fault is not None:
                refused[fault or _INVALID].append(eui64)
            else:
                by_hub.setdefault(device.hub, []).append(eui64)
        if by_hub:
            self._store.put_record(_IMAGES, digest.hex(), octets)
        for hub in sorted(by_hub):
            self._add(request.request_id, hub, digest, tuple(by_hub[hub]), now_utc_us)
        lists = [node(name, ",".join(map(format_eui64, refused[name]))) for name in _LISTS if refused[name]]
        return ResponseCode.SUCCESS, node("DSPUpdateFirmwareWarning", lists) if lists else None

    def _fault(
        self, device: InventoryDevice | None, file: OtaFile | None, version: str, digest: bytes
    ) -> str | None:
        """The list that a device is to be named in; None: it can have the image."""
        if device is None or not device.is_upgradable or device.device_type not in _IMAGE_TYPES:
            return _INVALID
        if device.status is not DeviceStatus.COMMISSIONED:
            return _NOT_COMMISSIONED
        if file is None:
            return _NOT_APPLICABLE
        named = (file.header.manufacturer_code, file.header.image_type, f"{file.header.file_version:08X}")
        wanted = (_manufacturer_code(device), _IMAGE_TYPES[device.device_type], version.upper())
        if named != wanted:
            return _NOT_APPLICABLE
        return _BUSY if self._busy.get(device.eui64, digest) != digest else None

    def _add(
        self, request_id: RequestId, hub: Eui64, digest: bytes, targets: tuple[Eui64, ...], now_utc_us: int
    ) -> None:
        attempt = self._store.next_count(f"firmware for {hub:016x}")
        stored = StoredRequest(
            key=f"{_SRV}:{hub:016x}:{attempt}:{request_id.counter}",
            originator=request_id.originator,
            target=hub,
            srv=_SRV,
            xml=_Delivery(digest=digest, targets=targets).encode(),
            accepted_utc_us=now_utc_us,
            not_before_utc_us=now_utc_us,
            expires_utc_us=now_utc_us + _LIFETIME_US,
        )
        if self._store.add_request(stored):
            self._fresh.append(stored)
            self._busy |= dict.fromkeys(targets, digest)

    def take_fresh(self) -> list[StoredRequest]:
        """Accepted since the last call, and durable by now."""
        fresh, self._fresh = self._fresh, []
        return fresh

    # --- to the hub -----------------------------------------------------------------------------------------

    async def resume(self, stored: StoredRequest) -> None:
        """Carry a delivery to its end, from the beginning: what the hub has had it takes again."""
        delivery = _Delivery.decode(stored.xml)
        self._busy |= dict.fromkeys(delivery.targets, delivery.digest)
        try:
            await self._deliver(stored, delivery)
        except (StepFailedError, RefusedByDeviceError, DecodeError) as error:
            _log.warning("firmware for hub %s: %s", format_eui64(stored.target), error)
            self._fail(stored, delivery)
        for target in delivery.targets:
            if self._busy.get(target) == delivery.digest:
                del self._busy[target]
        self._store.finish(stored.key, user=0, xml=None, now_utc_us=self._civil.utc_us())
        self.on_ended(stored.key)
        self._alerts.announce()

    async def _deliver(self, stored: StoredRequest, delivery: _Delivery) -> None:
        octets = self._store.record(_IMAGES, delivery.digest.hex())
        if octets is None:
            raise DecodeError("store", 0, "the image is gone")
        asked: list[str] = []
        for number, (expected, frame) in enumerate(_frames(octets, delivery)):
            request = WanRequest(
                request_id=wan_request_id(stored.key, number, 0),
                expires_utc_us=stored.expires_utc_us,
                target=stored.target,
                endpoint=_ENDPOINT,
                cluster_id=_CLUSTER,
                frame=frame,
            )
            async with self._s1sp.device_lock(stored.target):
                response = await self._s1sp.ask(stored.target, request)
            asked.append(response.request_id)
            check_status(response)
            status = frames.parse_command(_CLUSTER, expected, response.frame)["status"]
            if status:
                raise RefusedByDeviceError(f"the hub refuses the image: status 0x{status:02X}", status)
        for request_id in asked:
            self._wan.forget(request_id)

    def _fail(self, stored: StoredRequest, delivery: _Delivery) -> None:
        counter = int(stored.key.rpartition(":")[2])
        self._alerts.firmware_not_delivered(
            RequestId(stored.originator, self._alerts.dsp, counter),
            delivery.targets,
            now_utc_us=self._civil.utc_us(),
        )


def _frames(octets: bytes, delivery: _Delivery) -> Iterator[tuple[str, bytes]]:
    """(name of the response, frame): all pieces, then whom it is for."""
    for offset in range(0, len(octets), _PIECE_OCTETS):
        values = {
            "digest": delivery.digest,
            "offset": offset,
            "data": octets[offset : offset + _PIECE_OCTETS],
        }
        yield "store_image_response", frames.command(_CLUSTER, "store_image", values)
    targets = list(delivery.targets)
    values = {"digest": delivery.digest, "count": len(targets), "targets": targets}
    yield "offer_image_response", frames.command(_CLUSTER, "offer_image", values)


def _image(text: str) -> bytes:
    try:
        octets = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise InputError("FirmwareImage is not base64") from None
    if not octets:
        raise InputError("FirmwareImage is empty")
    return octets


def _intact(octets: bytes) -> OtaFile | None:
    """Decoded once for all devices of a list; None: no such file, or a damaged one."""
    try:
        file = OtaFile.decode(octets)
    except DecodeError:
        return None
    return file if file.is_intact else None


def _manufacturer_code(device: InventoryDevice) -> int:
    """As OTA files name it: 4 hex digits; a name has no code."""
    try:
        return int(device.manufacturer, 16) & 0xFFFF
    except ValueError:
        return 0xFFFF
