"""Tariffs as frames: whole or not at all, at their time, and given back as they came."""

from __future__ import annotations

import pytest
from tests.devices.supplier import START_US, Bench

from smets1.devices.days import DAY_US, HOUR_US
from smets1.devices.event_log import AlertCode
from smets1.devices.publication import Publication, Shelf, Shelves
from smets1.devices.published_tariff import publication_of, tariff_of
from smets1.devices.schedule import FutureCommand, FutureKind
from smets1.devices.tariff import BlockPeriod, DayProfile, Season, SpecialDay, SwitchingTable, Tariff
from smets1.errors import DecodeError
from smets1.firmware.zcl.clusters.price import PRICE
from smets1.firmware.zcl.frame import ZclFrame, command_frame, read_command
from smets1.firmware.zcl.general import DefaultResponse
from smets1.firmware.zcl.server import Via
from smets1.firmware.zcl.status import Side, Status

WEEK = "".join(f'<ReferencedDayName index="{index}">1</ReferencedDayName>' for index in range(1, 8))
DATE = (
    "<Year><NonSpecifiedYear/></Year><Month><SpecifiedMonth>1</SpecifiedMonth></Month>"
    "<DayOfMonth><SpecifiedDayOfMonth>1</SpecifiedDayOfMonth></DayOfMonth>"
    "<DayOfWeek><NonSpecifiedDayOfWeek/></DayOfWeek>"
)
TABLE = (
    "<SwitchingTable><DayProfiles><DayProfile><DayName>1</DayName>"
    "<ProfileSchedule><StartTime>00:00:00Z</StartTime><TOUTariffAction>1</TOUTariffAction></ProfileSchedule>"
    "<ProfileSchedule><StartTime>07:30:00Z</StartTime><TOUTariffAction>{last}</TOUTariffAction></ProfileSchedule>"
    f"</DayProfile></DayProfiles><WeekProfiles><WeekProfile><WeekName>1</WeekName>{WEEK}</WeekProfile>"
    "</WeekProfiles><Seasons><Season><SeasonName>all</SeasonName>"
    f"<SeasonStartDate>{DATE}</SeasonStartDate><ReferencedWeekName>1</ReferencedWeekName></Season></Seasons>"
    "</SwitchingTable>"
)
THRESHOLDS = "".join(
    f'<Thresholds index="{index}"><BlockThreshold index="1">4294967295</BlockThreshold></Thresholds>'
    for index in range(1, 9)
)
PRICES = (
    "<PriceElements><ElectricityPriceElements><StandingCharge>{standing}</StandingCharge>"
    "<StandingChargeScale>-5</StandingChargeScale><PriceScale>{scale}</PriceScale><TOUTariff>"
    '<TOUPrice index="1">{night}</TOUPrice><TOUPrice index="2">{day}</TOUPrice>'
    "</TOUTariff></ElectricityPriceElements></PriceElements>"
)


def tariff_body(
    *, at: str = "", last: int = 2, night: int = 10_000, day: int = 30_000, scale: int = -5
) -> str:
    when = f"<ExecutionDateTime>{at}</ExecutionDateTime>" if at else ""
    prices = PRICES.format(night=night, day=day, scale=scale, standing=25_000)
    return (
        f"<UpdateImportTariffPrimaryElement>{when}<ElecTariffElements><CurrencyUnits>GBP</CurrencyUnits>"
        f"{TABLE.format(last=last)}<SpecialDays/><ThresholdMatrix>{THRESHOLDS}</ThresholdMatrix>"
        f"</ElecTariffElements>{prices}</UpdateImportTariffPrimaryElement>"
    )


def price_body(*, at: str = "", night: int = 11_000, day: int = 31_000) -> str:
    when = f"<ExecutionDateTime>{at}</ExecutionDateTime>" if at else ""
    prices = PRICES.format(night=night, day=day, scale=-5, standing=26_000)
    return f"<UpdatePricePrimaryElement>{when}{prices}</UpdatePricePrimaryElement>"


def codes(bench: Bench) -> list[int]:
    return [entry.code for entry in bench.meter.take_events()]


def test_a_tariff_is_in_force_with_its_last_frame_and_charged_from_then_on():
    bench = Bench()
    assert bench.ask("1.1.1", tariff_body()).is_success
    assert bench.meter.tariff.prices_up_per_kwh == ((10_000_000, 30_000_000),)
    bench.meter.advance(START_US + DAY_US)
    # 1 kW: 7.5 h at 10p, 16.5 h at 30p, and a standing charge of 25p at midnight.
    assert bench.meter.account.balance_mp == -(75_000 + 495_000 + 25_000)
    assert [snapshot.cause.name for snapshot in bench.meter.snapshots] == ["TARIFF_CHANGE"]


@pytest.mark.parametrize("srv", ["1.1.1", "1.2.1"])
def test_a_power_cut_between_any_two_frames_leaves_the_old_tariff(srv):
    body = tariff_body() if srv == "1.1.1" else price_body()
    before = Bench()
    old = before.meter.tariff
    frames = 8 if srv == "1.1.1" else 2

    for cut_after in range(1, frames):
        bench = Bench()

        def before_step(number: int, cut_after: int = cut_after) -> Bench:
            nonlocal bench
            if number == cut_after:
                bench = bench.cut()
                assert bench.meter.tariff == old
            return bench

        assert bench.ask(srv, body, before=before_step).is_success
        assert bench.meter.tariff != old
        assert bench.cut().meter.tariff == bench.meter.tariff


def test_the_price_told_is_that_of_its_tier():
    """Asked in the instant of a switch, before the meter's own timer has come."""
    bench = Bench()
    assert bench.ask("1.1.1", tariff_body()).is_success
    bench.time.now_us = START_US + 7 * HOUR_US + HOUR_US // 2
    frame = command_frame(PRICE, "get_current_price", {"command_options": 0})
    _, values = read_command(PRICE, bench.carry_out(PRICE.cluster_id, frame, via=Via.HAN))
    assert (values["price"], values["price_trailing_digit_and_price_tier"] & 0xF) == (30_000, 2)


def test_a_set_left_half_sent_is_not_part_of_the_next():
    bench = Bench()

    def never_the_last(number: int) -> Bench:
        if number == 7:
            raise TimeoutError
        return bench

    with pytest.raises(TimeoutError):
        bench.ask("1.1.1", tariff_body(night=1), before=never_the_last)
    bench.time.now_us += HOUR_US
    assert bench.ask("1.2.1", price_body()).is_success
    assert bench.meter.tariff.switching.days == (DayProfile(switches=((0, 0),)),)
    assert bench.meter.tariff.prices_up_per_kwh == ((11_000_000, 31_000_000),)


def test_a_future_tariff_waits_in_the_meter_and_a_cancellation_withdraws_it():
    bench = Bench()
    assert bench.ask("1.1.1", tariff_body(at="2024-03-03T09:00:00Z")).is_success
    assert bench.ask("1.2.1", price_body(at="2024-03-04T00:00:00Z")).is_success
    assert bench.meter.tariff.tou_count == 1
    bench.meter.advance(START_US + 2 * DAY_US + 9 * HOUR_US - 1)
    assert (bench.meter.tariff.tou_count, AlertCode.FUTURE_COMMAND_EXECUTED in codes(bench)) == (1, False)
    bench = bench.cut()
    bench.meter.advance(START_US + 2 * DAY_US + 9 * HOUR_US)
    assert bench.meter.tariff.prices_up_per_kwh == ((10_000_000, 30_000_000),)
    assert AlertCode.FUTURE_COMMAND_EXECUTED in codes(bench)
    bench.time.now_us = bench.meter.now_us
    assert bench.ask("1.1.1", tariff_body(at="3000-12-31T00:00:00.00Z")).is_success
    assert list(bench.meter.future.pending) == [FutureKind.PRICE]
    assert bench.ask("1.2.1", price_body(at="3000-12-31T00:00:00.00Z")).is_success
    assert bench.meter.future.pending == {}
    bench.meter.advance(START_US + 4 * DAY_US)
    assert bench.meter.tariff.prices_up_per_kwh == ((10_000_000, 30_000_000),)


def test_a_future_price_that_fits_no_more_is_told_as_failed():
    """Prices at a coarser scale than those that stay can be given at."""
    bench = Bench()
    assert bench.ask("1.1.1", tariff_body()).is_success
    only_one = price_body(at="2024-03-02T00:00:00Z").replace('<TOUPrice index="2">31000</TOUPrice>', "")
    coarse = only_one.replace("<PriceScale>-5", "<PriceScale>-1")
    assert bench.ask("1.2.1", coarse.replace("11000", "1")).is_success
    assert bench.ask("1.1.1", tariff_body(day=30_001)).is_success
    bench.meter.advance(START_US + DAY_US)
    assert AlertCode.FUTURE_COMMAND_FAILED in codes(bench)
    assert bench.meter.tariff.prices_up_per_kwh == ((10_000_000, 30_001_000),)
    assert bench.meter.future.pending == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"last": 3}, "invalid value"),  # no price for register 3
        ({"scale": 1}, "PriceScale 1 is none of -15 to 0"),
        ({"scale": -16}, "PriceScale -16 is none of -15 to 0"),
        ({"scale": -9, "day": 1}, "invalid value"),  # finer than a micro-penny
        ({"at": "2200-01-01T00:00:00Z"}, "beyond the year 2135"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_has_changed(change, reason):
    bench = Bench()
    before = bench.meter.tariff
    outcome = bench.ask("1.1.1", tariff_body(**change))
    assert not outcome.is_success
    assert reason in outcome.debug[0].error
    assert bench.meter.tariff == before
    assert bench.meter.snapshots == type(bench.meter.snapshots)(maxlen=12)
    assert bench.ask("4.11.1", "<ReadTariffPrimaryElement/>").is_success


def test_without_a_sua_nothing_is_published_not_by_a_display_either():
    bench = Bench()
    values = {"provider_id": 0, "issuer_tariff_id": 0, "tariff_type": 0}
    frame = command_frame(PRICE, "cancel_tariff", values, sender=Side.SERVER)
    for via in (Via.HAN, Via.WIRE):
        answer = ZclFrame.decode(bench.execute(PRICE.cluster_id, frame, via=via)).general()
        assert isinstance(answer, DefaultResponse)
        assert answer.status == Status.NOT_AUTHORIZED


def test_a_tariff_that_waits_without_having_been_published_is_no_tariff_that_can_be_named():
    bench = Bench()
    later = Tariff.flat(price_mp_per_kwh=60_000).encode()
    command = FutureCommand(kind=FutureKind.TARIFF, due_us=START_US + DAY_US, payload=later)
    bench.meter.schedule(command, utc_us=START_US)
    values = {"provider_id": 0, "issuer_tariff_id": 7, "tariff_type": 0}
    frame = command_frame(PRICE, "cancel_tariff", values, sender=Side.SERVER)
    answer = ZclFrame.decode(bench.execute(PRICE.cluster_id, frame)).general()
    assert isinstance(answer, DefaultResponse)
    assert answer.status == Status.NOT_FOUND
    assert list(bench.meter.future.pending) == [FutureKind.TARIFF]


def test_a_tariff_of_the_home_file_reads_as_if_it_had_been_published():
    table = SwitchingTable(
        seasons=(Season(month=4, day=1, week=0),),
        weeks=((0, 0, 0, 0, 0, 1, 1),),
        days=(DayProfile(switches=((0, 0), (420, 1))), DayProfile(switches=((0, 1),))),
        special_days=(SpecialDay(year=2024, month=12, day=32, profile=1, weekday=0),),
    )
    for tariff in (
        Tariff.flat(price_mp_per_kwh=28_620, standing_charge_mp=45_000),
        Tariff(prices_up_per_kwh=((30_000_000, -1_000_000),), switching=table),
        Tariff(
            prices_up_per_kwh=((1_000, 5_000), (2_000, 6_000)),
            thresholds_wh=((500,), (700,)),
            switching=table,
            block_period=BlockPeriod.DAY,
        ),
    ):
        published = publication_of(tariff)
        again = tariff_of(published, block_period=tariff.block_period)
        assert again.prices_up_per_kwh == tariff.prices_up_per_kwh
        assert again.thresholds_wh == tariff.thresholds_wh
        assert tariff.switching in (again.switching, None)
        assert again.standing_charge_up == tariff.standing_charge_up
        assert Publication.decode(published.encode()) == published


def test_shelves_survive_and_damage_is_a_decode_error():
    shelves = Shelves()
    shelves.put(Shelf.TARIFF, publication_of(Tariff.flat(price_mp_per_kwh=1)))
    octets = shelves.encode()
    assert Shelves.decode(octets).get(Shelf.TARIFF) == shelves.get(Shelf.TARIFF)
    for end in range(0, len(octets), 7):
        with pytest.raises(DecodeError):
            Shelves.decode(octets[:end])
    with pytest.raises(DecodeError):
        Publication.decode(Publication((("publish_nothing", b""),)).encode())
    shelves.clear(Shelf.TARIFF)
    assert shelves.get(Shelf.TARIFF) is None


def test_a_day_that_begins_with_a_later_switch_goes_on_with_the_day_before():
    table = SwitchingTable(
        seasons=(Season(month=1, day=1, week=0),),
        weeks=((0, 0, 0, 0, 0, 1, 1),),  # 2024-03-04 is a Monday
        days=(DayProfile(switches=((360, 1), (1380, 0))), DayProfile(switches=((0, 2),))),
    )
    monday_us = START_US + 3 * DAY_US
    assert table.tou_at(monday_us + HOUR_US) == 2  # as on Sunday
    assert table.tou_at(monday_us + 6 * HOUR_US) == 1
    assert table.tou_at(monday_us + 25 * HOUR_US) == 0  # Tuesday, as Monday ended


def test_blocks_begin_anew_with_the_billing_period():
    bench = Bench()
    body = (
        "<UpdateDeviceConfigurationBillingCalendar><ElectricityBillingCalendar><BillingTime>06:00:00Z"
        "</BillingTime><Daily/></ElectricityBillingCalendar></UpdateDeviceConfigurationBillingCalendar>"
    )
    assert bench.ask("6.8", body).is_success
    bench.meter.advance(START_US + 6 * HOUR_US - 1)
    assert bench.meter.registers.counters_uwh[0] > 5 * 10**9
    bench.meter.advance(START_US + 6 * HOUR_US)
    assert bench.meter.registers.counters_uwh == [0]
    assert len(bench.meter.billing.periods) == 1
