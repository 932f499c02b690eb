"""The communications hub: coordinator and trust centre, WAN end, the ribbon to the ESME, the gas proxy.

An instruction of the head end names a target. The CHF and the GPF answer themselves; the ESME is
asked over the ribbon; the GSME's wait in the gas proxy until it wakes; any other device is asked over the
HAN. What a device says unasked on the Authorisation cluster goes to the head end as an event. Whom the hub
lets onto the HAN is in `admission.py`, the gas meter's mirror in `gas_mirror.py`, and what waits for that
meter in `gas_delivery.py`.

Source: TMAD 16.12 (whitelist); SE 1.2, 5.4 (trust centre).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from smets1.errors import DecodeError, NoAnswerError, RefusedError, SecurityError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.device import ENDPOINT, Board, Device, Factory
from smets1.firmware.ota.server import OtaServer
from smets1.firmware.ota.service import OtaServerService
from smets1.firmware.tunnel import TunnelServer
from smets1.firmware.tunnel_service import TunnelServerService
from smets1.firmware.wan.hub_end import HubWanEnd
from smets1.firmware.wan.messages import WanRequest, WanResponse, WanStatus
from smets1.firmware.wire import WireEnd
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.clusters.events import EVENTS, EventLogId
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION, HUB_CONTROL
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.frame import ZclHeader, command_frame, general_frame
from smets1.firmware.zcl.general import DefaultResponse
from smets1.firmware.zcl.log_pages import event_page
from smets1.firmware.zcl.server import Answer, CommandContext, Handler, Via, reply
from smets1.firmware.zcl.status import Side, Status
from smets1.hardware.radio import ApsIndication, JoinedDevice, NetworkInfo
from smets1.hub.admission import Admission, AdmittedDevice
from smets1.hub.device_log import DISPLAY_TYPES, DeviceLog
from smets1.hub.event_log import HubEvent, HubEventLog
from smets1.hub.firmware_relay import FirmwareRelay
from smets1.hub.gas_copies import GasCopies
from smets1.hub.gas_delivery import GasDelivery
from smets1.hub.gas_mirror import MIRROR_ENDPOINT, GasMirror
from smets1.hub.gpf import GasProxy
from smets1.hub.message_board import MessageBoard
from smets1.hub.own_firmware import HubFirmware

__all__ = ["Chf"]

_CLOSED_KEY: Final = "hub/closed to joining"
_PERMIT_S: Final = 254
_PERMIT_EVERY_S: Final = 240


class Chf(Device):
    """Skyline-i 510, with the GPF inside."""

    zigbee_device_id = 0x0500  # energy service interface
    ke_sessions = 8

    def __init__(
        self,
        factory: Factory,
        board: Board,
        *,
        gpf: Factory | None,
        esme: Eui64 | None,
        gsme: Eui64 | None,
        ribbon: WireEnd,
        devices: Sequence[AdmittedDevice] = (),
        device_log: DeviceLog,
    ) -> None:
        """`device_log` is also the whitelist that the port asks; `devices` are put on it at first start."""
        super().__init__(factory, board)
        self.gpf_factory = gpf
        self.esme = esme
        self.gsme = gsme
        self.device_log = device_log
        self.gas = GasProxy(self.nvm)
        self.copies = GasCopies(self.nvm)
        self.event_log = HubEventLog(self.nvm)
        self.tunnels = TunnelServerService(
            self.app, TunnelServer(), self.scheduler, find_short=self.port.known_short
        )
        self.ota = OtaServerService(self.app, OtaServer(self.nvm), self.civil, spawn=self.spawn)
        self.ota.on_end = self._on_image_end
        self.relay = FirmwareRelay(
            self.nvm, self.ota.server, self.images, hub=self.eui64, image_type=factory.device_type
        )
        self.firmware = HubFirmware(
            self.images,
            self.civil,
            is_well=lambda: bool(self._wan_status()),
            on_version=lambda version: self.log.info("runs firmware %08X", version),
        )
        self.messages = MessageBoard(self.app, self.nvm, self.civil, displays=self._displays)
        self.wan: HubWanEnd | None = None
        self._ribbon = ribbon
        ribbon.handler = self._on_ribbon
        self._has_network = False
        self._joining_set = asyncio.Event()
        self.admission = Admission(
            self,
            device_log,
            on_changed=lambda eui64: self._log(HubEvent.CHF_DEVICE_LOG_CHANGED, eui64),
            on_removed=self._on_removed,
        )
        self.admission.admit(devices)
        self.delivery = GasDelivery(
            self,
            self.gas,
            ask=partial(self._ask_over_han, gsme),
            on_not_retrieved=self._on_not_retrieved,
        )
        self._add_hub_clusters()
        self.mirror = GasMirror(
            self,
            self.gas,
            self.copies,
            self.delivery,
            meter=gsme,
            factory=gpf or factory,
            has_firmware=self._has_gas_firmware,
            report_event=self._report_event,
        )

    # --- life -------------------------------------------------------------------------------------------

    def start(self) -> None:
        super().start()
        self.spawn(self.persevere(self.delivery.serve))
        self.spawn(self.persevere(self.delivery.expire))
        self.spawn(self.persevere(self.firmware.run))

    def power_off(self) -> None:
        self._ribbon.handler = None
        self.tunnels.close()
        super().power_off()

    async def close(self) -> None:
        self._ribbon.handler = None
        self.tunnels.close()
        if self.wan is not None:
            await self.wan.close()
        await super().close()

    async def _live(self) -> None:
        """A coordinator forms its network and keeps it open for devices on the whitelist, if it may."""
        if not await self.port.start():
            await self.port.form()
        self.admission.give_install_keys()
        self._has_network = True
        self.keyed.set()
        while True:
            is_open = self.is_open_to_join
            await self.port.permit_join(_PERMIT_S if is_open else 0)
            self._joining_set.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PERMIT_EVERY_S if is_open else None):
                    await self._joining_set.wait()

    @property
    def is_open_to_join(self) -> bool:
        """For what is on the whitelist. An engineering code at the electricity meter closes and opens it."""
        return self.nvm.get(_CLOSED_KEY) is None

    def _set_joining(self, fields: Values, context: CommandContext) -> Answer:
        if context.via is not Via.WIRE:
            return Status.NOT_AUTHORIZED
        if fields["is_open"]:
            self.nvm.delete(_CLOSED_KEY)
        else:
            self.nvm.put(_CLOSED_KEY, b"\x01")
        self.nvm.commit()
        self._joining_set.set()
        return Status.SUCCESS

    def on_network_up(self, info: NetworkInfo) -> None:
        super().on_network_up(info)
        if self._has_network:  # its stick was away
            self.keyed.set()

    def _displays(self) -> list[int]:
        """Short addresses of the displays that have joined."""
        types = {entry.eui64: entry.device_type for entry in self.device_log.entries()}
        found = (self.port.known_short(eui64) for eui64, kind in types.items() if kind in DISPLAY_TYPES)
        return [short_address for short_address in found if short_address is not None]

    # --- the HAN ----------------------------------------------------------------------------------------

    def on_message(self, indication: ApsIndication) -> None:
        eui64 = indication.source_eui64 or self.port.known_eui64(indication.source)
        if eui64 is not None:
            self.device_log.heard(eui64, self.civil.utc_us())
        super().on_message(indication)

    def on_device_joined(self, device: JoinedDevice) -> None:
        self.device_log.heard(device.eui64, self.civil.utc_us())
        self._log(HubEvent.JOINED_HAN, device.eui64)
        self.log.info("%s joined as 0x%04X", format_eui64(device.eui64), device.short_address)
        self.admission.on_joined(device.eui64)

    def on_device_left(self, eui64: Eui64) -> None:
        self.log.info("%s left", format_eui64(eui64))

    # --- clusters of the hub ------------------------------------------------------------------------------

    def _add_hub_clusters(self) -> None:
        core = self.app.core
        time = core.add_server(ENDPOINT, "time")
        time.bind("time", self.civil.zigbee_utc_s)
        time.set("time_status", 0b11)  # master, synchronised
        core.add_server(ENDPOINT, "keep_alive")
        hub = core.add_server(ENDPOINT, "hub_control")
        status: dict[str, Callable[[], int]] = {
            "boot_count": lambda: self.wan.boot_count if self.wan else 0,
            "wan_status": self._wan_status,
            "han_channel": lambda: self.port.network.channel if self.port.network else 0,
            "han_pan_id": lambda: self.port.network.pan_id if self.port.network else 0xFFFF,
            "device_log_count": lambda: len(self.device_log.listed()),
            "queued_for_gas_meter": lambda: self.gas.waiting_count,
        }
        for name, value in status.items():
            hub.bind(name, value)

        def read_hub_status(_fields: Values) -> Answer:
            return reply("hub_status", **{name: value() for name, value in status.items()})

        for command, answer in (
            ("read_device_log", self.admission.read),
            ("update_device_log", self.admission.update),
            ("read_hub_status", read_hub_status),
            ("store_image", self._store_image),
            ("offer_image", self._offer_image),
        ):
            hub.handle(command, self._from_head_end(answer))
        hub.handle("set_joining", self._set_joining)
        information = core.server(ENDPOINT, "device_information")
        information.bind("firmware_version", lambda: self.images.version)
        information.bind("pending_firmware_version", lambda: self.images.staged_version or 0)
        information.handle("activate_firmware", self._from_head_end(self._activate_firmware))
        events = core.obtain_server(ENDPOINT, "events")
        events.handle("get_event_log", self._from_head_end(self._get_event_log))
        core.add_client(ENDPOINT, "authorisation").handle("status_push", self._on_status_push)

    def _from_head_end(self, answer: Callable[[Values], Answer]) -> Handler:
        """Of a command that nobody else may give."""

        def handle(fields: Values, context: CommandContext) -> Answer:
            if context.via is not Via.WAN:
                self._log(HubEvent.NO_AUTHORITY, context.source_eui64)
                raise RefusedError(Status.NOT_AUTHORIZED, "the hub obeys the head end only")
            return answer(fields)

        return handle

    def _wan_status(self) -> int:
        return int(self.wan is not None and self.wan.link.is_up)

    def _get_event_log(self, fields: Values) -> Answer:
        return reply("publish_event_log", **event_page(fields, self.event_log.rows()))

    def _log(self, code: HubEvent, eui64: Eui64 | None = None) -> None:
        data = b"" if eui64 is None else eui64.to_bytes(8, "big")
        self.event_log.record(code, time_s=self.civil.zigbee_utc_s(), data=data)

    # --- firmware -----------------------------------------------------------------------------------------

    def _store_image(self, fields: Values) -> Answer:
        status, held = self.relay.store(bytes(fields["digest"]), fields["offset"], bytes(fields["data"]))
        return reply("store_image_response", status=int(status), held_octets=held)

    def _offer_image(self, fields: Values) -> Answer:
        targets = fields["targets"]
        status, header = self.relay.offer(bytes(fields["digest"]), targets)
        if header is not None:
            self.ota.notify(header)
        if self.eui64 in targets:
            self._on_image_end(self.eui64, status is Status.SUCCESS)
        return reply("offer_image_response", status=int(status))

    def _activate_firmware(self, fields: Values) -> Answer:
        status = self.firmware.activate(fields)
        return reply("activate_firmware_response", status=int(status), file_version=fields["file_version"])

    def _on_image_end(self, eui64: Eui64, is_good: bool) -> None:
        """A device has a whole image: its alert, which the hub tells of, since all of them end here."""
        code = HubEvent.FIRMWARE_VERIFIED if is_good else HubEvent.FIRMWARE_VERIFICATION_FAILED
        if eui64 == self.eui64:
            self._log(code)
        self._publish_event(eui64, code)

    def _publish_event(self, eui64: Eui64, code: int) -> None:
        """An event that the hub tells of by itself."""
        frame = command_frame(
            EVENTS,
            "publish_event",
            {
                "log_id": EventLogId.GENERAL_EVENT_LOG,
                "event_id": code,
                "event_time": self.civil.zigbee_utc_s(),
                "event_control": 0,
                "event_data": b"",
            },
            sender=Side.SERVER,
        )
        self._report_event(eui64, ENDPOINT, EVENTS.cluster_id, frame)

    # --- the gas meter and its mirror -----------------------------------------------------------------------

    def _on_removed(self, eui64: Eui64) -> None:
        if eui64 == self.gsme:
            self.mirror.take_away()

    def device_id_of(self, endpoint: int) -> int:
        """The mirror is a meter to whoever asks."""
        return Device.zigbee_device_id if endpoint == MIRROR_ENDPOINT else super().device_id_of(endpoint)

    def _has_gas_firmware(self) -> bool:
        entry = None if self.gsme is None else self.device_log.get(self.gsme)
        return entry is not None and self.ota.server.has_news(entry.eui64, entry.device_type)

    def _on_not_retrieved(self) -> None:
        """A command that waited for the gas meter too long: an alert of the GPF's."""
        self._log(HubEvent.GSME_COMMAND_NOT_RETRIEVED)
        if self.gpf_factory is not None:
            self._publish_event(self.gpf_factory.eui64, HubEvent.GSME_COMMAND_NOT_RETRIEVED)

    # --- instructions of the head end ---------------------------------------------------------------------

    async def execute(self, request: WanRequest) -> WanResponse:
        """For the WAN end. Raises NoAnswerError (the device did not answer), RefusedError."""
        target = request.target
        if not _is_readable(request):
            return WanResponse(request_id=request.request_id, status=WanStatus.MALFORMED)
        if target == self.eui64:
            return self._execute_here(request, ENDPOINT)
        if self.gpf_factory is not None and target == self.gpf_factory.eui64:
            await self.delivery.wait_for_mirror()
            return self._execute_here(request, request.endpoint)
        if target == self.esme:
            answer = await self._ribbon.exchange(request.endpoint, request.cluster_id, request.frame)
            return self._response(request, answer)
        if target == self.gsme:
            answer = await self.delivery.exchange(
                request.endpoint, request.cluster_id, request.frame, expires_utc_us=request.expires_utc_us
            )
            return self._response(request, answer, from_gsme=True)
        if self.device_log.get(target) is None:
            return WanResponse(request_id=request.request_id, status=WanStatus.UNKNOWN_TARGET)
        answer = await self._ask_over_han(target, request.endpoint, request.cluster_id, request.frame)
        return self._response(request, answer)

    def _response(
        self, request: WanRequest, frame: bytes | None, *, utc_us: int | None = None, from_gsme: bool = False
    ) -> WanResponse:
        return WanResponse(
            request_id=request.request_id,
            status=WanStatus.DONE,
            frame=frame or b"",
            device_utc_us=self.civil.utc_us() if utc_us is None else utc_us,
            from_gsme=from_gsme,
        )

    def _execute_here(self, request: WanRequest, endpoint: int) -> WanResponse:
        context = CommandContext(now_us=self.scheduler.now_us(), via=Via.WAN)
        answer = self.app.execute(endpoint, request.cluster_id, request.frame, context)
        time_us = self.gas.reported_utc_us if endpoint == MIRROR_ENDPOINT else None
        return self._response(request, answer, utc_us=time_us)

    async def _ask_over_han(
        self, eui64: Eui64 | None, endpoint: int, cluster_id: int, frame: bytes, **options: Any
    ) -> bytes:
        """Pass a frame on and wait for its answer. Raises NoAnswerError, RefusedError."""
        if eui64 is None:
            raise NoAnswerError("no such device")
        try:
            short_address = await self.port.find_short(eui64)
            return await self.app.relay(short_address, endpoint, cluster_id, frame, **options)
        except SecurityError as error:
            raise NoAnswerError(str(error)) from None

    # --- what devices say unasked --------------------------------------------------------------------------

    def _on_ribbon(self, endpoint: int, cluster_id: int, frame: bytes) -> bytes | None:
        if self.esme is None:
            return None
        if cluster_id == HUB_CONTROL.cluster_id:  # the hub's own affair
            context = CommandContext(now_us=self.scheduler.now_us(), via=Via.WIRE)
            return self.app.execute(ENDPOINT, cluster_id, frame, context)
        try:
            header, _ = ZclHeader.decode(frame)
        except DecodeError:
            return None
        if not self._report_event(self.esme, endpoint, cluster_id, frame):
            return None
        accepted = DefaultResponse(header.command_id, Status.SUCCESS)
        return general_frame(
            accepted,
            sender=Side.CLIENT,
            sequence=header.sequence,
            manufacturer_code=header.manufacturer_code,
        )

    def _on_status_push(self, fields: Values, context: CommandContext) -> Answer:
        if context.source_eui64 is None:
            return Status.NOT_AUTHORIZED
        frame = command_frame(
            AUTHORISATION, "status_push", dict(fields), sender=Side.SERVER, sequence=context.sequence
        )
        self._report_event(context.source_eui64, ENDPOINT, AUTHORISATION.cluster_id, frame)
        return Status.SUCCESS

    def _report_event(self, source: Eui64, endpoint: int, cluster_id: int, frame: bytes) -> bool:
        """True: durable here, and on its way to the head end."""
        if self.wan is None:
            return False
        self.wan.report(source, endpoint, cluster_id, frame)
        self.nvm.commit()
        return True


def _is_readable(request: WanRequest) -> bool:
    """Whether there is a ZCL frame for a cluster that we have in a request of the head end."""
    try:
        ZclHeader.decode(request.frame)
    except DecodeError:
        return False
    return request.cluster_id in CLUSTERS
