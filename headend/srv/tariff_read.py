"""4.11.1 Read Tariff: the meter gives back the frames that published its tariff.

A gas meter's are those that its proxy has. All parts are asked for by the id that the first names, so they
are of one tariff: where it changes between two of them the meter says NOT_FOUND.

Source: MMC-5.4.xsd, ReadTariffPrimaryElementRsp; SE 1.2 07-5356-19, D.4.2.3.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from smets1.firmware.zcl.clusters.price import PRICE, signed_amount
from smets1.headend.duis.request import XmlNode
from smets1.headend.duis.response import node
from smets1.headend.srv.calendars import ELECTRICITY_TARIFF, GAS_TARIFF, ReadCalendar, read_calendar
from smets1.headend.srv.content import fuel_node
from smets1.headend.srv.frames import Value
from smets1.headend.srv.meter import METERS_AND_PROXY, Place, command, place_to_read
from smets1.headend.srv.steps import Answer, Plan, PlanRun, Step, Task, succeed

__all__ = ["PLANS"]

_CURRENCIES: Final = {826: ("GBP", "Millipence"), 978: ("ECB", "Millicent")}
_BLOCK_TIER: Final = 0x70
_MP_DIGITS: Final = 5
_SHORT_MAX: Final = 32767

_Values = dict[str, Value]


def _read_tariff(task: Task) -> PlanRun:
    place, cluster = place_to_read(task), PRICE.cluster_id
    information, _ = yield from command(
        place,
        cluster,
        "get_tariff_information",
        "publish_tariff_information",
        earliest_start_time=0,
        min_issuer_event_id=0,
        number_of_commands=1,
        tariff_type=0,
    )
    matrix = yield from _part(place, "price_matrix", information)
    thresholds = yield from _part(place, "block_thresholds", information)
    calendar = yield from read_calendar(GAS_TARIFF if task.is_gas else ELECTRICITY_TARIFF, place)
    price, answer = yield from command(
        place, cluster, "get_current_price", "publish_price", command_options=0
    )
    element = _gas if task.is_gas else _electricity
    content = element(
        information, matrix["prices"], thresholds["thresholds"], calendar, signed_amount(price["price"])
    )
    return succeed("ReadTariffPrimaryElementRsp", content, answer=answer)


def _part(place: Place, what: str, information: _Values) -> Generator[Step, Answer, _Values]:
    values, _ = yield from command(
        place,
        PRICE.cluster_id,
        f"get_{what}",
        f"publish_{what}",
        issuer_tariff_id=information["issuer_tariff_id"],
    )
    return values


def _electricity(
    information: _Values,
    prices: list[_Values],
    thresholds: list[_Values],
    calendar: ReadCalendar,
    price_mp: int,
) -> XmlNode | None:
    trailing = information["price_trailing_digit"]
    standing, standing_digits = _fit([signed_amount(information["standing_charge"])], trailing & 0xF)
    amounts, digits = _fit([signed_amount(row["price"]) for row in prices], trailing >> 4)
    tiers = [row["tier_block_id"] for row in prices]
    blocks: dict[int, list[XmlNode | None]] = {}
    tous: list[XmlNode | None] = []
    for tier, amount in zip(tiers, amounts, strict=True):
        if tier < _BLOCK_TIER:
            tous.append(node("TariffTOUPrice", amount, index=tier))
        else:
            block = node("BlockPrice", amount, index=(tier & 0xF) + 1)
            blocks.setdefault((tier >> 4) - 7, []).append(block)
    steps: dict[int, list[XmlNode | None]] = {}
    for row in thresholds:
        register, step = divmod(row["tier_number_of_block_thresholds"], 16)
        steps.setdefault(register, []).append(node("BlockThreshold", row["block_threshold"], index=step))
    label, name = _CURRENCIES.get(information["currency"], (None, None))
    present = price_mp * 10**digits // 10**_MP_DIGITS
    return node(
        "Electricity",
        [
            node("PrimaryActiveTariffPrice", present if present >= 0 else None),
            node("CurrencyUnitsLabel", label),
            node("CurrencyUnitsName", name),
            node("StandingCharge", standing[0]),
            node("StandingChargeScale", -standing_digits),
            node("PriceScale", -digits),
            _indexed("TariffBlockPriceMatrix", "TariffBlockPrices", blocks),
            node("TariffTOUPriceMatrix", tous) if tous else None,
            node("TariffSwitchingTable", list(calendar.table)),
            node("TariffSwitchingTableSpecialDays", calendar.special_days),
            _indexed("TariffThresholdMatrix", "ElecTariffThresholds", steps),
        ],
    )


def _fit(amounts: list[int], digits: int) -> tuple[list[int], int]:
    """MMC has 16 bits for an electricity price: a tariff that did not come by DUIS may lose digits."""
    while digits and any(not -_SHORT_MAX <= amount <= _SHORT_MAX for amount in amounts):
        amounts, digits = [amount // 10 for amount in amounts], digits - 1
    return amounts, digits


def _indexed(name: str, child: str, rows: dict[int, list[XmlNode | None]]) -> XmlNode | None:
    children = [node(child, content, index=index) for index, content in rows.items()]
    return node(name, children) if children else None


def _gas(
    information: _Values,
    prices: list[_Values],
    thresholds: list[_Values],
    calendar: ReadCalendar,
    price_mp: int,
) -> XmlNode | None:
    digits = information["price_trailing_digit"] >> 4
    tous = [
        node("TariffTOUPrice", row["price"], index=row["tier_block_id"])
        for row in prices
        if row["tier_block_id"] < _BLOCK_TIER
    ]
    blocks = [
        node("BlockPrice", row["price"], index=(row["tier_block_id"] & 0xF) + 1)
        for row in prices
        if row["tier_block_id"] >= _BLOCK_TIER
    ]
    steps = [
        node("BlockThreshold", row["block_threshold"], index=row["tier_number_of_block_thresholds"] & 0xF)
        for row in thresholds
    ]
    label, _ = _CURRENCIES.get(information["currency"], (None, None))
    return node(
        "Gas",
        [
            node("PrimaryActiveTariffPrice", price_mp if price_mp >= 0 else None),
            node("PrimaryActiveTariffPriceScale", -digits),
            node("CurrencyUnitsLabel", label),
            node("StandingCharge", information["standing_charge"]),
            node("TariffSwitchingTable", list(calendar.table)),
            node("TariffSwitchingTableSpecialDays", calendar.special_days),
            node("TariffThresholds", steps),
            node("TOUTariff", tous) if tous else None,
            node("BlockTariff", blocks) if blocks else None,
        ],
    )


PLANS: Final = (
    Plan(
        srv="4.11.1",
        body_name="ReadTariffPrimaryElement",
        response_name="ReadTariffPrimaryElementRsp",
        devices=METERS_AND_PROXY,
        run=_read_tariff,
        failure_content=fuel_node,
    ),
)
