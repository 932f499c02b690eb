"""Answers for who asks for a tariff, from the frames that published it: a meter's own, or its mirror's copy.

    Price      GetTariffInformation, GetPriceMatrix, GetBlockThresholds
    Calendar   GetCalendar, GetDayProfiles, GetWeekProfiles, GetSeasons, GetSpecialDays

What is asked for by an id that no longer holds is not found. Days and weeks come one in an answer: the first
from the number that was asked for.

Source: SE 1.2 07-5356-19, D.4.2.3 (Price), D.9.2.3 (Calendar).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, CommandContext, Handler, reply
from smets1.firmware.zcl.status import Status

__all__ = [
    "BLOCK_THRESHOLDS",
    "PRICE_MATRIX",
    "TARIFF_INFORMATION",
    "TARIFF_PARTS",
    "PartsOf",
    "TariffServer",
]

TARIFF_INFORMATION: Final = "publish_tariff_information"
PRICE_MATRIX: Final = "publish_price_matrix"
BLOCK_THRESHOLDS: Final = "publish_block_thresholds"
_NUMBERED: Final = (
    ("publish_day_profile", "day_id", "start_day_id"),
    ("publish_week_profile", "week_id", "start_week_id"),
)
TARIFF_PARTS: Final = (
    ("price", PRICE_MATRIX),
    ("price", BLOCK_THRESHOLDS),
    ("calendar", "publish_calendar"),
    *(("calendar", name) for name, _, _ in _NUMBERED),
    ("calendar", "publish_seasons"),
    ("calendar", "publish_special_days"),
    ("price", TARIFF_INFORMATION),
)
"""(cluster, command) of a tariff. Every tariff has a matrix and its information: the first and the last."""

PartsOf = Callable[[str], list[Values]]
"""The fields of each published frame that is this command, in the order of publication."""


class TariffServer:
    """Binds the questions. `present`: what stands published now, each whole publication by itself."""

    def __init__(self, core: ZclCore, endpoint: int, present: Callable[[], Sequence[PartsOf]]) -> None:
        self._present = present
        price, calendar = core.obtain_server(endpoint, "price"), core.obtain_server(endpoint, "calendar")
        price.handle("get_tariff_information", self._one(TARIFF_INFORMATION))
        price.handle("get_price_matrix", self._one(PRICE_MATRIX, "issuer_tariff_id"))
        price.handle("get_block_thresholds", self._one(BLOCK_THRESHOLDS, "issuer_tariff_id"))
        calendar.handle("get_calendar", self._one("publish_calendar", "calendar_type"))
        for name in ("publish_seasons", "publish_special_days"):
            calendar.handle(name.replace("publish", "get"), self._one(name, "issuer_calendar_id"))
        for name, number, first in _NUMBERED:
            command = name.replace("publish", "get") + "s"
            calendar.handle(command, self._next_of(name, number, first))

    def _one(self, name: str, key: str = "") -> Handler:
        """The part whose `key` is as asked; no key: the only one."""

        def answer(fields: Values, context: CommandContext) -> Answer:
            for parts_of in self._present():
                for values in parts_of(name):
                    if not key or values[key] == fields[key]:
                        return reply(name, **values)
            return Status.NOT_FOUND

        return answer

    def _next_of(self, name: str, number: str, first: str) -> Handler:
        def answer(fields: Values, context: CommandContext) -> Answer:
            for parts_of in self._present():
                found = [
                    values
                    for values in parts_of(name)
                    if values["issuer_calendar_id"] == fields["issuer_calendar_id"]
                    and values[number] >= fields[first]
                ]
                if found:
                    return reply(name, **min(found, key=lambda values: int(values[number])))
            return Status.NOT_FOUND

        return answer
