"""The prepayment account of a meter: what is owed, what is lent, and when supply must end.

Theory, in one page. All money here is in fine units (tariff.py) so that no rounding ever moves it;
what others see is rounded down to 1/1000 pence (mp).

A *charge* (consumption, standing charge, debt instalment) is taken from the balance while that is
above zero; below, from emergency credit where a person has taken it; when that is gone, from the
balance again, which then falls below zero. So emergency credit is never overdrawn.

A *top-up* first repays emergency credit used, then pays the payment-based debt its per cent of the
whole top-up (never more than is left of the top-up, than the debt, or than the weekly cap leaves),
then the accumulated debt, and what remains goes to the balance. Repaid in full and back above its
threshold, emergency credit has to be taken anew next time.

*Time-based debts* are due at each UTC hour or midnight, the *standing charge* at each UTC midnight, unless
what was left has been given back (retain credit) and no credit has come since.
Suspended (configuration: in emergency credit, or while disabled) both go to the accumulated debt
register instead of being taken from the balance or from emergency credit.

*Thresholds* act when the balance is at or below them: low credit warning, emergency credit offered,
disablement (with emergency credit gone or not taken). A non-disablement period holds disablement
back until its end. So does the grace of a day after a change to prepayment, since a change of mode does not
interrupt supply. The account only says CUT_OFF and RESTORED; the switch is supply.py's.

The machine is told time and cost by `advance`; it acts on thresholds at the instant it is told, so
whoever wants them exact asks `headroom_fine` first and stops there. In credit mode charges move
the balance (below zero: owed) and nothing else happens.

Source: SMETS1 5.5 (payment modes), Secure Liberty 100 manual; which of several readings we took is said here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.devices.days import DAY_US, HOUR_US
from smets1.devices.prepayment import HARD_LIMIT_MP, DebtPeriod, PaymentMode, PrepaymentConfig
from smets1.devices.state import StateReader, pack_state
from smets1.devices.tariff import fine, floor_mp
from smets1.firmware.zcl.clusters.prepayment import CreditStatus

__all__ = [
    "GRACE_US",
    "Account",
    "AccountEvent",
    "AccountEventKind",
    "CreditRefusal",
    "CreditSplit",
    "CreditStatus",
    "TopUp",
    "Zone",
]

GRACE_US: Final = DAY_US
_WEEK_US: Final = 7 * DAY_US
_MONDAY_US: Final = 4 * DAY_US  # 1970-01-05
_TOP_UPS_KEPT: Final = 5


@unique
class Zone(IntEnum):
    CREDIT = 0
    LOW_CREDIT = 1
    EMERGENCY_CREDIT = 2
    CUT_OFF = 3


@unique
class AccountEventKind(IntEnum):
    LOW_CREDIT = 0
    EMERGENCY_OFFERED = 1
    EMERGENCY_TAKEN = 2
    EMERGENCY_IN_USE = 3
    EMERGENCY_EXHAUSTED = 4
    BELOW_DISABLEMENT = 5
    DISABLEMENT_HELD = 6  # a non-disablement period or the grace runs
    CUT_OFF = 7
    RESTORED = 8
    CREDIT_ADDED = 9
    TIME_DEBT_1_PAID = 10
    TIME_DEBT_2_PAID = 11
    PAYMENT_DEBT_PAID = 12
    MODE_CHANGED = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEvent:
    utc_us: int
    kind: AccountEventKind
    balance_mp: int


@unique
class CreditRefusal(IntEnum):
    """Why a credit is not taken."""

    ABOVE_MAX_CREDIT = 0
    ABOVE_MAX_BALANCE = 1
    BELOW_MIN_BALANCE = 2  # a deduction beyond what an int32 shows


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditSplit:
    """Where a top-up went. Fine units; the parts add up to the top-up."""

    emergency_fine: int
    payment_debt_fine: int
    accumulated_debt_fine: int
    balance_fine: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUp:
    """One of the last five."""

    utc_us: int
    amount_mp: int
    source: int  # Prepayment originating device: 0 ESI (WAN), 1 meter, 2 IHD


@unique
class _Cut(IntEnum):
    NO = 0
    HELD = 1  # would be off, but friendly hours or grace run
    OFF = 2


class Account:
    """One meter's money. Times go back only where the meter's clock is set (`charged_us`)."""

    def __init__(
        self,
        *,
        config: PrepaymentConfig,
        now_us: int,
        mode: PaymentMode = PaymentMode.CREDIT,
        balance_mp: int = 0,
        standing_charge_fine: int = 0,
    ) -> None:
        self.config = config
        self.mode = mode
        self.now_us = now_us
        self.charged_us = now_us  # hours up to here are paid, also if the clock was set back since
        self.standing_charge_fine = standing_charge_fine
        self.balance_fine = fine(balance_mp)
        self.emergency_fine = 0  # left of what was taken
        self.emergency_lent_fine = 0  # what was taken; 0: not taken
        self.accumulated_debt_fine = 0
        self.time_debt_fine = [0, 0]
        self.payment_debt_fine = 0
        self.cap_week = 0
        self.cap_used_fine = 0
        self.grace_until_us = 0
        self.total_added_mp = 0
        self.is_credit_retained = False  # no standing charge is due until credit comes again
        self.top_ups: list[TopUp] = []  # latest first
        self._low_warned = False
        self._offered = False
        self._in_use = False
        self._exhausted = False
        self._cut = _Cut.NO

    # --- what others see -------------------------------------------------------------------------

    @property
    def is_prepayment(self) -> bool:
        return self.mode is PaymentMode.PREPAYMENT

    @property
    def balance_mp(self) -> int:
        return floor_mp(self.balance_fine)

    @property
    def emergency_mp(self) -> int:
        """Emergency credit still to be used, once taken."""
        return floor_mp(self.emergency_fine)

    @property
    def emergency_used_mp(self) -> int:
        return -floor_mp(self.emergency_fine - self.emergency_lent_fine)

    @property
    def accumulated_debt_mp(self) -> int:
        return -floor_mp(-self.accumulated_debt_fine)

    @property
    def is_emergency_taken(self) -> bool:
        return self.emergency_lent_fine > 0

    @property
    def is_emergency_available(self) -> bool:
        """May be taken now."""
        return (
            self.is_prepayment
            and not self.is_emergency_taken
            and self.config.emergency_credit_limit_mp > 0
            and self.balance_fine <= fine(self.config.emergency_credit_threshold_mp)
        )

    @property
    def is_emergency_in_use(self) -> bool:
        return self.is_emergency_taken and self.balance_fine <= 0

    @property
    def is_cut_off(self) -> bool:
        """The account has called for supply to be off."""
        return self._cut is _Cut.OFF

    @property
    def is_disablement_held(self) -> bool:
        """Supply would be off, but friendly hours or grace run."""
        return self._cut is _Cut.HELD

    @property
    def zone(self) -> Zone:
        if not self.is_prepayment:
            return Zone.CREDIT
        if self.is_cut_off:
            return Zone.CUT_OFF
        if self.is_emergency_in_use:
            return Zone.EMERGENCY_CREDIT
        return Zone.LOW_CREDIT if self.is_low else Zone.CREDIT

    @property
    def status(self) -> CreditStatus:
        status = CreditStatus.LOW_CREDIT if self.is_prepayment and self.is_low else CreditStatus.CREDIT_OK
        flags = (
            (
                self.is_prepayment and self.config.emergency_credit_limit_mp > 0,
                CreditStatus.EMERGENCY_CREDIT_ENABLED,
            ),
            (self.is_emergency_available, CreditStatus.EMERGENCY_CREDIT_AVAILABLE),
            (self.is_emergency_taken, CreditStatus.EMERGENCY_CREDIT_SELECTED),
            (self.is_emergency_in_use and self.emergency_fine > 0, CreditStatus.EMERGENCY_CREDIT_IN_USE),
            (self.is_emergency_taken and self.emergency_fine == 0, CreditStatus.EMERGENCY_CREDIT_EXHAUSTED),
        )
        for is_set, flag in flags:
            status |= flag if is_set else CreditStatus(0)
        return status

    @property
    def is_low(self) -> bool:
        return self.balance_fine <= fine(self.config.low_credit_threshold_mp)

    @property
    def _is_gone(self) -> bool:
        """At the disablement threshold, and no emergency credit to go on with."""
        return self.emergency_fine == 0 and self.balance_fine <= fine(self.config.disablement_threshold_mp)

    # --- time and consumption --------------------------------------------------------------------

    def advance(self, utc_us: int, cost_fine: int = 0, *, settle: bool = True) -> list[AccountEvent]:
        """Time is now `utc_us`, and consumption since the last call has cost `cost_fine`.

        The cost counts as before any hour or midnight passed on the way: call at each. With `settle`
        False only money moves, and thresholds wait for the next call.
        """
        self._charge(cost_fine)
        events: list[AccountEvent] = []
        hour_us = max(self.now_us, self.charged_us) // HOUR_US * HOUR_US + HOUR_US
        while hour_us <= utc_us:
            self.now_us = self.charged_us = hour_us
            events += self._on_hour()
            hour_us += HOUR_US
        self.now_us = max(self.now_us, utc_us)
        return events + (self.settle() if settle else [])

    def shift_timers(self, delta_us: int) -> None:
        """The clock is about to be set: a grace that runs keeps its length."""
        if self.grace_until_us > self.now_us:
            self.grace_until_us += delta_us

    def headroom_fine(self) -> int | None:
        """How much may be charged before a threshold is met; None: no threshold is left to meet."""
        if not self.is_prepayment:
            return None
        balance, config = self.balance_fine, self.config
        above = max(balance, 0)
        rooms = []
        if not self._low_warned:
            rooms.append(balance - fine(config.low_credit_threshold_mp))
        if not self._offered and not self.is_emergency_taken and config.emergency_credit_limit_mp > 0:
            rooms.append(balance - fine(config.emergency_credit_threshold_mp))
        if self.is_emergency_taken:
            if not self._in_use:
                rooms.append(above)
            if not self._exhausted:
                rooms.append(above + self.emergency_fine)
        if self._cut is _Cut.NO:
            to_threshold = balance - fine(config.disablement_threshold_mp)
            if self.emergency_fine > 0:
                # What is between zero and the threshold comes after emergency credit.
                to_threshold = max(above, to_threshold) + self.emergency_fine
            rooms.append(to_threshold)
        return max(0, min(rooms)) if rooms else None

    def next_hold_change_us(self) -> int | None:
        """When disablement that is held back must be looked at again; None: it is not held."""
        if self._cut is not _Cut.HELD:
            return None
        change_us = self.config.calendar.next_change_us(self.now_us)
        return min(change_us, self.grace_until_us) if self.grace_until_us > self.now_us else change_us

    def settle(self) -> list[AccountEvent]:
        """Act on every threshold that the balance now meets or has left."""
        events: list[AccountEvent] = []
        if self.is_prepayment:
            self._settle_warnings(events)
            self._settle_emergency(events)
        self._settle_supply(events)
        return events

    def _event(self, kind: AccountEventKind) -> AccountEvent:
        return AccountEvent(utc_us=self.now_us, kind=kind, balance_mp=self.balance_mp)

    def _settle_warnings(self, events: list[AccountEvent]) -> None:
        is_low = self.is_low
        if is_low and not self._low_warned:
            events.append(self._event(AccountEventKind.LOW_CREDIT))
        self._low_warned = is_low
        is_offered = self.is_emergency_available
        if is_offered and not self._offered:
            events.append(self._event(AccountEventKind.EMERGENCY_OFFERED))
        self._offered = is_offered

    def _settle_emergency(self, events: list[AccountEvent]) -> None:
        in_use = self.is_emergency_in_use
        if in_use and not self._in_use:
            events.append(self._event(AccountEventKind.EMERGENCY_IN_USE))
        self._in_use = in_use
        is_exhausted = self.is_emergency_taken and self.emergency_fine == 0
        if is_exhausted and not self._exhausted:
            events.append(self._event(AccountEventKind.EMERGENCY_EXHAUSTED))
        self._exhausted = is_exhausted

    def _settle_supply(self, events: list[AccountEvent]) -> None:
        if not (self.is_prepayment and self._is_gone):
            if self._cut is _Cut.OFF:
                events.append(self._event(AccountEventKind.RESTORED))
            self._cut = _Cut.NO
            return
        if self._cut is _Cut.NO:
            events.append(self._event(AccountEventKind.BELOW_DISABLEMENT))
        if self._cut is _Cut.OFF:
            return
        if self.now_us < self.grace_until_us or self.config.calendar.is_running(self.now_us):
            if self._cut is _Cut.NO:
                events.append(self._event(AccountEventKind.DISABLEMENT_HELD))
            self._cut = _Cut.HELD
            return
        self._cut = _Cut.OFF
        events.append(self._event(AccountEventKind.CUT_OFF))

    # --- charges ---------------------------------------------------------------------------------

    def _charge(self, amount_fine: int) -> None:
        """Balance down to zero, then emergency credit, then balance. A negative amount is a rebate."""
        if self.emergency_fine == 0 or amount_fine <= self.balance_fine:
            self.balance_fine -= amount_fine
            return
        from_balance = min(amount_fine, max(self.balance_fine, 0))
        from_emergency = min(amount_fine - from_balance, self.emergency_fine)
        self.emergency_fine -= from_emergency
        self.balance_fine -= amount_fine - from_emergency

    def _on_hour(self) -> list[AccountEvent]:
        is_midnight = self.now_us % DAY_US == 0
        is_suspended = self._is_debt_suspended()
        events = []
        for index, paid in enumerate((AccountEventKind.TIME_DEBT_1_PAID, AccountEventKind.TIME_DEBT_2_PAID)):
            rate = self.config.debt_rates[index]
            if rate.period is DebtPeriod.DAILY and not is_midnight:
                continue
            due_fine = min(fine(rate.rate_mp), self.time_debt_fine[index])
            if due_fine <= 0:
                continue
            self.time_debt_fine[index] -= due_fine
            self._owe(due_fine, is_suspended=is_suspended)
            if self.time_debt_fine[index] == 0:
                events.append(self._event(paid))
        if is_midnight and not self.is_credit_retained:
            self._owe(self.standing_charge_fine, is_suspended=is_suspended)
        return events

    def _is_debt_suspended(self) -> bool:
        if not self.is_prepayment:
            return False
        return (self.config.suspend_debt_emergency and self.is_emergency_in_use) or (
            self.config.suspend_debt_disabled and self.is_cut_off
        )

    def _owe(self, amount_fine: int, *, is_suspended: bool) -> None:
        if is_suspended:
            self.accumulated_debt_fine += amount_fine
        else:
            self._charge(amount_fine)

    # --- credit ----------------------------------------------------------------------------------

    def check_credit(self, amount_mp: int) -> CreditRefusal | None:
        """Whether `add_credit` would take a top-up; None: yes."""
        if amount_mp > self.config.max_credit_threshold_mp:
            return CreditRefusal.ABOVE_MAX_CREDIT
        after_mp = floor_mp(self.balance_fine + self._split(fine(amount_mp)).balance_fine)
        if after_mp > self.config.max_meter_balance_mp:
            return CreditRefusal.ABOVE_MAX_BALANCE
        return None

    def add_credit(self, amount_mp: int, *, source: int = 0) -> tuple[CreditSplit, list[AccountEvent]]:
        """Take a top-up of 0 or more that `check_credit` has passed."""
        split = self._split(fine(amount_mp))
        self.emergency_fine += split.emergency_fine
        self.payment_debt_fine -= split.payment_debt_fine
        self._use_cap(split.payment_debt_fine)
        self.accumulated_debt_fine -= split.accumulated_debt_fine
        self.balance_fine += split.balance_fine
        self.total_added_mp += amount_mp
        self.is_credit_retained = False
        top_up = TopUp(utc_us=self.now_us, amount_mp=amount_mp, source=source)
        self.top_ups = [top_up, *self.top_ups][:_TOP_UPS_KEPT]
        self._hand_back_emergency()
        events = [self._event(AccountEventKind.CREDIT_ADDED)]
        if split.payment_debt_fine and not self.payment_debt_fine:
            events.append(self._event(AccountEventKind.PAYMENT_DEBT_PAID))
        return split, events + self.settle()

    def _split(self, amount_fine: int) -> CreditSplit:
        if not self.is_prepayment:
            return CreditSplit(
                emergency_fine=0, payment_debt_fine=0, accumulated_debt_fine=0, balance_fine=amount_fine
            )
        to_emergency = min(amount_fine, self.emergency_lent_fine - self.emergency_fine)
        left = amount_fine - to_emergency
        share = amount_fine * self.config.debt_per_payment_bp // 10_000
        to_payment = min(share, left, self.payment_debt_fine, self._cap_left(share))
        left -= to_payment
        to_accumulated = min(left, self.accumulated_debt_fine)
        return CreditSplit(
            emergency_fine=to_emergency,
            payment_debt_fine=to_payment,
            accumulated_debt_fine=to_accumulated,
            balance_fine=left - to_accumulated,
        )

    def _week(self) -> int:
        return (self.now_us - _MONDAY_US) // _WEEK_US

    def _cap_left(self, share_fine: int) -> int:
        if self.config.debt_rate_cap_mp is None:
            return share_fine
        used = self.cap_used_fine if self.cap_week >= self._week() else 0  # a week set back to goes on
        return max(0, fine(self.config.debt_rate_cap_mp) - used)

    def _use_cap(self, amount_fine: int) -> None:
        if self.cap_week < self._week():
            self.cap_week, self.cap_used_fine = self._week(), 0
        self.cap_used_fine += amount_fine

    def _hand_back_emergency(self) -> None:
        """Repaid in full and not needed any more: it is lent anew when it is taken anew."""
        is_whole = self.emergency_fine == self.emergency_lent_fine
        if is_whole and self.balance_fine > fine(self.config.emergency_credit_threshold_mp):
            self.emergency_fine = self.emergency_lent_fine = 0

    def take_emergency(self) -> list[AccountEvent] | None:
        """Key A, PPMID or SRV 2.5. None where it is not on offer."""
        if not self.is_emergency_available:
            return None
        self.emergency_lent_fine = self.emergency_fine = fine(self.config.emergency_credit_limit_mp)
        return [self._event(AccountEventKind.EMERGENCY_TAKEN), *self.settle()]

    def adjust_balance(self, delta_mp: int) -> CreditRefusal | list[AccountEvent]:
        """SRV 1.5, or a token that deducts: the balance alone, up or down."""
        after_mp = floor_mp(self.balance_fine + fine(delta_mp))
        if after_mp > self.config.max_meter_balance_mp:
            return CreditRefusal.ABOVE_MAX_BALANCE
        if after_mp < -HARD_LIMIT_MP:
            return CreditRefusal.BELOW_MIN_BALANCE
        self.balance_fine += fine(delta_mp)
        if delta_mp > 0:
            self.is_credit_retained = False
        self._hand_back_emergency()
        return self.settle()

    def retain_credit(self, amount_mp: int) -> list[AccountEvent]:
        """So much of the balance has gone into a refund code; standing charges rest until credit comes."""
        self.balance_fine -= fine(amount_mp)
        self.is_credit_retained = True
        return self.settle()

    def reset_balance(self) -> list[AccountEvent]:
        """SRV 1.5 with reset: to nought."""
        self.balance_fine = 0
        return self.settle()

    # --- configuration ---------------------------------------------------------------------------

    def set_config(self, config: PrepaymentConfig, *, settles: bool = True) -> list[AccountEvent]:
        """Thresholds act at once, unless the mode is about to change and `settles` is False.

        Emergency credit already taken keeps the limit it was taken at.
        """
        self.config = config
        return self.settle() if settles else []

    def set_debts(self, *, time_1_mp: int, time_2_mp: int, payment_mp: int) -> None:
        """SRV 2.3: the three registers, 0 or more."""
        self.time_debt_fine = [fine(time_1_mp), fine(time_2_mp)]
        self.payment_debt_fine = fine(payment_mp)

    def set_mode(self, mode: PaymentMode) -> list[AccountEvent]:
        """SRV 1.6. The balance stays; leaving prepayment, emergency credit used becomes owed."""
        if mode is self.mode:
            return []
        if mode is PaymentMode.CREDIT:
            self.balance_fine -= self.emergency_lent_fine - self.emergency_fine
            self.emergency_fine = self.emergency_lent_fine = 0
        else:
            self.grace_until_us = self.now_us + GRACE_US
        self._low_warned = self._offered = self._in_use = self._exhausted = False
        self.is_credit_retained = False
        self.mode = mode
        return [self._event(AccountEventKind.MODE_CHANGED), *self.settle()]

    # --- NVM -------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """Without the configuration, which has its own record."""
        return pack_state(
            "account",
            3,
            {
                "mode": int(self.mode),
                "now_us": self.now_us,
                "charged_us": self.charged_us,
                "standing": self.standing_charge_fine,
                "balance": self.balance_fine,
                "emergency": self.emergency_fine,
                "lent": self.emergency_lent_fine,
                "accumulated": self.accumulated_debt_fine,
                "time_debt": self.time_debt_fine,
                "payment_debt": self.payment_debt_fine,
                "cap": [self.cap_week, self.cap_used_fine],
                "grace_until_us": self.grace_until_us,
                "total_added": self.total_added_mp,
                "top_ups": [(t.utc_us, t.amount_mp, t.source) for t in self.top_ups],
                "flags": [int(f) for f in (self._low_warned, self._offered, self._in_use, self._exhausted)],
                "cut": int(self._cut),
                "retained": self.is_credit_retained,
            },
        )

    @classmethod
    def decode(cls, octets: bytes, *, config: PrepaymentConfig) -> Account:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="account", versions=(1, 2, 3))
        account = cls(
            config=config, now_us=reader.whole("now_us"), mode=PaymentMode(reader.whole("mode", 0, 1))
        )
        if reader.version > 1:
            account.charged_us = reader.whole("charged_us")
        if reader.version > 2:
            account.is_credit_retained = reader.flag("retained")
        account.standing_charge_fine = reader.whole("standing")
        account.balance_fine = reader.whole("balance")
        account.emergency_lent_fine = reader.whole("lent", 0)
        account.emergency_fine = reader.whole("emergency", 0, account.emergency_lent_fine)
        account.accumulated_debt_fine = reader.whole("accumulated", 0)
        account.time_debt_fine = reader.wholes("time_debt", 2)
        account.payment_debt_fine = reader.whole("payment_debt", 0)
        account.cap_week, account.cap_used_fine = reader.wholes("cap", 2)
        account.grace_until_us = reader.whole("grace_until_us")
        account.total_added_mp = reader.whole("total_added")
        account.top_ups = [TopUp(utc_us=u, amount_mp=a, source=s) for u, a, s in reader.rows("top_ups", 3)]
        flags = [bool(flag) for flag in reader.wholes("flags", 4)]
        account._low_warned, account._offered, account._in_use, account._exhausted = flags
        account._cut = _Cut(reader.whole("cut", 0, 2))
        return account
