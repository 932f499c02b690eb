"""A meter's Price and Calendar clusters: tariffs as suppliers publish them, and as whoever asks reads them.

The publish commands come inside Critical Instructions. Those of one tariff gather until
PublishTariffInformation, their last, puts it in force: whole, at its start time, or not at all. The same
holds for the friendly credit calendar, whose last is the Prepayment cluster's (`prepayment_clusters.py`). A
start time of 0 is now; a later one waits in the meter (`schedule.py`). CancelTariff withdraws what waits: of
the tariff ids, 0xFFFFFFFF any tariff, 0xFFFFFFFE any prices (**assumption**).

Source: SE 1.2 07-5356-19, D.4.2.4, D.9.2.3; DUIS 5.4, services 1.1.1, 1.2.1, 6.8, 4.11.1, 6.2.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from smets1.devices.billing import BillingCalendar, BillingPeriod
from smets1.devices.days import SECOND_US, civil
from smets1.devices.meter_clusters import ENDPOINT, MeterClusters, due_us, require_sua
from smets1.devices.publication import Publication, Shelf, Shelves
from smets1.devices.published_tariff import INFORMATION, MATRIX, THRESHOLDS, renewed, tariff_of
from smets1.devices.schedule import FutureKind
from smets1.devices.state import is_record_of
from smets1.errors import InputError, RefusedError
from smets1.firmware.civil import CivilClock, from_zigbee_s
from smets1.firmware.zcl.clusters.calendar import CalendarType
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, CommandContext, Handler, reply
from smets1.firmware.zcl.status import Status

__all__ = ["ANY_PRICES", "ANY_TARIFF", "PriceClusters"]

ANY_TARIFF: Final = 0xFFFFFFFF
ANY_PRICES: Final = 0xFFFFFFFE
_CALENDAR_PARTS: Final = (
    "publish_day_profile",
    "publish_week_profile",
    "publish_seasons",
    "publish_special_days",
)
_NUMBERS: Final = {"publish_day_profile": "day_id", "publish_week_profile": "week_id"}
_BILLING: Final = "publish_billing_period"
# BillingPeriodDurationType, low nibble, and the duration of it -> the meter's period.
_PERIODS: Final = {
    (1, 1): BillingPeriod.DAILY,
    (2, 1): BillingPeriod.WEEKLY,
    (3, 1): BillingPeriod.MONTHLY,
    (3, 3): BillingPeriod.QUARTERLY,
    (3, 6): BillingPeriod.SIX_MONTHLY,
    (3, 12): BillingPeriod.YEARLY,
}


class PriceClusters:
    """Binds one meter core to the Price and Calendar clusters, beside `MeterClusters`."""

    def __init__(self, core: ZclCore, clusters: MeterClusters, civil: CivilClock) -> None:
        self._clusters = clusters
        self._civil = civil
        price, calendar = core.obtain_client(ENDPOINT, "price"), core.obtain_client(ENDPOINT, "calendar")
        for name, handler in (
            (MATRIX, self._take_price_part),
            (THRESHOLDS, self._take_price_part),
            (INFORMATION, self._put_in_force),
            ("cancel_tariff", self._cancel),
            (_BILLING, self._set_billing),
        ):
            clusters.obey(price, name, self._named(name, handler))
        clusters.obey(calendar, "publish_calendar", self._begin_calendar)
        for name in _CALENDAR_PARTS:
            clusters.obey(calendar, name, self._named(name, self._take_calendar_part))
        self._answer(core)

    @property
    def _shelves(self) -> Shelves:
        return self._clusters.meter.shelves

    @staticmethod
    def _named(name: str, handler: Callable[[str, Values], None]) -> Handler:
        def obey(fields: Values, context: CommandContext) -> Answer:
            require_sua(context)
            handler(name, fields)
            return Status.SUCCESS

        return obey

    # --- what is published -------------------------------------------------------------------------

    def _begin_calendar(self, fields: Values, context: CommandContext) -> Answer:
        """The first frame of a tariff, or of a prepayment configuration."""
        require_sua(context)
        shelf = Shelf.NEW_TARIFF
        if fields["calendar_type"] == CalendarType.FRIENDLY_CREDIT_CALENDAR:
            shelf = Shelf.NEW_PREPAYMENT
        self._shelves.put(shelf, Publication().put("publish_calendar", fields))
        return Status.SUCCESS

    def _take_calendar_part(self, name: str, fields: Values) -> None:
        for shelf in (Shelf.NEW_TARIFF, Shelf.NEW_PREPAYMENT):
            gathered = self._shelves.get(shelf)
            calendar = gathered.values("publish_calendar") if gathered else None
            if gathered and calendar and calendar["issuer_calendar_id"] == fields["issuer_calendar_id"]:
                number = f"/{fields[_NUMBERS[name]]}" if name in _NUMBERS else ""
                self._shelves.put(shelf, gathered.put(name + number, fields))
                return
        raise RefusedError(Status.NOT_FOUND, "no such calendar has been announced")

    def _take_price_part(self, name: str, fields: Values) -> None:
        gathered = self._gathered(fields["issuer_tariff_id"]) or Publication()
        self._shelves.put(Shelf.NEW_TARIFF, gathered.put(name, fields))

    def _gathered(self, tariff_id: int) -> Publication | None:
        """What gathers for that tariff; its calendar bears the same id."""
        gathered = self._shelves.get(Shelf.NEW_TARIFF)
        if gathered is None:
            return None
        owners = {
            values.get("issuer_tariff_id", values.get("issuer_calendar_id"))
            for part, _ in gathered.parts
            if (values := gathered.values(part)) is not None
        }
        return gathered if owners == {tariff_id} else None

    def _put_in_force(self, name: str, fields: Values) -> None:
        """The last frame: the tariff counts from its start time on."""
        gathered, now_us = self._gathered(fields["issuer_tariff_id"]), self._civil.utc_us()
        if gathered is None or gathered.values(MATRIX) is None:
            raise RefusedError(Status.NOT_FOUND, "the prices of this tariff have not come")
        change, meter = gathered.put(name, fields), self._clusters.meter
        is_whole = change.values("publish_calendar") is not None
        due = due_us(fields["start_time"], utc_us=now_us)
        self._shelves.clear(Shelf.NEW_TARIFF)
        try:
            if due is None:
                meter.publish_tariff(change, utc_us=now_us)
            else:
                self._check_waiting(change, due)
                kind = FutureKind.TARIFF if is_whole else FutureKind.PRICE
                self._clusters.schedule(kind, due, change.encode(), issuer_id=fields["issuer_event_id"])
        except InputError as error:
            raise RefusedError(Status.INVALID_VALUE, str(error)) from None

    def _check_waiting(self, change: Publication, due: int) -> None:
        """Against the tariff that will be in force by then. Raises InputError."""
        waiting = self._waiting(FutureKind.TARIFF, due=due)
        if waiting is None:
            self._clusters.meter.check_tariff(change)
        else:
            tariff_of(renewed(change, waiting))

    def _waiting(self, kind: FutureKind, *, due: int | None = None) -> Publication | None:
        """What was published and waits, until `due` at most; a tariff of the home file has no publication."""
        command = self._clusters.meter.future.pending.get(kind)
        if command is None or is_record_of("tariff", command.payload):
            return None
        return Publication.decode(command.payload) if due is None or command.due_us <= due else None

    def _cancel(self, name: str, fields: Values) -> None:
        future = self._clusters.meter.future
        if fields["issuer_tariff_id"] in (ANY_TARIFF, ANY_PRICES):
            is_prices = fields["issuer_tariff_id"] == ANY_PRICES
            future.cancel(FutureKind.PRICE if is_prices else FutureKind.TARIFF)
            return
        for kind in (FutureKind.TARIFF, FutureKind.PRICE):
            waiting = self._waiting(kind)
            information = waiting.values(INFORMATION) if waiting else None
            if information and information["issuer_tariff_id"] == fields["issuer_tariff_id"]:
                future.cancel(kind)
                return
        raise RefusedError(Status.NOT_FOUND, "no such tariff waits")

    def _set_billing(self, name: str, fields: Values) -> None:
        """6.8: periods from that time on, over and over."""
        kind = (fields["billing_period_duration_type"] & 0xF, fields["billing_period_duration"])
        start_us, now_us = from_zigbee_s(fields["billing_period_start_time"]), self._civil.utc_us()
        start = civil(start_us)
        try:
            calendar = BillingCalendar(
                period=_PERIODS[kind],
                minute=start.hour * 60 + start.minute,
                weekday=start.isoweekday(),
                day=start.day if _PERIODS[kind].months else 1,
                month=start.month,
            )
        except (InputError, KeyError) as error:
            raise RefusedError(Status.INVALID_VALUE, str(error)) from None
        from_us = start_us - SECOND_US  # a period that is yet to begin ends the one before at its start
        self._clusters.meter.set_billing_calendar(calendar, utc_us=now_us, from_us=from_us)
        self._shelves.put(Shelf.BILLING, Publication().put(_BILLING, fields))

    # --- what is asked -----------------------------------------------------------------------------

    def _answer(self, core: ZclCore) -> None:
        price, calendar = core.obtain_server(ENDPOINT, "price"), core.obtain_server(ENDPOINT, "calendar")
        price.handle("get_tariff_information", lambda _fields, _context: self._part(INFORMATION))
        price.handle("get_price_matrix", self._of_tariff(MATRIX))
        price.handle("get_block_thresholds", self._of_tariff(THRESHOLDS))
        price.handle("get_billing_period", lambda _fields, _context: self._billing())
        calendar.handle("get_calendar", self._get_calendar)
        for name, first in (
            ("publish_day_profile", "start_day_id"),
            ("publish_week_profile", "start_week_id"),
        ):
            command = name.replace("publish", "get") + "s"
            calendar.handle(command, self._of_calendar(name, _NUMBERS[name], first))
        calendar.handle("get_seasons", self._of_calendar("publish_seasons"))
        calendar.handle("get_special_days", self._of_calendar("publish_special_days"))

    def _present_tariff(self) -> Publication:
        """Of this instant: one that was due has begun."""
        return self._clusters.present().tariff_publication

    def _part(self, name: str) -> Answer:
        values = self._present_tariff().values(name)
        return Status.NOT_FOUND if values is None else reply(name, **values)

    def _billing(self) -> Answer:
        published = self._shelves.get(Shelf.BILLING)
        values = published.values(_BILLING) if published else None
        return Status.NOT_FOUND if values is None else reply(_BILLING, **values)

    def _of_tariff(self, name: str) -> Handler:
        def answer(fields: Values, context: CommandContext) -> Answer:
            values = self._present_tariff().values(name)
            is_known = values is not None and values["issuer_tariff_id"] == fields["issuer_tariff_id"]
            return reply(name, **values) if values and is_known else Status.NOT_FOUND

        return answer

    def _calendars(self) -> tuple[Publication, ...]:
        friendly = self._shelves.get(Shelf.CALENDAR)
        return (self._present_tariff(), *((friendly,) if friendly else ()))

    def _get_calendar(self, fields: Values, context: CommandContext) -> Answer:
        for published in self._calendars():
            values = published.values("publish_calendar")
            if values and values["calendar_type"] == fields["calendar_type"]:
                return reply("publish_calendar", **values)
        return Status.NOT_FOUND

    def _of_calendar(self, name: str, number: str = "", first: str = "") -> Handler:
        """Days and weeks one in an answer: the first from the id that was asked for."""

        def answer(fields: Values, context: CommandContext) -> Answer:
            for published in self._calendars():
                parts = [
                    values
                    for values in published.all_values(name)
                    if values["issuer_calendar_id"] == fields["issuer_calendar_id"]
                    and (not number or values[number] >= fields[first])
                ]
                if parts:
                    return reply(name, **min(parts, key=lambda values: values[number] if number else 0))
            return Status.NOT_FOUND

        return answer
