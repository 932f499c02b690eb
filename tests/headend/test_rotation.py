"""SUA key rotation through the head end."""

from __future__ import annotations

import asyncio

import pytest
from tests.headend.conftest import CHF, ESME, GSME, PPMID, START_UTC_US, Rig, code_of, request_xml

from smets1.errors import InputError
from smets1.firmware.wan.messages import WanEvent
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.firmware.zcl.frame import command_frame
from smets1.firmware.zcl.status import Side
from smets1.headend.rotation import RotationResult

DISABLE = request_xml("7.2", "<sr:DisableSupply/>")


def push(rig: Rig, event_id: str = "e1", confirmation: bytes | None = None) -> WanEvent:
    sua = rig.hub.meters[ESME].sua
    assert sua is not None
    generation, genuine = sua.confirmation(ESME)
    fields = {"generation": generation, "confirmation": confirmation or genuine}
    frame = command_frame(AUTHORISATION, "status_push", fields, sender=Side.SERVER)
    return WanEvent(
        event_id=event_id, source=ESME, endpoint=1, cluster_id=0xFC01, frame=frame, utc_us=START_UTC_US
    )


async def test_gas_then_electricity(rig: Rig) -> None:
    for device in (GSME, ESME):
        assert await rig.head_end.rotate_sua_key(device) is RotationResult.ROTATED
        sua = rig.hub.meters[device].sua
        assert sua is not None
        assert sua.generation == rig.dco.generation(device) == 1
    assert rig.hub.meters[ESME].sua != rig.hub.meters[GSME].sua
    assert code_of(await rig.ask(DISABLE)) == "I0"
    assert rig.hub.meters[ESME].attributes[1, 0x0702, "supply_status"] == 0
    assert await rig.head_end.rotate_sua_key(ESME) is RotationResult.ROTATED
    assert rig.dco.generation(ESME) == 2
    assert not rig.store.unfinished()


async def test_answer_lost_then_the_device_pushes(rig: Rig) -> None:
    rig.hub.is_expiring = True
    assert await rig.head_end.rotate_sua_key(ESME) is RotationResult.UNKNOWN
    # It had arrived, and only the answer was lost.
    rig.hub.is_expiring = False
    rig.hub._answer(rig.hub.asked[-1])
    assert rig.dco.generation(ESME) == 0
    # Asking again is safe: the old key no longer opens anything, and the result is honest.
    assert await rig.head_end.rotate_sua_key(ESME) is RotationResult.UNKNOWN
    rig.head_end.on_event(CHF, push(rig, "false", bytes(16)))
    assert rig.dco.generation(ESME) == 0
    rig.head_end.on_event(CHF, push(rig))
    await asyncio.sleep(0.01)
    assert rig.dco.generation(ESME) == 1
    assert rig.hub.meters[ESME].executed[-1] == "status_push_ack"
    assert rig.hub.meters[ESME].executed.count("status_push_ack") == 1
    assert code_of(await rig.ask(DISABLE)) == "I0"


async def test_device_says_no_and_still_has_the_old_key(rig: Rig) -> None:
    meter = rig.hub.meters[ESME]
    meter.attributes[1, 0xFC01, "sua_generation"] = 0
    assert meter.sua is not None
    meter.sua = type(meter.sua)(generation=0, counter=0, key=bytes(16))  # another key than the DCO's
    assert await rig.head_end.rotate_sua_key(ESME) is RotationResult.NOT_ROTATED
    assert rig.dco.generation(ESME) == 0


async def test_killed_meanwhile(rig: Rig) -> None:
    rig.hub.is_silent = rig.hub.executes_when_silent = True
    attempt = asyncio.create_task(rig.head_end.rotate_sua_key(ESME))
    await asyncio.sleep(0.01)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    rig.hub.is_silent = False
    await rig.restart()
    await asyncio.sleep(0.02)
    assert rig.dco.generation(ESME) == 1
    assert not rig.store.unfinished()


async def test_unknown_devices(rig: Rig) -> None:
    for device in (1, PPMID):
        with pytest.raises(InputError, match="not a device with a SUA key"):
            await rig.head_end.rotate_sua_key(device)


async def test_events_of_others_are_nothing(rig: Rig) -> None:
    rig.head_end.on_event(1, push(rig))
    event = push(rig)
    for frame in (b"", b"\x00\x01", bytes(50)):
        rig.head_end.on_event(
            CHF,
            WanEvent(
                event_id="x", source=ESME, endpoint=1, cluster_id=event.cluster_id, frame=frame, utc_us=0
            ),
        )
    await asyncio.sleep(0.01)
    assert not rig.hub.asked
