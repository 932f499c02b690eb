"""The gas proxy's copies on the HAN: takes what the gas meter publishes, answers who asks its mirror.

The same questions as a meter answers, on the mirror's endpoint, so that who asks need not know which it is:
the head end sees all, the household what was used and paid since its tenancy began.
Source: SE 1.2 07-5356-19, D.3.3, D.7, D.11; D.3.4.3 for the mirror.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from smets1.errors import RefusedError
from smets1.firmware.sample_log import HALF_HOUR_US
from smets1.firmware.zcl.clusters.snapshots import SampleId
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.log_pages import event_page, pick_snapshot, sample_page, since
from smets1.firmware.zcl.server import Answer, CommandContext, Handler, Via, reply
from smets1.firmware.zcl.status import Status
from smets1.hub.gas_copies import GasCopies

__all__ = ["CopyClusters"]

_NETWORK_SLOT_US: Final = 360_000_000
_DEBT_3: Final = 0x02  # the payment-based register is the third
_ALL_DEBTS: Final = 0xFF


class CopyClusters:
    """Binds the copies to the mirror's endpoint, where metering and prepayment are on both sides already."""

    def __init__(
        self,
        core: ZclCore,
        endpoint: int,
        copies: GasCopies,
        *,
        is_gas_meter: Callable[[CommandContext], bool],
        tenancy_s: Callable[[], int],
    ) -> None:
        """`tenancy_s`: as the meter has told it, in seconds since 2000; 0: nothing is another household's."""
        self._copies = copies
        self._tenancy_s = tenancy_s
        self._is_gas_meter = is_gas_meter
        metering, prepayment = core.client(endpoint, "metering"), core.client(endpoint, "prepayment")
        events = core.obtain_client(endpoint, "events")
        for client, command, take in (
            (metering, "get_sampled_data_response", self._take_samples),
            (metering, "publish_snapshot", self._take_snapshot),
            (prepayment, "publish_prepay_snapshot", self._take_prepay_snapshot),
            (prepayment, "publish_top_up_log", self._take_top_ups),
            (prepayment, "publish_debt_log", self._take_debts),
            (events, "publish_event_log", self._take_events),
        ):
            client.handle(command, self._from_meter_only(take))
        server = core.server(endpoint, "metering")
        server.handle("get_sampled_data", self._get_sampled_data)
        server.handle("get_snapshot", self._get_snapshot)
        server = core.server(endpoint, "prepayment")
        server.handle("get_prepay_snapshot", self._get_prepay_snapshot)
        server.handle("get_top_up_log", self._get_top_up_log)
        server.handle("get_debt_repayment_log", self._get_debt_repayment_log)
        core.obtain_server(endpoint, "events").handle("get_event_log", self._get_event_log)
        # What displays follow at the electricity meter they find here for gas.
        core.obtain_server(endpoint, "device_management").bind(
            "change_of_tenancy_update_date_time", tenancy_s
        )

    def _from_meter_only(self, take: Callable[[Values], bool]) -> Handler:
        def handle(fields: Values, context: CommandContext) -> Answer:
            if not self._is_gas_meter(context):
                return Status.NOT_AUTHORIZED
            return Status.SUCCESS if take(fields) else Status.INVALID_FIELD

        return handle

    # --- from the meter ---------------------------------------------------------------------------

    def _take_samples(self, values: Values) -> bool:
        return self._copies.take_samples(values)

    def _take_snapshot(self, values: Values) -> bool:
        return self._copies.take_snapshot("metering", values)

    def _take_prepay_snapshot(self, values: Values) -> bool:
        return self._copies.take_snapshot("prepayment", values)

    def _take_top_ups(self, values: Values) -> bool:
        self._copies.take_top_ups(values)
        return True

    def _take_debts(self, values: Values) -> bool:
        self._copies.take_debts(values)
        return True

    def _take_events(self, values: Values) -> bool:
        return self._copies.take_events(values)

    # --- to who asks ------------------------------------------------------------------------------

    def _since_tenancy(self, fields: Values, name: str, context: CommandContext) -> Values:
        """What the head end asks stays as it is."""
        return fields if context.via is Via.WAN else since(fields, name, self._tenancy_s())

    def _get_sampled_data(self, fields: Values, context: CommandContext) -> Answer:
        source = self._copies.sample_source(fields["sample_id"], fields["sample_type"])
        if source is None:
            raise RefusedError(Status.NOT_FOUND, "a gas meter has no such log")
        fields = self._since_tenancy(fields, "earliest_sample_time", context)
        interval_us = _NETWORK_SLOT_US if fields["sample_id"] == SampleId.NETWORK else HALF_HOUR_US
        return reply("get_sampled_data_response", **sample_page(fields, source, interval_us=interval_us))

    def _get_snapshot(self, fields: Values, context: CommandContext) -> Answer:
        snapshots = self._copies.snapshots["metering"]
        fields = self._since_tenancy(fields, "earliest_start_time", context)
        found = pick_snapshot(fields, snapshots, of_commands="total_commands")
        return reply("publish_snapshot", **found)

    def _get_prepay_snapshot(self, fields: Values, context: CommandContext) -> Answer:
        snapshots = self._copies.snapshots["prepayment"]
        fields = self._since_tenancy(fields, "earliest_start_time", context)
        found = pick_snapshot(fields, snapshots, of_commands="total_number_of_commands")
        return reply("publish_prepay_snapshot", **found)

    def _get_top_up_log(self, fields: Values, context: CommandContext) -> Answer:
        rows = self._rows(self._copies.top_ups, "top_up_time", fields, context)
        count = fields["number_of_records"] or len(rows)
        return reply("publish_top_up_log", command_index=0, total_number_of_commands=1, top_ups=rows[:count])

    def _get_debt_repayment_log(self, fields: Values, context: CommandContext) -> Answer:
        if fields["debt_type"] not in (_DEBT_3, _ALL_DEBTS):
            raise RefusedError(Status.NOT_FOUND, "payments of the payment-based debt alone are kept")
        rows = self._rows(self._copies.debts, "collection_time", fields, context)
        count = fields["number_of_debts"] or len(rows)
        return reply("publish_debt_log", command_index=0, total_number_of_commands=1, debts=rows[:count])

    def _rows(
        self, rows: list[dict[str, Any]], time: str, fields: Values, context: CommandContext
    ) -> list[dict[str, Any]]:
        first_s = self._since_tenancy({time: 0}, time, context)[time]
        return [row for row in rows if first_s <= row[time] <= fields["latest_end_time"]]

    def _get_event_log(self, fields: Values, context: CommandContext) -> Answer:
        return reply("publish_event_log", **event_page(fields, self._copies.events))
