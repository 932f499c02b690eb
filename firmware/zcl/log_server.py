"""What is asked of a meter's logs, answered: by a meter of its own, by the gas proxy of its copies of one.

The head end sees all of them; who asks from within the home what was used and paid from the change of tenancy
on. Which part of a log goes into one answer is in `log_pages.py`.

Source: SE 1.2 07-5356-19, D.3.3 (GetProfile, GetSampledData, GetSnapshot), D.7 (GetPrepaySnapshot,
GetTopUpLog, GetDebtRepaymentLog), D.11 (GetEventLog).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from smets1.errors import RefusedError
from smets1.firmware.sample_log import HALF_HOUR_US
from smets1.firmware.zcl.clusters.metering import ProfileStatus
from smets1.firmware.zcl.clusters.snapshots import SampleId, SampleType
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.log_pages import (
    PERIODS_A_PAGE,
    EventRow,
    SampleSource,
    Snapshot,
    event_page,
    no_profile,
    pick_snapshot,
    profile_page,
    sample_page,
    since,
)
from smets1.firmware.zcl.server import Answer, CommandContext, reply
from smets1.firmware.zcl.status import Status

__all__ = ["DEBT_3", "LogServer", "Logs", "debt_log", "interval_us", "top_up_log"]

DEBT_3: Final = 0x02
"""Debt type of the third register, the payment-based one."""
_ALL_DEBTS: Final = 0xFF
_CHANNELS: Final = (
    SampleType.CONSUMPTION_DELIVERED,
    SampleType.CONSUMPTION_RECEIVED,
)  # as GetProfile has them
_NETWORK_SLOT_US: Final = 360_000_000


class Logs(Protocol):
    """One meter's logs as they stand now."""

    def sample_source(self, sample_id: int, sample_type: int, /) -> SampleSource:
        """The log that GetSampledData names. Raises RefusedError NOT_FOUND."""

    def snapshots_of(self, cluster: str, /) -> Sequence[Snapshot]:
        """Of "metering" or "prepayment"."""

    def top_up_rows(self) -> Sequence[Values]:
        """Of PublishTopUpLog, latest first."""

    def debt_rows(self) -> Sequence[Values]:
        """Of PublishDebtLog, latest first: payments of the payment-based debt."""

    def event_rows(self) -> Sequence[EventRow]:
        """In the order of their logging."""


def interval_us(sample_id: int) -> int:
    """Between two samples of a log."""
    return _NETWORK_SLOT_US if sample_id == SampleId.NETWORK else HALF_HOUR_US


def top_up_log(rows: Sequence[Values]) -> Values:
    """The fields of a PublishTopUpLog."""
    return {"command_index": 0, "total_number_of_commands": 1, "top_ups": list(rows)}


def debt_log(rows: Sequence[Values]) -> Values:
    """The fields of a PublishDebtLog."""
    return {"command_index": 0, "total_number_of_commands": 1, "debts": list(rows)}


class LogServer:
    """Binds logs to an endpoint, where the servers of metering and prepayment are already."""

    def __init__(
        self,
        core: ZclCore,
        endpoint: int,
        logs: Logs,
        *,
        is_from_head_end: Callable[[CommandContext], bool],
        tenancy_s: Callable[[], int],
    ) -> None:
        """`tenancy_s()`, in seconds since 2000: what is later is the present household's.

        It is asked for after the logs are, which may bring a meter to the present.
        """
        self._logs = logs
        self._tenancy_s = tenancy_s
        self._is_from_head_end = is_from_head_end
        metering, prepayment = core.server(endpoint, "metering"), core.server(endpoint, "prepayment")
        metering.set("max_number_of_periods_delivered", PERIODS_A_PAGE)
        metering.handle("get_profile", self._get_profile)
        metering.handle("get_sampled_data", self._get_sampled_data)
        metering.handle("get_snapshot", self._get_snapshot)
        prepayment.handle("get_prepay_snapshot", self._get_prepay_snapshot)
        prepayment.handle("get_top_up_log", self._get_top_up_log)
        prepayment.handle("get_debt_repayment_log", self._get_debt_repayment_log)
        core.obtain_server(endpoint, "events").handle("get_event_log", self._get_event_log)

    def _since_tenancy(self, fields: Values, name: str, context: CommandContext) -> Values:
        """What the head end asks stays as it is."""
        return fields if self._is_from_head_end(context) else since(fields, name, self._tenancy_s())

    def _get_profile(self, fields: Values, context: CommandContext) -> Answer:
        """What a display of any make asks for: half hours of what came in, or went out."""
        channel = fields["interval_channel"]
        problem = ProfileStatus.UNDEFINED_INTERVAL_CHANNEL_REQUESTED
        try:
            if channel in _CHANNELS:
                problem = ProfileStatus.INTERVAL_CHANNEL_NOT_SUPPORTED
                source = self._logs.sample_source(SampleId.PROFILE, channel)
                earliest_s = self._since_tenancy({"earliest": 0}, "earliest", context)["earliest"]
                page = profile_page(fields, source, interval_us=HALF_HOUR_US, earliest_s=earliest_s)
                return reply("get_profile_response", **page)
        except RefusedError:
            pass  # a gas meter sends nothing out
        return reply("get_profile_response", **no_profile(fields, problem))

    def _get_sampled_data(self, fields: Values, context: CommandContext) -> Answer:
        source = self._logs.sample_source(fields["sample_id"], fields["sample_type"])
        fields = self._since_tenancy(fields, "earliest_sample_time", context)
        page = sample_page(fields, source, interval_us=interval_us(fields["sample_id"]))
        return reply("get_sampled_data_response", **page)

    def _get_snapshot(self, fields: Values, context: CommandContext) -> Answer:
        snapshots = self._logs.snapshots_of("metering")
        fields = self._since_tenancy(fields, "earliest_start_time", context)
        return reply("publish_snapshot", **pick_snapshot(fields, snapshots, of_commands="total_commands"))

    def _get_prepay_snapshot(self, fields: Values, context: CommandContext) -> Answer:
        snapshots = self._logs.snapshots_of("prepayment")
        fields = self._since_tenancy(fields, "earliest_start_time", context)
        found = pick_snapshot(fields, snapshots, of_commands="total_number_of_commands")
        return reply("publish_prepay_snapshot", **found)

    def _get_top_up_log(self, fields: Values, context: CommandContext) -> Answer:
        rows = self._between(self._logs.top_up_rows(), "top_up_time", fields, context)
        return reply("publish_top_up_log", **top_up_log(rows[: fields["number_of_records"] or None]))

    def _get_debt_repayment_log(self, fields: Values, context: CommandContext) -> Answer:
        if fields["debt_type"] not in (DEBT_3, _ALL_DEBTS):
            raise RefusedError(Status.NOT_FOUND, "payments of the payment-based debt alone are kept")
        rows = self._between(self._logs.debt_rows(), "collection_time", fields, context)
        return reply("publish_debt_log", **debt_log(rows[: fields["number_of_debts"] or None]))

    def _between(
        self, rows: Sequence[Values], time: str, fields: Values, context: CommandContext
    ) -> list[Values]:
        """Up to the latest time asked for; neither question has an earliest."""
        first_s = self._since_tenancy({time: 0}, time, context)[time]
        return [row for row in rows if first_s <= row[time] <= fields["latest_end_time"]]

    def _get_event_log(self, fields: Values, context: CommandContext) -> Answer:
        return reply("publish_event_log", **event_page(fields, self._logs.event_rows()))
