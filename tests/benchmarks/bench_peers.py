"""Ours beside the peers whose figures are known, in one run, with ratios. Prints; judges nothing.

Run: python tests/benchmarks/bench_peers.py [--quick]
References: Bumble 0.0.236 (devices, memory, reads), zigpy 2.4 (measured here beside ours), OTNS 2 (simulated
time). A read is a ZCL Read Attributes request and its response between hub and device, each built, secured (link
key and network key), carried over the air, and read at the other end; the hub asks all its devices in turn.
"""

from __future__ import annotations

import argparse
import random
import time

from bench_cbke import bench_suite
from bench_stack import HUB, House, Listener, bench_joins
from bench_zcl import ours as zcl_ours
from bench_zcl import per_second
from bench_zcl import zigpys as zcl_zigpys

from smets1.firmware.crypto.cbke import CbkeSuite
from smets1.firmware.zcl import general as g
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.frame import ZclFrame, general_frame
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zigbee.node import HanNode
from smets1.hardware.clock import MAX_SPEED
from smets1.hardware.clock import run as run_loop
from smets1.hardware.radio import ApsIndication, ApsMessage, NodeRole
from smets1.tools.home import open_home

REPORT = "report, 3 attributes: "
SERIALISE = "report, message made before: serialise"


def line(name: str, ours: float, unit: str, reference: float | None, who: str, aim: float | None) -> None:
    """One row. A unit that begins with s, ms or KiB is better the smaller it is."""
    is_cost = unit in ("s", "ms", "KiB")
    ratio = "" if reference is None else f"{(reference / ours) if is_cost else (ours / reference):8.1f}x"
    beside = "" if reference is None else f"{reference:>10,.1f}"
    verdict = ""
    if aim is not None:
        met = ours <= aim if is_cost else ours >= aim
        verdict = f"{aim:>9,.0f}  {'met' if met else 'MISSED'}"
    print(f"{name:44}{ours:>12,.1f} {unit:8}{beside:>11}{ratio:>9}  {who:12}{verdict}", flush=True)


# --- reads ----------------------------------------------------------------------------------------------


class Meter(Listener):
    """Answers ZCL with a metering server."""

    def __init__(self, node: HanNode) -> None:
        super().__init__(node)
        self.core = ZclCore()
        self.core.add_server(1, "metering").update(
            current_summation_delivered=5_000_000, instantaneous_demand=250
        )

    def on_message(self, indication: ApsIndication) -> None:
        context = CommandContext(
            now_us=0, via=Via.HAN, source=indication.source, security=indication.security
        )
        answer = self.core.execute(1, indication.cluster_id, indication.payload, context)
        assert answer is not None
        self.node.submit(aps(indication.source, answer))


class Reader(Listener):
    """The hub: reads what comes back."""

    def on_message(self, indication: ApsIndication) -> None:
        message = ZclFrame.decode(indication.payload).general()
        assert isinstance(message, g.ReadAttributesResponse)
        assert message.records[0].value == 5_000_000
        self.count += 1


def aps(destination: int, payload: bytes) -> ApsMessage:
    return ApsMessage(destination=destination, destination_endpoint=1, source_endpoint=1, cluster_id=0x0702,
                      profile_id=0x0109, payload=payload, wants_ack=False)  # fmt: skip


def reads_per_s(size: int, count: int) -> float:
    house = House(size)
    house.establish()
    house.run(20_000_000)
    for device in house.devices:
        device.attach(Meter(device))
    reader = Reader(house.hub)
    house.hub.attach(reader)
    start = time.perf_counter()
    for number in range(count):
        network = house.devices[number % size].network
        assert network is not None
        question = general_frame(g.ReadAttributes((0x0000, 0x0400)), sequence=number & 0xFF)
        house.hub.submit(aps(network.short_address, question))
        while reader.count == number:
            if not house.scheduler.step():
                raise SystemExit("a read was lost")
    return count / (time.perf_counter() - start)


# --- simulated time ---------------------------------------------------------------------------------------


def times_real_time(size: int, duration_s: int) -> float:
    """Devices that each send an APS-secured, acknowledged report every 30 s."""
    house = House(size, NodeRole.END_DEVICE)
    house.establish()
    house.run(5_000_000)
    reports = general_frame(g.ReportAttributes((g.TypedValue(0x0000, 0x25, 1),)))
    scheduler, rng = house.scheduler, random.Random(1)

    def report(device: HanNode) -> None:
        message = ApsMessage(destination=0, destination_endpoint=1, source_endpoint=1, cluster_id=0x0702,
                             profile_id=0x0109, payload=reports)  # fmt: skip
        device.submit(message)
        scheduler.call_at_us(scheduler.now_us() + 30_000_000, report, device)

    for device in house.devices:
        scheduler.call_at_us(scheduler.now_us() + rng.randrange(30_000_000), report, device)
    start = time.perf_counter()
    house.run(duration_s * 1_000_000)
    spent_s = time.perf_counter() - start
    hub = house.hub._listener
    assert isinstance(hub, Listener)
    assert hub.count >= size * (duration_s // 30 - 1), "every report has come"
    assert house.hub.eui64 == HUB
    return duration_s / spent_s


def day_s() -> tuple[float, float]:
    """(seconds until a six-device home is joined and keyed, seconds for 24 hours of it)."""
    start = time.perf_counter()

    async def main() -> float:
        home = await open_home(seed=7)
        up_s = time.perf_counter() - start
        await home.clock.advance(hours=24)
        await home.close()
        return up_s

    return run_loop(main(), speed=MAX_SPEED), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of each")
    quick = parser.parse_args().quick
    scale = 10 if quick else 1
    # Seconds of this process, so that whatever else the machine does stays out of the figures.
    time.perf_counter, time.perf_counter_ns = time.process_time, time.process_time_ns
    print(f"{'':44}{'ours':>12} {'':8}{'reference':>11}{'ratio':>9}  {'':12}{'aim':>9}")
    rate, octets = bench_joins(3000 // scale)
    line("devices created and joined (no CBKE)", rate, "/s", 600, "Bumble", 1000)
    line("memory a device", octets / 1024, "KiB", 57, "Bumble", 50)
    for size, reference in ((10, None), (100, 4300.0), (1000, 2300.0)):
        rate = reads_per_s(size, 10_000 // scale)
        line(f"secured attribute reads, {size} devices", rate, "/s", reference, "Bumble, bare", 5000)
    bench_zigpy()
    for suite, aim in ((CbkeSuite.SUITE_1, 8.0), (CbkeSuite.SUITE_2, None)):
        side = bench_suite(suite, max(5, 40 // scale))["one full side"]
        line(f"one CBKE side, {suite.name.lower().replace('_', ' ')}", side, "ms", None, "", aim)
    up_s, spent_s = day_s()
    line("six-device home joined and keyed", up_s, "s", None, "", None)
    line("six-device home, 24 h", spent_s, "s", None, "", 20)
    line("30 secured devices, times real time", times_real_time(30, 3600 // scale), "x", 60, "OTNS, 32", 1000)


def bench_zigpy() -> None:
    ours = zcl_ours()
    try:
        theirs = {name: per_second(work) for name, work in zcl_zigpys().items()}
        who = "zigpy, here"
    except ImportError:
        theirs, who = {SERIALISE: 76_000.0, REPORT + "read": 13_700.0}, "zigpy 2.4"
    line("ZCL frames serialised", per_second(ours[SERIALISE]), "/s", theirs[SERIALISE], who, 80_000)
    line(
        "ZCL frames built and serialised",
        per_second(ours[REPORT + "build"]),
        "/s",
        theirs.get(REPORT + "build"),
        who,
        None,
    )
    line("ZCL frames parsed", per_second(ours[REPORT + "read"]), "/s", theirs[REPORT + "read"], who, 40_000)


if __name__ == "__main__":
    main()
