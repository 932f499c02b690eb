"""The ribbon between hub and electricity meter, in heap time on the loop."""

from __future__ import annotations

import asyncio

import pytest

from smets1.errors import LostError, NoAnswerError
from smets1.firmware.wire import LATENCY_US, Wire
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run


def in_wire_time(story: object) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        await story(Wire(loop), loop)  # type: ignore[operator]

    run(main(), speed=MAX_SPEED)


def test_there_and_back_takes_its_time() -> None:
    async def story(wire: Wire, loop: EmulatorLoop) -> None:
        wire.meter.handler = lambda endpoint, cluster, frame: bytes([endpoint, cluster & 0xFF]) + frame[::-1]
        seen: list[tuple[str, bytes]] = []
        wire.taps.append(lambda way, _endpoint, _cluster, frame: seen.append((way, frame)))
        began_us = loop.now_us()
        assert await wire.hub.exchange(1, 0x0702, b"abc") == b"\x01\x02cba"
        assert loop.now_us() - began_us == 2 * LATENCY_US
        assert seen == [("hub>meter", b"abc"), ("meter>hub", b"\x01\x02cba")]

    in_wire_time(story)


def test_several_at_a_time_do_not_mix() -> None:
    async def story(wire: Wire, loop: EmulatorLoop) -> None:
        wire.meter.handler = lambda endpoint, cluster, frame: frame
        wire.hub.handler = lambda endpoint, cluster, frame: frame * 2
        answers = await asyncio.gather(
            *(wire.hub.exchange(1, 1, bytes([n])) for n in range(5)), wire.meter.exchange(1, 1, b"x")
        )
        assert answers == [b"\0", b"\1", b"\2", b"\3", b"\4", b"xx"]

    in_wire_time(story)


def test_no_answer_is_an_answer_too() -> None:
    async def story(wire: Wire, loop: EmulatorLoop) -> None:
        wire.meter.handler = lambda endpoint, cluster, frame: None
        assert await wire.hub.exchange(1, 1, b"a") is None

    in_wire_time(story)


def test_nobody_there_or_cut() -> None:
    async def story(wire: Wire, loop: EmulatorLoop) -> None:
        with pytest.raises(NoAnswerError):
            await wire.hub.exchange(1, 1, b"a")
        heard: list[bytes] = []
        wire.meter.handler = lambda endpoint, cluster, frame: heard.append(frame) or frame
        wire.is_cut = True
        with pytest.raises(NoAnswerError):
            await wire.hub.exchange(1, 1, b"a")
        assert heard == []
        wire.is_cut = False
        loop.call_at_us(loop.now_us() + LATENCY_US + 1, setattr, wire, "is_cut", True)
        with pytest.raises(NoAnswerError):  # it was heard; the answer was lost
            await wire.hub.exchange(1, 1, b"b")
        assert heard == [b"b"]

    in_wire_time(story)


def test_an_end_that_cannot_store_does_not_answer() -> None:
    """What is not durable is not acknowledged, and no other timer suffers."""

    async def story(wire: Wire, loop: EmulatorLoop) -> None:
        def fail(endpoint: int, cluster: int, frame: bytes) -> bytes:
            raise LostError("the disk is full")

        problems: list[object] = []
        loop.set_exception_handler(lambda _loop, context: problems.append(context))
        wire.meter.handler = fail
        with pytest.raises(NoAnswerError):
            await wire.hub.exchange(1, 1, b"a")
        assert problems == []

    in_wire_time(story)


def test_who_has_given_up_is_not_disturbed() -> None:
    async def story(wire: Wire, loop: EmulatorLoop) -> None:
        wire.meter.handler = lambda endpoint, cluster, frame: frame
        task = loop.create_task(wire.hub.exchange(1, 1, b"a"))
        await asyncio.sleep(LATENCY_US * 1.5 / 1e6)
        task.cancel()
        await asyncio.sleep(1)
        assert task.cancelled()

    in_wire_time(story)
