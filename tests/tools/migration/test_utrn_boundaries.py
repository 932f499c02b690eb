"""The UTRN Period through all parties: SMSO, S1SP, 8.1.1 by the head end, tokens that the meters' keys verify.

The home is a light one, since no frame of it matters here: the whole takes under a second of real time.
The same with a real home is the scenario utrn-period-boundaries.
"""

from __future__ import annotations

import time

from smets1.errors import RefusedError
from smets1.eui64 import Eui64
from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.commissioning import requests_of
from smets1.headend.migration.progress import Stage
from smets1.headend.migration.utrn_period import UTRN_PERIOD_US, Channel
from smets1.tools.home_config import Role
from smets1.tools.migration.light import LightHome
from smets1.tools.migration.orders import reference_home
from smets1.tools.migration.parties import SUPPLIER
from smets1.tools.migration.rehearsal import Rehearsal
from smets1.tools.migration.rig import HomeBooks, Rig, RigOptions
from smets1.tools.trial_keys import prepayment_key, sua_key

SECOND_US = 1_000_000
ROLES = (Role.CHF, Role.GPF, Role.ESME, Role.GSME)


async def migrated(rig: Rig, week: Rehearsal) -> HomeBooks:
    """To the point where only 8.1.1 of each meter is missing."""
    await rig.start()
    config = reference_home(ROLES)
    home = rig.add_books(config)
    meters = home.smso.meters
    link = LightHome(
        home.smso.devices,
        sua_keys={meter: sua_key(config.seed, meter) for meter in meters},
        prepayment_keys={meter: prepayment_key(config.seed, meter) for meter in meters},
        civil=rig.civil,
    )
    rig.add_link(home.hub, link)
    week.authorise([home])
    await week.to_day()
    week.holds_back = True
    found = await week.validate(week.plan([home]))
    assert found is not None
    mef = await week.hand_over(*found)
    assert mef is not None
    week.give_mef(mef)
    while stage_of(rig, home) is not Stage.MIGRATED:
        await week.wait_until(rig.civil.utc_us() + SECOND_US)
    await commission(rig, home, "8.1.1", but=True)
    return home


def stage_of(rig: Rig, home: HomeBooks) -> Stage:
    progress = rig.s1sp.home(home.hub)
    assert progress is not None
    return progress.stage


async def commission(
    rig: Rig, home: HomeBooks, srv: str, *, device: Eui64 | None = None, but: bool = False
) -> None:
    installation = rig.s1sp.installation(home.hub)
    assert installation is not None
    dsp = rig.head_end.settings.dsp
    for request in requests_of(installation, dsp=dsp, now_utc_us=rig.civil.utc_us()):
        if (request.srv == srv) is not but and device in (None, request.target):
            assert await rig.cp.send(request) == "I0"


def answers(rig: Rig, device: Eui64, *, pence: int = 500) -> dict[Channel, str]:
    """By each way: "token", or the clause of the refusal."""
    found: dict[Channel, str] = {}
    for channel in Channel:
        try:
            if channel is Channel.DCC:
                token = rig.s1sp.supplier_utrn(device, pence=pence, originator=SUPPLIER)
            else:
                token = rig.smso.request_utrn(device, pence=pence, channel=channel)
            assert len(token) == 20
            found[channel] = "token"
        except RefusedError as error:
            found[channel] = str(error).split("TMAD ")[1].split(":")[0]
    return found


BEFORE = {Channel.RNSP: "token", Channel.SMSO: "6.7", Channel.DCC: "3.14C"}
WITHIN = {Channel.RNSP: "token", Channel.SMSO: "3.14C", Channel.DCC: "token"}
AFTER = {Channel.RNSP: "3.14D", Channel.SMSO: "3.14C", Channel.DCC: "token"}


async def walk() -> int:
    """How many answers were judged."""
    rig = Rig(RigOptions())
    week = Rehearsal(rig)
    judged = 0

    def judge(device: Eui64, expected: dict[Channel, str]) -> None:
        nonlocal judged
        assert answers(rig, device) == expected
        assert set(answers(rig, device, pence=-1).values()) == {"3.14B"}
        judged += 2 * len(expected)

    try:
        home = await migrated(rig, week)
        esme, gsme = (home.smso.first(kind) for kind in (DeviceType.ESME, DeviceType.GSME))
        assert esme is not None
        assert gsme is not None
        begun = {}
        for device, other in ((esme, gsme), (gsme, None)):
            judge(device, BEFORE)
            await week.wait_until(rig.civil.utc_us() + SECOND_US)  # 8.1.1 is a second after that
            await commission(rig, home, "8.1.1", device=device)
            begun_utc_us = rig.s1sp.period_begun_utc_us(device)
            assert begun_utc_us is not None
            begun[device] = begun_utc_us
            await week.wait_until(begun[device] + SECOND_US)
            judge(device, WITHIN)
            if other is not None:
                judge(other, BEFORE)
                await week.wait_until(begun[device] + 3600 * SECOND_US)
        assert stage_of(rig, home) is Stage.COMMISSIONED
        for device, other in ((esme, gsme), (gsme, esme)):
            await week.wait_until(begun[device] + UTRN_PERIOD_US - SECOND_US)
            judge(device, WITHIN)
            await week.wait_until(begun[device] + UTRN_PERIOD_US + SECOND_US)
            judge(device, AFTER)
            judge(other, WITHIN if other == gsme else AFTER)
        return judged
    finally:
        await rig.close()


def test_every_boundary_by_every_way_for_each_meter() -> None:
    run(walk(), speed=MAX_SPEED)  # once to have everything imported
    began_s = time.process_time()
    assert run(walk(), speed=MAX_SPEED) == 66
    assert time.process_time() - began_s < 1
