"""DSP schedules: a service that the DSP asks for by itself, daily to yearly, until the user deletes it.

Each time a schedule comes due it becomes an accepted request under a key made of its id and that time, so
a restart in the middle neither doubles nor loses it. What came due while the head end was down is asked for
once at the next start. Times are UTC; a day that a month does not have becomes its last.
Source: DUIS-5.4.xsd, CreateSchedule (DSPSchedule), ReadSchedule, DeleteSchedule.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum, unique
from typing import Any, Final

from smets1.errors import InputError
from smets1.eui64 import Eui64, parse_eui64
from smets1.firmware.civil import CivilClock, format_utc, from_datetime, to_datetime
from smets1.hardware.clock import Timer
from smets1.headend.duis.codes import CommandVariant
from smets1.headend.duis.request import RequestId, XmlNode, request_document
from smets1.headend.store import Store, StoredRequest

__all__ = ["MAX_SCHEDULES", "Frequency", "Schedule", "ScheduleBook"]

MAX_SCHEDULES: Final = 99  # DSPSchedulesRead lists no more
_KEY: Final = "schedule:"


@unique
class Frequency(StrEnum):
    """Source: DUIS-5.4.xsd, ScheduleFrequency."""

    DAILY = "Daily"
    WEEKLY = "Weekly"
    MONTHLY = "Monthly"
    QUARTERLY = "Quarterly"
    HALF_YEARLY = "Half-Yearly"
    YEARLY = "Yearly"


_MIDNIGHT: Final = re.compile(r"\b24:00:00(\.0+)?")
_DAYS: Final = {Frequency.DAILY: 1, Frequency.WEEKLY: 7}
_MONTHS: Final = {
    Frequency.MONTHLY: 1,
    Frequency.QUARTERLY: 3,
    Frequency.HALF_YEARLY: 6,
    Frequency.YEARLY: 12,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule; `details` is the CreateSchedule element as it came, and is read back so."""

    schedule_id: int
    owner: Eui64
    details: XmlNode
    last_utc_us: int  # all that was due until then is done

    @property
    def device(self) -> Eui64:
        return parse_eui64(self.details.value("DeviceID") or "")

    @property
    def srv(self) -> str:
        return self.details.value("DSPScheduledServiceReferenceVariant") or ""

    @property
    def service(self) -> XmlNode:
        """The element of the service itself: the last."""
        return self.details.children[-1]

    @property
    def body_name(self) -> str:
        """Of the request that it stands for."""
        return self.service.name.removeprefix("DSP")

    def check(self) -> None:
        """Raises InputError for what is no frequency, date, time or EUI-64."""
        self.next_utc_us(0)
        _ = self.device
        for name in ("StartTime", "EndTime"):
            if (text := self.service.value(name)) is not None:
                _time(text)
        for name in ("StartDateOffset", "EndDateOffset"):
            _offset(self.service.value(name))

    def next_utc_us(self, after_utc_us: int) -> int | None:
        """When it is due next, strictly later; None: never again. Raises InputError."""
        start = _date(self.details.value("ScheduleStartDate"))
        end_text = self.details.value("ScheduleEndDate")
        end = _date(end_text) if end_text is not None else date.max
        at = _time(self.details.value("ScheduleExecutionStartTime") or "00:00:00")
        try:
            frequency = Frequency(self.details.value("ScheduleFrequency") or "")
        except ValueError:
            raise InputError("unknown ScheduleFrequency") from None
        today = to_datetime(after_utc_us).date()
        index = _index_before(start, today, frequency)
        while True:
            try:
                day = _day(start, frequency, index)
            except (OverflowError, ValueError):
                return None
            if day > end:
                return None
            due_utc_us = from_datetime(datetime.combine(day, at, tzinfo=UTC))
            if due_utc_us > after_utc_us:
                return due_utc_us
            index += 1

    def request_xml(self, due_utc_us: int, counter: int) -> bytes:
        """The request that its owner would send for what is due."""
        periods: tuple[XmlNode, ...] = ()
        if self.service.find("StartTime") is not None:
            edges = tuple(
                XmlNode(f"{edge}DateTime", format_utc(self._edge_utc_us(edge, due_utc_us)))
                for edge in ("Start", "End")
            )
            periods = (XmlNode("ReadLogPeriod", children=edges),)
        return request_document(
            RequestId(self.owner, self.device, counter),
            CommandVariant.NON_CRITICAL,
            service_reference=self.details.value("DSPScheduledServiceReference") or "",
            srv=self.srv,
            body=XmlNode(self.body_name, children=periods),
        )

    def _edge_utc_us(self, edge: str, due_utc_us: int) -> int:
        days = _offset(self.service.value(f"{edge}DateOffset"))
        at = _time(self.service.value(f"{edge}Time") or "00:00:00")
        day = to_datetime(due_utc_us).date() + timedelta(days=days)
        return from_datetime(datetime.combine(day, at, tzinfo=UTC))


def _index_before(start: date, today: date, frequency: Frequency) -> int:
    """A count of periods that surely ends before today."""
    if frequency in _DAYS:
        return max((today - start).days // _DAYS[frequency] - 1, 0)
    months = (today.year - start.year) * 12 + today.month - start.month
    return max(months // _MONTHS[frequency] - 1, 0)


def _day(start: date, frequency: Frequency, index: int) -> date:
    if frequency in _DAYS:
        return start + timedelta(days=_DAYS[frequency] * index)
    month = start.month - 1 + _MONTHS[frequency] * index
    year, month = start.year + month // 12, month % 12 + 1
    return date(year, month, min(start.day, calendar.monthrange(year, month)[1]))


def _date(text: str | None) -> date:
    try:
        return date.fromisoformat((text or "").removesuffix("Z"))
    except ValueError:
        raise InputError(f"{text!r} is not a date") from None


def _time(text: str) -> time:
    """Of xs:time, where 24:00:00 is another way to write midnight."""
    text = _MIDNIGHT.sub("00:00:00", text)
    try:
        return time.fromisoformat(text.removesuffix("Z")).replace(tzinfo=None)
    except ValueError:
        raise InputError(f"{text!r} is not a time") from None


def _offset(text: str | None) -> int:
    try:
        days = int(text or "0")
    except ValueError:
        days = 1
    if not -400 <= days <= 0:
        raise InputError("an offset has -400 to 0 days")
    return days


class ScheduleBook:
    """All schedules; one timer, for whichever is due first."""

    def __init__(
        self,
        *,
        store: Store,
        civil: CivilClock,
        lifetime_us: int,
        submit: Callable[[StoredRequest], None],
    ) -> None:
        """`submit` takes up a request that is not stored yet; it ignores one whose key it knows."""
        self._store = store
        self._civil = civil
        self._lifetime_us = lifetime_us
        self._submit = submit
        self._timer: Timer | None = None
        self._is_running = False
        self.is_mine: Callable[[Eui64], bool] = lambda _device: True
        """Whether a device's schedules are this worker's to run."""
        self._schedules: dict[int, Schedule] = {}
        self.reload()

    def reload(self) -> None:
        """As the store has them now: another worker may have changed them."""
        self._schedules = {
            number: Schedule(
                schedule_id=number,
                owner=owner,
                details=_read_tree(record["details"]),
                last_utc_us=int(str(record["last_utc_us"])),
            )
            for number, (owner, record) in self._store.schedules().items()
        }
        self._arm()

    @staticmethod
    def id_of(stored: StoredRequest) -> int | None:
        """Of the schedule that a request comes from; None: from a user."""
        return int(stored.key.split(":")[1]) if stored.key.startswith(_KEY) else None

    def start(self) -> None:
        self._is_running = True
        self._run_due()

    def stop(self) -> None:
        self._is_running = False
        if self._timer is not None:
            self._timer.cancel()

    def create(self, owner: Eui64, details: XmlNode) -> Schedule:
        """A new schedule, durable after the store's commit. Raises InputError for a bad date or time."""
        draft = Schedule(schedule_id=0, owner=owner, details=details, last_utc_us=self._civil.utc_us())
        draft.check()
        schedule = replace(draft, schedule_id=self._store.next_count("dsp schedules"))
        self._put(schedule)
        self._arm()
        return schedule

    def find(
        self, owner: Eui64, *, schedule_id: int | None = None, device: Eui64 | None = None
    ) -> list[Schedule]:
        """The owner's schedules: one by id, or all of a device, in the order of their making."""
        return [
            schedule
            for number, schedule in sorted(self._schedules.items())
            if schedule.owner == owner
            and (schedule_id is None or number == schedule_id)
            and (device is None or schedule.device == device)
        ]

    def of_device(self, device: Eui64) -> list[Schedule]:
        return [schedule for _, schedule in sorted(self._schedules.items()) if schedule.device == device]

    def delete(self, schedule: Schedule) -> None:
        """Durable after the store's commit."""
        del self._schedules[schedule.schedule_id]
        self._store.delete_schedule(schedule.schedule_id)
        self._arm()

    def _put(self, schedule: Schedule) -> None:
        self._schedules[schedule.schedule_id] = schedule
        record = {"details": _tree(schedule.details), "last_utc_us": schedule.last_utc_us}
        self._store.put_schedule(schedule.schedule_id, schedule.owner, record)

    def _run_due(self) -> None:
        now_utc_us = self._civil.utc_us()
        for schedule in [one for one in self._schedules.values() if self.is_mine(one.device)]:
            due_utc_us = schedule.next_utc_us(schedule.last_utc_us)
            if due_utc_us is None or due_utc_us > now_utc_us:
                continue
            with self._store.together():
                counter = self._store.next_count("scheduled requests")
                self._submit(
                    StoredRequest(
                        key=f"{_KEY}{schedule.schedule_id}:{due_utc_us}",
                        originator=schedule.owner,
                        target=schedule.device,
                        srv=schedule.srv,
                        xml=schedule.request_xml(due_utc_us, counter),
                        accepted_utc_us=now_utc_us,
                        not_before_utc_us=now_utc_us,
                        expires_utc_us=now_utc_us + self._lifetime_us,
                    )
                )
                self._put(replace(schedule, last_utc_us=now_utc_us))
            self._store.flush()
        self._arm()

    def _arm(self) -> None:
        """Set the one timer anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        mine = [schedule for schedule in self._schedules.values() if self.is_mine(schedule.device)]
        due = [schedule.next_utc_us(schedule.last_utc_us) for schedule in mine]
        first_utc_us = min((when for when in due if when is not None), default=None)
        if self._is_running and first_utc_us is not None:
            when_us = self._civil.scheduler_us(max(first_utc_us, self._civil.utc_us()))
            self._timer = self._civil.scheduler.call_at_us(when_us, self._run_due)


def _tree(node: XmlNode) -> list[Any]:
    return [node.name, node.text, [_tree(child) for child in node.children]]


def _read_tree(value: Any) -> XmlNode:
    name, text, children = value
    return XmlNode(str(name), str(text), children=tuple(_read_tree(child) for child in children))
