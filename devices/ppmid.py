"""The prepayment display: what an IHD shows, and what a person may do at it.

A token goes to the meter of the fuel that the person has chosen: to the ESME directly, to the GSME by
way of its mirror, which hands it over when the meter wakes (so a gas answer may take half an hour).

Source: Secure Pipit 500 guide; SE 1.2 07-5356-19, D.7 (sources of a top-up).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from smets1.devices.days import SECOND_US
from smets1.devices.display_device import DisplayDevice
from smets1.devices.display_panel import Act, Fuel, Request
from smets1.devices.follower import MIRROR_ENDPOINT
from smets1.devices.screens import format_money
from smets1.devices.supply import SupplyState
from smets1.errors import MisuseError, NoAnswerError
from smets1.eui64 import Eui64
from smets1.firmware.device import ENDPOINT
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice, ResultType
from smets1.hardware.radio import COORDINATOR

__all__ = ["Fuel", "Ppmid", "TopUpAnswer"]

_GAS_TIMEOUT_US: Final = 2400 * SECOND_US  # the meter wakes every half hour
_ELECTRICITY_TIMEOUT_US: Final = 15 * SECOND_US
_ACCEPTED: Final = frozenset(
    {
        ResultType.ACCEPTED,
        ResultType.ACCEPTED_SUPPLY_ENABLED,
        ResultType.ACCEPTED_SUPPLY_DISABLED,
        ResultType.ACCEPTED_SUPPLY_ARMED,
    }
)

_REFUSED: Final = {
    ResultType.REJECTED_INVALID_TOP_UP: "Invalid code",
    ResultType.REJECTED_DUPLICATE_TOP_UP: "Used before",
    ResultType.REJECTED_MAX_CREDIT_REACHED: "Account High",
    ResultType.REJECTED_TOP_UP_VALUE_TOO_LARGE: "Account High",
    ResultType.REJECTED_KEYPAD_LOCK: "Key Locked",
    ResultType.REJECTED_ERROR: "Refused by the meter",  # credit mode, or more deducted than there is
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpAnswer:
    """What the meter said to a token."""

    result: ResultType
    amount_mp: int  # 0 where refused
    balance_mp: int | None  # None where refused

    @property
    def is_accepted(self) -> bool:
        return self.result in _ACCEPTED


class Ppmid(DisplayDevice):
    """Pipit 500 as PPMID."""

    zigbee_device_id = 0x0506  # prepayment terminal
    is_ppmid = True

    async def ask_meter(self, request: Request) -> list[str]:
        if request.act is Act.EMERGENCY_CREDIT:
            await self.activate_emergency_credit(request.fuel)
            await self._look_again(request.fuel)
            return ["Emergency credit activated"]
        if request.act is Act.SUPPLY_ON:
            await self.confirm_supply(request.fuel)
            await self._look_again(request.fuel)
            return ["Supply on"]
        answer = await self.enter_utrn(request.digits, request.fuel)
        if not answer.is_accepted:
            return ["Not accepted", _REFUSED.get(answer.result, answer.result.name.capitalize())]
        did = "Added" if answer.amount_mp > 0 else "Adjusted"  # the answer does not tell a set from either
        change = [f"{did} {format_money(answer.amount_mp, self.model.symbol)}"] if answer.amount_mp else []
        return ["Accepted", *change, f"Balance {format_money(answer.balance_mp, self.model.symbol)}"]

    async def _look_again(self, fuel: Fuel) -> None:
        """What the meter shows now; the mirror of the gas meter knows it with the next report only."""
        if fuel == "electricity" and self._esme is not None:
            await self._read_electricity(await self._meet(self._esme))

    async def enter_utrn(self, digits: str, fuel: Fuel = "electricity") -> TopUpAnswer:
        """Type a 20-digit token. Raises NoAnswerError where the meter does not answer."""
        values = await self._command(
            fuel,
            "prepayment",
            "consumer_top_up",
            originating_device=OriginatingDevice.IN_HOME_DISPLAY_DEVICE,
            top_up_code=digits.encode("ascii", "replace"),
        )
        result = ResultType(values["result_type"])
        is_accepted = result in _ACCEPTED
        answer = TopUpAnswer(
            result=result,
            amount_mp=int(values["top_up_value"]) if is_accepted else 0,
            balance_mp=int(values["credit_remaining"]) if is_accepted else None,
        )
        if answer.balance_mp is not None:
            readings = self.model.gas if fuel == "gas" else self.model.electricity
            readings.values["credit_remaining"] = answer.balance_mp
        return answer

    async def activate_emergency_credit(self, fuel: Fuel = "electricity") -> None:
        """Press OK on the offer. Raises RefusedError where it is not on offer, NoAnswerError."""
        await self._command(
            fuel,
            "prepayment",
            "select_available_emergency_credit",
            command_issue_date_time=self.civil.zigbee_utc_s(),
            originating_device=OriginatingDevice.IN_HOME_DISPLAY_DEVICE,
        )

    async def confirm_supply(self, fuel: Fuel = "electricity") -> None:
        """Press OK on "Ready". Raises RefusedError where supply is not armed, NoAnswerError."""
        await self._command(fuel, "metering", "local_change_supply", proposed_supply_status=SupplyState.ON)

    async def _command(self, fuel: Fuel, cluster: str, command: str, **fields: Any) -> dict[str, Any]:
        if fuel == "gas":
            if not self.model.has_gas:
                raise MisuseError("this home has no gas meter")
            return dict(
                await self.app.request(
                    COORDINATOR, MIRROR_ENDPOINT, cluster, command, timeout_us=_GAS_TIMEOUT_US, **fields
                )
            )
        if self._esme is None:
            raise MisuseError("this home has no electricity meter")
        meter = await self._meet_patiently(self._esme)
        return dict(
            await self.app.request(
                meter, ENDPOINT, cluster, command, timeout_us=_ELECTRICITY_TIMEOUT_US, **fields
            )
        )

    async def _meet_patiently(self, esme: Eui64) -> int:
        """A person presses again when nothing happened the first time."""
        try:
            return await self._meet(esme)
        except NoAnswerError:
            return await self._meet(esme)
