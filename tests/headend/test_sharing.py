"""Two head-end workers on one store, a real PostgreSQL: whose request, who answers, who knows what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from lxml import etree
from tests.headend.conftest import S1SP, START_UTC_US, SUA_KEY, FakeHub, code_of, request_xml
from tests.headend.test_postgresql import cluster  # a fixture

from smets1.eui64 import format_eui64
from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.seed import SeedTree
from smets1.firmware.wan.head_end import worker_of
from smets1.firmware.wan.messages import WanRequest, WanResponse
from smets1.hardware.clock import EmulatorLoop
from smets1.headend.dco import Dco
from smets1.headend.duis.codes import DeviceStatus, DeviceType
from smets1.headend.duis.signature import XmlSigner
from smets1.headend.head_end import HeadEnd, HeadEndSettings
from smets1.headend.inventory import InventoryDevice
from smets1.headend.store import Store

__all__ = ["cluster"]

pytestmark = pytest.mark.outsider

_FIRST = 0x00DB000000000010
HUBS = [next(hub for hub in range(_FIRST, _FIRST + 99) if worker_of(hub, 2) == worker) for worker in (0, 1)]
METERS = [hub + 0x1000 for hub in HUBS]
DSP = "90-B3-D5-1F-30-00-00-02"
BALANCE = "<sr:ReadMeterBalance/>"


class OneHub(FakeHub):
    """A WAN on which only one home is."""

    def __init__(self, worker: int) -> None:
        super().__init__()
        self.hub = HUBS[worker]
        self.meters = {METERS[worker]: next(iter(self.meters.values()))}

    async def ask(self, hub: int, request: WanRequest) -> WanResponse:
        assert hub == self.hub, "another worker's hub"
        self.asked.append(request)
        if self.is_silent:
            await asyncio.get_running_loop().create_future()
        return self._answer(request)


@dataclass
class Worker:
    head_end: HeadEnd
    hub: OneHub

    async def ask(self, xml: bytes, path: str = "serviceS", wait_s: float | None = 5) -> etree._Element:
        return etree.fromstring(await self.head_end.submit(xml, path, wait_s=wait_s))


@pytest.fixture
async def workers(cluster: str, credentials: Any) -> AsyncIterator[list[Worker]]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    made: list[Worker] = []
    for number in (0, 1):
        dco = Dco(MemoryNvm(), random_octets=SeedTree(9).random("dco").randbytes)
        dco.enrol(METERS[number], SUA_KEY)
        hub = OneHub(number)
        head_end = HeadEnd(
            store=Store.open(cluster),
            wan=hub,
            dco=dco,
            civil=CivilClock(loop, START_UTC_US - loop.now_us()),
            signer=XmlSigner(credentials[S1SP]),
            random_octets=SeedTree(5).random("s1sp").randbytes,
            settings=replace(HeadEndSettings(), worker=number, workers=2, request_ids="reused"),
        )
        made.append(Worker(head_end, hub))
    for hub_eui64, meter in zip(HUBS, METERS, strict=True):
        for eui64, device_type in ((hub_eui64, DeviceType.CHF), (meter, DeviceType.ESME)):
            device = InventoryDevice(eui64=eui64, device_type=device_type, hub=hub_eui64)
            made[0].head_end.inventory.put(device)
    for worker in made:
        await worker.head_end.start()
    yield made
    for worker in made:
        await worker.head_end.close()
        worker.head_end.store.close()


def balance(meter: int, counter: int) -> bytes:
    return request_xml("4.18", BALANCE, target=format_eui64(meter), counter=counter)


async def test_any_door_and_the_hubs_own_worker(workers: list[Worker]) -> None:
    for number, meter in enumerate(METERS):
        for door in workers:
            response = await door.ask(balance(meter, 10 + number))
            assert code_of(response) == "I0", (number, etree.tostring(response))
            assert response.find(".//{*}MeterBalance") is not None
    assert [len(worker.hub.asked) for worker in workers] == [2, 2]


async def test_one_response_to_each_of_many(workers: list[Worker]) -> None:
    before = len(workers[0].head_end.responses(limit=1000))
    posts = [
        workers[counter % 2].ask(balance(METERS[counter // 2 % 2], 100 + counter), wait_s=None)
        for counter in range(40)
    ]
    assert {code_of(response) for response in await asyncio.gather(*posts)} == {"I99"}
    await asyncio.sleep(2)
    found = workers[0].head_end.responses(limit=1000)[before:]
    keys = [response.key for response in found]
    assert len(keys) == len(set(keys)) == 40
    assert [len(worker.hub.asked) for worker in workers] == [20, 20]


async def test_what_one_writes_the_other_knows(workers: list[Worker]) -> None:
    workers[0].head_end.inventory.set_status(METERS[1], DeviceStatus.SUSPENDED)
    assert code_of(await workers[1].ask(balance(METERS[1], 200))) == "E5"
    workers[0].head_end.inventory.set_status(METERS[1], DeviceStatus.COMMISSIONED)
    assert code_of(await workers[1].ask(balance(METERS[1], 201))) == "I0"


async def test_a_schedule_made_at_one_door_runs_at_the_hubs_worker(workers: list[Worker]) -> None:
    body = (
        "<sr:CreateSchedule><sr:ScheduleFrequency>Daily</sr:ScheduleFrequency>"
        "<sr:ScheduleStartDate>2015-01-01</sr:ScheduleStartDate>"
        "<sr:ScheduleExecutionStartTime>12:00:05Z</sr:ScheduleExecutionStartTime>"
        "<sr:DSPScheduledServiceReference>4.16</sr:DSPScheduledServiceReference>"
        "<sr:DSPScheduledServiceReferenceVariant>4.16</sr:DSPScheduledServiceReferenceVariant>"
        f"<sr:DeviceID>{format_eui64(METERS[1])}</sr:DeviceID><sr:DSPReadActivePowerImport/></sr:CreateSchedule>"
    )
    created = await workers[0].ask(request_xml("5.1", body, target=DSP, cv=8, counter=300), "serviceD")
    assert code_of(created) == "I0"
    number = created.findtext(".//{*}DSPScheduleID")
    await asyncio.sleep(10)
    keys = [response.key or "" for response in workers[1].head_end.responses(limit=1000)]
    assert len([key for key in keys if key.startswith(f"schedule:{number}:")]) == 1
    assert [len(worker.hub.asked) for worker in workers] == [0, 1]
    gone = f"<sr:DeleteSchedule><sr:DSPScheduleID>{number}</sr:DSPScheduleID></sr:DeleteSchedule>"
    deleted = await workers[1].ask(request_xml("5.3", gone, target=DSP, cv=8, counter=301), "serviceD")
    assert code_of(deleted) == "I0"
    await asyncio.sleep(1)
    assert not workers[0].head_end._schedules.of_device(METERS[1])


async def test_a_cancellation_at_the_other_door(workers: list[Worker]) -> None:
    def dated(when: str, counter: int) -> bytes:
        body = (
            f"<sr:ReadMeterBalance><sr:ExecutionDateTime>{when}</sr:ExecutionDateTime></sr:ReadMeterBalance>"
        )
        return request_xml("4.18", body, target=format_eui64(METERS[1]), counter=counter)

    assert code_of(await workers[0].ask(dated("2024-03-05T00:00:00Z", 400), wait_s=1)) == "I99"
    assert code_of(await workers[0].ask(dated("3000-12-31T00:00:00Z", 401), wait_s=5)) == "I0"
    (ended,) = [
        etree.fromstring(response.xml)
        for response in workers[0].head_end.responses(limit=1000)
        if (response.key or "").split("#")[0].endswith(":400")
    ]
    assert code_of(ended) == "E41"


async def test_a_worker_that_comes_back_does_what_was_left_for_it(workers: list[Worker]) -> None:
    await workers[1].head_end.close()
    assert code_of(await workers[0].ask(balance(METERS[1], 500), wait_s=1)) == "I99"
    assert not workers[1].hub.asked
    revived = workers[1].head_end
    await revived.start()
    await asyncio.sleep(1)
    assert len(workers[1].hub.asked) == 1
