"""Head end: what one request costs, from its octets to its signed response. Prints; asserts nothing.

    python tests/benchmarks/bench_headend.py [COUNT]

The device side answers in memory, so that only the head end is measured: XML parse, signature, checks, the
store (SQLite on disk, synchronous=FULL), the plan, the signed response. "alone": one after the other, each
with its two commits; "together": all at once, sharing commits. CPU is this process's.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lxml import etree

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT), str(_ROOT / "src")]  # the fake hub is that of the tests
# ruff: noqa: E402

from tests.headend.conftest import CHF, ESME, S1SP, START_UTC_US, SUPPLIER, FakeHub, request_xml

from smets1.firmware.civil import CivilClock
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.seed import SeedTree
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run
from smets1.headend.dco import Dco
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.request import parse_request
from smets1.headend.duis.response import DeviceTime, ResponseBuilder, node
from smets1.headend.duis.signature import Verifier, XmlSigner
from smets1.headend.head_end import HeadEnd, HeadEndSettings
from smets1.headend.inventory import InventoryDevice
from smets1.headend.pki import TestPki
from smets1.headend.store import Store


def _time(name: str, work: Callable[[], object], count: int) -> float:
    work()
    begin = time.process_time()
    for _ in range(count):
        work()
    cost_us = (time.process_time() - begin) / count * 1e6
    print(f"  {name:28} {cost_us:7.0f} us")
    return cost_us


def _xml(count: int, signer: XmlSigner, first: int) -> list[bytes]:
    requests = (request_xml("4.18", "<sr:ReadMeterBalance/>", counter=first + n) for n in range(count))
    return [etree.tostring(signer.sign(etree.fromstring(request))) for request in requests]


def _crypto(count: int, signer: XmlSigner, verifier: Verifier) -> None:
    (octets,) = _xml(1, signer, 1)
    request = parse_request(octets)
    responses = ResponseBuilder(dsp=1, signer=signer)
    data = node("ReadMeterBalanceRsp", [node("MeterBalance", 1)], MessageSuccess=True)
    when = DeviceTime(utc_us=START_UTC_US, is_from_gsme=False)
    total_us = _time("parse", lambda: parse_request(octets), count)
    total_us += _time("verify", lambda: verifier.verify(octets, now_utc_us=START_UTC_US), count)
    total_us += _time(
        "build and sign the response",
        lambda: responses.device_answer(request, now_utc_us=START_UTC_US, data=data, time=when),
        count,
    )
    print(f"  {'together':28} {total_us:7.0f} us (goal 1500)")


async def _requests(count: int, folder: Path, pki: TestPki, *, is_signed: bool) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    supplier, s1sp = pki.issue(SUPPLIER, "U1"), pki.issue(S1SP, "S1SP")
    head_end = HeadEnd(
        store=Store.open(folder / f"{is_signed}.db"),
        wan=FakeHub(),
        dco=Dco(MemoryNvm(), random_octets=SeedTree(1).random("dco").randbytes),
        civil=CivilClock(loop, START_UTC_US - loop.now_us()),
        signer=XmlSigner(s1sp),
        random_octets=SeedTree(1).random("s1sp").randbytes,
        verifier=Verifier(pki.store_of(supplier)),
        settings=HeadEndSettings(signatures="require" if is_signed else "off"),
    )
    for eui64, device_type in ((ESME, DeviceType.ESME), (CHF, DeviceType.CHF)):
        head_end.inventory.put(InventoryDevice(eui64=eui64, device_type=device_type, hub=CHF))
    await head_end.start()
    signer = XmlSigner(supplier)
    for name, first in (("alone", 0), ("together", count)):
        requests = _xml(count, signer, first)
        cpu, wall = time.process_time(), time.perf_counter()
        if name == "alone":
            for xml in requests:
                await head_end.submit(xml, wait_s=5)
        else:
            await asyncio.gather(*(head_end.submit(xml, wait_s=5) for xml in requests))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(
            f"  {'signed' if is_signed else 'unsigned':9} {name:9} CPU {cpu / count * 1e3:5.2f} ms a request (goal 2), "
            f"{count / wall:5.0f} a second"
        )
    await head_end.close()
    head_end.store.close()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    seed = SeedTree(1)
    pki = TestPki(lambda label: seed.octets(40, label))
    supplier = pki.issue(SUPPLIER, "U1")
    print("XML and signatures:")
    _crypto(count, XmlSigner(supplier), Verifier(pki.store_of(supplier)))
    print("submit to response:")
    with tempfile.TemporaryDirectory() as folder:
        for is_signed in (False, True):
            run(_requests(count, Path(folder), pki, is_signed=is_signed), speed=MAX_SPEED)


if __name__ == "__main__":
    main()
