"""The device's side of Critical Instructions: is this one authorised, and the rotation of the SUA key.

What is critical is one table here, `CRITICAL`, after the DCC catalogue of service requests; a frame that
carries one of these commands over the WAN is executed only inside a `critical_instruction` of the
Authorisation cluster. (What a person does at a display arrives over the HAN and is not asked for a code.)

Every change is committed to NVM before it has an effect: the counter before the instruction is
executed, the new key before the confirmation is answered. The formulas are firmware/sua.py's.

    instruction:  authorise -> (committed) -> execute -> answer
    rotation:     authorise -> stage -> (committed, both keys held) -> answer -> drop_old_key -> (committed)

Asked for the generation that it already has, the device confirms it again: a lost answer does no harm.
Until the S1SP acknowledges, `is_push_due` says that the device's generation is to be pushed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from smets1.errors import DecodeError, SecurityError
from smets1.eui64 import Eui64
from smets1.firmware.nvm import Nvm
from smets1.firmware.sua import SuaProblem, SuaState, instruction_octets
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION, DEVICE_INFORMATION, CriticalStatus
from smets1.firmware.zcl.frame import ZclHeader
from smets1.firmware.zcl.status import FrameType, Side

__all__ = [
    "CRITICAL",
    "AuthorisationCore",
    "CriticalCommand",
    "KeyConfirmation",
    "Verdict",
    "critical_srv",
    "is_critical",
]

_STATE_KEY: Final = "sua/state"
_ACKED_KEY: Final = "sua/acked"


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalCommand:
    """One command that a device obeys over the WAN only with a SUA."""

    srvs: tuple[str, ...]  # the service reference variants that need it
    cluster_id: int
    command_id: int
    frame_type: FrameType = FrameType.CLUSTER
    sender: Side = Side.CLIENT  # which side of the cluster sends the command


_TIME: Final = 0x000A
_PRICE: Final = 0x0700
_METERING: Final = 0x0702
_PREPAYMENT: Final = 0x0705
_CALENDAR: Final = 0x0707
_AUTHORISATION: Final = AUTHORISATION.cluster_id
_DEVICE: Final = DEVICE_INFORMATION.cluster_id


def _publish(srvs: tuple[str, ...], cluster_id: int, *command_ids: int) -> tuple[CriticalCommand, ...]:
    return tuple(
        CriticalCommand(srvs=srvs, cluster_id=cluster_id, command_id=command_id, sender=Side.SERVER)
        for command_id in command_ids
    )


_TARIFF_SRVS: Final = ("1.1.1", "1.2.1")

CRITICAL: Final[tuple[CriticalCommand, ...]] = (
    # PublishPrice, BlockPeriod, TariffInformation, PriceMatrix, BlockThresholds, CancelTariff
    *_publish(_TARIFF_SRVS, _PRICE, 0x00, 0x01, 0x04, 0x05, 0x06, 0x0E),
    # PublishConversionFactor, PublishCalorificValue
    *_publish(("6.6",), _PRICE, 0x02, 0x03),
    # PublishBillingPeriod
    *_publish(("6.8",), _PRICE, 0x09),
    # PublishCalendar, DayProfile, WeekProfile, Seasons, SpecialDays, CancelCalendar: the tariff's switching
    # table and the non-disablement calendar
    *_publish(("1.1.1", "2.1"), _CALENDAR, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05),
    CriticalCommand(srvs=("2.5",), cluster_id=_PREPAYMENT, command_id=0x00),  # SelectAvailableEmergencyCredit
    CriticalCommand(srvs=("2.3",), cluster_id=_PREPAYMENT, command_id=0x02),  # ChangeDebt
    CriticalCommand(srvs=("2.1",), cluster_id=_PREPAYMENT, command_id=0x03),  # EmergencyCreditSetup
    CriticalCommand(srvs=("1.5",), cluster_id=_PREPAYMENT, command_id=0x05),  # CreditAdjustment
    CriticalCommand(srvs=("1.6",), cluster_id=_PREPAYMENT, command_id=0x06),  # ChangePaymentMode
    CriticalCommand(srvs=("2.1",), cluster_id=_PREPAYMENT, command_id=0x09),  # SetLowCreditWarningLevel
    CriticalCommand(srvs=("2.1",), cluster_id=_PREPAYMENT, command_id=0x0B),  # SetMaximumCreditLimit
    CriticalCommand(srvs=("2.1", "2.3"), cluster_id=_PREPAYMENT, command_id=0x0C),  # SetOverallDebtCap
    CriticalCommand(srvs=("7.1", "7.2", "7.3"), cluster_id=_METERING, command_id=0x0B),  # ChangeSupply
    CriticalCommand(srvs=("6.25",), cluster_id=_METERING, command_id=0x0D),  # SetSupplyStatus
    CriticalCommand(srvs=("6.7",), cluster_id=_METERING, command_id=0x0E),  # SetUncontrolledFlowThreshold
    # Write Attributes on Time, and its two relatives
    *(
        CriticalCommand(srvs=("6.11",), cluster_id=_TIME, command_id=command_id, frame_type=FrameType.GLOBAL)
        for command_id in (0x02, 0x03, 0x05)
    ),
    # write_parameter: whatever has no ZigBee command of its own
    CriticalCommand(srvs=("2.1", "6.15.1", "8.1.1"), cluster_id=_DEVICE, command_id=0x01),
    CriticalCommand(srvs=("6.4.1",), cluster_id=_DEVICE, command_id=0x04),  # set_load_limit
    CriticalCommand(srvs=("6.11",), cluster_id=_DEVICE, command_id=0x05),  # synchronise_clock
    CriticalCommand(srvs=("2.1",), cluster_id=_DEVICE, command_id=0x10),  # publish_disablement_rules
    CriticalCommand(srvs=("11.3",), cluster_id=_DEVICE, command_id=0x03),  # activate_firmware
    CriticalCommand(srvs=(), cluster_id=_AUTHORISATION, command_id=0x01),  # rotate_key
)
"""The one table of what is critical. Source: DCC service catalogue, SMETS1 column and critical column.

8.7.1 and 8.8.1 (critical join and unjoin) end at the hub's device log, not at a meter's command.
"""

_INDEX: Final = {(c.cluster_id, c.frame_type, c.sender, c.command_id): c for c in CRITICAL}


def _find(cluster_id: int, frame: bytes) -> CriticalCommand | None:
    try:
        header, _ = ZclHeader.decode(frame)
    except DecodeError:
        return None
    return _INDEX.get((cluster_id, header.frame_type, header.sender, header.command_id))


def is_critical(cluster_id: int, frame: bytes) -> bool:
    """Whether a ZCL frame from outside needs a SUA; one that cannot be read does not get that far."""
    return _find(cluster_id, frame) is not None


def critical_srv(cluster_id: int, frame: bytes) -> tuple[str, ...]:
    """The service requests that such a frame may belong to; empty where it is not critical."""
    found = _find(cluster_id, frame)
    return found.srvs if found else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether an instruction may be executed; `reason` for the log, in words."""

    status: CriticalStatus
    reason: str = ""

    @property
    def is_granted(self) -> bool:
        return self.status is CriticalStatus.EXECUTED


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyConfirmation:
    """What the device answers a rotation with, and pushes: it holds the key of this generation."""

    generation: int
    confirmation: bytes


class AuthorisationCore:
    """One device's SUA key and counter, in its NVM. Writes and commits by itself."""

    def __init__(self, *, device: Eui64, nvm: Nvm) -> None:
        """Reads what NVM holds. Raises DecodeError where that is damaged."""
        self._device = device
        self._nvm = nvm
        octets = nvm.get(_STATE_KEY)
        self._state = SuaState.decode(octets) if octets is not None else None
        acked = nvm.get(_ACKED_KEY)
        self._acked_generation = int.from_bytes(acked, "big") if acked is not None else 0

    def __repr__(self) -> str:
        return f"AuthorisationCore(generation={self.generation}, counter={self.counter})"

    def provision(self, key: bytes, *, generation: int = 0) -> None:
        """The factory, or the old operator, gives the first key (16 octets); commits."""
        self._acked_generation = generation
        self._nvm.put(_ACKED_KEY, generation.to_bytes(4, "big"))
        self._store(SuaState(generation=generation, counter=0, key=key))

    @property
    def has_key(self) -> bool:
        return self._state is not None

    @property
    def generation(self) -> int:
        """Of the newest key held; 0 where there is none."""
        return self._state.activate().generation if self._state else 0

    @property
    def counter(self) -> int:
        """The highest used; 0 where there is none."""
        return self._state.counter if self._state else 0

    def authorise(self, *, counter: int, sua: bytes, cluster_id: int, frame: bytes) -> Verdict:
        """Judge a Critical Instruction from outside. Granted: its counter is used up and committed.

        Refused: nothing has changed, and the instruction must not be executed.
        """
        if self._state is None:
            return Verdict(status=CriticalStatus.NO_KEY, reason="the device has no SUA key")
        try:
            ZclHeader.decode(frame)
        except DecodeError as error:
            return Verdict(status=CriticalStatus.MALFORMED, reason=error.reason)
        if not is_critical(cluster_id, frame):
            return Verdict(status=CriticalStatus.NOT_CRITICAL, reason="needs no authorisation")
        instruction = instruction_octets(cluster_id, frame)
        try:
            state = self._state.authorise(self._device, counter, sua, instruction)
        except SecurityError as error:
            is_used = error.reason == SuaProblem.USED_COUNTER
            status = CriticalStatus.COUNTER_USED if is_used else CriticalStatus.WRONG_CODE
            return Verdict(status=status, reason=str(error.reason))
        self._store(state)
        return Verdict(status=CriticalStatus.EXECUTED)

    def stage(self, generation: int, wrapped_key: bytes) -> KeyConfirmation:
        """RotateKey, inside an authorised instruction: hold the new key beside the old one; committed.

        For the generation already held the confirmation is given again and nothing changes. Raises
        SecurityError or DecodeError (both foreign), and then nothing has changed.
        """
        if self._state is None:
            raise SecurityError("the device has no SUA key")
        if generation != self._state.generation or generation == 0:
            self._store(self._state.stage(generation, wrapped_key))
        return self.confirmation()

    def drop_old_key(self) -> None:
        """After the answer has gone out: only the new key is left; committed in one."""
        if self._state is not None and self._state.next_key is not None:
            self._store(self._state.activate())

    def confirmation(self) -> KeyConfirmation:
        """Of the newest key held. Raises SecurityError where there is none."""
        if self._state is None:
            raise SecurityError("the device has no SUA key")
        generation, octets = self._state.confirmation(self._device)
        return KeyConfirmation(generation=generation, confirmation=octets)

    @property
    def is_push_due(self) -> bool:
        """The S1SP has not yet acknowledged the generation that this device holds."""
        return self._state is not None and self._acked_generation != self.generation

    def acknowledge(self, generation: int) -> None:
        """status_push_ack from the S1SP; one for another generation is passed over. Commits."""
        if self.is_push_due and generation == self.generation:
            self._acked_generation = generation
            self._nvm.put(_ACKED_KEY, generation.to_bytes(4, "big"))
            self._nvm.commit()

    def _store(self, state: SuaState) -> None:
        self._nvm.put(_STATE_KEY, state.encode())
        self._nvm.commit()
        self._state = state
