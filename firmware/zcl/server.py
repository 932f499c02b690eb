"""One side of one cluster on one endpoint: its attribute values and its command handlers. No I/O.

An attribute that is declared but has no value here is not supported by this device. A value is stored
(`set`), or asked for each time (`bind`). Writes from outside pass type and range checks, then the hook.

A command handler gets the decoded fields and a `CommandContext` and returns
  * `reply("name", **fields)`: the answer, under the sequence number of the question;
  * a `Status`: a Default Response with it; None is SUCCESS;
  * `LATER`: nothing now; the handler keeps the context and answers by `ZclApplication.reply`;
or raises RefusedError(status), or DecodeError for octets inside a field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Any, Final, TypeAlias

from smets1.errors import MisuseError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.zcl.declare import Attribute, Cluster
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.status import Side, Status, to_status
from smets1.firmware.zcl.types import Value
from smets1.hardware.radio import ApsSecurity
from smets1.light_init import light_init

__all__ = [
    "LATER",
    "Answer",
    "ClusterInstance",
    "CommandContext",
    "Handler",
    "Later",
    "Reply",
    "Via",
    "reply",
]


@unique
class Via(IntEnum):
    """The way a frame came in; security rules of the air apply to HAN only."""

    HAN = 0
    WIRE = 1  # between hub and electricity meter, which is attached to it
    WAN = 2  # an instruction of the head end
    SUA = 3  # the frame inside a Critical Instruction whose code was right


@light_init
@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """Who asks, how, and when."""

    now_us: int
    via: Via
    source: int | None = None  # NWK short address; None where it did not come over the HAN
    source_endpoint: int = 0
    source_eui64: Eui64 | None = None  # None: not proven
    security: ApsSecurity = ApsSecurity.NONE
    is_broadcast: bool = False
    endpoint: int = 0  # ours; this and the following are filled in by the executor
    cluster_id: int = 0
    side: Side = Side.SERVER  # ours
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """A cluster command in answer to another."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)


def reply(name: str, /, **values: Any) -> Reply:
    return Reply(name, values)


class Later:
    """The type of `LATER`."""


LATER: Final = Later()

Answer: TypeAlias = Reply | Status | Later | None
Handler: TypeAlias = Callable[[Values, CommandContext], Answer]
ReportHandler: TypeAlias = Callable[[Values, CommandContext], None]
WriteHook: TypeAlias = Callable[[Value, CommandContext], None]
ChangeListener: TypeAlias = Callable[["ClusterInstance", Attribute], None]


@dataclass(slots=True)
class _Slot:
    """Where the value of one supported attribute is."""

    attribute: Attribute
    value: Value = None
    getter: Callable[[], Value] | None = None
    on_write: WriteHook | None = None
    is_hooked_only: bool = False  # the hook stores the value itself


class ClusterInstance:
    """Attributes and handlers of one side of a cluster. Made by `ZclCore.add_server` or `add_client`."""

    def __init__(
        self, endpoint: int, cluster: Cluster, side: Side, on_change: ChangeListener | None = None
    ) -> None:
        self.endpoint = endpoint
        self.cluster = cluster
        self.side = side
        self._declared = cluster.attributes_by_id[side]
        self._slots: dict[int, _Slot] = {}
        self._on_change = on_change
        self.handlers: dict[int, tuple[str, Handler]] = {}
        self.report_handler: ReportHandler | None = None
        for attribute in self._declared.values():
            if attribute.is_mandatory and attribute.default is not None:
                self._slots[attribute.attribute_id] = _Slot(attribute, attribute.default)

    def __repr__(self) -> str:
        return f"<{self.cluster.name} {self.side.name.lower()} on endpoint {self.endpoint}>"

    # --- for the device -------------------------------------------------------------------------------

    def set(self, name: str, value: Value) -> None:
        """Store a value; supports the attribute from now on. Raises MisuseError for one that cannot be."""
        attribute = self.cluster.attribute(name, self.side)
        attribute.type.encode(value)
        slot = self._slots.get(attribute.attribute_id)
        if slot is None:
            slot = self._slots[attribute.attribute_id] = _Slot(attribute)
        elif slot.value == value and slot.getter is None:
            return
        slot.value, slot.getter = value, None
        self._changed(attribute)

    def update(self, **values: Value) -> None:
        """Store several values by name."""
        for name, value in values.items():
            self.set(name, value)

    def bind(self, name: str, getter: Callable[[], Value], on_write: WriteHook | None = None) -> None:
        """Ask `getter` at each read; it may raise RefusedError. `touch` says that the value may have changed.

        `on_write` takes a written value, which is not stored here; without it the attribute is read-only.
        """
        attribute = self.cluster.attribute(name, self.side)
        self._slots[attribute.attribute_id] = _Slot(attribute, None, getter, on_write, True)

    def on_write(self, name: str, hook: WriteHook) -> None:
        """Call `hook` before a written value is stored; it raises RefusedError to refuse."""
        attribute = self.cluster.attribute(name, self.side)
        slot = self._slots.get(attribute.attribute_id)
        if slot is None:
            raise MisuseError(f"{self!r} has no value for {name} yet")
        slot.on_write = hook

    def touch(self, *names: str) -> None:
        """The values of bound attributes may have changed: reporting looks at them."""
        for name in names:
            self._changed(self.cluster.attribute(name, self.side))

    def unset(self, name: str) -> None:
        """The attribute is not supported any more."""
        self._slots.pop(self.cluster.attribute(name, self.side).attribute_id, None)

    def get(self, name: str) -> Value:
        """Present value. Raises MisuseError where the attribute has none."""
        slot = self._slots.get(self.cluster.attribute(name, self.side).attribute_id)
        if slot is None:
            raise MisuseError(f"{self!r} has no value for {name}")
        return slot.value if slot.getter is None else slot.getter()

    @property
    def valued(self) -> list[str]:
        """The attributes that have a value, by name."""
        rows = self.cluster.attributes_by_id[self.side]
        return [rows[attribute_id].name for attribute_id in self._slots if attribute_id in rows]

    def handle(self, name: str, handler: Handler) -> None:
        """Obey a command that the other side sends."""
        other = Side.CLIENT if self.side is Side.SERVER else Side.SERVER
        command = self.cluster.command(name, other)
        self.handlers[command.command_id] = (name, handler)

    def handle_reports(self, handler: ReportHandler) -> None:
        """Hear the other side's attribute reports, by name; unknown ids come as 'attribute_1234'."""
        self.report_handler = handler

    # --- for the executor -----------------------------------------------------------------------------

    @property
    def supported(self) -> list[Attribute]:
        """In the order of their ids."""
        return [self._slots[attribute_id].attribute for attribute_id in sorted(self._slots)]

    def attribute(self, attribute_id: int) -> Attribute | None:
        """The attribute, if it is supported here."""
        slot = self._slots.get(attribute_id)
        return None if slot is None else slot.attribute

    def read(self, attribute_id: int) -> tuple[Attribute, Value] | None:
        """None: not supported. Raises RefusedError where the device's getter does."""
        slot = self._slots.get(attribute_id)
        if slot is None:
            return None
        return slot.attribute, slot.value if slot.getter is None else slot.getter()

    def check_write(self, attribute_id: int, type_id: int, value: Value) -> Status:
        """Type, access and range, in the order of ZCL rev 7, 2.5.3.3."""
        slot = self._slots.get(attribute_id)
        if slot is None:
            return Status.UNSUPPORTED_ATTRIBUTE
        attribute = slot.attribute
        if type_id != attribute.type.type_id:
            return Status.INVALID_DATA_TYPE
        if not attribute.is_writable or (slot.is_hooked_only and slot.on_write is None):
            return Status.READ_ONLY
        if value is None and slot.on_write is not None:
            return Status.INVALID_VALUE  # "not available": a hook has nothing to act on
        return Status.SUCCESS if attribute.accepts(value) else Status.INVALID_VALUE

    def write(self, attribute_id: int, value: Value, context: CommandContext) -> Status:
        """After `check_write` said SUCCESS."""
        slot = self._slots[attribute_id]
        if slot.on_write is not None:
            try:
                slot.on_write(value, context)
            except RefusedError as error:
                return to_status(error.status)
        if not slot.is_hooked_only:
            if slot.value == value:
                return Status.SUCCESS
            slot.value = value
        self._changed(slot.attribute)
        return Status.SUCCESS

    def _changed(self, attribute: Attribute) -> None:
        if self._on_change is not None:
            self._on_change(self, attribute)
