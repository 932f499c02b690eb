"""A worker ends, and another takes its hubs: on a real PostgreSQL, which alone knows who holds what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from lxml import etree
from tests.headend.conftest import S1SP, START_UTC_US, SUA_KEY, FakeHub, FakeMeter, code_of, request_xml
from tests.headend.test_postgresql import cluster  # a fixture
from tests.headend.test_sharing import BALANCE, HUBS, METERS

from smets1.errors import InputError, LostError
from smets1.eui64 import format_eui64
from smets1.firmware.civil import CivilClock
from smets1.firmware.seed import SeedTree
from smets1.firmware.wan.messages import WanRequest, WanResponse
from smets1.hardware.clock import EmulatorLoop
from smets1.headend.dco import AuthorisationRequest, Dco
from smets1.headend.duis.codes import DeviceType, UserRole
from smets1.headend.duis.signature import XmlSigner
from smets1.headend.head_end import HeadEnd, HeadEndSettings
from smets1.headend.inventory import InventoryDevice
from smets1.headend.leases import Leases
from smets1.headend.sharing import GRACE_S
from smets1.headend.sql_nvm import SqlNvm
from smets1.headend.srv import frames
from smets1.headend.srv.critical import Authorisation, Instruction
from smets1.headend.store import Store

__all__ = ["cluster"]

pytestmark = pytest.mark.outsider

SUPPLY = 0x0702
TOKEN = "73946144332040217315"


def end_session(of: Store, by: Store) -> None:
    """As kill -9 of the process does, seen from the server."""
    pid = of._connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    of._connection.commit()
    with by._engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def test_a_lock_lasts_as_long_as_its_session(cluster: str) -> None:
    one, two = Store.open(cluster), Store.open(cluster)
    mine, others = Leases(one), Leases(two)
    assert mine.announce(3)
    assert not others.announce(3)
    assert mine.take(7)
    assert not others.take(7)
    assert others.look() == ({3}, {7})
    mine.give(7)
    assert others.take(7)
    others.give(7)
    assert mine.take(7)
    end_session(one, two)
    assert others.take(7)
    for _ in range(2):
        with pytest.raises(LostError):
            one.is_known("anything")  # it must not come back with another session
    with pytest.raises(LostError):
        mine.take(8)
    assert others.look() == (set(), {7})
    one.close()
    two.close()


def test_who_hangs_is_cut_off(cluster: str) -> None:
    one, two = Store.open(cluster), Store.open(cluster)
    assert Leases(one, idle_s=1).announce(0)
    assert Leases(two, idle_s=60).announce(1)
    with two._engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_sleep(2)"))
    assert Leases(two).look()[0] == {1}
    with pytest.raises(LostError):
        one.is_known("anything")
    one.close()
    two.close()


def test_only_a_server_can_be_shared(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="PostgreSQL"):
        Leases(Store.open(tmp_path / "a.db")).announce(0)


# --- the DCO's keys ------------------------------------------------------------------------------


def test_what_is_put_is_found_by_another(cluster: str) -> None:
    one, two = SqlNvm.open(cluster, "party"), SqlNvm.open(cluster, "party")
    one.put("a/1", b"x")
    one.put("a%", b"y")
    assert one.get("a/1") == b"x"
    assert two.get("a/1") is None
    one.commit()
    assert (two.get("a/1"), two.keys("a/"), two.keys()) == (b"x", ["a/1"], ["a%", "a/1"])
    two.delete("a/1")
    assert two.keys() == ["a%"]
    two.commit()
    assert one.get("a/1") is None
    assert SqlNvm.open(cluster, "another").keys() == []
    one.close()
    two.close()


def test_what_changed_meanwhile_is_not_overwritten(cluster: str) -> None:
    one, two = SqlNvm.open(cluster, "race"), SqlNvm.open(cluster, "race")
    for before in (None, b"first"):
        assert one.get("counter") == two.get("counter") == before
        one.put("counter", b"first" if before is None else b"second")
        two.put("counter", b"other")
        one.commit()
        with pytest.raises(LostError):
            two.commit()
    assert two.get("counter") == b"second"
    two.commit()  # what could not be written is not tried again
    assert one.get("counter") == b"second"
    one.close()
    two.close()


def make_dco(cluster: str, worker: int) -> Dco:
    nvm = SqlNvm.open(cluster, "dco")
    return Dco(nvm, random_octets=SeedTree(9).random("dco").randbytes, desk=str(worker))


def test_another_worker_gives_the_same_code_for_the_same_instruction(cluster: str) -> None:
    device = 0x00DB000000ABCDEF
    dcos = [make_dco(cluster, worker) for worker in (0, 1)]
    dcos[0].enrol(device, SUA_KEY)
    values: dict[str, frames.Value] = {
        "provider_id": 0,
        "issuer_event_id": 1,
        "request_date_time": 0,
        "implementation_date_time": 0,
        "proposed_supply_status": 0,
        "supply_control_bits": 0,
    }
    frame = frames.command(SUPPLY, "change_supply", values)
    given: list[Authorisation] = []
    for number, dco in ((0, dcos[0]), (0, dcos[1]), (1, dcos[1]), (1, dcos[0])):
        request = AuthorisationRequest(
            instruction_id=f"{number}",
            device=device,
            srv="7.2",
            role=UserRole.IS,
            instruction=Instruction(cluster_id=SUPPLY, frame=frame),
        )
        given.append(dco.authorise(request, now_utc_us=START_UTC_US))
    assert [code.counter for code in given] == [1, 1, 2, 2]
    assert given[0] == given[1] != given[2] == given[3]


# --- whole workers -------------------------------------------------------------------------------


class World:
    """All hubs, as they are: one memory of answers, whichever worker asks."""

    def __init__(self) -> None:
        self.hub = FakeHub()
        first = next(iter(self.hub.meters.values()))
        self.hub.meters = {meter: FakeMeter(dict(first.attributes), first.sua) for meter in METERS}


class Port:
    """One worker's way to the hubs that it serves; `is_dead`: nothing leaves or comes any more."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[WanRequest] = []
        self.served: list[int] = []
        self.is_silent = False

    async def ask(self, hub: int, request: WanRequest) -> WanResponse:
        assert hub in self.served, "another worker's hub"
        self.asked.append(request)
        if self.is_silent:
            self.world.hub._answer(request)  # done, and the answer lost
            await asyncio.get_running_loop().create_future()
        return self.world.hub._answer(request)

    def forget(self, request_id: str) -> None:
        pass

    def serve(self, hubs: Sequence[int]) -> None:
        self.served = list(hubs)


class Worker:
    def __init__(self, number: int, cluster: str, world: World, signer: XmlSigner) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.port = Port(world)
        self.lost: list[LostError] = []
        dco = make_dco(cluster, number)
        for meter in METERS:
            dco.enrol(meter, SUA_KEY)
        self.head_end = HeadEnd(
            store=Store.open(cluster),
            wan=self.port,
            dco=dco,
            civil=CivilClock(loop, START_UTC_US - loop.now_us()),
            signer=signer,
            random_octets=SeedTree(5).random("s1sp").randbytes,
            settings=HeadEndSettings(worker=number, workers=2),
        )
        self.head_end.sharing.on_hubs = self.port.serve
        self.head_end.on_lost = self.lost.append

    async def ask(self, xml: bytes, path: str = "serviceS", wait_s: float | None = 30) -> etree._Element:
        return etree.fromstring(await self.head_end.submit(xml, path, wait_s=wait_s))

    async def close(self) -> None:
        await self.head_end.close()
        self.head_end.store.close()


@pytest.fixture
async def workers(cluster: str, credentials: Any) -> AsyncIterator[list[Worker]]:
    world, signer = World(), XmlSigner(credentials[S1SP])
    made = [Worker(number, cluster, world, signer) for number in (0, 1)]
    for hub, meter in zip(HUBS, METERS, strict=True):
        for eui64, device_type in ((hub, DeviceType.CHF), (meter, DeviceType.ESME)):
            made[0].head_end.inventory.put(InventoryDevice(eui64=eui64, device_type=device_type, hub=hub))
    for worker in made:
        await worker.head_end.start()
    yield made
    for worker in made:
        await worker.close()


_counter = iter(range(1_000_000, 2_000_000))


def post(srv: str, body: str, meter: int = METERS[0]) -> bytes:
    return request_xml(srv, body, target=format_eui64(meter), counter=next(_counter))


def responses(worker: Worker, xml: bytes) -> list[bytes]:
    key = etree.fromstring(xml).findtext(".//{*}RequestID")
    return [one.xml for one in worker.head_end.responses(limit=1000) if one.key == key]


def kill(worker: Worker, other: Worker) -> None:
    end_session(worker.head_end.store, other.head_end.store)


async def test_each_has_its_own_hub(workers: list[Worker]) -> None:
    assert [worker.port.served for worker in workers] == [[HUBS[0]], [HUBS[1]]]
    for meter in METERS:
        for door in workers:
            assert code_of(await door.ask(post("4.18", BALANCE, meter))) == "I0"


@pytest.mark.parametrize(
    ("srv", "body", "count"),
    [
        ("2.2", f"<sr:TopUpDevice><sr:UTRN>{TOKEN}</sr:UTRN></sr:TopUpDevice>", "consumer_top_up"),
        ("7.2", "<sr:DisableSupply/>", "change_supply"),
        ("4.18", BALANCE, None),
    ],
)
async def test_what_was_under_way_is_answered_by_another_and_done_once(
    workers: list[Worker], srv: str, body: str, count: str | None
) -> None:
    dead, heir = workers
    dead.port.is_silent = True
    xml = post(srv, body)
    assert code_of(await dead.ask(xml, wait_s=1)) == "I99"
    (asked,) = dead.port.asked
    kill(dead, heir)
    await asyncio.sleep(GRACE_S + 1)
    assert dead.lost
    assert dead.port.served == []
    assert heir.head_end.sharing.shares == (0, 1)
    assert heir.port.served == sorted(HUBS)
    assert heir.port.asked == [asked], "the same octets, by the same id"
    (answer,) = responses(heir, xml)
    assert b'MessageSuccess="true"' in answer
    if count is not None:
        assert heir.port.world.hub.meters[METERS[0]].executed.count(count) == 1
    with pytest.raises(LostError):
        await dead.ask(post("4.18", BALANCE))
    assert code_of(await heir.ask(post("4.18", BALANCE))) == "I0"


async def test_it_is_told_once(workers: list[Worker], caplog: pytest.LogCaptureFixture) -> None:
    """However much was in hand."""
    dead, heir = workers
    dead.port.is_silent = True
    for _ in range(20):
        await dead.ask(post("4.18", BALANCE), wait_s=0.01)
    kill(dead, heir)
    await asyncio.sleep(GRACE_S + 1)
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) <= 2, said


async def test_who_waits_at_the_door_is_answered_by_the_heir(workers: list[Worker]) -> None:
    """The door is one worker's, the hub was the other's, which is killed meanwhile."""
    door, dead = workers
    dead.port.is_silent = True
    waiting = asyncio.create_task(door.ask(post("4.18", BALANCE, METERS[1]), wait_s=60))
    await asyncio.sleep(1)
    assert dead.port.asked
    kill(dead, door)
    assert code_of(await waiting) == "I0"


async def test_a_worker_that_is_there_again_gets_its_hubs_back(
    workers: list[Worker], cluster: str, credentials: Any
) -> None:
    dead, heir = workers
    kill(dead, heir)
    await asyncio.sleep(GRACE_S + 1)
    heir.port.is_silent = True
    waiting = asyncio.create_task(heir.ask(post("4.18", BALANCE), wait_s=60))
    await asyncio.sleep(1)
    assert not waiting.done()
    again = Worker(0, cluster, heir.port.world, XmlSigner(credentials[S1SP]))
    await again.head_end.start()
    assert again.head_end.sharing.shares == ()
    await asyncio.sleep(1)
    assert (again.head_end.sharing.shares, heir.head_end.sharing.shares) == ((0,), (1,))
    assert (again.port.served, heir.port.served) == ([HUBS[0]], [HUBS[1]])
    assert code_of(await waiting) == "I0", "the request went back with its hub"
    assert again.port.asked == heir.port.asked
    await again.close()


async def test_a_quick_restart_moves_nothing(workers: list[Worker], cluster: str, credentials: Any) -> None:
    dead, heir = workers
    kill(dead, heir)
    await asyncio.sleep(GRACE_S / 2)
    again = Worker(0, cluster, heir.port.world, XmlSigner(credentials[S1SP]))
    await again.head_end.start()
    assert again.head_end.sharing.shares == (0,)
    await asyncio.sleep(2 * GRACE_S)
    assert heir.head_end.sharing.shares == (1,)
    await again.close()


async def test_one_that_closes_hands_over(workers: list[Worker]) -> None:
    dead, heir = workers
    await dead.close()
    assert dead.port.served == []
    await asyncio.sleep(GRACE_S + 1)
    assert heir.head_end.sharing.shares == (0, 1)


async def test_a_second_process_of_the_same_number_does_nothing(
    workers: list[Worker], cluster: str, credentials: Any
) -> None:
    twin = Worker(0, cluster, workers[0].port.world, XmlSigner(credentials[S1SP]))
    await twin.head_end.start()
    await asyncio.sleep(3 * GRACE_S)
    assert twin.head_end.sharing.shares == ()
    assert workers[0].head_end.sharing.shares == (0,)
    assert code_of(await twin.ask(post("4.18", BALANCE))) == "I0", "its door is open all the same"
    await twin.close()


async def test_whose_responses_are_posted_by_whom(workers: list[Worker]) -> None:
    users = [user.eui64 for user in workers[0].head_end.users.all()]

    def posters() -> list[list[bool]]:
        return [[worker.head_end.sharing.posts_for(user) for user in users] for worker in workers]

    one, two = posters()
    assert all(a != b for a, b in zip(one, two, strict=True))
    kill(workers[0], workers[1])
    await asyncio.sleep(GRACE_S + 1)
    assert posters() == [[False] * len(users), [True] * len(users)]


async def test_future_dated_requests_and_schedules_go_along(workers: list[Worker]) -> None:
    dead, heir = workers
    when = "<sr:ExecutionDateTime>2024-03-01T12:00:30Z</sr:ExecutionDateTime>"
    dated = post("4.18", f"<sr:ReadMeterBalance>{when}</sr:ReadMeterBalance>")
    assert code_of(await dead.ask(dated, wait_s=1)) == "I99"
    kill(dead, heir)
    await asyncio.sleep(60)
    (answer,) = responses(heir, dated)
    assert b"MeterBalance>" in answer
    assert not dead.port.asked
