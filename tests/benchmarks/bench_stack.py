"""How fast the ZigBee stack is: secured exchanges over the air, joins, octets of memory a device.

Run: python tests/benchmarks/bench_stack.py [--devices 10] [--exchanges 20000] [--joins 1000] [--profile]
An exchange is a request and a response, each APS-secured (link key) and NWK-secured, through two whole stacks
and the air, on a bare HeapScheduler. A join is scan, association, Transport-Key, Device_annce.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import random
import time
import tracemalloc

from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zigbee.node import HanConfig, HanNode
from smets1.hardware.air import Air
from smets1.hardware.clock import HeapScheduler
from smets1.hardware.radio import (
    ApsIndication,
    ApsMessage,
    JoinedDevice,
    KeyOrigin,
    LinkKey,
    NetworkInfo,
    NodeRole,
)

HUB = 0x00DB000000000000
INSTALL_KEY = bytes(range(16))


class Listener:
    def __init__(self, node: HanNode) -> None:
        self.node = node
        self.count = 0
        self.answers = False

    def on_message(self, indication: ApsIndication) -> None:
        self.count += 1
        if self.answers:
            self.node.submit(read(indication.source, 1))

    def on_device_joined(self, device: JoinedDevice) -> None: ...
    def on_device_left(self, eui64: int) -> None: ...
    def on_network_up(self, info: NetworkInfo) -> None: ...
    def on_network_down(self, reason: str) -> None: ...
    def on_link_key(self, key: LinkKey) -> None: ...


def read(destination: int, command: int) -> ApsMessage:
    return ApsMessage(
        destination=destination,
        destination_endpoint=1,
        source_endpoint=1,
        cluster_id=0x0702,
        profile_id=0x0109,
        payload=bytes((0x18, 1, command, 0, 0, 0, 0x25, 1, 2, 3, 4, 5, 6)),
        wants_ack=False,
    )


class House:
    """A hub and devices on one air."""

    def __init__(self, size: int, role: NodeRole = NodeRole.END_DEVICE, seed: int = 1) -> None:
        self.scheduler = HeapScheduler()
        self.air = Air(self.scheduler, random.Random(seed))
        self.hub = self.node(HUB, NodeRole.COORDINATOR)
        self.hub.stack.form(1, now_us=0)
        self.hub._drain()
        self.run(2_000_000)
        self.role = role
        self.devices: list[HanNode] = []
        for number in range(size):
            self.join(HUB + 1 + number)

    def node(self, eui64: int, role: NodeRole) -> HanNode:
        config = HanConfig(channels=(11,), scan_exponent=1, link_status_period_us=0)
        node = HanNode(self.air.radio(eui64), self.scheduler, MemoryNvm(), random.Random(eui64), role, config)
        node.attach(Listener(node))
        return node

    def run(self, duration_us: int) -> None:
        self.scheduler.run_until(self.scheduler.now_us() + duration_us)

    def join(self, eui64: int) -> None:
        device = self.node(eui64, self.role)
        key = LinkKey(partner=eui64, key=INSTALL_KEY, origin=KeyOrigin.INSTALL_CODE)
        self.hub.set_link_key(key)
        self.hub.stack.nwk.permit_join(254, self.scheduler.now_us())
        for _ in range(5):  # as the application does: a join may fail where many routers answer at once
            device.stack.join(key, 1, now_us=self.scheduler.now_us())
            device._drain()
            while device.stack._join is not None:
                self.scheduler.step()
            if device.network is not None:
                break
        assert device.network is not None
        self.devices.append(device)

    def establish(self) -> None:
        for device in self.devices:
            key = random.Random(device.eui64).randbytes(16)
            device.set_link_key(LinkKey(partner=HUB, key=key, origin=KeyOrigin.ESTABLISHED))
            self.hub.set_link_key(LinkKey(partner=device.eui64, key=key, origin=KeyOrigin.ESTABLISHED))


def bench_exchanges(size: int, count: int) -> float:
    house = House(size)
    house.establish()
    house.run(20_000_000)
    for device in house.devices:
        assert isinstance(device._listener, Listener)
        device._listener.answers = True
    hub = house.hub._listener
    assert isinstance(hub, Listener)
    start = time.perf_counter()
    for number in range(count):
        device = house.devices[number % size]
        assert device.network is not None
        house.hub.submit(read(device.network.short_address, 0))
        while hub.count == number:
            if not house.scheduler.step():
                raise SystemExit("an exchange was lost")
    return count / (time.perf_counter() - start)


def bench_joins(count: int) -> tuple[float, float]:
    """Homes of six: devices joined a second, and octets of memory a device."""
    gc.collect()
    start = time.perf_counter()
    houses = [House(5, NodeRole.ROUTER, seed) for seed in range(count // 6)]
    rate = count / (time.perf_counter() - start)
    del houses
    gc.collect()
    tracemalloc.start()
    houses = [House(5, NodeRole.ROUTER, seed) for seed in range(20)]
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] / 120
    tracemalloc.stop()
    del houses
    return rate, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exchanges", type=int, default=20_000)
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--joins", type=int, default=1000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(bench_exchanges, 1, options.exchanges)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    for size in options.devices:
        print(f"{size:5} devices: {bench_exchanges(size, options.exchanges):8.0f} secured exchanges/s")
    rate, octets = bench_joins(options.joins)
    print(f"joins: {rate:.0f} devices/s, {octets / 1024:.1f} KiB a device")


if __name__ == "__main__":
    main()
