"""The registries: every entry readable, writable within its range, refused outside; is against must."""

from __future__ import annotations

import pytest

from smets1.devices.days import DAY_US
from smets1.devices.enrolment import PRE_ENROLMENT, DeviceKind, required_of
from smets1.devices.load import ConstantLoad, GasFlow
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore
from smets1.devices.parameters import (
    CAD_PARAMETERS,
    DISPLAY_PARAMETERS,
    ELECTRICITY_PARAMETERS,
    GAS_PARAMETERS,
    Access,
    Parameter,
    ParameterBook,
    parameters_of,
)
from smets1.devices.tariff import Tariff
from smets1.errors import DecodeError, RefusedError
from smets1.firmware.zcl.status import Status

START = 19_733 * DAY_US
FLAT = Tariff.flat(price_mp_per_kwh=30_000)

TEXTS = {"privacy_pin": "4711", "currency": "EUR", "mpan": "1200023305967", "mprn": "3005231"}


def esme():
    return ElectricityMeterCore(load=ConstantLoad(watts=1), now_us=START, tariff=FLAT)


def gsme():
    return GasMeterCore(flow=GasFlow(load=ConstantLoad(watts=1)), now_us=START, tariff=FLAT)


MAKERS = {DeviceKind.ESME: esme, DeviceKind.GSME: gsme, DeviceKind.PPMID: lambda: None}
ROWS = [
    *((esme, p) for p in ELECTRICITY_PARAMETERS),
    *((gsme, p) for p in GAS_PARAMETERS),
    *((lambda: None, p) for p in DISPLAY_PARAMETERS),
]


def book(make) -> ParameterBook:
    core = make()
    return ParameterBook(parameters_of(core), core)


def refused(status: Status):
    return pytest.raises(RefusedError, check=lambda error: error.status == status)


@pytest.mark.parametrize(("make", "parameter"), ROWS, ids=lambda row: getattr(row, "name", ""))
def test_a_new_device_has_the_default_and_the_entry_is_complete(make, parameter):
    assert book(make).value(parameter.name) == parameter.default
    assert parameter.fits(parameter.default)
    assert parameter.source
    assert parameter.part in (1, 2)
    assert parameter.kind != "number" or (parameter.unit and parameter.high is not None)


@pytest.mark.parametrize(("make", "parameter"), ROWS, ids=lambda row: getattr(row, "name", ""))
def test_what_is_written_is_read_and_what_does_not_fit_is_refused(make, parameter):
    subject = book(make)
    writer = next(access for access in Access if access in parameter.writers)
    good = {
        "bool": not parameter.default,
        "text": TEXTS.get(parameter.name, "XY"),
        "choice": next((c.value for c in parameter.choices if c != parameter.default), 0)
        if parameter.choices
        else 0,
        "number": 3600 if parameter.unit == "s" and parameter.high >= 3600 else parameter.high,
    }[parameter.kind]
    if parameter.name in ("average_rms_under_voltage_threshold", "average_rms_over_voltage_threshold"):
        good = 230_000
    subject.write(parameter.name, good, writer=writer, utc_us=START + 1)
    assert subject.value(parameter.name) == good
    wrong = [None, 1.5, b"x", 10**12, -(10**12), "x" * 65, "\n"]
    for value in wrong:
        with refused(Status.INVALID_VALUE):
            subject.write(parameter.name, value, writer=writer, utc_us=START + 2)
    assert subject.value(parameter.name) == good


def test_names_are_unique():
    for registry in (ELECTRICITY_PARAMETERS, GAS_PARAMETERS, DISPLAY_PARAMETERS, CAD_PARAMETERS):
        names = [parameter.name for parameter in registry]
        assert len(names) == len(set(names))
        assert book(esme).names == [p.name for p in ELECTRICITY_PARAMETERS]


def test_who_may_read_and_write():
    subject = book(esme)
    assert subject.read("low_credit_threshold", reader=Access.CONSUMER) == 200_000
    with refused(Status.NOT_AUTHORIZED):
        subject.read("privacy_pin", reader=Access.CONSUMER)
    with refused(Status.NOT_AUTHORIZED):
        subject.write("rms_voltage_sag_threshold", 1, writer=Access.SUPPLIER, utc_us=START)
    with refused(Status.NOT_AUTHORIZED):
        subject.write("currency", "EUR", writer=Access.CONSUMER, utc_us=START)
    with refused(Status.NOT_FOUND):
        subject.read("calorific_value", reader=Access.SUPPLIER)


def test_what_nobody_may_write_is_read_only():
    row = Parameter(name="made_by", default="us", writers=frozenset(), source="a test")
    with refused(Status.READ_ONLY):
        ParameterBook([row]).write("made_by", "them", writer=Access.SMSO, utc_us=START)


def test_a_value_that_the_core_refuses_leaves_it_as_it_was():
    subject = book(esme)
    with refused(Status.INVALID_VALUE):
        subject.write("average_rms_under_voltage_threshold", 260_000, writer=Access.NETWORK, utc_us=START)
    assert subject.value("average_rms_under_voltage_threshold") == 216_200


@pytest.mark.parametrize("kind", MAKERS)
def test_a_home_fresh_from_the_smso_differs_and_a_cleared_one_does_not(kind):
    subject = book(MAKERS[kind])
    required = required_of("DA", kind)
    assert subject.diff(required) == []
    subject.write("privacy_pin", "1234", writer=Access.SMSO, utc_us=START)
    subject.write("currency", "EUR", writer=Access.SUPPLIER, utc_us=START)
    lines = [str(difference) for difference in subject.diff(required)]
    assert lines == [
        "part 1 privacy_pin: is '(set)', must be ''",
        "part 1 currency: is 'EUR', must be 'GBP'",
    ]
    for name, (_, value) in required.items():
        subject.write(name, value, writer=Access.SMSO, utc_us=START)
    assert subject.diff(required) == []


def test_a_parameter_that_the_device_lacks_is_a_difference():
    (difference,) = book(lambda: None).diff({"calorific_value": (2, 395)})
    assert str(difference) == "part 2 calorific_value: is (no such parameter), must be 395"


def test_every_requirement_names_a_parameter_of_its_devices():
    for kind, make in MAKERS.items():
        subject = book(make)
        for name, (_, value) in required_of("DA", kind).items():
            assert subject.parameter(name).fits(value)
    assert {row.part for row in PRE_ENROLMENT["DA"]} == {1, 2}


def test_kept_values_survive_and_hostile_records_do_not():
    subject = book(esme)
    subject.write("supplier_name", "A Supplier", writer=Access.SUPPLIER, utc_us=START)
    octets = subject.encode()
    again = book(esme)
    again.decode_into(octets)
    assert again.value("supplier_name") == "A Supplier"
    for end in range(len(octets)):
        with pytest.raises(DecodeError):
            again.decode_into(octets[:end])


def test_the_cap_and_the_periods_of_debts_are_those_of_the_account():
    subject = book(esme)
    core = subject._core
    assert (subject.value("debt_recovery_rate_cap"), core.account.config.debt_rate_cap_mp) == (
        2_147_400_000,
        None,
    )
    subject.write("debt_recovery_rate_cap", 500_000, writer=Access.SUPPLIER, utc_us=START + 1)
    subject.write("debt_recovery_rate_period_2", 0, writer=Access.SUPPLIER, utc_us=START + 1)
    subject.write("debt_recovery_rate_2", 700, writer=Access.SUPPLIER, utc_us=START + 1)
    config = core.account.config
    assert config.debt_rate_cap_mp == 500_000
    assert [(rate.rate_mp, rate.period.name) for rate in config.debt_rates] == [(0, "DAILY"), (700, "HOURLY")]
    subject.write("debt_recovery_rate_cap", 2_147_400_000, writer=Access.SUPPLIER, utc_us=START + 2)
    assert core.account.config.debt_rate_cap_mp is None
