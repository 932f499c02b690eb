"""What a laboratory does to a living home by hand: covers, magnets, mains, batteries, clocks, appliances.

Each control is one row: name, what it takes, what it does. `control` judges the values of JSON and acts; the
HTTP face and its OpenAPI description are made of the same rows. What was done to a device is committed when
it returns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from smets1.devices.cad_device import Cad
from smets1.devices.display_device import DisplayDevice
from smets1.devices.enrolment import PRE_ENROLMENT, DeviceKind, required_of
from smets1.devices.esme import Esme
from smets1.devices.gsme import Gsme
from smets1.devices.meter_device import MeterDevice
from smets1.devices.parameters import Access, ParameterBook
from smets1.devices.tamper import Sensor
from smets1.errors import InputError, RefusedError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.device import Device
from smets1.firmware.time_keeper import DeviceClock
from smets1.tools.home import Home
from smets1.tools.hub_registry import Chf

__all__ = ["CONTROLS", "Control", "Key", "control", "differences", "parameters", "set_parameter"]

_MAX_WATTS: Final = 100_000
_MAX_MV: Final = 500_000
_MAX_OFFSET_S: Final = 366 * 86_400
_KIND_WORDS: Final[Mapping[type, str]] = {bool: "true or false", int: "a whole number", str: "a text"}

_D = TypeVar("_D", bound=Device)
_Act = Callable[[Home, Eui64, dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One member of a control's JSON object."""

    name: str
    kind: type  # bool, int or str
    words: str
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    is_optional: bool = False
    or_null: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One thing that can be done to a device."""

    name: str
    words: str
    keys: tuple[Key, ...]
    act: _Act = field(repr=False)


def _running(home: Home, eui64: Eui64, kind: type[_D], words: str) -> _D:
    """Raises InputError where it does not run, or is no such thing."""
    device = home.running(eui64)
    if not isinstance(device, kind):
        raise InputError(f"{format_eui64(eui64)} is no {words}")
    return device


def _meter(home: Home, eui64: Eui64) -> MeterDevice:
    return _running(home, eui64, MeterDevice, "meter")


def _electricity(home: Home, eui64: Eui64) -> Esme:
    return _running(home, eui64, Esme, "electricity meter")


def _gas(home: Home, eui64: Eui64) -> Gsme:
    return _running(home, eui64, Gsme, "gas meter")


# --- what they do ------------------------------------------------------------------------------------


async def _sensor(home: Home, eui64: Eui64, values: dict[str, Any]) -> None:
    device, sensor = _meter(home, eui64), Sensor[values["sensor"].upper()]
    if not sensor & device.meter.sensors:
        raise InputError(f"{format_eui64(eui64)} has no sensor {values['sensor']}")
    device.meter.feel(sensor, is_open=values["open"], utc_us=device.civil.utc_us())
    device.changed()


async def _power(home: Home, eui64: Eui64, values: dict[str, Any]) -> None:
    await (home.restore_power(eui64) if values["on"] else home.cut_power(eui64))


async def _battery(home: Home, eui64: Eui64, values: dict[str, Any]) -> None:
    device = _gas(home, eui64)
    if values["percent"] == 100:
        device.meter.replace_battery(utc_us=device.civil.utc_us())
    else:
        device.meter.drain_battery(values["percent"], utc_us=device.civil.utc_us())
    device.changed()


async def _clock(home: Home, eui64: Eui64, values: dict[str, Any]) -> None:
    device = home.running(eui64)
    if not isinstance(device.civil, DeviceClock):
        raise InputError("the hub's clock is kept right by the head end")
    if "drift_ppm" in values:
        device.civil.set_drift(values["drift_ppm"])
    step_us = values.get("offset_s", 0) * 1_000_000
    if step_us:
        device.civil.set(device.civil.utc_us() + step_us)
    if isinstance(device, MeterDevice):
        device.on_clock_moved(step_us)
    device.nvm.commit()


async def _voltage(home: Home, eui64: Eui64, values: dict[str, Any]) -> None:
    device = _electricity(home, eui64)
    device.meter.set_voltage(values["mv"], utc_us=device.civil.utc_us())
    device.changed()


async def _appliance(home: Home, eui64: Eui64, values: dict[str, Any]) -> None:
    device = _meter(home, eui64)
    device.meter.switch_appliance(
        values["name"], is_on=values["on"], watts=values.get("watts"), utc_us=device.civil.utc_us()
    )
    device.changed()


async def _taps(home: Home, eui64: Eui64, values: dict[str, Any]) -> None:
    device = _gas(home, eui64)
    device.meter.set_open_taps(values["l_per_h"], utc_us=device.civil.utc_us())
    device.changed()


async def _marker(home: Home, eui64: Eui64, values: dict[str, Any]) -> None:
    _gas(home, eui64).clusters.leaks_marker = values["leaks"]


_SENSORS: Final = tuple(sensor.name.lower() for sensor in Sensor if sensor.name)

CONTROLS: Final[Mapping[str, Control]] = {
    row.name: row
    for row in (
        Control(
            name="sensors",
            words="Open or close a cover, bring a magnet near, tilt the meter",
            keys=(
                Key(name="sensor", kind=str, words="which", choices=_SENSORS),
                Key(name="open", kind=bool, words="true: opened, near, tilted"),
            ),
            act=_sensor,
        ),
        Control(
            name="power",
            words="Cut a device's mains (or take its battery out), or give it back",
            keys=(Key(name="on", kind=bool, words="whether it has power"),),
            act=_power,
        ),
        Control(
            name="battery",
            words="What is left in a gas meter's battery; 100 is a new one",
            keys=(Key(name="percent", kind=int, words="per cent", low=0, high=100),),
            act=_battery,
        ),
        Control(
            name="clock",
            words="Let a device's clock drift, or put it wrong",
            keys=(
                Key(name="drift_ppm", kind=int, words="fast by", low=-1000, high=1000, is_optional=True),
                Key(
                    name="offset_s",
                    kind=int,
                    words="set forward by (s)",
                    low=-_MAX_OFFSET_S,
                    high=_MAX_OFFSET_S,
                    is_optional=True,
                ),
            ),
            act=_clock,
        ),
        Control(
            name="voltage",
            words="The voltage of the street from now on; null: its own again",
            keys=(Key(name="mv", kind=int, words="mV RMS", low=0, high=_MAX_MV, or_null=True),),
            act=_voltage,
        ),
        Control(
            name="appliances",
            words="Switch an appliance behind a meter, a kettle or a gas fire; a new name plugs one in",
            keys=(
                Key(name="name", kind=str, words="its name"),
                Key(name="on", kind=bool, words="whether it runs"),
                Key(name="watts", kind=int, words="of a new one", low=1, high=_MAX_WATTS, is_optional=True),
            ),
            act=_appliance,
        ),
        Control(
            name="taps",
            words="Gas that will flow uncontrolled when the valve opens",
            keys=(Key(name="l_per_h", kind=int, words="litres an hour", low=0, high=100_000),),
            act=_taps,
        ),
        Control(
            name="marker",
            words="A gas meter's fault: ZigBee's marker of an invalid value leaks out as its reading",
            keys=(Key(name="leaks", kind=bool, words="true: it says 16777.215 m3; false: cured"),),
            act=_marker,
        ),
    )
}


async def control(home: Home, eui64: Eui64, name: str, values: object) -> None:
    """Raises InputError, one line, for values that do not fit, or a device that it makes no sense for."""
    row = CONTROLS[name]
    if not isinstance(values, dict):
        raise InputError(f"{name} takes a JSON object")
    known = {key.name: key for key in row.keys}
    for unknown in values:
        if unknown not in known:
            raise InputError(f"{name} has no {unknown!r:.40}: it takes {', '.join(known)}")
    for key in row.keys:
        _judge(key, values)
    await row.act(home, eui64, values)


def _judge(key: Key, values: Mapping[str, Any]) -> None:
    if key.name not in values:
        if not key.is_optional:
            words = f"one of {', '.join(key.choices)}" if key.choices else key.words
            raise InputError(f"{key.name} is missing: {words}")
        return
    value: Any = values[key.name]
    if value is None and key.or_null:
        return
    is_of_kind = type(value) is key.kind  # True is no number here
    if not is_of_kind:
        raise InputError(f"{key.name} is {_KIND_WORDS[key.kind]}, not {value!r:.40}")
    if key.choices and value not in key.choices:
        raise InputError(f"{key.name} is one of {', '.join(key.choices)}")
    if key.low is not None and key.high is not None and not key.low <= value <= key.high:
        raise InputError(f"{key.name} is {key.low} to {key.high}")
    if isinstance(value, str) and not (0 < len(value) <= 64 and value.isprintable()):
        raise InputError(f"{key.name} is a text of 1 to 64 characters")


# --- parameters -------------------------------------------------------------------------------------


def set_parameter(device: Device, name: object, value: object) -> None:
    """As the operator writes it. Raises InputError for one that the device does not take."""
    _book(device)
    assert isinstance(device, MeterDevice | DisplayDevice | Cad | Chf), "who has a book"
    if not isinstance(name, str):
        raise InputError(f"the name of a parameter is a text, not {name!r:.40}")
    try:
        device.parameters.set(name, value)
    except RefusedError as error:
        raise InputError(str(error)) from None


def _book(device: Device) -> ParameterBook:
    if not isinstance(device, MeterDevice | DisplayDevice | Cad | Chf):
        raise InputError(f"{format_eui64(device.eui64)} has no parameters")
    return device.parameters.book


def parameters(device: Device) -> list[dict[str, Any]]:
    """Each with its present value; of a secret one only whether it is set. Raises InputError."""
    book = _book(device)
    rows = []
    for name in book.names:
        row, value = book.parameter(name), book.value(name)
        shown: object = bool(value) if row.is_secret else value
        rows.append(
            {
                "name": name,
                "value": shown,
                "default": row.default,
                "kind": row.kind,
                "unit": row.unit,
                "low": row.low,
                "high": row.high,
                "choices": {} if row.choices is None else {each.name: int(each) for each in row.choices},
                "part": row.part,
                "readers": [each.value for each in Access if each in row.readers],
                "writers": [each.value for each in Access if each in row.writers],
                "is_critical": row.is_critical,
                "is_secret": row.is_secret,
                "source": row.source,
            }
        )
    return rows


def differences(device: Device, group: str = "DA") -> list[dict[str, Any]]:
    """What is not as it must be before enrolment. Raises InputError for a Group ID without a table."""
    book = _book(device)
    if group not in PRE_ENROLMENT:
        raise InputError(f"no table for Group ID {group!r}: known is {', '.join(PRE_ENROLMENT)}")
    if isinstance(device, Cad | Chf):
        return []  # nothing is demanded of these
    kind = DeviceKind[type(device).__name__.upper()]
    return [
        {"name": each.name, "part": each.part, "is": each.present, "must_be": each.required}
        for each in book.diff(required_of(group, kind))
    ]
