"""Logs of a whole home as a stranger asks for them: periods that make no sense, clocks that jump, a log that is
full, a hub that restarts meanwhile, a gas meter that is gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judged_home import JudgedHomes, shorts
from lxml import etree
from tests.test_home_logs import BLOCKS, post, requests, rows
from tshark import Step

from smets1.devices.billing import BillingCalendar, BillingPeriod
from smets1.devices.days import DAY_US, HALF_HOUR_US
from smets1.devices.event_log import AlertCode
from smets1.devices.metering import PROFILE_DAYS
from smets1.firmware.civil import format_utc, parse_utc
from smets1.firmware.zcl.log_pages import samples_of
from smets1.hardware.radio import COORDINATOR
from smets1.tools.duis_ask import DuisAnswer
from smets1.tools.home import Home

START = "2024-03-31T00:00:00Z"  # in an hour GB clocks go forward
CALM = "[han]\nreport_interval_s = 3600\ngas_wake_s = 600\n"
EVER = ("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
YEAR = PROFILE_DAYS * 48
METERING, MANAGEMENT, METER_DATA = 0x0702, 0x0708, 0xFC05


def template(folder: Path, start: str) -> str:
    (path,) = folder.glob(f"{start}*")
    return path.read_text()


def is_done(answer: DuisAnswer) -> bool:
    return b'MessageSuccess="true"' in answer.xml


def stamps(answer: DuisAnswer) -> list[str]:
    return [entry.value("Timestamp") or "" for entry in rows(answer.root, "LogEntry")]


def times_us(answer: DuisAnswer) -> list[int]:
    return [parse_utc(stamp) for stamp in stamps(answer)]


# --- periods ---------------------------------------------------------------------------------------


async def test_periods_without_entries_and_periods_that_are_none(
    smets1_home: Any, duis_templates: Path, duis_schema: Any
) -> None:
    """Of every service that reads a log: valid answers, done and empty, or refused."""
    home = await smets1_home(toml=CALM, start=START)
    await home.clock.advance(minutes=12)
    logs = [(name, xml) for name, xml in requests(duis_templates) if "ReadLogPeriod" in xml]
    assert len(logs) == 30
    for name, xml in logs:
        for period in (
            ("2000-01-01T00:00:00Z", "2000-01-01T00:00:00Z"),
            ("1970-01-01T00:00:00Z", "1999-12-31T23:59:59Z"),
            ("2500-01-01T00:00:00Z", "3000-12-31T00:00:00Z"),
        ):
            answer = await post(home, xml, period=period)
            duis_schema.assertValid(etree.fromstring(answer.xml))
            assert is_done(answer), (name, period)
            assert answer.root.find("Body") is not None
            assert stamps(answer) == [], (name, period)
        for period in (
            ("2024-03-31T00:00:01Z", "2024-03-31T00:00:00Z"),
            ("2024-03-31T00:00:00", "2024-04-30T00:00:00"),
        ):
            answer = await post(home, xml, period=period)
            duis_schema.assertValid(etree.fromstring(answer.xml))
            assert (answer.code, is_done(answer)) == ("I0", False), name


async def test_a_period_is_cut_to_the_second_and_both_ends_count(
    smets1_home: Any, duis_templates: Path
) -> None:
    home = await smets1_home(toml=CALM, start=START)
    await home.clock.advance(hours=2, minutes=12)
    for start in ("ECS22b_4.8.1_SINGLE", "GCS17_4.8.1"):
        xml = template(duis_templates, start)
        for period, expected in (
            (("2024-03-31T01:00:00Z", "2024-03-31T02:00:00Z"), ["01:00", "01:30", "02:00"]),
            (("2024-03-31T01:00:00.001Z", "2024-03-31T01:59:59.999Z"), ["01:30"]),
            (("2024-03-31T02:00:00+01:00", "2024-03-31T02:00:00+01:00"), ["01:00"]),
            (("2024-03-30T00:00:00Z", "2024-03-31T00:30:00Z"), ["00:30"]),
        ):
            found = stamps(await post(home, xml, period=period))
            assert [stamp[11:16] for stamp in found] == expected, period


# --- clocks ----------------------------------------------------------------------------------------


async def test_the_clock_change_of_march_leaves_no_hole_and_no_double(
    smets1_home: Any, duis_templates: Path
) -> None:
    home = await smets1_home(toml=CALM, start=START)
    await home.clock.advance(hours=4, minutes=1)
    for start in ("ECS22b_4.8.1_SINGLE", "GCS17_4.8.1", "ECS22a_4.8.3", "ECS23_4.10"):
        found = times_us(await post(home, template(duis_templates, start), period=EVER))
        first = parse_utc("2024-03-31T00:30:00Z")
        assert found == [first + number * HALF_HOUR_US for number in range(8)], start


@pytest.mark.parametrize("hours", [3, -3])
async def test_a_clock_that_was_set_counts_every_watt_hour_once(
    smets1_home: Any, duis_templates: Path, hours: int
) -> None:
    """Set forward: a hole, since nothing was metered in it. Set back: what was lived twice stands once, summed."""
    home = await smets1_home(toml=CALM, start=START)
    await home.clock.advance(hours=5, minutes=1)
    for device in (home.esme, home.gsme):
        now_us = device.civil.utc_us()
        device.civil.set(now_us + hours * 2 * HALF_HOUR_US)
        device.meter.set_clock(now_us + hours * 2 * HALF_HOUR_US, utc_us=now_us)
    await home.clock.advance(hours=1, minutes=14)  # the gas meter has told the proxy of its last half hour
    for start, device in (("ECS22b_4.8.1_SINGLE", home.esme), ("GCS17_4.8.1", home.gsme)):
        answer = await post(home, template(duis_templates, start), period=EVER)
        found = times_us(answer)
        assert found == sorted(set(found))
        held = device.meter.profile.read(0, 1 << 62)
        assert found == [end_us for end_us, _ in held]
        scale = 1 if device is home.esme else 1000
        amounts = [round(float(row.text) * scale) for row in rows(answer.root, "PrimaryValue")]
        assert amounts == [amount for _, amount in held]
        assert sum(amounts) > 0
    found = times_us(await post(home, template(duis_templates, "ECS23_4.10"), period=EVER))
    assert found == sorted(set(found))


# --- a log that is full ----------------------------------------------------------------------------


def fill(home: Home) -> int:
    """Each meter has logged for 395 days; the end of the last half hour before now."""
    end_us = home.clock.utc_us // HALF_HOUR_US * HALF_HOUR_US
    for meter in (home.esme.meter, home.gsme.meter):
        meter.profile.clear()
        for number in range(YEAR):
            meter.profile.put(end_us - number * HALF_HOUR_US, number % 5000)
    return end_us


@pytest.mark.slow
async def test_a_full_log_of_395_days_in_one_answer(
    smets1_home: Any, duis_templates: Path, duis_schema: Any
) -> None:
    home = await smets1_home(toml=CALM, start="2024-03-31T00:00:00Z")
    end_us = fill(home)
    await home.clock.advance(minutes=58)  # five wakings, until the gas proxy has all
    first_us = end_us - (YEAR - 1) * HALF_HOUR_US
    for start in ("ECS22b_4.8.1_SINGLE", "GCS17_4.8.1"):
        asked_us = home.clock.utc_us
        answer = await post(home, template(duis_templates, start), period=EVER)
        assert home.clock.utc_us - asked_us < 60_000_000
        duis_schema.assertValid(etree.fromstring(answer.xml))
        found = times_us(answer)
        assert len(found) >= YEAR - 48, "its oldest day may have fallen out meanwhile"
        last = (found[-1] - first_us) // HALF_HOUR_US
        first = last - len(found) + 1
        assert found == [first_us + number * HALF_HOUR_US for number in range(first, last + 1)]
        divisor = 1 if start.startswith("E") else 1000
        values = [round(float(row.text) * divisor) for row in rows(answer.root, "PrimaryValue")]
        assert values[: YEAR - first] == [(YEAR - 1 - number) % 5000 for number in range(first, YEAR)]


async def fill_logs(home: Home) -> None:
    """More entries of everything than a log keeps: credits, payments, changes, periods, events, voltages."""
    clock, esme = home.clock, home.esme.meter
    meters = (esme, home.gsme.meter)
    for meter in meters:
        meter.set_billing_calendar(BillingCalendar(period=BillingPeriod.DAILY), utc_us=clock.utc_us)
        config = replace(meter.account.config, debt_per_payment_bp=1_000, max_meter_balance_mp=10**9)
        meter.set_prepayment(config, utc_us=clock.utc_us)
        meter.set_debts(time_1_mp=0, time_2_mp=0, payment_mp=9_000_000, utc_us=clock.utc_us)
    await clock.advance(hours=1)  # midnight
    for number in range(15):
        for meter in meters:
            meter.add_credit(10_000, source=0, utc_us=clock.utc_us)
            meter.set_tariff(replace(BLOCKS, standing_charge_up=number), utc_us=clock.utc_us)
        await clock.advance(seconds=2)
    for meter in meters:
        for number in range(250):
            code = (AlertCode.LOW_BATTERY, AlertCode.UNAUTHORISED_ACCESS)[number % 2]
            meter.note(code, utc_us=clock.utc_us, detail=f"{number}")
        for ring in (meter.billing.periods, meter.daily.entries):
            last = ring[-1]
            ring.extend(
                [*(replace(last, utc_us=last.utc_us - day * DAY_US) for day in range(20, 0, -1)), last]
            )
    first_us = clock.utc_us // HALF_HOUR_US * HALF_HOUR_US
    esme.voltage.profile.extendleft(
        (first_us - number * HALF_HOUR_US, 241_000) for number in range(1, 4321 - len(esme.voltage.profile))
    )
    for number in range(104):
        esme.set_voltage((230_000, 258_000)[number % 2], utc_us=clock.utc_us)
        await clock.advance(seconds=40)
    await clock.advance(minutes=25)


# SRV -> element -> how many of them a log that is full has; what is not here is a profile.
FULL = {
    "4.4.2": {"LogEntryConsumptionAndTariffRegistersData": 12, "LogEntryPrepaymentData": 12},
    "4.4.3": {"ESMEBillingDataLogEntry": 12, "ESMEBillingPrepaymentDataLogEntry": 12},
    "4.4.4": {"LogEntry": 10},
    "4.4.5": {"LogEntry": 5},
    "4.6.1": {"LogEntry": 14},
    "6.13": {"LogEntry": 100},
}
_GAS_NAMES = {
    "LogEntryConsumptionAndTariffRegistersData": "LogEntryConsumptionRegister",
    "ESMEBillingDataLogEntry": "GSMEBillingDataLogEntry",
    "ESMEBillingPrepaymentDataLogEntry": "GSMEBillingPrepaymentDataLogEntry",
}
_NOT_FULL = (
    "ECS35c",
    "ECS35d",
    "ECS35f",
    "ECS35g",
)  # the hub's own; the ALCS log, which a home does not have


@pytest.mark.slow
async def test_every_log_that_is_full_is_read_whole(
    smets1_home: Any, duis_templates: Path, duis_schema: Any
) -> None:
    home = await smets1_home(toml=CALM, start="2024-03-31T23:30:00Z")
    await fill_logs(home)
    asked = set()
    for name, xml in requests(duis_templates):
        srv = name.split("_")[1]
        if "ReadLogPeriod" not in xml or name.startswith(_NOT_FULL):
            continue
        answer = await post(home, xml, period=EVER)
        duis_schema.assertValid(etree.fromstring(answer.xml))
        assert is_done(answer), name
        for element, count in FULL.get(srv, {}).items():
            element = _GAS_NAMES.get(element, element) if name.startswith("G") else element
            assert len(rows(answer.root, element)) == count, (name, element)
            asked.add(srv)
        if name.startswith("ECS23"):
            assert len(rows(answer.root, "LogEntry")) == 4320, "90 days of average voltages"
    assert asked == set(FULL)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["ECS22b_4.8.1_SINGLE", "GCS17_4.8.1"])
async def test_a_hub_that_restarts_in_mid_read_costs_nothing(
    smets1_home: Any, duis_templates: Path, start: str
) -> None:
    """The head end asks again where it was; the proxy's copies are in the hub's memory still."""
    home = await smets1_home(toml=CALM, start="2024-03-31T00:00:00Z")
    fill(home)
    await home.clock.advance(minutes=58)
    whole = await post(home, template(duis_templates, start), period=EVER)
    asking = asyncio.ensure_future(post(home, template(duis_templates, start), period=EVER))
    await home.clock.advance(seconds=3)
    assert not asking.done()
    hub = home.chf.eui64
    await home.cut_power(hub)
    await home.clock.advance(seconds=40)
    await home.restore_power(hub)
    again = await asking
    assert is_done(again)
    assert stamps(again) == stamps(whole)
    assert len(stamps(again)) > YEAR - 48


# --- a gas meter that is gone ----------------------------------------------------------------------


async def test_the_proxy_answers_for_a_meter_that_is_gone_and_learns_what_it_missed(
    smets1_home: Any, duis_templates: Path
) -> None:
    home = await smets1_home(toml=CALM, start=START)
    await home.clock.advance(hours=3, minutes=1)
    xml = template(duis_templates, "GCS17_4.8.1")
    gas = home.gsme.eui64
    home.air.faults.move_away(gas)
    before = await post(home, xml, period=EVER)
    last_heard = rows(before.root, "LogEntry")[-1].value("Timestamp")
    assert last_heard == "2024-03-31T03:00:00Z"
    await home.clock.advance(hours=6)
    asked_us = home.clock.utc_us
    away = await post(home, xml, period=EVER)
    assert home.clock.utc_us - asked_us < 2_000_000
    assert stamps(away) == stamps(before), "what it had, and the answer says of when"
    signed = etree.fromstring(away.xml).find(".//{*}Timestamp[@isFromGSME]")
    assert signed is None or (signed.text or "") <= "2024-03-31T03:10:00Z"
    home.air.faults.bring_back(gas)
    await home.clock.advance(hours=1, minutes=15)
    found = times_us(await post(home, xml, period=EVER))
    first = parse_utc("2024-03-31T00:30:00Z")
    assert found == [first + number * HALF_HOUR_US for number in range(len(found))]
    assert format_utc(found[-1]) >= "2024-03-31T10:00:00Z"
    assert found == [end_us for end_us, _ in home.gsme.meter.profile.read(0, 1 << 62)][: len(found)]


# --- another household -----------------------------------------------------------------------------


async def test_a_new_household_does_not_read_the_old_ones_gas_in_the_proxy(
    smets1_home: JudgedHomes, duis_templates: Path
) -> None:
    home = await smets1_home(toml=CALM, start=START)
    hub, meter, display = shorts(home, "chf", "gsme", "ihd")
    await home.clock.advance(hours=3, minutes=1)

    async def household() -> list[int]:
        asked = {"sample_id": 0, "earliest_sample_time": 0, "sample_type": 0, "number_of_samples": 99}
        page = await home.ihd.app.request(COORDINATOR, 2, "metering", "get_sampled_data", **asked)
        return [end_us for end_us, _ in samples_of(page)]

    assert len(await household()) == 6
    began_us = home.clock.utc_us
    xml = template(duis_templates, "GCS09_3.2").replace("2015-02-01T00:00:00.00Z", format_utc(began_us))
    assert is_done(await post(home, xml))
    await home.clock.advance(minutes=1)
    assert await household() == []
    await home.clock.advance(hours=1)
    assert [end_us > began_us for end_us in await household()] == [True] * 2
    everything = times_us(await post(home, template(duis_templates, "GCS17_4.8.1"), period=EVER))
    assert len(everything) == 8, "the supplier has all"
    asked = (
        Step("ZCL Metering: Get Sampled Data", METERING, display, hub),
        Step("ZCL Metering: Get Sampled Data Response", METERING, hub, display),
    )
    await smets1_home.tell(
        *asked,
        Step("ZCL Device Management: Publish Change Of Tenancy", MANAGEMENT, hub, meter),
        Step("ZCL: Default Response", MANAGEMENT, meter, hub),
        Step("ZCL: Report Attributes", METER_DATA, meter, hub),  # its mirror knows before it sleeps
        *asked,
    )


async def test_gas_logs_before_the_meter_has_woken_and_after_it_was_taken_away(
    smets1_home: Any, duis_templates: Path, duis_schema: Any
) -> None:
    """Without a mirror the hub refuses each of them, in an answer that is valid."""
    home = await smets1_home(toml=CALM, start=START)
    gas = [
        (name, xml)
        for name, xml in requests(duis_templates)
        if name.startswith(("GCS", "CS10")) and "_3.3_" not in name
    ]
    assert len(gas) == 15

    async def all_answers() -> set[tuple[str, bool]]:
        found = set()
        for _, xml in gas:
            answer = await post(home, xml, period=EVER if "ReadLogPeriod" in xml else None)
            duis_schema.assertValid(etree.fromstring(answer.xml))
            found.add((answer.code, is_done(answer)))
        return found

    assert await all_answers() <= {("I0", True), ("I0", False)}
    await home.clock.advance(minutes=12)
    assert await all_answers() == {("I0", True)}
    home.chf.mirror.remove()
    home.air.faults.move_away(home.gsme.eui64)
    assert await all_answers() == {("I0", False)}
    home.air.faults.bring_back(home.gsme.eui64)
    await home.clock.advance(hours=1)
    assert await all_answers() == {("I0", True)}
