"""What a gas meter gives the gas proxy of its logs, so that they can be read while it sleeps.

At each waking the meter publishes to its mirror what is new since the proxy last acknowledged: samples of
the profile and network data logs, snapshots, credits, debt payments, events, and the tariff whole. How far
it has come is kept in NVM, so nothing is left out over a restart; what is sent twice does no harm, since each
record replaces the one of its own time. A year of half hours (a new hub) takes several wakings.

Source: SE 1.2 07-5356-19, D.3.4.3 (a mirror takes unsolicited Publish and Response commands).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from logging import Logger, LoggerAdapter
from typing import Any, Final

import cbor2

from smets1.devices.days import DAY_US
from smets1.devices.log_clusters import debt_rows, sample_source, top_up_rows
from smets1.devices.meter import GasMeterCore
from smets1.devices.publication import Publication, Shelf
from smets1.devices.published import logged_rows, metering_snapshots, prepay_snapshots
from smets1.devices.tariff import Tariff
from smets1.errors import RefusedError
from smets1.firmware.civil import from_zigbee_s, zigbee_s
from smets1.firmware.nvm import Nvm
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.clusters.snapshots import SampleId, SampleType
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.log_pages import (
    EVENTS_A_PAGE,
    MAX_SAMPLE,
    NO_SAMPLE,
    SAMPLES_A_PAGE,
    EventRow,
    SampleSource,
    Snapshot,
    event_values,
    publish,
    sample_page,
    samples_of,
)
from smets1.firmware.zcl.log_server import debt_log, interval_us, top_up_log
from smets1.firmware.zcl.tariff_server import TARIFF_INFORMATION, TARIFF_PARTS

__all__ = ["Ask", "GasFeed", "Publish"]

Publish = Callable[[str, str, Values], Awaitable[None]]
"""(cluster, command, fields) to the mirror; done when acknowledged. Raises NoAnswerError, RefusedError."""

Ask = Callable[[str, Values], Awaitable[Values]]
"""(Metering command, fields) to the mirror -> the fields of its answer. Raises as `Publish`."""

_KEY: Final = "gsme/feed"
_REMEMBERED: Final = 96  # samples: two days of half hours
_LOGS: Final = (EventLogId.SECURITY_EVENT_LOG, EventLogId.GENERAL_EVENT_LOG)  # a clearing is heard of first
_SNAPSHOTS: Final = (
    ("metering", "publish_snapshot", "total_commands", metering_snapshots),
    ("prepayment", "publish_prepay_snapshot", "total_number_of_commands", prepay_snapshots),
)


@dataclass(slots=True)
class _Progress:
    """What the proxy has acknowledged. Times in seconds since 2000."""

    samples: dict[int, dict[int, int]] = field(
        default_factory=dict
    )  # sample id -> time -> amount, the latest
    snapshots: dict[str, dict[int, bytes]] = field(default_factory=dict)  # cluster -> id -> digest
    events: dict[int, dict[int, int]] = field(default_factory=dict)  # log -> second -> events in it
    whole: dict[str, bytes] = field(default_factory=dict)  # command -> digest of what it said
    latest_s: int = 0  # the meter's time at the last news

    def encode(self) -> bytes:
        return cbor2.dumps([self.samples, self.snapshots, self.events, self.whole, self.latest_s])


class GasFeed:
    """One gas meter's; `forget` when it has a new mirror."""

    def __init__(self, meter: GasMeterCore, nvm: Nvm, log: Logger | LoggerAdapter[Any]) -> None:
        self._meter = meter
        self._nvm = nvm
        self._log = log
        stored = nvm.get(_KEY)
        self._progress = _Progress(*cbor2.loads(stored)) if stored else _Progress()
        self._told_tariff: tuple[Tariff | None, Publication | None] = (None, None)

    def forget(self) -> None:
        """The mirror is a new one, and empty."""
        self._progress = _Progress()
        self._told_tariff = (None, None)
        self._save()

    async def make_sure(self, ask: Ask) -> None:
        """A mirror was asked for: it may be the old one, with its copies, or one that knows nothing.

        Raises NoAnswerError.
        """
        last_s = max(self._progress.samples.get(SampleId.PROFILE, {}), default=None)
        held: Values = {}
        if last_s is not None:
            try:
                held = await ask("get_sampled_data", _asked(SampleId.PROFILE, last_s, count=1))
            except RefusedError as error:
                self._log.info("the mirror has no logs: %s", error)
        if not held.get("samples") or held["sample_start_time"] != last_s:
            self.forget()

    def _look_back(self) -> None:
        """Where the clock was set far back, all since a day before goes out anew."""
        now_s = zigbee_s(self._meter.now_us)
        if now_s < self._progress.latest_s:
            for told in self._progress.samples.values():
                if told and now_s < min(told):
                    told.clear()
                    told[now_s - DAY_US // 1_000_000] = NO_SAMPLE
        self._progress.latest_s = now_s

    def _save(self) -> None:
        self._nvm.put(_KEY, self._progress.encode())

    async def publish_news(self, publish: Publish, *, is_time_left: Callable[[], bool]) -> None:
        """All that is new, in an order in which nothing misleads; ends early when time is up.

        Raises NoAnswerError where the mirror does not acknowledge.
        """
        self._look_back()
        try:
            await self._publish_tariff(publish)
            await self._publish_events(publish)
            await self._publish_snapshots(publish)
            top_ups = top_up_log(top_up_rows(self._meter))
            await self._publish_whole(publish, "publish_top_up_log", "top_ups", top_ups)
            debts = debt_log(debt_rows(self._meter))
            await self._publish_whole(publish, "publish_debt_log", "debts", debts)
            for sample_id in (SampleId.NETWORK, SampleId.PROFILE):
                await self._publish_samples(publish, sample_id, is_time_left)
        except RefusedError as error:
            self._log.warning("the mirror takes no logs: %s", error)

    # --- one kind after the other -----------------------------------------------------------------

    async def _publish_samples(
        self, publish: Publish, sample_id: SampleId, is_time_left: Callable[[], bool]
    ) -> None:
        source = sample_source(self._meter, sample_id, SampleType.CONSUMPTION_DELIVERED)
        while is_time_left():
            told = self._progress.samples.get(sample_id, {})
            asked = _asked(sample_id, _first_untold_s(source, told), count=SAMPLES_A_PAGE)
            page = sample_page(asked, source, interval_us=interval_us(sample_id))
            if not page["samples"]:
                return
            await publish("metering", "get_sampled_data_response", page)
            told |= {zigbee_s(end_us): amount for end_us, amount in samples_of(page)}
            self._progress.samples[sample_id] = {end_s: told[end_s] for end_s in sorted(told)[-_REMEMBERED:]}
            self._save()

    async def _publish_snapshots(self, publish_one: Publish) -> None:
        for cluster, command, of_commands, all_snapshots in _SNAPSHOTS:
            snapshots: list[Snapshot] = all_snapshots(self._meter)
            for snapshot in snapshots:
                told = self._progress.snapshots.get(cluster, {})
                digest = _digest(snapshot.payload)  # a midnight lived twice has another one
                if told.get(snapshot.snapshot_id) == digest:
                    continue
                await publish_one(
                    cluster, command, publish(snapshot, count=len(snapshots), of_commands=of_commands)
                )
                held = {one.snapshot_id for one in snapshots}
                self._progress.snapshots[cluster] = {
                    **{number: before for number, before in told.items() if number in held},
                    snapshot.snapshot_id: digest,
                }
                self._save()

    async def _publish_tariff(self, publish: Publish) -> None:
        """Its parts, the prices first and its information last: with that the proxy has all of it."""
        tariff, published = self._meter.tariff, self._meter.shelves.get(Shelf.TARIFF)
        if tariff is self._told_tariff[0] and published is self._told_tariff[1]:
            return  # as at the last waking, and for most of a year
        publication = self._meter.tariff_publication
        digest = _digest(publication.encode())
        if self._progress.whole.get(TARIFF_INFORMATION) == digest:
            self._told_tariff = (tariff, published)
            return
        for cluster, command in TARIFF_PARTS:
            for values in publication.all_values(command):
                await publish(cluster, command, values)
        self._progress.whole[TARIFF_INFORMATION] = digest
        self._told_tariff = (tariff, published)
        self._save()

    async def _publish_whole(self, publish: Publish, command: str, rows: str, values: Values) -> None:
        """Short logs go out whole, when they have changed; a new mirror knows of nothing."""
        digest = _digest(cbor2.dumps(values)) if values[rows] else b""
        if self._progress.whole.get(command, b"") == digest:
            return
        await publish("prepayment", command, values)
        self._progress.whole[command] = digest
        self._save()

    async def _publish_events(self, publish: Publish) -> None:
        rows = logged_rows(self._meter)
        for log in _LOGS:
            counts = Counter(row.time_s for row in rows if row.log is log)
            told = self._progress.events.get(log, {})
            news = [row for row in rows if row.log is log and counts[row.time_s] > told.get(row.time_s, 0)]
            for page in _pages(news):
                await publish("events", "publish_event_log", event_values(page, count=len(page)))
                told = {second: count for second, count in told.items() if second in counts}
                told |= {row.time_s: counts[row.time_s] for row in page}
                self._progress.events[log] = told
                self._save()


def _digest(octets: bytes) -> bytes:
    return sha256(octets).digest()[:8]


def _first_untold_s(source: SampleSource, told: dict[int, int]) -> int:
    """The first sample that the proxy does not have as it is: new, or lived twice (a clock set back)."""
    if not told:
        return 0
    start_s = min(told) if len(told) >= _REMEMBERED else 0  # what is remembered in full tells of all before
    for sample_us, amount in source.read(from_zigbee_s(start_s) - 1, from_zigbee_s(max(told))):
        if told.get(zigbee_s(sample_us)) != min(amount, MAX_SAMPLE):
            return zigbee_s(sample_us)
    return max(told) + 1


def _asked(sample_id: SampleId, earliest_s: int, *, count: int) -> Values:
    return {
        "sample_id": int(sample_id),
        "earliest_sample_time": earliest_s,
        "sample_type": int(SampleType.CONSUMPTION_DELIVERED),
        "number_of_samples": count,
    }


def _pages(rows: list[EventRow]) -> list[list[EventRow]]:
    """Pages of about 15, all events of one second on one: a page replaces the seconds that it speaks of."""
    seconds: dict[int, list[EventRow]] = {}  # in the order of logging, so that the proxy drops what is oldest
    for row in rows:
        seconds.setdefault(row.time_s, []).append(row)
    pages: list[list[EventRow]] = []
    for together in seconds.values():
        if not pages or len(pages[-1]) + len(together) > EVENTS_A_PAGE:
            pages.append([])
        pages[-1] += together
    return pages
