"""A meter, those who do things to it, and a ledger of what the world outside it knows: a hypothesis state machine.

What is driven is the device: meter core, clusters, keys and glass, on an NVM that loses power before or after any
commit, in the house or in the program. Suppliers order over ZigBee, people press keys, tokens come by keypad, display
and WAN. The ledger is kept beside it, from what was acknowledged and what was made durable, and every step is
judged by it:

- no token credits twice, whatever came between; what was accepted is never lost, and a power cut costs nothing of it;
- emergency credit is lent by a person only, and never overdrawn; where it is gone the supply is off by the second,
  unless friendly hours or the day after a change of mode hold it;
- supply never comes on by itself: only by a person (A then B in 30 s, the display) or the supplier's Enable;
- money adds up to the last fine unit: paid in, less what the load cost by the price, is what stands in the account,
  emergency credit and debts together; each midnight charged once, however the clock was set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.devices.money_ledger import (
    CONFIG,
    NIGHTS,
    OPENING_MP,
    POUND,
    SOME_DAYS,
    Cut,
    Ledger,
)
from tests.devices.supplier import ESME, KEY, SUPPLIER, TARIFF, Bench, token

from smets1.devices.account import CreditRefusal
from smets1.devices.changes import PaymentModeChange, PrepaymentChange
from smets1.devices.days import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from smets1.devices.load_limit import LoadLimit
from smets1.devices.prepayment import (
    DebtPeriod,
    DebtRate,
    NonDisablementCalendar,
    PaymentMode,
    payment_control,
)
from smets1.devices.special_codes import Engineering, VendKind, make_special_code
from smets1.devices.supply import OffReason, SupplyState
from smets1.devices.tamper import Sensor, SupplyTamperState
from smets1.devices.tariff import fine
from smets1.devices.tariff_codes import make_tariff_code
from smets1.devices.tokens import Refusal, TopUpResult
from smets1.firmware.civil import zigbee_s
from smets1.firmware.utrn import CACHE_SIZE, ValueClass, decode_utrn, make_utrn
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice, ResultType
from smets1.firmware.zcl.server import Via
from smets1.headend.srv.frames import command, parse_command
from smets1.headend.srv.steps import RefusedByDeviceError

SPECIAL: dict[str, dict[str, Any]] = {
    "code off": {"supply_is_ready": False},
    "code ready": {"supply_is_ready": True},
    "clear tamper": {"engineering": Engineering.CLEAR_TAMPER},
    "deduct": {"vend": VendKind.DEDUCT, "pounds": 2},
    "set": {"vend": VendKind.SET, "pounds": 7},
    "retain": {"retains_credit": True},
}
WITH_TARIFF_MP = 5 * POUND  # the prices are those that hold already
CALENDARS = (NonDisablementCalendar(), NonDisablementCalendar(), NIGHTS, SOME_DAYS)
PRICE_UP = TARIFF.prices_up_per_kwh[0][0]
NO_TIME = 0
COUNTERS = st.sampled_from([*range(1, 6), *range(196, 206)])  # below and above what was taken before
POUNDS = st.sampled_from([1, 9, 40, 70])
WAYS = st.sampled_from(["keypad", "display", "wan"])
OTHER_ACTS = (
    *("magnet", "no magnet", "locks", "locks not", "limit", "no limit", "a number"),
    *("code off", "code ready", "clear tamper", "deduct", "set", "retain", "with tariff"),
)


CUTS = st.sampled_from(
    [None] * 6 + [Cut(written, house) for written in (False, True) for house in (False, True)]
)


def _special_digits(what: str, counter: int) -> str:
    whose: dict[str, Any] = {"originator": SUPPLIER, "target": ESME, "counter": counter}
    if what != "with tariff":
        return make_special_code(KEY, **whose, **SPECIAL[what])
    return make_tariff_code(
        KEY,
        **whose,
        pence=WITH_TARIFF_MP // 1000,
        unit_rate_mp_per_kwh=PRICE_UP // 1000,
        standing_charge_mp=TARIFF.standing_charge_up // 1000,
    )


class MoneyMachine(RuleBasedStateMachine):
    """One electricity meter; `GasMoneyMachine` has the other fuel."""

    IS_GAS: ClassVar = False
    WATTS: ClassVar = 6000  # 1.80 pounds an hour: zones follow each other quickly

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.bench = Bench(
            is_gas=self.IS_GAS,
            watts=self.WATTS,
            prepayment=CONFIG,
            mode=PaymentMode.PREPAYMENT,
            balance_mp=OPENING_MP,
        )
        self.was = self.meter.supply.state
        self.lent_fine = 0
        self.a_person_acted = self.a_person_took_credit = False
        self.durable: tuple[bytes, ...] = ()
        self.commit()

    # --- the device -------------------------------------------------------------------------------

    @property
    def meter(self) -> Any:
        return self.bench.meter

    @property
    def now_us(self) -> int:
        return self.bench.time.now_us

    def wait(self, span_us: int) -> None:
        self.bench.time.now_us += span_us
        self.meter.advance(self.now_us)
        self.bench.panel.on_timer(utc_us=self.now_us)

    def commit(self) -> None:
        self.bench.save()
        self.bench.nvm.commit()
        self.durable = self.state()

    def state(self) -> tuple[bytes, ...]:
        meter = self.meter
        return (
            meter.account.encode(),
            meter.supply.encode(),
            meter.registers.encode(),
            self.bench.desk.encode(),
        )

    def finish(self, cut: Cut | None, known: Callable[[], None] = lambda: None) -> None:
        """The end of an act, as a shell has it. `known`: what the world counts on once it is durable."""
        if cut is None or cut.is_written:
            self.commit()
            self.ledger.live(self.now_us)
            known()
        else:
            self.bench.save()
            self.a_person_acted = self.a_person_took_credit = False
        if cut is not None:
            self.lose_power(cut)

    def lose_power(self, cut: Cut) -> None:
        self.bench = self.bench.cut()
        assert self.state() == self.durable, "what was committed is there, and nothing else"
        if cut.is_house:
            self.meter.outage(self.now_us)
        else:
            self.meter.advance(self.now_us)
        self.ledger.live(self.now_us)
        self.commit()

    def order(self, cluster: str, name: str, *, via: Via = Via.SUA, **values: Any) -> dict[str, Any] | None:
        """A command; its answer, or None where it was refused."""
        cluster_id = cluster_named(cluster).cluster_id
        octets = self.bench.carry_out(cluster_id, command(cluster_id, name, values), via=via)
        expected = {"consumer_top_up": "consumer_top_up_response", "change_supply": "supply_status_response"}
        expected["change_payment_mode"] = "change_payment_mode_response"
        try:
            return parse_command(cluster_id, expected.get(name), octets)
        except RefusedByDeviceError:
            return None

    # --- time -------------------------------------------------------------------------------------

    @initialize(
        emergency=st.booleans(),
        disabled=st.booleans(),
        hourly_mp=st.sampled_from([0, 700, 70_000]),
        calendar=st.sampled_from(CALENDARS),
        history=st.sampled_from([0, CACHE_SIZE - 2]),
    )
    def begin(
        self, emergency: bool, disabled: bool, hourly_mp: int, calendar: NonDisablementCalendar, history: int
    ) -> None:
        """An account with debts; a meter that has taken no token yet, or nearly as many as it remembers."""
        config = replace(
            CONFIG,
            suspend_debt_emergency=emergency,
            suspend_debt_disabled=disabled,
            debt_rates=(DebtRate(rate_mp=hourly_mp, period=DebtPeriod.HOURLY), CONFIG.debt_rates[1]),
            calendar=calendar,
        )
        for counter in range(101, 101 + history):
            result = self.bench.desk.enter(
                self.meter, penny(counter), source=OriginatingDevice.METER, utc_us=self.now_us
            )
            assert result.is_accepted
            self.ledger.credited[counter] = result.amount_mp
            self.ledger.paid_fine += fine(result.amount_mp)
        self.meter.set_prepayment(config, utc_us=self.now_us)
        self.ledger.config = config
        self.ledger.debts_fine = self.set_debts(500, 5, 20)
        self.commit()

    @rule(
        span_us=st.sampled_from([SECOND_US, 1_234_567, 40 * MINUTE_US, HOUR_US, 7 * HOUR_US, DAY_US]),
        cut=CUTS,
    )
    def live(self, span_us: int, cut: Cut | None) -> None:
        was_on, before = self.meter.supply.is_on, self.meter.registers.energy_uwh
        room, is_held = self._room_fine(), self._is_held_throughout(self.now_us + span_us)
        self.bench.time.now_us += span_us
        self.meter.advance(self.now_us)
        used = self.meter.registers.energy_uwh - before
        assert used == 0 if not was_on else 0 <= used <= self._energy_in(span_us)
        if self.meter.supply.is_on and not self.IS_GAS:
            assert used >= self._energy_in(span_us) - 200
        if room is not None:
            assert used * PRICE_UP <= room + self._second_fine(), "off by the second"
        if was_on and is_held and not self.ledger.waiting:
            assert not self.meter.supply.reasons & OffReason.NO_CREDIT, "friendly hours and grace hold it"
        self.finish(cut)

    @precondition(lambda self: self.meter.supply.is_on)
    @rule(percent=st.sampled_from([50, 99, 100, 101, 150]), cut=CUTS)
    def use_up(self, percent: int, cut: Cut | None) -> None:
        """Live until much, nearly all, or more than all is gone of credit and of what was lent."""
        left_fine = max(self.meter.account.balance_fine, 0) + max(self.meter.account.emergency_fine, 0)
        seconds = min(left_fine // self._second_fine() * percent // 100, 3 * DAY_US // SECOND_US)
        self.live((seconds + 1) * SECOND_US, cut)

    def _energy_in(self, span_us: int) -> int:
        return self.WATTS * span_us // 3600 + 100  # a microlitre of gas is 11 uWh

    def _second_fine(self) -> int:
        """What a second costs, rounded up."""
        return (self.WATTS * 1_000_000 // 3600 + 2) * PRICE_UP

    def _room_fine(self) -> int | None:
        """What may be used before the supply must be off; None: it may be on without credit."""
        account, ledger = self.meter.account, self.ledger
        if ledger.mode is PaymentMode.CREDIT or ledger.waiting or ledger.can_be_held(self.now_us):
            return None
        threshold = fine(ledger.config.disablement_threshold_mp)
        if account.emergency_fine == 0:
            return max(0, account.balance_fine - threshold)
        below_zero = max(0, min(account.balance_fine, 0) - threshold)
        return max(account.balance_fine, 0) + account.emergency_fine + below_zero

    def _is_held_throughout(self, to_us: int) -> bool:
        """Friendly hours begin and end at whole hours, grace at any instant."""
        hours = range(self.now_us // HOUR_US * HOUR_US, to_us + 1, HOUR_US)
        grace_ends_us = min(max(self.ledger.grace_until_us, self.now_us), to_us)
        return all(self.ledger.is_held(max(at, self.now_us)) for at in (*hours, grace_ends_us, to_us))

    @rule(hours=st.integers(1, 200))
    def be_without_power(self, hours: int) -> None:
        """It was switched off properly, in its last gasp."""
        self.meter.power_off(utc_us=self.now_us)
        self.commit()
        before = self.meter.registers.quantity
        self.bench.time.now_us += hours * HOUR_US
        self.lose_power(Cut(is_written=True, is_house=True))
        assert self.meter.registers.quantity == before

    @rule(by_us=st.sampled_from([-DAY_US, -3 * HOUR_US, -SECOND_US, 17, HOUR_US, 2 * DAY_US]), cut=CUTS)
    def set_clock(self, by_us: int, cut: Cut | None) -> None:
        to_us = self.now_us + by_us
        self.meter.set_clock(to_us, utc_us=self.now_us)
        if self.ledger.grace_until_us > self.now_us and (cut is None or cut.is_written):
            self.ledger.grace_until_us += by_us
        if cut is None or cut.is_written:
            self.bench.time.now_us = to_us
        self.finish(cut)

    # --- tokens -----------------------------------------------------------------------------------

    @precondition(lambda self: self.ledger.credited)
    @rule(data=st.data(), way=WAYS, cut=CUTS)
    def top_up_again(self, data: st.DataObject, way: str, cut: Cut | None) -> None:
        """The very token that was taken before, some way or other."""
        counter = data.draw(st.sampled_from(sorted(self.ledger.credited)))
        before = self.meter.account.total_added_mp
        self.top_up(counter, self.ledger.credited[counter] // POUND, way, cut)
        assert self.meter.account.total_added_mp == before

    @rule(counter=COUNTERS, pounds=POUNDS, way=WAYS, cut=CUTS)
    def top_up(self, counter: int, pounds: int, way: str, cut: Cut | None) -> None:
        text = token(counter, pounds) if pounds else penny(counter)
        if way == "keypad":
            results = self.type_code(text)
            accepted = [result.amount_mp for result in results if result.is_accepted]
            is_duplicate = any(result.refusal is Refusal.DUPLICATE for result in results)
        else:
            source = OriginatingDevice.IN_HOME_DISPLAY_DEVICE if way == "display" else NO_TIME
            via = Via.HAN if way == "display" else Via.WIRE
            answer = self.order(
                "prepayment",
                "consumer_top_up",
                via=via,
                originating_device=int(source),
                top_up_code=text.encode(),
            )
            assert answer is not None
            is_taken = answer["result_type"] in TAKEN
            accepted = [answer["top_up_value"]] if is_taken else []
            is_duplicate = answer["result_type"] == ResultType.REJECTED_DUPLICATE_TOP_UP
        known = self.ledger.credited
        if is_duplicate:
            assert counter in known or len(known) + len(self.ledger.codes) >= CACHE_SIZE

        def credit() -> None:
            for amount_mp in accepted:
                assert counter not in known, "credited twice"
                assert amount_mp == pounds * POUND or pounds == 0
                assert self.meter.account.balance_mp <= self.ledger.config.max_meter_balance_mp
                known[counter] = amount_mp
                self.ledger.is_retained = False
                self.ledger.paid_fine += fine(amount_mp)

        self.finish(cut, credit)

    def type_code(self, text: str, *, waits: bool = True) -> list[TopUpResult]:
        """A person at the keypad, when the glass is free again. Nothing where it is locked."""
        if waits:
            self.wait(40 * SECOND_US)
        panel = self.bench.panel
        for _ in range(2):  # the first A of an armed meter asks for B
            if not panel.keypad.is_in_vend_mode:
                panel.press("A", utc_us=self.now_us)
        results: list[TopUpResult] = []
        for key in text + "B" if panel.keypad.is_in_vend_mode else "":
            results += panel.press(key, utc_us=self.now_us)
        return results

    def special_code(self, what: str, number: int) -> Callable[[], None]:
        """A supply or engineering code, or one that is more than a vend; what the world then counts on."""
        counter = 207 + number
        text = _special_digits(what, counter)
        self.wait(40 * SECOND_US)
        before_fine = self.meter.account.balance_fine
        is_obeyed = any(result.is_accepted for result in self.type_code(text, waits=False))
        known = self.ledger.codes | self.ledger.credited.keys()
        assert not (is_obeyed and counter in known), "a code works once"
        change_fine = self.meter.account.balance_fine - before_fine
        if is_obeyed and what == "set":
            assert self.meter.account.balance_mp == 7 * POUND
        elif is_obeyed and what == "retain":
            refund_mp = decode_utrn(self.bench.desk.refund).amount_mp
            assert refund_mp is not None
            assert change_fine == -fine(refund_mp) < 0
            assert not self.meter.account.is_emergency_taken
        elif is_obeyed and what == "with tariff":
            assert 0 <= change_fine <= fine(WITH_TARIFF_MP), "some of it may have paid what was owed"
            change_fine = fine(WITH_TARIFF_MP)
        else:
            assert change_fine == (fine(-2 * POUND) if is_obeyed and what == "deduct" else 0)

        def settle() -> None:
            if is_obeyed:
                if what == "with tariff":
                    self.ledger.credited[counter] = WITH_TARIFF_MP
                else:
                    self.ledger.codes.add(counter)
                self.ledger.paid_fine += change_fine
                if what == "retain" or change_fine > 0:
                    self.ledger.is_retained = what == "retain"

        return settle

    @precondition(lambda self: self.meter.supply.state is SupplyState.OFF)
    @rule(counter=COUNTERS, cut=CUTS)
    def top_up_and_arm(self, counter: int, cut: Cut | None) -> None:
        """What mostly makes ready, whatever the reason for being off."""
        self.top_up(counter, 9, "wan", None)
        self.judge()
        self.change_supply(SupplyState.ARMED, cut)

    # --- a person ---------------------------------------------------------------------------------

    @rule(is_at_keys=st.booleans(), cut=CUTS)
    def take_emergency(self, is_at_keys: bool, cut: Cut | None) -> None:
        self.a_person_took_credit = True
        if is_at_keys:
            self.wait(40 * SECOND_US)
            for key in "7A":
                self.bench.panel.press(key, utc_us=self.now_us)
        else:
            self.order(
                "prepayment",
                "select_available_emergency_credit",
                via=Via.HAN,
                command_issue_date_time=NO_TIME,
                originating_device=2,
                site_id=b"",
                meter_serial_number=b"",
            )
        self.finish(cut)

    @precondition(lambda self: self.meter.account.is_emergency_available)
    @rule(percent=st.sampled_from([50, 100, 150]), cut=CUTS)
    def live_on_emergency_credit(self, percent: int, cut: Cut | None) -> None:
        """Taken, confirmed and used: the way that chance alone seldom finds."""
        self.take_emergency(is_at_keys=False, cut=None)
        if self.meter.supply.state is SupplyState.ARMED:
            self.confirm(seconds=None, cut=None)
        self.judge()
        self.use_up(percent, cut)

    @precondition(lambda self: self.meter.supply.state is SupplyState.ARMED)
    @rule(seconds=st.sampled_from([None, 0, 30]), cut=CUTS)
    def confirm(self, seconds: int | None, cut: Cut | None) -> None:
        """OK at the prepayment display; or A, and B so many seconds later: half a minute is the most."""
        self.a_person_acted = True
        if seconds is None:
            status = int(SupplyState.ON)
            self.order("metering", "local_change_supply", via=Via.HAN, proposed_supply_status=status)
        else:
            self.press_a_and_b(seconds)
        self.finish(cut)

    @precondition(lambda self: self.meter.supply.state is SupplyState.ARMED)
    @rule(seconds=st.sampled_from([31, 59]), cut=CUTS)
    def confirm_too_late(self, seconds: int, cut: Cut | None) -> None:
        self.press_a_and_b(seconds)
        self.finish(cut)

    def press_a_and_b(self, seconds: int) -> None:
        self.wait(40 * SECOND_US)
        self.bench.panel.press("A", utc_us=self.now_us)
        self.wait(seconds * SECOND_US)
        self.bench.panel.press("B", utc_us=self.now_us)

    @rule(what=st.sampled_from(OTHER_ACTS), number=st.integers(0, 10**20 - 1), cut=CUTS)
    def do_something_else(self, what: str, number: int, cut: Cut | None) -> None:
        """What ends supply by other ways, and what must do nothing at all."""
        meter, now_us = self.meter, self.now_us
        known: Callable[[], None] = int
        if what in ("magnet", "no magnet"):
            meter.feel(Sensor.MAGNET, is_open=what == "magnet", utc_us=now_us)
        elif what in ("locks", "locks not"):
            meter.set_tamper_state(SupplyTamperState(what == "locks"), utc_us=now_us)
        elif what == "a number":
            before = meter.account.total_added_mp
            assert not any(result.is_accepted for result in self.type_code(f"{number:020d}"))
            assert meter.account.total_added_mp == before
        elif what in ("limit", "no limit") and self.IS_GAS:
            meter.set_open_taps(90 if what == "limit" else 0, utc_us=now_us)
        elif what in ("limit", "no limit"):
            limit = LoadLimit(threshold_w=self.WATTS // 2 if what == "limit" else None)
            meter.set_load_limit(limit, utc_us=now_us)
        else:
            known = self.special_code(what, number % 3)
        self.finish(cut, known)

    # --- the supplier -----------------------------------------------------------------------------

    @rule(
        mode=st.sampled_from(PaymentMode),
        emergency=st.booleans(),
        disabled=st.booleans(),
        threshold_mp=st.sampled_from([0, 0, -2 * POUND, POUND]),
        in_hours=st.sampled_from([0, 0, 5]),
        cut=CUTS,
    )
    def change_mode(
        self,
        mode: PaymentMode,
        emergency: bool,
        disabled: bool,
        threshold_mp: int,
        in_hours: int,
        cut: Cut | None,
    ) -> None:
        config = replace(CONFIG, suspend_debt_emergency=emergency, suspend_debt_disabled=disabled)
        due_us = self.now_us // SECOND_US * SECOND_US + in_hours * HOUR_US
        self.meter.advance(self.now_us)
        was_on, is_other = self.meter.supply.is_on, mode is not self.ledger.mode
        answer = self.order(
            "prepayment",
            "change_payment_mode",
            provider_id=1,
            issuer_event_id=1,
            implementation_date_time=zigbee_s(due_us) if in_hours else NO_TIME,
            proposed_payment_control_configuration=payment_control(mode, config),
            cut_off_value=threshold_mp,
        )
        assert answer is not None
        assert self.meter.supply.is_on is was_on or not is_other, "a change of mode does not interrupt supply"
        change = PaymentModeChange(mode=PaymentMode.CREDIT)
        if mode is PaymentMode.PREPAYMENT:
            change = PaymentModeChange(
                mode=mode,
                suspend_debt_disabled=disabled,
                suspend_debt_emergency=emergency,
                disablement_threshold_mp=threshold_mp,
            )

        def known() -> None:
            if in_hours:
                self.ledger.waiting = due_us, change
            else:
                self.ledger.change_mode(change, utc_us=self.now_us)

        self.finish(cut, known)

    @precondition(lambda self: self.meter.supply.is_on)
    @rule(hours=st.sampled_from([1, 23, 25]), cut=CUTS)
    def owe_and_change_to_prepayment(self, hours: int, cut: Cut | None) -> None:
        """Used on credit, then prepayment with less than nothing: a day is left to find a shop."""
        self.change_mode(PaymentMode.CREDIT, True, True, 0, 0, None)
        self.adjust_balance(None, None)
        self.live(HOUR_US, None)
        self.change_mode(PaymentMode.PREPAYMENT, True, True, 0, 0, None)
        self.judge()
        self.live(hours * HOUR_US, cut)

    @rule(
        limit=st.sampled_from([0, 1, 5]),
        threshold=st.sampled_from([0, 1, 3]),
        cap=st.sampled_from([0, 3, 100]),
        most=st.sampled_from([20, 60, 21_474]),
        calendar=st.sampled_from(CALENDARS),
        debts=st.sampled_from([None, (0, 0, 0), (500, 5, 20), (0, 5, 1)]),
        cut=CUTS,
    )
    def set_terms(
        self,
        limit: int,
        threshold: int,
        cap: int,
        most: int,
        calendar: NonDisablementCalendar,
        debts: tuple[int, int, int] | None,
        cut: Cut | None,
    ) -> None:
        """Limits, the calendar, debts. All in pounds."""
        change = PrepaymentChange(
            limits=(
                ("emergency_credit_limit_mp", limit * POUND),
                ("emergency_credit_threshold_mp", threshold * POUND),
                ("debt_rate_cap_mp", cap * POUND),
                ("max_meter_balance_mp", most * POUND),
            ),
            calendar=calendar,
        )
        self.meter.change_prepayment(change, utc_us=self.now_us)
        debt_change_fine = 0 if debts is None else self.set_debts(*debts)

        def known() -> None:
            self.ledger.config = change.apply(self.ledger.config)
            self.ledger.debts_fine += debt_change_fine

        self.finish(cut, known)

    def set_debts(self, time_1: int, time_2: int, payment: int) -> int:
        """How much more is owed than before."""
        amounts = {"time_1_mp": time_1 * POUND, "time_2_mp": time_2 * POUND, "payment_mp": payment * POUND}
        account = self.meter.account
        old_fine = sum(account.time_debt_fine) + account.payment_debt_fine
        self.meter.set_debts(**amounts, utc_us=self.now_us)
        return fine(sum(amounts.values())) - old_fine

    @rule(delta_mp=st.sampled_from([None, -5 * POUND, -1, 1, 7 * POUND, 50 * POUND]), cut=CUTS)
    def adjust_balance(self, delta_mp: int | None, cut: Cut | None) -> None:
        """Added to or taken from; None: reset to nought."""
        before = self.meter.account.balance_fine
        change_fine = -before if delta_mp is None else fine(delta_mp)
        answer = self.order(
            "prepayment",
            "credit_adjustment",
            issuer_event_id=1,
            start_time=NO_TIME,
            credit_adjustment_type=int(delta_mp is None),
            credit_adjustment_value=delta_mp or 0,
        )
        if answer is None:
            refusal = self.meter.account.adjust_balance(delta_mp)
            assert isinstance(refusal, CreditRefusal), "refused for its amount only"
            change_fine = 0

        def known() -> None:
            self.ledger.paid_fine += change_fine
            if delta_mp is not None and change_fine > 0:
                self.ledger.is_retained = False

        self.finish(cut, known)

    @rule(proposed=st.sampled_from(SupplyState), cut=CUTS)
    def change_supply(self, proposed: SupplyState, cut: Cut | None) -> None:
        """Disable, Arm, and Enable, which electricity has: a person decides that, elsewhere."""
        reasons = self.meter.supply.reasons
        answer = self.order(
            "metering",
            "change_supply",
            provider_id=1,
            issuer_event_id=1,
            request_date_time=NO_TIME,
            implementation_date_time=NO_TIME,
            proposed_supply_status=int(proposed),
            supply_control_bits=0,
        )
        if proposed is SupplyState.ON:
            assert answer is None or not self.IS_GAS, "a valve is not opened from afar"
            assert answer is None or not reasons & OffReason.NO_CREDIT
            self.a_person_acted = answer is not None
        self.finish(cut)

    # --- what must hold -----------------------------------------------------------------------------

    @invariant()
    def judge(self) -> None:
        self.nothing_switches_itself_on()
        self.emergency_credit_is_lent_and_not_overdrawn()
        self.money_adds_up()
        self.tokens_are_remembered()
        self.the_account_is_as_it_was_told_to_be()
        self.without_credit_it_is_off()

    def nothing_switches_itself_on(self) -> None:
        if self.meter.supply.is_on and self.was is not SupplyState.ON:
            assert self.a_person_acted
        self.was, self.a_person_acted = self.meter.supply.state, False

    def emergency_credit_is_lent_and_not_overdrawn(self) -> None:
        account = self.meter.account
        assert 0 <= account.emergency_fine <= account.emergency_lent_fine
        if account.emergency_lent_fine > self.lent_fine:
            assert self.a_person_took_credit
            assert self.lent_fine == 0
            assert account.emergency_lent_fine == fine(self.ledger.config.emergency_credit_limit_mp)
        self.lent_fine, self.a_person_took_credit = account.emergency_lent_fine, False

    def money_adds_up(self) -> None:
        """What was paid in, less what was used and owed, is what is there, wherever it stands."""
        account, registers, ledger = self.meter.account, self.meter.registers, self.ledger
        spent = registers.energy_uwh * PRICE_UP + ledger.midnights * TARIFF.standing_charge_fine
        assert registers.cost_fine == spent
        held = account.balance_fine - (account.emergency_lent_fine - account.emergency_fine)
        debts = sum(account.time_debt_fine) + account.payment_debt_fine + account.accumulated_debt_fine
        assert min(*account.time_debt_fine, account.payment_debt_fine, account.accumulated_debt_fine) >= 0
        assert held - debts == ledger.paid_fine - ledger.debts_fine - spent

    def tokens_are_remembered(self) -> None:
        used = sorted(self.ledger.credited.keys() | self.ledger.codes)
        assert list(self.bench.desk.cache.counters) == used[-CACHE_SIZE:]
        assert self.meter.account.total_added_mp == sum(self.ledger.credited.values())

    def the_account_is_as_it_was_told_to_be(self) -> None:
        assert self.meter.account.mode is self.ledger.mode
        assert self.meter.account.config == self.ledger.config

    def without_credit_it_is_off(self) -> None:
        account, now_us = self.meter.account, self.now_us
        if account.is_cut_off:
            assert self.meter.supply.state is SupplyState.OFF
        missing = fine(self.ledger.config.disablement_threshold_mp) - account.balance_fine
        is_gone = account.emergency_fine == 0 and missing >= self._second_fine()
        if is_gone and account.is_emergency_taken:  # it may have ended with the second that has begun
            self.bench.time.now_us = now_us = -(-now_us // SECOND_US) * SECOND_US
            self.meter.advance(now_us)
        if self.ledger.mode is PaymentMode.PREPAYMENT and is_gone and not self.ledger.is_held(now_us):
            assert self.meter.supply.state is SupplyState.OFF


class GasMoneyMachine(MoneyMachine):
    """One gas meter: a valve, a check of its flow, no Enable from afar."""

    IS_GAS: ClassVar = True


TAKEN = (
    ResultType.ACCEPTED,
    ResultType.ACCEPTED_SUPPLY_ENABLED,
    ResultType.ACCEPTED_SUPPLY_DISABLED,
    ResultType.ACCEPTED_SUPPLY_ARMED,
)


def penny(counter: int) -> str:
    return make_utrn(
        KEY, originator=SUPPLIER, target=ESME, counter=counter, value=1, value_class=ValueClass.PENCE
    )
