"""Our tables against two other people's: ids, types, access, versions, names."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from enum import IntEnum
from pathlib import Path

import pytest

from smets1.firmware.zcl.clusters import (
    CLUSTERS,
    MANUFACTURER_CODE,
    calendar,
    cluster_named,
    device_management,
    events,
    key_establishment,
    messaging,
    metering,
    prepayment,
)
from smets1.firmware.zcl.declare import attributes
from smets1.firmware.zcl.security import is_protected
from smets1.firmware.zcl.status import Side

SE_1_4_ONLY = {0x070B}  # Sub-GHz

TYPES = {
    "INT": "u", "BITMAP": "bm", "ENUM": "e",
}  # fmt: skip

# what the XML has otherwise, and why ours stands
FIELD_TYPES = {  # money that may be negative is signed in the specification, unsigned in the XML
    ("credit_adjustment", 3): "i32",
    ("change_payment_mode", 4): "i32",
    ("set_overall_debt_cap", 3): "i32",
    ("consumer_top_up_response", 1): "i32",
    ("consumer_top_up_response", 3): "i32",
}


def _our_type(xml_type: str) -> str:
    if xml_type in ("OCTET_STRING", "CHAR_STRING", "UTC_TIME", "BOOLEAN", "IEEE_ADDRESS", "DATE"):
        return {
            "OCTET_STRING": "octstr", "CHAR_STRING": "string", "UTC_TIME": "utc", "BOOLEAN": "bool",
            "IEEE_ADDRESS": "eui64", "DATE": "date",
        }[xml_type]  # fmt: skip
    match = re.fullmatch(r"(INT|BITMAP|ENUM)(\d+)([US]?)", xml_type)
    assert match, xml_type
    return ("i" if match[3] == "S" else TYPES[match[1]]) + match[2]


def _letters(name: str) -> list[str]:
    """Letters and digits, sorted: the lists differ in spacing, word order, and abbreviations."""
    text = re.sub(r"[^a-z0-9]", "", re.sub(r"\((server|client|minutes)\)", "", name.lower()))
    for long, short in ABBREVIATIONS:
        text = text.replace(long, short)
    return sorted(text)


ABBREVIATIONS = [
    ("received", "rx"), ("rxrx", "rx"), ("register", "reg"), ("adjust", "adj"), ("prepayment", "prepay"),
    ("prepay", "pp"), ("warning", "warn"), ("auxiliary", "aux"), ("unauthorise", "unauthorized"),
    ("stabilisation", "stabilization"), ("manufacturer", "manufacture"), ("topuporiginating", "originating"),
    ("gaswaterheatcooling", "general"), ("nocreditzerocredit", "nocredit"), ("tariffchanged", "tariffchange"),
]  # fmt: skip


@pytest.fixture(scope="module")
def xml(shared_dir: Path) -> ET.Element:
    return ET.parse(shared_dir / "data" / "ami.xml").getroot()


@pytest.fixture(scope="module")
def lists(shared_dir: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((shared_dir / "data" / "zigbee_se_ids.json").read_text())
    return found


def _version(element: ET.Element) -> str:
    return (element.get("introducedIn") or "se-1.0")[3:6]


def test_every_attribute_is_that_of_the_xml(xml: ET.Element, lists: dict[str, dict[str, str]]) -> None:
    """Type, access, version; and the name that one of the two lists has."""
    seen, renamed = 0, []
    short_names = {name: short for short, name in SECOND_OPINION.items()}
    for cluster in xml.iter("cluster"):
        cluster_id = int(cluster.findtext("code", ""), 16)
        if cluster_id in SE_1_4_ONLY:
            continue
        short = short_names[CLUSTERS[cluster_id].name]
        other = {
            side: {code[2:]: name for code, name in lists.get(f"{short}|{key}", {}).items()}
            for side, key in ((Side.SERVER, "attr_id"), (Side.CLIENT, "attr_client_id"))
        }
        ours = {
            side: {row.attribute_id: row for row in getattr(CLUSTERS[cluster_id], side.name.lower())}
            for side in Side
        }
        for element in cluster.findall("attribute"):
            if _version(element) == "1.4":
                continue
            side = Side[element.get("side", "").upper()]
            attribute_id = int(element.get("code", ""), 16)
            row = ours[side].pop(attribute_id)
            seen += 1
            where = f"{CLUSTERS[cluster_id].name} 0x{attribute_id:04X} {row.name}"
            assert row.type.name == _our_type(element.get("type", "")), where
            assert row.is_writable == (element.get("writable") == "true"), where
            if cluster_id not in (0x0704, 0x0706, 0x0707, 0x0708):  # there the version is the cluster's own
                assert row.since == _version(element), where
            names = [element.text or "", other[side].get(f"{attribute_id:x}", "")]
            if _letters(row.name) not in [_letters(name) for name in names]:
                renamed.append(f"{where}: {names}")
        # what is left is ours alone, and the other list has it
        left = {(side.name, ident) for side in Side for ident in ours[side]}
        assert left <= {("SERVER", 0x0114), ("SERVER", 0x0134)}, (CLUSTERS[cluster_id].name, left)
    assert seen > 2400
    assert not renamed, "\n".join(renamed)


def test_every_command_is_that_of_the_xml(xml: ET.Element) -> None:
    kinds = {e.get("name"): e.get("type") for tag in ("enum", "bitmap") for e in xml.iter(tag)}
    for cluster in xml.iter("cluster"):
        cluster_id = int(cluster.findtext("code", ""), 16)
        if cluster_id in SE_1_4_ONLY:
            continue
        ours = dict(CLUSTERS[cluster_id].commands_by_id)
        for element in cluster.findall("command"):
            source, code = element.get("source", ""), int(element.get("code", ""), 16)
            sides = list(Side) if source == "either" else [Side[source.upper()]]
            for side in sides:
                command = ours.pop((side, code))
            fields = list(command.payload.fields)
            args = [arg for arg in element.findall("arg") if not arg.get("removedIn")]
            if command.name == "select_available_emergency_credit":
                fields = fields[:2]  # the others went in SE 1.2; we still read them
            assert len(fields) == len(args), command.name
            for index, (field, arg) in enumerate(zip(fields, args, strict=True)):
                if field.type is None:
                    continue  # records, or octets whose size the suite or payload type gives
                xml_type = arg.get("type", "")
                wanted = FIELD_TYPES.get((command.name, index)) or _our_type(kinds.get(xml_type) or xml_type)
                # the XML calls 8-bit codes INT8U here and ENUM8 there: octets are the same, signs matter
                assert (field.type.size, field.type.is_signed) == _width(wanted), (command.name, field.name)
        assert not ours, (CLUSTERS[cluster_id].name, ours)


def _width(name: str) -> tuple[int | None, bool]:
    from smets1.firmware.zcl.types import BY_NAME

    return BY_NAME[name].size, BY_NAME[name].is_signed


SECOND_OPINION = {
    "calendar": "calendar", "device_management": "device_management", "drlc": "demand_response",
    "energy_management": "energy_management", "events": "events", "ke": "key_establishment",
    "keep_alive": "keep_alive", "mdu_pairing": "mdu_pairing", "met": "metering", "msg": "messaging",
    "pp": "prepayment", "price": "price", "tun": "tunneling",
}  # fmt: skip


def test_second_opinion_on_ids(lists: dict[str, dict[str, str]]) -> None:
    """Command ids agree in both directions; so do attribute ids, apart from SE 1.4's and reserved ones."""
    for short, name in SECOND_OPINION.items():
        cluster = cluster_named(name)
        for key, side in (("cmd.srv_tx.id", Side.SERVER), ("cmd.srv_rx.id", Side.CLIENT)):
            theirs = {int(code, 16) for code in lists.get(f"{short}|{key}", {})}
            ours = {ident for sender, ident in cluster.commands_by_id if sender is side}
            assert ours == theirs, (name, key)
        for key, side in (("attr_id", Side.SERVER), ("attr_client_id", Side.CLIENT)):
            listed = lists.get(f"{short}|{key}", {})
            theirs = {int(code, 16) for code, text in listed.items() if not text.startswith("Reserved")}
            ours = {row.attribute_id for row in getattr(cluster, side.name.lower())}
            assert not theirs - ours - {0xFFFD, 0xFFFE}, (name, key, sorted(map(hex, theirs - ours)))


def test_names_and_ids_are_unique() -> None:
    for cluster in CLUSTERS.values():
        for rows in (cluster.server, cluster.client):
            assert len({row.name for row in rows}) == len(rows), cluster.name
            assert len({row.attribute_id for row in rows}) == len(rows), cluster.name
            for row in rows:
                assert re.fullmatch(r"[a-z][a-z0-9_]*", row.name), row.name
                if row.default is not None:
                    row.type.encode(row.default)
        assert len(cluster.commands_by_id) == len(cluster.commands) == len(cluster.commands_by_name)


def test_well_known_ids() -> None:
    metering = cluster_named("metering")
    assert metering.attribute("current_summation_delivered").attribute_id == 0x0000
    assert metering.attribute("current_tier48_summation_received").attribute_id == 0x015F
    assert metering.attribute("current_tier15_block16_summation_delivered").attribute_id == 0x07FF
    assert metering.attribute("previous_month13_consumption_received").attribute_id == 0x045B
    price = cluster_named("price")
    assert price.attribute("tier3_block15_threshold").attribute_id == 0x013E
    assert price.attribute("credit_payment_ref_5").attribute_id == 0x0852
    assert cluster_named("prepayment").attribute("top_up_code_5").attribute_id == 0x0143
    assert cluster_named("ota_upgrade").attribute("current_file_version", Side.CLIENT).attribute_id == 2


def test_the_notation_of_tables() -> None:
    rows = attributes("0010/4/2  a{1..2}_{x|y}  u8 W =3 0..9 @1.1  # why")
    assert [(row.attribute_id, row.name) for row in rows] == [
        (16, "a1_x"),
        (18, "a1_y"),
        (20, "a2_x"),
        (22, "a2_y"),
    ]
    assert (rows[0].is_writable, rows[0].default, rows[0].low, rows[0].high, rows[0].since) == (
        True,
        3,
        0,
        9,
        "1.1",
    )


def test_protected_clusters() -> None:
    assert {cluster.name for cluster in CLUSTERS.values() if not is_protected(cluster.cluster_id)} == {
        "basic", "power_configuration", "identify", "alarms", "key_establishment",
    }  # fmt: skip
    assert is_protected(0x1234)


def test_own_clusters_carry_the_manufacturer_code() -> None:
    for cluster in CLUSTERS.values():
        assert cluster.manufacturer_code == (MANUFACTURER_CODE if cluster.cluster_id >= 0xFC00 else None)


# our enum, the XML's
ENUMS = [
    (metering.SupplyStatus, "SupplyStatus"),
    (metering.ProfileStatus, "AmiGetProfileStatus"),
    (metering.NotificationScheme, "NotificationScheme"),
    (metering.DeviceType, "MeteringDeviceType"),
    (metering.NotificationFlags, "FunctionalNotificationFlags"),
    (prepayment.CreditStatus, "CreditStatus"),
    (prepayment.OriginatingDevice, "OriginatingDevice"),
    (prepayment.ResultType, "ResultType"),
    (prepayment.CreditAdjustmentType, "CreditAdjustmentType"),
    (key_establishment.TerminateStatus, "AmiKeyEstablishmentStatus"),
    (calendar.CalendarType, "CalendarType"),
    (events.EventLogId, "EventLogId"),
    (messaging.TunnelStatus, "TunnelingTunnelStatus"),
    (messaging.TransferDataStatus, "TunnelingTransferDataStatus"),
    (device_management.EventConfiguration, "EventConfiguration"),
]


@pytest.mark.parametrize(("ours", "xml_name"), ENUMS, ids=lambda value: getattr(value, "__name__", value))
def test_enums(xml: ET.Element, ours: type[IntEnum], xml_name: str) -> None:
    """Every member stands in the XML under the same name and value; we may have fewer."""
    element = next(e for tag in ("enum", "bitmap") for e in xml.iter(tag) if e.get("name") == xml_name)
    theirs = {
        re.sub("[^a-z0-9]", "", item.get("name", "").lower()): int(
            item.get("value") or item.get("mask") or "", 16
        )
        for item in element
    }
    theirs = {
        name.replace("auxilliary", "auxiliary").removesuffix("attributeset"): value
        for name, value in theirs.items()
    }
    for name, member in ours.__members__.items():
        if member.name != name:
            continue  # an alias of ours
        assert theirs[name.replace("_", "").lower()] == member.value, name
