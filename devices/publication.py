"""What a supplier has published to a meter, kept command by command, and given back when it is asked for.

A tariff comes as a dozen frames of the Price and Calendar clusters. Each is kept as its payload, so that a
read returns what was written to the last field, what no core reckons with (names of seasons) too. The core's
own values are made from it (`published_tariff.py`).

A set of frames gathers on a shelf of its own until its last frame makes it count; a shelf is in NVM before
its frame is acknowledged, and another set begins it anew.

Source: SE 1.2 07-5356-19, D.4.2.4 (Price), D.7.2.3 (Prepayment), D.9.2.3 (Calendar); that a last frame
activates is an **assumption**.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from smets1.devices.state import StateReader, pack_state
from smets1.errors import DecodeError, MisuseError
from smets1.firmware.zcl.clusters.calendar import CALENDAR
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.price import PRICE
from smets1.firmware.zcl.clusters.smets1 import DEVICE_INFORMATION
from smets1.firmware.zcl.declare import Command
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.status import Side

__all__ = ["Publication", "Shelf", "Shelves", "command_of"]

_MOST_PARTS: Final = 64
_CLUSTERS: Final = (
    (PRICE, Side.SERVER),
    (CALENDAR, Side.SERVER),
    (PREPAYMENT, Side.CLIENT),
    (DEVICE_INFORMATION, Side.CLIENT),
)


@unique
class Shelf(Enum):
    """Where a publication stands: gathering, or in force."""

    NEW_TARIFF = "new tariff"
    TARIFF = "tariff"
    NEW_PREPAYMENT = "new prepayment"
    CALENDAR = "calendar"  # of non-disablement
    NEW_DEBTS = "new debts"
    BILLING = "billing"


def command_of(part: str) -> Command:
    """'publish_day_profile/3' -> the declaration of its command. Raises MisuseError."""
    name = part.partition("/")[0]
    for cluster, sender in _CLUSTERS:
        if (sender, name) in cluster.commands_by_name:
            return cluster.command(name, sender)
    raise MisuseError(f"{part!r} is no published command")


@dataclass(frozen=True, slots=True)
class Publication:
    """Parts by name, each the payload of its command. Immutable: `put` gives a new one."""

    parts: tuple[tuple[str, bytes], ...] = ()

    def put(self, part: str, values: Mapping[str, object]) -> Publication:
        octets = command_of(part).payload.encode(values)
        return Publication((*(row for row in self.parts if row[0] != part), (part, octets)))

    def values(self, part: str) -> Values | None:
        """None where that part was not published."""
        octets = dict(self.parts).get(part)
        return None if octets is None else command_of(part).payload.decode(octets)

    def all_values(self, command: str) -> list[Values]:
        """Of each part that is this command, in the order of publication."""
        return [
            command_of(part).payload.decode(octets) for part, octets in self.parts if is_of(part, command)
        ]

    def over(self, older: Publication) -> Publication:
        """This one's parts, and the older one's of commands that this one has none of."""
        commands = {part.partition("/")[0] for part, _ in self.parts}
        kept = tuple(row for row in older.parts if row[0].partition("/")[0] not in commands)
        return Publication((*kept, *self.parts))

    def encode(self) -> bytes:
        return pack_state(
            "publication",
            1,
            {"parts": [part for part, _ in self.parts], "octets": [octets for _, octets in self.parts]},
        )

    @classmethod
    def decode(cls, octets: bytes) -> Publication:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="publication", versions=(1,))
        names, payloads = reader.items("parts"), reader.items("octets")
        if len(names) != len(payloads) or len(names) > _MOST_PARTS:
            raise reader.bad("parts", "do not fit")
        rows = []
        for name, payload in zip(names, payloads, strict=True):
            if not isinstance(name, str) or not isinstance(payload, bytes):
                raise reader.bad("parts", "have a wrong type")
            try:
                command_of(name).payload.decode(payload)
            except (MisuseError, DecodeError) as error:
                raise reader.bad("parts", str(error)) from None
            rows.append((name, payload))
        return cls(tuple(rows))


def is_of(part: str, command: str) -> bool:
    return part.partition("/")[0] == command


class Shelves:
    """All publications of one meter, and their record in NVM."""

    def __init__(self) -> None:
        self._publications: dict[Shelf, Publication] = {}
        self._packed: bytes | None = None

    def get(self, shelf: Shelf) -> Publication | None:
        return self._publications.get(shelf)

    def put(self, shelf: Shelf, publication: Publication) -> None:
        self._publications[shelf], self._packed = publication, None

    def clear(self, shelf: Shelf) -> None:
        if self._publications.pop(shelf, None) is not None:
            self._packed = None

    def encode(self) -> bytes:
        if self._packed is None:
            filled = [shelf for shelf in Shelf if shelf in self._publications]
            self._packed = pack_state(
                "shelves",
                1,
                {
                    "names": [shelf.value for shelf in filled],
                    "publications": [self._publications[shelf].encode() for shelf in filled],
                },
            )
        return self._packed

    @classmethod
    def decode(cls, octets: bytes) -> Shelves:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="shelves", versions=(1,))
        names, publications = reader.items("names"), reader.items("publications")
        shelves = cls()
        known = {shelf.value: shelf for shelf in Shelf}
        for name, publication in zip(names, publications, strict=False):
            if not isinstance(publication, bytes) or not isinstance(name, str) or name not in known:
                raise reader.bad("names", "are not shelves")
            shelves.put(known[name], Publication.decode(publication))
        return shelves
