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
from smets1.firmware.zcl.tariff_server import TariffServer

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
        TariffServer(core, ENDPOINT, lambda: [published.all_values for published in self._published()])
        price = core.obtain_server(ENDPOINT, "price")
        price.handle("get_billing_period", lambda _fields, _context: self._billing())

    def _published(self) -> tuple[Publication, ...]:
        """Of this instant: a tariff that was due has begun. And the friendly credit calendar."""
        self._clusters.meter.advance(self._civil.utc_us())
        friendly = self._shelves.get(Shelf.CALENDAR)
        return (self._clusters.meter.tariff_publication, *((friendly,) if friendly else ()))

    def _billing(self) -> Answer:
        published = self._shelves.get(Shelf.BILLING)
        values = published.values(_BILLING) if published else None
        return Status.NOT_FOUND if values is None else reply(_BILLING, **values)
