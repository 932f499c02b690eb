"""The gas proxy's copy of the tariff: whole, kept, and read while the meter sleeps."""

from __future__ import annotations

from typing import Any

import pytest
from tests.devices.test_gas_feed import START_US, Mirror, feed_of, wake
from tests.devices.test_gas_feed import meter as meter  # noqa: PLC0414 - a fixture

from smets1.devices.meter import GasMeterCore
from smets1.devices.tariff import DayProfile, Season, SwitchingTable, Tariff
from smets1.errors import NoAnswerError
from smets1.firmware.zcl.tariff_server import PRICE_MATRIX, TARIFF_INFORMATION, TARIFF_PARTS
from smets1.hub.gas_copies import GasCopies
from smets1.tools.duis_ask import ask

WEEK = SwitchingTable(
    seasons=(Season(month=1, day=1, week=0),),
    weeks=((0, 1, 0, 1, 0, 1, 0),),
    days=(DayProfile(switches=((0, 0),)), DayProfile(switches=((0, 1),))),
)
OTHER = Tariff(prices_up_per_kwh=((9_000_000, 11_000_000),), standing_charge_up=27_000_000, switching=WEEK)


def copied(copies: GasCopies) -> list[Any]:
    return [copies.tariff_parts(command) for _, command in TARIFF_PARTS]


def published(meter: GasMeterCore) -> list[Any]:
    return [meter.tariff_publication.all_values(command) for _, command in TARIFF_PARTS]


async def test_a_new_tariff_is_told_once_and_another_in_its_place(meter: GasMeterCore) -> None:
    mirror, feed = Mirror(), feed_of(meter)
    assert await wake(feed, mirror)
    first = published(meter)
    assert copied(mirror.copies) == first
    told = len(mirror.told)
    assert await wake(feed, mirror)
    assert len(mirror.told) == told, "nothing is new"
    meter.set_tariff(OTHER, utc_us=START_US + 5)
    assert await wake(feed, mirror)
    assert copied(mirror.copies) == published(meter) != first
    mirror.restart()
    assert copied(mirror.copies) == published(meter)


@pytest.mark.parametrize("frames", range(10))
async def test_what_breaks_off_leaves_the_old_one(meter: GasMeterCore, frames: int) -> None:
    """The meter stops after so many frames of the new one; its next waking begins anew."""
    mirror, feed = Mirror(), feed_of(meter)
    assert await wake(feed, mirror)
    first = published(meter)
    meter.set_tariff(OTHER, utc_us=START_US + 5)
    left = [frames]

    async def publish(cluster: str, command: str, fields: dict[str, Any]) -> None:
        if not left[0]:
            raise NoAnswerError("mirror")
        left[0] -= 1
        await mirror.publish(cluster, command, fields)

    count = sum(map(len, published(meter)))
    try:
        await feed.publish_news(publish, is_time_left=lambda: True)
    except NoAnswerError:
        pass
    mirror.restart()
    assert copied(mirror.copies) == (published(meter) if frames >= count else first)
    assert await wake(feed, mirror)
    assert copied(mirror.copies) == published(meter)


def test_a_meter_without_end_is_not_listened_to() -> None:
    mirror = Mirror()
    day = {"provider_id": 0, "issuer_event_id": 0, "issuer_calendar_id": 0, "day_id": 1, "calendar_type": 0}
    day |= {
        "total_number_of_schedule_entries": 0,
        "command_index": 0,
        "total_number_of_commands": 1,
        "entries": [],
    }
    taken = [mirror.copies.take_tariff_part("publish_day_profile", day) for _ in range(100)]
    assert taken.count(True) == 64
    assert mirror.copies.tariff_parts(TARIFF_INFORMATION) == []


def test_a_mirror_that_is_taken_away_forgets_it() -> None:
    mirror = Mirror()
    mirror.copies.take_tariff_part(
        PRICE_MATRIX,
        {
            "provider_id": 0,
            "issuer_event_id": 0,
            "issuer_tariff_id": 0,
            "start_time": 0,
            "command_index": 0,
            "total_number_of_commands": 1,
            "sub_payload_control": 0,
            "prices": [],
        },
    )
    mirror.copies.forget()
    mirror.restart()
    assert copied(mirror.copies) == [[] for _ in TARIFF_PARTS]


async def test_a_tariff_is_read_at_once_while_the_meter_sleeps(smets1_home: Any) -> None:
    """It does not wait for the half hour; and the meter's own hand-typed change is there with its next report."""
    home = await smets1_home(toml="[han]\nreport_interval_s = 1800\n")
    await home.clock.advance(minutes=40)
    asked_us = home.clock.utc_us
    answer = await ask(home, "4.11.1", home.gsme.eui64)
    assert answer.code == "I0", answer.xml
    assert home.clock.utc_us - asked_us < 30_000_000
    gpf = home.chf.gpf_factory.eui64
    assert (await ask(home, "4.11.1", gpf)).code == "I0"
    home.gsme.meter.set_tariff(OTHER, utc_us=home.gsme.civil.utc_us())
    home.gsme.changed()
    await home.clock.advance(minutes=35)
    answer = await ask(home, "4.11.1", home.gsme.eui64)
    assert b"11000" in answer.xml
    assert b"27000" in answer.xml
    values = await home.ihd.app.request(
        0, 2, "price", "get_tariff_information",
        earliest_start_time=0, min_issuer_event_id=0, number_of_commands=1, tariff_type=0,
    )  # fmt: skip
    assert values["standing_charge"] == 27_000, "a display reads it too"
