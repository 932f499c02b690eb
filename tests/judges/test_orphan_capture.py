"""A gas meter loses its hub for a moment and asks for it as an orphan, as tshark reads it."""

from __future__ import annotations

import pytest
from judged_home import JudgedHomes
from tshark import TSHARK, Step

pytestmark = [pytest.mark.outsider, pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")]

HUB = 0x0000


async def test_an_orphan_is_realigned_and_rejoins(smets1_home: JudgedHomes) -> None:
    home = await smets1_home(seed=62)
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
    await smets1_home.tell(
        Step("Orphan Notification"),
        Step("Coordinator Realignment"),
        Step("Rejoin Request", source=meter, destination=HUB),
        Step("Rejoin Response", source=HUB, destination=meter),
        never=[Step("Association Request", source=meter)],
    )
    with pytest.raises(AssertionError, match="Orphan Notification"):  # the judge can say so
        await smets1_home.tell(never=[Step("Orphan Notification")])
