"""Top-up tokens as a meter takes them: judged, credited exactly once, refused with a reason.

The order in which a token is judged: payment mode, where it is a vend; is it a token (20 digits, check digit,
range); its authenticity; its counter (used before?); then the limits of the account. The first reason found
is the one that is shown, answered and logged. A refusal changes no money and uses up no counter, so a token
refused as "Account High" works later. Supply, engineering and retain-credit codes (special_codes.py) and
vends with a tariff (tariff_codes.py) are judged in the same way.

Accepting changes two things, the counter cache here and the balance in the meter. Both are put to NVM
(`TopUpDesk.save`, `MeterCore.save`) and committed in one commit *before* the answer goes out: cut the
power before that commit and the token is as good as new, after it and it is a duplicate.

Source: Secure Liberty 100 manual (texts), DUIS 5.4 (alert codes), SE 1.2 D.7 (result types). Which display
text goes with which of our reasons is our reading: "Invalid" for a well-formed token that is not for this
meter, "Incorrect" for a number that is no token.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from smets1.devices.account import CreditRefusal
from smets1.devices.event_log import AlertCode
from smets1.devices.meter import MeterCore
from smets1.devices.special_codes import (
    Engineering,
    SpecialCode,
    VendKind,
    kind_of,
    make_refund_code,
    refundable,
    special_code,
)
from smets1.devices.state import StateReader, pack_state
from smets1.devices.supply import OffReason, SupplyState
from smets1.devices.tariff_codes import TariffVend, covered, join_codes
from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.key_proof import prove_prepayment_key
from smets1.firmware.nvm import Nvm
from smets1.firmware.utrn import (
    CounterCache,
    TokenCheck,
    TokenReason,
    Utrn,
    group_digits,
    verify,
)
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice, ResultType

__all__ = [
    "NO_CREDIT_REMAINING",
    "REFUSALS",
    "Refusal",
    "RefusalFacts",
    "RefusedEntry",
    "TopUpDesk",
    "TopUpResult",
    "Vend",
]

NO_CREDIT_REMAINING: Final = 0xFFFFFFFF
"""Credit remaining in the ZigBee response to a refused top-up."""

_CODE_DIGITS: Final = 20
_VENDS_KEPT: Final = 5
_REFUSALS_KEPT: Final = 20


@unique
class Refusal(IntEnum):
    """Every reason for which a top-up is not taken."""

    DUPLICATE = 0
    NOT_AUTHENTIC = 1
    NOT_FOR_THIS_DEVICE = 2
    INCORRECT = 3
    INCOMPLETE = 4
    ABOVE_MAX_CREDIT = 5
    ABOVE_MAX_BALANCE = 6
    ACCOUNT_LOW = 7
    NOT_PREPAYMENT = 8
    KEYPAD_LOCKED = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalFacts:
    """What a refusal looks like from each side."""

    result: ResultType  # to the display or hub that asked
    text: str  # on the meter's LCD for 4 s
    alert: AlertCode | None  # None: kept in the meter's own list only


REFUSALS: Final = {
    Refusal.DUPLICATE: RefusalFacts(
        result=ResultType.REJECTED_DUPLICATE_TOP_UP, text="Duplicate", alert=AlertCode.TOP_UP_DUPLICATE
    ),
    Refusal.NOT_AUTHENTIC: RefusalFacts(
        result=ResultType.REJECTED_INVALID_TOP_UP, text="Invalid", alert=AlertCode.TOP_UP_NOT_AUTHENTIC
    ),
    Refusal.NOT_FOR_THIS_DEVICE: RefusalFacts(
        result=ResultType.REJECTED_INVALID_TOP_UP, text="Invalid", alert=AlertCode.TOP_UP_NOT_FOR_THIS_DEVICE
    ),
    Refusal.INCORRECT: RefusalFacts(result=ResultType.REJECTED_INVALID_TOP_UP, text="Incorrect", alert=None),
    Refusal.INCOMPLETE: RefusalFacts(
        result=ResultType.REJECTED_INVALID_TOP_UP, text="Incomplete", alert=None
    ),
    Refusal.ABOVE_MAX_CREDIT: RefusalFacts(
        result=ResultType.REJECTED_TOP_UP_VALUE_TOO_LARGE,
        text="Account High",
        alert=AlertCode.TOP_UP_ABOVE_MAX_CREDIT,
    ),
    Refusal.ABOVE_MAX_BALANCE: RefusalFacts(
        result=ResultType.REJECTED_MAX_CREDIT_REACHED,
        text="Account High",
        alert=AlertCode.TOP_UP_ABOVE_MAX_BALANCE,
    ),
    Refusal.ACCOUNT_LOW: RefusalFacts(result=ResultType.REJECTED_ERROR, text="Account Low", alert=None),
    Refusal.NOT_PREPAYMENT: RefusalFacts(result=ResultType.REJECTED_ERROR, text="Invalid", alert=None),
    Refusal.KEYPAD_LOCKED: RefusalFacts(
        result=ResultType.REJECTED_KEYPAD_LOCK, text="Key Locked", alert=AlertCode.ENTRY_REFUSED_LOCKED_OUT
    ),
}

_BY_TOKEN: Final = {
    TokenReason.NOT_20_DIGITS: Refusal.INCOMPLETE,
    TokenReason.WRONG_CHECK_DIGIT: Refusal.INCORRECT,
    TokenReason.OUT_OF_RANGE: Refusal.NOT_FOR_THIS_DEVICE,  # well-formed, of another scheme
    TokenReason.UNKNOWN_VALUE_CLASS: Refusal.NOT_FOR_THIS_DEVICE,
    TokenReason.NOT_AUTHENTIC: Refusal.NOT_AUTHENTIC,
    TokenReason.DUPLICATE: Refusal.DUPLICATE,
    TokenReason.TOO_OLD: Refusal.DUPLICATE,  # cannot be told from a used one
}
_BY_ACCOUNT: Final = {
    CreditRefusal.ABOVE_MAX_CREDIT: Refusal.ABOVE_MAX_CREDIT,
    CreditRefusal.ABOVE_MAX_BALANCE: Refusal.ABOVE_MAX_BALANCE,
    CreditRefusal.BELOW_MIN_BALANCE: Refusal.ACCOUNT_LOW,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpResult:
    """What came of one token; the fields of Consumer Top Up Response are here."""

    result: ResultType
    source: OriginatingDevice
    amount_mp: int  # by how much the balance has changed, but for a top-up what was paid; 0 where refused
    balance_mp: int  # the meter's balance now
    refusal: Refusal | None = None
    special: SpecialCode | None = None  # an accepted code that is no vend; joining and keypad are the shell's
    vend: VendKind = VendKind.ADD
    has_new_tariff: bool = False
    refund: str = ""  # of retain credit: the 20 digits that the glass shows

    @property
    def is_accepted(self) -> bool:
        return self.refusal is None

    @property
    def credit_remaining(self) -> int:
        """As the ZigBee response has it: NO_CREDIT_REMAINING where refused."""
        return self.balance_mp if self.is_accepted else NO_CREDIT_REMAINING


@dataclass(frozen=True, slots=True, kw_only=True)
class Vend:
    """An accepted token, as key 9 shows it."""

    utc_us: int
    amount_mp: int
    digits: str

    @property
    def grouped(self) -> str:
        return group_digits(self.digits)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedEntry:
    """One line of the meter's own list of refused numbers."""

    utc_us: int
    source: OriginatingDevice
    digits: str
    refusal: Refusal

    @property
    def kind(self) -> str:
        """What the number claimed to be."""
        return kind_of(self.digits)


class TopUpDesk:
    """Judges the tokens of one meter and credits them to its `MeterCore`.

    `key` is the device's 16-octet prepayment key, `originator` the supplier whose tokens it takes. Neither
    is part of the encoded state: the shell keeps them with the device's other credentials.
    """

    def __init__(self, *, key: bytes, originator: Eui64, target: Eui64) -> None:
        self._key = key
        self.originator = originator
        self.target = target
        self.cache = CounterCache()
        self.accepted_count = 0
        self.refused_count = 0
        self.vends: deque[Vend] = deque(maxlen=_VENDS_KEPT)  # latest last
        self.refused: deque[RefusedEntry] = deque(maxlen=_REFUSALS_KEPT)
        self.refund = ""  # the last refund code, until there is another

    def __repr__(self) -> str:
        return f"TopUpDesk(target={self.target:016X}, highest={self.cache.highest})"

    def prove_key(self, nonce: bytes) -> bytes:
        """The answer to the operator's question whether this is the key that it has on its books."""
        return prove_prepayment_key(self._key, self.target, nonce)

    def enter(
        self,
        meter: MeterCore,
        text: str,
        *,
        source: OriginatingDevice,
        utc_us: int,
        counter: int | None = None,
    ) -> TopUpResult:
        """One code of 20 digits from anywhere; 40 or 60 of a vend with a tariff.

        `counter`: the whole one, where the message carries it. Commit `save` of desk and meter together
        before the result is told to anybody.
        """
        meter.advance(utc_us)
        digits = "".join(character for character in text if character.isdecimal())[:60]
        groups = [digits[start : start + _CODE_DIGITS] for start in range(0, len(digits), _CODE_DIGITS)]
        if len(groups) > 1 and join_codes(groups) == [digits]:
            return self._enter_with_tariff(meter, groups, source=source, counter=counter)
        check = self._verify(text, counter=counter)
        special = special_code(check.utrn) if check.utrn is not None else None
        reasons = check.reasons if special is None else check.reasons[1:]  # its class is known here
        is_vend = special is None or special.vend is not VendKind.ADD or special.retains_credit
        refusal = self._first_against(meter, reasons, is_vend=is_vend)
        if refusal is not None:
            return self.refuse(meter, refusal, digits=digits, source=source, utc_us=utc_us)
        assert check.counter is not None, "a good token has a counter"
        if special is None:
            return self._vend(meter, check.amount_mp, check.counter, digits=digits, source=source)
        if special.retains_credit:
            return self._retain(meter, special, check.counter, digits=digits, source=source)
        if special.vend is VendKind.ADD:
            return self._obey(meter, special, check.counter, source=source)
        return self._adjust(meter, special, check.counter, digits=digits, source=source)

    def _verify(self, text: str, *, counter: int | None, more: bytes = b"") -> TokenCheck:
        return verify(
            text,
            key=self._key,
            originator=self.originator,
            target=self.target,
            cache=self.cache,
            counter=counter,
            more=more,
        )

    @staticmethod
    def _first_against(
        meter: MeterCore, reasons: tuple[TokenReason, ...], *, is_vend: bool
    ) -> Refusal | None:
        if is_vend and not meter.account.is_prepayment:
            return Refusal.NOT_PREPAYMENT
        return _BY_TOKEN[reasons[0]] if reasons else None

    def _take_counter(self, counter: int) -> None:
        self.cache = self.cache.accept(counter)
        self.accepted_count += 1

    def _vend(
        self,
        meter: MeterCore,
        amount_mp: int,
        counter: int,
        *,
        digits: str,
        source: OriginatingDevice,
        tariff: TariffVend | None = None,
    ) -> TopUpResult:
        """Credit that is added; new prices, where they came with it, hold from this instant on."""
        now_us = meter.now_us
        limit = meter.check_credit(amount_mp, utc_us=now_us)
        if limit is not None:
            return self.refuse(meter, _BY_ACCOUNT[limit], digits=digits, source=source, utc_us=now_us)
        if tariff is not None:
            meter.set_tariff(tariff.tariff, utc_us=now_us)
        self._take_counter(counter)
        self.vends.append(Vend(utc_us=now_us, amount_mp=amount_mp, digits=digits))
        before = meter.supply.state
        meter.add_credit(amount_mp, source=source, utc_us=now_us)
        return TopUpResult(
            result=_accepted(meter, before),
            source=source,
            amount_mp=amount_mp,
            balance_mp=meter.account.balance_mp,
            has_new_tariff=tariff is not None,
        )

    def _enter_with_tariff(
        self, meter: MeterCore, groups: list[str], *, source: OriginatingDevice, counter: int | None
    ) -> TopUpResult:
        digits, vend, now_us = "".join(groups), None, meter.now_us
        try:
            more = covered(groups[1:])
            vend = TariffVend.decode(groups[1:])
        except DecodeError as error:
            reasons: tuple[TokenReason, ...] = (_reason_of(error),)
        else:
            check = self._verify(groups[0], counter=counter, more=more)
            counter, reasons = check.counter, check.reasons[1:]  # the class of a head is known here
        refusal = self._first_against(meter, reasons, is_vend=True)
        if refusal is not None:
            return self.refuse(meter, refusal, digits=digits, source=source, utc_us=now_us)
        assert vend is not None, "it is good"
        assert vend.amount_mp is not None, "it is good"
        assert counter is not None, "it is good"
        return self._vend(meter, vend.amount_mp, counter, digits=digits, source=source, tariff=vend)

    def _obey(
        self, meter: MeterCore, special: SpecialCode, counter: int, *, source: OriginatingDevice
    ) -> TopUpResult:
        """A supply or engineering code, in either payment mode. Its counter is used up like a vend's."""
        self._take_counter(counter)
        now_us = meter.now_us
        if special.supply_is_ready is not None:
            if special.supply_is_ready:
                meter.arm_supply(utc_us=now_us)
            else:
                meter.disable_supply(utc_us=now_us, reason=OffReason.SUPPLY_CODE)
        elif special.engineering is Engineering.CLEAR_EVENT_LOG:
            meter.clear_event_log(utc_us=now_us)
        elif special.engineering is Engineering.CLEAR_TAMPER:
            meter.clear_tamper(utc_us=now_us)
        return TopUpResult(
            result=ResultType.ACCEPTED,
            source=source,
            amount_mp=0,
            balance_mp=meter.account.balance_mp,
            special=special,
        )

    def _retain(
        self,
        meter: MeterCore,
        special: SpecialCode,
        counter: int,
        *,
        digits: str,
        source: OriginatingDevice,
    ) -> TopUpResult:
        """What is left goes into a refund code. Nothing to give back, or credit lent: "Account Low"."""
        now_us, account = meter.now_us, meter.account
        value, value_class = refundable(account.balance_mp)
        if value == 0 or account.is_emergency_taken:
            return self.refuse(meter, Refusal.ACCOUNT_LOW, digits=digits, source=source, utc_us=now_us)
        self.refund = make_refund_code(
            self._key,
            meter=self.target,
            supplier=self.originator,
            counter=counter,
            value=value,
            value_class=value_class,
        )
        amount_mp = Utrn.decode(self.refund).amount_mp
        assert amount_mp is not None, "in pence or pounds"
        self._take_counter(counter)
        before = meter.supply.state
        meter.retain_credit(amount_mp, utc_us=now_us)
        return TopUpResult(
            result=_accepted(meter, before),
            source=source,
            amount_mp=-amount_mp,
            balance_mp=account.balance_mp,
            special=special,
            refund=self.refund,
        )

    def _adjust(
        self, meter: MeterCore, special: SpecialCode, counter: int, *, digits: str, source: OriginatingDevice
    ) -> TopUpResult:
        """A vend that deducts, never below nought, or sets the balance. Emergency credit and debts stay."""
        now_us, account = meter.now_us, meter.account
        is_set = special.vend is VendKind.SET
        delta_mp = special.amount_mp - account.balance_mp if is_set else -special.amount_mp
        if not is_set and account.balance_mp + delta_mp < 0:
            return self.refuse(meter, Refusal.ACCOUNT_LOW, digits=digits, source=source, utc_us=now_us)
        limit = meter.adjust_balance(delta_mp, utc_us=now_us)
        if limit is not None:
            return self.refuse(meter, _BY_ACCOUNT[limit], digits=digits, source=source, utc_us=now_us)
        shown_mp = special.amount_mp if is_set else delta_mp
        self._take_counter(counter)
        self.vends.append(Vend(utc_us=now_us, amount_mp=shown_mp, digits=digits))
        return TopUpResult(
            result=ResultType.ACCEPTED,
            source=source,
            amount_mp=delta_mp,
            balance_mp=account.balance_mp,
            vend=special.vend,
        )

    def refuse(
        self, meter: MeterCore, refusal: Refusal, *, digits: str, source: OriginatingDevice, utc_us: int
    ) -> TopUpResult:
        """Count, list and log a refusal; the keypad uses it for what never was a token."""
        facts = REFUSALS[refusal]
        self.refused_count += 1
        self.refused.append(RefusedEntry(utc_us=utc_us, source=source, digits=digits, refusal=refusal))
        if facts.alert is not None:
            # The log travels further than the meter's own list: only the end of the number goes into it.
            meter.note(facts.alert, utc_us=utc_us, detail=f"{source.name} ...{digits[-5:]} {facts.text}")
        return TopUpResult(
            result=facts.result,
            source=source,
            amount_mp=0,
            balance_mp=meter.account.balance_mp,
            refusal=refusal,
        )

    # --- NVM -------------------------------------------------------------------------------------

    def save(self, nvm: Nvm) -> None:
        nvm.put("meter/tokens", self.encode())

    def restore(self, nvm: Nvm) -> bool:
        """False where there is nothing. Raises DecodeError."""
        octets = nvm.get("meter/tokens")
        if octets is not None:
            self.decode_into(octets)
        return octets is not None

    def encode(self) -> bytes:
        return pack_state(
            "tokens",
            2,
            {
                "cache": self.cache.encode(),
                "counts": [self.accepted_count, self.refused_count],
                "vends": [(v.utc_us, v.amount_mp) for v in self.vends],
                "vend_digits": [v.digits for v in self.vends],
                "refused": [(r.utc_us, int(r.source), int(r.refusal)) for r in self.refused],
                "refused_digits": [r.digits for r in self.refused],
                "refund": self.refund,
            },
        )

    def decode_into(self, octets: bytes) -> None:
        """Take over an encoded state. Raises DecodeError, and then nothing has changed."""
        reader = StateReader(octets, kind="tokens", versions=(1, 2))
        cache = CounterCache.decode(reader.octets("cache"))
        counts = reader.wholes("counts", 2)
        refund = reader.text("refund") if reader.version > 1 else ""
        vends = zip(reader.rows("vends", 2), reader.items("vend_digits"), strict=False)
        refused = zip(reader.rows("refused", 3), reader.items("refused_digits"), strict=False)
        try:
            entries = [
                RefusedEntry(
                    utc_us=utc_us,
                    source=OriginatingDevice(source),
                    refusal=Refusal(reason),
                    digits=str(digits),
                )
                for (utc_us, source, reason), digits in refused
            ]
        except ValueError as error:
            raise DecodeError("NVM", 0, f"tokens.refused: {error}") from None
        self.cache, self.refund = cache, refund
        self.accepted_count, self.refused_count = counts
        self.vends.clear()
        self.vends.extend(Vend(utc_us=u, amount_mp=a, digits=str(digits)) for (u, a), digits in vends)
        self.refused.clear()
        self.refused.extend(entries)


def _accepted(meter: MeterCore, before: SupplyState) -> ResultType:
    """What a code that moved money has done to the supply."""
    if meter.supply.state is SupplyState.ARMED and before is SupplyState.OFF:
        return ResultType.ACCEPTED_SUPPLY_ARMED
    if meter.supply.state is SupplyState.OFF:
        return ResultType.ACCEPTED_SUPPLY_DISABLED
    return ResultType.ACCEPTED


def _reason_of(error: DecodeError) -> TokenReason:
    """Of the parts of a vend with a tariff; rates that make no sense are of another scheme."""
    try:
        return TokenReason(error.reason)
    except ValueError:
        return TokenReason.UNKNOWN_VALUE_CLASS
