"""The parameter registry on the HAN: read_parameter, write_parameter, list_parameters and more (0xFC03).

Whoever comes through the hub reads and writes as the operator of the meters does (`Access.SMSO`);
what that may be is the registry's to say. In a meter write_parameter is a Critical Instruction, which the
meter's guard sees to. Anybody else on the HAN is a consumer, who may read what is shown anyway.
`configure` writes several of those that need no authorisation, all or none.
Source: `firmware.zcl.clusters.smets1`, which is ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import cbor2

from smets1.devices.meter import MeterCore
from smets1.devices.parameters import Access, Parameter, ParameterBook, Value, parameters_of
from smets1.errors import DecodeError, RefusedError
from smets1.firmware.cbor import load_strict
from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import Nvm
from smets1.firmware.zcl.clusters.smets1 import ConfigureOptions
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, ClusterInstance, CommandContext, Via, reply
from smets1.firmware.zcl.status import Status
from smets1.hardware.radio import COORDINATOR

__all__ = ["ParameterService"]

_log = logging.getLogger(__name__)

_KEY: Final = "parameters"
_NAMES_A_FRAME: Final = 3  # a fragment-free frame holds no more of the longest names


class ParameterService:
    """One device's book, kept in its NVM, served on its device_information cluster."""

    def __init__(
        self,
        information: ClusterInstance,
        nvm: Nvm,
        civil: CivilClock,
        *,
        meter: MeterCore | None = None,
        registry: Iterable[Parameter] | None = None,
        on_change: Callable[[], None] = lambda: None,
        presets: Mapping[str, Value] | None = None,
    ) -> None:
        """`meter` None: a display, unless `registry` says what it is. `presets`: as of the book.

        `on_change`: the meter has been changed.
        """
        self.book = ParameterBook(
            parameters_of(meter) if registry is None else registry, meter, presets=presets
        )
        self._nvm = nvm
        self._civil = civil
        self._on_change = on_change
        self._followers: list[tuple[str, Callable[[Any], None]]] = []
        stored = nvm.get(_KEY)
        if stored is not None:
            try:
                self.book.decode_into(stored)
            except DecodeError as error:
                _log.error("parameters in NVM are damaged, defaults are in force: %s", error)
        self.reset_voltage_counters: Callable[[], None] | None = None
        """What the option of `configure` does, where the device measures voltage."""
        information.handle("read_parameter", self._read)
        information.handle("read_parameters", self._read_several)
        information.handle("configure", self._configure)
        information.handle("write_parameter", self._write)
        information.handle("list_parameters", self._list)

    def follow(self, name: str, act: Callable[[Any], None]) -> None:
        """`act` is called with the value of a parameter now, and whenever something has been written."""
        self._followers.append((name, act))
        act(self.book.value(name))

    def set(self, name: str, value: object) -> None:
        """As the factory or the old operator does, on the bench; committed. Raises RefusedError."""
        self.book.write(name, value, writer=Access.SMSO, utc_us=self._civil.utc_us())
        self._keep()

    def _keep(self) -> None:
        for name, act in self._followers:
            act(self.book.value(name))
        self._nvm.put(_KEY, self.book.encode())
        self._on_change()
        self._nvm.commit()

    def _read(self, fields: Values, context: CommandContext) -> Answer:
        name = str(fields["name"])
        try:
            value = self.book.read(name, reader=_access(context))
        except RefusedError as error:
            return reply("parameter_value", name=name, status=error.status, value=b"")
        return reply("parameter_value", name=name, status=int(Status.SUCCESS), value=cbor2.dumps(value))

    def _read_several(self, fields: Values, context: CommandContext) -> Answer:
        """What the asker may not see, or the device does not have, is left out."""
        found: dict[str, Value] = {}
        for name in fields["names"]:
            with suppress(RefusedError):
                found[name] = self.book.read(name, reader=_access(context))
        return reply("parameter_values", values=cbor2.dumps(found))

    def _configure(self, fields: Values, context: CommandContext) -> Answer:
        values = load_strict(bytes(fields["values"]))
        if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
            raise RefusedError(Status.INVALID_FIELD, "configure wants a map by name")
        asker, resets = _access(context), fields["options"] & ConfigureOptions.RESETS_VOLTAGE_COUNTERS
        for name in values:
            if asker is not Access.CONSUMER and self.book.parameter(name).is_critical:
                raise RefusedError(Status.NOT_AUTHORIZED, f"{name} is written only with a SUA")
        if resets and self.reset_voltage_counters is None:
            raise RefusedError(Status.INVALID_FIELD, "no voltage is measured here")
        self.book.write_all(values, writer=asker, utc_us=self._civil.utc_us())
        if resets and self.reset_voltage_counters is not None:
            self.reset_voltage_counters()
        self._keep()
        return Status.SUCCESS

    def _write(self, fields: Values, context: CommandContext) -> Answer:
        name = str(fields["name"])
        try:
            value = load_strict(bytes(fields["value"]))
            self.book.write(name, value, writer=_access(context), utc_us=self._civil.utc_us())
        except DecodeError:
            return reply("write_parameter_response", name=name, status=int(Status.INVALID_VALUE))
        except RefusedError as error:
            return reply("write_parameter_response", name=name, status=error.status)
        self._keep()
        return reply("write_parameter_response", name=name, status=int(Status.SUCCESS))

    def _list(self, fields: Values, context: CommandContext) -> Answer:
        first, names = fields["first_index"], self.book.names
        part = names[first : first + _NAMES_A_FRAME]
        return reply("parameter_names", total=len(names), first_index=first, count=len(part), names=part)


def _access(context: CommandContext) -> Access:
    is_hub = context.via in (Via.WIRE, Via.WAN, Via.SUA) or context.source == COORDINATOR
    return Access.SMSO if is_hub else Access.CONSUMER
