"""The story that `smets1 demo` tells: who does what to the home in one day, and what came of it."""

from __future__ import annotations

from typing import Final

from smets1.devices.meter_device import MeterDevice
from smets1.devices.screens import format_money
from smets1.errors import EmulatorError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import from_datetime
from smets1.headend.rotation import RotationResult
from smets1.tools.duis_ask import DuisAnswer, ask
from smets1.tools.home import Home

__all__ = ["DemoError", "DemoStory"]

_HOUR_US: Final = 3_600_000_000


class DemoError(EmulatorError):
    """Something in the story did not go as it must."""


class DemoStory:
    """Tells a home's day on standard output. Raises DemoError where an outcome is not the right one."""

    def __init__(self, home: Home, source: str) -> None:
        self._home = home
        self._source = source
        self._off_wh = 0  # what the house would have drawn while the contactor was open
        self._off_since_us: int | None = None
        self._start_utc_us = from_datetime(home.config.start)

    async def tell(self) -> None:
        home = self._home
        print(f"A SMETS1 home: {len(home.config.devices)} devices, seed {home.config.seed}, {self._source}\n")
        await home.joined()
        network = home.chf.port.network
        assert network is not None, "joined"
        self._say(
            f"joined by install code, keyed by CBKE: PAN 0x{network.pan_id:04X}, channel {network.channel}"
        )
        for device in home.config.devices:
            print(f"{'':14}{device.role.name:<6} {format_eui64(device.eui64)}  {device.model}")
        await self._at(6.5)
        await self._read_balances()
        await self._at(8)
        await self._top_up()
        await self._at(10)
        await self._disable_and_arm()
        await self._at(12)
        await self._rotate_keys()
        await self._at(18.1)
        self._show_screen()
        await self._at(24)
        await self._compare_registers()

    # --- episodes ---------------------------------------------------------------------------------------

    async def _read_balances(self) -> None:
        for meter in (self._home.esme, self._home.gsme):
            answer = await self._ask(meter.eui64, "4.18")
            balance_mp = int(_value(answer, "MeterBalance"))
            self._say(f"DUIS 4.18 to the {_name(meter)}: balance {format_money(balance_mp)}")

    async def _top_up(self) -> None:
        home = self._home
        token = home.headend.make_utrn(home.esme.eui64, pounds=10)
        grouped = " ".join(token[at : at + 4] for at in range(0, 20, 4))
        result = await home.ppmid.enter_utrn(token)
        self._require(result.is_accepted, f"the token was refused: {result.result.name}")
        self._say(f"typed at the PPMID: {grouped}")
        self._say(f"the meter: {result.result.name.lower()}, {format_money(result.amount_mp)} added, "
                  f"balance {format_money(result.balance_mp)}")  # fmt: skip
        again = await home.ppmid.enter_utrn(token)
        self._require(not again.is_accepted, "the same token was taken twice")
        self._say(f"the same token again: {again.result.name.lower().replace('_', ' ')}")

    async def _disable_and_arm(self) -> None:
        home = self._home
        await self._ask(home.esme.eui64, "7.2")
        self._say(f"DUIS 7.2 Disable, authorised by the DCO: supply {self._supply()}")
        await home.clock.advance(minutes=10)
        await self._ask(home.esme.eui64, "7.3")
        self._say(f"DUIS 7.3 Arm: supply {self._supply()}")
        await home.clock.advance(minutes=1)
        await home.ppmid.confirm_supply()
        self._say(f"a person presses OK at the PPMID: supply {self._supply()}")
        answer = await self._ask(home.esme.eui64, "7.4")
        self._say(f"DUIS 7.4: {_value(answer, 'SupplyState')}")
        self._require(home.esme.meter.supply.is_on, "supply is not on again")

    async def _rotate_keys(self) -> None:
        """GSME first: it is the point of no return."""
        for meter in (self._home.gsme, self._home.esme):
            result = await self._home.headend.rotate_sua_key(meter.eui64)
            self._require(result is RotationResult.ROTATED, f"{_name(meter)}: {result}")
            self._say(
                f"SUA key of the {_name(meter)} rotated, made by S1SP and DCO together: "
                f"generation {meter.authorisation.generation}"
            )

    def _show_screen(self) -> None:
        self._say("the IHD shows")
        pages = self._home.ihd.screen
        for name in ("home", "electricity use", "gas use"):
            print()
            for line in pages[name]:
                print(f"{'':20}| {line:<32} |")

    async def _compare_registers(self) -> None:
        home = self._home
        print()
        electricity = await self._ask(home.esme.eui64, "4.1.1")
        read_wh = int(_value(electricity, "ActiveImportRegister", "Value"))
        end_us = home.esme.meter.now_us
        load = home.esme.meter.load
        off_wh = self._off_wh
        true_wh = (load.energy_uwh(end_us) - load.energy_uwh(self._start_utc_us)) // 1_000_000
        self._say(f"DUIS 4.1.1 to the ESME: {read_wh / 1000:.3f} kWh; the load was {true_wh / 1000:.3f} kWh, "
                  f"of which {off_wh / 1000:.3f} fell into the time without supply")  # fmt: skip
        self._require(abs(true_wh - off_wh - read_wh) <= 1, "the register does not agree with the load")
        gas = await self._ask(home.gsme.eui64, "4.1.1")
        volume = _value(gas, "ConsumptionRegister", "Value")
        self._say(f"DUIS 4.1.1 to the GSME, answered by the GPF: {volume} m3")
        for meter in (home.esme, home.gsme):
            self._say(f"{_name(meter)}: balance {format_money(meter.account.balance_mp)}")

    # --- small help -------------------------------------------------------------------------------------

    def _supply(self) -> str:
        """The state in words; keeps account of the time without supply."""
        meter = self._home.esme.meter
        meter.advance(self._home.civil.utc_us())
        if not meter.supply.is_on and self._off_since_us is None:
            self._off_since_us = meter.now_us
        if meter.supply.is_on and self._off_since_us is not None:
            used = meter.load.energy_uwh(meter.now_us) - meter.load.energy_uwh(self._off_since_us)
            self._off_wh += used // 1_000_000
            self._off_since_us = None
        return meter.supply.state.name

    async def _at(self, hour: float) -> None:
        await self._home.clock.advance_to(self._start_utc_us + round(hour * _HOUR_US))

    async def _ask(self, target: Eui64, srv: str) -> DuisAnswer:
        """One DUIS request through the front door; its final response."""
        answer = await ask(self._home, srv, target)
        self._require(answer.code == "I0", f"{srv} to {format_eui64(target)} was answered {answer.code}")
        return answer

    def _say(self, text: str) -> None:
        print(f"{self._home.clock.utc:%a %H:%M:%S}  {text}")

    @staticmethod
    def _require(is_so: bool, otherwise: str) -> None:
        if not is_so:
            raise DemoError(otherwise)


def _name(meter: MeterDevice) -> str:
    return type(meter).__name__.upper()


def _value(answer: DuisAnswer, *path: str) -> str:
    """As `DuisAnswer.value`, of what must be there."""
    value = answer.value(*path)
    if value is None:
        raise DemoError(f"the answer has no {'/'.join(path)}")
    return value
