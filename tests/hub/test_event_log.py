"""The hub's own log: what it keeps, what survives, and that the head end alone reads it."""

from __future__ import annotations

from typing import Any

import pytest

from smets1.errors import RefusedError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zcl.clusters.events import EventLogId
from smets1.firmware.zcl.status import Status
from smets1.hardware.radio import COORDINATOR
from smets1.hub.event_log import HubEvent, HubEventLog


def test_a_hundred_of_each_log_survive_a_power_cut() -> None:
    nvm = MemoryNvm()
    log = HubEventLog(nvm)
    for number in range(150):
        log.record(HubEvent.JOINED_HAN, time_s=number, data=b"\1" * 8)
        log.record(HubEvent.NO_AUTHORITY, time_s=number)
    nvm.commit()
    log.record(HubEvent.JOINED_HAN, time_s=999)  # not committed
    again = HubEventLog(nvm.after_power_cut())
    for kind, code in (
        (EventLogId.GENERAL_EVENT_LOG, HubEvent.JOINED_HAN),
        (EventLogId.SECURITY_EVENT_LOG, HubEvent.NO_AUTHORITY),
    ):
        rows = [row for row in again.rows() if row.log is kind]
        assert [row.time_s for row in rows] == list(range(50, 150))
        assert {row.code for row in rows} == {code}


async def test_who_joined_is_there_after_the_hub_has_lost_power(smets1_home: Any) -> None:
    home = await smets1_home()
    joined = {row.data for row in home.chf.event_log.rows() if row.code == HubEvent.JOINED_HAN}
    radios = (home.esme, home.gsme, home.ppmid, home.ihd)
    assert joined == {device.eui64.to_bytes(8, "big") for device in radios}
    hub = home.chf.eui64
    await home.cut_power(hub)
    await home.restore_power(hub)
    again = {row.data for row in home.chf.event_log.rows() if row.code == HubEvent.JOINED_HAN}
    assert again == joined


async def test_a_device_that_asks_the_hub_for_its_log_is_refused_and_logged(smets1_home: Any) -> None:
    home = await smets1_home()
    asked = {"event_id": 0, "start_time": 0, "end_time": 1, "number_of_events": 1, "event_offset": 0}
    with pytest.raises(RefusedError) as refused:
        await home.ihd.app.request(
            COORDINATOR, 1, "events", "get_event_log", event_control_log_id=0x10, **asked
        )
    assert refused.value.status == Status.NOT_AUTHORIZED
    (row,) = [row for row in home.chf.event_log.rows() if row.code == HubEvent.NO_AUTHORITY]
    assert row.data == home.ihd.eui64.to_bytes(8, "big")
    hub = home.chf.eui64
    await home.cut_power(hub)
    await home.restore_power(hub)
    assert [row for row in home.chf.event_log.rows() if row.code == HubEvent.NO_AUTHORITY] == [row]
