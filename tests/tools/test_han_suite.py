"""`[han] suite = 2`: the whole home joins with certificates and keys on sect283k1."""

from __future__ import annotations

from pathlib import Path

import pytest

from smets1.errors import InputError
from smets1.firmware.crypto.cbke import CbkeSuite
from smets1.hardware.radio import KeyOrigin
from smets1.tools.home_file import parse_home


async def test_a_home_of_suite_2(smets1_home):
    home = await smets1_home(seed=2, toml="[han]\nsuite = 2\n")
    hub = home.chf
    for device in (home.esme, home.gsme, home.ppmid, home.ihd):
        assert device.factory.identity.suite is CbkeSuite.SUITE_2
        own = device.port.link_key(hub.eui64)
        theirs = hub.port.link_key(device.eui64)
        assert own.origin is theirs.origin is KeyOrigin.ESTABLISHED
        assert own.key == theirs.key
    short = await hub.port.find_short(home.ihd.eui64)
    suites = await hub.app.read(short, 1, "key_establishment", ["key_establishment_suite"])
    assert suites == {"key_establishment_suite": 2}


def test_suite_1_where_nothing_is_said():
    assert parse_home("", Path("home.toml")).han.cbke_suite == 1


@pytest.mark.parametrize("suite", ["0", "3", '"2"'])
def test_there_is_no_other(suite):
    with pytest.raises(InputError):
        parse_home(f"[han]\nsuite = {suite}\n", Path("home.toml"))
