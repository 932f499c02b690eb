"""The hours of any of 45 days at a display, reached by OK on the pages of history."""

from __future__ import annotations

import re
from typing import Any

import pytest

from smets1.devices.days import HOUR_US, local_midnight_us
from smets1.devices.display import DisplayModel
from smets1.devices.display_panel import DisplayPanel
from smets1.devices.screens import DISPLAY_WIDTH
from smets1.firmware.civil import parse_utc

NOON = parse_utc("2024-06-20T11:00:00Z")  # local noon
DAY_US = 24 * HOUR_US


def used_for(days: int, *, end_us: int = NOON, step: int = 250) -> DisplayModel:
    """So many litres more in each hour than in the one before, of gas; the same in Wh."""
    model = DisplayModel(is_ppmid=False, has_gas=True)
    at_us, register, use = end_us - days * DAY_US, 1000, 0
    while at_us <= end_us:
        for readings in (model.electricity, model.gas):
            readings.take({"current_summation_delivered": register}, utc_us=at_us)
        at_us, use = at_us + HOUR_US, use + step
        register += use
    return model


class Glass:
    def __init__(self, model: DisplayModel, utc_us: int = NOON) -> None:
        self.utc_us = utc_us
        self.panel = DisplayPanel(
            lambda: model.view(utc_us=self.utc_us),
            lambda fuel, back: model.hours_page(fuel, back, utc_us=self.utc_us),
        )

    def press(self, *keys: str) -> list[str]:
        for key in keys:
            assert self.panel.press(key, utc_us=self.utc_us) is None
        return self.panel.lines(utc_us=self.utc_us)

    def turn_to(self, page: str) -> list[str]:
        while self.panel.page != page:
            self.press(">")
        return self.press()


def test_ok_goes_a_day_back_each_time() -> None:
    glass = Glass(used_for(3))
    assert glass.turn_to("electricity history")[0] == "ELECTRICITY HISTORY"
    today = glass.press("OK")
    assert today[0] == "ELECTRICITY           Thu 20 Jun"
    assert today[1] == "00h  15.000 kWh  12h  18.000 kWh"
    assert today[2] == "01h  15.250 kWh  13h         ---", "it has not begun"
    assert len(today) == 13
    yesterday = glass.press("OK")
    assert yesterday[0] == "ELECTRICITY           Wed 19 Jun"
    assert yesterday[1] == "00h   9.000 kWh  12h  12.000 kWh"
    assert "---" not in "".join(yesterday), "all of it was heard"
    for lines in (today, yesterday):
        assert all(len(line) <= DISPLAY_WIDTH for line in lines)
    assert glass.press("BACK") == glass.panel.pages()["home"]
    assert glass.turn_to("electricity history")[0] == "ELECTRICITY HISTORY"


def test_the_sum_of_the_hours_is_the_day() -> None:
    model = used_for(3)
    glass = Glass(model)
    day = dict(model.view(utc_us=NOON).electricity.history)["Wed 19 Jun"]
    glass.turn_to("electricity history")
    lines = glass.press("OK", "OK")[1:]
    cells = [float(part.split("h")[-1]) for line in lines for part in line.split(" kWh") if part.strip()]
    assert len(cells) == 24
    assert round(1000 * sum(cells)) == day


def test_forty_five_days_back_and_then_the_page_again() -> None:
    glass = Glass(used_for(46))
    glass.turn_to("gas history")
    seen = [glass.press("OK") for _ in range(46)]
    assert seen[0][0] == "GAS                   Thu 20 Jun"
    assert seen[45][0] == "GAS                    Mon 6 May"
    assert "m3" in seen[44][-1]
    assert glass.press("OK")[0] == "GAS HISTORY"


@pytest.mark.parametrize(("date", "hours"), [("2024-03-31", 23), ("2024-10-27", 25)])
def test_a_day_of_a_clock_change_has_another_number_of_hours(date: str, hours: int) -> None:
    evening = parse_utc(f"{date}T22:00:00Z")
    glass = Glass(used_for(2, end_us=evening, step=10), utc_us=evening)
    glass.turn_to("electricity history")
    text = "\n".join(glass.press("OK")[1:])
    labels = [part[-2:] for part in text.replace(" kWh", "").split("h")[:-1]]
    assert len(labels) == hours
    assert labels.count("01") == {23: 0, 25: 2}[hours]
    assert local_midnight_us(evening // DAY_US + 1) - local_midnight_us(evening // DAY_US) == hours * HOUR_US


def test_a_minute_later_the_home_page_stands_again() -> None:
    glass = Glass(used_for(2))
    glass.turn_to("electricity history")
    glass.press("OK")
    glass.utc_us += 61_000_000
    assert glass.press() == glass.panel.pages()["home"]
    assert glass.turn_to("electricity history")[0] == "ELECTRICITY HISTORY"


async def test_at_a_living_display(smets1_home: Any) -> None:
    toml = "[han]\nreport_interval_s = 300\n[prepayment]\nbalance_pounds = 50\n"
    toml += '[[load]]\nfuel = "electricity"\nkind = "constant"\nwatts = 1000\n'
    home = await smets1_home(toml=toml, start="2023-01-16T00:00:00Z")
    await home.clock.advance(hours=26)
    display = home.ihd
    while display.panel.page != "electricity history":
        display.press(">")
    display.press("OK OK")
    assert display.shown[0] == "ELECTRICITY           Mon 16 Jan"
    hours = [float(cell) for cell in re.findall(r"(\d\.\d{3}) kWh", " ".join(display.shown))]
    assert len(hours) == 24
    assert all(0.98 < use < 1.02 for use in hours[1:])
