"""How many acknowledged exchanges a second the loopback air carries. Prints; judges nothing.

Run: python tests/benchmarks/bench_air.py
"""

import io
import random
import time
from collections.abc import Callable

from smets1.hardware.air import Air, AirRadio, Capture, LinkFault
from smets1.hardware.clock import EmulatorLoop, HeapScheduler
from smets1.hardware.radio import TransmitOutcome

PAN = 0x1A62
EXCHANGES = 40_000


class Node:
    """Sends one 60-octet frame after another to its partner; counts what it hears."""

    def __init__(self, radio: AirRadio, short: int, partner: int, channel: int = 11) -> None:
        self.radio = radio
        self.heard = 0
        self.done = 0
        self.acked = 0
        self.left = 0
        self.on_all_done: Callable[[], object] | None = None
        addresses = b"".join(value.to_bytes(2, "little") for value in (PAN, partner, short))
        self.frames = [b"\x61\x88" + bytes((i,)) + addresses + bytes(51) for i in range(256)]
        radio.attach(self)
        radio.set_channel(channel)
        radio.set_pan(PAN, short, coordinator=False)

    def send(self, count: int) -> None:
        self.left = count - 1
        self.radio.transmit(self.frames[self.done & 0xFF])

    def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
        self.heard += 1

    def on_transmitted(self, outcome: TransmitOutcome) -> None:
        self.done += 1
        self.acked += outcome is TransmitOutcome.ACKED
        if self.left > 0:
            self.left -= 1
            self.radio.transmit(self.frames[self.done & 0xFF])
        elif self.on_all_done:
            self.on_all_done()

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        pass


def measure(label: str, exchanges: int, run: Callable[[], object]) -> None:
    start = time.perf_counter()
    run()
    spent = time.perf_counter() - start
    print(f"{label:58} {exchanges / spent:9,.0f} exchanges/s  {spent / exchanges * 1e6:6.1f} us each")


def drain(scheduler: HeapScheduler) -> None:
    while scheduler.step():
        pass


def pair(scheduler: HeapScheduler, others: int = 0) -> tuple[Air, Node]:
    air = Air(scheduler, random.Random(1))
    for index in range(others):
        Node(air.radio(0x9000 + index), 0x9000 + index, 1)
    sender = Node(air.radio(1), 1, 2)
    Node(air.radio(2), 2, 1)
    return air, sender


def idle_air(others: int, *, is_captured: bool = False, loss: float = 0.0) -> None:
    scheduler = HeapScheduler()
    air, sender = pair(scheduler, others)
    if is_captured:
        Capture(air, io.BytesIO())
    if loss:
        air.faults.set_default(LinkFault(loss=loss))
    label = f"idle air, {others + 2} radios" + ", captured" * is_captured + f", {loss:.0%} loss" * bool(loss)
    sender.send(EXCHANGES)
    measure(label, EXCHANGES, lambda: drain(scheduler))
    assert loss or sender.acked == EXCHANGES


def busy_air(senders: int) -> None:
    scheduler = HeapScheduler()
    air = Air(scheduler, random.Random(1))
    nodes = [Node(air.radio(i), i, i ^ 1) for i in range(2 * senders)]
    each = EXCHANGES // (2 * senders)
    for node in nodes[::2]:
        node.send(each)
    measure(f"{senders} senders contend on one channel", each * senders, lambda: drain(scheduler))


def many_channels() -> None:
    scheduler = HeapScheduler()
    air = Air(scheduler, random.Random(1))
    nodes = [Node(air.radio(i), i, i ^ 1, 11 + i // 2) for i in range(32)]
    for node in nodes[::2]:
        node.send(EXCHANGES // 16)
    measure("16 pairs, a channel each", EXCHANGES, lambda: drain(scheduler))


def on_the_loop() -> None:
    loop = EmulatorLoop(float("inf"))
    air = Air(loop, random.Random(1))
    sender = Node(air.radio(1), 1, 2)
    Node(air.radio(2), 2, 1)
    sender.send(EXCHANGES)
    sender.on_all_done = loop.stop
    measure("idle air on EmulatorLoop at speed max", EXCHANGES, loop.run_forever)
    loop.close()


def main() -> None:
    for others in (0, 8, 998):
        idle_air(others)
    idle_air(0, is_captured=True)
    idle_air(0, loss=0.2)
    busy_air(2)
    busy_air(8)
    many_channels()
    on_the_loop()


if __name__ == "__main__":
    main()
