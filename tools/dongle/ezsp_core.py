"""The trunk of the simulated EZSP stick: line, power, the table of answers, callbacks.

A value machine: octets of the line and frames of the antenna in; octets, and what the antenna is to do, out.
A command is answered in the same call, what it brings about comes as callbacks afterwards, as on a stick.
Source: Silicon Labs UG100, 3 (protocol format), 4 and following; UG101 (ASH).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.firmware.nvm import MemoryNvm, Nvm
from smets1.firmware.zigbee.stack_events import HanConfig
from smets1.hardware.ezsp import AshData, AshLink, AshReset, AshRole, EzspFrame, commands, commands_by_id
from smets1.hardware.ezsp.ash import ResetCode
from smets1.hardware.ezsp.commands import VERSIONS, Command
from smets1.hardware.ezsp.schema import Values
from smets1.hardware.ezsp.statuses import EzspError, Status
from smets1.hardware.radio import NodeRole, SimpleDescriptor, TransmitOutcome
from smets1.tools.dongle.ezsp_stack import NcpStack

__all__ = ["STACK_VERSIONS", "Answer", "Answers", "EzspCore", "PowerCycle"]

STACK_VERSIONS: Final = {13: 0x7430, 14: 0x8000}
_STACK_TYPE: Final = 2
_ROLE: Final = "stick/role"

Answer = Values | bytes | None
"""Values of the answer's fields; octets where a version's answer is odd; None: no answer at all."""
Answers = Mapping[str, Callable[..., Answer]]


class PowerCycle:
    """The chip starts anew: the shell gives it a fresh radio of `eui64`."""


class EzspCore:
    """Subclasses fill `_answers` and `_on_event`."""

    nvm: Nvm
    stack: NcpStack

    def __init__(self, eui64: Eui64, nvm: Nvm, rng: random.Random, *, version: int = VERSIONS[0]) -> None:
        self.hardware_eui64 = eui64
        self.version = version
        self.nvm = nvm
        self.unknown_count = 0
        self._rng = rng
        self._now_us = 0
        self._rssi_dbm = -100
        self._orders: list[PowerCycle] = []
        self._ash = AshLink(AshRole.STICK)
        self._boot(ResetCode.POWER_ON)

    # --- power ----------------------------------------------------------------------------------------

    @property
    def eui64(self) -> Eui64:
        """That of the chip, or another that a host has written over it."""
        return self.hardware_eui64

    def _boot(self, code: ResetCode) -> None:
        self._is_agreed = False
        self._sequence = 0
        self._callbacks: list[bytes] = []
        self._handle = 0
        self._procedures: dict[int, Callable[[Any], None]] = {}
        self.endpoints: dict[int, SimpleDescriptor] = {}
        self._forget()
        self._make_stack(self._stored_role() or NodeRole.ROUTER, HanConfig())
        self._ash.restart(code)

    def _forget(self) -> None:
        """What does not survive a reset, of the parts above."""

    def power_cycle(self, code: ResetCode = ResetCode.POWER_ON) -> None:
        """Unplugged and plugged in, or a reset of its own: only what was committed is left."""
        if isinstance(self.nvm, MemoryNvm):  # one on a disk keeps what was put, as after a late commit
            self.nvm = self.nvm.after_power_cut()
        self._boot(code)

    def _make_stack(self, role: NodeRole, config: HanConfig) -> None:
        self.stack = NcpStack(eui64=self.eui64, role=role, config=config, nvm=self.nvm, rng=self._rng)
        self.stack.zdo.endpoints = self.endpoints
        self._orders.append(PowerCycle())
        self._apply_settings()
        if role is NodeRole.SLEEPY_END_DEVICE:
            self.stack.mac.update_receiver()

    def _apply_settings(self) -> None:
        """Tell a new stack what the host has set."""

    def _stored_role(self) -> NodeRole | None:
        stored = self.nvm.get(_ROLE)
        return None if stored is None else NodeRole(stored[0])

    def _store_role(self, role: NodeRole | None) -> None:
        if role is None:
            self.nvm.delete(_ROLE)
        else:
            self.nvm.put(_ROLE, bytes((role,)))
        self.nvm.commit()

    # --- the verbs ------------------------------------------------------------------------------------

    def receive(self, octets: bytes, *, now_us: int) -> None:
        """Octets off the line."""
        self._now_us = now_us
        self._ash.receive(octets, now_us=now_us)
        for event in self._ash.take_events():
            if isinstance(event, AshData):
                self._on_frame_of_host(event.frame)
            elif isinstance(event, AshReset):
                self.power_cycle(ResetCode.SOFTWARE)
        self._settle()

    def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int, *, now_us: int) -> None:
        self._now_us, self._rssi_dbm = now_us, max(-127, min(rssi_dbm, 127))
        self.stack.receive(psdu, lqi, now_us=now_us)
        self._settle()

    def on_transmitted(self, outcome: TransmitOutcome, *, now_us: int) -> None:
        self._now_us = now_us
        self.stack.on_transmitted(outcome, now_us=now_us)
        self._settle()

    def on_energy(self, channel: int, rssi_dbm: int, *, now_us: int) -> None:
        self._now_us = now_us
        self.stack.on_energy(channel, rssi_dbm, now_us=now_us)
        self._settle()

    def on_timer(self, *, now_us: int) -> None:
        self._now_us = now_us
        self._ash.on_timer(now_us=now_us)
        self._ash.take_events()
        self.stack.on_timer(now_us=now_us)
        self._settle()

    def next_timer_us(self) -> int | None:
        due = [when for when in (self._ash.next_timer_us(), self.stack.next_timer_us()) if when is not None]
        return min(due, default=None)

    def take_octets(self) -> bytes:
        return self._ash.take_octets()

    def take_orders(self) -> list[PowerCycle]:
        orders = self._orders
        self._orders = []
        return orders

    def _settle(self) -> None:
        while events := self.stack.take_events():
            for event in events:
                self._on_event(event)
        callbacks, self._callbacks = self._callbacks, []
        for frame in callbacks:
            self._ash.submit(frame, now_us=self._now_us)

    def _on_event(self, event: object) -> None:
        """News of the stack."""

    # --- EZSP -----------------------------------------------------------------------------------------

    def _on_frame_of_host(self, octets: bytes) -> None:
        """Foreign octets. What cannot be read is answered with invalidCommand where it has a sequence."""
        try:
            # before a version is agreed on, and at times after it, hosts ask for it in the old format
            is_legacy = len(octets) == 4 and octets[1:3] == b"\0\0"
            frame = EzspFrame.decode(octets, is_legacy=is_legacy)
        except DecodeError:
            self.unknown_count += 1
            return
        self._sequence = frame.sequence
        command = commands_by_id(self.version).get(frame.frame_id)
        if command is None or command.is_callback or command.name not in self._answers:
            self._refuse(frame, EzspError.INVALID_FRAME_ID)
        elif command.name != "version" and not self._is_agreed:
            self._refuse(frame, EzspError.VERSION_NOT_SET)
        else:
            self._answer(frame, command)

    def _answer(self, frame: EzspFrame, command: Command) -> None:
        try:
            values, _ = command.request.decode(frame.parameters)
        except DecodeError:
            self._refuse(frame, EzspError.TRUNCATED)
            return
        answer = self._answers[command.name](self, **values)
        if answer is not None:
            parameters = answer if isinstance(answer, bytes) else command.answer.encode(answer)
            self._respond(frame, command.frame_id, parameters)

    def _refuse(self, frame: EzspFrame, error: EzspError) -> None:
        self.unknown_count += 1
        refusal = commands(self.version)["invalidCommand"]
        self._respond(frame, refusal.frame_id, refusal.answer.encode({"status": error}))

    def _respond(self, frame: EzspFrame, frame_id: int, parameters: bytes) -> None:
        answer = EzspFrame(
            sequence=frame.sequence,
            frame_id=frame_id,
            parameters=parameters,
            is_response=True,
            is_legacy=frame.is_legacy,
        )
        self._ash.submit(answer.encode(), now_us=self._now_us)

    def _call_back(self, name: str, **values: Any) -> None:
        """Told to the host as soon as the present command is answered."""
        if not self._is_agreed:
            return
        command = commands(self.version)[name]
        try:
            parameters = command.answer.encode(values)
        except struct.error:
            self.unknown_count += 1  # does not fit: a stick would drop it as well
            return
        frame = EzspFrame(
            sequence=self._sequence,
            frame_id=command.frame_id,
            parameters=parameters,
            is_response=True,
            is_callback=True,
        )
        self._callbacks.append(frame.encode())

    def _tell_status(self, status: Status) -> None:
        self._call_back("stackStatusHandler", status=status)

    def _new_handle(self, done: Callable[[Any], None] | None = None) -> int:
        """For a procedure of the stack; `done` is handed the event that ends it."""
        self._handle += 1
        if done is not None:
            self._procedures[self._handle] = done
        return self._handle

    def _version(self, desired_version: int) -> Answer:
        self._is_agreed = desired_version == self.version
        return {
            "version": self.version,
            "stack_type": _STACK_TYPE,
            "stack_version": STACK_VERSIONS[self.version],
        }

    _answers: ClassVar[Answers] = {"version": _version}
