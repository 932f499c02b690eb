"""What can be done to a meter of either fuel: the switch, the account, tariff, tamper, later times.

Each method lives up to its own time first (`meter_life.py`), then acts. What a service request asks for, what
a person does at the keys and what a test does to the house all end here.
"""

from __future__ import annotations

from collections.abc import Callable

from smets1.devices.account import CreditRefusal
from smets1.devices.billing import BillingCalendar, DebtPayment, SnapshotCause
from smets1.devices.changes import PaymentModeChange, PrepaymentChange
from smets1.devices.event_log import AlertCode
from smets1.devices.load import Household
from smets1.devices.meter_life import MeterLife
from smets1.devices.prepayment import PaymentMode, PrepaymentConfig
from smets1.devices.publication import Publication, Shelf
from smets1.devices.published_tariff import publication_of, renewed, tariff_of
from smets1.devices.schedule import FutureCommand, FutureKind
from smets1.devices.state import is_record_of
from smets1.devices.supply import OffReason, SupplyOutcome, SupplyState
from smets1.devices.tamper import Sensor, SupplyTamperState
from smets1.devices.tariff import Tariff
from smets1.errors import DecodeError, InputError, MisuseError

__all__ = ["MeterCore"]


class MeterCore(MeterLife):
    """What an electricity and a gas meter have in common."""

    has_remote_enable = False

    # --- the switch ------------------------------------------------------------------------------

    def disable_supply(self, *, utc_us: int, reason: OffReason = OffReason.MANUAL) -> SupplyOutcome:
        """SRV 7.2, a supply code, tamper or overload."""
        self.advance(utc_us)
        return self._then_switched(self.supply.disable(reason, utc_us=self.now_us))

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
        return self._then_switched(self.supply.enable())

    def _then_switched(self, outcome: SupplyOutcome) -> SupplyOutcome:
        self._switched()
        return outcome

    def press_a(self, *, utc_us: int) -> SupplyOutcome:
        """Key A while READY shows; B within 30 s confirms."""
        self.advance(utc_us)
        return self.supply.press_a(utc_us=self.now_us)

    def press_b(self, *, utc_us: int) -> SupplyOutcome:
        self.advance(utc_us)
        return self._then_switched(self.supply.press_b(utc_us=self.now_us))

    def confirm_supply(self, *, utc_us: int) -> SupplyOutcome:
        """A person at the PPMID (LocalChangeSupply)."""
        self.advance(utc_us)
        return self._then_switched(self.supply.confirm())

    # --- the account -----------------------------------------------------------------------------

    def check_credit(self, amount_mp: int, *, utc_us: int) -> CreditRefusal | None:
        self.advance(utc_us)
        return self.account.check_credit(amount_mp)

    def add_credit(self, amount_mp: int, *, source: int, utc_us: int) -> None:
        """A top-up that `check_credit` has passed at this same instant."""
        self.advance(utc_us)
        split, events = self.account.add_credit(amount_mp, source=source)
        if split.payment_debt_fine:
            self.billing.pay(DebtPayment(utc_us=self.now_us, amount_fine=split.payment_debt_fine))
        self._take_account(events)

    def adjust_balance(self, delta_mp: int, *, utc_us: int) -> CreditRefusal | None:
        """SRV 1.5, or a token that adjusts. None: done."""
        self.advance(utc_us)
        result = self.account.adjust_balance(delta_mp)
        if isinstance(result, CreditRefusal):
            return result
        self._take_account(result)
        return None

    def retain_credit(self, amount_mp: int, *, utc_us: int) -> None:
        """A code of that name: the meter has made a refund code of so much of the balance."""
        self.advance(utc_us)
        self._take_account(self.account.retain_credit(amount_mp))

    def reset_balance(self, *, utc_us: int) -> None:
        self.advance(utc_us)
        self._take_account(self.account.reset_balance())

    def take_emergency(self, *, utc_us: int) -> bool:
        """Key A, PPMID or SRV 2.5. False where emergency credit is not on offer."""
        self.advance(utc_us)
        was_off = self.supply.state is SupplyState.OFF
        events = self.account.take_emergency()
        self._take_account(events or [])
        if was_off and self.supply.state is SupplyState.ARMED:
            self._note(AlertCode.SUPPLY_DISABLED_THEN_ARMED, "emergency credit")
        return events is not None

    def set_payment_mode(self, mode: PaymentMode, *, utc_us: int) -> None:
        """SRV 1.6: takes a billing snapshot, does not interrupt supply."""
        self.advance(utc_us)
        if mode is not self.account.mode:
            self._snapshot(SnapshotCause.MODE_CHANGE)
            self._take_account(self.account.set_mode(mode))

    def change_payment_mode(self, change: PaymentModeChange, *, utc_us: int) -> None:
        """SRV 1.6 whole: what comes with prepayment holds from the change on. Raises InputError."""
        self.advance(utc_us)
        config = change.apply(self.account.config)
        if config is not self.account.config:
            self._take_account(self.account.set_config(config, settles=change.mode is self.account.mode))
        self.set_payment_mode(change.mode, utc_us=utc_us)

    def change_prepayment(self, change: PrepaymentChange, *, utc_us: int) -> None:
        """SRV 2.1 whole. Raises InputError; then nothing has changed."""
        self.advance(utc_us)
        self.set_prepayment(change.apply(self.account.config), utc_us=utc_us)
        if change.published:
            self.shelves.put(Shelf.CALENDAR, Publication.decode(change.published))

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
        self.shelves.clear(Shelf.TARIFF)
        self.tariff = tariff
        self.registers.fit(tariff, utc_us=self.now_us)
        self.account.standing_charge_fine = tariff.standing_charge_fine

    @property
    def tariff_publication(self) -> Publication:
        """What stands published of the tariff in force; made up for one from the home file."""
        return self.shelves.get(Shelf.TARIFF) or publication_of(self.tariff)

    def check_tariff(self, change: Publication) -> tuple[Publication, Tariff]:
        """What a publication would put in force now, and the tariff that it makes. Raises InputError."""
        whole = renewed(change, self.tariff_publication)
        return whole, tariff_of(whole, block_period=self.tariff.block_period)

    def publish_tariff(self, change: Publication, *, utc_us: int) -> None:
        """SRV 1.1.1, or 1.2.1 where it has no calendar. Raises InputError; then nothing has changed."""
        self.advance(utc_us)
        whole, tariff = self.check_tariff(change)
        self.set_tariff(tariff, utc_us=utc_us)
        self.shelves.put(Shelf.TARIFF, whole)

    def set_billing_calendar(self, calendar: BillingCalendar, *, utc_us: int, from_us: int = 0) -> None:
        """SRV 6.8. Its first period begins at `from_us`, or has begun."""
        self.advance(utc_us)
        self.billing.set_calendar(calendar, utc_us=max(self.now_us, from_us))

    def change_tenancy(self, *, utc_us: int, from_us: int | None = None) -> None:
        """SRV 3.2: what lies before `from_us` (None: now) is not for the household at the displays.

        A span of the displays (today, this week, this month) that began before starts anew.
        """
        self.advance(utc_us)
        self.tenancy_from_us = self.now_us if from_us is None else from_us
        self.marks.restart(self.registers, from_us=self.tenancy_from_us)

    # --- at a later time ---------------------------------------------------------------------------

    def schedule(self, command: FutureCommand, *, utc_us: int) -> None:
        """A future-dated command; one that is due already is carried out at once."""
        self.advance(utc_us)
        self.future.put(command)
        for due in self.future.take_due(utc_us=self.now_us):
            self._carry_out(due)

    def _carry_out(self, command: FutureCommand) -> None:
        detail = f"{command.kind.name} {command.issuer_id}"
        try:
            self._act(command)
        except (DecodeError, InputError, MisuseError, ValueError) as error:
            self._note(AlertCode.FUTURE_COMMAND_FAILED, f"{detail}: {error}")
        else:
            self._note(AlertCode.FUTURE_COMMAND_EXECUTED, detail)

    def _act(self, command: FutureCommand) -> None:
        now_us, payload = self.now_us, command.payload
        if command.kind is FutureKind.TARIFF and is_record_of("tariff", payload):
            self.set_tariff(Tariff.decode(payload), utc_us=now_us)
        elif command.kind in (FutureKind.TARIFF, FutureKind.PRICE):
            self.publish_tariff(Publication.decode(payload), utc_us=now_us)
        elif command.kind is FutureKind.PREPAYMENT and is_record_of("prepayment", payload):
            self.set_prepayment(PrepaymentConfig.decode(payload), utc_us=now_us)
        elif command.kind is FutureKind.PREPAYMENT:
            self.change_prepayment(PrepaymentChange.decode(payload), utc_us=now_us)
        elif command.kind is FutureKind.PAYMENT_MODE:
            self.change_payment_mode(PaymentModeChange.decode(payload), utc_us=now_us)
        elif command.kind is FutureKind.TENANCY:
            self.change_tenancy(utc_us=now_us)
        elif command.kind is FutureKind.SUPPLY:
            self._act_supply(SupplyState(int.from_bytes(payload, "big")))
        else:
            raise MisuseError(f"this meter has no {command.kind.name}")

    def _act_supply(self, state: SupplyState) -> None:
        acts: dict[SupplyState, Callable[..., SupplyOutcome]] = {
            SupplyState.OFF: self.disable_supply,
            SupplyState.ARMED: self.arm_supply,
            SupplyState.ON: self.enable_supply,
        }
        outcome = acts[state](utc_us=self.now_us)
        if outcome not in (SupplyOutcome.DONE, SupplyOutcome.UNCHANGED):
            raise MisuseError(f"supply: {outcome.name.lower()}")

    # --- at home ------------------------------------------------------------------------------------

    def switch_appliance(self, name: str, *, is_on: bool, watts: int | None, utc_us: int) -> None:
        """Somebody at home switches something. Raises InputError; MisuseError for a load without a house."""
        if not isinstance(self.house, Household):
            raise MisuseError("nothing can be plugged in behind this load")
        self.advance(utc_us)
        self.house.switch(name, is_on=is_on, watts=watts, utc_us=self.now_us + self._load_shift_us)

    # --- tamper ------------------------------------------------------------------------------------

    def feel(self, sensor: Sensor, *, is_open: bool, utc_us: int) -> None:
        """A cover, the magnet or the tilt switch. Logged; may cut the supply (tamper.py)."""
        self.advance(utc_us)
        code = self.tamper.feel(sensor, is_open)
        if code is None:
            return
        self._note(AlertCode.TAMPER, sensor.name or "")
        self._note(code)
        if self.tamper.state is SupplyTamperState.LOCKED:
            self._then_switched(self.supply.disable(OffReason.EVENT, utc_us=self.now_us))
            self._note(AlertCode.DISABLED_AND_LOCKED)

    def clear_tamper(self, *, utc_us: int) -> None:
        """An engineering code: the count starts anew, and a supply that tamper has locked is armed."""
        self.advance(utc_us)
        self.tamper.count = 0
        if self.supply.clear(OffReason.EVENT):
            self._note(AlertCode.SUPPLY_ARMED, "tamper cleared")

    def clear_event_log(self, *, utc_us: int) -> None:
        """SRV 3.3, or an engineering code."""
        self.advance(utc_us)
        self._events.append(self.log.clear_events(utc_us=self.now_us))

    def set_tamper_state(self, state: SupplyTamperState, *, utc_us: int) -> None:
        """SRV 6.25 and 6.7."""
        self.advance(utc_us)
        self.tamper.state = state
