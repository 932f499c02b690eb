"""Golden texts of every face of a living home, reached by pressing its keys as a person does.

A day in which both fuels fall through every zone: plenty, low credit, emergency credit offered, taken and used,
dark, READY, on again. What each face shows on the way stands in tests/vectors/faces, a file a face.

    make golden        writes the files anew; look at `git diff tests/vectors/faces` before you commit
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from tests.devices.golden import GOLDEN, compare, page

from smets1.devices.display_device import DisplayDevice
from smets1.devices.meter_device import MeterDevice
from smets1.devices.screens import DISPLAY_WIDTH, LCD_WIDTH
from smets1.devices.supply import SupplyState
from smets1.errors import InputError
from smets1.firmware.zcl.clusters.prepayment import ResultType
from smets1.tools.home import Home

HOUR_US: Final = 3_600_000_000
# kWh in the hour that begins then; the hours between are still, so that every display has heard all of it
ELECTRICITY: Final = {0: 10, 2: 2, 4: 5, 6: 10}
GAS: Final = {0: 33, 2: 7, 4: 16, 6: 33}
PIN: Final = "7413"
TOML: Final = f"""
start = 2023-01-16T00:00:00Z
[[device]]
role = "chf"
[[device]]
role = "gpf"
[[device]]
role = "esme"
engineering_pin = "{PIN}"
[[device]]
role = "gsme"
engineering_pin = "{PIN}"
[[device]]
role = "ppmid"
[[device]]
role = "ihd"
[han]
report_interval_s = 60
[prepayment]
balance_pounds = 5
emergency_credit_limit_pounds = 3
emergency_credit_threshold_pounds = 1
low_credit_threshold_pounds = 2
"""


class Walk:
    """A person in front of one face, and what was seen after each press."""

    def __init__(self, home: Home, device: MeterDevice | DisplayDevice) -> None:
        self.home = home
        self.device = device
        self.text = ""

    def look(self, heading: str) -> None:
        width = LCD_WIDTH if isinstance(self.device, MeterDevice) else DISPLAY_WIDTH
        self.text += page(heading, self.device.shown, width)

    def press(self, *keys: str, shows: str = "") -> None:
        for each in keys:
            self.device.press(each)
            self.look(f"press {shows or each}")

    async def wait(self, seconds: float) -> None:
        await self.home.clock.advance(seconds=seconds)

    def chapter(self, name: str) -> None:
        self.text += f"# {name}\n\n"


async def to_hour(home: Home, hour: float) -> None:
    await home.clock.advance_to(int(home.config.start.timestamp() * 1e6 + hour * HOUR_US))


async def look_through(walk: Walk, name: str) -> None:
    """Every page in the order of its keys; then the face rests again."""
    walk.chapter(name)
    if isinstance(walk.device, MeterDevice):
        walk.look("no key")
        walk.press(*"0123456789")
        await walk.wait(180)
        return
    for _ in walk.device.screen:
        assert walk.device.shown  # a face that has rested is on its home page
        walk.look(f"page {walk.device.panel.page}")
        walk.device.press(">")
    assert walk.device.panel.page == "home"


async def look_everywhere(walks: dict[str, Walk], name: str) -> None:
    for walk in walks.values():
        await look_through(walk, name)


async def type_codes(home: Home, walk: Walk) -> None:
    """A code half typed, one taken, and every refusal."""
    eui64 = walk.device.eui64
    others = home.gsme.eui64 if walk.device is home.esme else home.esme.eui64
    walk.chapter("Vend Mode")
    walk.press("A", "7", "4", "A")
    await walk.wait(20)
    walk.look("after 20 s idle")
    await walk.wait(10)
    good = home.headend.make_utrn(eui64, pounds=1)
    walk.press("A")
    walk.press(good, shows="the 20 digits of a pound")
    walk.press("B")
    for _ in range(8):
        walk.look(f"LCD {walk.device.face.lcd()}")
        await walk.wait(2)
    for name, digits in (
        ("the same again", good),
        ("of another meter", home.headend.make_utrn(others, pounds=1)),
        ("with a wrong check digit", good[:-1] + str((int(good[-1]) + 1) % 10)),
        ("above the most in one top-up", home.headend.make_utrn(eui64, pounds=11)),
    ):
        walk.press(f"A{digits}B", shows=f"A, a code {name}, B")
        await walk.wait(5)
    walk.press("A123B", shows="A 123 B, the fifth refused in a row")
    await walk.wait(5)
    walk.look("then")
    await walk.wait(20)
    walk.press("A")
    await walk.wait(600)


async def engineering_menu(walk: Walk) -> None:
    walk.chapter("engineering menu")
    walk.device.press("9", is_held=True)
    walk.look("press 9, held")
    walk.press("741", shows="741")
    walk.press("B")
    walk.press(PIN, shows="the PIN")
    walk.press("B", *"123456", "A")
    for _ in range(3):
        walk.device.press("9", is_held=True)
        walk.device.press("0000B")
    walk.look("after a wrong PIN three times")
    walk.device.press("9", is_held=True)
    walk.look("press 9, held, within ten minutes")
    assert walk.device.meter.log.security[-1].detail == "engineering menu"
    await walk.wait(601)


async def story(home: Home) -> dict[str, str]:
    faces = {"esme": home.esme, "gsme": home.gsme, "ppmid": home.ppmid, "ihd": home.ihd}
    walks = {name: Walk(home, device) for name, device in faces.items()}
    esme, gsme, ppmid = walks["esme"], walks["gsme"], walks["ppmid"]
    await to_hour(home, 1.75)
    await look_everywhere(walks, "low credit")
    await to_hour(home, 3.6)
    await look_everywhere(walks, "emergency credit is on offer")
    esme.chapter("emergency credit taken with A on the credit page")
    esme.press("7", "A")
    await esme.wait(60)
    ppmid.chapter("emergency credit of gas taken with OK on its credit page")
    while ppmid.device.panel.page != "gas credit":
        ppmid.device.press(">")
    ppmid.press("OK")
    await to_hour(home, 5.7)
    await look_everywhere(walks, "emergency credit in use")
    await to_hour(home, 7.7)
    assert (home.esme.meter.supply.state, home.gsme.meter.supply.state) == (SupplyState.OFF, SupplyState.OFF)
    await look_everywhere(walks, "off")
    esme.chapter("a top-up makes ready, A and B switch on")
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    esme.press(f"A{token}B", shows="A, the code, B")
    await esme.wait(17)
    await ppmid.wait(120)
    for walk in (esme, ppmid, walks["ihd"]):
        walk.look("ready")
    esme.press("A", "B")
    ppmid.chapter("a top-up of gas, and OK to switch on")
    while ppmid.device.panel.page != "gas credit":
        ppmid.device.press(">")
    token = home.headend.make_utrn(home.gsme.eui64, pounds=10)
    ppmid.press(token[:6], shows="six digits")
    ppmid.press("BACK")
    ppmid.press("OK")
    ppmid.press(token, shows="all 20 digits")
    ppmid.press("OK")
    await ppmid.wait(1860)
    ppmid.look("when the meter has woken")
    gsme.chapter("ready")
    gsme.look("on the glass")
    await ppmid.wait(70)
    ppmid.look("home page")
    ppmid.press("OK")
    await ppmid.wait(1860)
    ppmid.look("when the meter has woken")
    assert home.gsme.meter.supply.is_on
    for walk in (esme, gsme):
        await type_codes(home, walk)
        await engineering_menu(walk)
    await to_hour(home, 33)
    await look_everywhere(walks, "the next day")
    return {name: walk.text for name, walk in walks.items()}


async def test_every_face_reads_as_the_golden_texts(smets1_home: Any, tmp_path: Path) -> None:
    csv = tmp_path / "load.csv"
    hours = [(f"2023-01-{16 + hour // 24} {hour % 24:02}:00:00", hour) for hour in range(48)]
    rows = [f"{when},{ELECTRICITY.get(hour, 0)},{GAS.get(hour, 0)}" for when, hour in hours]
    csv.write_text("\n".join(["local_time,elec_import_kwh,gas_kwh", *rows]) + "\n")
    loads = "".join(
        f'[[load]]\nfuel = "{fuel}"\nkind = "csv"\nfile = "{csv}"\n' for fuel in ("electricity", "gas")
    )
    home = await smets1_home(toml=TOML + loads)
    told = await story(home)
    compare(told)


def test_the_golden_texts_have_every_page() -> None:
    """Key by key and page by page, in plenty and in need."""
    for meter in ("esme", "gsme"):
        text = (GOLDEN / f"{meter}.txt").read_text(encoding="utf-8")
        titles = [
            "STATUS",
            "TIME",
            "TODAY",
            "THIS WEEK",
            "THIS MONTH",
            "MONTHS",
            "DEBT",
            "TARIFF",
            "CREDIT",
            "FRIENDLY CREDIT",
            "TOTAL",
            "CODES",
            "ENGINEERING",
            "TAMPER",
            "FIRMWARE",
        ]
        words = ["Added", "Duplicate", "Invalid", "Incorrect", "Incomplete", "READY"]
        for word in (
            *titles,
            *words,
            "Vend Mode",
            "Account High",
            "Key Locked",
            "NO CREDIT",
            "EMERGENCY CREDIT",
        ):
            assert f"| {word} " in text, f"{meter}: {word}"
        assert PIN not in text
    for display in ("ppmid", "ihd"):
        text = (GOLDEN / f"{display}.txt").read_text(encoding="utf-8")
        for fuel in ("electricity", "gas"):
            for name in ("credit", "use", "cost", "history", "meter"):
                assert f"page {fuel} {name}\n" in text
        assert "page home\n" in text
        assert "page messages\n" in text


# --- one key at a time ------------------------------------------------------------------------------

CALM = "[han]\nreport_interval_s = 300\n[prepayment]\nbalance_pounds = 20\n"


async def test_a_code_typed_at_the_meter_credits_the_whole_home(smets1_home: Any) -> None:
    home = await smets1_home(toml=CALM)
    await home.clock.advance(minutes=10)
    for meter, shown in ((home.esme, "electricity credit"), (home.gsme, "gas credit")):
        before_mp = meter.account.balance_mp
        token = home.headend.make_utrn(meter.eui64, pounds=10)
        assert meter.press("A") == []
        assert meter.shown == ["Vend Mode", ""]
        assert meter.press(token) == []
        await home.clock.advance(seconds=21)  # idle submits
        assert meter.shown == ["£10.00"]
        assert 990_000 < meter.account.balance_mp - before_mp <= 1_000_000
        await home.clock.advance(minutes=6)  # reports every 5 minutes; the gas meter has woken at the key
        for display in (home.ppmid, home.ihd):
            assert display.screen[shown][1].split("£")[1][:4] in ("29.9", "30.0"), shown
        again = meter.press(f"A{token}B")
        assert [result.result for result in again] == [ResultType.REJECTED_DUPLICATE_TOP_UP]
        answer = await home.ppmid.enter_utrn(token, "gas" if meter is home.gsme else "electricity")
        assert answer.result is ResultType.REJECTED_DUPLICATE_TOP_UP


async def test_the_lock_of_the_keypad_outlives_a_power_cut(smets1_home: Any, tmp_path: Path) -> None:
    home = await smets1_home(toml=CALM, nvm_dir=tmp_path)
    for _ in range(5):
        home.esme.press("A1B")
        await home.clock.advance(seconds=5)
    home.esme.press("A")
    assert home.esme.shown == ["Key Locked"]
    await home.power_off()
    again = await smets1_home(toml=CALM, nvm_dir=tmp_path)
    again.esme.press("A")
    assert again.esme.shown == ["Key Locked"]
    await again.clock.advance(minutes=10)
    again.esme.press("A")
    assert again.esme.shown == ["Vend Mode", ""]


async def test_a_key_that_is_not_there_is_refused_before_any_is_pressed(smets1_home: Any) -> None:
    home = await smets1_home(toml=CALM)
    with pytest.raises(InputError, match="no key 'C': the keys are 0 1 2"):
        home.esme.press("AC")
    assert home.esme.shown[0] == "STATUS"
    with pytest.raises(InputError, match="no key 'A': the keys are < > OK BACK 0"):
        home.ihd.press("> A")
    assert home.ihd.panel.page == "home"


async def test_an_ihd_only_turns_pages(smets1_home: Any) -> None:
    home = await smets1_home(toml=CALM)
    await home.clock.advance(minutes=2)
    home.ihd.press("> 7 3 OK")
    assert home.ihd.shown == home.ihd.screen["electricity credit"]
    await home.clock.advance(minutes=1)
    assert home.ihd.shown == home.ihd.screen["home"]
