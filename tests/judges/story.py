"""One home's story, captured: everything that a home does over the air, told once, judged by many tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tshark import Row, read_capture

from smets1.firmware.device import Device
from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.catalogue import find_variant
from smets1.tools.commands.srv import ready_request
from smets1.tools.home import Home, open_home

SEED = 11


@dataclass
class Story:
    """A capture with its keys; chapters are spans of the home's time by name."""

    path: Path
    keys: list[str] = field(default_factory=list)
    shorts: dict[str, int] = field(default_factory=dict)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    said: dict[str, object] = field(default_factory=dict)

    def chapter(self, name: str) -> Sequence[Row]:
        begin_s, end_s = self.spans[name]
        return [row for row in self.rows if begin_s <= row.time_s < end_s]


class Teller:
    """Begins a chapter, and ends it with the next."""

    def __init__(self, home: Home, story: Story) -> None:
        self.home = home
        self.story = story
        self._name = ""
        self._begin_s = 0.0

    def begin(self, name: str) -> None:
        now_s = self.home.civil.utc_us() / 1e6
        if self._name:
            self.story.spans[self._name] = (self._begin_s, now_s)
        self._name, self._begin_s = name, now_s


async def ask(home: Home, device: Device, srv: str, counter: int) -> bytes:
    """One DUIS request through the front door; its final response."""
    variant = find_variant(srv)
    assert variant is not None
    request = ready_request(variant, target=device.eui64, counter=counter, now=home.clock.utc)
    return await home.headend.submit(request.encode(), "serviceS", wait_s=3700.0)


async def _tell(story: Story, nvm_dir: Path) -> None:
    home = await open_home(seed=SEED, nvm_dir=nvm_dir, capture=story.path, waits=False)
    teller = Teller(home, story)
    teller.begin("joining")
    await home.joined()
    for device in home.devices:
        assert device.port.network is not None
        story.shorts[type(device).__name__.lower()] = device.port.network.short_address
    teller.begin("settling")  # displays meet the meter, the gas meter asks for its mirror
    await home.clock.advance(minutes=3)
    teller.begin("top-up")
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    story.said["first"] = (await home.ppmid.enter_utrn(token)).is_accepted
    await home.clock.advance(seconds=2)
    teller.begin("refused top-up")
    story.said["again"] = (await home.ppmid.enter_utrn(token)).is_accepted
    await home.clock.advance(seconds=2)
    teller.begin("gas waking")
    await home.clock.advance(minutes=31)
    teller.begin("critical instruction")
    story.said["disable"] = b"I0" in await ask(home, home.gsme, "7.2", 1001)
    story.said["valve"] = home.gsme.meter.supply.is_on
    await home.clock.advance(seconds=30)
    teller.begin("non-critical read")
    story.said["read"] = b"I0" in await ask(home, home.gsme, "4.18", 1002)
    teller.begin("rotation")
    story.said["rotated"] = str(await home.headend.rotate_sua_key(home.gsme.eui64))
    await home.clock.advance(minutes=1)
    teller.begin("end")
    story.keys += home.keys.lines()
    await home.close()


async def _restart(story: Story, nvm_dir: Path) -> None:
    home = await open_home(seed=SEED, nvm_dir=nvm_dir, capture=story.path)
    await home.clock.advance(minutes=40)
    token = home.headend.make_utrn(home.esme.eui64, pounds=5)
    story.said["top-up"] = (await home.ppmid.enter_utrn(token)).is_accepted
    story.keys += home.keys.lines()
    await home.close()


async def _busy_day(story: Story, hours: float) -> None:
    toml = "[han]\nreport_interval_s = 10\n"
    home = await open_home(seed=SEED, toml=toml, capture=story.path, balance_pounds=5)
    for hour in range(int(hours * 2)):
        await home.clock.advance(minutes=30)
        token = home.headend.make_utrn(home.esme.eui64, pounds=5)
        assert (await home.ppmid.enter_utrn(token)).is_accepted
        await ask(home, home.gsme, "4.18", 2000 + hour)
    story.keys += home.keys.lines()
    await home.close()


def tell_story(folder: Path) -> Story:
    story = Story(folder / "story.pcapng")
    run(_tell(story, folder / "nvm"), speed=MAX_SPEED)
    story.rows = read_capture(story.path, story.keys)
    return story


def restart_story(folder: Path) -> Story:
    """Run `tell_story` in that folder first. Keys are those that the second run knows by itself."""
    story = Story(folder / "restart.pcapng")
    run(_restart(story, folder / "nvm"), speed=MAX_SPEED)
    story.rows = read_capture(story.path, story.keys)
    return story


def busy_day(folder: Path, hours: float) -> Story:
    story = Story(folder / "busy.pcapng")
    run(_busy_day(story, hours), speed=MAX_SPEED)
    story.rows = read_capture(story.path, story.keys)
    return story
