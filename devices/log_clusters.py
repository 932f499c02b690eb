"""A meter's logs on the HAN: profiles, snapshots, top-ups, debt payments, events.

Beside `meter_clusters.py`, which shows what a meter is at this moment. Who asks from within the home sees
what was used and paid from the change of tenancy on; the head end sees all of it, and it alone clears the
event log.

Source: SE 1.2 07-5356-19, D.3.3 (GetSampledData, GetSnapshot), D.7 (GetPrepaySnapshot, GetTopUpLog,
GetDebtRepaymentLog), D.11 (Events); DUIS services 3.3, 4.4, 4.6.1, 4.8, 4.10, 6.13.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from smets1.devices.gas_flow import SLOT_US
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore, MeterCore
from smets1.devices.published import event_rows, metering_snapshots, prepay_snapshots
from smets1.devices.tariff import floor_mp
from smets1.errors import RefusedError
from smets1.firmware.civil import CivilClock, from_zigbee_s, zigbee_s
from smets1.firmware.sample_log import HALF_HOUR_US
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.clusters.snapshots import SampleId, SampleType
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.log_pages import SampleSource, Slots, event_page, pick_snapshot, sample_page, since
from smets1.firmware.zcl.server import Answer, CommandContext, reply
from smets1.firmware.zcl.status import Status

__all__ = ["LogClusters", "debt_log", "interval_us", "sample_source", "top_up_log"]

_ENDPOINT: Final = 1
_VOLTAGES_A_PAGE: Final = 128
_DEBT_3: Final = 0x02  # the payment-based register is the third
_ALL_DEBTS: Final = 0xFF
_NOT_KNOWN: Final = 0xFFFFFFFF

_PROFILES: Final = {
    SampleType.CONSUMPTION_RECEIVED: "export",
    SampleType.REACTIVE_CONSUMPTION_DELIVERED: "reactive_import",
    SampleType.REACTIVE_CONSUMPTION_RECEIVED: "reactive_export",
}


@dataclass(frozen=True, slots=True)
class _Nothing:
    """What a meter without generation logs of export: nothing, in each half hour that it has lived."""

    lived: SampleSource

    def next_us(self, from_utc_us: int, /) -> int | None:
        return self.lived.next_us(from_utc_us)

    def read(self, start_utc_us: int, end_utc_us: int, /) -> list[tuple[int, int]]:
        return [(end_us, 0) for end_us, _ in self.lived.read(start_utc_us, end_utc_us)]


def sample_source(meter: MeterCore, sample_id: int, sample_type: int) -> SampleSource:
    """The log that GetSampledData names. Raises RefusedError NOT_FOUND."""
    if sample_type == SampleType.CONSUMPTION_DELIVERED:
        if sample_id == SampleId.PROFILE:
            return meter.profile
        if sample_id == SampleId.NETWORK and isinstance(meter, GasMeterCore):
            return Slots(sorted(meter.network.entries))  # a clock set back leaves its order behind
    elif isinstance(meter, ElectricityMeterCore) and sample_id == SampleId.PROFILE:
        name = next((name for kind, name in _PROFILES.items() if kind == sample_type), None)
        if name is not None:
            return meter.profiles.get(name) or _Nothing(meter.profile)
    raise RefusedError(Status.NOT_FOUND, f"no sampled data {sample_id} of type {sample_type}")


def interval_us(sample_id: int) -> int:
    return SLOT_US if sample_id == SampleId.NETWORK else HALF_HOUR_US


def top_up_log(
    meter: MeterCore, *, earliest_s: int = 0, latest_s: int = _NOT_KNOWN, count: int = 0
) -> Values:
    """PublishTopUpLog: the last credits, latest first. Their codes are not kept."""
    rows = [
        {"top_up_code": b"", "top_up_amount": top_up.amount_mp, "top_up_time": zigbee_s(top_up.utc_us)}
        for top_up in meter.account.top_ups
        if earliest_s <= zigbee_s(top_up.utc_us) <= latest_s
    ]
    return {
        "command_index": 0,
        "total_number_of_commands": 1,
        "top_ups": rows[:count] if count else rows,
    }


def debt_log(meter: MeterCore, *, earliest_s: int = 0, latest_s: int = _NOT_KNOWN, count: int = 0) -> Values:
    """PublishDebtLog: payments of the payment-based debt, latest first; what was left then is not kept."""
    rows = [
        {
            "collection_time": zigbee_s(payment.utc_us),
            "amount_collected": floor_mp(payment.amount_fine),
            "debt_type": _DEBT_3,
            "outstanding_debt": _NOT_KNOWN,
        }
        for payment in reversed(meter.billing.payments)
        if earliest_s <= zigbee_s(payment.utc_us) <= latest_s
    ]
    return {"command_index": 0, "total_number_of_commands": 1, "debts": rows[:count] if count else rows}


class LogClusters:
    """Binds the logs of one meter core to endpoint 1; `metering` and `prepayment` are there already."""

    def __init__(
        self,
        core: ZclCore,
        meter: MeterCore,
        civil: CivilClock,
        *,
        is_from_head_end: Callable[[CommandContext], bool],
        on_change: Callable[[], None],
    ) -> None:
        self.meter = meter
        self._civil = civil
        self._is_from_head_end = is_from_head_end
        self._on_change = on_change
        metering, prepayment = core.server(_ENDPOINT, "metering"), core.server(_ENDPOINT, "prepayment")
        metering.handle("get_sampled_data", self._get_sampled_data)
        metering.handle("get_snapshot", self._get_snapshot)
        prepayment.handle("get_prepay_snapshot", self._get_prepay_snapshot)
        prepayment.handle("get_top_up_log", self._get_top_up_log)
        prepayment.handle("get_debt_repayment_log", self._get_debt_repayment_log)
        events = core.obtain_server(_ENDPOINT, "events")
        events.handle("get_event_log", self._get_event_log)
        events.handle("clear_event_log_request", self._clear_event_log)
        if isinstance(meter, ElectricityMeterCore):
            core.obtain_server(_ENDPOINT, "meter_data").handle("get_voltage_log", self._get_voltage_log)

    def _present(self) -> MeterCore:
        self.meter.advance(self._civil.utc_us())
        return self.meter

    def _since_tenancy(self, fields: Values, name: str, context: CommandContext) -> Values:
        """What the head end asks stays as it is."""
        if self._is_from_head_end(context):
            return fields
        return since(fields, name, zigbee_s(self.meter.tenancy_from_us))

    def _get_sampled_data(self, fields: Values, context: CommandContext) -> Answer:
        source = sample_source(self._present(), fields["sample_id"], fields["sample_type"])
        fields = self._since_tenancy(fields, "earliest_sample_time", context)
        page = sample_page(fields, source, interval_us=interval_us(fields["sample_id"]))
        return reply("get_sampled_data_response", **page)

    def _get_snapshot(self, fields: Values, context: CommandContext) -> Answer:
        snapshots = metering_snapshots(self._present())
        fields = self._since_tenancy(fields, "earliest_start_time", context)
        found = pick_snapshot(fields, snapshots, of_commands="total_commands")
        return reply("publish_snapshot", **found)

    def _get_prepay_snapshot(self, fields: Values, context: CommandContext) -> Answer:
        snapshots = prepay_snapshots(self._present())
        fields = self._since_tenancy(fields, "earliest_start_time", context)
        found = pick_snapshot(fields, snapshots, of_commands="total_number_of_commands")
        return reply("publish_prepay_snapshot", **found)

    def _get_top_up_log(self, fields: Values, context: CommandContext) -> Answer:
        log = top_up_log(
            self._present(),
            earliest_s=self._since_tenancy({"from": 0}, "from", context)["from"],
            latest_s=fields["latest_end_time"],
            count=fields["number_of_records"],
        )
        return reply("publish_top_up_log", **log)

    def _get_debt_repayment_log(self, fields: Values, context: CommandContext) -> Answer:
        if fields["debt_type"] not in (_DEBT_3, _ALL_DEBTS):
            raise RefusedError(Status.NOT_FOUND, "payments of the payment-based debt alone are kept")
        log = debt_log(
            self._present(),
            earliest_s=self._since_tenancy({"from": 0}, "from", context)["from"],
            latest_s=fields["latest_end_time"],
            count=fields["number_of_debts"],
        )
        return reply("publish_debt_log", **log)

    def _get_event_log(self, fields: Values, context: CommandContext) -> Answer:
        return reply("publish_event_log", **event_page(fields, event_rows(self._present())))

    def _clear_event_log(self, fields: Values, context: CommandContext) -> Answer:
        """The event log alone: the security log is never cleared, and says that this was."""
        if not self._is_from_head_end(context):
            raise RefusedError(Status.NOT_AUTHORIZED, "the head end alone clears the event log")
        if fields["log_id"] != EventLogId.GENERAL_EVENT_LOG:
            raise RefusedError(Status.INVALID_FIELD, "of all logs the event log alone is ever cleared")
        self.meter.clear_event_log(utc_us=self._civil.utc_us())
        self._on_change()
        return reply("clear_event_log_response", cleared_events_logs=1 << EventLogId.GENERAL_EVENT_LOG)

    def _get_voltage_log(self, fields: Values, context: CommandContext) -> Answer:
        meter = self._present()
        assert isinstance(meter, ElectricityMeterCore), "bound for electricity only"
        earliest_us = from_zigbee_s(fields["earliest_time"])
        count = min(fields["number_of_entries"], _VOLTAGES_A_PAGE)
        entries = [
            {"end_time": zigbee_s(end_us), "average_mv": mv}
            for end_us, mv in meter.voltage.profile
            if end_us >= earliest_us
        ]
        return reply("voltage_log", entries=entries[:count])
