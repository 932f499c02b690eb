"""Who hears which alert."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

from lxml import etree
from tests.headend.conftest import (
    CHF,
    ESME,
    GSME,
    NETWORK,
    NS,
    START_UTC_US,
    SUPPLIER,
    Rig,
    code_of,
    request_xml,
)

from smets1.firmware.civil import zigbee_s
from smets1.firmware.wan.messages import WanEvent
from smets1.firmware.zcl.clusters.events import EVENTS
from smets1.firmware.zcl.frame import command_frame
from smets1.firmware.zcl.status import Side
from smets1.headend.alerts import THROTTLE_AFTER
from smets1.headend.dco import AnomalyLimits
from smets1.headend.users import DEFAULT_USERS


def event(code: int, number: int = 1, source: int = ESME) -> WanEvent:
    values = {
        "log_id": 3,
        "event_id": code,
        "event_time": zigbee_s(START_UTC_US),
        "event_control": 0,
        "event_data": b"",
    }
    frame = command_frame(EVENTS, "publish_event", values, sender=Side.SERVER)
    return WanEvent(
        event_id=f"e{number}",
        source=source,
        endpoint=1,
        cluster_id=EVENTS.cluster_id,
        frame=frame,
        utc_us=START_UTC_US,
    )


def heard(rig: Rig, schema: Any) -> list[tuple[int, str]]:
    """(user, alert code) of every alert, each valid against the schema."""
    found = []
    for response in rig.head_end.responses(limit=1000):
        root = etree.fromstring(response.xml)
        schema(root)
        code = root.findtext(".//ra:GBCSHexAlertCode", namespaces=NS) or root.findtext(
            ".//sr:DCCAlertCode", namespaces=NS
        )
        found.append((response.user, code or ""))
    return found


async def test_a_meter_s_alert_goes_to_its_supplier(rig: Rig, schema: Any) -> None:
    told: list[int] = []
    rig.head_end.on_response = lambda response: told.append(response.user)
    rig.head_end.on_event(CHF, event(0x810D))
    assert heard(rig, schema) == [(SUPPLIER, "810D")]
    assert told == [SUPPLIER]
    root = etree.fromstring(rig.head_end.responses()[0].xml)
    assert root.findtext(".//ra:AlertDescription", namespaces=NS) == "Credit below low credit threshold"
    stamp = root.find(".//ra:HeaderType/ra:Timestamp", NS)
    assert stamp is None or stamp.get("isFromGSME") == "false"


async def test_an_outage_is_told_to_the_network_too(rig: Rig, schema: Any) -> None:
    rig.head_end.on_event(CHF, event(0x8F36))
    assert heard(rig, schema) == [(SUPPLIER, "8F36"), (NETWORK, "8F36")]


async def test_once_however_often_it_comes(rig: Rig, schema: Any) -> None:
    for _ in range(3):
        rig.head_end.on_event(CHF, event(0x810D, 7))
    await rig.restart()
    rig.head_end.on_event(CHF, event(0x810D, 7))
    assert heard(rig, schema) == [(SUPPLIER, "810D")]


async def test_other_peoples_devices_and_nonsense(rig: Rig, schema: Any) -> None:
    rig.head_end.on_event(CHF + 7, event(0x810D))
    rig.head_end.on_event(CHF, event(0x810D, 2, source=0x77))
    rng = random.Random(5)
    for number in range(200):
        octets = rng.randbytes(rng.randrange(24))
        rig.head_end.on_event(CHF, replace(event(0x810D, 1000 + number), frame=octets))
    good = event(0x810D)
    for size in range(len(good.frame)):
        rig.head_end.on_event(CHF, replace(good, frame=good.frame[:size]))
    assert len(heard(rig, schema)) <= 2


async def test_unknown_codes_are_told_by_number(rig: Rig, schema: Any) -> None:
    rig.head_end.on_event(CHF, event(0x1234, source=GSME))
    assert heard(rig, schema) == [(SUPPLIER, "1234")]
    root = etree.fromstring(rig.head_end.responses()[0].xml)
    assert root.findtext(".//ra:AlertDescription", namespaces=NS) == "Event 0x1234"


async def test_a_flood_is_held_back_and_counted(rig: Rig, schema: Any) -> None:
    for number in range(THROTTLE_AFTER + 25):
        rig.head_end.on_event(CHF, event(0x8F60, number))
    rig.head_end.on_event(CHF, event(0x810D, 500))
    assert heard(rig, schema) == [(SUPPLIER, "8F60")] * THROTTLE_AFTER + [(SUPPLIER, "810D")]
    await asyncio.sleep(3601)
    rig.head_end.on_event(CHF, event(0x8F60, 900))
    root = etree.fromstring(rig.head_end.responses()[-1].xml)
    schema(root)
    assert root.findtext(".//sr:ThrottledAlertCount", namespaces=NS) == "25"
    rig.head_end.on_event(CHF, event(0x8F60, 901))
    last = etree.fromstring(rig.head_end.responses()[-1].xml)
    assert last.find(".//sr:ThrottledAlertCount", NS) is None


async def test_credentials_and_versions(make_rig: Any, schema: Any) -> None:
    """N42 is old; a supplier at DUIS 2 does not know N55, and gets N999 in its place."""
    users = tuple(
        replace(user, duis_version=Decimal(2)) if user.eui64 == SUPPLIER else user for user in DEFAULT_USERS
    )
    rig: Rig = await make_rig(users=users)
    meter = rig.head_end.inventory.find(ESME)
    assert meter is not None
    rig.head_end.alerts.commissioned(meter, now_utc_us=START_UTC_US)
    rig.head_end.alerts.credentials_updated(
        ESME,
        owner=SUPPLIER,
        role="Supplier",
        certificates=[("DigitalSigning", b"der")],
        now_utc_us=START_UTC_US,
    )
    assert heard(rig, schema) == [(SUPPLIER, "N999"), (NETWORK, "N16"), (SUPPLIER, "N42")]
    root = etree.fromstring(rig.head_end.responses()[0].xml)
    assert root.findtext(".//sr:DCCAlertVersionMismatch/sr:DCCAlertCode", namespaces=NS) == "N55"


async def test_the_dco_s_anomaly_limit(rig: Rig, schema: Any) -> None:
    rig.dco._limits = AnomalyLimits(per_device=2)
    codes = []
    for counter in range(3):
        response = await rig.ask(request_xml("7.2", "<sr:DisableSupply/>", counter=counter))
        schema(response)
        codes.append(code_of(response))
    assert codes == ["I0", "I0", "E56"]
    assert heard(rig, schema)[-2:].count((SUPPLIER, "N46")) == 1
    assert len(rig.hub.meters[ESME].executed) == 4


async def test_a_user_s_own_threshold(make_rig: Any, schema: Any) -> None:
    rig: Rig = await make_rig(thresholds={"4.18": 2})
    codes = [
        code_of(await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>", counter=counter)))
        for counter in range(3)
    ]
    assert codes == ["I0", "I0", "E56"]
    assert heard(rig, schema)[-1] == (SUPPLIER, "N46")
    assert len(rig.hub.asked) == 2
    await asyncio.sleep(86_401)
    assert code_of(await rig.ask(request_xml("4.18", "<sr:ReadMeterBalance/>", counter=9))) == "I0"
