"""Two or more radios on an air that a heap drives by hand."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from smets1.hardware.air import Air, AirRadio, Fate
from smets1.hardware.clock import HeapScheduler
from smets1.hardware.radio import TransmitOutcome

PAN = 0x1A62


class Host:
    """What sits above a radio: notes everything with its time."""

    def __init__(self, radio: AirRadio, scheduler: HeapScheduler) -> None:
        self.radio = radio
        self.scheduler = scheduler
        self.frames: list[tuple[int, bytes]] = []
        self.outcomes: list[tuple[int, TransmitOutcome]] = []
        self.energies: list[tuple[int, int, int]] = []
        self.signals: list[tuple[int, int]] = []  # lqi, rssi
        self.on_done: Callable[[TransmitOutcome], object] | None = None
        self.on_heard: Callable[[bytes], object] | None = None
        radio.attach(self)

    @property
    def psdus(self) -> list[bytes]:
        return [psdu for _, psdu in self.frames]

    @property
    def results(self) -> list[TransmitOutcome]:
        return [outcome for _, outcome in self.outcomes]

    def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
        self.frames.append((self.scheduler.now_us(), psdu))
        self.signals.append((lqi, rssi_dbm))
        if self.on_heard:
            self.on_heard(psdu)

    def on_transmitted(self, outcome: TransmitOutcome) -> None:
        self.outcomes.append((self.scheduler.now_us(), outcome))
        if self.on_done:
            self.on_done(outcome)

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        self.energies.append((self.scheduler.now_us(), channel, rssi_dbm))


class Bench:
    """An air, its scheduler, and a tap's notes: (start_us, psdu, sender, fate)."""

    def __init__(self, seed: int = 7) -> None:
        self.scheduler = HeapScheduler()
        self.air = Air(self.scheduler, random.Random(seed))
        self.told: list[tuple[int, bytes, int, Fate]] = []
        self.air.tap(lambda *told: self.told.append(told))

    def host(self, short: int, *, pan: int = PAN, channel: int = 11, coordinator: bool = False) -> Host:
        """A radio whose EUI-64 is 0x1000 + its short address."""
        host = Host(self.air.radio(0x1000 + short), self.scheduler)
        host.radio.set_channel(channel)
        host.radio.set_pan(pan, short, coordinator=coordinator)
        return host

    def run(self) -> None:
        while self.scheduler.step():
            pass

    @property
    def fates(self) -> list[Fate]:
        return [told[3] for told in self.told]

    def no_backoff(self) -> None:
        """Every back-off is 0 units long from here on."""
        self.air.draw_bits = lambda bits: 0


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def make_bench() -> Callable[[int], Bench]:
    return Bench


def data_frame(
    destination: int,
    source: int,
    payload: bytes = b"hello",
    *,
    sequence: int = 1,
    ack: bool = True,
    pan: int = PAN,
) -> bytes:
    control = 0x8841 | (0x20 if ack else 0)
    header = control.to_bytes(2, "little") + bytes((sequence,))
    return header + b"".join(value.to_bytes(2, "little") for value in (pan, destination, source)) + payload


def data_request(destination: int, source: int, *, sequence: int = 1) -> bytes:
    addresses = b"".join(value.to_bytes(2, "little") for value in (PAN, destination, source))
    return b"\x63\x88" + bytes((sequence,)) + addresses + b"\x04"


@pytest.fixture
def frame() -> Callable[..., bytes]:
    return data_frame


@pytest.fixture
def poll() -> Callable[..., bytes]:
    return data_request
