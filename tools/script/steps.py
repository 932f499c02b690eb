"""What a step of a script can do: each kind reads its keys from the file and gives what is to be done.

join                                    until every device is on the network and keyed
wait        minutes | seconds | until_minutes   of the home's time; the last counts from the home's start
request     device, srv; code; value, is    a DUIS request; ResponseCode (I0); an element and its text
top-up      device, pounds; at; again   a token typed at the PPMID, or at its meter; again: refused
confirm                                 OK at the PPMID, for a supply that is armed
rotate      device                      the SUA key
upgrade     device, version; octets     an image by 11.1, over the air, started by 11.3
unplug, plug    device                  the stick of a device
power-off, power-on    device
expect      device; balance_pounds, supply, generation, firmware, screen
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

from smets1.devices.display_device import DisplayDevice
from smets1.devices.meter_device import MeterDevice
from smets1.devices.ppmid import Fuel, Ppmid
from smets1.devices.supply import SupplyState
from smets1.errors import EmulatorError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.device import Device
from smets1.firmware.ota.image_file import OtaFile, OtaHeader
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice
from smets1.headend.rotation import RotationResult
from smets1.tools.duis_ask import ask, require_variant
from smets1.tools.home import Home
from smets1.tools.home_config import POUND_MP, HomeConfig, Role
from smets1.tools.home_file import hex_text
from smets1.tools.toml_reader import Table, judge, optional

__all__ = ["Act", "ScriptFailedError", "Stage", "read_step"]

_LONGEST_MINUTES: Final = 366 * 24 * 60
_GAS_TURN_S: Final = 3700.0
_DOWNLOAD_S: Final = 6 * 3600
_DSP: Final = 0x90B3D51F30000002


class ScriptFailedError(EmulatorError):
    """Something is not as the script says it must be."""


class Stage:
    """A home that a script is played on."""

    def __init__(self, home: Home, say: Callable[[str], None]) -> None:
        self.home = home
        self.started_us = home.clock.utc_us
        self.token = ""
        self._say = say
        self.held = 0
        """Expectations that were so."""

    def say(self, text: str) -> None:
        self._say(f"{self.home.clock.utc:%a %H:%M:%S}  {text}")

    def expect(self, is_so: bool, text: str) -> None:
        """Raises ScriptFailedError where it is not so."""
        if not is_so:
            raise ScriptFailedError(f"not so: {text}")
        self.held += 1
        self.say(text)

    def device(self, eui64: Eui64) -> Device:
        found = self.home.device(eui64)
        if found is None:
            raise ScriptFailedError(f"{format_eui64(eui64)} has no power")
        return found

    def meter(self, eui64: Eui64) -> MeterDevice:
        device = self.device(eui64)
        assert isinstance(device, MeterDevice), "checked when the script was read"
        return device

    def ppmid(self, eui64: Eui64) -> Ppmid:
        device = self.device(eui64)
        assert isinstance(device, Ppmid), "found by its role when the script was read"
        return device

    def name(self, eui64: Eui64) -> str:
        return next(each.role.name for each in self.home.config.devices if each.eui64 == eui64)


Act = Callable[[Stage], Awaitable[None]]


def read_step(table: Table, config: HomeConfig) -> Act:
    """Raises InputError that names file and line."""
    kind = table.text("do")
    if kind not in _KINDS:
        table.refuse("do", f"do = {kind!r} is none of {', '.join(_KINDS)}")
    act = _KINDS[kind](_Keys(table, config))
    table.done()
    return act


class _Keys:
    """A step's keys."""

    def __init__(self, table: Table, config: HomeConfig) -> None:
        self.table = table
        self._config = config

    def device(self, *roles: Role) -> Eui64:
        """One of `roles`; where none is given, any but the GPF, whose power and radio are the hub's."""
        role = self.table.choice("device", Role)
        found = self.of_role(role, "device")
        fitting = roles or tuple(each for each in Role if each is not Role.GPF)
        if role not in fitting:
            self.table.refuse("device", f"that is for {' or '.join(fitting)}, and this is {role.value}")
        return found

    def of_role(self, role: Role, key: str) -> Eui64:
        """`key` is named where there is none."""
        found = self._config.device(role)
        if found is None or not found.runs_here:
            self.table.refuse(key, f"no {role.value} runs in this home")
        return found.eui64

    def meter(self) -> Eui64:
        return self.device(Role.ESME, Role.GSME)

    def text(self, key: str) -> str | None:
        return optional(self.table, key, self.table.text)

    def number(self, key: str, *, high: int) -> float | None:
        """For time, where the nearest float is good enough."""
        return optional(self.table, key, lambda key: float(self.table.number(key, low=0, high=high)))

    def whole(self, key: str, *, low: int = 0, high: int, unit: int = 1) -> int | None:
        """A number that is whole in its unit."""
        return optional(self.table, key, lambda key: self.table.scaled(key, unit=unit, low=low, high=high))


# --- time ------------------------------------------------------------------------------------------------


def _join(_keys: _Keys) -> Act:
    async def act(stage: Stage) -> None:
        await stage.home.joined()
        stage.expect(True, "every device is on the network, keyed by CBKE")

    return act


def _wait(keys: _Keys) -> Act:
    minutes = keys.number("minutes", high=_LONGEST_MINUTES)
    seconds = keys.number("seconds", high=_LONGEST_MINUTES * 60)
    until = keys.number("until_minutes", high=_LONGEST_MINUTES)
    if (minutes is None) + (seconds is None) + (until is None) != 2:
        keys.table.refuse("do", "wait takes one of minutes, seconds, until_minutes")

    async def act(stage: Stage) -> None:
        if until is not None:
            await stage.home.clock.advance_to(stage.started_us + round(until * 60e6))
        else:
            await stage.home.clock.advance(minutes=minutes or 0, seconds=seconds or 0)

    return act


# --- DUIS ------------------------------------------------------------------------------------------------


def _request(keys: _Keys) -> Act:
    device, srv = keys.device(*Role), keys.table.text("srv")
    judge(keys.table, "srv", require_variant, srv)
    code = keys.table.text("code", "I0")
    value, wanted = keys.text("value"), keys.text("is")

    async def act(stage: Stage) -> None:
        answer = await ask(stage.home, srv, device)
        stage.expect(answer.code == code, f"DUIS {srv} to the {stage.name(device)}: {answer.code}")
        if value is not None:
            found = answer.value(*value.split("/"))
            is_so = found is not None and (wanted is None or found == wanted)
            stage.expect(is_so, f"{value} is {found}" + ("" if is_so else f", not {wanted}"))

    return act


def _rotate(keys: _Keys) -> Act:
    device = keys.meter()

    async def act(stage: Stage) -> None:
        result = await stage.home.headend.rotate_sua_key(device)
        generation = stage.meter(device).authorisation.generation
        text = f"SUA key of the {stage.name(device)}: {result}, generation {generation}"
        stage.expect(result is RotationResult.ROTATED, text)

    return act


def _upgrade(keys: _Keys) -> Act:
    device = keys.device(Role.ESME, Role.GSME, Role.PPMID, Role.CHF)
    version = keys.table.integer("version", low=1, high=0xFFFFFFFF)
    size = keys.table.integer("octets", 3000, low=100, high=200_000)

    async def act(stage: Stage) -> None:
        target = stage.device(device)
        header = OtaHeader(
            manufacturer_code=target.factory.manufacturer_code,
            image_type=target.factory.device_type,
            file_version=version,
        )
        octets = OtaFile.make(header, Random(version).randbytes(size)).encode()
        image = base64.b64encode(octets).decode()
        fields = {
            "FirmwareImage": image,
            "FirmwareVersion": f"{version:08X}",
            "DeviceIDList": format_eui64(device),
        }
        answer = await ask(stage.home, "11.1", _DSP, change=lambda xml: _with_fields(xml, fields))
        stage.expect(answer.code == "I0", f"DUIS 11.1: {len(octets)} octets for the {stage.name(device)}")
        waited_s = 0
        while stage.device(device).images.staged_version != version and waited_s < _DOWNLOAD_S:
            await stage.home.clock.advance(seconds=10)
            waited_s += 10
        is_there = stage.device(device).images.staged_version == version
        stage.expect(is_there, f"the {stage.name(device)} has the image, over the air, and has verified it")
        digest = {"FirmwareHash": hashlib.sha256(octets).hexdigest().upper()}
        answer = await ask(stage.home, "11.3", device, change=lambda xml: _with_fields(xml, digest))
        stage.expect(answer.code == "I0", "DUIS 11.3: it is to start it")
        await stage.home.clock.advance(minutes=2)
        running = stage.device(device).images.version
        stage.expect(running == version, f"the {stage.name(device)} runs version {running:08X}")

    return act


def _with_fields(xml: str, fields: dict[str, str]) -> str:
    """A request with other texts in the elements of these names."""
    return re.sub(
        r"<((?:\w+:)?(\w+))>[^<]*</",
        lambda match: f"<{match[1]}>{fields[match[2]]}</" if match[2] in fields else match[0],
        xml,
    )


# --- a person --------------------------------------------------------------------------------------------


def _top_up(keys: _Keys) -> Act:
    device = keys.meter()
    is_again = keys.table.boolean("again", False)
    pounds = keys.whole("pounds", low=1, high=100)
    role = keys.table.choice("device", Role)
    at = keys.table.choice("at", Role, Role.PPMID)
    if at not in (Role.PPMID, role):
        keys.table.refuse("at", "a token is typed at the ppmid or at its own meter")
    place = keys.of_role(at, "do")
    if (pounds is None) is not is_again:
        keys.table.refuse("do", "top-up takes pounds, or again = true for the token of the last one")

    async def act(stage: Stage) -> None:
        if pounds is not None:
            stage.token = stage.home.headend.make_utrn(device, pounds=pounds)
        if not stage.token:
            raise ScriptFailedError("no token was made before: give pounds, then again = true")
        if at is Role.PPMID:
            fuel: Fuel = "gas" if role is Role.GSME else "electricity"
            result: Any = await stage.ppmid(place).enter_utrn(stage.token, fuel)
        else:
            result = _type_at_meter(stage, stage.meter(place))
        text = f"token typed at the {at.name}: {result.result.name.lower().replace('_', ' ')}"
        stage.expect(result.is_accepted is not is_again, text)

    return act


def _type_at_meter(stage: Stage, meter: MeterDevice) -> Any:
    utc_us = stage.home.clock.utc_us
    return meter.desk.enter(meter.meter, stage.token, source=OriginatingDevice.METER, utc_us=utc_us)


def _confirm(keys: _Keys) -> Act:
    ppmid = keys.of_role(Role.PPMID, "do")

    async def act(stage: Stage) -> None:
        await stage.ppmid(ppmid).confirm_supply()
        stage.say("a person presses OK at the PPMID")

    return act


# --- what may go wrong ------------------------------------------------------------------------------------


def _plugging(is_plugged: bool) -> Callable[[_Keys], Act]:
    def read(keys: _Keys) -> Act:
        device = keys.device()

        async def act(stage: Stage) -> None:
            cable = stage.home.radios.cables.get(device)
            if cable is None:
                stage.say(f"the {stage.name(device)} has no simulated stick to pull out: goes on")
                return
            if is_plugged:
                cable.plug()
            else:
                cable.unplug()
            stage.say(
                f"the stick of the {stage.name(device)} is {'plugged in' if is_plugged else 'pulled out'}"
            )

        return act

    return read


def _powering(has_power: bool) -> Callable[[_Keys], Act]:
    def read(keys: _Keys) -> Act:
        device = keys.device()

        async def act(stage: Stage) -> None:
            await (stage.home.restore_power if has_power else stage.home.cut_power)(device)
            stage.say(f"the {stage.name(device)} {'has power again' if has_power else 'is without power'}")

        return act

    return read


# --- how it must stand --------------------------------------------------------------------------------------


def _expect(keys: _Keys) -> Act:
    device = keys.device()
    balance = keys.whole("balance_pounds", high=1_000_000, unit=POUND_MP)
    supply, screen = keys.text("supply"), keys.text("screen")
    generation = keys.whole("generation", high=1_000_000)
    firmware = optional(keys.table, "firmware", lambda key: hex_text(keys.table, key, "00000001", digits=8))
    states = SupplyState.__members__
    if supply is not None and supply not in states:
        keys.table.refuse("supply", f"supply = {supply!r} is none of {', '.join(states)}")
    found: list[Callable[[Stage], tuple[str, object, object]]] = []
    if balance is not None:
        found.append(lambda stage: ("balance (1/1000 p)", stage.meter(device).account.balance_mp, balance))
    if supply is not None:
        found.append(lambda stage: ("supply", stage.meter(device).meter.supply.state.name, supply))
    if generation is not None:
        found.append(lambda s: ("SUA key generation", s.meter(device).authorisation.generation, generation))
    if firmware is not None:
        found.append(lambda stage: ("firmware", f"{stage.device(device).images.version:08X}", firmware))

    async def act(stage: Stage) -> None:
        name = stage.name(device)
        for look in found:
            what, is_now, wanted = look(stage)
            text = f"{what} of the {name} is {is_now}"
            stage.expect(is_now == wanted, text if is_now == wanted else f"{text}, not {wanted}")
        if screen is not None:
            display = stage.device(device)
            assert isinstance(display, DisplayDevice)
            shown = [line for page in display.screen.values() for line in page]
            stage.expect(any(screen in line for line in shown), f"the {name} shows {screen!r}")

    _check_role(keys, device, balance=balance, supply=supply, generation=generation, screen=screen)
    return act


def _check_role(keys: _Keys, device: Eui64, **given: object) -> None:
    """Money, supply and keys are a meter's, a screen is a display's."""
    role = keys.table.choice("device", Role)
    for key, value in given.items():
        fitting = (Role.PPMID, Role.IHD) if key == "screen" else (Role.ESME, Role.GSME)
        if value is not None and role not in fitting:
            keys.table.refuse("device", f"{key} is of {' or '.join(fitting)}, and this is {role.value}")


_KINDS: Final[dict[str, Callable[[_Keys], Act]]] = {
    "join": _join,
    "wait": _wait,
    "request": _request,
    "top-up": _top_up,
    "confirm": _confirm,
    "rotate": _rotate,
    "upgrade": _upgrade,
    "unplug": _plugging(False),
    "plug": _plugging(True),
    "power-off": _powering(False),
    "power-on": _powering(True),
    "expect": _expect,
}
