"""The gas meter's mirror on the HAN: an endpoint of the hub that comes and goes, and stands for the meter.

The meter asks for it, reports to it at each waking, and publishes to it what it logs; displays read it like a
meter, and what they command there waits for the meter. An alert of the meter goes on to the head end.

Source: SE 1.2 07-5356-19, D.3.4.3 (mirror), D.3.3.3.1.10 (notification flags).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from smets1.eui64 import Eui64
from smets1.firmware.civil import from_zigbee_s
from smets1.firmware.device import ENDPOINT, Device, Factory
from smets1.firmware.price_listeners import PriceListeners
from smets1.firmware.zcl.clusters.events import EVENTS
from smets1.firmware.zcl.clusters.metering import NotificationFlags
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.frame import command_frame
from smets1.firmware.zcl.server import Answer, CommandContext, reply
from smets1.firmware.zcl.status import Side, Status
from smets1.hub.gas_copies import GasCopies
from smets1.hub.gas_copy_clusters import CopyClusters
from smets1.hub.gas_delivery import GasDelivery
from smets1.hub.gpf import GasProxy

__all__ = ["MIRROR_ENDPOINT", "GasMirror"]

MIRROR_ENDPOINT: Final = 2
_NO_ENDPOINT: Final = 0xFFFF


class GasMirror:
    """Of one gas meter, which alone fills it; None: of none."""

    def __init__(
        self,
        hub: Device,
        gas: GasProxy,
        copies: GasCopies,
        delivery: GasDelivery,
        *,
        meter: Eui64 | None,
        factory: Factory,
        has_firmware: Callable[[], bool],
        report_event: Callable[[Eui64, int, int, bytes], bool],
    ) -> None:
        """`factory`: what the mirror says it is. `has_firmware()`: whether an image is offered to the meter.

        `report_event`: to the head end; source, endpoint, cluster, frame. True where it is kept.
        """
        self._hub = hub
        self._gas = gas
        self._copies = copies
        self._delivery = delivery
        self._meter = meter
        self._factory = factory
        self._has_firmware = has_firmware
        self._report_event = report_event
        self._price_listeners = PriceListeners(hub.app, MIRROR_ENDPOINT)
        metering = hub.app.core.add_client(ENDPOINT, "metering")
        metering.handle("request_mirror", self._on_request)
        metering.handle("remove_mirror", self._on_remove)
        if not gas.is_removed:
            self._add_clusters()

    # --- comes and goes -----------------------------------------------------------------------------------

    def _on_request(self, fields: Values, context: CommandContext) -> Answer:
        if not self._is_meter(context):
            return reply("request_mirror_response", endpoint_id=_NO_ENDPOINT)
        self.create()
        return reply("request_mirror_response", endpoint_id=MIRROR_ENDPOINT)

    def _on_remove(self, fields: Values, context: CommandContext) -> Answer:
        if not self._is_meter(context):
            return Status.NOT_AUTHORIZED
        self.take_away()
        return reply("mirror_removed", endpoint_id=MIRROR_ENDPOINT)

    def create(self) -> None:
        """Nothing where there is one."""
        if self._gas.is_removed:
            self._gas.create()
            self._add_clusters()
            self._hub.show_endpoints()

    def take_away(self) -> None:
        """Durable on return; nothing where there is none."""
        if self._gas.is_removed:
            return
        self._delivery.give_up()
        self._copies.forget()
        self._hub.app.core.remove_endpoint(MIRROR_ENDPOINT)
        self._hub.show_endpoints()
        self._hub.nvm.commit()

    def remove(self) -> None:
        """Of the hub's own accord. A meter that sleeps finds out when its next report is not answered."""
        self.take_away()
        short_address = None if self._meter is None else self._hub.port.known_short(self._meter)
        if short_address is not None:
            self._hub.app.command(
                short_address, ENDPOINT, "metering", "mirror_removed", endpoint_id=MIRROR_ENDPOINT
            )

    def _is_meter(self, context: CommandContext) -> bool:
        return self._meter is not None and context.source_eui64 == self._meter

    # --- clusters -----------------------------------------------------------------------------------------

    def _add_clusters(self) -> None:
        core = self._hub.app.core
        for cluster in ("metering", "prepayment", "meter_data"):
            server = core.add_server(MIRROR_ENDPOINT, cluster)
            server.update(**self._gas.values.get(cluster, {}))
            client = core.add_client(MIRROR_ENDPOINT, cluster)
            client.handle_reports(partial(self._on_report, cluster))
            if cluster == "metering":
                client.handle("configure_mirror", lambda _fields, _context: Status.SUCCESS)
        core.obtain_client(MIRROR_ENDPOINT, "events").handle("publish_event", self._on_event)
        CopyClusters(
            core,
            MIRROR_ENDPOINT,
            self._copies,
            is_gas_meter=self._is_meter,
            tenancy_s=lambda: self._gas.values.get("meter_data", {}).get("tenancy_from") or 0,
        )
        core.obtain_client(MIRROR_ENDPOINT, "price").handle("publish_price", self._on_price)
        core.obtain_server(MIRROR_ENDPOINT, "price").handle("get_current_price", self._get_price)
        factory = self._factory
        core.add_server(MIRROR_ENDPOINT, "device_information").update(
            firmware_version=factory.firmware_version, model=factory.model, manufacturer=factory.manufacturer
        )
        for cluster, command in (
            ("prepayment", "consumer_top_up"),
            ("prepayment", "select_available_emergency_credit"),
            ("metering", "local_change_supply"),
        ):
            core.server(MIRROR_ENDPOINT, cluster).handle(
                command, partial(self._delivery.pass_on, MIRROR_ENDPOINT, cluster, command)
            )

    def _on_report(self, cluster: str, values: Values, context: CommandContext) -> None:
        if not self._is_meter(context):
            return
        snapshot_s = values.get("reading_snapshot_time") or values.get("credit_remaining_timestamp")
        meter_utc_us = None if snapshot_s is None else from_zigbee_s(snapshot_s)
        self._gas.report(cluster, values, meter_utc_us=meter_utc_us)
        app = self._hub.app
        app.core.server(MIRROR_ENDPOINT, cluster).update(**self._gas.values[cluster])
        self._delivery.on_report(cluster)
        if cluster == "metering" and context.source is not None:  # the last of a waking's reports
            self._delivery.settle_expired()
            app.command(
                context.source,
                ENDPOINT,
                "metering",
                "mirror_report_attribute_response",
                source_endpoint=MIRROR_ENDPOINT,
                notification_scheme=1,
                notification_flags=[int(self._flags())],
            )
            self._delivery.on_awake()

    def _flags(self) -> NotificationFlags:
        flags = self._gas.flags
        return flags | NotificationFlags.NEW_OTA_FIRMWARE if self._has_firmware() else flags

    def _on_price(self, fields: Values, context: CommandContext) -> Answer:
        if not self._is_meter(context):
            return Status.NOT_AUTHORIZED
        self._gas.report("price", fields, meter_utc_us=None)
        self._price_listeners.tell(fields)
        return Status.SUCCESS

    def _get_price(self, fields: Values, context: CommandContext) -> Answer:
        self._price_listeners.remember(context)
        price = self._gas.values.get("price")
        return Status.NOT_FOUND if price is None else reply("publish_price", **price)

    def _on_event(self, fields: Values, context: CommandContext) -> Answer:
        """An alert of the gas meter, by way of the gas proxy."""
        if self._meter is None or not self._is_meter(context):
            return Status.NOT_AUTHORIZED
        frame = command_frame(
            EVENTS, "publish_event", dict(fields), sender=Side.SERVER, sequence=context.sequence
        )
        is_taken = self._report_event(self._meter, MIRROR_ENDPOINT, EVENTS.cluster_id, frame)
        return Status.SUCCESS if is_taken else Status.FAILURE
