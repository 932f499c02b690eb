"""No order of top-ups, refusals, consumption, mode and clock changes and power cuts breaks the rules of money.

The rules: no token credits twice; an accepted one is never lost; emergency credit is never overdrawn;
supply is never switched on again without a person; and the money adds up, to the last fine unit.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from smets1.devices.days import DAY_US, HOUR_US, SECOND_US
from smets1.devices.load import ConstantLoad
from smets1.devices.meter import ElectricityMeterCore
from smets1.devices.prepayment import DebtPeriod, DebtRate, PaymentMode, PrepaymentConfig
from smets1.devices.supply import SupplyState
from smets1.devices.tariff import Tariff, fine
from smets1.devices.tokens import TopUpDesk
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.utrn import ValueClass, make_utrn
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice

POUND = 100_000
ESME, SUPPLIER = 0x00DB1234567890A0, 0x90B3D51F30010000
KEY = bytes(range(16))
START = 19_000 * DAY_US
CONFIG = PrepaymentConfig(
    max_meter_balance_mp=60 * POUND,
    debt_rates=(DebtRate(rate_mp=700, period=DebtPeriod.HOURLY), DebtRate(rate_mp=9000)),
    debt_per_payment_bp=1500,
    debt_rate_cap_mp=3 * POUND,
)
DEBTS = {"time_1_mp": 500 * POUND, "time_2_mp": 5 * POUND, "payment_mp": 20 * POUND}
TARIFF = Tariff.flat(price_mp_per_kwh=31_337, standing_charge_mp=45_678)


class MoneyMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.nvm = MemoryNvm()
        self.now_us = START
        self.accepted: set[int] = set()
        self.added_mp = 10 * POUND  # the opening balance
        self.boot()
        self.was = self.meter.supply.state
        self.a_person_acted = False
        self.is_configured = False

    @initialize(emergency=st.booleans(), disabled=st.booleans(), hourly_mp=st.sampled_from([700, 70_000]))
    def configure(self, emergency: bool, disabled: bool, hourly_mp: int) -> None:
        config = replace(
            CONFIG,
            suspend_debt_emergency=emergency,
            suspend_debt_disabled=disabled,
            debt_rates=(DebtRate(rate_mp=hourly_mp, period=DebtPeriod.HOURLY), CONFIG.debt_rates[1]),
        )
        self.meter.set_prepayment(config, utc_us=START)
        self.meter.set_debts(**DEBTS, utc_us=START)
        self.commit()
        self.is_configured = True

    def boot(self) -> None:
        self.meter = ElectricityMeterCore(
            load=ConstantLoad(watts=2000, start_utc_us=START),
            now_us=START,
            tariff=TARIFF,
            prepayment=CONFIG,
            mode=PaymentMode.PREPAYMENT,
            balance_mp=10 * POUND,
        )
        self.desk = TopUpDesk(key=KEY, originator=SUPPLIER, target=ESME)

    def commit(self) -> None:
        self.meter.save(self.nvm)
        self.desk.save(self.nvm)
        self.nvm.commit()

    def tick(self) -> int:
        self.now_us += 1
        return self.now_us

    @rule(span_us=st.sampled_from([SECOND_US, 1_234_567, HOUR_US, 7 * HOUR_US, DAY_US]))
    def live(self, span_us: int) -> None:
        self.now_us += span_us
        self.meter.advance(self.now_us)
        self.commit()

    @rule(counter=st.integers(1, 12), pounds=st.sampled_from([1, 9, 40]), loses_power=st.booleans())
    def top_up(self, counter: int, pounds: int, loses_power: bool) -> None:
        text = make_utrn(
            KEY,
            originator=SUPPLIER,
            target=ESME,
            counter=counter,
            value=pounds,
            value_class=ValueClass.POUNDS,
        )
        result = self.desk.enter(self.meter, text, source=OriginatingDevice.METER, utc_us=self.tick())
        if loses_power:
            self.cut_power()
            return
        self.commit()
        if result.is_accepted:
            assert counter not in self.accepted
            self.accepted.add(counter)
            self.added_mp += pounds * POUND
        elif result.refusal is not None and result.refusal.name == "DUPLICATE":
            assert counter in self.accepted

    @rule(digits=st.integers(0, 10**20 - 1))
    def nonsense(self, digits: int) -> None:
        before = self.meter.account.encode()
        self.meter.advance(self.now_us)
        result = self.desk.enter(
            self.meter, f"{digits:020d}", source=OriginatingDevice.METER, utc_us=self.now_us
        )
        assert not result.is_accepted
        assert self.meter.account.encode() == before
        self.commit()

    @rule()
    def take_emergency(self) -> None:
        self.meter.take_emergency(utc_us=self.tick())
        self.commit()

    @rule(mode=st.sampled_from(PaymentMode))
    def change_mode(self, mode: PaymentMode) -> None:
        self.meter.set_payment_mode(mode, utc_us=self.tick())
        self.commit()

    @rule(command=st.sampled_from(["disable_supply", "arm_supply"]))
    def command_supply(self, command: str) -> None:
        getattr(self.meter, command)(utc_us=self.tick())
        self.commit()

    @rule()
    def press_b_alone(self) -> None:
        self.meter.supply.confirm_until_us = None
        self.meter.press_b(utc_us=self.tick())
        self.commit()

    @precondition(lambda self: self.meter.account.is_emergency_available)
    @rule(hours=st.integers(1, 20))
    def live_on_emergency_credit(self, hours: int) -> None:
        """Taken, confirmed and used: the way that chance alone seldom finds."""
        self.a_person_acted = True
        assert self.meter.take_emergency(utc_us=self.tick())
        self.meter.confirm_supply(utc_us=self.tick())
        self.now_us += hours * HOUR_US
        self.meter.advance(self.now_us)
        self.commit()

    @rule()
    def confirm(self) -> None:
        self.a_person_acted = True
        self.meter.confirm_supply(utc_us=self.tick())
        self.commit()

    @rule()
    def cut_power(self) -> None:
        self.nvm = self.nvm.after_power_cut()
        self.boot()
        assert self.meter.restore(self.nvm)
        assert self.desk.restore(self.nvm)
        self.meter.outage(self.now_us)
        self.commit()

    @rule(by_us=st.sampled_from([-DAY_US, -3 * HOUR_US, -SECOND_US, 17, HOUR_US, 2 * DAY_US]))
    def set_clock(self, by_us: int) -> None:
        """The head end sets the meter's clock; hours lived twice are not charged twice (money_adds_up)."""
        charged_us = self.meter.account.charged_us
        self.meter.set_clock(self.now_us + by_us, utc_us=self.now_us)
        self.now_us += by_us
        assert self.meter.account.charged_us >= charged_us
        self.commit()

    @rule(hours=st.integers(1, 200))
    def be_without_power(self, hours: int) -> None:
        self.meter.power_off(utc_us=self.now_us)
        before = self.meter.registers.quantity
        self.now_us += hours * HOUR_US
        self.meter.outage(self.now_us)
        assert self.meter.registers.quantity == before
        self.commit()

    @invariant()
    def nothing_switches_itself_on(self) -> None:
        if self.meter.supply.state is SupplyState.ON and self.was is not SupplyState.ON:
            assert self.a_person_acted
        self.was, self.a_person_acted = self.meter.supply.state, False

    @invariant()
    def emergency_credit_is_not_overdrawn(self) -> None:
        account = self.meter.account
        assert 0 <= account.emergency_fine <= account.emergency_lent_fine
        assert account.emergency_lent_fine in (0, fine(CONFIG.emergency_credit_limit_mp))

    @precondition(lambda self: self.is_configured)
    @invariant()
    def money_adds_up(self) -> None:
        """What was paid in, less what was used and owed, is what is there, wherever it stands."""
        account = self.meter.account
        held = account.balance_fine - (account.emergency_lent_fine - account.emergency_fine)
        debts = sum(account.time_debt_fine) + account.payment_debt_fine + account.accumulated_debt_fine
        opening_debts = fine(sum(DEBTS.values()))
        spent = self.meter.registers.cost_fine
        assert held - debts == fine(self.added_mp) - opening_debts - spent

    @invariant()
    def accepted_tokens_are_remembered(self) -> None:
        assert set(self.desk.cache.counters) == self.accepted

    @invariant()
    def the_switch_agrees_with_the_account(self) -> None:
        if self.meter.account.is_cut_off:
            assert self.meter.supply.state is SupplyState.OFF


TestMoneyMachine = MoneyMachine.TestCase
TestMoneyMachine.settings = settings(max_examples=60, stateful_step_count=40)
