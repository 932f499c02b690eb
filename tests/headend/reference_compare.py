"""Whether an answer says what a request has said, service by service. Each raises AssertionError where it does not."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.headend.reference_supplier import deep, rows, shape, texts

from smets1.headend.duis.request import XmlNode
from smets1.tools.home import Home

__all__ = [
    "Compare",
    "Seen",
    "added",
    "calendar",
    "certificates",
    "configuration",
    "debts",
    "electricity_tariff",
    "gas_tariff",
    "inventory",
    "lists",
    "lists_not",
    "named",
    "near",
    "says",
]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request, and what was read before and after it."""

    home: Home
    written: XmlNode  # its body
    before: XmlNode  # all answers under one node
    after: XmlNode
    last: dict[str, XmlNode] = field(default_factory=dict)  # SRV -> the body of the last request before


Compare = Callable[[Seen], None]


def _equal(found: object, expected: object) -> None:
    assert found == expected, f"read: {found}\nwritten: {expected}"


def named(**same: str) -> Compare:
    """Each of these elements of the request is in the answer, under that name."""

    def compare(seen: Seen) -> None:
        for written, read in same.items():
            expected = texts(seen.written, written)
            assert expected, f"the request has no {written}"
            _equal(texts(seen.after, read), expected)

    return compare


def says(**expected: str) -> Compare:
    """The answer has these."""

    def compare(seen: Seen) -> None:
        for name, text in expected.items():
            _equal(texts(seen.after, name), [text])

    return compare


def added(written: str, read: str, *, within: int = 0) -> Compare:
    """The answer's number has grown by the request's, less what was consumed meanwhile."""

    def compare(seen: Seen) -> None:
        (amount,), (before,), (after,) = (
            [int(text) for text in texts(node, name)]
            for node, name in ((seen.written, written), (seen.before, read), (seen.after, read))
        )
        assert 0 <= before + amount - after <= within, (before, amount, after)

    return compare


def near(name: str, expected: int, *, within: int) -> Compare:
    """The answer's number is that, less what was consumed since."""

    def compare(seen: Seen) -> None:
        (found,) = texts(seen.after, name)
        assert 0 <= expected - int(found) <= within, found

    return compare


def lists(name: str, text: str) -> Compare:
    def compare(seen: Seen) -> None:
        assert text in texts(seen.after, name), texts(seen.after, name)

    return compare


def lists_not(name: str, text: str) -> Compare:
    def compare(seen: Seen) -> None:
        assert text not in texts(seen.after, name)

    return compare


def inventory(device: str, **expected: str) -> Compare:
    """8.2 says so of this device."""

    def compare(seen: Seen) -> None:
        found = [row for row in deep(seen.after, "Device") if row.value("DeviceID") == device]
        assert found, f"{device} is not in the inventory"
        for name, text in expected.items():
            _equal(found[0].value(name), text)

    return compare


# --- tariffs -----------------------------------------------------------------------------------------------


def electricity_tariff(seen: Seen) -> None:
    """1.1.1, or 1.2.1 over the last 1.1.1."""
    elements = _tariff(seen, "ElecTariffElements")
    price, answer = _first(seen.written, "ElectricityPriceElements"), _first(seen.after, "Electricity")
    for name in ("StandingCharge", "StandingChargeScale", "PriceScale"):
        _equal(answer.value(name), price.value(name))
    _equal(answer.value("CurrencyUnitsLabel"), elements.value("CurrencyUnits"))
    sent = sorted(shape(child) for child in price.children[-1].children)
    matrices = (answer.find(name) for name in ("TariffTOUPriceMatrix", "TariffBlockPriceMatrix"))
    back = sorted(shape(child) for matrix in matrices if matrix for child in matrix.children)
    if seen.written.name == "UpdatePricePrimaryElement":  # which may leave registers as they are
        back = [row for row in back if row in sent]
    _equal(back, sent)
    _switching(answer, elements)
    _equal(rows(answer.find("TariffThresholdMatrix")), rows(elements.find("ThresholdMatrix")))


def gas_tariff(seen: Seen) -> None:
    elements = _tariff(seen, "GasTariffElements")
    price, answer = _first(seen.written, "GasPriceElements"), _first(seen.after, "Gas")
    _equal(answer.value("StandingCharge"), price.value("StandingCharge"))
    _equal(answer.value("CurrencyUnitsLabel"), price.value("CurrencyUnits"))
    prices = price.children[-1]
    sent = [shape(child) for child in prices.children if child.name != "NumberOfThresholds"]
    matrix = answer.find(prices.name)
    _equal([shape(child) for child in matrix.children] if matrix else [], sent)
    _switching(answer, elements)
    _equal(rows(answer.find("TariffThresholds")), rows(elements.find("ThresholdMatrix")))


def _switching(answer: XmlNode, elements: XmlNode) -> None:
    _equal(shape(answer.find("TariffSwitchingTable"))[3], shape(elements.find("SwitchingTable"))[3])
    _equal(rows(answer.find("TariffSwitchingTableSpecialDays")), rows(elements.find("SpecialDays")))


def _tariff(seen: Seen, name: str) -> XmlNode:
    """The elements of this request, or, where it updates prices, of the tariff before."""
    is_whole = next(deep(seen.written, name), None) is not None
    return _first(seen.written if is_whole else seen.last["1.1.1"], name)


def _first(node: XmlNode, name: str) -> XmlNode:
    found = next(deep(node, name), None)
    assert found is not None, f"no {name}"
    return found


# --- accounts ----------------------------------------------------------------------------------------------

_LIMITS: Final = {
    "DebtRecoveryRateCap": "DebtRecoveryRateCap",
    "EmergencyCreditLimit": "EmergencyCreditLimit",
    "EmergencyCreditThreshold": "EmergencyCreditThreshold",
    "LowCreditThreshold": "LowCreditThreshold",
    "MaxMeterBalance": "MaxCreditMaxMeterBalance",
    "MaxCreditThreshold": "CreditMaxCreditThreshold",
}


def configuration(seen: Seen) -> None:
    """2.1: the limits, and the calendar of non-disablement."""
    named(**_LIMITS)(seen)
    name = next(child.name for child in seen.written.children[0].children if "Calendar" in child.name)
    sent = {row[0]: row[3] for row in shape(_first(seen.written, name))[3]}
    back = {row[0]: row[3] for row in shape(_first(seen.after, "NonDisablementCalendar"))[3]}
    _equal(_without_indexes(back), _without_indexes(sent))


def _without_indexes(content: Any) -> str:
    """MMC numbers the switch times of a gas day, which DUIS does not."""
    return re.sub(r"\('TimeStartAction', '\d'", "('TimeStartAction', ''", repr(content))


def debts(seen: Seen) -> None:
    """2.3: registers by 4.3, rates and share by 4.13."""
    registers = ("TimeDebtRegister1", "TimeDebtRegister2", "PaymentDebtRegister", "DebtRecoveryPerPayment")
    named(**{name: name for name in registers})(seen)
    for number in "12":
        (written,) = (
            child for child in seen.written.children if child.name.endswith(f"DebtRecovery{number}")
        )
        _equal(rows(_first(seen.after, f"DebtRecovery{number}")), rows(written))


def calendar(seen: Seen) -> None:
    """6.8."""
    _equal(shape(_first(seen.after, "BillingCalendar"))[3], shape(seen.written)[3])


def certificates(uses: Iterable[str]) -> Compare:
    """6.15.1, 6.21, 6.23: the SHA-1 of each certificate that the request places."""

    def compare(seen: Seen) -> None:
        sent = [texts(seen.written, f"{use}Certificate")[0] for use in uses]
        hashes = [b64encode(hashlib.sha1(b64decode(text)).digest()).decode() for text in sent]
        _equal([one for one in texts(seen.after, "ExistingCertificateHash") if one in hashes], hashes)

    return compare
