"""Client and server, machine to machine: whole upgrades, losses, power cuts, refusals, sleep."""

from __future__ import annotations

from random import Random

import pytest

from smets1.errors import DecodeError, RefusedError
from smets1.firmware.civil import zigbee_s
from smets1.firmware.images import ImageSlots
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.ota.client import Ask, OtaClient, OtaIdentity, OtaRules, Rest, Send, Start
from smets1.firmware.ota.image_file import OtaFile, OtaHeader
from smets1.firmware.ota.server import OtaServer
from smets1.firmware.zcl.clusters.ota_upgrade import ImageUpgradeStatus
from smets1.firmware.zcl.status import Status

METER = 0x00DB1234567890A1
SECOND = 1_000_000
DAY = 86_400 * SECOND
START = 1_700_000_000 * SECOND
IDENTITY = OtaIdentity(eui64=METER, manufacturer_code=0x1057, image_type=0)


def file(version=2, size=3000, **header) -> OtaFile:
    head = OtaHeader(manufacturer_code=0x1057, image_type=0, file_version=version, **header)
    return OtaFile.make(head, Random(version).randbytes(size))


def client(nvm=None, *, rules=None, identity=IDENTITY, at=START):
    slots = ImageSlots(nvm or MemoryNvm(), 1)
    subject = OtaClient(identity, slots, Random(1), utc_us=at, rules=rules)
    subject.poke(utc_us=at)
    return subject


class World:
    """A client and a server; each question costs 100 ms, a lost one 15 s."""

    def __init__(self, subject, server, *, loss=0.0, at=START):
        self.subject, self.server, self.loss = subject, server, loss
        self.at = at
        self.rng = Random(7)
        self.asked: list[str] = []
        self.rests: list[int] = []

    def run(self, until: int, *, cut_after: int | None = None) -> Start | None:
        while self.at < until:
            step = self.subject.next_step(utc_us=self.at)
            if isinstance(step, Start):
                return step
            if isinstance(step, Rest):
                assert step.until_utc_us > self.at
                self.rests.append(step.until_utc_us - self.at)
                self.at = min(step.until_utc_us, until)
                continue
            self.asked.append(step.command)
            if cut_after is not None and len(self.asked) >= cut_after:
                return None
            self.at += 100_000
            if isinstance(step, Send):
                for delay_us, values in self.server.page(step.values, METER):
                    self.at += delay_us and step.values["response_spacing"] * 1000
                    if self.rng.random() >= self.loss:
                        self.subject.on_block(values, utc_us=self.at)
                continue
            if self.rng.random() < self.loss:
                self.at += 15 * SECOND
                self.subject.on_failure(step, None, utc_us=self.at)
                continue
            self.answer(step)
        return None

    def answer(self, step: Ask) -> None:
        try:
            if step.command == "query_next_image_request":
                values = self.server.query(step.values, METER)
            elif step.command == "image_block_request":
                values = self.server.block(step.values, METER)
            else:
                values = self.server.end(step.values, METER, utc_us=self.at) or {}
        except RefusedError as error:
            self.subject.on_failure(step, error.status, utc_us=self.at)
        else:
            self.subject.on_answer(step, values, utc_us=self.at)


def server(*files, **options) -> OtaServer:
    subject = OtaServer(MemoryNvm())
    for item in files or (file(),):
        subject.add(item.encode(), **options)
    return subject


def test_an_upgrade_block_by_block_that_starts_at_once():
    world = World(client(), server(start_utc_us=0))
    assert world.run(START + DAY) == Start(version=2)
    size = len(file().encode())
    assert world.asked.count("image_block_request") == -(-size // 48)
    assert world.asked[0] == "query_next_image_request"
    assert world.asked[-1] == "upgrade_end_request"
    assert world.subject.slots.octets() == file().encode()
    world.subject.slots.activate()
    world.subject.slots.confirm()
    assert world.subject.slots.version == 2


def test_page_by_page():
    world = World(client(rules=OtaRules(page_octets=1000)), server(start_utc_us=0))
    assert world.run(START + DAY) == Start(version=2)
    assert world.asked.count("image_page_request") == 4
    assert world.asked.count("image_block_request") == 0


@pytest.mark.parametrize("rules", [OtaRules(), OtaRules(page_octets=1000)])
def test_losses_only_cost_time(rules):
    world = World(client(rules=rules), server(start_utc_us=0), loss=0.2)
    assert world.run(START + DAY) == Start(version=2)
    assert world.subject.slots.octets() == file().encode()


def test_a_power_cut_costs_a_chunk_at_most():
    nvm, offers = MemoryNvm(), server(start_utc_us=0)
    first = World(client(nvm), offers)
    first.run(START + DAY, cut_after=40)
    durable = nvm.after_power_cut()
    again = World(client(durable), offers)
    assert again.run(START + DAY) == Start(version=2)
    saved = (38 * 48 // 1024) * 1024 // 48
    assert again.asked.count("image_block_request") <= -(-len(file().encode()) // 48) - saved + 1
    assert "query_next_image_request" not in again.asked


def test_a_time_to_start_is_kept_over_a_restart():
    nvm = MemoryNvm()
    world = World(client(nvm), server(start_utc_us=START + DAY // 2))
    assert world.run(START + 3600 * SECOND) is None
    assert world.subject.status is ImageUpgradeStatus.COUNT_DOWN
    again = World(client(nvm.after_power_cut(), at=world.at), world.server, at=world.at)
    assert again.run(START + DAY) == Start(version=2)
    assert abs(again.at - (START + DAY // 2)) < SECOND


def test_it_waits_for_the_word_and_goes_on_reporting():
    world = World(client(), server())
    assert world.run(START + DAY) is None
    assert world.subject.status is ImageUpgradeStatus.WAITING_TO_UPGRADE
    assert world.asked.count("upgrade_end_request") in (24, 25)
    assert not world.subject.start_staged(3, world.at)
    assert world.subject.start_staged(2, world.at + 60 * SECOND)
    assert world.run(world.at + DAY) == Start(version=2)


def test_a_sleepy_device_fetches_over_several_wakings():
    rules = OtaRules(awake_us=2 * SECOND, asleep_us=1800 * SECOND)
    world = World(client(rules=rules), server(start_utc_us=0))
    assert world.run(START + DAY) == Start(version=2)
    sleeps = [rest for rest in world.rests if rest > 1700 * SECOND]
    assert len(sleeps) == 3  # 64 blocks, 20 a waking


def test_a_server_asked_to_wait_is_obeyed():
    subject = client()
    offers = server(start_utc_us=0)
    world = World(subject, offers)
    ask = subject.next_step(utc_us=START)
    subject.on_answer(ask, offers.query(ask.values, METER), utc_us=START)
    ask = subject.next_step(utc_us=START)
    now_s = zigbee_s(START)
    wait = {"status": Status.WAIT_FOR_DATA, "current_time": now_s, "request_time": now_s + 90}
    subject.on_answer(ask, wait, utc_us=START)
    assert subject.next_step(utc_us=START) == Rest(until_utc_us=START + 90 * SECOND)
    assert world.run(START + DAY) == Start(version=2)


def test_an_image_withdrawn_half_way_is_given_up():
    world = World(client(), server(start_utc_us=0))
    world.run(START + DAY, cut_after=20)
    assert world.server.remove(file().header)
    assert world.run(START + DAY // 2) is None
    assert world.subject.status is ImageUpgradeStatus.NORMAL
    assert world.subject.slots.octets() == b""


def test_an_image_damaged_on_the_way_is_reported_and_not_kept():
    subject, offers = client(), server(start_utc_us=0)
    world = World(subject, offers)
    honest = offers.block

    def block(values, eui64):
        answer = honest(values, eui64)
        if values["file_offset"] == 480:
            answer["image_data"] = bytes(48)
        return answer

    offers.block = block
    assert world.run(START + DAY // 2) is None
    assert offers.progress[METER].status == Status.INVALID_IMAGE
    assert subject.status is ImageUpgradeStatus.NORMAL
    assert subject.slots.version == 1


def test_only_who_is_meant_gets_an_image():
    for offers in (server(targets=[0x1]), server(file(destination=0x1)), server(file(hardware=(5, 9)))):
        asker = client(identity=OtaIdentity(
            eui64=METER, manufacturer_code=0x1057, image_type=0, hardware_version=1
        ))  # fmt: skip
        ask = asker.next_step(utc_us=START)
        assert offers.query(ask.values, METER) == {"status": Status.NO_IMAGE_AVAILABLE}
    stranger = server(targets=[0x1])
    values = {"manufacturer_code": 0x1057, "image_type": 0, "file_version": 2,
              "file_offset": 0, "maximum_data_size": 48}  # fmt: skip
    assert stranger.block(values, METER) == {"status": Status.ABORT}


def test_the_server_refuses_what_is_not_a_file():
    damaged = bytearray(file().encode())
    damaged[100] ^= 1
    with pytest.raises(DecodeError):
        OtaServer(MemoryNvm()).add(bytes(damaged))


def test_news_end_when_the_device_has_it_and_survive_a_restart():
    nvm = MemoryNvm()
    offers = OtaServer(nvm)
    offers.add(file().encode(), start_utc_us=0)
    assert offers.has_news(METER, 0)
    assert not offers.has_news(METER, 1)
    World(client(), offers).run(START + DAY)
    nvm.commit()
    again = OtaServer(nvm.after_power_cut())
    assert not again.has_news(METER, 0)
    assert again.images == offers.images
    again.add(file(version=3).encode())
    assert again.has_news(METER, 0)


def test_notify_means_only_its_kind_and_a_share_of_all():
    notify = {"payload_type": 2, "query_jitter": 30, "manufacturer_code": 0x1057, "image_type": 0}
    heard = 0
    for seed in range(300):
        subject = OtaClient(IDENTITY, ImageSlots(MemoryNvm(), 1), Random(seed), utc_us=START)
        heard += subject.on_notify(notify, utc_us=START, is_broadcast=True)
    assert 60 < heard < 120
    subject = client()
    assert subject.on_notify(notify, utc_us=START, is_broadcast=False)
    assert not subject.on_notify(notify | {"image_type": 1}, utc_us=START, is_broadcast=False)
    assert not subject.on_notify(
        notify | {"payload_type": 3, "query_jitter": 100, "file_version": 1}, utc_us=START, is_broadcast=True
    )


def test_questions_past_the_end_are_refused():
    offers = server()
    values = {"manufacturer_code": 0x1057, "image_type": 0, "file_version": 2,
              "file_offset": 1 << 30, "maximum_data_size": 48}  # fmt: skip
    with pytest.raises(RefusedError):
        offers.block(values, METER)
    with pytest.raises(RefusedError):
        offers.page(values | {"page_size": 100, "response_spacing": 1}, METER)
