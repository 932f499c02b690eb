"""The envelope of a Critical Instruction, and which instruction each critical service may give.

An instruction is a cluster and the ZCL frame to execute on it; wrapped, it travels as the command
`critical_instruction` of the device's own authorisation cluster. Source: none public; **assumption**,
see `firmware.sua` and the clusters of `firmware.zcl.clusters.smets1`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from smets1.errors import DecodeError
from smets1.firmware.sua import instruction_octets
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.clusters.calendar import CALENDAR, CalendarType
from smets1.firmware.zcl.clusters.metering import METERING, SupplyStatus
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.price import PRICE
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION, DEVICE_INFORMATION, CriticalStatus
from smets1.firmware.zcl.declare import Cluster
from smets1.firmware.zcl.frame import read_command
from smets1.headend.srv import frames
from smets1.headend.srv.steps import RefusedByDeviceError

__all__ = [
    "PERMITTED",
    "Authorisation",
    "Instruction",
    "Permission",
    "unwrap",
    "unwrap_once",
    "wrap",
    "wrap_once",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What a device is to execute."""

    cluster_id: int
    frame: bytes

    @property
    def octets(self) -> bytes:
        """What an authorisation code is computed over."""
        return instruction_octets(self.cluster_id, self.frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorisation:
    """The DCO's consent to one instruction: good for that, once."""

    counter: int
    sua: bytes = field(repr=False)  # 16 octets


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """The one command that a critical service may carry, and fields that must have these values."""

    cluster_id: int
    command: str
    fields: tuple[tuple[str, int], ...] = ()

    def allows(self, instruction: Instruction) -> bool:
        """Whether the frame is that command, to the letter of its fields."""
        if instruction.cluster_id != self.cluster_id:
            return False
        try:
            name, values = read_command(CLUSTERS[self.cluster_id], instruction.frame)
        except DecodeError:
            return False
        return name == self.command and all(values.get(field) == value for field, value in self.fields)


def _supply(status: SupplyStatus) -> Permission:
    return Permission(
        cluster_id=METERING.cluster_id,
        command="change_supply",
        fields=(("proposed_supply_status", status),),
    )


def _plain(cluster: Cluster, *commands: str) -> tuple[Permission, ...]:
    """Commands whose fields the request decides."""
    return tuple(Permission(cluster_id=cluster.cluster_id, command=name) for name in commands)


def _calendar(kind: CalendarType) -> tuple[Permission, ...]:
    """The frames of one calendar; weeks and seasons do not say of which kind it is, its first frame does."""
    typed = ("publish_calendar", "publish_day_profile", "publish_special_days")
    fields = (("calendar_type", int(kind)),)
    cluster_id = CALENDAR.cluster_id
    return (
        *(Permission(cluster_id=cluster_id, command=command, fields=fields) for command in typed),
        *_plain(CALENDAR, "publish_week_profile", "publish_seasons"),
    )


_TARIFF: Final = _plain(PRICE, "publish_price_matrix", "publish_tariff_information")

# The DCO looks into an instruction, and lets a service carry nothing but one of these.
PERMITTED: Final[dict[str, tuple[Permission, ...]]] = {
    "6.4.1": _plain(DEVICE_INFORMATION, "set_load_limit"),
    "6.6": _plain(PRICE, "publish_calorific_value", "publish_conversion_factor"),
    "6.7": _plain(METERING, "set_uncontrolled_flow_threshold", "set_supply_status"),
    "6.11": _plain(DEVICE_INFORMATION, "synchronise_clock"),
    "6.25": _plain(METERING, "set_supply_status"),
    "1.1.1": (
        *_calendar(CalendarType.DELIVERED_CALENDAR),
        *_TARIFF,
        *_plain(PRICE, "publish_block_thresholds", "cancel_tariff"),
    ),
    "1.2.1": (*_TARIFF, *_plain(PRICE, "cancel_tariff")),
    "1.5": _plain(PREPAYMENT, "credit_adjustment"),
    "1.6": _plain(PREPAYMENT, "change_payment_mode"),
    "2.1": (
        *_calendar(CalendarType.FRIENDLY_CREDIT_CALENDAR),
        Permission(cluster_id=DEVICE_INFORMATION.cluster_id, command="publish_disablement_rules"),
        *_plain(
            PREPAYMENT,
            "set_maximum_credit_limit",
            "set_overall_debt_cap",
            "set_low_credit_warning_level",
            "emergency_credit_setup",
        ),
    ),
    "2.3": _plain(PREPAYMENT, "change_debt"),
    "2.5": _plain(PREPAYMENT, "select_available_emergency_credit"),
    "6.8": _plain(PRICE, "publish_billing_period"),
    "7.1": (_supply(SupplyStatus.SUPPLY_ON),),
    "7.2": (_supply(SupplyStatus.SUPPLY_OFF),),
    "7.3": (_supply(SupplyStatus.SUPPLY_OFF_ARMED),),
    "11.3": _plain(DEVICE_INFORMATION, "activate_firmware"),
}


def wrap(instruction: Instruction, authorisation: Authorisation) -> tuple[int, bytes]:
    """The cluster and the frame to send."""
    values: dict[str, frames.Value] = {
        "counter": authorisation.counter,
        "sua": authorisation.sua,
        "cluster": instruction.cluster_id,
        "frame": instruction.frame,
    }
    frame = frames.command(AUTHORISATION.cluster_id, "critical_instruction", values)
    return AUTHORISATION.cluster_id, frame


def wrap_once(instruction: Instruction, instruction_id: bytes) -> tuple[int, bytes]:
    """Of an instruction that needs no consent and would do harm twice."""
    values: dict[str, frames.Value] = {
        "instruction_id": instruction_id,
        "cluster": instruction.cluster_id,
        "frame": instruction.frame,
    }
    return AUTHORISATION.cluster_id, frames.command(AUTHORISATION.cluster_id, "execute_once", values)


def unwrap_once(frame: bytes) -> bytes:
    """The device's answer to the instruction inside. Raises RefusedByDeviceError, DecodeError."""
    inner = frames.parse_command(AUTHORISATION.cluster_id, "once_result", frame)["frame"]
    assert isinstance(inner, bytes), "declared as octets"
    return inner


def unwrap(frame: bytes) -> bytes:
    """The device's answer to the instruction inside. Raises RefusedByDeviceError, DecodeError.

    A counter that was used by this very instruction, whose answer was lost, comes with that answer.
    """
    values = frames.parse_command(AUTHORISATION.cluster_id, "critical_result", frame)
    is_repeat = values["status"] == CriticalStatus.COUNTER_USED and values["frame"]
    if values["status"] != CriticalStatus.EXECUTED and not is_repeat:
        try:
            reason = CriticalStatus(values["status"]).name.lower().replace("_", " ")
        except ValueError:
            raise DecodeError("critical result", 0, f"unknown status {values['status']}") from None
        raise RefusedByDeviceError(f"critical instruction refused: {reason}", values["status"])
    inner = values["frame"]
    assert isinstance(inner, bytes), "declared as octets"
    return inner
