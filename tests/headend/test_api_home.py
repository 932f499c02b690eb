"""The DSP's and the hub's own services on a whole home: its device log, identities, a schedule."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree
from tests.headend.conftest import NS, code_of, request_xml

DSP = "90-B3-D5-1F-30-00-00-02"
A0, A1, A2, A4, A5 = (f"00-DB-12-34-56-78-90-A{last}" for last in (0, 1, 2, 4, 5))


@pytest.mark.slow
async def test_services_that_need_no_new_device_function(smets1_home: Any) -> None:
    home = await smets1_home(seed=7)
    counter = 0

    async def ask(srv: str, body: str, target: str, cv: int = 1) -> etree._Element:
        nonlocal counter
        counter += 1
        xml = request_xml(srv, body, target=target, counter=counter, cv=cv)
        path = "serviceD" if cv == 8 else "serviceS"
        response = etree.fromstring(await home.headend.submit(xml, path, wait_s=7200))
        assert code_of(response) == "I0", srv
        data = response.find(".//ra:SMETSData", NS)
        assert data is None or data[0].get("MessageSuccess") == "true", etree.tostring(response)
        return response

    async def logged() -> list[str | None]:
        response = await ask("8.9", "<sr:ReadDeviceLog/>", A2)
        return [
            entry.findtext("ra:DeviceID", namespaces=NS)
            for entry in response.iterfind(".//ra:CHFDeviceLogEntry", NS)
        ]

    for target in (A0, A1, A2, A4):
        identity = await ask("6.2.4", "<sr:ReadDeviceConfigurationIdentityExcMPxN/>", target)
        assert identity.findtext(".//ra:DeviceIdentifier", namespaces=NS) == target
    join = f"<sr:JoinServiceNonCritical><sr:OtherDeviceID>{A5}</sr:OtherDeviceID></sr:JoinServiceNonCritical>"
    await ask("8.7.2", join, A0)
    assert A5 in await logged()
    await ask("8.8.2", join.replace("Join", "Unjoin"), A0)
    assert A5 not in await logged()
    added = (
        f"<sr:UpdateHANDeviceLog><sr:DeviceID>{A5}</sr:DeviceID><sr:RequestType>Add</sr:RequestType>"
        "<sr:AddDeviceToCHFWhitelist><sr:JoinTimePeriod>90</sr:JoinTimePeriod><sr:InstallCode>"
        "30313233343536373839414243444546</sr:InstallCode></sr:AddDeviceToCHFWhitelist></sr:UpdateHANDeviceLog>"
    )
    await ask("8.11", added, A2)
    assert A5 in await logged()

    schedule = (
        "<sr:CreateSchedule><sr:ScheduleFrequency>Daily</sr:ScheduleFrequency>"
        "<sr:ScheduleStartDate>2015-01-01</sr:ScheduleStartDate>"
        "<sr:ScheduleExecutionStartTime>18:00:00Z</sr:ScheduleExecutionStartTime>"
        "<sr:DSPScheduledServiceReference>4.16</sr:DSPScheduledServiceReference>"
        "<sr:DSPScheduledServiceReferenceVariant>4.16</sr:DSPScheduledServiceReferenceVariant>"
        f"<sr:DeviceID>{A0}</sr:DeviceID><sr:DSPReadActivePowerImport/></sr:CreateSchedule>"
    )
    await ask("5.1", schedule, DSP, cv=8)
    await home.clock.advance(hours=25)
    (run,) = [found for found in home.headend.responses() if (found.key or "").startswith("schedule")]
    power = etree.fromstring(run.xml).findtext(".//ra:PrimaryActivePowerImportValue", namespaces=NS)
    assert power is not None
    assert int(power) >= 0
