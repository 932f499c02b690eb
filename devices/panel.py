"""The meter's front: ten digits, A and B, and the LCD. What a key does depends on what the meter is doing.

| key | supply READY | credit page, emergency credit on offer | else |
|---|---|---|---|
| A | opens 30 s for B | takes emergency credit | opens Vend Mode |
| B | after A: supply on | - | submits what was typed |
| 0..9 | page | page | digit in Vend Mode or of a PIN, else page |
| 9 held | engineering menu: asks for the PIN | | |

Which page stands behind which digit is in `screens.py`; credit is behind 7.
A page shows its title for 2 s, then each value for 4 s; then the status page stands again.
Where a privacy PIN is set, pages show the supply's state and nothing else until it is typed, with B after it;
codes can be typed all the same. The engineering menu is left by A, or after a minute idle. Three wrong PINs
lock it for ten minutes and are logged; its PIN is no consumer's business (Uplift 1.2): no page shows it.

Source: Secure Liberty 100 manual (shared keys, title 2 s, value 4 s). How the menu is opened, its length and
its pages are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from smets1.devices.account import Account
from smets1.devices.days import MINUTE_US, SECOND_US
from smets1.devices.electricity_meter import ElectricityMeterCore
from smets1.devices.event_log import AlertCode
from smets1.devices.gas_meter import GasMeterCore
from smets1.devices.keypad import KeypadEntry, KeypadState
from smets1.devices.meter import MeterCore
from smets1.devices.metering import Period, PeriodUse
from smets1.devices.pin import PinGate, PrivacyLock
from smets1.devices.prepayment import DebtPeriod, NonDisablementCalendar
from smets1.devices.screens import STERLING, MeterView, SpanUse, format_money, hidden_lines, meter_page
from smets1.devices.supply import SupplyState
from smets1.devices.tariff import floor_mp
from smets1.devices.tariff_codes import join_codes
from smets1.devices.tokens import REFUSALS, Refusal, TopUpDesk, TopUpResult
from smets1.firmware.civil import local_uk
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice

__all__ = ["Identity", "Panel", "meter_view"]

TITLE_US: Final = 2 * SECOND_US
VALUE_US: Final = 4 * SECOND_US
MENU_IDLE_US: Final = MINUTE_US
_CREDIT_PAGE: Final = 7
_FRIENDLY_EDGES: Final = 60  # looked ahead, days and switches
_REFUSED_SHOWN: Final = 5
_SOURCES: Final = {
    OriginatingDevice.ENERGY_SERVICE_INTERFACE: "WAN",
    OriginatingDevice.METER: "KEY",
    OriginatingDevice.IN_HOME_DISPLAY_DEVICE: "HAN",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the LCD shows and the core does not know."""

    mpxn: str = ""
    firmware: str = ""
    is_commissioned: bool = True
    engineering_pin: str = field(default="", repr=False)  # empty: no menu
    supplier: tuple[str, str] = ("", "")  # name, contact
    symbol: str = STERLING


def meter_view(meter: MeterCore, desk: TopUpDesk, identity: Identity) -> MeterView:
    """The meter as its LCD shows it, at the meter's present."""
    account = meter.account
    local = local_uk(meter.now_us)
    is_gas = isinstance(meter, GasMeterCore)
    vends = reversed(desk.vends)
    return MeterView(
        is_gas=is_gas,
        is_commissioned=identity.is_commissioned,
        is_prepayment=account.is_prepayment,
        register=meter.reading,
        tou_registers=tuple(uwh // 1_000_000 for uwh in meter.registers.tou_uwh),
        active_tou=meter.tou,
        balance_mp=account.balance_mp,
        emergency_mp=account.emergency_mp,
        is_emergency_offered=account.is_emergency_available,
        is_emergency_in_use=account.is_emergency_in_use,
        price_mp_per_kwh=meter.price_mp_per_kwh,
        standing_mp=floor_mp(meter.tariff.standing_charge_fine),
        power_w=meter.demand,
        supply=meter.supply.state,
        off_reasons=meter.supply.reasons,
        date_text=f"{local:%d %b %Y}",
        time_text=f"{local:%H:%M:%S}",
        firmware=identity.firmware,
        mpxn=identity.mpxn,
        supplier=identity.supplier,
        symbol=identity.symbol,
        last_top_ups=tuple((v.amount_mp, f"{local_uk(v.utc_us):%d %b %H:%M}", v.digits) for v in vends),
        accepted=desk.accepted_count,
        rejected=desk.refused_count,
        refund=desk.refund,
        spans=_spans(meter),
        months=tuple((f"{first:%b %Y}".upper(), _span(use)) for first, use in meter.marks.months()),
        debts=_debts(account, identity.symbol),
        emergency_owed_mp=account.emergency_used_mp,
        export_wh=meter.export_wh if isinstance(meter, ElectricityMeterCore) and meter.export else None,
        friendly=_friendly(meter),
    )


def _span(use: PeriodUse) -> SpanUse:
    return SpanUse(use.energy_uwh // 1_000_000, floor_mp(use.cost_fine))


def _spans(meter: MeterCore) -> tuple[tuple[SpanUse, SpanUse], ...]:
    marks = meter.marks
    return tuple((_span(marks.use(each, meter.registers)), _span(marks.before(each))) for each in Period)


def _debts(account: Account, symbol: str) -> tuple[tuple[str, ...], ...]:
    """Name, amount and how it is paid back of each debt that there is."""
    config = account.config
    owed: list[tuple[str, int, str]] = []
    if account.is_prepayment:
        percent = config.debt_per_payment_bp
        owed.append(("PAYMENT DEBT", account.payment_debt_fine, f"{percent // 100}.{percent % 100:02d} %"))
        for number, (left_fine, rate) in enumerate(
            zip(account.time_debt_fine, config.debt_rates, strict=True), start=1
        ):
            span = "HOUR" if rate.period is DebtPeriod.HOURLY else "DAY"
            owed.append((f"TIME DEBT{number}", left_fine, f"{format_money(rate.rate_mp, symbol)}/{span}"))
        owed.append(("ACCUM DEBT", account.accumulated_debt_fine, ""))
    return tuple(
        tuple(filter(None, (name, format_money(-floor_mp(-left), symbol), how)))
        for name, left, how in owed
        if left
    )


def _friendly(meter: MeterCore) -> tuple[str, ...]:
    """Whether friendly hours run, and until when that is so."""
    calendar, now_us = meter.account.config.calendar, meter.now_us
    if not meter.account.is_prepayment or calendar == NonDisablementCalendar():
        return ()
    is_on, at_us = calendar.is_running(now_us), now_us
    for _ in range(_FRIENDLY_EDGES):
        at_us = calendar.next_change_us(at_us)
        if calendar.is_running(at_us) is not is_on:
            until = local_uk(at_us)
            return ("ON" if is_on else "OFF", f"UNTIL {until:%H:%M}", f"{until:%d %b %Y}")
    return ("ON" if is_on else "OFF",)


class Panel:
    """One meter's keys and glass. Commit meter, desk and keypad after each `press` and `on_timer`."""

    def __init__(
        self, meter: MeterCore, desk: TopUpDesk, *, identity: Identity, keypad: KeypadEntry | None = None
    ) -> None:
        self.meter = meter
        self.desk = desk
        self.identity = identity
        self.keypad = keypad or KeypadEntry()
        self._page: int | None = None  # the status page
        self._page_us = 0  # when it was chosen
        self._menu: _Menu | None = None
        self._gate = PinGate()
        self.privacy = PrivacyLock()

    # --- keys ------------------------------------------------------------------------------------

    def press(self, key: str, *, utc_us: int, is_held: bool = False) -> list[TopUpResult]:
        """One key, "0".."9", "A", "B". What came of codes that this has submitted."""
        self.meter.advance(utc_us)
        self.on_timer(utc_us=utc_us)
        if self._menu is not None:
            self._press_in_menu(self._menu, key, utc_us)
            return []
        if is_held and key == "9" and self.identity.engineering_pin:
            self._open_menu(utc_us)
            return []
        self.keypad.on_screen_end(utc_us=utc_us)
        if self.keypad.state is KeypadState.IDLE:
            if self._press_outside(key, utc_us):
                return []
            if key == "A" and self.keypad.is_locked(utc_us):
                self._refuse_locked(utc_us)
        return self._judge(self.keypad.press(key, utc_us=utc_us), utc_us)

    def _press_outside(self, key: str, utc_us: int) -> bool:
        """True where the key was for something else than Vend Mode."""
        if self.privacy.is_closed(utc_us):
            return self._press_hidden(key, utc_us)
        self.privacy.on_key(utc_us)
        meter = self.meter
        if key in "0123456789":
            self._page, self._page_us = int(key), utc_us
            return True
        if key == "B":
            meter.press_b(utc_us=utc_us)
            return True
        if meter.supply.state is SupplyState.ARMED and meter.supply.confirm_until_us is None:
            meter.press_a(utc_us=utc_us)
            return True
        is_offer_shown = self._page_now(utc_us) == _CREDIT_PAGE and meter.account.is_emergency_available
        return is_offer_shown and meter.take_emergency(utc_us=utc_us)

    def _press_hidden(self, key: str, utc_us: int) -> bool:
        """Behind the privacy PIN a code can still be typed; supply and emergency credit wait for the PIN."""
        if key == "A":
            self.privacy.forget()
            return False
        if key == "B":
            self.privacy.enter(utc_us)
        else:
            self.privacy.type(key)
        return True

    def _refuse_locked(self, utc_us: int) -> None:
        """Key A while it is without effect: told, since somebody may be trying codes."""
        self.desk.refuse(
            self.meter, Refusal.KEYPAD_LOCKED, digits="", source=OriginatingDevice.METER, utc_us=utc_us
        )

    def _judge(self, codes: list[str], utc_us: int) -> list[TopUpResult]:
        if not codes:
            return []
        results = []
        for code in join_codes(codes):
            if code:
                result = self.desk.enter(self.meter, code, source=OriginatingDevice.METER, utc_us=utc_us)
            else:
                result = self.desk.refuse(
                    self.meter, Refusal.INCOMPLETE, digits="", source=OriginatingDevice.METER, utc_us=utc_us
                )
            results.append(result)
        if self.keypad.show(results, utc_us=utc_us):
            self.meter.note(AlertCode.MANUAL_ENTRY_SUSPENDED, utc_us=utc_us)
        return results

    # --- time ------------------------------------------------------------------------------------

    def next_timer_us(self) -> int | None:
        confirm_until_us = self.meter.supply.confirm_until_us
        times = [
            self.keypad.next_timer_us(),
            self._menu.idle_us + MENU_IDLE_US if self._menu else None,
            None if confirm_until_us is None else confirm_until_us + 1,  # B still counts at that instant
        ]
        return min((at for at in times if at is not None), default=None)

    def on_timer(self, *, utc_us: int) -> list[TopUpResult]:
        if self._menu is not None and utc_us >= self._menu.idle_us + MENU_IDLE_US:
            self._menu = None
        confirm_until_us = self.meter.supply.confirm_until_us
        if confirm_until_us is not None and utc_us > confirm_until_us:
            self.meter.supply.confirm_until_us = None
        return self._judge(self.keypad.on_timer(utc_us=utc_us), utc_us)

    # --- glass -----------------------------------------------------------------------------------

    def lines(self, *, utc_us: int) -> list[str]:
        """All of what is shown now; a page with its title and every value."""
        if self._menu is not None:
            return self._menu_lines(self._menu)
        typed = self.keypad.lines(utc_us=utc_us)
        if typed is not None:
            return typed
        if self.meter.supply.confirm_until_us is not None:
            return ["READY", "PRESS B"]
        return self.page(self._page_now(utc_us), utc_us=utc_us)

    def page(self, key: int | None, *, utc_us: int) -> list[str]:
        """What stands behind a key 0 to 9, or without a key, for who looks at the meter now."""
        if self.privacy.is_closed(utc_us):
            return hidden_lines(self.view(), self.privacy.typed_count)
        return meter_page(self.view(), key)

    def lcd(self, *, utc_us: int) -> str:
        """The one line on the glass at this instant."""
        lines = self.lines(utc_us=utc_us)
        if self._menu is not None or self.keypad.lines(utc_us=utc_us) is not None or len(lines) == 1:
            return lines[-1]
        since_us = utc_us - self._page_us
        if self._page_now(utc_us) is None:
            return lines[1 + max(0, since_us) // VALUE_US % (len(lines) - 1)]
        return lines[0] if since_us < TITLE_US else lines[1 + (since_us - TITLE_US) // VALUE_US]

    def view(self) -> MeterView:
        """The meter as any of its pages would show it now."""
        return meter_view(self.meter, self.desk, self.identity)

    def _page_now(self, utc_us: int) -> int | None:
        """The page chosen, until all of it was shown; then the status page."""
        if self.privacy.is_closed(utc_us):
            return None
        values = len(meter_page(self.view(), self._page)) - 1
        is_over = utc_us >= self._page_us + TITLE_US + values * VALUE_US
        return None if is_over else self._page

    # --- engineering menu ------------------------------------------------------------------------

    def _open_menu(self, utc_us: int) -> None:
        if not self._gate.is_locked(utc_us):
            self._menu, self._gate.typed = _Menu(idle_us=utc_us), ""

    def _press_in_menu(self, menu: _Menu, key: str, utc_us: int) -> None:
        menu.idle_us = utc_us
        if key == "A":
            self._menu = None
        elif menu.is_open:
            menu.page = int(key) if key in "0123456789" else menu.page
        elif key == "B":
            self._try_pin(menu, utc_us)
        elif key in "0123456789":
            self._gate.type(key)

    def _try_pin(self, menu: _Menu, utc_us: int) -> None:
        menu.is_open = self._gate.try_typed(self.identity.engineering_pin, utc_us=utc_us)
        if self._gate.is_locked(utc_us):
            self._menu = None
            self.meter.note(AlertCode.UNAUTHORISED_ACCESS, utc_us=utc_us, detail="engineering menu")

    def _menu_lines(self, menu: _Menu) -> list[str]:
        if not menu.is_open:
            return ["ENGINEERING", "PIN " + "*" * len(self._gate.typed)]
        pages: dict[int, Callable[[], list[str]]] = {
            1: lambda: ["FIRMWARE", self.identity.firmware],
            2: lambda: [
                "TAMPER",
                f"COUNT {self.meter.tamper.count}",
                f"OPEN {int(self.meter.tamper.open):02X}",
            ],
            3: lambda: ["SUPPLY", f"OFF CODE {self.meter.supply.reasons:02X}"],
            4: lambda: ["LAST EVENTS", *(f"{e.code:04X}" for e in list(self.meter.log.events)[-5:])],
            5: lambda: ["LAST SECURITY", *(f"{e.code:04X}" for e in list(self.meter.log.security)[-5:])],
            6: lambda: ["REFUSED CODES", *self._refused_lines()],
        }
        return pages.get(menu.page, lambda: ["ENGINEERING", "1 TO 6"])()

    def _refused_lines(self) -> list[str]:
        """The last five, latest first: why, what it claimed to be and how it ends, when and whence."""
        lines: list[str] = []
        for entry in list(self.desk.refused)[: -_REFUSED_SHOWN - 1 : -1]:
            when = local_uk(entry.utc_us)
            lines += [
                REFUSALS[entry.refusal].text,
                f"{entry.kind} ...{entry.digits[-5:]}" if entry.digits else "NO NUMBER",
                f"{when:%d %b %H:%M} {_SOURCES[entry.source]}",
            ]
        return lines

    # --- NVM -------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """The keypad's lock; the menu's is short, and pulling the main switch is itself an event."""
        return self.keypad.encode()


@dataclass(slots=True)
class _Menu:
    idle_us: int
    is_open: bool = False
    page: int = 0
