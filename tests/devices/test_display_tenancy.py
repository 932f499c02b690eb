"""A new household at a display: what the old one used of either fuel, and was told, is none of its business."""

from __future__ import annotations

from typing import Any

from tests.test_home_configuration import element, sender

from smets1.devices.display import DisplayModel
from smets1.firmware.civil import format_utc, from_zigbee_s, zigbee_s
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.status import Side

HOUR_S = 3600
DAY_S = 24 * HOUR_S
START_S = 730_000_000 // DAY_S * DAY_S


def lived_in(nvm: MemoryNvm | None = None) -> DisplayModel:
    """Two days of both fuels, 100 an hour, both tenancies heard of."""
    model = DisplayModel(is_ppmid=False, has_gas=True, nvm=nvm)
    model.on_tenancy(0)
    model.on_tenancy(0, is_gas=True)
    for hour in range(48):
        for readings in (model.electricity, model.gas):
            at_us = from_zigbee_s(START_S + hour * HOUR_S)
            readings.take({"current_summation_delivered": 1000 + 100 * hour}, utc_us=at_us)
    return model


def used(model: DisplayModel) -> list[int]:
    now_us = from_zigbee_s(START_S + 5 * DAY_S)
    return [
        sum(use or 0 for _, use in readings.history.last_days(9, utc_us=now_us))
        for readings in (model.electricity, model.gas)
    ]


def message(model: DisplayModel, number: int, at_s: int) -> None:
    fields = {
        "message_id": number,
        "message": f"message {number}",
        "message_control": 0,
        "start_time": at_s,
        "duration_in_minutes": None,
    }
    model.messages.take(fields, utc_us=from_zigbee_s(at_s))


def test_either_meter_may_tell_of_it() -> None:
    for is_gas in (False, True):
        model = lived_in()
        assert used(model) == [4700, 4700]
        model.on_tenancy(START_S + DAY_S, is_gas=is_gas)
        assert used(model) == [2400, 2400], "the second day is the new household's"


def test_the_other_meter_tells_later_and_takes_nothing_of_the_new_household() -> None:
    model = lived_in()
    message(model, 1, START_S)
    model.on_tenancy(START_S + DAY_S)
    message(model, 2, START_S + DAY_S + HOUR_S)
    model.on_tenancy(START_S + DAY_S, is_gas=True)
    assert used(model) == [2400, 2400]
    shown = model.messages.shown(from_zigbee_s(START_S + 5 * DAY_S))
    assert [each.text for each in shown] == ["message 2"]


def test_the_first_that_is_heard_of_a_meter_takes_nothing() -> None:
    model = DisplayModel(is_ppmid=False, has_gas=True)
    message(model, 1, START_S)
    model.on_tenancy(START_S + DAY_S, is_gas=True)
    assert model.messages.shown(from_zigbee_s(START_S + DAY_S)) != []


def test_it_is_known_after_a_power_cut_which_tenancies_were_heard_of() -> None:
    nvm = MemoryNvm()
    lived_in(nvm).on_tenancy(START_S + DAY_S, is_gas=True)
    nvm.commit()
    again = DisplayModel(is_ppmid=False, has_gas=True, nvm=nvm)
    message(again, 1, START_S)
    again.on_tenancy(START_S + DAY_S, is_gas=True)
    again.on_tenancy(0)
    assert again.messages.shown(from_zigbee_s(START_S + DAY_S)) != []
    again.on_tenancy(START_S + 2 * DAY_S, is_gas=True)
    assert again.messages.shown(from_zigbee_s(START_S + DAY_S)) == []


async def test_a_mirror_that_knows_of_no_tenancies_is_followed_all_the_same(smets1_home: Any) -> None:
    """A hub of another make, say."""
    home = await smets1_home(toml="[han]\nreport_interval_s = 1800\n")
    await home.clock.advance(minutes=40)
    del home.chf.app.core._instances[(2, cluster_named("device_management").cluster_id, Side.SERVER)]
    home.ihd._gas_report_s = None
    await home.clock.advance(hours=1)
    heard_us = home.ihd.model.gas.heard_utc_us
    assert heard_us is not None
    assert home.clock.utc_us - heard_us < 2400 * 1_000_000
    assert home.ihd.model.gas.price_mp_per_kwh is not None
    assert home.ihd._gas_report_s is not None, "it does not ask for them again and again"


async def test_the_gas_meter_alone_is_told_and_the_display_hears_it_from_the_mirror(
    smets1_home: Any, duis_schema: Any
) -> None:
    toml = (
        "[han]\nreport_interval_s = 1800\n"
        '[[load]]\nfuel = "gas"\nkind = "constant"\nwatts = 5000\n'
        '[[device]]\nrole = "chf"\n[[device]]\nrole = "gpf"\n[[device]]\nrole = "gsme"\n'
        '[[device]]\nrole = "ihd"\n'
    )
    home = await smets1_home(toml=toml)
    await home.clock.advance(hours=30)
    history = home.ihd.model.gas.history

    def known() -> int:
        return sum(use or 0 for _, use in history.last_days(3, utc_us=home.clock.utc_us + DAY_S * 1_000_000))

    before = known()
    assert before > 10_000
    at = format_utc((home.clock.utc_us // 1_000_000 - 60) * 1_000_000)
    body = element("RestrictAccessForChangeOfTenancy", RestrictionDateTime=at)
    await sender(home, duis_schema)("3.2", body, home.gsme)
    await home.clock.advance(minutes=40)
    assert home.gsme.meter.tenancy_from_us > 0
    mirrored = await home.ihd.app.read(0, 2, "device_management", ("change_of_tenancy_update_date_time",))
    assert mirrored["change_of_tenancy_update_date_time"] == zigbee_s(home.gsme.meter.tenancy_from_us)
    assert known() < 3000 < before
