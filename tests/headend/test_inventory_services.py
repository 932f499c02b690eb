"""The inventory's services and the hub's device log: pre-notified, added, joined, commissioned, gone."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree
from tests.headend.conftest import CHF, ESME, GSME, IHD, NS, PPMID, Rig, code_of, request_xml

from smets1.eui64 import format_eui64, parse_eui64
from smets1.firmware.crypto.mmo import format_install_code
from smets1.headend.duis.codes import DeviceStatus, DeviceType
from smets1.headend.inventory import Inventory, InventoryDevice

DSP = "90-B3-D5-1F-30-00-00-02"
A0 = "00-DB-12-34-56-78-90-A0"
A2 = "00-DB-12-34-56-78-90-A2"
NEW = "00-DB-12-34-56-78-90-B7"
CODE = "30313233343536373839414243444546"


async def ask(rig: Rig, schema: Any, srv: str, body: str, counter: int = 1) -> etree._Element:
    response = await rig.ask(request_xml(srv, body, target=DSP, cv=8, counter=counter), "serviceD")
    schema(response)
    return response


def prenotification(device: str = NEW, kind: str = "IHD", rest: str = "") -> str:
    return (
        f"<sr:DevicePrenotification><sr:DeviceID>{device}</sr:DeviceID>"
        "<sr:DeviceManufacturer>AB01</sr:DeviceManufacturer><sr:DeviceModel>010A030B</sr:DeviceModel>"
        f"<sr:DeviceType>{kind}</sr:DeviceType>{rest}</sr:DevicePrenotification>"
    )


def update(change: str, device: str = A0) -> str:
    return f"<sr:UpdateInventory><sr:DeviceID>{device}</sr:DeviceID>{change}</sr:UpdateInventory>"


def log(device: str, operation: str = "Add", code: str = CODE, mpxn: str = "") -> str:
    added = (
        "<sr:AddDeviceToCHFWhitelist><sr:JoinTimePeriod>90</sr:JoinTimePeriod>"
        f"<sr:InstallCode>{code}</sr:InstallCode>{mpxn}</sr:AddDeviceToCHFWhitelist>"
    )
    return (
        f"<sr:UpdateHANDeviceLog><sr:DeviceID>{device}</sr:DeviceID><sr:RequestType>{operation}</sr:RequestType>"
        f"{added if operation == 'Add' else ''}</sr:UpdateHANDeviceLog>"
    )


def is_done(response: etree._Element) -> bool:
    element = response.find(".//ra:SMETSData", NS)
    assert element is not None
    return element[0].get("MessageSuccess") == "true"


def alerts(rig: Rig) -> list[tuple[str, str]]:
    """(code, first eight characters of the hearer's own half)"""
    return [
        (
            etree.fromstring(response.xml).findtext(".//sr:DCCAlertCode", namespaces=NS) or "",
            format_eui64(response.user)[15:20],
        )
        for response in rig.head_end.responses()
        if response.key is None
    ]


async def test_a_display_from_prenotification_to_the_han(rig: Rig, schema: Any) -> None:
    assert code_of(await ask(rig, schema, "12.2", prenotification(), 1)) == "I0"
    assert code_of(await ask(rig, schema, "12.2", prenotification(), 2)) == "E120201"
    new = parse_eui64(NEW)
    device = rig.head_end.inventory.find(new)
    assert device is not None
    assert (device.status, device.hub) == (DeviceStatus.PENDING, 0)
    listed = await ask(
        rig, schema, "8.2", f"<sr:ReadInventory><sr:DeviceID>{NEW}</sr:DeviceID></sr:ReadInventory>", 3
    )
    assert len(listed.findall(".//sr:Device", NS)) == 1, "it belongs to no home yet"

    added = await rig.ask(request_xml("8.11", log(NEW), target=A2, counter=4))
    schema(added)
    assert is_done(added)
    assert rig.hub.meters[CHF].logged == [(0, new, format_install_code(bytes.fromhex(CODE)))]
    device = rig.head_end.inventory.find(new)
    assert device is not None
    assert (device.status, device.hub) == (DeviceStatus.WHITELISTED, CHF)

    removed = await rig.ask(request_xml("8.11", log(NEW, "Remove"), target=A2, counter=5))
    assert is_done(removed)
    assert rig.hub.meters[CHF].logged[1][:2] == (1, new)
    device = rig.head_end.inventory.find(new)
    assert device is not None
    assert device.status is DeviceStatus.DECOMMISSIONED
    again = Inventory(rig.store).find(new)
    assert again == device, "and so it is in the store"


@pytest.mark.parametrize("body", [log("00-DB-12-34-56-78-90-77"), log(A0, code="30"), log(A0, code="zz")])
async def test_what_the_log_cannot_take(rig: Rig, schema: Any, body: str) -> None:
    response = await rig.ask(request_xml("8.11", body, target=A2))
    schema(response)
    assert not is_done(response)
    assert not rig.hub.meters[CHF].logged


async def test_adding_a_known_device_again_keeps_its_status(rig: Rig) -> None:
    mpxn = "<sr:ImportMPxN>1312345678111</sr:ImportMPxN>"
    assert is_done(await rig.ask(request_xml("8.11", log(A0, mpxn=mpxn), target=A2)))
    device = rig.head_end.inventory.find(ESME)
    assert device is not None
    assert (device.status, device.mpxn) == (DeviceStatus.COMMISSIONED, "1312345678111")


JOINS = [
    ("8.7.1", "JoinServiceCritical", 4),
    ("8.7.1", "JoinServiceCritical", 1),
    ("8.7.2", "JoinServiceNonCritical", 1),
    ("8.8.1", "UnjoinServiceCritical", 4),
    ("8.8.2", "UnjoinServiceNonCritical", 1),
]


@pytest.mark.parametrize(("srv", "name", "cv"), JOINS)
@pytest.mark.parametrize("other", [PPMID, IHD, parse_eui64("00-DB-12-34-56-78-90-9A")])
async def test_joins_and_unjoins(rig: Rig, schema: Any, srv: str, name: str, cv: int, other: int) -> None:
    """The hub's log has the PPMID, not the IHD; the third nobody knows."""
    body = f"<sr:{name}><sr:OtherDeviceID>{format_eui64(other)}</sr:OtherDeviceID></sr:{name}>"
    if cv == 4:
        transformed = await rig.ask(request_xml(srv, body, cv=4), "serviceT")
        payload = transformed.findtext(".//sr:GBCSPayload", namespaces=NS)
        body, cv = f"<sr:SignedPreCommand><sr:GBCSPayload>{payload}</sr:GBCSPayload></sr:SignedPreCommand>", 5
    response = await rig.ask(request_xml(srv, body, cv=cv))
    schema(response)
    is_join = srv.startswith("8.7")
    assert is_done(response) is (other == PPMID or (other == IHD and not is_join))
    assert [entry[:2] for entry in rig.hub.meters[CHF].logged] == (
        [(1, other)] if is_done(response) and not is_join else []
    )


async def test_commissioning(rig: Rig, schema: Any) -> None:
    rig.head_end.inventory.set_status(ESME, DeviceStatus.INSTALLED_NOT_COMMISSIONED)
    body = (
        "<sr:CommissionDeviceSynchroniseClock><sr:CurrentDateTime>2024-03-01T12:00:00Z</sr:CurrentDateTime>"
        "<sr:TolerancePeriod>60</sr:TolerancePeriod></sr:CommissionDeviceSynchroniseClock>"
    )
    response = await rig.ask(request_xml("8.1.1", body))
    schema(response)
    assert is_done(response)
    assert not rig.hub.asked, "a SMETS1 meter needs nothing of it"
    device = rig.head_end.inventory.find(ESME)
    assert device is not None
    assert device.status is DeviceStatus.COMMISSIONED
    assert alerts(rig) == [("N55", "01-00"), ("N16", "02-00"), ("N42", "01-00"), ("N42", "02-00")]
    for heard in rig.head_end.responses():
        schema(etree.fromstring(heard.xml))
    bad = await rig.ask(request_xml("8.1.1", body.replace("2024-03-01T12:00:00Z", "noon"), counter=2))
    schema(bad)
    assert not is_done(bad)
    assert len(alerts(rig)) == 4


UPDATES = [
    ("<sr:UpdateDeviceStatusExceptCH>Pending</sr:UpdateDeviceStatusExceptCH>", A0, "I0"),
    ("<sr:UpdateDeviceStatusExceptCH>Pending</sr:UpdateDeviceStatusExceptCH>", A2, "E080407"),
    ("<sr:UpdateDeviceStatusCH>Withdrawn</sr:UpdateDeviceStatusCH>", A2, "I0"),
    ("<sr:UpdateDeviceStatusCH>Withdrawn</sr:UpdateDeviceStatusCH>", A0, "E080407"),
    ("<sr:UpdateDeviceStatusCH>Suspended</sr:UpdateDeviceStatusCH>", A2, "E1000"),
    ("<sr:UpdateDeviceStatusExceptCH>Splendid</sr:UpdateDeviceStatusExceptCH>", A0, "E1000"),
    ("<sr:DeleteDevice/>", A0, "E080408"),
    ("<sr:DeleteDevice/>", NEW, "E080405"),
    ("<sr:UpdateMPxN><sr:ImportMPxN>1</sr:ImportMPxN></sr:UpdateMPxN>", A0, "I0"),
    ("<sr:UpdateMPxN><sr:ExportMPAN>1312345678333</sr:ExportMPAN></sr:UpdateMPxN>", A0, "I0"),
    ("<sr:UpdateMPxN><sr:SecondaryImportMPAN>1312345678333</sr:SecondaryImportMPAN></sr:UpdateMPxN>", A0, "E080407"),
    ("<sr:UpdateMPxN><sr:ImportMPxN>1</sr:ImportMPxN></sr:UpdateMPxN>", A2, "E080407"),
    ("<sr:UpdateDeviceDetails><sr:DeviceModel>X</sr:DeviceModel></sr:UpdateDeviceDetails>", A0, "I0"),
    ("<sr:Explode/>", A0, "E1000"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "device", "code"), UPDATES)
async def test_update_inventory(rig: Rig, schema: Any, change: str, device: str, code: str) -> None:
    before = rig.head_end.inventory.find(parse_eui64(device))
    assert code_of(await ask(rig, schema, "8.4", update(change, device))) == code
    assert (rig.head_end.inventory.find(parse_eui64(device)) == before) is (code != "I0")


async def test_a_pending_device_can_be_deleted(rig: Rig, schema: Any) -> None:
    pending = "<sr:UpdateDeviceStatusExceptCH>Pending</sr:UpdateDeviceStatusExceptCH>"
    await ask(rig, schema, "8.4", update(pending), 1)
    assert code_of(await ask(rig, schema, "8.4", update("<sr:DeleteDevice/>"), 2)) == "I0"
    assert rig.head_end.inventory.find(ESME) is None
    assert code_of(await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>"))) == "E19"
    assert ESME not in rig.store.devices()


async def test_decommissioning(rig: Rig, schema: Any) -> None:
    body = f"<sr:DecommissionDevice><sr:DeviceID>{A0}</sr:DeviceID></sr:DecommissionDevice>"
    assert code_of(await ask(rig, schema, "8.3", body, 1)) == "I0"
    assert alerts(rig) == [("N8", "02-00")], "the supplier itself has asked for it"
    assert code_of(await ask(rig, schema, "8.3", body, 2)) == "E080302"
    assert code_of(await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>"))) == "E5"
    assert code_of(await ask(rig, schema, "8.3", body.replace("A0<", "77<"), 3)) == "E080301"
    hub = body.replace("A0<", "A2<")
    assert code_of(await ask(rig, schema, "8.3", hub, 4)) == "I0"
    statuses = {d.device_type: d.status for d in rig.head_end.inventory.all()}
    assert statuses[DeviceType.GPF] is statuses[DeviceType.CHF] is DeviceStatus.DECOMMISSIONED
    for heard in rig.head_end.responses():
        schema(etree.fromstring(heard.xml))


async def test_changes_count_once(rig: Rig, schema: Any) -> None:
    assert code_of(await ask(rig, schema, "12.2", prenotification(), 1)) == "I0"
    assert code_of(await ask(rig, schema, "12.2", prenotification("00-DB-12-34-56-78-90-B8"), 1)) == "E40"
    assert rig.head_end.inventory.find(parse_eui64("00-DB-12-34-56-78-90-B8")) is None


async def test_search_by_premises(rig: Rig, schema: Any) -> None:
    meter = InventoryDevice(
        eui64=GSME,
        device_type=DeviceType.GSME,
        hub=CHF,
        uprn="100012345678",
        post_code="sw1a 1AA",
        address="10",
    )
    rig.head_end.inventory.put(meter)
    filter_ = "<sr:PropertyFilter><sr:PostCode>{}</sr:PostCode><sr:AddressIdentifier>{}</sr:AddressIdentifier></sr:PropertyFilter>"
    searches = (
        ("<sr:UPRN>100012345678</sr:UPRN>", "I0"),
        ("<sr:UPRN>100012345679</sr:UPRN>", "E080201"),
        (filter_.format("SW1A1AA", "10"), "I0"),
        (filter_.format("SW1A1AA", "11"), "E080201"),
        ("<sr:PropertyFilter/>", "E080201"),
    )
    for counter, (key, code) in enumerate(searches):
        body = f"<sr:ReadInventory>{key}</sr:ReadInventory>"
        xml = request_xml("8.2", body, target=DSP, cv=8, counter=counter)
        response = await rig.ask(xml, "serviceD")
        schema(response)
        assert code_of(response) == code, key
        assert len(response.findall(".//sr:Device", NS)) == (6 if code == "I0" else 0)
