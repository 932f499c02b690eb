"""What the gas meter publishes of its logs, and what the gas proxy has of them then: value machines only."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from logging import getLogger
from typing import Any

import pytest

from smets1.devices.billing import BillingCalendar, BillingPeriod
from smets1.devices.days import DAY_US, HALF_HOUR_US
from smets1.devices.event_log import AlertCode
from smets1.devices.gas_feed import GasFeed
from smets1.devices.load import ConstantLoad, GasFlow
from smets1.devices.meter import GasMeterCore
from smets1.devices.published import event_rows, metering_snapshots, prepay_snapshots
from smets1.devices.tariff import Tariff
from smets1.errors import NoAnswerError, RefusedError
from smets1.firmware.civil import parse_utc
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.clusters.snapshots import SampleId
from smets1.firmware.zcl.log_pages import sample_page
from smets1.firmware.zcl.status import Side
from smets1.firmware.zcl.tariff_server import TARIFF_PARTS
from smets1.hub.gas_copies import GasCopies

START_US = parse_utc("2023-03-06T00:00:00Z")
TARIFF = Tariff.flat(price_mp_per_kwh=8_000)
_TAKE = {
    "get_sampled_data_response": GasCopies.take_samples,
    "publish_snapshot": lambda copies, values: copies.take_snapshot("metering", values),
    "publish_prepay_snapshot": lambda copies, values: copies.take_snapshot("prepayment", values),
    "publish_top_up_log": GasCopies.take_top_ups,
    "publish_debt_log": GasCopies.take_debts,
    "publish_event_log": GasCopies.take_events,
    **{
        command: partial(lambda command, copies, values: copies.take_tariff_part(command, values), command)
        for _, command in TARIFF_PARTS
    },
}


class Mirror:
    """The proxy's side. `loses`: takes a record, but its acknowledgement is lost, this many times."""

    def __init__(self) -> None:
        self.nvm = MemoryNvm()
        self.copies = GasCopies(self.nvm)
        self.told: list[str] = []
        self.longest = 0
        self.loses = 0

    async def publish(self, cluster: str, command: str, fields: dict[str, Any]) -> None:
        payload = cluster_named(cluster).command(command, Side.SERVER).payload
        octets = payload.encode(fields)
        self.longest = max(self.longest, len(octets))
        self.told.append(command)
        assert _TAKE[command](self.copies, payload.decode(octets)) in (None, True)
        self.nvm.commit()
        if self.loses:
            self.loses -= 1
            raise NoAnswerError("mirror")

    async def ask(self, command: str, fields: dict[str, Any]) -> dict[str, Any]:
        source = self.copies.sample_source(fields["sample_id"], fields["sample_type"])
        assert source is not None
        return sample_page(fields, source, interval_us=HALF_HOUR_US)

    def restart(self) -> None:
        self.nvm = self.nvm.after_power_cut()
        self.copies = GasCopies(self.nvm)


@pytest.fixture
def meter() -> GasMeterCore:
    flow = GasFlow(load=ConstantLoad(watts=2000, start_utc_us=START_US))
    return GasMeterCore(flow=flow, now_us=START_US, tariff=TARIFF)


def feed_of(meter: GasMeterCore, nvm: MemoryNvm | None = None) -> GasFeed:
    return GasFeed(meter, nvm or MemoryNvm(), getLogger(__name__))


async def wake(feed: GasFeed, mirror: Mirror, *, frames: int = 10_000) -> bool:
    """One waking with room for so many pages of samples; False: it was cut short."""
    room = [frames]

    def is_time_left() -> bool:
        room[0] -= 1
        return room[0] >= 0

    try:
        await feed.publish_news(mirror.publish, is_time_left=is_time_left)
    except NoAnswerError:
        return False
    return True


def assert_equal(meter: GasMeterCore, copies: GasCopies, *, has_network: bool = True) -> None:
    """The proxy has all that the meter has, and nothing else."""
    assert copies.profile.read(0, 1 << 60) == meter.profile.read(0, 1 << 60)
    source = copies.sample_source(SampleId.NETWORK, 0)
    assert source is not None
    assert not has_network or source.read(0, 1 << 60) == sorted(meter.network.entries)
    by_id = {one.snapshot_id: one for one in metering_snapshots(meter)}
    assert {one.snapshot_id: one for one in copies.snapshots["metering"]} == by_id
    by_id = {one.snapshot_id: one for one in prepay_snapshots(meter)}
    assert {one.snapshot_id: one for one in copies.snapshots["prepayment"]} == by_id
    assert [row["top_up_amount"] for row in copies.top_ups] == [t.amount_mp for t in meter.account.top_ups]
    for _, command in TARIFF_PARTS:
        assert copies.tariff_parts(command) == meter.tariff_publication.all_values(command)
    for log in (EventLogId.GENERAL_EVENT_LOG, EventLogId.SECURITY_EVENT_LOG):
        held = [row for row in event_rows(meter) if row.log is log]
        assert [row for row in copies.events if row.log is log] == held


async def test_all_logs_reach_the_proxy_and_only_once(meter: GasMeterCore) -> None:
    mirror, feed = Mirror(), feed_of(meter)
    meter.set_billing_calendar(BillingCalendar(period=BillingPeriod.DAILY), utc_us=START_US)
    meter.set_prepayment(replace(meter.account.config, debt_per_payment_bp=5_000), utc_us=START_US)
    meter.set_debts(time_1_mp=0, time_2_mp=0, payment_mp=9_000, utc_us=START_US)
    for day in range(20):
        meter.add_credit(1_000 + day, source=0, utc_us=START_US + day * DAY_US + 5)
        meter.advance(START_US + (day + 1) * DAY_US)
        assert await wake(feed, mirror)
        assert_equal(meter, mirror.copies)
    assert [row["amount_collected"] for row in mirror.copies.debts] == [
        payment.amount_fine // 10**12 for payment in reversed(meter.billing.payments)
    ]
    mirror.told.clear()
    assert await wake(feed, mirror)
    assert mirror.told == [], "nothing is new"
    mirror.restart()
    assert_equal(meter, mirror.copies)


async def test_a_year_of_half_hours_takes_several_wakings(meter: GasMeterCore) -> None:
    meter.advance(START_US + 395 * DAY_US)
    mirror, feed = Mirror(), feed_of(meter)
    wakings = 0
    while mirror.copies.profile.read(0, 1 << 60) != meter.profile.read(0, 1 << 60):
        assert await wake(feed, mirror, frames=10)
        wakings += 1
        assert wakings < 10
    assert wakings == 7  # of 57 pages, and one of the network data log each time
    assert mirror.longest < 1_200, "what a fragmented APS message may well have"
    assert_equal(meter, mirror.copies)


@pytest.mark.parametrize("seed", range(12))
async def test_lost_acknowledgements_power_cuts_and_clocks_change_nothing(
    meter: GasMeterCore, seed: int
) -> None:
    rng = random.Random(seed)
    mirror, nvm = Mirror(), MemoryNvm()
    feed, furthest = feed_of(meter, nvm), 1
    for _ in range(60):
        now_us = meter.now_us
        step = rng.choice(("live", "live", "note", "note", "clock", "lose", "cut", "hub", "clear", "top up"))
        if step == "note":
            code = rng.choice((AlertCode.LOW_BATTERY, AlertCode.UNAUTHORISED_ACCESS))
            for _ in range(rng.randint(1, 20)):
                meter.note(code, utc_us=now_us, detail="again")
        elif step == "clock":
            far = rng.choice((1, 1, 1, 12))  # hours mostly; days sometimes
            furthest = max(far, furthest)
            meter.set_clock(now_us + far * rng.randint(-7_200, 3_600) * 1_000_000, utc_us=now_us)
        elif step == "lose":
            mirror.loses = rng.randint(1, 3)
        elif step == "cut":
            nvm = nvm.after_power_cut()
            feed = feed_of(meter, nvm)
        elif step == "hub":
            mirror.restart()
        elif step == "clear":
            meter.clear_event_log(utc_us=now_us)
        elif step == "top up":
            meter.add_credit(rng.randint(1, 9) * 1_000, source=0, utc_us=now_us)
        meter.advance(meter.now_us + rng.randint(1, 7_200) * 1_000_000)
        await wake(feed, mirror)
        if rng.random() < 0.7:
            nvm.commit()
    mirror.loses = 0
    assert await wake(feed, mirror)
    # Four hours of network data: of a clock set further back, the proxy may have others of them than the meter.
    assert_equal(meter, mirror.copies, has_network=furthest == 1)


async def test_a_new_hub_gets_everything_and_the_old_one_nothing_twice(meter: GasMeterCore) -> None:
    meter.advance(START_US + 3 * DAY_US)
    mirror, feed = Mirror(), feed_of(meter)
    await wake(feed, mirror)
    mirror.told.clear()
    await feed.make_sure(mirror.ask)  # the answer to a report was lost: it asks for its mirror again
    await wake(feed, mirror)
    assert mirror.told == []
    other = Mirror()
    await feed.make_sure(other.ask)
    await wake(feed, other)
    assert_equal(meter, other.copies)


async def test_a_hub_that_keeps_no_logs_is_left_in_peace(meter: GasMeterCore) -> None:
    meter.advance(START_US + DAY_US)

    async def refuse(*_: Any) -> None:
        raise RefusedError(0x81, "no such command")

    feed = feed_of(meter)
    await feed.publish_news(refuse, is_time_left=lambda: True)
    mirror = Mirror()
    await wake(feed, mirror)
    assert_equal(meter, mirror.copies)
