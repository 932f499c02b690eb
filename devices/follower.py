"""What follows the meters over the HAN: joins, gets a key with the electricity meter, listens and asks.

Live electricity values come as attribute reports, which the follower asks the meter for; accounts and
gas are read, the gas meter's from its mirror in the hub. A meter that falls silent is asked anew.
Displays and consumer access devices are followers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from smets1.devices.days import DAY_US, HOUR_US, SECOND_US
from smets1.devices.display import (
    ACCOUNT_ATTRIBUTES,
    GAS_METER_ATTRIBUTES,
    METER_ATTRIBUTES,
    POWER_THRESHOLDS,
    SILENT_US,
    DisplayModel,
)
from smets1.errors import NoAnswerError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.civil import from_zigbee_s
from smets1.firmware.device import ENDPOINT, TROUBLE, Board, Device, Factory
from smets1.firmware.tasks import together
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.clusters.price import signed_amount
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, CommandContext
from smets1.firmware.zcl.status import Status
from smets1.hardware.radio import COORDINATOR

__all__ = ["MIRROR_ENDPOINT", "Follower"]

MIRROR_ENDPOINT: Final = 2
_GAS_EVERY_US: Final = 300 * SECOND_US
_RETRY_S: Final = 30.0
_SILENT_REPORTS: Final = 4
_HOUR_S: Final = 3600
_TENANCY: Final = "change_of_tenancy_update_date_time"
_MANAGEMENT: Final = (_TENANCY, *POWER_THRESHOLDS)
_REPORTING: Final = tuple(cluster_named(name).cluster_id for name in ("metering", "prepayment"))
"""Clusters with values that are reported whether they change or not: silence tells."""

_LIVE_METER: Final = (
    "current_summation_delivered",
    "instantaneous_demand",
    "supply_status",
    "current_day_consumption_delivered",
    "current_week_consumption_delivered",
    "current_month_consumption_delivered",
)
_SETTINGS: Final = (
    "payment_control_configuration",
    "emergency_credit_remaining",
    "accumulated_debt",
    "emergency_credit_limit_allowance",
)
"""What changes seldom: reported when it does."""
_LIVE_ACCOUNT: Final = tuple(name for name in ACCOUNT_ATTRIBUTES if name not in _SETTINGS)


class Follower(Device):
    """What displays and a CAD have in common: `model` holds what was heard."""

    is_ppmid = False

    def __init__(
        self,
        factory: Factory,
        board: Board,
        *,
        esme: Eui64 | None,
        has_gas: bool,
        report_interval_us: int = 30 * SECOND_US,
    ) -> None:
        """`esme`: the electricity meter to follow; `has_gas`: whether to read the mirror."""
        super().__init__(factory, board)
        silent_us = max(SILENT_US, _SILENT_REPORTS * report_interval_us)
        self.model = DisplayModel(is_ppmid=self.is_ppmid, has_gas=has_gas, silent_us=silent_us, nvm=self.nvm)
        self._has_doubts = False  # the meter may lack its half of our partner key, or be at another address
        self._esme = esme
        self._report_interval_us = report_interval_us
        self._reported_us: dict[int, int] = {}  # by cluster id: when the electricity meter last did
        self._gas_report_s: int | None = None  # of which all has been read
        self._gas_price_due_us = 0  # until then the mirror tells of a new price by itself
        core = self.app.core
        for cluster in ("metering", "prepayment"):
            core.add_client(ENDPOINT, cluster).handle_reports(self._on_report)
        core.add_client(ENDPOINT, "device_management").handle_reports(self._on_management)
        core.add_client(ENDPOINT, "price").handle("publish_price", self._on_price)
        core.add_client(ENDPOINT, "time")

    def on_heard(self) -> None:
        """Something was heard of a meter."""

    # --- what it does -------------------------------------------------------------------------------

    async def behave(self) -> None:
        works = [] if self._esme is None else [self._follow_electricity(self._esme)]
        if self.model.has_gas:
            works.append(self._follow_gas())
        await together(*works)

    async def _follow_electricity(self, esme: Eui64) -> None:
        while True:
            try:
                meter = await self._meet(esme)
                await self._read_electricity(meter)
                await self._ask_for_reports(esme, meter)
                await self._watch(meter)
            except TROUBLE as error:
                self.log.info("electricity meter: %s", error)
                self._has_doubts = isinstance(error, NoAnswerError)
                await asyncio.sleep(_RETRY_S * (1 + self.rng.random()))

    async def _meet(self, eui64: Eui64) -> int:
        """The short address of a device with which a link key is shared from now on."""
        # Announcements are not proved by anything: one may have lied about where the meter is.
        short_address = await self.port.find_short(eui64, anew=self._has_doubts)
        key = self.port.link_key(eui64)
        if key is None or self._has_doubts:
            # Nobody acknowledges a Transport-Key: the trust centre's to the meter may have been lost.
            await self.port.request_partner_key(eui64)
            self._has_doubts = False
        return short_address

    async def _read_electricity(self, meter: int) -> None:
        readings = self.model.electricity
        for cluster, names in (("metering", METER_ATTRIBUTES), ("prepayment", ACCOUNT_ATTRIBUTES)):
            values = await self.app.read(meter, ENDPOINT, cluster, names)
            readings.take(values, utc_us=self.civil.utc_us())
        settings = await self.app.read(meter, ENDPOINT, "device_management", _MANAGEMENT)
        self._take_management(settings)
        await self._refresh_electricity(meter)

    async def _refresh_electricity(self, meter: int) -> None:
        """What is not reported, once an hour: a meter that has restarted tells nobody of a new price."""
        price = await self.app.request(meter, ENDPOINT, "price", "get_current_price", command_options=0)
        self.model.electricity.price_mp_per_kwh = signed_amount(price["price"])
        self.on_heard()

    async def _ask_for_reports(self, esme: Eui64, meter: int) -> None:
        longest_s = max(1, self._report_interval_us // SECOND_US)
        wanted: dict[str, dict[str, Any]] = {
            "metering": {name: (min(5, longest_s), longest_s, 0) for name in _LIVE_METER},
            "prepayment": {name: (min(5, longest_s), longest_s, 0) for name in _LIVE_ACCOUNT}
            | {name: (min(5, longest_s), _HOUR_S, 0) for name in _SETTINGS},
            "device_management": {name: (min(5, longest_s), _HOUR_S, 0) for name in _MANAGEMENT},
        }
        for cluster, attributes in wanted.items():
            await self._bind(esme, cluster)
            await self.app.configure_reporting(meter, ENDPOINT, cluster, attributes)

    async def _bind(self, esme: Eui64, cluster: str) -> None:
        """Reports follow the meter's binding table, which outlives its power cuts."""
        try:
            await self.port.bind(esme, ENDPOINT, cluster_named(cluster).cluster_id, ENDPOINT)
        except RefusedError as error:  # a full table: reports come to who configured them all the same
            self.log.info("%s is not bound: %s", cluster, error)

    async def _watch(self, meter: int) -> None:
        """Returns when a cluster of the meter has been silent for several reports, or a day is over."""
        silent_us = max(_SILENT_REPORTS * self._report_interval_us, 60 * SECOND_US)
        now_us = self.scheduler.now_us()
        until_us, refresh_us = now_us + DAY_US, now_us + HOUR_US
        self._reported_us = dict.fromkeys(_REPORTING, now_us)
        while now_us < until_us:
            await asyncio.sleep(silent_us / 1e6)
            now_us = self.scheduler.now_us()
            if now_us - min(self._reported_us.values()) > silent_us:
                return
            if now_us >= refresh_us:
                await self._refresh_electricity(meter)
                refresh_us = now_us + HOUR_US

    def _on_report(self, values: Values, context: CommandContext) -> None:
        if context.source_eui64 == self._esme:
            self._reported_us[context.cluster_id] = self.scheduler.now_us()
            self.model.electricity.take(values, utc_us=self.civil.utc_us())
            self.on_heard()

    def _on_price(self, fields: Values, context: CommandContext) -> Answer:
        """A new price, unasked: from the electricity meter, or from the gas meter's mirror."""
        is_mirror = context.source == COORDINATOR and context.source_endpoint == MIRROR_ENDPOINT
        if context.source_eui64 == self._esme:
            self.model.electricity.price_mp_per_kwh = signed_amount(fields["price"])
        elif is_mirror and self.model.has_gas:
            self.model.gas.price_mp_per_kwh = signed_amount(fields["price"])
        else:
            return Status.NOT_AUTHORIZED
        self.on_heard()
        return Status.SUCCESS

    def _on_management(self, values: Values, context: CommandContext) -> None:
        if context.source_eui64 == self._esme:
            self._take_management(values)

    def _take_management(self, values: Mapping[str, Any]) -> None:
        """When the household changed, and where the traffic light changes."""
        if _TENANCY in values:
            self.model.on_tenancy(int(values[_TENANCY] or 0))
        self.model.electricity.values.update(
            {name: values[name] for name in POWER_THRESHOLDS if name in values}
        )

    # --- gas ------------------------------------------------------------------------------------------

    async def _follow_gas(self) -> None:
        while True:
            try:
                await self.read_gas()
            except TROUBLE as error:
                self.log.info("gas mirror: %s", error)
                self._gas_price_due_us = 0  # the hub may have started anew: then nobody is on its list
            await asyncio.sleep(_GAS_EVERY_US / 1e6)

    async def read_gas(self) -> None:
        """Read the mirror now. Raises NoAnswerError, RefusedError."""
        read = partial(self.app.read, COORDINATOR, MIRROR_ENDPOINT)
        values = await read("metering", GAS_METER_ATTRIBUTES)
        read_s = values.get("reading_snapshot_time")
        if read_s is None:
            return  # the mirror has nothing from the meter yet
        if read_s != self._gas_report_s:
            values |= await read("prepayment", ACCOUNT_ATTRIBUTES)
            await self.read_gas_settings()
            self._gas_report_s = read_s
        self.model.gas.take(values, utc_us=from_zigbee_s(read_s))
        if self.scheduler.now_us() >= self._gas_price_due_us:
            await self._ask_gas_price()
        self.on_heard()

    async def read_gas_settings(self) -> None:
        """Once for each report of the gas meter: in between its mirror does not change."""
        with suppress(RefusedError):  # a hub of another make may not tell
            values = await self.app.read(COORDINATOR, MIRROR_ENDPOINT, "device_management", (_TENANCY,))
            if _TENANCY in values:
                self.model.on_tenancy(int(values[_TENANCY] or 0), is_gas=True)

    async def _ask_gas_price(self) -> None:
        """Who has asked is told of each new price: asking now and then is enough, as of electricity."""
        price = await self.app.request(
            COORDINATOR, MIRROR_ENDPOINT, "price", "get_current_price", command_options=0
        )
        self.model.gas.price_mp_per_kwh = signed_amount(price["price"])
        self._gas_price_due_us = self.scheduler.now_us() + HOUR_US
