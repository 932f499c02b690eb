"""Logs and registers of a home, from the file of its load to the DUIS response: one home lives three days, and
then answers DCC's reference requests for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from tests.headend.reference_table import read_back

from smets1.devices.billing import BillingCalendar, BillingPeriod
from smets1.devices.event_log import AlertCode
from smets1.devices.load_limit import LimitedSupply, LoadLimit
from smets1.devices.prepayment import PaymentMode
from smets1.devices.published import owed_mp
from smets1.devices.register_clusters import block_counters_uwh
from smets1.devices.tamper import Sensor
from smets1.devices.tariff import BlockPeriod, SwitchingTable, Tariff
from smets1.firmware.civil import format_utc, from_datetime
from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.duis.codes import ServicePath
from smets1.headend.duis.request import XmlNode
from smets1.tools.duis_ask import DuisAnswer, ask
from smets1.tools.home import Home, open_home

START = "2013-01-14T00:00:00Z"
DAY_US, HALF_HOUR_US = 86_400_000_000, 1_800_000_000
SRVS = (
    *("3.3", "4.1.2", "4.1.3", "4.1.4", "4.2", "4.4.2", "4.4.3", "4.4.4", "4.4.5", "4.6.1"),
    *("4.8.1", "4.8.2", "4.8.3", "4.10", "4.15", "6.13"),
)
SWITCHES = SwitchingTable.daily((0, 0), (420, 1), (1200, 0))
BLOCKS = Tariff(
    prices_up_per_kwh=((10_000_000, 20_000_000), (12_000_000, 24_000_000)),
    standing_charge_up=50_000_000,
    thresholds_wh=((1000,), (2000,)),
    switching=SWITCHES,
    block_period=BlockPeriod.DAY,
)


@dataclass
class Life:
    """What came of the home: answers by the name of their request, and what its meters knew at that time."""

    home: Home
    answers: dict[str, DuisAnswer] = field(default_factory=dict)
    waited_s: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    csv_wh: list[float] = field(default_factory=list)
    csv_litres: list[float] = field(default_factory=list)  # of each hour

    def the(self, start: str) -> DuisAnswer:
        (name,) = [name for name in self.answers if name.startswith(start)]
        return self.answers[name]


def rows(node: XmlNode, name: str) -> list[XmlNode]:
    """All elements of a name below a node, in order."""
    found: list[XmlNode] = []
    for child in node.children:
        found += [child] if child.name == name else rows(child, name)
    return found


def table(node: XmlNode, name: str) -> dict[int, str]:
    """index -> text of the elements of that name."""
    return {int(dict(row.attributes)["index"]): row.text for row in rows(node, name)}


def requests(templates: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(templates.glob("*.XML")):
        match = re.search(r"_(\d+(?:\.\d+)+)_", path.name)
        if match and match[1] in SRVS:
            yield path.name, path.read_text()


async def post(home: Home, xml: str, *, period: tuple[str, str] | None = None) -> DuisAnswer:
    """A reference request under an id of its own, over a period of ours."""
    counter = home.next_request_counter()
    xml = re.sub(r"(<sr:RequestID>[^:]+:[^:]+:)\d+", rf"\g<1>{counter}", xml)
    if period is not None:
        for name, text in zip(("StartDateTime", "EndDateTime"), period, strict=True):
            xml = re.sub(rf"(<sr:{name}>)[^<]+", rf"\g<1>{text}", xml)
    octets = await home.headend.submit(xml.encode(), ServicePath.SEND_COMMAND, wait_s=3700)
    return DuisAnswer.of(octets)


async def live(home: Home) -> None:
    """Three days in which something is logged in each log."""
    esme, gsme = home.esme.meter, home.gsme.meter

    def now() -> int:
        return home.clock.utc_us

    for meter in (esme, gsme):
        calendar = BillingCalendar(period=BillingPeriod.DAILY, minute=60)
        meter.set_billing_calendar(calendar, utc_us=now())
        meter.set_prepayment(replace(meter.account.config, debt_per_payment_bp=2_000), utc_us=now())
        meter.set_debts(time_1_mp=1_000, time_2_mp=2_000, payment_mp=500_000, utc_us=now())
    await home.clock.advance(hours=9)
    for device in (home.esme, home.gsme):
        token = home.headend.make_utrn(device.eui64, pounds=10)
        assert (await ask(home, "2.2", device.eui64, token=token)).code == "I0"
    await home.clock.advance(hours=7)
    esme.set_load_limit(
        LoadLimit(threshold_w=1, period_s=300, restoration_s=60, supply=LimitedSupply.UNCHANGED), utc_us=now()
    )
    await home.clock.advance(minutes=11)
    esme.set_load_limit(
        LoadLimit(threshold_w=9_000, period_s=60, restoration_s=60, supply=LimitedSupply.UNCHANGED),
        utc_us=now(),
    )
    esme.set_voltage(258_000, utc_us=now())
    await home.clock.advance(hours=1)
    esme.set_voltage(None, utc_us=now())
    for meter, sensor in ((esme, Sensor.METER_COVER), (gsme, Sensor.BATTERY_COVER)):
        meter.feel(sensor, is_open=True, utc_us=now())
        meter.set_tariff(BLOCKS, utc_us=now())
        meter.set_payment_mode(PaymentMode.CREDIT, utc_us=now())
    start_us = from_datetime(home.config.start)
    await home.clock.advance_to(start_us + 3 * DAY_US + 5 * 60_000_000)
    for minutes in range(40):  # until the gas meter has just slept in again
        before_us = home.chf.gas.reported_utc_us
        await home.clock.advance(minutes=1)
        if minutes and home.chf.gas.reported_utc_us != before_us:
            break
    await home.clock.advance(minutes=3)


def registers_wh(home: Home) -> dict[tuple[str, int, int], int]:
    """What the electricity meter counts at this moment: (what, block, TOU) -> Wh, each from 1."""
    meter = home.esme.meter
    meter.advance(home.clock.utc_us)
    found = {("tou", 0, tou): uwh for tou, uwh in enumerate(meter.registers.tou_uwh, 1)}
    for block, row in enumerate(meter.registers.block_uwh, 1):
        found |= {("matrix", block, tou): uwh for tou, uwh in enumerate(row, 1)}
    for tou in (1, 2):
        counters = block_counters_uwh(meter, tou - 1)
        found |= {("counter", block, tou): uwh for block, uwh in enumerate(counters, 1)}
    return {place: uwh // 1_000_000 for place, uwh in found.items()}


async def ask_all(life: Life, templates: Path) -> None:
    home = life.home
    period = (START, "2013-02-01T00:00:00Z")
    life.facts["registers before"] = registers_wh(home)
    late = []  # 3.3 empties what the others read
    for name, xml in requests(templates):
        if "_3.3_" in name:
            late.append((name, xml))
            continue
        before_us = home.clock.utc_us
        life.answers[name] = await post(home, xml, period=period)
        life.waited_s[name] = (home.clock.utc_us - before_us) / 1e6
    gas_log = (templates / "CS10a_6.13_SUCCESS_REQUEST_DUIS.XML").read_text()
    for name, log in (("GSMEEvent", "GSMEEvent"), ("GPF Event", "Event")):
        xml = gas_log.replace("-A1:", "-A3:").replace("90-A1<", "90-A3<").replace(">Event<", f">{log}<")
        life.answers[name] = await post(home, xml, period=period)
    life.facts["metering mirror"] = dict(home.chf.gas.values["metering"])
    life.facts["data mirror"] = dict(home.chf.gas.values["meter_data"])
    life.facts["network"] = list(home.gsme.meter.network.entries)
    life.facts["registers after"] = registers_wh(home)
    life.facts["voltages"] = list(home.esme.meter.voltage.profile)
    for meter in (home.esme.meter, home.gsme.meter):
        life.facts[f"{type(meter).__name__} events"] = list(meter.log.events)
    for name, xml in late:
        life.answers[name] = await post(home, xml)
    await home.clock.advance(minutes=2)
    life.answers["after clearing"] = await post(home, gas_log, period=period)
    security = (templates / "CS10b_6.13_SUCCESS_REQUEST_DUIS.XML").read_text()
    life.answers["cleared"] = await post(home, security, period=period)


@pytest.fixture(scope="module")
def life(shared_dir: Path, duis_templates: Path) -> Life:
    electricity = shared_dir / "data" / "lcl_half_hourly.csv"
    gas = shared_dir / "data" / "n3rgy_hourly_electricity_gas.csv"
    toml = (
        "[han]\nreport_interval_s = 3600\n[prepayment]\nbalance_pounds = 20\n"
        f'[[load]]\nfuel = "electricity"\nkind = "csv"\nfile = "{electricity}"\nhome = "MAC000010"\n'
        f'[[load]]\nfuel = "gas"\nkind = "csv"\nfile = "{gas}"\nfirst_day = "2022-12-04"\n'
    )

    async def main() -> Life:
        home = await open_home(seed=1, toml=toml, start=START)
        try:
            life = Life(home)
            await live(home)
            await ask_all(life, duis_templates)
        finally:
            await home.close()
        return life

    life = run(main(), speed=MAX_SPEED)
    days = ("2013-01-14", "2013-01-15", "2013-01-16")
    lines = [line.split(",") for line in electricity.read_text().splitlines()[1:]]
    life.csv_wh = [float(r[2]) * 1000 for r in lines if r[0] == "MAC000010" and r[1].startswith(days)]
    conversion = life.home.gsme.meter.conversion
    factor = 3_600_000_000 / (conversion.calorific_value_x10 * conversion.factor_x100000)
    lines = [line.split(",") for line in gas.read_text().splitlines()[1:]]
    days = ("2022-12-04", "2022-12-05", "2022-12-06")
    life.csv_litres = [float(r[2]) * factor for r in lines if r[0].startswith(days)]
    assert (len(life.csv_wh), len(life.csv_litres)) == (144, 72)
    return life


# --- every one -------------------------------------------------------------------------------------


def test_every_reference_request_is_done(life: Life, duis_schema: etree.XMLSchema, duis_parser: Path) -> None:
    assert len(life.answers) == 44 + 4
    for name, answer in life.answers.items():
        duis_schema.assertValid(etree.fromstring(answer.xml))
        assert answer.code == "I0", name
        assert b'MessageSuccess="true"' in answer.xml, answer.xml.decode()
    for parsed in read_back(duis_parser, [answer.xml for answer in life.answers.values()]):
        assert parsed["header"]["responseCode"] == "I0"


def test_no_gas_answer_has_waited_for_the_meter(life: Life) -> None:
    gas = {name: waited for name, waited in life.waited_s.items() if name.startswith(("GCS", "CS10"))}
    assert len(gas) == 15
    assert max(gas.values()) < 2, "the gas meter sleeps for half an hour"


# --- profiles --------------------------------------------------------------------------------------


def at(life: Life) -> int:
    return from_datetime(life.home.config.start) + 3 * DAY_US


def until_midnight(life: Life, start: str) -> list[XmlNode]:
    """The half hours of the three days; the home has lived a little longer."""
    entries = rows(life.the(start).root, "LogEntry")
    assert 0 <= len(entries) - 144 <= 2
    return [entry for entry in entries if (entry.value("Timestamp") or "") <= format_utc(at(life))]


def test_half_hours_of_electricity_equal_the_file(life: Life) -> None:
    entries = until_midnight(life, "ECS22b_4.8.1_SINGLE")
    start_us = from_datetime(life.home.config.start)
    assert len(entries) == 144
    for number, (entry, wh) in enumerate(zip(entries, life.csv_wh, strict=True)):
        assert entry.value("Timestamp") == format_utc(start_us + (number + 1) * HALF_HOUR_US)
        assert abs(int(rows(entry, "PrimaryValue")[0].text) - wh) <= 1


def test_half_hours_of_gas_equal_the_file(life: Life) -> None:
    entries = until_midnight(life, "GCS17_4.8.1")
    assert len(entries) == 144
    for number, entry in enumerate(entries):
        litres = float(rows(entry, "PrimaryValue")[0].text) * 1000
        assert abs(litres - life.csv_litres[number // 2] / 2) <= 1


def test_reactive_and_export_profiles_equal_the_meters(life: Life) -> None:
    meter = life.home.esme.meter
    held = dict(meter.profiles["reactive_import"].read(0, 1 << 60))
    entries = until_midnight(life, "ECS22c_4.8.2")
    assert len(entries) == 144
    found = {e.value("Timestamp"): int(e.value("ReactiveEnergyImportedValue") or "") for e in entries}
    assert found == {format_utc(end_us): amount for end_us, amount in held.items() if end_us <= at(life)}
    entries = until_midnight(life, "ECS22a_4.8.3")
    assert len(entries) == 144, "a house without generation exports nothing, and its meter says so"
    assert {e.value("ActiveEnergyExportedValue") for e in entries} == {"0"}
    assert {e.value("ReactiveEnergyExportedValue") for e in entries} == {"0"}


def test_the_networks_data_of_both_fuels(life: Life) -> None:
    found = life.the("ECS23_4.10").root
    entries = rows(found, "LogEntry")
    values = {e.value("Timestamp"): float(e.value("Value") or "") for e in entries}
    assert values == {format_utc(end_us): mv / 1000 for end_us, mv in life.facts["voltages"]}
    assert max(values.values()) > 250
    assert rows(found, "AvgRMSOverVoltageCounter")[0].value("Value") == "1"
    assert rows(found, "AvgRMSUnderVoltageCounter")[0].value("Value") == "0"
    assert rows(found, "MeasurementPeriod")[0].text == "1800"
    entries = rows(life.the("GCS18_4.10").root, "LogEntry")
    assert len(entries) == 40
    found_gas = {e.value("Timestamp"): float(e.value("Value") or "") for e in entries}
    held = {format_utc(end_us): litres / 1000 for end_us, litres in life.facts["network"]}
    assert found_gas == {time: value for time, value in held.items() if time in found_gas}
    assert sum(found_gas.values()) > 0.05


# --- registers -------------------------------------------------------------------------------------


def test_registers_of_time_of_use_and_blocks(life: Life) -> None:
    """The meter counts on while it is asked: each value is between those before and after all questions."""
    before, after = life.facts["registers before"], life.facts["registers after"]
    answered = table(life.the("ECS17d_4.1.2_SINGLE").root, "TOUPrimaryRegisterValue")
    found = {("tou", 0, tou): int(text) for tou, text in answered.items()}
    for row in rows(life.the("ECS17e_4.1.3").root, "TariffBlock"):
        block = int(dict(row.attributes)["index"])
        for what in ("matrix", "counter"):
            answered = table(row, f"{'Register' if what == 'matrix' else 'Counter'}MatrixTOUValue")
            found |= {(what, block, tou): int(text) for tou, text in answered.items()}
    assert found.keys() == before.keys() == after.keys()
    for place, energy_wh in found.items():
        assert before[place] <= energy_wh <= after[place], place
        assert after[place] - before[place] < 50, "seconds, not hours"
    assert sum(wh for (what, _, _), wh in found.items() if what == "matrix") > 1000


def test_gas_registers_are_those_of_the_last_waking(life: Life) -> None:
    for start in ("GCS13c_4.1.2_SUCCESS_RELIABLE_GPF", "GCS13c_4.1.2_SUCCESS_UNRELIABLE"):
        found = table(life.the(start).root, "TOURegisterMatrixValue")
        mirrored = life.facts["metering mirror"]
        assert found == {n: f"{mirrored[f'current_tier{n}_summation_delivered'] / 1000:.3f}" for n in (1, 2)}
        assert float(found[1]) > 10
    counters = table(life.the("GCS13b_4.1.4_SUCCESS_RELIABLE_GPF").root, "TariffBlockCounterValue")
    data = life.facts["data mirror"]
    assert counters == {
        block: f"{(data[f'tier1_block{block}_counter'] + data[f'tier2_block{block}_counter']) / 1000:.3f}"
        for block in (1, 2)
    }


def test_export_registers_and_load_limit(life: Life) -> None:
    export = life.the("ECS17a_4.2").root
    assert rows(export, "ActiveExportRegister")[0].value("Value") == "0"
    assert rows(export, "ReactiveExportRegister")[0].value("Value") == "0"
    limit = life.the("ECS27_4.15")
    assert limit.value("LoadLimitCounterValue") == str(life.home.esme.meter.limiter.counter) == "2"
    assert limit.value("LoadLimitPowerThreshold") == "9000"
    assert limit.value("LoadLimitPeriod") == "60"
    assert limit.value("LoadLimitRestorationPeriod") == "60"
    assert limit.value("LoadLimitSupplyState") == "Unchanged"


# --- billing ---------------------------------------------------------------------------------------


def test_snapshots_of_changes_hold_registers_and_account(life: Life) -> None:
    for start, fuel in (("ECS20b_4.4.2_SINGLE", life.home.esme), ("GCS15b_4.4.2", life.home.gsme)):
        is_gas = fuel is life.home.gsme
        name = "ConsumptionRegister" if is_gas else "ConsumptionAndTariffRegistersData"
        found = rows(life.the(start).root, f"LogEntry{name}")
        held = list(fuel.meter.billing.changes)
        assert len(held) == 2  # the tariff, then the mode
        totals = [
            round(float(row.value("ConsumptionRegister") or "0") * 1000)
            if is_gas
            else int(row.value("ActiveImportRegisterConsumption") or "")
            for row in found
        ]
        assert totals == [entry.quantity // 1_000_000 for entry in held]
        assert totals[0] > 500
        assert [row.value("Timestamp") for row in found] == [whole(entry.utc_us) for entry in held]
        for row, entry in zip(rows(life.the(start).root, "LogEntryPrepaymentData"), held, strict=True):
            assert row.value("MeterBalance") == str(entry.balance_fine // 10**12)
            assert row.value("PaymentDebtRegister") == str(owed_mp(entry.payment_debt_fine)) == "300000"
            assert row.value("TimeDebtRegisters1") == str(owed_mp(entry.time_debt_fine[0]))
            assert row.value("AccumulatedDebtRegister") == "0"


def whole(utc_us: int) -> str:
    """To the second, as ZigBee has it."""
    return format_utc(utc_us // 1_000_000 * 1_000_000)


def test_snapshots_of_the_billing_calendar(life: Life) -> None:
    for start, fuel in (("ECS20c_4.4.3_SINGLE", life.home.esme), ("GCS15c_4.4.3", life.home.gsme)):
        kind = "GSME" if fuel is life.home.gsme else "ESME"
        held = [entry for entry in fuel.meter.billing.periods if entry.utc_us < at(life)]
        found = rows(life.the(start).root, f"{kind}BillingDataLogEntry")
        accounts = rows(life.the(start).root, f"{kind}BillingPrepaymentDataLogEntry")
        assert len(held) == len(found) == len(accounts) == 3
        assert [row.value("Timestamp") for row in found] == [
            f"2013-01-{day}T01:00:00Z" for day in (14, 15, 16)
        ]
        unit = 1_000_000_000 if kind == "GSME" else 1_000_000
        for row, account, entry in zip(found, accounts, held, strict=True):
            total = float(row.value("ActiveImportRegisterValueConsumption") or "")
            assert abs(total - entry.quantity / unit) < 1
            tiers = table(row, "TariffTOURegisterMatrixValue")
            energy_wh = [float(text) * (1000 if kind == "GSME" else 1) for _, text in sorted(tiers.items())]
            assert energy_wh == [energy // 1_000_000 for energy in entry.tou_uwh]
            assert account.value("MeterBalance") == str(entry.balance_fine // 10**12)
    last = rows(life.the("ECS20c_4.4.3_SINGLE").root, "ESMEBillingDataLogEntry")[-1]
    entry = life.home.esme.meter.billing.periods[2]
    for block in (1, 2):
        held_wh = [energy // 1_000_000 for energy in entry.block_uwh[block - 1]]
        found_wh = table(last, f"TariffTOUBlock{block}RegisterMatrixValue")
        assert [int(text) for text in found_wh.values()] == held_wh


def test_payments_and_credits(life: Life) -> None:
    for debts, credits, device in (
        ("ECS20a_4.4.4", "ECS20d_4.4.5", life.home.esme),
        ("GCS15d_4.4.4", "GCS15e_4.4.5", life.home.gsme),
    ):
        (top_up,) = device.account.top_ups
        (entry,) = rows(life.the(credits).root, "LogEntry")
        assert entry.value("Amount") == "1000000"
        assert entry.value("Timestamp") == whole(top_up.utc_us)
        (entry,) = rows(life.the(debts).root, "LogEntry")
        assert entry.value("Amount") == "200000", "a fifth of ten pounds"
        assert entry.value("Timestamp") == whole(top_up.utc_us)


def test_daily_reads_equal_the_file(life: Life) -> None:
    found = rows(life.the("ECS21a_4.6.1_SINGLE").root, "LogEntry")
    assert [row.value("Timestamp") for row in found] == [
        f"2013-01-{day}T00:00:00Z" for day in (14, 15, 16, 17)
    ][-len(found) :]
    for days, row in enumerate(found[-3:], 1):
        (total,) = rows(row, "ElecActiveImportRegisterConsumption")
        assert abs(int(total.text) - sum(life.csv_wh[: days * 48])) <= 1
        tiers = table(row, "TariffTOURegisterMatrixValue")
        assert abs(sum(int(text) for text in tiers.values()) - int(total.text)) <= len(tiers)
    found = rows(life.the("GCS16a_4.6.1").root, "LogEntry")
    for days, row in enumerate(found[-3:], 1):
        (total,) = rows(row, "GasActiveImportRegisterConsumption")
        assert abs(float(total.text) * 1000 - sum(life.csv_litres[: days * 24])) <= 1


# --- events ----------------------------------------------------------------------------------------


def codes(answer: DuisAnswer) -> list[int]:
    return [int(text, 16) for text in answer.values("LogCode")]


def test_what_was_logged_is_read(life: Life) -> None:
    for start, core in (("ECS35a_6.13", "ElectricityMeterCore"), ("CS10a_6.13", "GasMeterCore")):
        held = life.facts[f"{core} events"]
        answer = life.the(start)
        assert codes(answer) == [entry.code for entry in held]
        assert answer.values("Timestamp")[-len(held) :] == [whole(entry.utc_us) for entry in held]
        assert {AlertCode.CREDIT_ADDED_LOCALLY, AlertCode.BILLING_LOG_UPDATED} <= set(codes(answer))
    assert AlertCode.LOAD_LIMIT_EXCEEDED in codes(life.the("ECS35a_6.13"))
    assert AlertCode.METER_COVER_REMOVED in codes(life.the("ECS35b_6.13"))
    assert AlertCode.BATTERY_COVER_REMOVED in codes(life.the("CS10b_6.13"))
    assert codes(life.the("GSMEEvent")) == codes(life.the("CS10a_6.13"))
    power = life.the("ECS35e_6.13")
    assert "258000 mV" in power.values("OtherInformationLogMeaning")
    assert "RMS voltage swell began" in power.values("LogMeaning")
    assert life.the("ECS35f_6.13").values("ALCSEventLogEntry") == []
    for name in ("ECS35c_6.13", "GPF Event"):  # hub and proxy are one thing
        assert codes(life.the(name)).count(0x8183) >= 4, "four devices joined"


def test_clearing_empties_the_event_log_and_says_so(life: Life) -> None:
    after = codes(life.the("after clearing"))
    assert after == [], "the proxy's copy too, when the meter has woken"
    assert codes(life.the("cleared"))[-1] == AlertCode.EVENT_LOG_CLEARED
    assert len(life.home.gsme.meter.log.events) == len(after)
