"""A whole home, from DUIS request to device and back, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judged_home import JudgedHomes, shorts
from lxml import etree
from tshark import Step

from smets1.devices.supply import SupplyState
from smets1.eui64 import format_eui64
from smets1.firmware.civil import format_utc, from_datetime, parse_utc
from smets1.headend.rotation import RotationResult
from smets1.tools.duis_ask import DuisAnswer, ask
from smets1.tools.home import Home

CALM = "[han]\nreport_interval_s = 1800\n"
RICH = CALM + "[prepayment]\nbalance_pounds = 20\n"
GPF = 0x00DB1234567890A3
METERING, PREPAYMENT, AUTHORISATION = 0x0702, 0x0705, 0xFC01
STRANGER = 0x00DB1234567899FF


@pytest.fixture(scope="session")
def valid(duis_schema: etree.XMLSchema) -> Any:
    """`valid(answer)` fails where the DUIS schema does not accept it."""

    def check(answer: DuisAnswer) -> DuisAnswer:
        duis_schema.assertValid(etree.fromstring(answer.xml))
        return answer

    return check


async def good(home: Home, srv: str, target: int, **options: Any) -> DuisAnswer:
    answer = await ask(home, srv, target, **options)
    assert answer.code == "I0", answer.xml.decode()
    return answer


# --- every service of the milestone ----------------------------------------------------------------


async def test_reads_of_the_electricity_meter(smets1_home: Any, valid: Any) -> None:
    home = await smets1_home(toml=RICH)
    await home.clock.advance(hours=3)
    esme = home.esme
    register = valid(await good(home, "4.1.1", esme.eui64))
    assert abs(int(register.value("ActiveImportRegister", "Value")) - esme.meter.reading) <= 1
    assert esme.meter.reading > 300
    prepay = valid(await good(home, "4.3", esme.eui64))
    assert abs(int(prepay.value("MeterBalance")) - esme.account.balance_mp) < 100
    assert int(prepay.value("EmergencyCreditBalance")) == esme.account.emergency_mp
    assert prepay.value("TimeDebtRegister1") == prepay.value("PaymentDebtRegister") == "0"
    balance = valid(await good(home, "4.18", esme.eui64))
    assert abs(int(balance.value("MeterBalance")) - esme.account.balance_mp) < 100
    mode = valid(await good(home, "6.2.9", esme.eui64))
    assert "Prepayment" in str(mode.xml)
    supply = valid(await good(home, "7.4", esme.eui64))
    assert supply.value("SupplyState") == "Enabled"
    version = valid(await good(home, "11.2", esme.eui64))
    assert version.value("FirmwareVersion") == "00000001"


async def test_reads_of_the_gas_meter_come_from_its_mirror(smets1_home: Any, valid: Any) -> None:
    home = await smets1_home(toml=RICH)
    await home.clock.advance(hours=8)
    gsme = home.gsme
    for target in (gsme.eui64, GPF):
        register = valid(await good(home, "4.1.1", target, wait_s=30))
        reported = home.chf.gas.values["metering"]["current_summation_delivered"]
        assert register.value("ConsumptionRegister", "Value") == f"{reported / 1000:.3f}"
        assert 0 < reported <= gsme.meter.reading
        balance = valid(await good(home, "4.18", target, wait_s=30))
        mirrored = home.chf.gas.values["prepayment"]["credit_remaining"]
        assert int(balance.value("MeterBalance")) == mirrored
        assert valid(await good(home, "4.3", target, wait_s=30)).value("MeterBalance") == str(mirrored)
        assert "Prepayment" in str(valid(await good(home, "6.2.9", target, wait_s=30)).xml)
        supply = valid(await good(home, "7.4", target, wait_s=30))
        assert supply.value("SupplyState") == "Enabled"
        assert supply.value("RemainingBatteryCapacity") == str(gsme.meter.battery.percent) == "99"
    version = valid(await good(home, "11.2", gsme.eui64))  # from the meter itself, when it wakes
    assert version.value("FirmwareVersion") == "00000001"


async def test_a_gas_answer_bears_the_meters_own_time(smets1_home: Any) -> None:
    home = await smets1_home(toml=RICH)
    await home.clock.advance(minutes=100)
    reported_utc_us = home.chf.gas.reported_utc_us
    assert home.clock.utc_us - reported_utc_us > 60_000_000
    answer = await good(home, "4.1.1", home.gsme.eui64, wait_s=30)
    text = format_utc(reported_utc_us)[:19]
    assert text in answer.xml.decode()


async def test_firmware_versions_of_the_others(smets1_home: Any, valid: Any) -> None:
    home = await smets1_home(toml=RICH)
    for target in (home.chf.eui64, GPF, home.ppmid.eui64):
        assert valid(await good(home, "11.2", target)).value("FirmwareVersion") == "00000001"


async def test_device_log_and_inventory(smets1_home: Any, valid: Any) -> None:
    home = await smets1_home(toml=RICH)
    log = valid(await good(home, "8.9", home.chf.eui64))
    listed = [format_eui64(device.eui64) for device in (home.gsme, home.ppmid, home.ihd)]
    assert sorted(log.values("DeviceID")) == listed
    for never in (home.chf.eui64, GPF, home.esme.eui64):
        assert format_eui64(never) not in log.values("DeviceID")
    inventory = valid(await good(home, "8.2", home.esme.eui64))
    assert len(inventory.values("DeviceModel")) == 6


async def test_top_up_by_duis(smets1_home: JudgedHomes, valid: Any) -> None:
    home = await smets1_home()
    hub, meter, gas_meter, display = shorts(home, "chf", "esme", "gsme", "ppmid")
    await home.clock.advance(seconds=3)  # displays have asked for reports
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    began_s = home.clock.utc_us / 1e6
    valid(await good(home, "2.2", home.esme.eui64, token=token))
    assert home.esme.account.balance_mp == 1_000_000
    await home.clock.advance(seconds=2)
    again = valid(await ask(home, "2.2", home.esme.eui64, token=token))
    assert again.code != "I0" or again.value("MessageSuccess") != "true"
    assert home.esme.account.balance_mp == 1_000_000
    gas = home.headend.make_utrn(home.gsme.eui64, pounds=5)
    valid(await good(home, "2.2", home.gsme.eui64, token=gas))
    assert home.gsme.account.balance_mp == 500_000
    await home.clock.advance(seconds=20)
    await smets1_home.tell(
        # by the ribbon to the electricity meter, which tells the displays: every five seconds at most
        Step("ZCL: Report Attributes", PREPAYMENT, meter, display, (began_s, began_s + 5)),
        Step("authorisation.execute_once", AUTHORISATION, hub, gas_meter),
        Step("authorisation.once_result", AUTHORISATION, gas_meter, hub),
        Step("ZCL: Report Attributes", PREPAYMENT, gas_meter, hub),
        Step("ZCL: Report Attributes", METERING, gas_meter, hub),
        Step("ZCL Metering: Mirror Report Attribute Response", METERING, hub, gas_meter),
        never=[
            Step("ZCL Prepayment: Consumer Top Up"),
            Step("authorisation.execute_once", destination=meter),
        ],
    )


async def test_top_up_at_the_ppmid(smets1_home: JudgedHomes) -> None:
    """Electricity at once; gas by the mirror, from which the meter fetches it at its next waking."""
    home = await smets1_home()
    hub, meter, gas_meter, display = shorts(home, "chf", "esme", "gsme", "ppmid")
    await home.clock.advance(minutes=3)  # the gas meter has gone to sleep
    answer = await home.ppmid.enter_utrn(home.headend.make_utrn(home.esme.eui64, pounds=10))
    assert (answer.is_accepted, answer.balance_mp) == (True, 1_000_000)
    answer = await home.ppmid.enter_utrn(home.headend.make_utrn(home.gsme.eui64, pounds=6), "gas")
    assert (answer.is_accepted, answer.balance_mp) == (True, 600_000)
    await home.clock.advance(seconds=20)
    top_up = "ZCL Prepayment: Consumer Top Up"
    await smets1_home.tell(
        Step(top_up, PREPAYMENT, display, meter),
        Step(f"{top_up} Response", PREPAYMENT, meter, display),
        Step(top_up, PREPAYMENT, display, hub),
        Step("ZCL: Report Attributes", METERING, gas_meter, hub),  # it is awake
        Step(top_up, PREPAYMENT, hub, gas_meter),
        Step(f"{top_up} Response", PREPAYMENT, gas_meter, hub),
        Step(f"{top_up} Response", PREPAYMENT, hub, display),
        Step("ZCL: Report Attributes", PREPAYMENT, gas_meter, hub),
    )


async def test_a_token_for_another_meter_is_refused(smets1_home: Any) -> None:
    home = await smets1_home()
    token = home.headend.make_utrn(home.gsme.eui64, pounds=10)
    await ask(home, "2.2", home.esme.eui64, token=token)
    assert home.esme.account.balance_mp == 0
    assert home.gsme.account.balance_mp == 0


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("srv", ["1.1.2", "7.7", "4.14"])
async def test_a_service_that_smets1_does_not_have(smets1_home: Any, valid: Any, srv: str) -> None:
    home = await smets1_home(toml=RICH)
    answer = valid(await ask(home, srv, home.esme.eui64))
    assert answer.value("DCCAlertCode") == "N60"


async def test_an_unknown_device(smets1_home: Any, valid: Any) -> None:
    home = await smets1_home(toml=RICH)
    answer = valid(await ask(home, "4.1.1", STRANGER))
    assert answer.code.startswith("E")


async def test_a_service_for_the_wrong_kind_of_device(smets1_home: Any, valid: Any) -> None:
    home = await smets1_home(toml=RICH)
    assert valid(await ask(home, "4.1.1", home.ihd.eui64)).code.startswith("E")
    assert valid(await ask(home, "8.9", home.ihd.eui64)).code != "I0"


# --- supply and keys -------------------------------------------------------------------------------


@pytest.mark.slow
async def test_disable_arm_confirm(smets1_home: Any, valid: Any) -> None:
    home = await smets1_home(toml=RICH)
    meter = home.esme.meter
    valid(await good(home, "7.2", home.esme.eui64))
    assert meter.supply.state is SupplyState.OFF
    off_at = meter.reading
    await home.clock.advance(hours=5)
    assert valid(await good(home, "7.4", home.esme.eui64)).value("SupplyState") == "Disabled"
    assert meter.reading == off_at
    valid(await good(home, "7.3", home.esme.eui64))
    assert meter.supply.state is SupplyState.ARMED
    assert valid(await good(home, "7.4", home.esme.eui64)).value("SupplyState") == "Armed"
    await home.ppmid.confirm_supply()
    assert meter.supply.state is SupplyState.ON
    await home.clock.advance(hours=1)
    meter.advance(home.clock.utc_us)
    assert meter.reading > off_at


async def test_gas_supply_by_duis(smets1_home: JudgedHomes, valid: Any) -> None:
    home = await smets1_home(toml=RICH)
    hub, gas_meter, display = shorts(home, "chf", "gsme", "ppmid")
    valid(await good(home, "7.2", home.gsme.eui64))
    assert home.gsme.meter.supply.state is SupplyState.OFF
    valid(await good(home, "7.3", home.gsme.eui64))
    assert home.gsme.meter.supply.state is SupplyState.ARMED
    await home.ppmid.confirm_supply("gas")
    assert home.gsme.meter.supply.state is SupplyState.ON
    instructed = (
        Step("authorisation.critical_instruction", AUTHORISATION, hub, gas_meter),
        Step("authorisation.critical_result", AUTHORISATION, gas_meter, hub),
    )
    await smets1_home.tell(
        *instructed,  # 7.2
        *instructed,  # 7.3
        Step("ZCL Metering: Local Change Supply", METERING, display, hub),
        Step("ZCL: Report Attributes", METERING, gas_meter, hub),  # it is awake
        Step("ZCL Metering: Local Change Supply", METERING, hub, gas_meter),
        Step("ZCL: Default Response", METERING, gas_meter, hub),
        Step("ZCL: Default Response", METERING, hub, display),
        never=[Step("ZCL Metering: Change Supply")],
    )


async def test_rotation_gas_first_then_electricity(smets1_home: JudgedHomes) -> None:
    home = await smets1_home(toml=RICH)
    hub, meter, gas_meter = shorts(home, "chf", "esme", "gsme")
    for meter in (home.gsme, home.esme):
        assert await home.headend.rotate_sua_key(meter.eui64) is RotationResult.ROTATED
        assert meter.authorisation.generation == 1
        assert meter.authorisation._state.next_key is None, "the old key is gone"
    await home.clock.advance(hours=3)
    for meter in (home.gsme, home.esme):
        assert not meter.authorisation.is_push_due, "the S1SP has acknowledged"
    await good(home, "7.2", home.esme.eui64)  # under the new key
    await good(home, "7.2", home.gsme.eui64)
    assert not home.esme.meter.supply.is_on
    assert not home.gsme.meter.supply.is_on
    instruction = Step("authorisation.critical_instruction", AUTHORISATION, hub, gas_meter)
    result = Step("authorisation.critical_result", AUTHORISATION, gas_meter, hub)
    await smets1_home.tell(
        instruction,
        result,
        Step("authorisation.status_push", AUTHORISATION, gas_meter, hub),
        Step("authorisation.status_push_ack", AUTHORISATION, hub, gas_meter),
        instruction,  # 7.2
        result,
        never=[replace(instruction, destination=meter), replace(result, source=meter)],  # the ribbon's
    )


# --- registers -------------------------------------------------------------------------------------


async def test_registers_of_a_day_equal_a_small_csv(smets1_home: Any, tmp_path: Path) -> None:
    """Whole Wh and litres: 24 half hours and hours, no two alike."""
    electricity = [0.100 + 0.013 * n for n in range(48)]
    gas = [0.5 + 0.037 * n for n in range(24)]
    lines = ["local_time,elec_import_kwh"]
    lines += [f"2023-01-16 {n // 2:02}:{n % 2 * 30:02}:00,{kwh:.3f}" for n, kwh in enumerate(electricity)]
    (tmp_path / "e.csv").write_text("\n".join(lines) + "\n")
    lines = ["local_time,gas_kwh"]
    lines += [f"2023-01-16 {n:02}:00:00,{kwh:.3f}" for n, kwh in enumerate(gas)]
    (tmp_path / "g.csv").write_text("\n".join(lines) + "\n")
    toml = RICH
    for fuel in ("electricity", "gas"):
        toml += f'[[load]]\nfuel = "{fuel}"\nkind = "csv"\nfile = "{tmp_path / fuel[0]}.csv"\n'
    home = await smets1_home(toml=toml, start="2023-01-16T00:00:00Z")
    await home.clock.advance_to(home.config.start.timestamp() * 1e6 + 86_400_000_000)
    wh = int((await good(home, "4.1.1", home.esme.eui64)).value("ActiveImportRegister", "Value"))
    assert abs(wh - round(1000 * sum(electricity))) <= 1
    home.gsme.meter.advance(home.clock.utc_us)
    assert abs(home.gsme.meter.reading - litres(home, sum(gas))) <= 1
    assert abs(await gas_by_duis(home, gas)) <= 1
    await home.clock.advance(minutes=35)  # the meter has woken and reported since the file's end
    volume = (await good(home, "4.1.1", home.gsme.eui64)).value("ConsumptionRegister", "Value")
    assert abs(float(volume) * 1000 - litres(home, sum(gas))) <= 1


@pytest.mark.slow
async def test_registers_of_a_day_equal_the_shared_csv(smets1_home: Any, shared_dir: Path) -> None:
    """A household of the Low Carbon London trial, and the gas of another, on a winter's day."""
    electricity = shared_dir / "data" / "lcl_half_hourly.csv"
    gas = shared_dir / "data" / "n3rgy_hourly_electricity_gas.csv"
    rows = [line.split(",") for line in electricity.read_text().splitlines()[1:]]
    kwh = [float(row[2]) for row in rows if row[0] == "MAC000010" and row[1].startswith("2013-01-16")]
    gas_rows = [line.split(",") for line in gas.read_text().splitlines()[1:]]
    gas_kwh = [float(row[2]) for row in gas_rows if row[0].startswith("2022-12-04")]
    assert (len(kwh), len(gas_kwh)) == (48, 24)
    toml = RICH + (
        f'[[load]]\nfuel = "electricity"\nkind = "csv"\nfile = "{electricity}"\nhome = "MAC000010"\n'
        f'[[load]]\nfuel = "gas"\nkind = "csv"\nfile = "{gas}"\nfirst_day = "2022-12-04"\n'
    )
    home = await smets1_home(toml=toml, start="2013-01-16T00:00:00Z")
    await home.clock.advance_to(home.config.start.timestamp() * 1e6 + 86_400_000_000)
    wh = int((await good(home, "4.1.1", home.esme.eui64)).value("ActiveImportRegister", "Value"))
    assert abs(wh - round(1000 * sum(kwh))) <= 1
    home.gsme.meter.advance(home.clock.utc_us)
    assert abs(home.gsme.meter.reading - litres(home, sum(gas_kwh))) <= 1
    assert abs(await gas_by_duis(home, gas_kwh)) <= 1


async def gas_by_duis(home: Home, hours_kwh: list[float]) -> float:
    """Litres between what 4.1.1 says of gas and what the file's hours say up to the meter's own time of it."""
    answer = await good(home, "4.1.1", home.gsme.eui64)
    meter_utc_us = parse_utc(answer.value("Timestamp"))
    into_s = (meter_utc_us - from_datetime(home.config.start)) / 1e6
    assert 86_400 - 1900 <= into_s <= 86_400, "the last waking was at most half an hour ago"
    whole, part_s = divmod(into_s, 3600)
    kwh = sum(hours_kwh[: int(whole)]) + (hours_kwh[int(whole)] * part_s / 3600 if part_s else 0)
    return float(answer.value("ConsumptionRegister", "Value")) * 1000 - litres(home, kwh)


def litres(home: Home, kwh: float) -> float:
    """Of gas for so much heat, by the meter's own conversion."""
    conversion = home.gsme.meter.conversion
    return kwh * 3_600_000_000 / (conversion.calorific_value_x10 * conversion.factor_x100000)
