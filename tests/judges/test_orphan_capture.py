"""A gas meter loses its hub for a moment and asks for it as an orphan, as tshark reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tshark import TSHARK, Step, faults, follow, read_capture

pytestmark = [pytest.mark.outsider, pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")]

HUB = 0x0000


async def test_an_orphan_is_realigned_and_rejoins(smets1_home: Any, tmp_path: Path) -> None:
    path = tmp_path / "orphan.pcapng"
    home = await smets1_home(seed=62, capture=path)
    meter = home.gsme.port.network.short_address
    on_network_down = home.gsme.on_network_down

    def on_lost(reason: str) -> None:
        home.air.faults.mend(home.gsme.eui64, home.chf.eui64)
        on_network_down(reason)

    home.gsme.on_network_down = on_lost
    home.air.faults.cut(home.gsme.eui64, home.chf.eui64)
    await home.clock.advance(hours=1)
    await home.clock.advance(minutes=2)
    assert home.gsme.keyed.is_set()
    keys = home.keys.lines()
    await home.close()
    rows = read_capture(path, keys)
    assert faults(rows) == []
    follow(
        rows,
        Step("Orphan Notification"),
        Step("Coordinator Realignment"),
        Step("Rejoin Request", source=meter, destination=HUB),
        Step("Rejoin Response", source=HUB, destination=meter),
    )
