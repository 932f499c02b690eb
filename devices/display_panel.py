"""The touch glass of a Pipit 500 as keys: pages, OK, a code typed at the prepayment display. A value machine.

| key | page | while a code is typed | while an answer is awaited |
|---|---|---|---|
| `<` `>` | the page before, the next | - | - |
| `OK` | what the page offers; messages: read (`display_device.py`); history: below | sends the code | - |
| `BACK` | the home page | takes a digit away; with none left ends it | - |
| 0..9 | PPMID, credit page: begins a code | digit | - |

What OK does follows what the page says: supply READY is switched on; emergency credit on offer is taken.
The home page offers what the credit page of the first fuel in need does (Secure Pipit 500 guide: "offers
emergency credit from 'Low credit' and 'Supply off!'"). An IHD only turns pages. On a page of history OK shows
the hours of today, and each OK after that those of a day before, 45 days back. A minute without a key
shows the home page again, and a code half typed is gone. Where a privacy PIN is set, digits and OK type it;
until then nothing else is shown or done.

Nothing is sent here: `press` hands back what is to be asked of which meter, `answer` shows what came of it.
Names of the keys and the wording are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final, Literal

from smets1.devices.days import MINUTE_US, SECOND_US
from smets1.devices.display_history import HISTORY_DAYS
from smets1.devices.keypad import CODE_DIGITS
from smets1.devices.pin import PrivacyLock
from smets1.devices.screens import DISPLAY_WIDTH, FuelView, HomeView, display_pages, hidden_page
from smets1.devices.supply import SupplyState

__all__ = ["DISPLAY_KEYS", "Act", "DisplayPanel", "Fuel", "Request"]

Fuel = Literal["electricity", "gas"]
DISPLAY_KEYS: Final = ("<", ">", "OK", "BACK", *"0123456789")
IDLE_US: Final = MINUTE_US
ANSWER_US: Final = 10 * SECOND_US


@unique
class Act(Enum):
    TOP_UP = "top up"
    EMERGENCY_CREDIT = "emergency credit"
    SUPPLY_ON = "supply on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person has asked for. `digits` of a top-up only."""

    act: Act
    fuel: Fuel
    digits: str = ""


class DisplayPanel:
    """`view` gives what the display knows now; `day` the page of hours of a fuel's day so many days back."""

    def __init__(
        self, view: Callable[[], HomeView], day: Callable[[Fuel, int], list[str]] = lambda _fuel, _back: []
    ) -> None:
        self._view = view
        self._day = day
        self._days_back: int | None = None  # whose hours are shown; None: the page itself
        self.privacy = PrivacyLock()
        self._page = 0
        self._digits: str | None = None  # a code is being typed, for `_fuel`
        self._fuel: Fuel = "electricity"
        self._waits = False
        self._answer: tuple[str, ...] = ()
        self._answer_until_us = 0
        self._touched_us = 0

    # --- keys ------------------------------------------------------------------------------------

    def press(self, key: str, *, utc_us: int) -> Request | None:
        """One of DISPLAY_KEYS; what the caller is to ask for and then `answer`."""
        self._rest(utc_us)
        self._touched_us = utc_us
        self._answer = ()
        if self._waits:
            return None
        if self.privacy.is_closed(utc_us):
            self._type_pin(key, utc_us)
            return None
        self.privacy.on_key(utc_us)
        if self._digits is not None:
            return self._type(self._digits, key, utc_us)
        if key == "OK" and self._fuel_of_page("history") is not None:
            back = -1 if self._days_back is None else self._days_back
            self._days_back = back + 1 if back < HISTORY_DAYS else None
            return None
        self._days_back = None
        if key in "<>":
            self._page = (self._page + (1 if key == ">" else -1)) % len(self.pages())
        elif key == "BACK":
            self._page = 0
        elif key == "OK":
            return self._ok()
        else:
            self._begin_code(key)
        return None

    def _type_pin(self, key: str, utc_us: int) -> None:
        self._page, self._digits = 0, None
        if key == "OK":
            self.privacy.enter(utc_us)
        elif key == "BACK":
            self.privacy.forget()
        elif key in "0123456789":
            self.privacy.type(key)

    def _begin_code(self, digit: str) -> None:
        fuel = self._fuel_of_page()
        if self._view().is_ppmid and fuel is not None:
            self._fuel, self._digits = fuel, digit

    def _type(self, digits: str, key: str, utc_us: int) -> Request | None:
        if key == "BACK":
            self._digits = digits[:-1] or None
        elif key == "OK":
            self._digits = None
            if len(digits) == CODE_DIGITS:
                return self._ask(Request(act=Act.TOP_UP, fuel=self._fuel, digits=digits))
            self.answer("Incomplete", utc_us=utc_us)
        elif key in "0123456789" and len(digits) < CODE_DIGITS:
            self._digits = digits + key
        return None

    def _ok(self) -> Request | None:
        view, fuel = self._view(), self._fuel_of_page()
        if not view.is_ppmid or (fuel is None and self.page != "home"):
            return None
        on_offer = [(name, act) for name, act in _offers(view) if fuel in (None, name)]
        if not on_offer:
            return None
        name, act = on_offer[0]
        return self._ask(Request(act=act, fuel=name))

    def _ask(self, request: Request) -> Request:
        self._fuel, self._waits = request.fuel, True
        return request

    def answer(self, *lines: str, utc_us: int) -> None:
        """What came of the request, for ten seconds or up to the next key."""
        self._waits = False
        self._answer = tuple(line[:DISPLAY_WIDTH] for line in lines)
        self._answer_until_us = utc_us + ANSWER_US
        self._touched_us = utc_us

    def _rest(self, utc_us: int) -> None:
        if utc_us >= self._touched_us + IDLE_US and not self._waits:
            self._page, self._digits, self._days_back = 0, None, None

    # --- glass -----------------------------------------------------------------------------------

    def pages(self) -> dict[str, list[str]]:
        """Every page, whoever may see it."""
        return display_pages(self._view())

    def shown_pages(self, *, utc_us: int) -> dict[str, list[str]]:
        """Every page that the keys reach now."""
        if self.privacy.is_closed(utc_us):
            return {"home": hidden_page(self._view(), self.privacy.typed_count)}
        return self.pages()

    @property
    def page(self) -> str:
        """The name of the page that is turned to."""
        names = list(self.pages())
        return names[min(self._page, len(names) - 1)]

    def _fuel_of_page(self, kind: str = "credit") -> Fuel | None:
        """The fuel of a page of that kind; None on every other page."""
        fuels: dict[str, Fuel] = {f"electricity {kind}": "electricity", f"gas {kind}": "gas"}
        return fuels.get(self.page)

    def lines(self, *, utc_us: int) -> list[str]:
        """What the glass shows now."""
        self._rest(utc_us)
        if self.privacy.is_closed(utc_us):
            return hidden_page(self._view(), self.privacy.typed_count)
        title = f"{self._fuel.upper()} TOP UP"
        if self._waits:
            return [self._fuel.upper(), "Please wait"]
        if self._digits is not None:
            groups = [self._digits[start : start + 4] for start in range(0, len(self._digits), 4)]
            return [title, " ".join(groups), "OK to send, BACK to correct"]
        if self._answer and utc_us < self._answer_until_us:
            return [self._fuel.upper(), *self._answer]
        fuel = self._fuel_of_page("history")
        if fuel is not None and self._days_back is not None:
            return self._day(fuel, self._days_back)
        return self.pages()[self.page]


def _offers(view: HomeView) -> list[tuple[Fuel, Act]]:
    """What OK can do now, electricity first; a supply that is ready goes before credit."""
    fuels: list[tuple[Fuel, FuelView | None]] = [("electricity", view.electricity), ("gas", view.gas)]
    ready: list[tuple[Fuel, Act]] = [
        (name, Act.SUPPLY_ON) for name, fuel in fuels if fuel and fuel.supply is SupplyState.ARMED
    ]
    offered: list[tuple[Fuel, Act]] = [
        (name, Act.EMERGENCY_CREDIT) for name, fuel in fuels if fuel and fuel.is_emergency_offered
    ]
    return ready + offered
