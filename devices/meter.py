"""The inside of a meter: consumption, tariff, account and switch moved forward together.

`advance` cuts time into spans in which nothing but consumption happens: up to the next UTC half hour,
tariff switch, end of a hold on disablement, or the first whole second at which consumption brings the
account to a threshold. So what a meter does does not depend on how often anybody reads it, and two
meters fed with the same load and the same commands are equal to the last fine unit.

The order of things at one instant: consumption up to it; local midnight closes the displays' spans;
debts, then the standing charge (UTC midnight); thresholds; then the logs. Commands come after all of
that. Every command method advances to its own time first.

Consumption flows while supply is on. Time in which a meter was without power (`outage`) has none,
but its midnights count: standing charges and debts of a week's power cut are due afterwards.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.devices.account import Account, AccountEvent, AccountEventKind, CreditRefusal
from smets1.devices.days import (
    DAY_US,
    HALF_HOUR_US,
    SECOND_US,
    ceil_to,
    local_day,
    local_midnight_us,
)
from smets1.devices.event_log import AlertCode, EventLog, LogEntry
from smets1.devices.load import GasConversion, GasFlow, Load
from smets1.devices.metering import DailyRead, DailyReadLog, PeriodMarks, ProfileLog, Registers
from smets1.devices.prepayment import PaymentMode, PrepaymentConfig
from smets1.devices.state import StateReader, pack_state
from smets1.devices.supply import OffReason, SupplyMachine, SupplyOutcome
from smets1.devices.tariff import Tariff
from smets1.errors import DecodeError, MisuseError
from smets1.firmware.nvm import Nvm

__all__ = ["BillingSnapshot", "ElectricityMeterCore", "GasMeterCore", "MeterCore", "SnapshotCause"]

_SNAPSHOTS_KEPT: Final = 12
_UNIT: Final = 1_000_000  # uWh in a Wh, ul in a litre

_CODES: Final = {
    AccountEventKind.LOW_CREDIT: AlertCode.CREDIT_BELOW_LOW_THRESHOLD,
    AccountEventKind.EMERGENCY_OFFERED: AlertCode.EMERGENCY_CREDIT_AVAILABLE,
    AccountEventKind.EMERGENCY_TAKEN: AlertCode.EMERGENCY_CREDIT_ACTIVATED,
    AccountEventKind.EMERGENCY_EXHAUSTED: AlertCode.EMERGENCY_CREDIT_EXHAUSTED,
    AccountEventKind.BELOW_DISABLEMENT: AlertCode.CREDIT_BELOW_DISABLEMENT_THRESHOLD,
    AccountEventKind.DISABLEMENT_HELD: AlertCode.DISABLEMENT_SUSPENDED,
    AccountEventKind.TIME_DEBT_1_PAID: AlertCode.DEBT_COLLECTED_TIME_1,
    AccountEventKind.TIME_DEBT_2_PAID: AlertCode.DEBT_COLLECTED_TIME_2,
    AccountEventKind.PAYMENT_DEBT_PAID: AlertCode.DEBT_COLLECTED_PAYMENT,
    AccountEventKind.CREDIT_ADDED: AlertCode.CREDIT_ADDED_LOCALLY,
}


@unique
class SnapshotCause(IntEnum):
    MODE_CHANGE = 0
    TARIFF_CHANGE = 1
    BILLING_CALENDAR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSnapshot:
    """One entry of the billing data log."""

    utc_us: int
    cause: SnapshotCause
    quantity: int
    cost_fine: int
    balance_fine: int


class MeterCore:
    """What an electricity and a gas meter have in common. Starts with supply on."""

    has_remote_enable = False

    def __init__(
        self,
        *,
        now_us: int,
        tariff: Tariff,
        prepayment: PrepaymentConfig | None = None,
        mode: PaymentMode = PaymentMode.CREDIT,
        balance_mp: int = 0,
    ) -> None:
        self.now_us = now_us
        self.tariff = tariff
        self.registers = Registers()
        self.registers.fit(tariff, utc_us=now_us)
        self.account = Account(
            config=prepayment or PrepaymentConfig(),
            now_us=now_us,
            mode=mode,
            balance_mp=balance_mp,
            standing_charge_fine=tariff.standing_charge_fine,
        )
        self.supply = SupplyMachine()
        self.log = EventLog()
        self.profile = ProfileLog()
        self.daily = DailyReadLog()
        self.marks = PeriodMarks(utc_us=now_us)
        self.snapshots: deque[BillingSnapshot] = deque(maxlen=_SNAPSHOTS_KEPT)
        self._source_mark = self._source(now_us)
        self._profile_mark = 0  # register in whole units at the last half hour
        self._settled_us = -1  # thresholds have been looked at at this instant
        self._has_power = True
        self._events: list[LogEntry] = []

    # --- what differs between the fuels ----------------------------------------------------------

    def _source(self, utc_us: int) -> int:
        """What the house would have drawn since its beginning: uWh, or ul of gas."""
        raise NotImplementedError

    def _energy_at(self, quantity: int) -> int:
        """The energy register (uWh) when the quantity register shows this."""
        raise NotImplementedError

    @property
    def demand(self) -> int:
        """W, or litres an hour of gas; 0 while supply is not on."""
        raise NotImplementedError

    # --- reads -----------------------------------------------------------------------------------

    @property
    def reading(self) -> int:
        """The register as it is sent: whole Wh, or litres, rounded down."""
        return self.registers.quantity // _UNIT

    @property
    def tou(self) -> int:
        """The TOU register that counts now."""
        return self.tariff.tou_at(self.now_us)

    @property
    def price_mp_per_kwh(self) -> int:
        tou = self.tou
        return self.tariff.price_mp_per_kwh(tou, self.tariff.block_at(tou, self.registers.counters_uwh[tou]))

    def take_events(self) -> list[LogEntry]:
        """What was logged since the last call, in order."""
        events, self._events = self._events, []
        return events

    # --- time ------------------------------------------------------------------------------------

    def advance(self, utc_us: int) -> None:
        """Live up to `utc_us`. An earlier time than before changes nothing."""
        while self.now_us <= utc_us:
            boundary_us = self._boundary_us()
            end_us = min(utc_us, boundary_us)
            crossing_us = self._crossing_us(end_us)
            if crossing_us == self.now_us:
                self._settle()
            elif end_us == self.now_us:
                return
            else:
                stop_us = end_us if crossing_us is None else crossing_us
                self._step(stop_us, settles=crossing_us is not None or stop_us == boundary_us)

    def _settle(self) -> None:
        """Thresholds that are met at this very instant, without a span before it."""
        self._settled_us = self.now_us
        self._take_account(self.account.settle())

    def next_timer_us(self) -> int:
        """When something happens next without anybody asking; call `advance` then."""
        boundary_us = self._boundary_us()
        crossing_us = self._crossing_us(boundary_us)
        return boundary_us if crossing_us is None else crossing_us

    def outage(self, utc_us: int) -> None:
        """Power is back at `utc_us`, gone since the last instant known: nothing flowed in between."""
        self._has_power = False
        self.advance(utc_us)
        self._has_power = True

    @property
    def _is_flowing(self) -> bool:
        return self.supply.is_on and self._has_power

    def _boundary_us(self) -> int:
        now_us = self.now_us
        edges = [
            now_us // HALF_HOUR_US * HALF_HOUR_US + HALF_HOUR_US,
            self.tariff.next_switch_us(now_us),
            self.account.next_hold_change_us(),
            self.supply.next_timer_us(),
        ]
        return min(edge for edge in edges if edge is not None and edge > now_us)

    def _crossing_us(self, end_us: int) -> int | None:
        """The first whole second up to `end_us` at which consumption meets a threshold of the account."""
        headroom = self.account.headroom_fine() if self._is_flowing else None
        if headroom is None:
            return None
        low_s, high_s = ceil_to(self.now_us, SECOND_US) // SECOND_US, end_us // SECOND_US
        if low_s * SECOND_US == self._settled_us:
            low_s += 1
        if low_s > high_s or self._cost_until(high_s * SECOND_US) < headroom:
            return None
        while low_s < high_s:
            middle_s = (low_s + high_s) // 2
            if self._cost_until(middle_s * SECOND_US) >= headroom:
                high_s = middle_s
            else:
                low_s = middle_s + 1
        return high_s * SECOND_US

    def _cost_until(self, utc_us: int) -> int:
        quantity = self.registers.quantity + self._source(utc_us) - self._source_mark
        energy = self._energy_at(quantity) - self.registers.energy_uwh
        tou = self.tou
        return self.tariff.cost_fine(tou, self.registers.counters_uwh[tou], energy)

    def _step(self, to_us: int, *, settles: bool) -> None:
        """One span without an inner event, and what is due at its end."""
        source = self._source(to_us)
        cost = 0
        if self._is_flowing:
            self.registers.quantity += source - self._source_mark
            energy = self._energy_at(self.registers.quantity) - self.registers.energy_uwh
            cost = self.registers.add(energy, tariff=self.tariff, tou=self.tou)
        self._source_mark = source
        self.now_us = to_us
        is_half_hour = to_us % HALF_HOUR_US == 0
        if is_half_hour and local_midnight_us(local_day(to_us)) == to_us:
            self.marks.on_midnight(self.registers, utc_us=to_us)
        self._take_account(self.account.advance(to_us, cost, settle=settles))
        if settles:
            self._settled_us = to_us
        if self.supply.on_timer(utc_us=to_us):
            self._note(AlertCode.SUPPLY_ARMED, "overload over")
        if is_half_hour:
            self._on_half_hour()

    def _on_half_hour(self) -> None:
        self.profile.record(self.now_us, self.reading - self._profile_mark)
        self._profile_mark = self.reading
        if self.now_us % DAY_US == 0:
            self.registers.cost_fine += self.tariff.standing_charge_fine
            self.registers.roll_block_period(self.tariff, utc_us=self.now_us)
            self.daily.entries.append(
                DailyRead(
                    utc_us=self.now_us,
                    quantity=self.registers.quantity,
                    cost_fine=self.registers.cost_fine,
                    balance_fine=self.account.balance_fine,
                )
            )

    # --- events ----------------------------------------------------------------------------------

    def _note(self, code: int, detail: str = "") -> None:
        self._events.append(self.log.record(code, utc_us=self.now_us, detail=detail))

    def note(self, code: int, *, utc_us: int, detail: str = "") -> None:
        """Something that a shell has seen (joined, tamper, refused authority) goes to the log."""
        self.advance(utc_us)
        self._note(code, detail)

    def _take_account(self, events: list[AccountEvent]) -> None:
        for event in events:
            code = _CODES.get(event.kind)
            if code is not None:
                self._note(code, f"balance {event.balance_mp}")
            if event.kind is AccountEventKind.CUT_OFF:
                self.supply.disable(OffReason.NO_CREDIT, utc_us=self.now_us)
            elif event.kind is AccountEventKind.RESTORED and self.supply.clear(OffReason.NO_CREDIT):
                self._note(AlertCode.SUPPLY_ARMED, "credit restored")

    # --- the switch ------------------------------------------------------------------------------

    def disable_supply(self, *, utc_us: int, reason: OffReason = OffReason.MANUAL) -> SupplyOutcome:
        """SRV 7.2, a supply code, tamper or overload."""
        self.advance(utc_us)
        return self.supply.disable(reason, utc_us=self.now_us)

    def arm_supply(self, *, utc_us: int) -> SupplyOutcome:
        """SRV 7.3."""
        self.advance(utc_us)
        outcome = self.supply.arm()
        if outcome is SupplyOutcome.DONE:
            self._note(AlertCode.SUPPLY_ARMED, "by command")
        return outcome

    def enable_supply(self, *, utc_us: int) -> SupplyOutcome:
        """SRV 7.1; a gas meter has no such command. Raises MisuseError there."""
        if not self.has_remote_enable:
            raise MisuseError("a gas valve cannot be opened from afar: arm it, and let a person confirm")
        self.advance(utc_us)
        return self.supply.enable()

    def press_a(self, *, utc_us: int) -> SupplyOutcome:
        """Key A while READY shows; B within 30 s confirms."""
        self.advance(utc_us)
        return self.supply.press_a(utc_us=self.now_us)

    def press_b(self, *, utc_us: int) -> SupplyOutcome:
        self.advance(utc_us)
        return self.supply.press_b(utc_us=self.now_us)

    def confirm_supply(self, *, utc_us: int) -> SupplyOutcome:
        """A person at the PPMID (LocalChangeSupply)."""
        self.advance(utc_us)
        return self.supply.confirm()

    # --- the account -----------------------------------------------------------------------------

    def check_credit(self, amount_mp: int, *, utc_us: int) -> CreditRefusal | None:
        self.advance(utc_us)
        return self.account.check_credit(amount_mp)

    def add_credit(self, amount_mp: int, *, source: int, utc_us: int) -> None:
        """A top-up that `check_credit` has passed at this same instant."""
        self.advance(utc_us)
        _, events = self.account.add_credit(amount_mp, source=source)
        self._take_account(events)

    def adjust_balance(self, delta_mp: int, *, utc_us: int) -> CreditRefusal | None:
        """SRV 1.5, or a token that adjusts. None: done."""
        self.advance(utc_us)
        result = self.account.adjust_balance(delta_mp)
        if isinstance(result, CreditRefusal):
            return result
        self._take_account(result)
        return None

    def reset_balance(self, *, utc_us: int) -> None:
        self.advance(utc_us)
        self._take_account(self.account.reset_balance())

    def take_emergency(self, *, utc_us: int) -> bool:
        """Key A, PPMID or SRV 2.5. False where emergency credit is not on offer."""
        self.advance(utc_us)
        events = self.account.take_emergency()
        self._take_account(events or [])
        return events is not None

    def set_payment_mode(self, mode: PaymentMode, *, utc_us: int) -> None:
        """SRV 1.6: takes a billing snapshot, does not interrupt supply."""
        self.advance(utc_us)
        if mode is not self.account.mode:
            self._snapshot(SnapshotCause.MODE_CHANGE)
            self._take_account(self.account.set_mode(mode))

    def set_prepayment(self, config: PrepaymentConfig, *, utc_us: int) -> None:
        """SRV 2.1."""
        self.advance(utc_us)
        self._take_account(self.account.set_config(config))

    def set_debts(self, *, time_1_mp: int, time_2_mp: int, payment_mp: int, utc_us: int) -> None:
        """SRV 2.3."""
        self.advance(utc_us)
        self.account.set_debts(time_1_mp=time_1_mp, time_2_mp=time_2_mp, payment_mp=payment_mp)

    def set_tariff(self, tariff: Tariff, *, utc_us: int) -> None:
        """SRV 1.1.1 and 1.2.1: takes a billing snapshot; block counters start anew."""
        self.advance(utc_us)
        self._snapshot(SnapshotCause.TARIFF_CHANGE)
        self.tariff = tariff
        self.registers.fit(tariff, utc_us=self.now_us)
        self.account.standing_charge_fine = tariff.standing_charge_fine

    def _snapshot(self, cause: SnapshotCause) -> None:
        self.snapshots.append(
            BillingSnapshot(
                utc_us=self.now_us,
                cause=cause,
                quantity=self.registers.quantity,
                cost_fine=self.registers.cost_fine,
                balance_fine=self.account.balance_fine,
            )
        )
        self._note(AlertCode.BILLING_LOG_UPDATED, cause.name)

    # --- NVM -------------------------------------------------------------------------------------

    def save(self, nvm: Nvm) -> None:
        """Put all that has changed; the shell commits, with whatever else belongs to the same change."""
        nvm.put("meter/core", self._encode_core())
        nvm.put("meter/tariff", self.tariff.encode())
        nvm.put("meter/prepayment", self.account.config.encode())
        nvm.put("meter/account", self.account.encode())
        nvm.put("meter/registers", self.registers.encode())
        nvm.put("meter/supply", self.supply.encode())
        nvm.put("meter/marks", self.marks.encode())
        nvm.put("meter/daily", self.daily.encode())
        nvm.put("meter/log", self.log.encode())
        for day, chunk in self.profile.take_changed():
            if chunk is None:
                nvm.delete(f"meter/profile/{day}")
            else:
                nvm.put(f"meter/profile/{day}", chunk)

    def restore(self, nvm: Nvm) -> bool:
        """Take over what `save` wrote; False where there is nothing. Raises DecodeError.

        The meter is then at the instant of that save: `advance` (a restart of the program) or `outage`
        (a power cut of the house) brings it to the present.
        """
        core = nvm.get("meter/core")
        if core is None:
            return False
        self.tariff = Tariff.decode(_record(nvm, "tariff"))
        self.account = Account.decode(
            _record(nvm, "account"), config=PrepaymentConfig.decode(_record(nvm, "prepayment"))
        )
        self.registers = Registers.decode(_record(nvm, "registers"))
        self.supply = SupplyMachine.decode(_record(nvm, "supply"))
        self.marks = PeriodMarks.decode(_record(nvm, "marks"))
        self.daily = DailyReadLog.decode(_record(nvm, "daily"))
        self.log = EventLog.decode(_record(nvm, "log"))
        self.profile = ProfileLog()
        prefix = "meter/profile/"
        for key in nvm.keys(prefix):
            self.profile.load_chunk(_day_of(key, prefix), _value(nvm, key))
        self._decode_core(core)
        return True

    def _core_fields(self) -> dict[str, object]:
        return {
            "now_us": self.now_us,
            "profile_mark": self._profile_mark,
            "settled_us": self._settled_us,
            "snapshots": [
                (s.utc_us, int(s.cause), s.quantity, s.cost_fine, s.balance_fine) for s in self.snapshots
            ],
        }

    def _encode_core(self) -> bytes:
        return pack_state("meter", 1, self._core_fields())

    def _decode_core(self, octets: bytes) -> StateReader:
        reader = StateReader(octets, kind="meter", versions=(1,))
        self.now_us = reader.whole("now_us")
        self._profile_mark = reader.whole("profile_mark")
        self._settled_us = reader.whole("settled_us")
        self.snapshots.clear()
        for utc_us, cause, quantity, cost, balance in reader.rows("snapshots", 5):
            if not 0 <= cause < len(SnapshotCause):
                raise reader.bad("snapshots", "have an unknown cause")
            self.snapshots.append(
                BillingSnapshot(
                    utc_us=utc_us,
                    cause=SnapshotCause(cause),
                    quantity=quantity,
                    cost_fine=cost,
                    balance_fine=balance,
                )
            )
        self._source_mark = self._source(self.now_us)
        return reader


def _value(nvm: Nvm, key: str) -> bytes:
    octets = nvm.get(key)
    if octets is None:
        raise DecodeError("NVM", 0, f"the record {key} is missing")
    return octets


def _record(nvm: Nvm, name: str) -> bytes:
    return _value(nvm, f"meter/{name}")


def _day_of(key: str, prefix: str) -> int:
    text = key[len(prefix) :]
    if not text.isdecimal():
        raise DecodeError("NVM", 0, f"the record {key} names no day")
    return int(text)


class ElectricityMeterCore(MeterCore):
    """Quantity is energy: uWh, Wh on air."""

    has_remote_enable = True

    def __init__(
        self,
        *,
        load: Load,
        now_us: int,
        tariff: Tariff,
        prepayment: PrepaymentConfig | None = None,
        mode: PaymentMode = PaymentMode.CREDIT,
        balance_mp: int = 0,
    ) -> None:
        self.load = load
        super().__init__(
            now_us=now_us, tariff=tariff, prepayment=prepayment, mode=mode, balance_mp=balance_mp
        )

    def _source(self, utc_us: int) -> int:
        return self.load.energy_uwh(utc_us)

    def _energy_at(self, quantity: int) -> int:
        return quantity

    @property
    def power_w(self) -> int:
        """InstantaneousDemand: 0 while supply is not on."""
        return self.load.power_mw(self.now_us) // 1000 if self.supply.is_on else 0

    @property
    def demand(self) -> int:
        return self.power_w


class GasMeterCore(MeterCore):
    """Quantity is volume: ul, litres (dm3) on air. Energy follows from the meter's own conversion."""

    def __init__(
        self,
        *,
        flow: GasFlow,
        now_us: int,
        tariff: Tariff,
        conversion: GasConversion | None = None,
        prepayment: PrepaymentConfig | None = None,
        mode: PaymentMode = PaymentMode.CREDIT,
        balance_mp: int = 0,
    ) -> None:
        self.flow = flow
        self.conversion = conversion or GasConversion()
        # The registers when the present conversion began: earlier volume keeps its energy.
        self._base_quantity = 0
        self._base_energy_uwh = 0
        super().__init__(
            now_us=now_us, tariff=tariff, prepayment=prepayment, mode=mode, balance_mp=balance_mp
        )

    def _source(self, utc_us: int) -> int:
        return self.flow.volume_ul(utc_us)

    def _energy_at(self, quantity: int) -> int:
        return self._base_energy_uwh + self.conversion.energy_uwh(quantity - self._base_quantity)

    @property
    def volume_dm3(self) -> int:
        return self.reading

    @property
    def flow_ml_per_h(self) -> int:
        """0 while the valve is not open."""
        return self.flow.flow_ml_per_h(self.now_us) if self.supply.is_on else 0

    @property
    def demand(self) -> int:
        return self.flow_ml_per_h // 1000

    def set_conversion(self, conversion: GasConversion, *, utc_us: int) -> None:
        """SRV 6.6: for gas that flows from now on."""
        self.advance(utc_us)
        self._base_quantity = self.registers.quantity
        self._base_energy_uwh = self.registers.energy_uwh
        self.conversion = conversion

    def _core_fields(self) -> dict[str, object]:
        return {
            **super()._core_fields(),
            "conversion": [
                self.conversion.calorific_value_x10,
                self.conversion.factor_x100000,
                self._base_quantity,
                self._base_energy_uwh,
            ],
        }

    def _decode_core(self, octets: bytes) -> StateReader:
        reader = super()._decode_core(octets)
        value, factor, self._base_quantity, self._base_energy_uwh = reader.wholes("conversion", 4)
        self.conversion = GasConversion(calorific_value_x10=value, factor_x100000=factor)
        return reader
