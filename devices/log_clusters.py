"""A meter's logs on the HAN: profiles, snapshots, top-ups, debt payments, events.

Beside `meter_clusters.py`, which shows what a meter is at this moment. What is asked of them is answered by
`firmware/zcl/log_server.py`; the head end alone clears the event log.

Source: SE 1.2 07-5356-19, D.3.3 (GetSampledData, GetSnapshot), D.7 (GetPrepaySnapshot, GetTopUpLog,
GetDebtRepaymentLog), D.11 (Events); DUIS services 3.3, 4.4, 4.6.1, 4.8, 4.10, 6.13.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from smets1.devices.meter import ElectricityMeterCore, GasMeterCore, MeterCore
from smets1.devices.published import event_rows, metering_snapshots, prepay_snapshots
from smets1.devices.tariff import floor_mp
from smets1.errors import RefusedError
from smets1.firmware.civil import CivilClock, from_zigbee_s, zigbee_s
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.clusters.snapshots import SampleId, SampleType
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.log_pages import EventRow, SampleSource, Slots, Snapshot
from smets1.firmware.zcl.log_server import DEBT_3, LogServer
from smets1.firmware.zcl.server import Answer, CommandContext, reply
from smets1.firmware.zcl.status import Status

__all__ = ["LogClusters", "debt_rows", "sample_source", "top_up_rows"]

_ENDPOINT: Final = 1
_VOLTAGES_A_PAGE: Final = 128
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

    def last_us(self, until_utc_us: int, /) -> int | None:
        return self.lived.last_us(until_utc_us)

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


def top_up_rows(meter: MeterCore) -> list[Values]:
    """Of PublishTopUpLog: the last credits, latest first. Their codes are not kept."""
    return [
        {"top_up_code": b"", "top_up_amount": top_up.amount_mp, "top_up_time": zigbee_s(top_up.utc_us)}
        for top_up in meter.account.top_ups
    ]


def debt_rows(meter: MeterCore) -> list[Values]:
    """Of PublishDebtLog: payments of the payment-based debt, latest first; what was left then is not kept."""
    return [
        {
            "collection_time": zigbee_s(payment.utc_us),
            "amount_collected": floor_mp(payment.amount_fine),
            "debt_type": DEBT_3,
            "outstanding_debt": _NOT_KNOWN,
        }
        for payment in reversed(meter.billing.payments)
    ]


class LogClusters:
    """Binds the logs of one meter core to endpoint 1; `metering` and `prepayment` are there already.

    Implements `Logs`.
    """

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
        LogServer(
            core,
            _ENDPOINT,
            self,
            is_from_head_end=is_from_head_end,
            tenancy_s=lambda: zigbee_s(meter.tenancy_from_us),
        )
        core.server(_ENDPOINT, "events").handle("clear_event_log_request", self._clear_event_log)
        if isinstance(meter, ElectricityMeterCore):
            core.obtain_server(_ENDPOINT, "meter_data").handle("get_voltage_log", self._get_voltage_log)

    def _present(self) -> MeterCore:
        self.meter.advance(self._civil.utc_us())
        return self.meter

    # --- Logs -------------------------------------------------------------------------------------

    def sample_source(self, sample_id: int, sample_type: int, /) -> SampleSource:
        return sample_source(self._present(), sample_id, sample_type)

    def snapshots_of(self, cluster: str, /) -> list[Snapshot]:
        meter = self._present()
        return metering_snapshots(meter) if cluster == "metering" else prepay_snapshots(meter)

    def top_up_rows(self) -> list[Values]:
        return top_up_rows(self._present())

    def debt_rows(self) -> list[Values]:
        return debt_rows(self._present())

    def event_rows(self) -> list[EventRow]:
        return event_rows(self._present())

    # --- what a meter has beside ------------------------------------------------------------------

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
