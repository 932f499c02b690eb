"""1.1.1 Update Import Tariff and 1.2.1 Update Price: the frames that publish a tariff to a meter.

Each frame is a Critical Instruction of its own; PublishTariffInformation, the last, puts the tariff in
force in the meter, now or at its ExecutionDateTime. See `devices/price_clusters.py` for the meter's side.

An electricity price is value x 10^PriceScale pounds a kWh, a gas price 10^-5 pounds; thresholds are Wh
(**assumption**: DUIS does not give the units). The information that a price update does not carry stays.

Source: DUIS-5.4.xsd, TariffPrimaryElement, UpdatePricePrimaryElement; SE 1.2 07-5356-19, D.4.2.4.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final

from smets1.firmware.zcl.clusters.calendar import CALENDAR
from smets1.firmware.zcl.clusters.price import PRICE
from smets1.firmware.zcl.status import Side
from smets1.headend.duis.request import XmlNode
from smets1.headend.srv.calendars import (
    ELECTRICITY_TARIFF,
    GAS_TARIFF,
    Published,
    calendar_frames,
)
from smets1.headend.srv.content import index_of, number, require, required
from smets1.headend.srv.dated import WITHDRAW_S, set_id, start_s
from smets1.headend.srv.frames import Value
from smets1.headend.srv.meter import METERS, Place, command, place_to_command
from smets1.headend.srv.steps import Answer, Plan, PlanRun, Step, Task, succeed

__all__ = ["PLANS", "publish"]

_CURRENCIES: Final = {"GBP": 826, "ECB": 978}
_SAME_CURRENCY: Final = 0xFFFF
_SAME_THRESHOLDS: Final = 0xFF
_MOST_THRESHOLDS: Final = 3  # of a register; electricity has as many blocks as prices
_GAS_DIGITS: Final = 5
_MOST_DIGITS: Final = 15
_LARGEST: Final = 2**31 - 1
_WAITING_TARIFF: Final = 0xFFFFFFFF
_WAITING_PRICES: Final = 0xFFFFFFFE
_BLOCK_TIER: Final = 0x70


def publish(
    place: Place, cluster_id: int, frame: Published, *, is_last: bool = False
) -> Generator[Step, Answer, Answer]:
    """One Critical Instruction; those before the last may be asked again, since they only gather."""
    name, values = frame
    _, answer = yield from command(
        place,
        cluster_id,
        name,
        None,
        is_critical=True,
        is_repeatable=not is_last,
        sender=Side.SERVER,
        **values,
    )
    return answer


def _update_tariff(task: Task) -> PlanRun:
    name = "GasTariffElements" if task.is_gas else "ElecTariffElements"
    elements = required(task.body.find(name), "the tariff is that of the other fuel")
    place, start = place_to_command(task), start_s(task)
    if start == WITHDRAW_S:
        return (yield from _withdraw(task, place, _WAITING_TARIFF, "UpdateImportTariffPrimaryElementRsp"))
    ids = _ids(task)
    calendar_ids = {**ids, "issuer_calendar_id": set_id(task)}
    prices = _prices(task)
    form = GAS_TARIFF if task.is_gas else ELECTRICITY_TARIFF
    table = elements.find("SwitchingTable") or elements
    calendar = list(calendar_frames(form, table, elements.find("SpecialDays"), calendar_ids))
    matrix, thresholds = _matrix(task, prices), _thresholds(task, elements)
    information = _information(task, prices, start, currency=elements.value("CurrencyUnits"))
    for frame in calendar:
        yield from publish(place, CALENDAR.cluster_id, frame)
    for frame in (matrix, thresholds):
        yield from publish(place, PRICE.cluster_id, frame)
    answer = yield from publish(place, PRICE.cluster_id, information, is_last=True)
    return succeed("UpdateImportTariffPrimaryElementRsp", answer=answer)


def _update_price(task: Task) -> PlanRun:
    place, start = place_to_command(task), start_s(task)
    if start == WITHDRAW_S:
        return (yield from _withdraw(task, place, _WAITING_PRICES, "UpdatePricePrimaryElementRsp"))
    prices = _prices(task)
    matrix, information = _matrix(task, prices), _information(task, prices, start, currency=None)
    yield from publish(place, PRICE.cluster_id, matrix)
    answer = yield from publish(place, PRICE.cluster_id, information, is_last=True)
    return succeed("UpdatePricePrimaryElementRsp", answer=answer)


def _withdraw(task: Task, place: Place, waiting: int, response_name: str) -> PlanRun:
    values = {"provider_id": task.provider_id, "issuer_tariff_id": waiting, "tariff_type": 0}
    answer = yield from publish(place, PRICE.cluster_id, ("cancel_tariff", values), is_last=True)
    return succeed(response_name, answer=answer)


def _ids(task: Task) -> dict[str, Value]:
    return {"provider_id": task.provider_id, "issuer_event_id": task.issuer_event_id}


def _part_ids(task: Task) -> dict[str, Value]:
    return {
        **_ids(task),
        "start_time": 0,
        "issuer_tariff_id": set_id(task),
        "command_index": 0,
        "total_number_of_commands": 1,
    }


def _prices(task: Task) -> XmlNode:
    """Raises RefusedByDeviceError where they are the other fuel's."""
    name = "GasPriceElements" if task.is_gas else "ElectricityPriceElements"
    return required(task.body.find("PriceElements", name), "the prices are those of the other fuel")


def _matrix(task: Task, prices: XmlNode) -> Published:
    rows = [
        {"tier_block_id": tier, "price": _amount(element)} for tier, element in _priced(prices, task.is_gas)
    ]
    require(bool(rows), "no prices")
    is_tou = all(row["tier_block_id"] < _BLOCK_TIER for row in rows)
    return "publish_price_matrix", {**_part_ids(task), "sub_payload_control": int(is_tou), "prices": rows}


def _priced(prices: XmlNode, is_gas: bool) -> Iterator[tuple[int, XmlNode]]:
    """(tier id, element with the price) of each register and block."""
    for kind in prices.children:
        for child in kind.children:
            if child.name == "TOUPrice":
                yield index_of(child), child
            elif child.name == "BlockPrice" and is_gas:
                yield _BLOCK_TIER + 16 + index_of(child) - 1, child
            elif child.name == "BlockPrices":
                for price in child.children:
                    yield _BLOCK_TIER + 16 * index_of(child) + index_of(price) - 1, price


def _amount(element: XmlNode) -> int:
    amount = number(element)
    require(-_LARGEST <= amount <= _LARGEST, f"{element.name} {amount} is more than a meter can hold")
    return amount & 0xFFFFFFFF


def _thresholds(task: Task, elements: XmlNode) -> Published:
    matrix = elements.find("ThresholdMatrix")
    rows = []
    for child in matrix.children if matrix else ():
        steps = (child,) if task.is_gas else child.children
        register = 1 if task.is_gas else index_of(child)
        rows += [
            {
                "tier_number_of_block_thresholds": register << 4 | index_of(step),
                "block_threshold": number(step),
            }
            for step in steps
        ]
    return (
        "publish_block_thresholds",
        {**_part_ids(task), "sub_payload_control": 0, "thresholds": rows},
    )


def _information(task: Task, prices: XmlNode, start: int, *, currency: str | None) -> Published:
    """The frame that makes it all count."""
    digits = standing_digits = _GAS_DIGITS
    if not task.is_gas:
        digits, standing_digits = _digits(prices, "PriceScale"), _digits(prices, "StandingChargeScale")
    tiers = [tier for tier, _ in _priced(prices, task.is_gas)]
    blocks = [(tier & 0xF) + 1 for tier in tiers if tier >= _BLOCK_TIER]
    in_use = _SAME_THRESHOLDS if task.srv == "1.2.1" else _MOST_THRESHOLDS
    if task.is_gas and prices.find("BlockTariff") is not None:
        in_use = number(prices, "BlockTariff", "NumberOfThresholds")
    currency = prices.value("CurrencyUnits") or currency
    standing = prices.find("StandingCharge") or prices
    return (
        "publish_tariff_information",
        {
            **_ids(task),
            "issuer_tariff_id": set_id(task),
            "start_time": start,
            "tariff_type_charging_scheme": 0x10
            if blocks and len(blocks) == len(tiers)
            else 0x20 * bool(blocks),
            "tariff_label": b"",
            "number_of_price_tiers_in_use": len(tiers) - len(blocks),
            "number_of_block_thresholds_in_use": in_use,
            "unit_of_measure": 0,
            "currency": _SAME_CURRENCY if currency is None else _CURRENCIES.get(currency, _SAME_CURRENCY),
            "price_trailing_digit": digits << 4 | standing_digits,
            "standing_charge": _amount(standing),
            "tier_block_mode": 0,
            "block_threshold_multiplier": 1,
            "block_threshold_divisor": 1000,
        },
    )


def _digits(prices: XmlNode, name: str) -> int:
    scale = number(prices, name)
    require(-_MOST_DIGITS <= scale <= 0, f"{name} {scale} is none of -{_MOST_DIGITS} to 0")
    return -scale


PLANS: Final = (
    Plan(
        srv="1.1.1",
        body_name="UpdateImportTariffPrimaryElement",
        response_name="UpdateImportTariffPrimaryElementRsp",
        devices=METERS,
        run=_update_tariff,
        is_whole=True,
    ),
    Plan(
        srv="1.2.1",
        body_name="UpdatePricePrimaryElement",
        response_name="UpdatePricePrimaryElementRsp",
        devices=METERS,
        run=_update_price,
        is_whole=True,
    ),
)
