"""The gas meter: battery powered, asleep most of the time, mirrored in the hub.

Every half hour it wakes, reports what it has to its mirror on the hub's gas proxy, and reads in the
mirror's answer whether something waits for it there. While something does it polls fast; then it
sleeps again. Nothing reaches it in between.

Source: SE 1.2 07-5356-19, D.3.4.3 (mirror), D.3.3.2 (notification flags).
"""

from __future__ import annotations

import asyncio
from typing import Final

from smets1.devices.authorisation import KeyConfirmation
from smets1.devices.display import ACCOUNT_ATTRIBUTES
from smets1.devices.gas_feed import GasFeed
from smets1.devices.meter import GasMeterCore
from smets1.devices.meter_device import MeterDevice
from smets1.devices.supply import SupplyState
from smets1.devices.tokens import TopUpDesk, TopUpResult
from smets1.errors import DecodeError, NoAnswerError, RefusedError
from smets1.firmware.device import ENDPOINT, TROUBLE, Board, Factory
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.clusters.metering import METERING, NotificationFlags, NotificationScheme
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.frame import ZclHeader, read_command
from smets1.firmware.zcl.server import Answer, CommandContext
from smets1.firmware.zcl.status import FrameType, GeneralCommand, Side, Status
from smets1.firmware.zcl.types import Value
from smets1.hardware.radio import COORDINATOR, ApsIndication

__all__ = ["FAST_POLL_US", "WAKE_US", "Gsme"]

WAKE_US: Final = 1_800_000_000
FAST_POLL_US: Final = 500_000
_IDLE_S: Final = 4.0
"""Awake with flags set, this long without a command ends the waking."""
_LONGEST_AWAKE_US: Final = 120_000_000
_MIRROR_KEY: Final = "gsme/mirror"
_NO_MIRROR: Final = 0xFFFF
_UNTOLD: Final = object()

_METER_REPORT: Final = (
    "current_summation_delivered",
    "reading_snapshot_time",
    "supply_status",
    "status",
    "site_id",
    "remaining_battery_life",
    "unit_of_measure",
    "multiplier",
    "divisor",
    "summation_formatting",
    "instantaneous_demand",
    "current_day_consumption_delivered",
    "current_week_consumption_delivered",
    "current_month_consumption_delivered",
    "current_day_alternative_consumption_delivered",
    "current_week_alternative_consumption_delivered",
    "current_month_alternative_consumption_delivered",
)
_ACCOUNT_REPORT: Final = (
    *ACCOUNT_ATTRIBUTES,
    "credit_remaining_timestamp",
    "debt_amount_1",
    "debt_amount_2",
    "debt_amount_3",
    "emergency_credit_threshold",
    "low_credit_warning_level",
)


class Gsme(MeterDevice):
    """A Secure gas meter."""

    meter: GasMeterCore

    def __init__(
        self,
        factory: Factory,
        board: Board,
        *,
        meter: GasMeterCore,
        desk: TopUpDesk,
        sua_key: bytes,
        wake_us: int = WAKE_US,
        engineering_pin: str = "",
        mpxn: str = "",
    ) -> None:
        self._report_due = asyncio.Event()
        super().__init__(
            factory,
            board,
            meter=meter,
            desk=desk,
            sua_key=sua_key,
            engineering_pin=engineering_pin,
            mpxn=mpxn,
        )
        self._wake_us = wake_us
        self._flags = 0
        self._flags_came = asyncio.Event()
        self._command_count = 0  # what the hub has asked, answers to reports apart
        self._pushes: list[KeyConfirmation] = []
        stored = self.nvm.get(_MIRROR_KEY)
        self.mirror_endpoint: int | None = stored[0] if stored else None
        self.feed = GasFeed(meter, self.nvm, self.log)
        self.clusters.metering.handle("mirror_report_attribute_response", self._on_mirror_response)
        self.clusters.metering.handle("mirror_removed", self._on_mirror_removed)
        self._told = self._what_matters()  # as of the last report to the mirror
        self._told_account: dict[str, Value] = {}  # what changes seldom, as the mirror has it

    async def _get_keyed(self) -> bool:
        """Awake while a key is established: the other side waits seconds, not half hours."""
        self.port.set_poll_interval(FAST_POLL_US)
        return await super()._get_keyed()

    # --- waking and sleeping ------------------------------------------------------------------------

    async def behave(self) -> None:
        while True:
            try:
                await self._wake()
            except TROUBLE as error:
                self.log.info("nothing from the mirror: %s", error)
                if isinstance(error, RefusedError):
                    self.mirror_endpoint = None  # the hub does not know the mirror any more
            self.port.set_poll_interval(None)
            await self._sleep()

    async def _sleep(self) -> None:
        """Until the next waking; a person's key press at the meter wakes it early."""
        try:
            async with asyncio.timeout(self._wake_us / 1e6):
                await self._report_due.wait()
        except TimeoutError:
            return
        self._report_due.clear()

    async def _wake(self) -> None:
        self.port.set_poll_interval(FAST_POLL_US)
        if self.upkeep is not None:
            await self.upkeep.on_wake()
        if self.mirror_endpoint is None:
            await self._request_mirror()
        until_us = self.scheduler.now_us() + _LONGEST_AWAKE_US
        while True:
            before = self._command_count  # a waiting command may overtake the answer to the report
            await self._publish_logs(until_us - _LONGEST_AWAKE_US // 2)
            await self._report()
            await self._send_pushes()
            await self._tell_alerts()
            if self._flags:
                await self._listen(until_us)
            # What a command has changed is in the mirror before the meter sleeps; the hub may have more.
            if self._command_count == before or self.scheduler.now_us() >= until_us:
                return

    async def _listen(self, until_us: int) -> None:
        """Stay while commands keep coming."""
        before = -1
        while before != self._command_count and self.scheduler.now_us() < until_us:
            before = self._command_count
            await asyncio.sleep(_IDLE_S)

    async def _tell_alerts(self) -> None:
        try:
            await self.send_alerts()
        except TROUBLE as error:  # with the next waking, then
            self.log.info("alerts are kept: %s", error)

    def on_alerts(self) -> None:
        """An alert wakes the meter: it does not wait for the half hour."""
        self._report_due.set()

    async def publish_alert(self, fields: Values) -> None:
        endpoint = self.mirror_endpoint
        if endpoint is None:
            raise NoAnswerError("no mirror takes the alert")
        await self.app.request(COORDINATOR, endpoint, "events", "publish_event", sender=Side.SERVER, **fields)

    async def _request_mirror(self) -> None:
        answer = await self.app.request(COORDINATOR, ENDPOINT, METERING, "request_mirror", sender=Side.SERVER)
        endpoint = int(answer["endpoint_id"])
        if endpoint == _NO_MIRROR:
            raise RefusedError(Status.INSUFFICIENT_SPACE, "the hub has no room for a mirror")
        self.mirror_endpoint, self._told_account = endpoint, {}
        self.nvm.put(_MIRROR_KEY, bytes([endpoint]))
        self.nvm.commit()
        self.app.command(
            COORDINATOR,
            endpoint,
            METERING,
            "configure_mirror",
            sender=Side.SERVER,
            issuer_event_id=self.civil.zigbee_utc_s(),
            reporting_interval=self._wake_us // 1_000_000,
            mirror_notification_reporting=True,
            notification_scheme=NotificationScheme.PREDEFINED_NOTIFICATION_SCHEME_A,
        )

        async def ask(command: str, fields: Values) -> Values:
            return await self.app.request(COORDINATOR, endpoint, METERING, command, **fields)

        await self.feed.make_sure(ask)

    async def _publish_logs(self, until_us: int) -> None:
        """Before the report, whose time then is that of all that the mirror knows. Raises NoAnswerError."""
        endpoint = self.mirror_endpoint
        if endpoint is None:
            return
        self.meter.advance(self.civil.utc_us())

        async def publish(cluster: str, command: str, fields: Values) -> None:
            await self.app.request(COORDINATOR, endpoint, cluster, command, sender=Side.SERVER, **fields)

        await self.feed.publish_news(publish, is_time_left=lambda: self.scheduler.now_us() < until_us)

    async def remove_mirror(self) -> None:
        """Ask the hub to take the mirror away. Raises NoAnswerError, RefusedError."""
        await self.app.request(COORDINATOR, ENDPOINT, METERING, "remove_mirror", sender=Side.SERVER)
        self._forget_mirror()

    def _on_mirror_removed(self, fields: Values, context: CommandContext) -> Answer:
        if context.source != COORDINATOR:
            return Status.NOT_AUTHORIZED
        if fields["endpoint_id"] == self.mirror_endpoint:
            self._forget_mirror()
        return Status.SUCCESS

    def _forget_mirror(self) -> None:
        self.mirror_endpoint = None
        self.nvm.delete(_MIRROR_KEY)
        self.nvm.commit()

    async def _report(self) -> None:
        """Everything the mirror keeps, then its answer with the flags. Raises NoAnswerError."""
        endpoint = self.mirror_endpoint
        if endpoint is None:
            return
        self.save()
        self.nvm.commit()
        self._told = self._what_matters()
        self._flags_came.clear()
        price = self.clusters.current_price()
        self.app.command(COORDINATOR, endpoint, "price", "publish_price", sender=Side.SERVER, **price)
        await self._report_account(endpoint)
        registers = self.registers
        await self.app.send_report(COORDINATOR, endpoint, registers.data, registers.data_names)
        await self.app.send_report(COORDINATOR, endpoint, self.clusters.prepayment, _ACCOUNT_REPORT)
        names = (*_METER_REPORT, *registers.register_names)
        await self.app.send_report(COORDINATOR, endpoint, self.clusters.metering, names)
        try:
            async with asyncio.timeout(_IDLE_S):
                await self._flags_came.wait()
        except TimeoutError:
            self.mirror_endpoint = None  # a hub that has taken over knows of none; asking again is safe
            raise NoAnswerError("mirror report", 1, int(_IDLE_S * 1e6)) from None

    async def _report_account(self, endpoint: int) -> None:
        """What a display may ask of the account besides: limits, debts, last top-ups, alarms; if changed."""
        cluster = self.clusters.prepayment
        present = {name: cluster.get(name) for name in cluster.valued if name not in _ACCOUNT_REPORT}
        news = [name for name, value in present.items() if self._told_account.get(name, _UNTOLD) != value]
        if news:
            await self.app.send_report(COORDINATOR, endpoint, cluster, news)
            self._told_account = present

    def _on_mirror_response(self, fields: Values, context: CommandContext) -> Answer:
        flags = fields["notification_flags"]
        self._command_count -= 1
        self._flags = int(flags[0]) if flags else 0
        self._flags_came.set()
        if self._flags & NotificationFlags.NEW_OTA_FIRMWARE and self.upkeep is not None:
            self.upkeep.ota.poke()
        return Status.SUCCESS

    def on_message(self, indication: ApsIndication) -> None:
        if _is_command(indication.cluster_id, indication.payload):
            self._command_count += 1
        super().on_message(indication)

    def is_from_head_end(self, context: CommandContext) -> bool:
        """The hub passes the head end's on from its own endpoint, a display's from the mirror's."""
        return super().is_from_head_end(context) and (
            context.source is None or context.source_endpoint != self.mirror_endpoint
        )

    # --- status push ----------------------------------------------------------------------------------

    async def push(self, confirmation: KeyConfirmation) -> None:
        """Goes out at once where the meter is awake, else with the next waking."""
        self._pushes = [confirmation]

    async def _send_pushes(self) -> None:
        pushes, self._pushes = self._pushes, []
        for confirmation in pushes:
            self.app.command(
                COORDINATOR,
                ENDPOINT,
                "authorisation",
                "status_push",
                sender=Side.SERVER,
                generation=confirmation.generation,
                confirmation=confirmation.confirmation,
            )

    # --- a person at the meter ------------------------------------------------------------------------

    def press_to_confirm(self) -> bool:
        """Keys A then B at the meter: opens an armed valve. False where it is not armed."""
        self.press("AB")
        return self.meter.supply.state is SupplyState.ON

    def _on_keys(self, results: list[TopUpResult]) -> None:
        """A press that has changed what the mirror tells the home wakes the radio as well."""
        super()._on_keys(results)
        if self._told != self._what_matters():
            self._report_due.set()

    def _what_matters(self) -> tuple[object, ...]:
        account, supply = self.meter.account, self.meter.supply
        return supply.state, account.status, self.desk.accepted_count


def _is_command(cluster_id: int, octets: bytes) -> bool:
    """Whether a frame off the air asks something of the meter, and is no mere acknowledgement.

    What an energy service interface publishes does (a change of tenancy); answers to the meter itself do not.
    """
    try:
        header, _ = ZclHeader.decode(octets)
        if header.frame_type is FrameType.GLOBAL:
            return header.sender is Side.CLIENT and header.command_id != GeneralCommand.DEFAULT_RESPONSE
        if header.sender is Side.CLIENT:
            return True
        name, _ = read_command(CLUSTERS[cluster_id], octets)
    except (DecodeError, KeyError):
        return False
    return name.startswith("publish_")
