"""Whoever commissions: the Commissioning Party, or a supplier on its own. From SCF to COF.

For each home that an SCF gives as migrated, and its MCF has, the Commissioning Requests go to the DSP as DUIS
requests; none of them reaches a device. How many and which is an **assumption** (guide: "20 or so"): for each
device pre-notification (12.2) and the hub's log (8.11), the joins (8.7.2), 8.1.1 for each meter; placing of
credentials is the DSP's own act here. A COF at least hourly says what came of it. Source: guide, steps 18
to 23.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import format_utc
from smets1.headend.duis.codes import CommandVariant, DeviceType, ServicePath
from smets1.headend.duis.request import RequestId, XmlNode, parse_document, read_node, request_document
from smets1.headend.duis.response import element, node
from smets1.headend.migration.envelope import FileRefusedError, FileSigner, Receiver
from smets1.headend.migration.files import (
    CofInstallation,
    CommissionedBy,
    CommissioningOutcome,
    CommissioningOutcomeFile,
    CommissioningRequest,
    FileKind,
    Installation,
    MigrationCommonFile,
    MigrationHeader,
    S1spCommissioningFile,
    S1spOutcome,
)

__all__ = ["CommissioningParty", "Request", "requests_of"]

_DISPLAYS: Final = (DeviceType.PPMID, DeviceType.IHD, DeviceType.CAD)
_METERS: Final = (DeviceType.ESME, DeviceType.GSME)

Submit = Callable[[bytes, ServicePath], Awaitable[bytes]]
"""A DUIS request -> the final response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One Commissioning Request. `body`: the element inside Body."""

    srv: str
    target: Eui64
    device: Eui64  # the device that it is about
    body: XmlNode
    path: ServicePath = ServicePath.SEND_COMMAND


def requests_of(home: Installation, *, dsp: Eui64, now_utc_us: int) -> Iterator[Request]:
    """All of a home, in the order in which they are sent."""
    hub = home.hub
    others = [entry for entry in home.devices if entry.device_type is not DeviceType.CHF]
    yield Request(
        srv="8.4",
        target=dsp,
        device=hub,
        body=element("UpdateInventory", [_id(hub), node("UpdateDeviceStatusCH", "Commissioned")]),
        path=ServicePath.NON_DEVICE,
    )
    for entry in others:
        yield Request(
            srv="12.2",
            target=dsp,
            device=entry.device,
            body=element(
                "DevicePrenotification",
                [
                    _id(entry.device),
                    node("DeviceManufacturer", entry.manufacturer),
                    node("DeviceModel", entry.model),
                    node("DeviceType", entry.device_type),
                    node("FirmwareVersion", entry.firmware),
                ],
            ),
            path=ServicePath.NON_DEVICE,
        )
    for entry in others:
        added = element("AddDeviceToCHFWhitelist", [node("ImportMPxN", _mpxn(home, entry.device_type))])
        yield Request(
            srv="8.11",
            target=hub,
            device=entry.device,
            body=element("UpdateHANDeviceLog", [_id(entry.device), node("RequestType", "Add"), added]),
        )
    for target, device in _pairs(home):
        body = element("JoinServiceNonCritical", [node("OtherDeviceID", format_eui64(device))])
        yield Request(srv="8.7.2", target=target, device=device, body=body)
    for kind in _METERS:
        for entry in home.of_type(kind):
            yield Request(
                srv="8.1.1",
                target=entry.device,
                device=entry.device,
                body=element(
                    "CommissionDeviceSynchroniseClock",
                    [node("CurrentDateTime", format_utc(now_utc_us)), node("TolerancePeriod", 10)],
                ),
            )


def _id(device: Eui64) -> XmlNode | None:
    return node("DeviceID", format_eui64(device))


def _mpxn(home: Installation, kind: DeviceType) -> str | None:
    supply = home.electricity if kind is DeviceType.ESME else home.gas if kind in _GAS else None
    return None if supply is None else supply.mpxn


_GAS: Final = (DeviceType.GSME, DeviceType.GPF)


def _pairs(home: Installation) -> Iterator[tuple[Eui64, Eui64]]:
    esme, gpf, gsme = (home.first(kind) for kind in (DeviceType.ESME, DeviceType.GPF, DeviceType.GSME))
    if gpf is not None and gsme is not None:
        yield gpf, gsme
    for place in (esme, gpf):
        for entry in home.devices:
            if place is not None and entry.device_type in _DISPLAYS:
                yield place, entry.device


class CommissioningParty:
    """`is_supplier`: it commissions only homes whose supplier does so itself, and which are its own."""

    def __init__(
        self,
        *,
        submit: Submit,
        signer: FileSigner,
        receiver: Receiver,
        dsp: Eui64,
        s1sp: Eui64,
        now_utc_us: Callable[[], int],
        is_supplier: bool = False,
    ) -> None:
        self.on_home: Callable[[Installation, bool], None] = lambda _home, _is_done: None
        self._submit = submit
        self._signer = signer
        self._receiver = receiver
        self._dsp = dsp
        self._s1sp = s1sp
        self._now_utc_us = now_utc_us
        self._is_supplier = is_supplier
        self._common: dict[int, MigrationCommonFile] = {}
        self._done: dict[Eui64, int] = {}  # homes that were commissioned, by file set
        self._waiting: dict[MigrationHeader, list[CofInstallation]] = {}
        self._counter = 0

    def take_mcf(self, octets: bytes, requesting_parties: frozenset[Eui64]) -> None:
        """Raises FileRefusedError."""
        received = self._receiver.take(
            octets, FileKind.MCF, senders=requesting_parties, now_utc_us=self._now_utc_us()
        )
        assert isinstance(received.content, MigrationCommonFile)
        self._common[received.content.header.file_set] = received.content

    async def take_scf(self, octets: bytes) -> list[CofInstallation]:
        """Commission the migrated homes of an SCF. Raises FileRefusedError."""
        received = self._receiver.take(
            octets, FileKind.SCF, senders=frozenset({self._s1sp}), now_utc_us=self._now_utc_us()
        )
        scf = received.content
        assert isinstance(scf, S1spCommissioningFile)
        common = self._common.get(scf.header.file_set)
        if common is None or common.header != scf.header:
            raise FileRefusedError("16.4", "no Migration Common File has the same Migration Header")
        homes = {home.hub: home for home in common.installations}
        outcomes = []
        for line in scf.installations:
            home = homes.get(line.hub)
            if home is None or line.outcome is not S1spOutcome.MIGRATED or not self._is_ours(home):
                continue
            if self._done.get(home.hub) != scf.header.file_set:
                outcomes.append(await self.commission(home))
                self._done[home.hub] = scf.header.file_set
        if outcomes:
            self._waiting.setdefault(scf.header, []).extend(outcomes)
        return outcomes

    def _is_ours(self, home: Installation) -> bool:
        if home.commissioned_by is CommissionedBy.COMMISSIONING_PARTY:
            return not self._is_supplier
        return self._is_supplier and any(s.supplier == self._signer.party for s in home.supplies)

    async def commission(self, home: Installation) -> CofInstallation:
        """Send every request; the home is commissioned where all succeed."""
        results = []
        for request in requests_of(home, dsp=self._dsp, now_utc_us=self._now_utc_us()):
            code = await self.send(request)
            results.append(CommissioningRequest(srv=request.srv, device=request.device, code=code))
        is_done = all(result.code == "I0" for result in results)
        self.on_home(home, is_done)
        outcome = CommissioningOutcome.COMMISSIONED if is_done else CommissioningOutcome.FAILED
        return CofInstallation(hub=home.hub, outcome=outcome, requests=tuple(results))

    async def send(self, request: Request) -> str:
        """One Commissioning Request; its response code."""
        self._counter = max(self._now_utc_us(), self._counter + 1)
        xml = request_document(
            RequestId(self._signer.party, request.target, self._counter),
            CommandVariant.NON_DEVICE
            if request.path is ServicePath.NON_DEVICE
            else CommandVariant.NON_CRITICAL,
            service_reference=".".join(request.srv.split(".")[:2]),
            srv=request.srv,
            body=request.body,
        )
        response = await self._submit(xml, request.path)
        codes = [found.text for found in read_node(parse_document(response)).below("ResponseCode")]
        return codes[-1] if codes else "E21"

    def report(self) -> list[bytes]:
        """A COF for each file set of which homes were commissioned since the last."""
        waiting, self._waiting = self._waiting, {}
        return [
            self._signer.sign(
                FileKind.COF,
                CommissioningOutcomeFile(header=header, installations=tuple(homes)),
                now_utc_us=self._now_utc_us(),
            )
            for header, homes in waiting.items()
        ]

    def close_set(self, file_set: int) -> None:
        self._common.pop(file_set, None)
