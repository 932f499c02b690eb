"""What suppliers write comes back when they read it: tariffs, prices, accounts, debts, billing calendars.

DCC's reference requests against one whole home (six devices, air, hub, WAN, DCO), both fuels, in virtual time.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from tests.headend.reference_table import NS, _signed, read_back, reference_requests

from smets1.devices.account import Zone
from smets1.devices.event_log import AlertCode
from smets1.devices.prepayment import PaymentMode
from smets1.firmware.civil import parse_utc
from smets1.headend.duis.codes import CommandVariant, ServicePath
from smets1.headend.duis.request import DuisRequest, XmlNode, parse_request, read_node

pytestmark = pytest.mark.outsider

START = "2026-01-16T05:00:00Z"  # a Friday
TOML = """
[han]
gas_wake_s = 60
report_interval_s = 1800
[prepayment]
balance_pounds = 50
[[load]]
fuel = "electricity"
kind = "constant"
watts = 1000
[[load]]
fuel = "gas"
kind = "constant"
watts = 2000
"""
MINE = {
    *("1.1.1", "1.2.1", "1.5", "1.6", "2.1", "2.3", "2.5"),
    *("4.3", "4.11.1", "4.13", "4.18", "6.2.3", "6.2.9", "6.8"),
}
LATE = re.compile(rb"<sr:ExecutionDateTime>[^<]*</sr:ExecutionDateTime>")


@dataclass
class Supplier:
    """Sends DUIS requests to one home and keeps every answer."""

    home: Any
    templates: dict[str, DuisRequest]
    schema: etree.XMLSchema
    octets: list[bytes]

    async def send(self, request: DuisRequest, *, may_fail: bool = False) -> XmlNode:
        """Through Transform and back where the request asks for it; the `...Rsp` element."""
        submit = self.home.headend.submit
        if request.command_variant is CommandVariant.TRANSFORM:
            root = etree.fromstring(await submit(request.xml, ServicePath.TRANSFORM, wait_s=60))
            payload = root.findtext(".//sr:PreCommand/sr:GBCSPayload", namespaces=NS)
            octets = await submit(_signed(request, payload), ServicePath.SEND_COMMAND, wait_s=7200)
        else:
            octets = await submit(request.xml, ServicePath.SEND_COMMAND, wait_s=7200)
        root = etree.fromstring(octets)
        self.schema.assertValid(root)
        self.octets.append(octets)
        assert root.findtext("sr:Header/sr:ResponseCode", namespaces=NS) == "I0"
        answer = read_node(root.find(".//ra:SMETSData", NS)[0])
        is_done = dict(answer.attributes)["MessageSuccess"] == "true"
        assert is_done or may_fail, octets.decode()
        return answer

    async def template(self, start: str, *changes: tuple[str, str], at_once: bool = True) -> XmlNode:
        """One reference request with some of its text changed; its body as sent."""
        (request,) = (found for name, found in self.templates.items() if name.startswith(start))
        xml = LATE.sub(b"", request.xml) if at_once else request.xml
        for old, new in changes:
            assert old.encode() in xml, old
            xml = xml.replace(old.encode(), new.encode())
        changed = parse_request(xml)
        await self.send(changed)
        return changed.body

    async def read(self, start: str) -> XmlNode:
        (request,) = (found for name, found in self.templates.items() if name.startswith(start))
        return await self.send(request)


@pytest.fixture
async def supplier(smets1_home: Any, shared_dir: Path, duis_templates: Path, duis_parser: Path) -> Any:
    home = await smets1_home(toml=TOML, start=START)
    schema = etree.XMLSchema(etree.parse(str(shared_dir / "schemas" / "DUIS-5.4.xsd")))
    found = Supplier(home, dict(reference_requests(duis_templates)), schema, [])
    await home.clock.advance(minutes=3)
    yield found
    parsed = read_back(duis_parser, found.octets)
    assert [document["header"]["responseCode"] for document in parsed] == ["I0"] * len(found.octets)


# --- comparing ---------------------------------------------------------------------------------------------

_SAME = {
    "Day": "DayName",
    "GasDayName": "DayName",
    "ReferencedElecDay": "ReferencedDayName",
    "ReferencedDay": "ReferencedDayName",
    "TariffTOUPrice": "TOUPrice",
    "TariffBlockPrices": "BlockPrices",
    "ElecTariffThresholds": "Thresholds",
}


def shape(element: XmlNode | None) -> Any:
    """Name, index, text and children, with the names that DUIS and MMC do not share made one."""
    assert element is not None
    children = element.children
    if len(children) == 1 and children[0].name == "Date" and element.name == "SpecialDay":
        children = children[0].children  # as MMC writes electricity's non-disablement days
    text = element.text
    if re.fullmatch(r"-?\d+", text):
        text = str(int(text))
    if re.fullmatch(r"\d\d:\d\d:00(\.0+)?Z?", text):
        text = text[:5]
    index = dict(element.attributes).get("index", "")
    rows = [shape(child) for child in children]
    return _SAME.get(element.name, element.name), index, text, rows


def rows(element: XmlNode | None) -> list[Any]:
    """The children's shapes; those in no order that matters are sorted."""
    return sorted(shape(element)[3], key=repr) if element else []


def compare_electricity(written: XmlNode, prices: XmlNode, read: XmlNode) -> None:
    answer = read.find("Electricity")
    elements, price = (
        written.find("ElecTariffElements"),
        prices.find("PriceElements", "ElectricityPriceElements"),
    )
    for name in ("StandingCharge", "StandingChargeScale", "PriceScale"):
        assert answer.value(name) == price.value(name), name
    assert answer.value("CurrencyUnitsLabel") == elements.value("CurrencyUnits")
    tariff = price.children[-1]
    sent = sorted(shape(child) for child in tariff.children)
    back = [
        shape(child)
        for child in (*_kids(answer, "TariffTOUPriceMatrix"), *_kids(answer, "TariffBlockPriceMatrix"))
    ]
    assert [row for row in sorted(back) if row in sent] == sent
    if prices is written:
        assert len(back) == len(sent)
    assert shape(answer.find("TariffSwitchingTable"))[3] == shape(elements.find("SwitchingTable"))[3]
    assert rows(answer.find("TariffSwitchingTableSpecialDays")) == rows(elements.find("SpecialDays"))
    assert rows(answer.find("TariffThresholdMatrix")) == rows(elements.find("ThresholdMatrix"))


def compare_gas(written: XmlNode, prices: XmlNode, read: XmlNode) -> None:
    answer = read.find("Gas")
    elements, price = written.find("GasTariffElements"), prices.find("PriceElements", "GasPriceElements")
    assert answer.value("StandingCharge") == price.value("StandingCharge")
    assert answer.value("CurrencyUnitsLabel") == price.value("CurrencyUnits")
    sent = [shape(child) for child in price.children[-1].children if child.name != "NumberOfThresholds"]
    kept = [shape(child) for child in _kids(answer, price.children[-1].name)]
    assert kept == sent
    assert shape(answer.find("TariffSwitchingTable"))[3] == shape(elements.find("SwitchingTable"))[3]
    assert rows(answer.find("TariffSwitchingTableSpecialDays")) == rows(elements.find("SpecialDays"))
    assert rows(answer.find("TariffThresholds")) == rows(elements.find("ThresholdMatrix"))


def _kids(element: XmlNode, name: str) -> tuple[XmlNode, ...]:
    found = element.find(name)
    return found.children if found else ()


# --- tariffs -----------------------------------------------------------------------------------------------


async def test_electricity_tariffs_and_prices_are_read_as_they_were_written(supplier: Supplier) -> None:
    for start, price in (
        ("ECS01a_1.1.1_IMMEDIATE_BLOCK", "ECS01b_1.2.1_IMMEDIATE_BLOCK"),
        ("ECS01a_1.1.1_IMMEDIATE_TOU", "ECS01b_1.2.1_IMMEDIATE_TOU"),
        ("ECS01a_1.1.1_FUTURE_DATED_TOU_BLOCK", "ECS01b_1.2.1_FUTURE_DATED_TOU_BLOCK"),
    ):
        written = await supplier.template(start)
        compare_electricity(written, written, await supplier.read("ECS24_4.11.1"))
        prices = await supplier.template(price)
        compare_electricity(written, prices, await supplier.read("ECS24_4.11.1"))


async def test_gas_tariffs_and_prices_are_read_as_they_were_written(supplier: Supplier) -> None:
    for start, price in (
        ("GCS01a_1.1.1_IMMEDIATE_TOU", "GCS01b_1.2.1_IMMEDIATE_TOU"),
        ("GCS01a_1.1.1_FUTURE_DATED_BLOCK", "GCS01b_1.2.1_FUTURE_DATED_BLOCK"),
    ):
        written = await supplier.template(start)
        compare_gas(written, written, await supplier.read("GCS21f_4.11.1"))
        prices = await supplier.template(price)
        compare_gas(written, prices, await supplier.read("GCS21f_4.11.1"))
    signed = etree.fromstring(supplier.octets[-1])
    stamp = signed.find(".//ra:Timestamp", NS)
    assert stamp.get("isFromGSME") == "true"
    assert abs(parse_utc(stamp.text) - supplier.home.clock.utc_us) < 120_000_000


async def test_the_account_is_charged_by_the_tariff_that_was_written(supplier: Supplier) -> None:
    """The hybrid tariff of the test data, 1 kW, Friday 05:00 to Saturday; reckoned by the minute from its words."""
    home = supplier.home
    await supplier.template("ECS01a_1.1.1_FUTURE_DATED_TOU_BLOCK", (">40000<", ">1500<"))
    meter = home.esme.meter
    change = meter.snapshots[-1]
    await home.clock.advance(hours=20)
    meter.advance(home.clock.utc_us)
    cost, used = _hybrid_cost(change.utc_us, meter.now_us)
    assert meter.registers.energy_uwh - change.quantity == used
    assert change.balance_fine - meter.account.balance_fine == cost


def _hybrid_cost(start_us: int, end_us: int) -> tuple[int, int]:
    """(cost in 10^-12 of 1/1000 pence, uWh) of 1 kW; winter: weekdays block 2 until 07:00 and then block 1,
    weekends TOU 1; 20p a day at midnight."""
    prices = {1: (2289, 3546, 10_000), 2: (4002, 6969, 1_500)}
    used = {1: 0, 2: 0}
    cost = total = 0
    at = start_us
    while at < end_us:
        end = min(at // 60_000_000 * 60_000_000 + 60_000_000, end_us)
        energy = (end * 1000 * 1_000_000 // 3_600_000_000) - (at * 1000 * 1_000_000 // 3_600_000_000)
        day, minute = at // 86_400_000_000, at % 86_400_000_000 // 60_000_000
        if (day + 3) % 7 >= 5:
            cost += energy * 2121 * 1000
        else:
            register = 2 if minute < 420 else 1
            low, high, threshold_wh = prices[register]
            below = max(0, min(energy, threshold_wh * 1_000_000 - used[register]))
            cost += (below * low + (energy - below) * high) * 1000
            used[register] += energy
        total += energy
        at = end
        if at % 86_400_000_000 == 0:
            cost += 20_000 * 10**12
    return cost, total


async def test_a_tariff_waits_in_the_meter_until_its_time(supplier: Supplier) -> None:
    home = supplier.home
    old = home.esme.meter.tariff
    soon = ("2030-01-15T09:00:00.00Z", "2026-01-16T07:00:00.00Z")
    await supplier.template("ECS01a_1.1.1_FUTURE_DATED", soon, at_once=False)
    await supplier.template("GCS01a_1.1.1_FUTURE_DATED", soon, at_once=False)
    await supplier.template("ECS03_1.6_FUTURE_DATED", soon, at_once=False)
    await supplier.template("GCS05_2.1_FUTURE_DATED", soon, at_once=False)
    await home.clock.advance_to(parse_utc("2026-01-16T06:59:59Z"))
    assert home.esme.account is home.esme.meter.account
    assert home.esme.meter.tariff == old
    await home.clock.advance(seconds=2)
    assert home.esme.meter.tariff.tou_count == 3  # one TOU register and two of blocks
    assert home.gsme.account.config.emergency_credit_limit_mp == 10_000_000
    assert home.gsme.meter.tariff.prices_up_per_kwh == ((9_600_000,), (10_200_000,), (10_750_000,))
    for meter, count in ((home.esme.meter, 2), (home.gsme.meter, 2)):
        done = [entry for entry in meter.log.events if entry.code == AlertCode.FUTURE_COMMAND_EXECUTED]
        assert len(done) == count
    later = ("2030-01-15T09:00:00.00Z", "2026-01-16T08:00:00.00Z")
    await supplier.template("ECS01b_1.2.1_FUTURE_DATED", later, at_once=False)
    await supplier.template("ECS01b_1.2.1_CANCELLATION", at_once=False)
    await supplier.template("GCS02_1.6_FUTURE_DATED", later, at_once=False)
    await supplier.template("GCS02_1.6_CANCELLATION", at_once=False)
    present = home.esme.meter.tariff
    await home.clock.advance(hours=1)
    assert (home.esme.meter.tariff, home.gsme.account.mode) == (present, PaymentMode.PREPAYMENT)


# --- accounts ----------------------------------------------------------------------------------------------

_LIMITS = {
    "DebtRecoveryRateCap": "DebtRecoveryRateCap",
    "EmergencyCreditLimit": "EmergencyCreditLimit",
    "EmergencyCreditThreshold": "EmergencyCreditThreshold",
    "LowCreditThreshold": "LowCreditThreshold",
    "MaxMeterBalance": "MaxCreditMaxMeterBalance",
    "MaxCreditThreshold": "CreditMaxCreditThreshold",
}


@pytest.mark.parametrize("fuel", ["E", "G"])
async def test_accounts_are_read_as_they_were_written(supplier: Supplier, fuel: str) -> None:
    is_gas = fuel == "G"
    reads = {"4.13": "GCS21b_4.13" if is_gas else "ECS26a_4.13_SINGLE"}
    configured = await supplier.template("GCS05_2.1_IMMEDIATE" if is_gas else "ECS08_2.1_IMMEDIATE")
    mode = await supplier.template("GCS03_1.6_IMMEDIATE" if is_gas else "ECS03_1.6_IMMEDIATE")
    debts = await supplier.template("GCS04_2.3" if is_gas else "ECS07_2.3")
    read = await supplier.read(reads["4.13"])
    config = configured.children[0]
    for written, back in _LIMITS.items():
        assert read.value(back) == config.value(written), written
    assert read.value("DebtRecoveryPerPayment") == debts.value("DebtRecoveryPerPayment")
    for name in ("DisablementThreshold", "SuspendDebtDisabled", "SuspendDebtEmergency"):
        assert read.value(name) == mode.value("Prepayment", name), name
    answer = read.find("Gas" if is_gas else "Electricity")
    calendar = "GasNonDisablementCalendar" if is_gas else "ElectricityNonDisablementCalendar"
    sent = {name: content for name, _, _, content in shape(config.find(calendar))[3]}
    back = {name: content for name, _, _, content in shape(answer.find("NonDisablementCalendar"))[3]}
    assert _without_indexes(back) == _without_indexes(sent)
    for number in ("1", "2"):
        recovery = debts.find(f"{'Gas' if is_gas else 'Elec'}DebtRecovery{number}")
        assert rows(answer.find(f"DebtRecovery{number}")) == rows(recovery)
    await compare_registers(supplier, debts, is_gas=is_gas)
    paying = await supplier.read("GCS21j_6.2.9" if is_gas else "ECS26j_6.2.9")
    assert paying.value("PaymentMode") == "Prepayment"
    for name in ("SuspendDebtDisabled", "SuspendDebtEmergency"):
        assert paying.value(name) == mode.value("Prepayment", name)


def _without_indexes(content: Any) -> str:
    """MMC numbers the switch times of a gas day, which DUIS does not."""
    return re.sub(r"\('TimeStartAction', '\d'", "('TimeStartAction', ''", repr(content))


async def compare_registers(supplier: Supplier, debts: XmlNode, *, is_gas: bool) -> None:
    """4.3, which for gas comes from the mirror, with what the meter has told it since."""
    await supplier.home.clock.advance(minutes=2)
    read = await supplier.read("GCS14_4.3_SUCCESS_RELIABLE_GSME" if is_gas else "ECS19_4.3")
    for name in ("TimeDebtRegister1", "TimeDebtRegister2", "PaymentDebtRegister"):
        assert read.value(name) == debts.value(name), name


@pytest.mark.parametrize("fuel", ["E", "G"])
async def test_the_balance_is_read_as_it_was_written(supplier: Supplier, fuel: str) -> None:
    is_gas = fuel == "G"
    meter = (supplier.home.gsme if is_gas else supplier.home.esme).meter
    await supplier.template("GCS02_1.6_IMMEDIATE" if is_gas else "ECS02_1.6_IMMEDIATE")
    await supplier.template("GCS40d_1.5" if is_gas else "ECS04b_1.5")
    assert -1000 < meter.account.balance_mp <= 0
    await supplier.template("GCS03_1.6_IMMEDIATE" if is_gas else "ECS03_1.6_IMMEDIATE")
    before_mp = meter.account.balance_mp
    body = await supplier.template("GCS40a_1.5" if is_gas else "ECS04a_1.5")
    amount_mp = int(body.value("PrepaymentMode", "AdjustMeterBalance") or "")
    assert 0 <= before_mp + amount_mp - meter.account.balance_mp < 1000
    await supplier.home.clock.advance(minutes=2)
    read = await supplier.read("GCS60_4.18" if is_gas else "ECS82_4.18")
    assert abs(int(read.value("MeterBalance") or "") - meter.account.balance_mp) < 1000


async def test_emergency_credit_is_taken_where_it_is_offered(supplier: Supplier) -> None:
    esme = supplier.home.esme
    request = next(r for name, r in supplier.templates.items() if name.startswith("ECS09_2.5"))
    refused = await supplier.send(request, may_fail=True)
    assert dict(refused.attributes)["MessageSuccess"] == "false"
    await supplier.template("ECS03_1.6_IMMEDIATE", (">556677<", ">0<"))
    balance = ("1200000", str(50_000 - esme.account.balance_mp))
    await supplier.template("ECS04a_1.5", balance)
    await supplier.template("ECS09_2.5")
    assert esme.account.is_emergency_taken
    assert esme.account.zone is Zone.LOW_CREDIT
    assert (await supplier.read("ECS19_4.3")).value("EmergencyCreditBalance") == str(
        esme.account.emergency_mp
    )


@pytest.mark.parametrize(
    ("write", "read"),
    [
        ("ECS30_6.8", "ECS26d_6.2.3"),
        ("ECS30a_6.8", "ECS26l_6.2.3"),
        ("GCS25_6.8", "GCS21d_6.2.3"),
        ("GCS25a_6.8", "GCS21k_6.2.3"),
    ],
)
async def test_a_billing_calendar_is_read_as_it_was_written(
    supplier: Supplier, write: str, read: str
) -> None:
    empty = await supplier.read(read)
    assert empty.find("BillingCalendar") is None
    written = await supplier.template(write)
    back = (await supplier.read(read)).find("BillingCalendar")
    assert re.sub(r"\.0+Z", "Z", repr(shape(back)[3])) == re.sub(r"\.0+Z", "Z", repr(shape(written)[3]))


async def test_two_tariffs_at_once_come_one_after_the_other(supplier: Supplier) -> None:
    """Their frames do not mix: the second is whole when both are done."""
    home = supplier.home
    await asyncio.gather(
        supplier.template("ECS01a_1.1.1_IMMEDIATE_BLOCK"), supplier.template("ECS01a_1.1.1_IMMEDIATE_TOU")
    )
    assert home.esme.meter.tariff.prices_up_per_kwh == ((21_210_000 // 10, 3_127_000, 4_744_000),)


async def test_displays_learn_of_prices_modes_and_debts_unasked(supplier: Supplier) -> None:
    home = supplier.home
    await home.clock.advance(minutes=6)  # both displays have asked for both prices
    displays = (home.ihd.model, home.ppmid.model)
    await supplier.template("ECS01a_1.1.1_IMMEDIATE_TOU")
    await supplier.template("ECS02_1.6_IMMEDIATE")
    await home.clock.advance(seconds=15)
    for model in displays:
        assert model.electricity.price_mp_per_kwh == home.esme.meter.price_mp_per_kwh == 3127
        assert model.electricity.values["payment_control_configuration"] == 0x0C94
    await supplier.template("GCS01a_1.1.1_IMMEDIATE_TOU")
    await home.clock.advance(seconds=15)
    for model in displays:
        assert model.gas.price_mp_per_kwh == home.gsme.meter.price_mp_per_kwh
    await home.clock.advance_to(parse_utc("2026-01-16T07:00:20Z"))  # the tariff switches, and nobody asks
    for model in displays:
        assert model.electricity.price_mp_per_kwh == 4744
