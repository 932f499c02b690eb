"""Head end and a hub over the real WAN protocol, in memory and virtual time."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from lxml import etree
from tests.headend.conftest import CHF, ESME, START_UTC_US, Rig, code_of, request_xml

from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.wan.head_end import HeadEndWan
from smets1.firmware.wan.hub_end import HubWanEnd
from smets1.firmware.wan.memory import MemoryBroker
from smets1.firmware.wan.messages import WanRequest, WanResponse
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.firmware.zcl.frame import command_frame
from smets1.firmware.zcl.status import Side
from smets1.hardware.clock import EmulatorLoop
from smets1.headend.duis.signature import XmlSigner
from smets1.headend.head_end import HeadEnd

TOP_UP = request_xml("2.2", "<sr:TopUpDevice><sr:UTRN>73946144332040217315</sr:UTRN></sr:TopUpDevice>")
BALANCE = request_xml("4.18", "<sr:ReadMeterBalance/>")


class Wide:
    """The rig's parts, joined by a broker."""

    def __init__(self, rig: Rig) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.rig = rig
        self.civil = CivilClock(loop, START_UTC_US)
        self.broker = MemoryBroker(loop)
        self.hub_nvm, self.wan_nvm = MemoryNvm(), MemoryNvm()

        async def execute(request: WanRequest) -> WanResponse:
            return rig.hub._execute(request)

        hub_link = self.broker.link("hub", random.Random(1))
        self.hub = HubWanEnd(hub_link, CHF, self.hub_nvm, self.civil, execute, rng=random.Random(2))
        self.wan = self._new_wan()
        self.head_end = self._new_head_end()

    def _new_wan(self) -> HeadEndWan:
        link = self.broker.link("s1sp", random.Random(3))
        return HeadEndWan(link, self.wan_nvm, self.civil, rng=random.Random(4))

    def _new_head_end(self) -> HeadEnd:
        s1sp = 0x90B3D51F30000001
        head_end = HeadEnd(
            store=self.rig.store,
            wan=self.wan,
            dco=self.rig.dco,
            civil=self.civil,
            signer=XmlSigner(self.rig.credentials[s1sp]),
            random_octets=random.Random(5).randbytes,
        )
        self.wan.on_event = head_end.on_event
        return head_end

    async def start(self) -> None:
        await self.wan.start()
        await self.head_end.start()

    async def restart(self) -> None:
        await self.head_end.close()
        await self.wan.close()
        self.wan_nvm = self.wan_nvm.after_power_cut()
        self.wan, old = self._new_wan(), self.head_end
        self.head_end = self._new_head_end()
        assert old is not self.head_end
        await self.start()

    async def close(self) -> None:
        await self.head_end.close()
        await self.wan.close()
        await self.hub.close()


async def submit(wide: Wide, xml: bytes, wait_s: float | None = 10) -> str:
    return code_of(etree.fromstring(await wide.head_end.submit(xml, wait_s=wait_s)))


async def test_there_and_back(rig: Rig) -> None:
    wide = Wide(rig)
    await wide.hub.start()
    await wide.start()
    assert await submit(wide, BALANCE) == "I0"
    assert await submit(wide, TOP_UP.replace(b":1000<", b":1001<")) == "I0"
    assert wide.wan.pending() == []
    await wide.close()


async def test_the_hub_comes_back_hours_later(rig: Rig) -> None:
    wide = Wide(rig)
    await wide.start()
    assert await submit(wide, TOP_UP) == "I99"
    await asyncio.sleep(3600)
    await wide.restart()
    await asyncio.sleep(3600)
    await wide.hub.start()
    await asyncio.sleep(60)
    (response,) = wide.head_end.responses()
    assert b'MessageSuccess="true"' in response.xml
    assert rig.hub.meters[ESME].top_ups == ["73946144332040217315"]
    await wide.close()


async def test_the_hub_never_comes_back(rig: Rig) -> None:
    wide = Wide(rig)
    await wide.start()
    assert await submit(wide, BALANCE, wait_s=90_000) == "E20"
    assert len(wide.head_end.responses()) == 1
    await wide.close()


async def test_status_push_is_acknowledged(rig: Rig) -> None:
    wide = Wide(rig)
    await wide.hub.start()
    await wide.start()
    genuine: Any = rig.hub.meters[ESME].sua
    generation, confirmation = genuine.confirmation(ESME)
    fields = {"generation": generation, "confirmation": confirmation}
    frame = command_frame(AUTHORISATION, "status_push", fields, sender=Side.SERVER)
    wide.hub.report(ESME, 1, AUTHORISATION.cluster_id, frame)
    await asyncio.sleep(5)
    assert rig.hub.meters[ESME].executed == ["status_push_ack"]
    await wide.close()
