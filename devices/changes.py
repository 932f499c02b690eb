"""Changes of an account's configuration, as one instruction asks for them: now, or when they are due.

A change that waits in the meter says only what it changes. The rest stays as it is when the change takes
effect, so two that wait do not undo each other.

Source: DUIS 5.4, services 1.6 and 2.1; FutureDatedAbstractType.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from smets1.devices.prepayment import NonDisablementCalendar, PaymentMode, PrepaymentConfig
from smets1.devices.state import StateReader, pack_state
from smets1.errors import DecodeError

__all__ = ["PaymentModeChange", "PrepaymentChange"]

_LIMITS: Final = frozenset(
    {
        "debt_rate_cap_mp",
        "emergency_credit_limit_mp",
        "emergency_credit_threshold_mp",
        "low_credit_threshold_mp",
        "max_credit_threshold_mp",
        "max_meter_balance_mp",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepaymentChange:
    """SRV 2.1. `limits`: numbers of PrepaymentConfig by name. `calendar` None: it stays.

    `published`: the frames (Publication) that the calendar came in; empty where it came otherwise.
    """

    limits: tuple[tuple[str, int], ...] = ()
    calendar: NonDisablementCalendar | None = None
    published: bytes = b""

    def apply(self, config: PrepaymentConfig) -> PrepaymentConfig:
        """Raises InputError for a value out of range."""
        values: dict[str, Any] = dict(self.limits)
        if self.calendar is not None:
            values["calendar"] = self.calendar
        return replace(config, **values)

    def encode(self) -> bytes:
        return pack_state(
            "prepayment change",
            2,
            {
                "names": [name for name, _ in self.limits],
                "values": [value for _, value in self.limits],
                "published": self.published,
                "has_calendar": self.calendar is not None,
                **(self.calendar or NonDisablementCalendar()).fields(),
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> PrepaymentChange:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="prepayment change", versions=(2,))
        names, values = [str(name) for name in reader.items("names")], reader.wholes("values")
        if len(names) != len(values) or not set(names) <= _LIMITS:
            raise reader.bad("names", "are not limits")
        calendar = NonDisablementCalendar.read(reader) if reader.flag("has_calendar") else None
        return cls(
            limits=tuple(zip(names, values, strict=True)),
            calendar=calendar,
            published=reader.octets("published"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentModeChange:
    """SRV 1.6. What is None stays as it is."""

    mode: PaymentMode
    suspend_debt_disabled: bool | None = None
    suspend_debt_emergency: bool | None = None
    disablement_threshold_mp: int | None = None

    def apply(self, config: PrepaymentConfig) -> PrepaymentConfig:
        """The same object where nothing of it changes."""
        wanted: dict[str, Any] = {
            "suspend_debt_disabled": self.suspend_debt_disabled,
            "suspend_debt_emergency": self.suspend_debt_emergency,
            "disablement_threshold_mp": self.disablement_threshold_mp,
        }
        changed = {name: value for name, value in wanted.items() if value is not None}
        return replace(config, **changed) if changed else config

    def encode(self) -> bytes:
        """One octet for the mode alone."""
        if self.disablement_threshold_mp is None:
            return bytes([self.mode])
        flags = bool(self.suspend_debt_disabled) | bool(self.suspend_debt_emergency) << 1
        return bytes([self.mode, flags]) + self.disablement_threshold_mp.to_bytes(4, "big", signed=True)

    @classmethod
    def decode(cls, octets: bytes) -> PaymentModeChange:
        """Raises DecodeError."""
        if len(octets) not in (1, 6) or octets[0] not in tuple(PaymentMode):
            raise DecodeError("NVM", 0, "no payment mode")
        mode = PaymentMode(octets[0])
        if len(octets) == 1:
            return cls(mode=mode)
        return cls(
            mode=mode,
            suspend_debt_disabled=bool(octets[1] & 1),
            suspend_debt_emergency=bool(octets[1] & 2),
            disablement_threshold_mp=int.from_bytes(octets[2:], "big", signed=True),
        )
