"""Joining switched off and on by engineering codes at the electricity meter, which the hub sits on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smets1.devices.special_codes import Engineering, make_special_code
from smets1.firmware.zcl.clusters.smets1 import HUB_CONTROL
from smets1.firmware.zcl.frame import command_frame
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.tools.home import Home
from smets1.tools.trial_keys import prepayment_key

SUPPLIER = 0x90B3D51F30010000
CALM = "[han]\nreport_interval_s = 1800\n"


def code(home: Home, counter: int, what: Engineering) -> str:
    key = prepayment_key(home.config.seed, home.esme.eui64)
    return make_special_code(
        key, originator=SUPPLIER, target=home.esme.eui64, counter=counter, engineering=what
    )


async def forget_and_return(home: Home) -> Any:
    """The IHD comes back from the factory: it has to join anew."""
    eui64 = home.ihd.eui64
    await home.cut_power(eui64)
    memory = home.nvm_of(eui64)
    memory.replace_all({})
    memory.commit()
    await home.restore_power(eui64)
    return home.device(eui64)


async def test_no_device_joins_while_it_is_off(smets1_home: Any) -> None:
    home = await smets1_home(toml=CALM)
    (result,) = home.esme.press("A" + code(home, 1, Engineering.JOINING_OFF) + "B")
    assert result.is_accepted
    await home.clock.advance(seconds=30)
    assert not home.chf.is_open_to_join
    display = await forget_and_return(home)
    await home.clock.advance(minutes=20)
    assert display.port.network is None
    assert not display.keyed.is_set()
    assert home.ppmid.model.view(utc_us=home.clock.utc_us).is_connected, "who is in stays in"
    (result,) = home.esme.press("A" + code(home, 2, Engineering.JOINING_ON) + "B")
    assert result.is_accepted
    await home.clock.advance(minutes=20)
    assert display.keyed.is_set()


async def test_the_hub_remembers_it_over_a_restart(smets1_home: Any, tmp_path: Path) -> None:
    home = await smets1_home(toml=CALM, nvm_dir=tmp_path)
    await home.ppmid.enter_utrn(code(home, 1, Engineering.JOINING_OFF))
    await home.clock.advance(seconds=30)
    await home.power_off()
    again = await smets1_home(toml=CALM, nvm_dir=tmp_path)
    assert not again.chf.is_open_to_join
    await again.clock.advance(minutes=10)
    assert again.ihd.keyed.is_set(), "its own network lets a device back in"


async def test_a_hub_that_is_away_hears_of_it_later(smets1_home: Any) -> None:
    home = await smets1_home(toml=CALM)
    home.wire.is_cut = True
    home.esme.press("A" + code(home, 1, Engineering.JOINING_OFF) + "B")
    await home.clock.advance(minutes=10)
    assert home.chf.is_open_to_join
    await home.cut_power(home.esme.eui64)
    await home.restore_power(home.esme.eui64)
    home.wire.is_cut = False
    await home.clock.advance(minutes=3)
    assert not home.chf.is_open_to_join


@pytest.mark.parametrize("via", [Via.HAN, Via.WAN, Via.SUA])
async def test_nobody_else_may_say_so(smets1_home: Any, via: Via) -> None:
    home = await smets1_home(toml=CALM)
    frame = command_frame(HUB_CONTROL, "set_joining", {"is_open": False})
    context = CommandContext(now_us=0, via=via, source=home.ihd.port.network.short_address)
    home.chf.app.execute(1, HUB_CONTROL.cluster_id, frame, context)
    assert home.chf.is_open_to_join
