"""The state machine of one home in migration, as the S1SP keeps it: what is known, and what to do next.

GSME first, then ESME; the GSME's key is the point of no return. A home is handed back to the SMSO only from a
state in which its GSME is *confirmed* to hold the old key (or was never asked), never from a guess. What has
been asked and not answered is UNKNOWN: the S1SP asks again, and the device's own status push may tell.

    VALIDATED -> VIABLE -> INSTALLED -> SECURING (GSME, then ESME) -> MIGRATED -> COMMISSIONED
        |           |          |            |      |
        +-----------+----------+-------> ROLL_BACK +---> STRANDED, which a late answer may still end

Every method gives a new value; the shell commits it before it acts on it. Source: TMAD consultation, 2.3,
table 2 (the five rows); 5.27, 16.9 to 16.11.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum, unique
from typing import Any, Final, Self

import cbor2

from smets1.errors import DecodeError, LostError, MisuseError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict

__all__ = ["Action", "HomeProgress", "KeyState", "Row", "Stage"]

_VERSION: Final = 1


@unique
class KeyState(StrEnum):
    """What the S1SP knows of one meter's SUA key."""

    NO_METER = "no meter"
    NOT_ATTEMPTED = "not attempted"
    UNKNOWN = "unknown"  # asked, and no answer was had
    ROTATED = "rotated"  # the device has shown that it holds the new key
    NOT_ROTATED = "not rotated"  # the device says that it holds the old one


@unique
class Stage(StrEnum):
    VALIDATED = "validated"  # no failure in the MVF
    VIABLE = "viable"  # S1SP and DCO both say so
    INSTALLED = "installed"  # 16.9
    SECURING = "securing"  # 16.10: keys are being rotated
    MIGRATED = "migrated"
    ROLL_BACK = "roll back"  # to be handed back; the account is still DCC's
    ROLLED_BACK = "rolled back"
    STRANDED = "stranded"  # neither back nor forth
    COMMISSIONED = "commissioned"


@unique
class Action(StrEnum):
    """What the shell has to do next."""

    CHECK_VIABILITY = "check viability"
    INSTALL = "install"
    SECURE_GSME = "secure the GSME"
    SECURE_ESME = "secure the ESME"
    ROLL_BACK = "roll back"
    COMMISSION = "commission"
    WAIT = "wait for the device"
    NONE = "none"


@unique
class Row(IntEnum):
    """The rows of table 2."""

    BOTH_ROTATED = 1
    GSME_FAILED = 2
    GSME_SILENT = 3
    ESME_SILENT = 4
    ESME_FAILED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeProgress:
    """One home. In NVM: a CBOR array, in the order of the fields, after a version."""

    hub: Eui64
    file_set: int
    gsme: KeyState
    esme: KeyState = KeyState.NOT_ATTEMPTED
    stage: Stage = Stage.VALIDATED
    clause: str = ""  # of what went wrong
    reason: str = ""
    gsme_generation: int = 0  # that the GSME is to have; 0: not known yet
    esme_generation: int = 0
    installed_utc_us: int = 0  # when Installing was done; 0: not yet
    secured_utc_us: int = 0  # when Securing began
    attempts: int = 0  # at the meter that is being secured
    was_silent: bool = False  # an answer of the ESME was lost on the way (row 4)
    is_reported: bool = False  # its present outcome is in an SCF

    @classmethod
    def begin(cls, hub: Eui64, *, file_set: int, has_gas: bool) -> Self:
        state = KeyState.NOT_ATTEMPTED if has_gas else KeyState.NO_METER
        return cls(hub=hub, file_set=file_set, gsme=state)

    def encode(self) -> bytes:
        values = [getattr(self, name) for name in self.__slots__]
        return cbor2.dumps([_VERSION, *(str(v) if isinstance(v, StrEnum) else v for v in values)])

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Raises LostError: our own record cannot be read."""
        try:
            held: Any = load_strict(octets)
            if not isinstance(held, list) or held[:1] != [_VERSION] or len(held) != len(cls.__slots__) + 1:
                raise ValueError("another version")
            values = dict(zip(cls.__slots__, held[1:], strict=True))
            for name, kind in (("gsme", KeyState), ("esme", KeyState), ("stage", Stage)):
                values[name] = kind(values[name])
        except (DecodeError, ValueError) as error:
            raise LostError(f"the record of a migrating home is damaged: {error}") from None
        return cls(**values)

    # --- what to do --------------------------------------------------------------------------------

    @property
    def next_action(self) -> Action:
        if self.stage is Stage.SECURING:
            return self._securing_action()
        return _NEXT[self.stage]

    def _securing_action(self) -> Action:
        if self.gsme in (KeyState.NOT_ATTEMPTED, KeyState.UNKNOWN):
            return Action.SECURE_GSME
        return Action.SECURE_ESME

    @property
    def row(self) -> Row | None:
        """Of table 2; None where no key was asked for, or in a single-fuel home before the ESME's outcome."""
        if self.gsme in (KeyState.ROTATED, KeyState.NO_METER):
            if self.esme is KeyState.ROTATED:  # rows 1 to 3 do not apply to a single fuel
                return Row.BOTH_ROTATED if self.gsme is KeyState.ROTATED else None
            return {KeyState.UNKNOWN: Row.ESME_SILENT, KeyState.NOT_ROTATED: Row.ESME_FAILED}.get(self.esme)
        return {KeyState.UNKNOWN: Row.GSME_SILENT, KeyState.NOT_ROTATED: Row.GSME_FAILED}.get(self.gsme)

    @property
    def may_roll_back(self) -> bool:
        """No key of it is rotated, and none may be without our knowing (16.11).

        A single-fuel home has no GSME: after its ESME was asked it is never handed back.
        """
        if self.gsme is KeyState.NO_METER:
            return self.esme is KeyState.NOT_ATTEMPTED
        return self.gsme in (KeyState.NOT_ATTEMPTED, KeyState.NOT_ROTATED)

    # --- what happened ------------------------------------------------------------------------------

    def viable(self, *, gsme_generation: int, esme_generation: int) -> Self:
        """The generations that the keys are to have when they are rotated."""
        self._require(Stage.VALIDATED)
        return replace(
            self,
            stage=Stage.VIABLE,
            gsme_generation=gsme_generation,
            esme_generation=esme_generation,
        )

    def installed(self, *, now_utc_us: int) -> Self:
        self._require(Stage.VIABLE)
        return replace(self, stage=Stage.INSTALLED, installed_utc_us=now_utc_us)

    def reinstall(self) -> Self:
        """What was done too long ago must be done again (16.9: 7 days)."""
        self._require(Stage.INSTALLED)
        return replace(self, stage=Stage.VIABLE, installed_utc_us=0)

    def securing(self, *, now_utc_us: int) -> Self:
        self._require(Stage.INSTALLED)
        return replace(self, stage=Stage.SECURING, secured_utc_us=now_utc_us)

    def asking(self) -> Self:
        """Before an attempt at the meter whose turn it is: from here on its key is not known."""
        self._require(Stage.SECURING)
        if self._securing_action() is Action.SECURE_GSME:
            return replace(self, gsme=KeyState.UNKNOWN, attempts=self.attempts + 1)
        return replace(self, esme=KeyState.UNKNOWN, attempts=self.attempts + 1)

    def answered(self, *, is_gas: bool, state: KeyState) -> Self:
        """An attempt, or a status push, has told what a meter holds. UNKNOWN changes nothing."""
        if state is KeyState.UNKNOWN:
            return replace(self, was_silent=self.was_silent or not is_gas)
        present = self.gsme if is_gas else self.esme
        if present is KeyState.ROTATED or self.stage not in (Stage.SECURING, Stage.STRANDED):
            return self  # a push that comes again, or after the end
        home = replace(self, gsme=state, attempts=0) if is_gas else replace(self, esme=state)
        if is_gas and state is KeyState.NOT_ROTATED:
            return replace(home, stage=Stage.ROLL_BACK, clause="16.11", is_reported=False,
                           reason="securing the GSME failed, its key is confirmed not rotated")  # fmt: skip
        if not is_gas and state is KeyState.NOT_ROTATED:
            return home.strand("16.11", "securing the ESME failed after the point of no return")
        if not is_gas and state is KeyState.ROTATED:
            return replace(home, stage=Stage.MIGRATED, clause="", reason="", is_reported=False)
        return replace(home, stage=Stage.SECURING)  # the GSME is done: the ESME's turn

    def strand(self, clause: str, reason: str) -> Self:
        """Neither back nor forth; a late answer may still end it."""
        return replace(self, stage=Stage.STRANDED, clause=clause, reason=reason, is_reported=False)

    def fail(self, clause: str, reason: str) -> Self:
        """Before any key was asked for: the account goes back to the supplier."""
        if not self.may_roll_back:
            raise MisuseError("a home beyond the point of no return is not handed back")
        return replace(self, stage=Stage.ROLL_BACK, clause=clause, reason=reason, is_reported=False)

    def rolled_back(self) -> Self:
        self._require(Stage.ROLL_BACK)
        return replace(self, stage=Stage.ROLLED_BACK)

    def commissioned(self) -> Self:
        self._require(Stage.MIGRATED)
        return replace(self, stage=Stage.COMMISSIONED)

    def reported(self) -> Self:
        return replace(self, is_reported=True)

    def _require(self, stage: Stage) -> None:
        if self.stage is not stage:
            raise MisuseError(f"a home that is {self.stage} cannot do what one that is {stage} does")


_NEXT: Final = {
    Stage.VALIDATED: Action.CHECK_VIABILITY,
    Stage.VIABLE: Action.INSTALL,
    Stage.INSTALLED: Action.SECURE_GSME,
    Stage.MIGRATED: Action.COMMISSION,
    Stage.ROLL_BACK: Action.ROLL_BACK,
    Stage.ROLLED_BACK: Action.NONE,
    Stage.STRANDED: Action.WAIT,
    Stage.COMMISSIONED: Action.NONE,
}
