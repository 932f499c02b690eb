"""From a DUIS request to a device and back, over a hub in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from lxml import etree
from tests.headend.conftest import (
    CHF,
    ESME,
    GPF,
    GSME,
    NS,
    PPMID,
    Rig,
    code_of,
    request_xml,
)

from smets1.firmware.civil import parse_utc
from smets1.firmware.wan.messages import WanStatus
from smets1.headend.duis.codes import DeviceStatus, ServicePath
from smets1.headend.duis.request import DuisError
from smets1.headend.duis.signature import Verifier
from smets1.headend.users import DEFAULT_USERS

A0 = "00-DB-12-34-56-78-90-A0"
A1 = "00-DB-12-34-56-78-90-A1"
A2 = "00-DB-12-34-56-78-90-A2"
A3 = "00-DB-12-34-56-78-90-A3"
A4 = "00-DB-12-34-56-78-90-A4"
DSP = "90-B3-D5-1F-30-00-00-02"
NETWORK = "90-B3-D5-1F-30-02-00-00"


def data(response: etree._Element) -> etree._Element:
    """The one element inside SMETSData."""
    element = response.find(".//ra:SMETSData", NS)
    assert element is not None, etree.tostring(response)
    return element[0]


def flat(element: etree._Element) -> dict[str, str]:
    """Leaf name -> text."""
    return {
        etree.QName(leaf).localname: leaf.text or "" for leaf in element.iter() if not len(leaf) and leaf.text
    }


READS = [
    ("4.1.1", "ReadInstantaneousImportRegisters", A0, {"Value": "1234567", "ActiveEnergyUnit": "Wh"}),
    ("4.1.1", "ReadInstantaneousImportRegisters", A1, {"Value": "98.765", "Unit": "m3"}),
    ("4.1.1", "ReadInstantaneousImportRegisters", A3, {"Value": "98.765", "Unit": "m3"}),
    (
        "4.3",
        "ReadInstantaneousPrepayValues",
        A0,
        {
            "EmergencyCreditBalance": "500000",
            "AccumulatedDebtRegister": "0",
            "PaymentDebtRegister": "3000",
            "TimeDebtRegister1": "1000",
            "TimeDebtRegister2": "2000",
            "MeterBalance": "1250000",
        },
    ),
    ("4.18", "ReadMeterBalance", A0, {"MeterBalance": "1250000"}),
    ("4.18", "ReadMeterBalance", A1, {"MeterBalance": "777000", "MeterBalancePrepaymentMode": "777000"}),
    (
        "6.2.9",
        "ReadDeviceConfigurationPaymentMode",
        A0,
        {"PaymentMode": "Prepayment", "SuspendDebtEmergency": "true", "SuspendDebtDisabled": "true"},
    ),
    (
        "6.2.4",
        "ReadDeviceConfigurationIdentityExcMPxN",
        A0,
        {"DeviceIdentifier": A0, "ModelType": "Liberty ", "ManufacturerIdentifier": "Secure"},
    ),
    (
        "6.2.4",
        "ReadDeviceConfigurationIdentityExcMPxN",
        A1,
        {"DeviceIdentifier": A1, "ModelType": "Liberty ", "ManufacturerIdentifier": "Secure"},
    ),
    (
        "4.16",
        "ReadActivePowerImport",
        A0,
        {"Value": "1500", "Unit": "W", "PrimaryActivePowerImportValue": "1500"},
    ),
    ("7.4", "ReadSupplyStatus", A0, {"SupplyState": "Enabled"}),
    ("7.4", "ReadSupplyStatus", A1, {"SupplyState": "Enabled", "RemainingBatteryCapacity": "97"}),
    ("11.2", "ReadFirmwareVersion", A0, {"FirmwareVersion": "01020304"}),
    ("11.2", "ReadFirmwareVersion", A3, {"FirmwareVersion": "01020304"}),
    ("11.2", "ReadFirmwareVersion", A4, {"FirmwareVersion": "01020304"}),
]


@pytest.mark.parametrize(("srv", "body", "target", "expected"), READS)
async def test_read(
    rig: Rig, schema: Any, srv: str, body: str, target: str, expected: dict[str, str]
) -> None:
    response = await rig.ask(request_xml(srv, f"<sr:{body}/>", target=target))
    schema(response)
    assert code_of(response) == "I0"
    assert data(response).get("MessageSuccess") == "true"
    assert etree.QName(data(response)).localname == f"{body}Rsp"
    assert flat(data(response)) == expected
    stamp = response.find(".//ra:Timestamp", NS)
    assert stamp is not None
    assert stamp.text == "2024-03-01T12:00:00Z"
    assert stamp.get("isFromGSME") == ("true" if target in (A1, A3) else "false")


@pytest.mark.parametrize(
    ("control", "mode", "emergency", "disabled"),
    [
        (0x0C94, "Credit", "false", "true"),
        (0x0497, "Prepayment", "true", "true"),
        (0x0097, "Prepayment", "true", "false"),
        (0x0C97, "Prepayment", "false", "true"),
        (0x0897, "Prepayment", "false", "false"),
    ],
)
async def test_payment_modes_of_real_meters(
    rig: Rig, control: int, mode: str, emergency: str, disabled: str
) -> None:
    rig.hub.meters[ESME].attributes[1, 0x0705, "payment_control_configuration"] = control
    response = await rig.ask(request_xml("6.2.9", "<sr:ReadDeviceConfigurationPaymentMode/>"))
    assert flat(data(response)) == {
        "PaymentMode": mode,
        "SuspendDebtEmergency": emergency,
        "SuspendDebtDisabled": disabled,
    }


async def test_gas_reads_go_to_the_proxy_and_commands_to_the_meter(rig: Rig) -> None:
    await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>", target=A1))
    utrn = "<sr:TopUpDevice><sr:UTRN>73950067887105178605</sr:UTRN></sr:TopUpDevice>"
    await rig.ask(request_xml("2.2", utrn, target=A1, counter=6 << 32))
    assert [(asked.target, asked.endpoint) for asked in rig.hub.asked] == [(GPF, 2), (GSME, 1)]


async def test_top_up_once_and_again(rig: Rig, schema: Any) -> None:
    body = "<sr:TopUpDevice><sr:UTRN>73946144332040217315</sr:UTRN></sr:TopUpDevice>"
    first = await rig.ask(request_xml("2.2", body, counter=3 << 32))
    schema(first)
    assert data(first).get("MessageSuccess") == "true"
    second = await rig.ask(request_xml("2.2", body, counter=4 << 32))
    schema(second)
    assert code_of(second) == "I0"
    assert data(second).get("MessageSuccess") == "false"
    assert "duplicate" in (second.findtext(".//ra:Error", namespaces=NS) or "")
    assert rig.hub.meters[ESME].top_ups == ["73946144332040217315"]


async def test_a_meter_without_a_register_is_a_valid_refusal(rig: Rig, schema: Any) -> None:
    del rig.hub.meters[ESME].attributes[1, 0x0702, "current_summation_delivered"]
    response = await rig.ask(request_xml("4.1.1", "<sr:ReadInstantaneousImportRegisters/>"))
    schema(response)
    assert data(response).get("MessageSuccess") == "false"


@pytest.mark.parametrize(("srv", "body", "state"), [("7.2", "DisableSupply", 0), ("7.3", "ArmSupply", 1)])
@pytest.mark.parametrize(("target", "meter"), [(A0, ESME), (A1, GSME)])
async def test_critical_at_once(
    rig: Rig, schema: Any, srv: str, body: str, state: int, target: str, meter: int
) -> None:
    response = await rig.ask(request_xml(srv, f"<sr:{body}/>", target=target))
    schema(response)
    assert data(response).get("MessageSuccess") == "true"
    assert rig.hub.meters[meter].attributes[1, 0x0702, "supply_status"] == state
    assert rig.hub.meters[meter].executed == ["critical_instruction", "change_supply"]


async def test_critical_by_pre_command(rig: Rig, schema: Any) -> None:
    transformed = await rig.ask(request_xml("7.2", "<sr:DisableSupply/>", cv=4), "serviceT")
    schema(transformed)
    assert code_of(transformed) == "I0"
    payload = transformed.findtext(".//sr:PreCommand/sr:GBCSPayload", namespaces=NS)
    assert not rig.hub.asked
    signed = f"<sr:SignedPreCommand><sr:GBCSPayload>{payload}</sr:GBCSPayload></sr:SignedPreCommand>"
    response = await rig.ask(request_xml("7.2", signed, cv=5))
    schema(response)
    assert data(response).get("MessageSuccess") == "true"
    assert rig.hub.meters[ESME].attributes[1, 0x0702, "supply_status"] == 0


@pytest.mark.parametrize("change", ["srv", "counter", "octet", "empty", "other"])
async def test_a_changed_pre_command_is_refused(rig: Rig, schema: Any, change: str) -> None:
    transformed = await rig.ask(request_xml("7.2", "<sr:DisableSupply/>", cv=4), "serviceT")
    payload = transformed.findtext(".//sr:PreCommand/sr:GBCSPayload", namespaces=NS) or ""
    srv, counter = ("7.3" if change == "srv" else "7.2"), (1001 if change == "counter" else 1000)
    payload = {"octet": "A" + payload[1:], "empty": ""}.get(change, payload)
    signed = f"<sr:SignedPreCommand><sr:GBCSPayload>{payload}</sr:GBCSPayload></sr:SignedPreCommand>"
    if change == "other":
        signed = "<sr:DisableSupply/>"
    response = await rig.ask(request_xml(srv, signed, cv=5, counter=counter))
    schema(response)
    assert code_of(response) == "E43"
    assert not rig.hub.asked


async def test_inventory(rig: Rig, schema: Any) -> None:
    keys = (f"<sr:DeviceID>{A2}</sr:DeviceID>", "<sr:MPxN>01234567890</sr:MPxN>")
    for counter, key in enumerate(keys):
        body = f"<sr:ReadInventory>{key}</sr:ReadInventory>"
        xml = request_xml("8.2", body, target=DSP, cv=8, counter=counter)
        response = await rig.ask(xml, "serviceD")
        schema(response)
        assert code_of(response) == "I0"
        devices = response.findall(".//sr:Device", NS)
        found = [device.findtext("sr:DeviceType", namespaces=NS) for device in devices]
        assert found == ["ESME", "GSME", "CHF", "GPF", "PPMID", "IHD"]
    unknown = "<sr:ReadInventory><sr:DeviceID>00-00-00-00-00-00-00-01</sr:DeviceID></sr:ReadInventory>"
    response = await rig.ask(request_xml("8.2", unknown, target=DSP, cv=8, counter=2), "serviceD")
    schema(response)
    assert code_of(response) == "E080201"


async def test_device_logs(rig: Rig, schema: Any) -> None:
    response = await rig.ask(request_xml("8.9", "<sr:ReadDeviceLog/>", target=A2))
    schema(response)
    entries = [flat(entry) for entry in response.iterfind(".//ra:CHFDeviceLogEntry", NS)]
    assert entries == [
        {"DeviceID": A1, "LastCommunicationsDateTime": "2024-03-01T12:00:00Z"},
        {"DeviceID": A4},
    ]
    for target, expected in ((A1, [A3]), (A0, [A4]), (A3, [A1, A4])):
        response = await rig.ask(request_xml("8.9", "<sr:ReadDeviceLog/>", target=target))
        schema(response)
        assert [flat(entry)["DeviceID"] for entry in response.iterfind(".//ra:LogEntry", NS)] == expected


REFUSALS = [
    # what, keyword changes, path, code
    ("unknown user", {"originator": "90-B3-D5-1F-30-09-00-00"}, "serviceS", "E1"),
    ("wrong role", {"srv": "4.18", "originator": NETWORK, "body": "<sr:ReadMeterBalance/>"}, "serviceS", "E2"),
    ("not the user's device", {"originator": "90-B3-D5-1F-30-01-00-08", "srv": "7.4", "target": A1,
                               "body": "<sr:ReadSupplyStatus/>"}, "serviceS", "E4"),
    ("wrong device", {"target": A4}, "serviceS", "E11"),
    ("after DUIS 3", {"srv": "7.13", "body": "<sr:SetAuxiliaryControllerState/>"}, "serviceS", "E11"),
    ("wrong variant", {"cv": 4}, "serviceT", "E12"),
    ("non-critical signed", {"cv": 5}, "serviceS", "E12"),
    ("wrong path", {}, "serviceD", "E13"),
    ("non-device at S", {"cv": 8}, "serviceS", "E13"),
    ("unknown device", {"target": "00-DB-12-34-56-78-90-77"}, "serviceS", "E19"),
    ("wrong body", {"body": "<sr:ReadMeterBalance/>"}, "serviceS", "E1000"),
    ("wrong reference", {"reference": "4.2"}, "serviceS", "E1000"),
    ("bad date", {"body": "<sr:ReadInstantaneousImportRegisters><sr:ExecutionDateTime>soon"
                          "</sr:ExecutionDateTime></sr:ReadInstantaneousImportRegisters>"}, "serviceS", "E1000"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "changes", "path", "code"), REFUSALS)
async def test_refusals(
    rig: Rig, schema: Any, what: str, changes: dict[str, Any], path: str, code: str
) -> None:
    fields = {"srv": "4.1.1", "body": "<sr:ReadInstantaneousImportRegisters/>"} | changes
    response = await rig.ask(request_xml(**fields), path)
    schema(response)
    assert code_of(response) == code, what
    assert not rig.hub.asked
    assert not rig.head_end.responses()


async def test_a_user_that_is_not_active(make_rig: Any, schema: Any) -> None:
    rig: Rig = await make_rig(users=(replace(DEFAULT_USERS[0], is_active=False),))
    response = await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>"))
    schema(response)
    assert code_of(response) == "E3"


async def test_the_dco_does_not_consent_without_a_key(rig: Rig, schema: Any) -> None:
    rig.dco_nvm.delete(f"device/{ESME:016x}")
    response = await rig.ask(request_xml("7.2", "<sr:DisableSupply/>"))
    schema(response)
    assert code_of(response) == "E55"
    assert not rig.hub.asked


@pytest.mark.parametrize(
    ("srv", "body", "cv", "path", "alert"),
    [
        ("3.1", "<sr:DisplayMessage/>", 1, "serviceS", "N60"),
        ("8.5", "<sr:ServiceOptOut/>", 1, "serviceS", "N60"),
        ("1.7", "<sr:ResetTariffBlockCounterMatrix/>", 4, "serviceT", "N60"),
        ("12.1", "<sr:RequestWANMatrix/>", 8, "serviceD", "N60"),
        ("4.1.1", "<sr:ReadInstantaneousImportRegisters/>", 2, "serviceD", "N61"),
        ("4.1.1", "<sr:ReadInstantaneousImportRegisters/>", 3, "serviceS", "N61"),
        ("7.2", "<sr:DisableSupply/>", 7, "serviceS", "N61"),
    ],
)
async def test_alerts_for_what_smets1_cannot(
    rig: Rig, schema: Any, srv: str, body: str, cv: int, path: str, alert: str
) -> None:
    response = await rig.ask(request_xml(srv, body, cv=cv), path)
    schema(response)
    assert response.findtext(".//sr:DCCAlertCode", namespaces=NS) == alert
    assert response.findtext(".//sr:CommandRequestID", namespaces=NS) is not None
    assert not rig.hub.asked


async def test_i99_first_and_one_response_after(rig: Rig, schema: Any) -> None:
    body = "<sr:ReadMeterBalance/>"
    for srv, xml in (("4.18", body), ("3.1", "<sr:DisplayMessage/>")):
        acknowledged = await rig.ask(request_xml(srv, xml, counter=len(srv)), wait_s=None)
        schema(acknowledged)
        assert code_of(acknowledged) == "I99"
    await asyncio.sleep(0.01)
    responses = rig.head_end.responses()
    assert [code_of(etree.fromstring(response.xml)) for response in responses] == ["I0", "I0"]
    assert sorted(b"N60" in response.xml for response in responses) == [False, True]
    assert not any(response.is_delivered for response in responses)


async def test_a_request_id_counts_once(make_rig: Any, schema: Any) -> None:
    rig = await make_rig()
    xml = request_xml("4.18", "<sr:ReadMeterBalance/>")
    assert code_of(await rig.ask(xml)) == "I0"
    again = await rig.ask(xml)
    schema(again)
    assert code_of(again) == "E40"
    reused = await make_rig(request_ids="reused")
    assert [code_of(await reused.ask(xml)) for _ in range(3)] == ["I0"] * 3
    assert len(reused.head_end.responses()) == 3


async def test_unreachable_device_is_asked_again_for_a_read_only(rig: Rig, schema: Any) -> None:
    rig.hub.unreachable_times = 9
    utrn = "<sr:TopUpDevice><sr:UTRN>73946144332040217315</sr:UTRN></sr:TopUpDevice>"
    response = await rig.ask(request_xml("2.2", utrn, counter=7))
    schema(response)
    assert code_of(response) == "E21"
    assert len(rig.hub.asked) == 1
    balance = request_xml("4.18", "<sr:ReadMeterBalance/>")
    assert code_of(await rig.ask(balance, wait_s=600)) == "E21"
    assert len(rig.hub.asked) == 4
    assert len({asked.request_id for asked in rig.hub.asked}) == 4
    rig.hub.unreachable_times = 2
    assert code_of(await rig.ask(balance.replace(b":1000<", b":1<"), wait_s=600)) == "I0"


async def test_expiry_unknown_target_and_offline_hub(rig: Rig, schema: Any) -> None:
    rig.hub.is_expiring = True
    response = await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>", counter=1))
    schema(response)
    assert code_of(response) == "E20"
    rig.hub.is_expiring = False
    del rig.hub.meters[PPMID]
    response = await rig.ask(request_xml("11.2", "<sr:ReadFirmwareVersion/>", target=A4))
    assert code_of(response) == "E20"
    assert WanStatus.UNKNOWN_TARGET in {answer.status for answer in rig.hub.answers.values()}


async def test_hub_that_answers_nonsense(rig: Rig, schema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = rig.hub._execute
    for index, frame in enumerate([b"", b"\x00", b"\x18\x00\x01\x01", bytes(range(40))]):
        monkeypatch.setattr(
            rig.hub,
            "_execute",
            lambda request, frame=frame: type(genuine(request))(
                request_id=request.request_id, status=WanStatus.DONE, frame=frame
            ),
        )
        response = await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>", counter=index))
        schema(response)
        assert data(response).get("MessageSuccess") == "false"


@pytest.mark.parametrize("executes", [False, True])
async def test_kill_in_the_middle_of_a_top_up(rig: Rig, executes: bool) -> None:
    """Accepted, sent, and the head end dies before the answer: one credit, one response."""
    rig.hub.is_silent, rig.hub.executes_when_silent = True, executes
    body = "<sr:TopUpDevice><sr:UTRN>73946144332040217315</sr:UTRN></sr:TopUpDevice>"
    assert code_of(await rig.ask(request_xml("2.2", body), wait_s=0.01)) == "I99"
    rig.hub.is_silent = False
    await rig.restart()
    await asyncio.sleep(0.02)
    (response,) = rig.head_end.responses()
    assert data(etree.fromstring(response.xml)).get("MessageSuccess") == "true"
    assert rig.hub.meters[ESME].top_ups == ["73946144332040217315"]
    assert rig.hub.asked[0] == rig.hub.asked[1]
    await rig.restart()
    await asyncio.sleep(0.02)
    assert len(rig.head_end.responses()) == 1
    assert len(rig.hub.asked) == 2


async def test_kill_in_the_middle_of_a_critical_instruction(rig: Rig) -> None:
    rig.hub.is_silent = True
    await rig.ask(request_xml("7.2", "<sr:DisableSupply/>"), wait_s=0.01)
    rig.hub.is_silent = False
    await rig.restart()
    await asyncio.sleep(0.02)
    (response,) = rig.head_end.responses()
    assert data(etree.fromstring(response.xml)).get("MessageSuccess") == "true"
    assert rig.hub.meters[ESME].executed == ["critical_instruction", "change_supply"]


async def test_one_at_a_time_per_device_others_meanwhile(rig: Rig) -> None:
    rig.hub.is_silent = True
    for counter in (1, 2):
        await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>", counter=counter), wait_s=None)
    await rig.ask(request_xml("11.2", "<sr:ReadFirmwareVersion/>", target=A2), wait_s=None)
    await asyncio.sleep(0.01)
    assert sorted(asked.target for asked in rig.hub.asked) == [ESME, CHF]


async def test_future_dated_waits(rig: Rig) -> None:
    when = "<sr:ExecutionDateTime>2024-03-08T00:00:00Z</sr:ExecutionDateTime>"
    body = f"<sr:ReadMeterBalance>{when}</sr:ReadMeterBalance>"
    assert code_of(await rig.ask(request_xml("4.18", body), wait_s=6 * 86_400)) == "I99"
    assert not rig.hub.asked
    await asyncio.sleep(86_400)
    (asked,) = rig.hub.asked
    assert asked.expires_utc_us == parse_utc("2024-03-09T00:00:00Z")
    past = body.replace("2024", "2015")
    assert code_of(await rig.ask(request_xml("4.18", past, counter=2))) == "I0"


async def test_responses_are_signed(rig: Rig) -> None:
    response = await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>"))
    signed = response.find(".//sr:SMETS1SignedResponse", NS)
    assert signed is not None
    verifier = Verifier(rig.pki.store_of(*rig.credentials.values()))
    root, credential = verifier.verify(etree.tostring(signed, with_tail=False), now_utc_us=rig.civil.utc_us())
    assert credential.certificate.subject.rfc4514_string().endswith("CN=S1SP")
    assert root.findtext(".//ra:MeterBalance", namespaces=NS) == "1250000"


async def test_not_a_request_at_all(rig: Rig) -> None:
    for xml in (b"", b"hello", b"<a/>", request_xml("4.18", "<sr:ReadMeterBalance/>")[:-20]):
        with pytest.raises(DuisError):
            await rig.head_end.submit(xml)
    with pytest.raises(ValueError, match="serviceX"):
        await rig.head_end.submit(request_xml("4.18", "<sr:ReadMeterBalance/>"), "serviceX")
    assert ServicePath("serviceS") is ServicePath.SEND_COMMAND


@pytest.mark.parametrize(
    ("srv", "reference"), [("99.9", "99.9"), ("4.99", "4.99"), ("4.18", "9.9"), ("0.0", "0.0")]
)
async def test_a_service_that_duis_does_not_have(rig: Rig, schema: Any, srv: str, reference: str) -> None:
    response = await rig.ask(request_xml(srv, "<sr:ReadMeterBalance/>", reference=reference))
    schema(response)
    assert code_of(response) == "E1000"
    assert srv in (response.findtext(".//ra:Error", namespaces=NS) or "")
    assert not rig.hub.asked


async def test_a_read_of_the_inventory_counts_once_too(rig: Rig) -> None:
    """A replay of it would tell somebody else what is in the home."""
    key = f"<sr:ReadInventory><sr:DeviceID>{A2}</sr:DeviceID></sr:ReadInventory>"
    xml = request_xml("8.2", key, target=DSP, cv=8)
    assert [code_of(await rig.ask(xml, "serviceD")) for _ in range(2)] == ["I0", "E40"]


async def test_a_transform_may_be_repeated_until_its_pre_command_is_sent(rig: Rig) -> None:
    xml = request_xml("7.2", "<sr:DisableSupply/>", cv=4)
    first, again = [await rig.ask(xml, "serviceT") for _ in range(2)]
    payloads = [
        answer.findtext(".//sr:PreCommand/sr:GBCSPayload", namespaces=NS) for answer in (first, again)
    ]
    assert payloads[0] == payloads[1] is not None
    signed = f"<sr:SignedPreCommand><sr:GBCSPayload>{payloads[0]}</sr:GBCSPayload></sr:SignedPreCommand>"
    assert code_of(await rig.ask(request_xml("7.2", signed, cv=5))) == "I0"
    assert code_of(await rig.ask(xml, "serviceT")) == "E40"
    assert code_of(await rig.ask(request_xml("7.2", signed, cv=5))) == "E40"


@pytest.mark.parametrize("status", list(DeviceStatus))
async def test_which_statuses_a_request_may_reach(rig: Rig, schema: Any, status: DeviceStatus) -> None:
    rig.head_end.inventory.set_status(ESME, status)
    response = await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>"))
    schema(response)
    is_there = status in ("Whitelisted", "InstalledNotCommissioned", "Commissioned", "Recovered")
    assert code_of(response) == ("I0" if is_there else "E5")
    assert len(rig.hub.asked) == is_there
