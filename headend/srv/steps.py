"""What a service plan is made of: steps to a device, their answers, and the outcome.

A plan is a generator: it yields a `Step`, is sent the `Answer`, and returns an `Outcome`. It does no
I/O and reads no clock, so after a crash the S1SP runs it again from the start and feeds it the answers
that it has stored. "Equivalent Steps" is the Smart Energy Code's term for what a plan does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeAlias

from smets1.errors import EmulatorError
from smets1.eui64 import Eui64
from smets1.firmware.civil import from_datetime, parse_utc, zigbee_s
from smets1.headend.credentials import Credentials, PartyRole
from smets1.headend.duis.codes import DeviceType, UserRole
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import DebugEntry, DeviceTime, node
from smets1.headend.inventory import InventoryDevice

__all__ = [
    "CANCELLED_UTC_US",
    "Answer",
    "Outcome",
    "Plan",
    "PlanRun",
    "RefusedByDeviceError",
    "Step",
    "Task",
    "succeed",
]

CANCELLED_UTC_US: Final = from_datetime(datetime(3000, 12, 31, tzinfo=UTC))
"""As execution date: withdraw what waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One instruction: a ZCL frame that one device is to execute."""

    target: Eui64
    endpoint: int
    cluster_id: int
    frame: bytes
    is_critical: bool = False  # goes through the DCO and travels with its SUA
    is_repeatable: bool = True  # asking twice does no harm, so an unreachable device is asked again

    @property
    def is_once(self) -> bool:
        """A meter is to remember that it has done it: no SUA counter stands against a repeat."""
        return not self.is_repeatable and not self.is_critical


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the ZCL frame, and the device's own time of it."""

    frame: bytes
    device_utc_us: int | None
    is_from_gsme: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the user is told. `data` None: no payload element, only the debug entries."""

    data: XmlNode | None
    time: DeviceTime | None = None
    debug: tuple[DebugEntry, ...] = ()

    @property
    def is_success(self) -> bool:
        return self.data is not None and ("MessageSuccess", "true") in self.data.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Everything a plan may know."""

    srv: str
    body: XmlNode = field(repr=False)  # holds UTRNs
    device: InventoryDevice  # the request's target
    home: tuple[InventoryDevice, ...]  # all devices of its home, in the order of their EUI-64
    originator: Eui64
    counter: int
    accepted_utc_us: int
    other: InventoryDevice | None = None  # the second device that the body names, where it is known
    role: UserRole | None = None  # in which the user asks
    # What the S1SP holds for the target, at the moment of asking.
    credentials: Callable[[PartyRole], Credentials | None] = field(default=lambda _: None, repr=False)
    # Of an image that 11.1 has taken in, by its hash.
    firmware_version: Callable[[str], int | None] = field(default=lambda _: None, repr=False)

    @property
    def is_gas(self) -> bool:
        return self.device.device_type in (DeviceType.GSME, DeviceType.GPF)

    @property
    def provider_id(self) -> int:
        """The 32-bit ProviderID of ZCL commands: the low half of the user's EUI-64."""
        return self.originator & 0xFFFFFFFF

    @property
    def issuer_event_id(self) -> int:
        """32 bits, newer is higher. **Assumption**: the acceptance time, as SE 1.2 suggests."""
        return self.accepted_zigbee_s

    @property
    def accepted_zigbee_s(self) -> int:
        return zigbee_s(self.accepted_utc_us)

    @property
    def execution_utc_us(self) -> int | None:
        """The ExecutionDateTime, None: at once. One that is no time was not accepted (see `access`)."""
        text = self.body.value("ExecutionDateTime")
        return None if text is None else parse_utc(text)

    @property
    def is_cancellation(self) -> bool:
        """Whether it withdraws what the user has sent for a later date: the execution date is 3000-12-31."""
        return self.execution_utc_us == CANCELLED_UTC_US

    def first(self, device_type: DeviceType) -> InventoryDevice | None:
        return next((device for device in self.home if device.device_type is device_type), None)


class RefusedByDeviceError(EmulatorError):
    """The device answered with a proper "no"; becomes MessageSuccess=false with this reason."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


PlanRun: TypeAlias = Generator[Step, Answer, Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one service reference variant is carried out."""

    srv: str
    body_name: str  # the element in the request's Body
    response_name: str  # the element in SMETSData
    devices: frozenset[DeviceType]  # types of target that make sense
    run: Callable[[Task], PlanRun]
    # Where the schema wants an element even in an answer with MessageSuccess=false.
    failure_content: Callable[[Task], XmlNode | None] = lambda _: None
    is_whole: bool = False  # no other plan of this kind comes to its device between two of its steps

    def refuse(self, task: Task, error: RefusedByDeviceError, *, position: int) -> Outcome:
        """MessageSuccess=false, with the reason as debug entry."""
        data = node(self.response_name, [self.failure_content(task)], MessageSuccess=False)
        entry = DebugEntry(error=error.reason, response_code=error.status, position=position)
        return Outcome(data=data, debug=(entry,))


def succeed(task_plan: str, *content: XmlNode | None, answer: Answer | None) -> Outcome:
    """MessageSuccess=true, with the device's time where it gave one. No answer: no device was asked."""
    data = node(task_plan, list(content), MessageSuccess=True)
    time = None
    if answer is not None and answer.device_utc_us is not None:
        time = DeviceTime(utc_us=answer.device_utc_us, is_from_gsme=answer.is_from_gsme)
    return Outcome(data=data, time=time)
