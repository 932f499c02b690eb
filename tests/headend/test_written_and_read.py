"""Write, read, compare: every service that writes, and what the service that reads it back says then.

One home, both fuels: DCC's reference requests in an order that makes sense, each between two reads, the second
of them at once. The first says something else, so what is read is what was written and nothing that stood there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest
from lxml import etree
from tests.headend.reference_compare import (
    Compare,
    Seen,
    added,
    calendar,
    certificates,
    configuration,
    debts,
    electricity_tariff,
    gas_tariff,
    inventory,
    lists,
    lists_not,
    named,
    near,
    says,
)
from tests.headend.reference_supplier import Change, Supplier, deep, texts
from tests.headend.reference_table import read_back, reference_requests

from smets1.eui64 import parse_eui64
from smets1.firmware.civil import format_utc, parse_utc
from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.catalogue import CATALOGUE, Smets1Support
from smets1.headend.duis.codes import DeviceStatus
from smets1.headend.duis.request import XmlNode
from smets1.hub.device_log import DeviceLogEntry
from smets1.tools.home import Home, open_home
from smets1.tools.home_config import Role
from smets1.tools.home_parts import DEVICE_TYPES

pytestmark = pytest.mark.outsider

START: Final = "2026-01-16T05:00:00Z"
TOML: Final = """
[han]
gas_wake_s = 60
report_interval_s = 1800
[prepayment]
balance_pounds = 40
max_credit_threshold_pounds = 20
[[load]]
fuel = "electricity"
kind = "constant"
watts = 1000
[[load]]
fuel = "gas"
kind = "constant"
watts = 2000
"""
NEW, HUB = "00-DB-12-34-56-78-90-9F", "00-DB-12-34-56-78-90-A2"
ESME, GSME = "00-DB-12-34-56-78-90-A0", "00-DB-12-34-56-78-90-A1"
IHD = "00-DB-12-34-56-78-90-A5"
ASIDE_S: Final = 60
"""What no service reads is seen at the meter a minute later: 6.11 has it look at the hub's clock in its own time."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row: what is written, what reads it, what they have in common."""

    srv: str
    write: str  # how the name of the reference request begins
    compare: Compare
    reads: tuple[str, ...] = ()  # the requests that read it; none: `compare` looks at the home itself
    changes: tuple[Change, ...] = ()  # of the text of the request
    read_changes: tuple[Change, ...] = ()  # of those reads that have it
    now_for: str = ""  # this text of the request becomes the present time
    scene: Callable[[Home], None] = field(default=lambda _home: None)

    @property
    def name(self) -> str:
        return f"{self.srv}-{self.write.split('_SUCCESS')[0]}"


LONG: Final = ("2015-01-01T00:00:00.00Z", "2030-01-01T00:00:00.00Z")
FIRST_SCHEDULE: Final = ("<sr:DSPScheduleID>123<", "<sr:DSPScheduleID>1<")
RMS: Final = tuple(
    f"RMS{what}{limit}"
    for what in ("ExtremeOverVoltage", "ExtremeUnderVoltage", "VoltageSag", "VoltageSwell")
    for limit in ("MeasurementPeriod", "Threshold")
)
CONVERSION: Final = {"CalorificValue": "CalorificValue", "ConversionFactor": "ConversionFactor"}
SIGNING, AGREEMENT, TOP_UP = "DigitalSigning", "KeyAgreement", "KeyAgreementTopUp"


def _overload(home: Home) -> None:
    home.esme.meter.limiter.counter = 3


def _swell(home: Home) -> None:
    home.esme.meter.voltage.counters[0] = 2


def _metering_point(home: Home) -> None:
    meter = home.headend.inventory.find(home.esme.eui64)
    assert meter is not None, "enrolled"
    home.headend.inventory.put(replace(meter, mpxn="1312345678333"))


def _drift(home: Home) -> None:
    for device in (home.esme, home.gsme):
        device.civil.set(home.clock.utc_us + 40_000_000)


def _tenancy(seen: Seen) -> None:
    """What a household may read begins there; no service reads the date."""
    (told,) = texts(seen.written, "RestrictionDateTime")
    meter = seen.home.esme.meter if told.startswith("2014") else seen.home.gsme.meter
    assert meter.tenancy_from_us == parse_utc(told)


def _clock(name: str) -> Compare:
    """The meter is on time; no service reads its clock, but every answer bears its time."""

    def compare(seen: Seen) -> None:
        assert abs(getattr(seen.home, name).civil.utc_us() - seen.home.clock.utc_us) < 2_000_000

    return compare


def _emergency(seen: Seen) -> None:
    """Next to nothing of it is used yet: it is the limit that 2.1 has written."""
    (limit,) = texts(seen.last["2.1"], "EmergencyCreditLimit")
    near("EmergencyCreditBalance", int(limit), within=500)(seen)


def _low_balance(home: Home) -> None:
    for meter in (home.esme.meter, home.gsme.meter):
        meter.adjust_balance(-meter.account.balance_mp, utc_us=home.clock.utc_us)


def _flow(seen: Seen) -> None:
    """DUIS has two ways to say a rate, the read has one: cubic metres an hour."""
    whole = texts(seen.written, "UncontrolledGasFlowRate")
    expected = (
        [f"{int(whole[0]) / 10_000:g}"] if whole else texts(seen.written, "UncontrolledGasFlowRateDecimal")
    )
    assert texts(seen.after, "UncontrolledGasFlowRate") == expected
    named(StabilisationPeriod="FlowStabilisationPeriod", MeasurementPeriod="FlowMeasurementPeriod")(seen)


def _cleared(seen: Seen) -> None:
    """Nothing that was in the event log is there, and the security log says that it was cleared."""
    events, security = seen.after.children[0], seen.after.children[1]
    assert texts(events, "LogCode") == []
    assert texts(security, "LogCode")[-1:] == ["8F52"]


def _credited(seen: Seen) -> None:
    """4.4.5 has it as its last, 4.18 on the balance, less what debts and consumption took."""
    (utrn,) = texts(seen.written, "UTRN")
    amount_mp = {"73946144332040217315": 1_000_000, "73950067887105178605": 1_250_000}[utrn]
    assert texts(seen.after, "Amount")[-1:] == [str(amount_mp)]


def _counters(seen: Seen) -> None:
    for name in ("AvgRMSOverVoltageCounter", "AvgRMSUnderVoltageCounter"):
        assert [node.value("Value") for node in deep(seen.after, name)] == ["0"]


def _status(home: Home, device: str, status: DeviceStatus) -> None:
    found = home.headend.inventory.find(parse_eui64(device))
    assert found is not None, "enrolled"
    home.headend.inventory.put(replace(found, status=status, commissioned_utc_us=None))


def _whitelisted(home: Home) -> None:
    entry = DeviceLogEntry(eui64=parse_eui64(NEW), link_key=bytes(16), device_type=DEVICE_TYPES[Role.IHD])
    home.chf.device_log.add(entry)
    _status(home, NEW, DeviceStatus.WHITELISTED)


def _pending(home: Home) -> None:
    _status(home, NEW, DeviceStatus.PENDING)


def _installed(home: Home) -> None:
    for device in (ESME, GSME):
        _status(home, device, DeviceStatus.INSTALLED_NOT_COMMISSIONED)


def _deleted(seen: Seen) -> None:
    assert NEW not in texts(seen.after, "DeviceID")
    assert ESME in texts(seen.after, "DeviceID")


def _no_schedule(seen: Seen) -> None:
    assert [node.name for node in seen.after.children] == ["refused"]


def _schedule(seen: Seen) -> None:
    for name in ("ScheduleFrequency", "ScheduleStartDate", "DSPScheduledServiceReferenceVariant", "DeviceID"):
        assert texts(seen.after, name) == texts(seen.written, name)


CASES: Final = (
    *(
        Case(srv=srv, write=f"{write}{kind}", reads=("ECS24_4.11.1",), compare=electricity_tariff)
        for kind in ("_IMMEDIATE_TOU", "_IMMEDIATE_BLOCK", "_FUTURE_DATED_TOU_BLOCK")
        for srv, write in (("1.1.1", "ECS01a_1.1.1"), ("1.2.1", "ECS01b_1.2.1"))
    ),
    *(
        Case(srv=srv, write=write, reads=("GCS21f_4.11.1",), compare=gas_tariff, changes=changes)
        for srv, write, changes in (
            ("1.1.1", "GCS01a_1.1.1_IMMEDIATE_TOU", ()),
            ("1.2.1", "GCS01b_1.2.1_IMMEDIATE_TOU", ((">10200<", ">10300<"),)),
            ("1.1.1", "GCS01a_1.1.1_FUTURE_DATED_BLOCK", ()),
            ("1.2.1", "GCS01b_1.2.1_FUTURE_DATED_BLOCK", ()),
        )
    ),
    # --- accounts
    *(
        Case(srv="1.6", write=write, reads=(read,), compare=says(PaymentMode="Credit"))
        for write, read in (("ECS02_1.6_IMM", "ECS26j_6.2.9"), ("GCS02_1.6_IMM", "GCS21j_6.2.9"))
    ),
    *(
        Case(srv="1.5", write=write, reads=(read,), compare=near("MeterBalance", 0, within=500))
        for write, read in (("ECS04b_1.5", "ECS82_4.18"), ("GCS40d_1.5", "GCS60a_4.18_SUCCESS_RELIABLE_GPF"))
    ),
    *(
        Case(
            srv="1.6",
            write=write,
            reads=reads,
            compare=named(
                SuspendDebtDisabled="SuspendDebtDisabled",
                SuspendDebtEmergency="SuspendDebtEmergency",
                DisablementThreshold="DisablementThreshold",
            ),
        )
        for write, reads in (
            ("ECS03_1.6_IMM", ("ECS26a_4.13_SINGLE",)),
            ("GCS03_1.6_IMM", ("GCS21b_4.13",)),
        )
    ),
    *(
        Case(srv="2.1", write=write, reads=(read,), compare=configuration)
        for write, read in (("ECS08_2.1_IMM", "ECS26a_4.13_SINGLE"), ("GCS05_2.1_IMM", "GCS21b_4.13"))
    ),
    *(
        Case(
            srv="1.5",
            write=write,
            reads=(read,),
            compare=added("AdjustMeterBalance", "MeterBalance", within=500),
        )
        for write, read in (("ECS04a_1.5", "ECS82_4.18"), ("GCS40a_1.5", "GCS60_4.18"))
    ),
    *(
        Case(srv="2.3", write=write, reads=reads, compare=debts)
        for write, reads in (
            ("ECS07_2.3", ("ECS19_4.3", "ECS26a_4.13_SINGLE")),
            ("GCS04_2.3", ("GCS14_4.3_SUCCESS_RELIABLE_GPF", "GCS21b_4.13")),
        )
    ),
    *(
        Case(srv="2.5", write=write, reads=(read,), compare=_emergency, scene=_low_balance)
        for write, read in (("ECS09_2.5", "ECS19_4.3"), ("GCS06_2.5", "GCS14_4.3_SUCCESS_RELIABLE_GPF"))
    ),
    *(
        Case(srv="2.2", write=write, reads=(read,), read_changes=changes, compare=_credited)
        for write, read, changes in (
            ("CS01a_2.2", "ECS20d_4.4.5", (LONG,)),
            ("CS01b_2.2", "GCS15e_4.4.5", ()),
        )
    ),
    # --- configuration
    Case(
        srv="6.4.1",
        write="ECS28a_6.4.1_IMM",
        reads=("ECS27_4.15",),
        compare=named(
            **{f"LoadLimit{x}": f"LoadLimit{x}" for x in ("Period", "PowerThreshold", "SupplyState")}
        ),
    ),
    Case(
        srv="6.4.2",
        write="ECS28b_6.4.2",
        reads=("ECS27_4.15",),
        compare=says(LoadLimitCounterValue="0"),
        scene=_overload,
    ),
    Case(
        srv="6.5",
        write="ECS29a_6.5",
        reads=("ECS26b_6.2.1",),
        changes=(("RMSVoltageSwellThreshold>253<", "RMSVoltageSwellThreshold>255<"),),
        compare=named(**{name: name for name in RMS}),
    ),
    Case(
        srv="6.27",
        write="ECS29e_6.27",
        reads=("ECS23_4.10",),
        compare=_counters,
        scene=_swell,
    ),
    Case(srv="6.6", write="GCS23_6.6", reads=("GCS21a_6.2.8",), compare=named(**CONVERSION)),
    Case(
        srv="6.7",
        write="GCS24_6.7",
        reads=("GCS21a_6.2.8",),
        changes=((">61680<", ">41680<"),),
        compare=_flow,
    ),
    Case(srv="6.7", write="GCS24a_6.7", reads=("GCS21a_6.2.8",), compare=_flow),
    *(
        Case(srv="6.8", write=write, reads=(read,), compare=calendar)
        for write, read in (
            ("ECS30_6.8", "ECS26d_6.2.3"),
            ("ECS30a_6.8", "ECS26l_6.2.3"),
            ("GCS25_6.8", "GCS21d_6.2.3"),
            ("GCS25a_6.8", "GCS21k_6.2.3"),
        )
    ),
    Case(
        srv="6.12",
        write="ECS34_6.12",
        reads=("ECS26f_6.2.5",),
        changes=((">2300<", ">2350<"),),
        compare=named(**{name: name for name in ("LowMediumPowerThreshold", "MediumHighPowerThreshold")}),
    ),
    Case(
        srv="6.25",
        write="ECS81_6.25",
        reads=("ECS26e_6.2.4",),
        compare=named(SupplyTamperState="SupplyTamperState"),
    ),
    Case(srv="3.2", write="ECS12_3.2", compare=_tenancy),
    Case(srv="3.2", write="GCS09_3.2", compare=_tenancy),
    Case(
        srv="6.11",
        write="ECS70_6.11",
        now_for="2014-12-31T23:59:10.00Z",
        compare=_clock("esme"),
        scene=_drift,
    ),
    Case(
        srv="6.11",
        write="GCS28_6.11",
        now_for="2014-12-31T23:30:00.00Z",
        compare=_clock("gsme"),
        scene=_drift,
    ),
    Case(
        srv="3.3",
        write="ECS15a_3.3",
        reads=("ECS35a_6.13", "ECS35b_6.13"),
        read_changes=(LONG,),
        compare=_cleared,
    ),
    Case(
        srv="3.3",
        write="CS11_3.3",
        reads=("CS10a_6.13", "CS10b_6.13"),
        read_changes=(LONG,),
        compare=_cleared,
    ),
    # --- supply
    Case(srv="7.2", write="ECS43_7.2", reads=("ECS45_7.4",), compare=says(SupplyState="Disabled")),
    Case(srv="7.3", write="ECS44_7.3", reads=("ECS45_7.4",), compare=says(SupplyState="Armed")),
    Case(srv="7.1", write="ECS42_7.1", reads=("ECS45_7.4",), compare=says(SupplyState="Enabled")),
    Case(srv="7.2", write="GCS32_7.2", reads=("GCS33_7.4",), compare=says(SupplyState="Disabled")),
    Case(srv="7.3", write="GCS39_7.3", reads=("GCS33_7.4",), compare=says(SupplyState="Armed")),
    # --- credentials
    Case(
        srv="6.15.1",
        write="CS02bSupplierBySupplier_6.15.1_IMM",
        reads=("CS02aMAC_6.24.1",),
        compare=certificates((SIGNING, AGREEMENT, TOP_UP)),
    ),
    Case(
        srv="6.21",
        write="CS02bSupplierBySupplierHandover_6.21",
        reads=("CS02aMAC_6.24.1",),
        read_changes=((":00-DB-12-34-56-78-90-A0:", ":00-DB-12-34-56-78-90-A3:"),),
        compare=certificates((SIGNING, AGREEMENT, TOP_UP)),
    ),
    Case(
        srv="6.23",
        write="CS02bSupplierByTransCoS_6.23_IMM",
        reads=("CS02aMAC_6.24.1",),
        compare=certificates((SIGNING, AGREEMENT, TOP_UP)),
        scene=_metering_point,
    ),
    # --- schedules
    Case(
        srv="5.1", write="ECS21a_5.1", reads=("5.2_READ",), read_changes=(FIRST_SCHEDULE,), compare=_schedule
    ),
    Case(
        srv="5.3",
        write="5.3_DELETE",
        changes=(FIRST_SCHEDULE,),
        reads=("5.2_READ",),
        read_changes=(FIRST_SCHEDULE,),
        compare=_no_schedule,
    ),
    # --- the home's devices
    Case(
        srv="12.2",
        write="12.2_",
        changes=(
            (ESME, NEW),
            ("DeviceType>ESME<", "DeviceType>IHD<"),
            ("<sr:ESMEVariant>AD</sr:ESMEVariant>", ""),
        ),
        reads=("8.2_",),
        read_changes=((HUB, NEW),),
        compare=inventory(NEW, DeviceStatus="Pending", DeviceType="IHD", DeviceModel="010A030B"),
    ),
    Case(
        srv="8.11",
        write="CCS01_8.11",
        changes=((f"<sr:DeviceID>{ESME}", f"<sr:DeviceID>{NEW}"),),
        reads=("CCS06_8.9",),
        compare=lists("DeviceID", NEW),
    ),
    Case(
        srv="8.7.2",
        write="CS03CNonCritical_8.7.2",
        changes=(("00-DB-12-34-56-78-90-94", NEW),),
        reads=("8.2_",),
        compare=inventory(NEW, DeviceStatus="Commissioned"),
    ),
    Case(
        srv="8.8.2",
        write="CS04ACNonCritical_8.8.2",
        changes=(("01-02-03-04-05-06-07-08", NEW),),
        reads=("CCS06_8.9",),
        compare=lists_not("DeviceID", NEW),
    ),
    Case(
        srv="8.7.1",
        write="CS03A1_8.7.1",
        changes=(("00-DB-12-34-56-78-90-9A", NEW),),
        reads=("8.2_",),
        compare=inventory(NEW, DeviceStatus="Commissioned"),
        scene=_whitelisted,
    ),
    Case(
        srv="8.8.1",
        write="CS04ACCritical_8.8.1",
        changes=(("00-DB-12-34-56-78-90-99", NEW),),
        reads=("CCS06_8.9",),
        compare=lists_not("DeviceID", NEW),
    ),
    Case(
        srv="8.11",
        write="CCS02_8.11",
        changes=((f"<sr:DeviceID>{ESME}", f"<sr:DeviceID>{IHD}"),),
        reads=("CCS06_8.9",),
        compare=lists_not("DeviceID", IHD),
    ),
    Case(
        srv="8.4",
        write="8.4_",
        changes=((f"<sr:DeviceID>{ESME}", f"<sr:DeviceID>{NEW}"),),
        reads=("8.2_",),
        compare=_deleted,
        scene=_pending,
    ),
    *(
        Case(
            srv="8.1.1",
            write=write,
            reads=("8.2_",),
            compare=inventory(device, DeviceStatus="Commissioned", DateCommissioned="2026-01-16"),
            scene=_installed,
        )
        for write, device in (("ECS70Commission_8.1.1", ESME), ("GCS28Commission_8.1.1", GSME))
    ),
    Case(
        srv="8.3",
        write="8.3_",
        reads=("8.2_",),
        compare=inventory(ESME, DeviceStatus="Decommissioned"),
    ),
)
ELSEWHERE: Final = {
    "11.1": "tests/headend/test_firmware_delivery.py::test_delivered_verified_and_activated",
    "11.3": "tests/headend/test_firmware_delivery.py::test_delivered_verified_and_activated",
}
"""Read back by 11.2, when an image has gone over the air: no reference request has one."""

READS: Final = {
    *("4.1.1", "4.1.2", "4.1.3", "4.1.4", "4.2", "4.3", "4.4.2", "4.4.3", "4.4.4", "4.4.5", "4.6.1"),
    *("4.8.1", "4.8.2", "4.8.3", "4.10", "4.11.1", "4.13", "4.15", "4.16", "4.18", "5.2"),
    *("6.2.1", "6.2.3", "6.2.4", "6.2.5", "6.2.8", "6.2.9", "6.13", "6.24.1", "7.4", "8.2", "8.9", "11.2"),
}


# --- the one home ------------------------------------------------------------------------------------------


@dataclass
class Told:
    """What came of one row."""

    error: BaseException | None = None
    is_news: bool = True


async def _carry_out(supplier: Supplier, case: Case, of_fuel: dict[bool, dict[str, XmlNode]]) -> Told:
    home, now = supplier.home, ()
    last = of_fuel.setdefault(case.write.startswith("G"), {})
    case.scene(home)
    await home.clock.advance(seconds=75)

    async def read() -> XmlNode:
        answers = []
        for start in case.reads:
            changes = [change for change in case.read_changes if supplier.has(start, change[0])]
            answers.append(await supplier.read(start, *changes, may_fail=True))
        return XmlNode("all", children=tuple(answers))

    before = await read()
    if case.now_for:
        now = ((case.now_for, format_utc(home.clock.utc_us)),)
    request = supplier.request(case.write, *case.changes, *now)
    seen = Seen(home=home, written=request.body, before=before, after=before, last=dict(last))
    told = Told()
    try:
        case.compare(seen)
    except AssertionError:
        pass
    else:
        told.is_news = False
    await supplier.send(request)
    last[case.srv] = request.body
    if not case.reads:
        await home.clock.advance(seconds=ASIDE_S)
    case.compare(replace(seen, after=await read()))
    return told


@pytest.fixture(scope="module")
def told(duis_schema: etree.XMLSchema, duis_templates: Path, duis_parser: Path) -> dict[Case, Told]:

    async def main() -> tuple[dict[Case, Told], list[bytes]]:
        home = await open_home(seed=1, toml=TOML, start=START)
        supplier = Supplier(home, dict(reference_requests(duis_templates)), duis_schema)
        found: dict[Case, Told] = {}
        of_fuel: dict[bool, dict[str, XmlNode]] = {}
        try:
            await home.clock.advance(minutes=3)
            for case in CASES:
                try:
                    found[case] = await _carry_out(supplier, case, of_fuel)
                except Exception as error:  # the row's own test raises it
                    found[case] = Told(error=error)
        finally:
            await home.close()
        return found, supplier.octets

    found, octets = run(main(), speed=MAX_SPEED)
    parsed = read_back(duis_parser, octets)
    assert len(parsed) == len(octets)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_written_is_read(told: dict[Case, Told], case: Case) -> None:
    error = told[case].error
    if error is not None:
        raise error
    assert told[case].is_news, "the read said so before"


def test_every_service_that_writes_is_here(repository: Path) -> None:
    """Of the 72 SMETS1 services each writes, and has a row, or reads."""
    mine = {srv for srv, variant in CATALOGUE.items() if variant.smets1 is Smets1Support.YES}
    assert len(mine) == 72
    written = {case.srv for case in CASES} | set(ELSEWHERE)
    assert written | READS == mine
    assert not written & READS
    for place in ELSEWHERE.values():
        file, name = place.split("::")
        assert f"def {name}(" in (repository / file).read_text()


def test_what_no_service_reads_is_seen_at_the_device() -> None:
    assert {case.srv for case in CASES if not case.reads} == {"3.2", "6.11"}
