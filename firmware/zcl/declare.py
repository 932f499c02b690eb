"""How clusters are declared: attributes as lines of a table, commands as rows, all as data.

Attributes, one line a row, `#` for comments:

    id[/stride...]  name  type  [M] [W] [=default] [<=size] [low..high] [@version]

    0000  current_summation_delivered           u48  M
    0800  generic_alarm_mask                    bm16 W =0xFFFF @1.1
    0410  tier{1..15}_block{1..16}_price        u32
    0100/2  current_tier{1..48}_summation_delivered  u48
    0110/16/1  tier{1..15}_block{1..15}_threshold  u48
    01B0  publish_price_{received|actioned|cancelled|rejected}  bm8

A name in braces makes one attribute per value (the last brace fastest), their ids `stride` apart, or
one stride per brace. M: mandatory. W: writable. `=`: default. `<=`: longest string. `@`: the Smart
Energy version that brought it (1.0 where not said).

Names are the specification's in snake_case: CurrentTier1SummationDelivered is
`current_tier1_summation_delivered`, DebtLabel#1 is `debt_label_1`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from smets1.errors import MisuseError
from smets1.firmware.zcl.fields import Payload
from smets1.firmware.zcl.status import Side
from smets1.firmware.zcl.types import BY_NAME, Value, ZclType

__all__ = ["Attribute", "Cluster", "Command", "attributes", "generated", "received"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute of one side of a cluster."""

    attribute_id: int
    name: str
    type: ZclType
    is_mandatory: bool = False
    is_writable: bool = False
    default: Value = None
    max_size: int | None = None  # longest string, in octets
    low: int | None = None  # allowed range where narrower than the type; the invalid value is outside
    high: int | None = None
    since: str = "1.0"

    def accepts(self, value: Value) -> bool:
        """Whether a decoded value is one that this attribute may be set to."""
        if isinstance(value, bytes | str):
            return self.max_size is None or len(value) <= self.max_size
        if self.low is not None and isinstance(value, int):
            return self.low <= value and (self.high is None or value <= self.high)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One cluster command. `sender` is the side that sends it."""

    command_id: int
    name: str
    sender: Side
    payload: Payload
    since: str = "1.0"
    is_mandatory: bool = False


def received(
    command_id: int, name: str, notation: str = "", *, since: str = "1.0", must: bool = False
) -> Command:
    """A command that the server receives: the client sends it."""
    return Command(
        command_id=command_id, name=name, sender=Side.CLIENT, payload=Payload(notation), since=since,
        is_mandatory=must,
    )  # fmt: skip


def generated(
    command_id: int, name: str, notation: str = "", *, since: str = "1.0", must: bool = False
) -> Command:
    """A command that the server generates: the client receives it."""
    return Command(
        command_id=command_id, name=name, sender=Side.SERVER, payload=Payload(notation), since=since,
        is_mandatory=must,
    )  # fmt: skip


# --- the table of attributes ------------------------------------------------------------------------------

_BRACE: Final = re.compile(r"\{([^}]*)\}")
_ROW: Final = re.compile(
    r"(?P<id>[0-9A-F]{4})(?P<strides>(/\d+)*)\s+(?P<name>\S+)\s+(?P<type>\w+)(?P<rest>.*)"
)


def _names(pattern: str, strides: list[int]) -> Iterator[tuple[int, str]]:
    """(distance from the first id, name) for a pattern with braces, the last brace running fastest."""
    parts = _BRACE.split(pattern)  # text, brace, text, brace, text
    choices: list[list[str]] = []
    for brace in parts[1::2]:
        first, dots, last = brace.partition("..")
        choices.append([str(n) for n in range(int(first), int(last) + 1)] if dots else brace.split("|"))
    for index, places in enumerate(itertools.product(*(range(len(choice)) for choice in choices))):
        chosen = [choice[place] for choice, place in zip(choices, places, strict=True)]
        name = "".join(itertools.chain.from_iterable(itertools.zip_longest(parts[::2], chosen, fillvalue="")))
        if len(strides) > 1:
            yield sum(stride * place for stride, place in zip(strides, places, strict=True)), name
        else:
            yield index * (strides[0] if strides else 1), name


def _options(rest: str) -> dict[str, Any]:
    """The flags behind name and type."""
    options: dict[str, Any] = {}
    for flag in rest.split():
        if flag == "M":
            options["is_mandatory"] = True
        elif flag == "W":
            options["is_writable"] = True
        elif flag.startswith("="):
            options["default"] = int(flag[1:], 0)
        elif flag.startswith("<="):
            options["max_size"] = int(flag[2:])
        elif flag.startswith("@"):
            options["since"] = flag[1:]
        elif ".." in flag:
            low, _, high = flag.partition("..")
            options["low"], options["high"] = int(low, 0), int(high, 0)
        else:
            raise MisuseError(f"cannot read {flag!r} in an attribute table")
    return options


def attributes(table: str) -> tuple[Attribute, ...]:
    """Read a table of attributes. Raises MisuseError for one written wrongly."""
    rows: list[Attribute] = []
    for line in table.splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _ROW.fullmatch(text)
        if match is None or match["type"] not in BY_NAME:
            raise MisuseError(f"cannot read the attribute table row {text!r}")
        zcl_type, options = BY_NAME[match["type"]], _options(match["rest"])
        strides = [int(stride) for stride in match["strides"].split("/")[1:]]
        for distance, name in _names(match["name"], strides):
            attribute_id = int(match["id"], 16) + distance
            rows.append(Attribute(attribute_id=attribute_id, name=name, type=zcl_type, **options))
    return tuple(rows)


# --- clusters -------------------------------------------------------------------------------------------

GLOBAL_ATTRIBUTES: Final = attributes("""
    FFFD  cluster_revision            u16
    FFFE  attribute_reporting_status  e8   @1.2
""")
"""Present on both sides of every cluster. Source: ZCL rev 7, 2.3.5."""


def _by_id(rows: Iterable[Attribute]) -> dict[int, Attribute]:
    return {row.attribute_id: row for row in itertools.chain(rows, GLOBAL_ATTRIBUTES)}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster: both sides' attributes, and the commands in both directions."""

    cluster_id: int
    name: str
    server: tuple[Attribute, ...] = field(default=(), repr=False)
    client: tuple[Attribute, ...] = field(default=(), repr=False)
    commands: tuple[Command, ...] = field(default=(), repr=False)
    manufacturer_code: int | None = None  # set: every frame of the cluster carries it

    @cached_property
    def attributes_by_id(self) -> Mapping[Side, Mapping[int, Attribute]]:
        return {Side.SERVER: _by_id(self.server), Side.CLIENT: _by_id(self.client)}

    @cached_property
    def attributes_by_name(self) -> Mapping[Side, Mapping[str, Attribute]]:
        return {
            side: {row.name: row for row in rows.values()} for side, rows in self.attributes_by_id.items()
        }

    @cached_property
    def commands_by_id(self) -> Mapping[tuple[Side, int], Command]:
        """Keyed by (sender, command id)."""
        return {(command.sender, command.command_id): command for command in self.commands}

    @cached_property
    def commands_by_name(self) -> Mapping[tuple[Side, str], Command]:
        """Keyed by (sender, name)."""
        return {(command.sender, command.name): command for command in self.commands}

    def attribute(self, name: str, side: Side = Side.SERVER) -> Attribute:
        """Raises MisuseError for a name that is not declared."""
        try:
            return self.attributes_by_name[side][name]
        except KeyError:
            raise MisuseError(f"{self.name} has no {side.name.lower()} attribute {name!r}") from None

    def command(self, name: str, sender: Side | None = None) -> Command:
        """The command of that name, whichever side sends it unless said. Raises MisuseError."""
        for side in Side if sender is None else (sender,):
            if (command := self.commands_by_name.get((side, name))) is not None:
                return command
        raise MisuseError(f"{self.name} has no command {name!r}")
