"""The communications hub: coordinator and trust centre, WAN end, the ribbon to the ESME, the gas proxy.

An instruction of the head end names a target. The CHF and the GPF answer themselves; the ESME is
asked over the ribbon; the GSME's wait in the gas proxy until it wakes; any other device is asked over the
HAN. What a device says unasked on the Authorisation cluster goes to the head end as an event.

Source: TMAD 16.12 (whitelist); SE 1.2, 5.4 (trust centre).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from smets1.errors import DecodeError, EmulatorError, NoAnswerError, RefusedError, SecurityError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import from_zigbee_s, zigbee_s
from smets1.firmware.crypto.mmo import install_code_key
from smets1.firmware.device import ENDPOINT, Board, Device, Factory
from smets1.firmware.ota.server import OtaServer
from smets1.firmware.ota.service import OtaServerService
from smets1.firmware.price_listeners import PriceListeners
from smets1.firmware.tunnel import TunnelServer
from smets1.firmware.tunnel_service import TunnelServerService
from smets1.firmware.wan.hub_end import HubWanEnd
from smets1.firmware.wan.messages import WanRequest, WanResponse, WanStatus
from smets1.firmware.wire import WireEnd
from smets1.firmware.zcl.clusters import CLUSTERS, cluster_named
from smets1.firmware.zcl.clusters.events import EVENTS, EventLogId
from smets1.firmware.zcl.clusters.metering import NotificationFlags
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION, DeviceLogOperation
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.frame import ZclHeader, command_frame, general_frame
from smets1.firmware.zcl.general import DefaultResponse
from smets1.firmware.zcl.log_pages import event_page
from smets1.firmware.zcl.server import LATER, Answer, CommandContext, Via, reply
from smets1.firmware.zcl.status import Side, Status
from smets1.hardware.radio import ApsIndication, JoinedDevice, KeyOrigin, LinkKey, NetworkInfo
from smets1.hub.device_log import DISPLAY_TYPES, DeviceLog, DeviceLogEntry
from smets1.hub.event_log import HubEvent, HubEventLog
from smets1.hub.firmware_relay import FirmwareRelay
from smets1.hub.gas_copies import GasCopies
from smets1.hub.gas_copy_clusters import CopyClusters
from smets1.hub.gpf import LONGEST_WAIT_US, GasProxy, WaitingInstruction
from smets1.hub.message_board import MessageBoard
from smets1.hub.mirror_lag import MirrorLag
from smets1.hub.own_firmware import HubFirmware

__all__ = ["MIRROR_ENDPOINT", "AdmittedDevice", "Chf"]

MIRROR_ENDPOINT: Final = 2
_UNKEYED_S: Final = 3600  # SE 1.2, 5.4.6: a device that joined is to establish its key
_PERMIT_S: Final = 254
_PERMIT_EVERY_S: Final = 240
_GAS_ANSWER_US: Final = 10_000_000
_GAS_STAYS_US: Final = 2_000_000
"""Having answered, the gas meter listens at least this long (`devices/gsme.py` has 4 s)."""
_EXPIRY_EVERY_S: Final = 60
_MIRROR_LAG_S: Final = 15
_NEVER: Final = 0xFFFFFFFF
_LOG_PAGE: Final = 5  # entries that fit an APS frame


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedDevice:
    """A device that the hub is told of at installation."""

    eui64: Eui64
    install_key: bytes
    device_type: int
    is_listed: bool = True  # the ESME is admitted, but not on the whitelist (16.12)


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
        self._gas_price_listeners = PriceListeners(self.app, MIRROR_ENDPOINT)
        self._gas_awake = asyncio.Event()
        self._mirror_lag = MirrorLag()
        self._mirror_moved = asyncio.Event()
        self._gas_answered_us = -_GAS_STAYS_US
        self._has_network = False
        self._unkeyed: dict[Eui64, asyncio.Task[Any]] = {}  # watched since they joined
        self._admit(devices)
        self._add_hub_clusters()
        if not self.gas.is_removed:
            self._add_mirror()

    def _admit(self, devices: Iterable[AdmittedDevice]) -> None:
        for device in devices:
            self.device_log.admit(
                DeviceLogEntry(
                    eui64=device.eui64,
                    link_key=device.install_key,
                    device_type=device.device_type,
                    is_listed=device.is_listed,
                )
            )

    # --- life -------------------------------------------------------------------------------------------

    def start(self) -> None:
        super().start()
        self.spawn(self.persevere(self._serve_gas_meter))
        self.spawn(self.persevere(self._expire_waiting))
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
        """A coordinator forms its network and keeps it open for devices on the whitelist."""
        if not await self.port.start():
            await self.port.form()
        for entry in self.device_log.entries():
            self._give_install_key(entry)
        self._has_network = True
        self.keyed.set()
        while True:
            await self.port.permit_join(_PERMIT_S)
            await asyncio.sleep(_PERMIT_EVERY_S)

    def on_network_up(self, info: NetworkInfo) -> None:
        super().on_network_up(info)
        if self._has_network:  # its stick was away
            self.keyed.set()

    def _displays(self) -> list[int]:
        """Short addresses of the displays that have joined."""
        types = {entry.eui64: entry.device_type for entry in self.device_log.entries()}
        found = (self.port.known_short(eui64) for eui64, kind in types.items() if kind in DISPLAY_TYPES)
        return [short_address for short_address in found if short_address is not None]

    def _give_install_key(self, entry: DeviceLogEntry) -> None:
        if self.port.link_key(entry.eui64) is None:
            self.port.set_link_key(
                LinkKey(partner=entry.eui64, key=entry.link_key, origin=KeyOrigin.INSTALL_CODE)
            )

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
        if self._lacks_key(device.eui64) and device.eui64 not in self._unkeyed:
            self._unkeyed[device.eui64] = self.spawn(self._watch_key(device.eui64))

    def _lacks_key(self, eui64: Eui64) -> bool:
        key = self.port.link_key(eui64)
        return key is None or key.origin is KeyOrigin.INSTALL_CODE

    async def _watch_key(self, eui64: Eui64) -> None:
        """Who joins and never establishes a key is sent away; still listed, it may try again."""
        try:
            await asyncio.sleep(_UNKEYED_S)
            entry = self.device_log.get(eui64)
            if self._lacks_key(eui64) and entry is not None:
                self.log.warning("%s has established no key in an hour: removed", format_eui64(eui64))
                await self.port.remove_device(eui64)
                self._give_install_key(entry)
        finally:
            del self._unkeyed[eui64]

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
        hub.bind("device_log_count", lambda: len(self.device_log.listed()))
        hub.bind("boot_count", lambda: self.wan.boot_count if self.wan else 0)
        hub.bind("wan_status", self._wan_status)
        hub.bind("han_channel", lambda: self.port.network.channel if self.port.network else 0)
        hub.bind("han_pan_id", lambda: self.port.network.pan_id if self.port.network else 0xFFFF)
        hub.bind("queued_for_gas_meter", lambda: self.gas.waiting_count)
        hub.handle("read_device_log", self._read_device_log)
        hub.handle("update_device_log", self._update_device_log)
        hub.handle("read_hub_status", self._read_hub_status)
        hub.handle("store_image", self._store_image)
        hub.handle("offer_image", self._offer_image)
        information = core.server(ENDPOINT, "device_information")
        information.bind("firmware_version", lambda: self.images.version)
        information.bind("pending_firmware_version", lambda: self.images.staged_version or 0)
        information.handle("activate_firmware", self._activate_firmware)
        core.obtain_server(ENDPOINT, "events").handle("get_event_log", self._get_event_log)
        metering = core.add_client(ENDPOINT, "metering")
        metering.handle("request_mirror", self._on_request_mirror)
        metering.handle("remove_mirror", self._on_remove_mirror)
        core.add_client(ENDPOINT, "authorisation").handle("status_push", self._on_status_push)

    def _wan_status(self) -> int:
        return int(self.wan is not None and self.wan.link.is_up)

    def _get_event_log(self, fields: Values, context: CommandContext) -> Answer:
        self._require_head_end(context)
        return reply("publish_event_log", **event_page(fields, self.event_log.rows()))

    def _log(self, code: HubEvent, eui64: Eui64 | None = None) -> None:
        data = b"" if eui64 is None else eui64.to_bytes(8, "big")
        self.event_log.record(code, time_s=self.civil.zigbee_utc_s(), data=data)

    def _require_head_end(self, context: CommandContext) -> None:
        if context.via is not Via.WAN:
            self._log(HubEvent.NO_AUTHORITY, context.source_eui64)
            raise RefusedError(Status.NOT_AUTHORIZED, "the hub obeys the head end only")

    def _read_device_log(self, fields: Values, context: CommandContext) -> Answer:
        self._require_head_end(context)
        listed = self.device_log.listed()
        first = fields["first_index"]
        entries = [
            {
                "device": entry.eui64,
                "device_type": entry.device_type,
                "last_communication": _NEVER
                if entry.last_communication_utc_us is None
                else zigbee_s(entry.last_communication_utc_us),
            }
            for entry in listed[first : first + _LOG_PAGE]
        ]
        return reply("device_log", total=len(listed), first_index=first, count=len(entries), entries=entries)

    def _update_device_log(self, fields: Values, context: CommandContext) -> Answer:
        self._require_head_end(context)
        eui64 = fields["device"]
        if fields["operation"] == DeviceLogOperation.ADD:
            try:
                key = install_code_key(bytes(fields["install_code"]))
            except DecodeError:
                raise RefusedError(Status.INVALID_FIELD, "install code or its CRC is wrong") from None
            entry = DeviceLogEntry(eui64=eui64, link_key=key, device_type=fields["device_type"])
            self.device_log.add(entry)
            self._log(HubEvent.CHF_DEVICE_LOG_CHANGED, eui64)
            self._give_install_key(entry)
        elif fields["operation"] == DeviceLogOperation.REMOVE:
            if not self.device_log.remove(eui64):
                raise RefusedError(Status.NOT_FOUND, "not on the device log")
            self._log(HubEvent.CHF_DEVICE_LOG_CHANGED, eui64)
            if eui64 == self.gsme:
                self._take_mirror_away()
            self.spawn(self.port.remove_device(eui64))
        else:
            raise RefusedError(Status.INVALID_FIELD, "unknown operation")
        return reply("update_device_log_response", status=0, device=eui64)

    def _read_hub_status(self, fields: Values, context: CommandContext) -> Answer:
        self._require_head_end(context)
        network = self.port.network
        return reply(
            "hub_status",
            boot_count=self.wan.boot_count if self.wan else 0,
            wan_status=self._wan_status(),
            han_channel=network.channel if network else 0,
            han_pan_id=network.pan_id if network else 0xFFFF,
            device_log_count=len(self.device_log.listed()),
            queued_for_gas_meter=self.gas.waiting_count,
        )

    # --- firmware -----------------------------------------------------------------------------------------

    def _store_image(self, fields: Values, context: CommandContext) -> Answer:
        self._require_head_end(context)
        status, held = self.relay.store(bytes(fields["digest"]), fields["offset"], bytes(fields["data"]))
        return reply("store_image_response", status=int(status), held_octets=held)

    def _offer_image(self, fields: Values, context: CommandContext) -> Answer:
        self._require_head_end(context)
        targets = fields["targets"]
        status, header = self.relay.offer(bytes(fields["digest"]), targets)
        if header is not None:
            self.ota.notify(header)
        if self.eui64 in targets:
            self._on_image_end(self.eui64, status is Status.SUCCESS)
        return reply("offer_image_response", status=int(status))

    def _activate_firmware(self, fields: Values, context: CommandContext) -> Answer:
        self._require_head_end(context)
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

    # --- the gas meter's mirror -----------------------------------------------------------------------------

    def _on_request_mirror(self, fields: Values, context: CommandContext) -> Answer:
        if self.gsme is None or context.source_eui64 != self.gsme:
            return reply("request_mirror_response", endpoint_id=0xFFFF)
        if self.gas.is_removed:
            self.gas.create()
            self._add_mirror()
        return reply("request_mirror_response", endpoint_id=MIRROR_ENDPOINT)

    def _on_remove_mirror(self, fields: Values, context: CommandContext) -> Answer:
        if self.gsme is None or context.source_eui64 != self.gsme:
            return Status.NOT_AUTHORIZED
        self._take_mirror_away()
        return reply("mirror_removed", endpoint_id=MIRROR_ENDPOINT)

    def remove_mirror(self) -> None:
        """Of the hub's own accord. A meter that sleeps finds out when its next report is not answered."""
        self._take_mirror_away()
        short_address = None if self.gsme is None else self.port.known_short(self.gsme)
        if short_address is not None:
            self.app.command(
                short_address, ENDPOINT, "metering", "mirror_removed", endpoint_id=MIRROR_ENDPOINT
            )

    def _take_mirror_away(self) -> None:
        if self.gas.is_removed:
            return
        for item in self.gas.remove():
            item.settle(None)
        self.copies.forget()
        self.app.core.remove_endpoint(MIRROR_ENDPOINT)
        self.show_endpoints()
        self.nvm.commit()

    def device_id_of(self, endpoint: int) -> int:
        """The mirror is a meter to whoever asks."""
        return Device.zigbee_device_id if endpoint == MIRROR_ENDPOINT else super().device_id_of(endpoint)

    def _add_mirror(self) -> None:
        core = self.app.core
        for cluster in ("metering", "prepayment", "meter_data"):
            server = core.add_server(MIRROR_ENDPOINT, cluster)
            server.update(**self.gas.values.get(cluster, {}))
            client = core.add_client(MIRROR_ENDPOINT, cluster)
            client.handle_reports(partial(self._on_gas_report, cluster))
            if cluster == "metering":
                client.handle("configure_mirror", lambda _fields, _context: Status.SUCCESS)
        core.obtain_client(MIRROR_ENDPOINT, "events").handle("publish_event", self._on_gas_event)
        CopyClusters(
            core,
            MIRROR_ENDPOINT,
            self.copies,
            is_gas_meter=self._is_gas_meter,
            tenancy_s=lambda: self.gas.values.get("meter_data", {}).get("tenancy_from") or 0,
        )
        core.add_client(MIRROR_ENDPOINT, "price").handle("publish_price", self._on_gas_price)
        core.add_server(MIRROR_ENDPOINT, "price").handle("get_current_price", self._get_gas_price)
        factory = self.gpf_factory or self.factory
        core.add_server(MIRROR_ENDPOINT, "device_information").update(
            firmware_version=factory.firmware_version, model=factory.model, manufacturer=factory.manufacturer
        )
        for cluster, command in (
            ("prepayment", "consumer_top_up"),
            ("prepayment", "select_available_emergency_credit"),
            ("metering", "local_change_supply"),
        ):
            core.server(MIRROR_ENDPOINT, cluster).handle(
                command, partial(self._pass_to_gas_meter, cluster, command)
            )
        self.show_endpoints()

    def _is_gas_meter(self, context: CommandContext) -> bool:
        return self.gsme is not None and context.source_eui64 == self.gsme

    def _on_gas_price(self, fields: Values, context: CommandContext) -> Answer:
        if context.source_eui64 != self.gsme:
            return Status.NOT_AUTHORIZED
        self.gas.report("price", fields, meter_utc_us=None)
        self._gas_price_listeners.tell(fields)
        return Status.SUCCESS

    def _get_gas_price(self, fields: Values, context: CommandContext) -> Answer:
        self._gas_price_listeners.remember(context)
        price = self.gas.values.get("price")
        return Status.NOT_FOUND if price is None else reply("publish_price", **price)

    def _on_gas_report(self, cluster: str, values: Values, context: CommandContext) -> None:
        if context.source_eui64 != self.gsme:
            return
        snapshot_s = values.get("reading_snapshot_time") or values.get("credit_remaining_timestamp")
        meter_utc_us = None if snapshot_s is None else from_zigbee_s(snapshot_s)
        self.gas.report(cluster, values, meter_utc_us=meter_utc_us)
        self.app.core.server(MIRROR_ENDPOINT, cluster).update(**self.gas.values[cluster])
        self._mirror_lag.on_report(cluster)
        self._mirror_moved.set()
        if cluster == "metering" and context.source is not None:  # the last of a waking's reports
            self._settle_expired()
            self.app.command(
                context.source,
                ENDPOINT,
                "metering",
                "mirror_report_attribute_response",
                source_endpoint=MIRROR_ENDPOINT,
                notification_scheme=1,
                notification_flags=[int(self._gas_flags())],
            )
            if self.gas.waiting_count:
                self._gas_awake.set()

    def _gas_flags(self) -> NotificationFlags:
        flags = self.gas.flags
        entry = None if self.gsme is None else self.device_log.get(self.gsme)
        if entry is not None and self.ota.server.has_news(entry.eui64, entry.device_type):
            flags |= NotificationFlags.NEW_OTA_FIRMWARE
        return flags

    def _settle_expired(self) -> None:
        for item in self.gas.expire(utc_us=self.civil.utc_us()):
            self.log.warning("gas meter: command on 0x%04X not retrieved", item.cluster_id)
            self._log(HubEvent.GSME_COMMAND_NOT_RETRIEVED)
            item.settle(None)
            if self.gpf_factory is not None:
                self._publish_event(self.gpf_factory.eui64, HubEvent.GSME_COMMAND_NOT_RETRIEVED)

    def _pass_to_gas_meter(
        self, cluster: str, command: str, fields: Values, context: CommandContext
    ) -> Answer:
        """What a person does at a display for gas: waits for the meter like everything else."""
        if context.via is not Via.HAN:
            raise RefusedError(Status.NOT_AUTHORIZED, "the head end commands the meter, not its mirror")
        frame = command_frame(cluster_named(cluster), command, dict(fields), sequence=context.sequence)
        cluster_id = context.cluster_id

        def settle(answer: bytes | None) -> None:
            if answer is not None:
                self.app.send_answer(context, answer)

        waits = self.gas.wait(
            WaitingInstruction(
                endpoint=ENDPOINT,
                cluster_id=cluster_id,
                frame=frame,
                expires_utc_us=self.civil.utc_us() + LONGEST_WAIT_US,
                source_endpoint=MIRROR_ENDPOINT,
                settle=settle,
            )
        )
        return LATER if waits else Status.INSUFFICIENT_SPACE

    async def _serve_gas_meter(self) -> None:
        """While the meter is awake, give it what waits."""
        while True:
            await self._gas_awake.wait()
            self._gas_awake.clear()
            while (item := self.gas.take()) is not None:
                if not await self._give_to_gas_meter(item):
                    break

    async def _give_to_gas_meter(self, item: WaitingInstruction) -> bool:
        """False where the meter does not answer; the instruction then waits on."""
        try:
            answer = await self._ask_over_han(
                self.gsme,
                item.endpoint,
                item.cluster_id,
                item.frame,
                source_endpoint=item.source_endpoint,
                timeout_us=_GAS_ANSWER_US,
            )
        except NoAnswerError as error:
            self.log.info("gas meter gone to sleep: %s", error)
            self.gas.put_back(item)
            self._settle_expired()
            return False
        except EmulatorError as error:  # one bad instruction must not end the service of the others
            self.log.warning("gas meter: command on 0x%04X: %s", item.cluster_id, error)
            item.settle(None)
            return True
        self._gas_answered_us = self.scheduler.now_us()
        self._mirror_lag.on_answered(item.cluster_id, item.frame)
        item.settle(answer)
        return True

    async def _expire_waiting(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRY_EVERY_S)
            self._settle_expired()

    # --- instructions of the head end ---------------------------------------------------------------------

    async def execute(self, request: WanRequest) -> WanResponse:
        """For the WAN end. Raises NoAnswerError (the device did not answer), RefusedError."""
        target = request.target
        if not _is_readable(request):
            return WanResponse(request_id=request.request_id, status=WanStatus.MALFORMED)
        if target == self.eui64:
            return self._execute_here(request, ENDPOINT)
        if self.gpf_factory is not None and target == self.gpf_factory.eui64:
            await self._wait_for_mirror()
            return self._execute_here(request, request.endpoint)
        if target == self.esme:
            answer = await self._ribbon.exchange(request.endpoint, request.cluster_id, request.frame)
            return self._response(request, answer)
        if target == self.gsme:
            return await self._execute_at_gas_meter(request)
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

    async def _wait_for_mirror(self) -> None:
        """What the gas meter has just done is in its mirror, where it tells of it in time."""
        try:
            async with asyncio.timeout(_MIRROR_LAG_S):
                while self._mirror_lag.is_behind:
                    self._mirror_moved.clear()
                    await self._mirror_moved.wait()
        except TimeoutError:
            self.log.info("gas meter: no report since its last command")
            self._mirror_lag = MirrorLag()  # the next read does not wait again

    async def _execute_at_gas_meter(self, request: WanRequest) -> WanResponse:
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def settle(frame: bytes | None) -> None:
            if not answer.done():
                answer.set_result(frame)

        waits = self.gas.wait(
            WaitingInstruction(
                endpoint=request.endpoint,
                cluster_id=request.cluster_id,
                frame=request.frame,
                expires_utc_us=min(request.expires_utc_us, self.civil.utc_us() + LONGEST_WAIT_US),
                source_endpoint=ENDPOINT,
                settle=settle,
            )
        )
        if not waits:
            raise RefusedError(Status.INSUFFICIENT_SPACE, "too much waits for the gas meter")
        if self.scheduler.now_us() - self._gas_answered_us < _GAS_STAYS_US:
            self._gas_awake.set()  # the next of several frames; the meter has not gone back to sleep
        frame = await answer
        if frame is None:
            raise NoAnswerError("the gas meter did not wake in time")
        return self._response(request, frame, from_gsme=True)

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

    def _on_gas_event(self, fields: Values, context: CommandContext) -> Answer:
        """An alert of the gas meter, by way of the gas proxy."""
        if self.gsme is None or context.source_eui64 != self.gsme:
            return Status.NOT_AUTHORIZED
        frame = command_frame(
            EVENTS, "publish_event", dict(fields), sender=Side.SERVER, sequence=context.sequence
        )
        is_taken = self._report_event(self.gsme, MIRROR_ENDPOINT, EVENTS.cluster_id, frame)
        return Status.SUCCESS if is_taken else Status.FAILURE

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
