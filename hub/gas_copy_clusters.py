"""The gas proxy's copies on the HAN: takes what the gas meter publishes, answers who asks its mirror.

The same questions as a meter answers, on the mirror's endpoint, so that who asks need not know which it is:
the head end sees all, the household what was used and paid since its tenancy began.
Source: SE 1.2 07-5356-19, D.3.3, D.4.2, D.7, D.9, D.11; D.3.4.3 for the mirror.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from smets1.errors import RefusedError
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.log_pages import EventRow, SampleSource, Snapshot
from smets1.firmware.zcl.log_server import LogServer
from smets1.firmware.zcl.server import Answer, CommandContext, Handler, Via
from smets1.firmware.zcl.status import Status
from smets1.firmware.zcl.tariff_server import TARIFF_PARTS, TariffServer
from smets1.hub.gas_copies import GasCopies

__all__ = ["CopyClusters"]


class CopyClusters:
    """Binds the copies to the mirror's endpoint, where metering and prepayment are on both sides already.

    Implements `Logs`.
    """

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
        LogServer(
            core,
            endpoint,
            self,
            is_from_head_end=lambda context: context.via is Via.WAN,
            tenancy_s=tenancy_s,
        )
        for cluster, command in TARIFF_PARTS:
            part = self._from_meter_only(partial(self._take_tariff_part, command))
            core.obtain_client(endpoint, cluster).handle(command, part)
        TariffServer(core, endpoint, lambda: [copies.tariff_parts])
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

    def _take_tariff_part(self, command: str, values: Values) -> bool:
        return self._copies.take_tariff_part(command, values)

    def _take_events(self, values: Values) -> bool:
        return self._copies.take_events(values)

    # --- Logs: to who asks --------------------------------------------------------------------------

    def sample_source(self, sample_id: int, sample_type: int, /) -> SampleSource:
        source = self._copies.sample_source(sample_id, sample_type)
        if source is None:
            raise RefusedError(Status.NOT_FOUND, "a gas meter has no such log")
        return source

    def snapshots_of(self, cluster: str, /) -> list[Snapshot]:
        return self._copies.snapshots[cluster]

    def top_up_rows(self) -> list[dict[str, Any]]:
        return self._copies.top_ups

    def debt_rows(self) -> list[dict[str, Any]]:
        return self._copies.debts

    def event_rows(self) -> list[EventRow]:
        return self._copies.events
