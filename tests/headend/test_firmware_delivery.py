"""Firmware from 11.1 over the WAN and the air into devices, and started by 11.3, in a whole home."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from judged_home import JudgedHomes, shorts
from lxml import etree
from tests.headend.conftest import NS, code_of, request_xml
from tshark import Step

from smets1.eui64 import format_eui64
from smets1.firmware.ota.image_file import OtaFile, OtaHeader
from smets1.headend.duis.codes import DeviceStatus
from smets1.tools.home_file import parse_home
from smets1.tools.home_radios import with_radios

DSP = "90-B3-D5-1F-30-00-00-02"
NEW = 0x00000002
OTA, AUTHORISATION, DEVICE_INFORMATION = 0x0019, 0xFC01, 0xFC03
HOME = "[han]\ngas_wake_s = 60\n"


def image(device: Any, *, version: int = NEW, size: int = 3000, maker: int | None = None) -> bytes:
    header = OtaHeader(
        manufacturer_code=device.factory.manufacturer_code if maker is None else maker,
        image_type=device.factory.device_type,
        file_version=version,
    )
    return OtaFile.make(header, Random(version).randbytes(size)).encode()


class Supplier:
    """Asks by DUIS, with a count of its own."""

    def __init__(self, home: Any, schema: Any) -> None:
        self.home, self.schema, self.counter = home, schema, 100

    async def ask(self, srv: str, body: str, target: str, *, cv: int = 1) -> etree._Element:
        self.counter += 1
        xml = request_xml(srv, body, target=target, cv=cv, counter=self.counter)
        path = "serviceD" if cv == 8 else "serviceS"
        response = etree.fromstring(await self.home.headend.submit(xml, path, wait_s=3600))
        self.schema(response)
        assert code_of(response) == "I0"
        return response

    async def update(self, octets: bytes, *devices: int, version: int = NEW) -> etree._Element:
        return await self.ask(
            "11.1",
            f"<sr:UpdateFirmware><sr:FirmwareImage>{base64.b64encode(octets).decode()}</sr:FirmwareImage>"
            f"<sr:FirmwareVersion>{version:08X}</sr:FirmwareVersion>"
            f"<sr:DeviceIDList>{','.join(map(format_eui64, devices))}</sr:DeviceIDList></sr:UpdateFirmware>",
            DSP,
            cv=8,
        )

    async def activate(self, octets: bytes, device: int, date: str = "") -> etree._Element:
        when = f"<sr:ExecutionDateTime>{date}</sr:ExecutionDateTime>" if date else ""
        digest = hashlib.sha256(octets).hexdigest().upper()
        body = f"<sr:ActivateFirmware>{when}<sr:FirmwareHash>{digest}</sr:FirmwareHash></sr:ActivateFirmware>"
        return await self.ask("11.3", body, format_eui64(device))

    def alerts(self, code: str) -> list[str]:
        """Devices that gave this alert, in order."""
        found = [etree.fromstring(r.xml) for r in self.home.headend.responses(limit=1000)]
        return [
            xml.findtext(".//ra:BusinessOriginatorID", namespaces=NS) or ""
            for xml in found
            if xml.findtext(".//ra:GBCSHexAlertCode", namespaces=NS) == code
        ]


def result(response: etree._Element) -> tuple[str | None, str | None]:
    data = response.find(".//ra:ActivateFirmwareRsp", NS)
    assert data is not None
    return data.get("MessageSuccess"), data.findtext(".//ra:ASN1Status", namespaces=NS)


@pytest.mark.judged
@pytest.mark.parametrize("name", ["esme", "gsme", "ppmid", "chf"])
async def test_delivered_verified_and_activated(smets1_home: JudgedHomes, schema: Any, name: str) -> None:
    home = await smets1_home(seed=3, toml=HOME)
    supplier, device = Supplier(home, schema), getattr(home, name)
    octets = image(device, size=40_000 if name == "chf" else 3000)
    response = await supplier.update(octets, device.eui64)
    assert response.find(".//sr:DSPUpdateFirmwareWarning", NS) is None
    await home.clock.advance(hours=1)
    assert (device.images.version, device.images.staged_version) == (1, NEW), "it waits for the word"
    assert supplier.alerts("8F72") == [format_eui64(device.eui64)]
    answer = await supplier.activate(octets, device.eui64)
    assert result(answer) == ("true", "success")
    assert answer.findtext(".//ra:FirmwareVersion", namespaces=NS) == "00000002"
    await home.clock.advance(minutes=10)
    assert (device.images.version, device.images.is_on_trial) == (NEW, False)
    read = await supplier.ask("11.2", "<sr:ReadFirmwareVersion/>", format_eui64(device.eui64))
    assert read.findtext(".//ra:FirmwareVersion", namespaces=NS) == "00000002"
    assert home.headend.inventory.find(device.eui64).firmware_version == "00000002"
    hub, there = shorts(home, "chf", name)
    await smets1_home.tell(*_download(hub, there), *_activation(hub, there).get(name, ()))


def _download(hub: int, there: int) -> tuple[Step, ...]:
    if hub == there:
        return ()  # by the WAN alone
    return (
        Step("ZCL OTA: Image Notify", OTA, hub),
        Step("ZCL OTA: Query Next Image Request", OTA, there, hub),
        Step("ZCL OTA: Query Next Image Response", OTA, hub, there),
        *(
            Step("ZCL OTA: Image Block Request", OTA, there, hub),
            Step("ZCL OTA: Image Block Response", OTA, hub, there),
        ) * (3000 // 64),  # at least so many: an APS frame has less room
        Step("ZCL OTA: Upgrade End Request", OTA, there, hub),
        Step("ZCL OTA: Upgrade End Response", OTA, hub, there),
    )  # fmt: skip


def _activation(hub: int, there: int) -> dict[str, tuple[Step, ...]]:
    """11.3 and 11.2 on the air: the gas meter's is critical; the electricity meter hears it by the ribbon."""
    information = "device_information.activate_firmware"
    read = (
        Step("ZCL: Read Attributes", DEVICE_INFORMATION, hub, there),
        Step("ZCL: Read Attributes Response", DEVICE_INFORMATION, there, hub),
    )
    return {
        "gsme": (
            Step("authorisation.critical_instruction", AUTHORISATION, hub, there),
            Step("authorisation.critical_result", AUTHORISATION, there, hub),
            *read,
        ),
        "ppmid": (
            Step(information, DEVICE_INFORMATION, hub, there),
            Step(f"{information}_response", DEVICE_INFORMATION, there, hub),
            *read,
        ),
    }


@pytest.mark.parametrize("name", ["esme", "chf"])
async def test_a_date_to_come_and_its_withdrawal(smets1_home: Any, schema: Any, name: str) -> None:
    home = await smets1_home(seed=3, toml=HOME, start="2024-03-01T00:00:00Z")
    supplier, device = Supplier(home, schema), getattr(home, name)
    octets = image(device)
    await supplier.update(octets, device.eui64)
    await home.clock.advance(minutes=30)
    assert result(await supplier.activate(octets, device.eui64, "2024-03-01T02:00:00Z")) == ("true", None)
    assert result(await supplier.activate(octets, device.eui64, "3000-12-31T00:00:00Z")) == ("true", None)
    await home.clock.advance(hours=2)
    assert device.images.version == 1
    await supplier.activate(octets, device.eui64, "2024-03-01T05:00:00Z")
    await home.clock.advance(hours=1)
    assert device.images.version == 1
    await home.clock.advance(hours=2)
    assert device.images.version == NEW


async def test_dates_that_are_past_or_beyond_a_devices_time(smets1_home: Any, schema: Any) -> None:
    home = await smets1_home(seed=3, toml=HOME, start="2024-03-01T00:00:00Z")
    supplier, device = Supplier(home, schema), home.esme
    octets = image(device)
    await supplier.update(octets, device.eui64)
    await home.clock.advance(minutes=30)
    assert result(await supplier.activate(octets, device.eui64, "2200-01-01T00:00:00Z")) == ("false", None)
    assert device.images.version == 1
    past = await supplier.activate(octets, device.eui64, "2024-02-01T00:00:00Z")
    assert result(past) == ("true", "success"), "at once"
    await home.clock.advance(minutes=10)
    assert device.images.version == NEW
    assert home.headend.inventory.find(device.eui64).firmware_version == "00000002"


@pytest.mark.parametrize("radio", ["air:", "ezsp:simulated"])
async def test_an_image_that_is_damaged_on_its_way(smets1_home: Any, schema: Any, radio: str) -> None:
    """The word of it goes out by broadcast, on sticks just as the hub's takes the endpoint of the gas mirror."""
    if radio != "air:":
        pytest.importorskip("bellows", reason="bellows is not installed (it is in the extra [radio])")
    home = await smets1_home(seed=3, config=with_radios(parse_home(HOME, Path("home.toml")), radio))
    supplier = Supplier(home, schema)
    octets = image(home.ppmid)
    home.chf.ota.server.add(octets)  # so that it is spoilt before anybody asks
    spoilt = octets[:200] + bytes((octets[200] ^ 1,)) + octets[201:]
    (offered,) = home.chf.ota.server.images
    home.chf.ota.server._images = {
        key: replace(offered, octets=spoilt) for key in home.chf.ota.server._images
    }
    home.chf.ota.notify(offered.header)
    await home.clock.advance(minutes=30)
    assert (home.ppmid.images.version, home.ppmid.images.staged_version) == (1, None)
    assert supplier.alerts("8F1C") == [format_eui64(home.ppmid.eui64)]
    assert supplier.alerts("8F72") == []
    assert result(await supplier.activate(octets, home.ppmid.eui64)) == ("false", "noImageHeld")


async def test_who_cannot_have_it_is_named(smets1_home: Any, schema: Any) -> None:
    home = await smets1_home(seed=3, toml=HOME)
    supplier, inventory = Supplier(home, schema), home.headend.inventory
    inventory.set_status(home.gsme.eui64, DeviceStatus.INSTALLED_NOT_COMMISSIONED)
    stranger = 0x0102030405060708
    octets = image(home.esme)
    response = await supplier.update(
        octets, home.esme.eui64, home.gsme.eui64, home.ihd.eui64, home.ppmid.eui64, stranger
    )
    lists = {
        etree.QName(e).localname: e.text for e in response.iterfind(".//sr:DSPUpdateFirmwareWarning/*", NS)
    }
    assert lists == {
        "InvalidDeviceIDList": f"{format_eui64(home.ihd.eui64)},{format_eui64(stranger)}",
        "NotCommissionedDeviceIDList": format_eui64(home.gsme.eui64),
        "NotApplicableFirmwareDeviceIDList": format_eui64(home.ppmid.eui64),
    }
    await home.clock.advance(hours=1)
    assert supplier.alerts("8F72") == [format_eui64(home.esme.eui64)]


@pytest.mark.parametrize("group", ["EA", "EB"])
async def test_no_ppmid_of_these_groups(smets1_home: Any, schema: Any, group: str) -> None:
    home = await smets1_home(seed=3, toml=HOME)
    supplier, inventory = Supplier(home, schema), home.headend.inventory
    inventory.put(replace(inventory.find(home.ppmid.eui64), group_id=group))
    octets = image(home.ppmid)
    response = await supplier.update(octets, home.ppmid.eui64)
    assert response.findtext(".//sr:InvalidDeviceIDList", namespaces=NS) == format_eui64(home.ppmid.eui64)
    await home.clock.advance(hours=1)
    assert home.ppmid.images.staged_version is None
    assert result(await supplier.activate(octets, home.ppmid.eui64))[0] == "false"


@pytest.mark.parametrize("spoil", ["maker", "version", "octet", "form"])
async def test_images_that_are_for_no_such_device(smets1_home: Any, schema: Any, spoil: str) -> None:
    home = await smets1_home(seed=3, toml=HOME)
    supplier = Supplier(home, schema)
    octets = image(home.esme, maker=0x1234 if spoil == "maker" else None)
    if spoil == "octet":
        octets = octets[:-40] + bytes((octets[-40] ^ 1,)) + octets[-39:]
    elif spoil == "form":
        octets = octets[:100]
    response = await supplier.update(octets, home.esme.eui64, version=3 if spoil == "version" else NEW)
    named = response.findtext(".//sr:NotApplicableFirmwareDeviceIDList", namespaces=NS)
    assert named == format_eui64(home.esme.eui64)


async def test_not_an_image_at_all(smets1_home: Any) -> None:
    home = await smets1_home(seed=3, toml=HOME)
    body = (
        "<sr:UpdateFirmware><sr:FirmwareImage>%</sr:FirmwareImage><sr:FirmwareVersion>1</sr:FirmwareVersion>"
        "<sr:DeviceIDList>00-DB-12-34-56-78-90-A0</sr:DeviceIDList></sr:UpdateFirmware>"
    )
    answer = await home.headend.submit(request_xml("11.1", body, target=DSP, cv=8), "serviceD")
    assert code_of(etree.fromstring(answer)) == "E1000"


async def test_a_display_cannot_start_anothers_image(smets1_home: Any, schema: Any) -> None:
    home = await smets1_home(seed=3, toml=HOME)
    supplier = Supplier(home, schema)
    octets = image(home.esme)
    await supplier.update(octets, home.esme.eui64)
    await home.clock.advance(minutes=30)
    short = await home.ppmid.port.find_short(home.esme.eui64)
    home.ppmid.app.command(
        short, 1, "device_information", "activate_firmware", file_version=NEW, activation_time=0
    )
    await home.clock.advance(minutes=5)
    assert (home.esme.images.version, home.esme.images.staged_version) == (1, NEW)


async def test_a_head_end_that_is_killed_delivers_after_all(
    smets1_home: Any, schema: Any, tmp_path: Any
) -> None:
    home = await smets1_home(seed=3, toml=HOME, nvm_dir=tmp_path)
    octets = image(home.ppmid, size=60_000)
    await Supplier(home, schema).update(octets, home.ppmid.eui64)
    await home.power_off()
    again = await smets1_home(seed=3, toml=HOME, nvm_dir=tmp_path)
    await again.clock.advance(hours=2)
    assert again.ppmid.images.staged_version == NEW
    assert Supplier(again, schema).alerts("8F72") == [format_eui64(again.ppmid.eui64)]


async def test_a_hub_that_is_never_reached(make_rig: Any, schema: Any) -> None:
    rig = await make_rig()
    rig.hub.is_expiring = True
    header = OtaHeader(manufacturer_code=0xFFFF, image_type=1, file_version=NEW)
    octets = OtaFile.make(header, bytes(100)).encode()
    body = (
        f"<sr:UpdateFirmware><sr:FirmwareImage>{base64.b64encode(octets).decode()}</sr:FirmwareImage>"
        "<sr:FirmwareVersion>00000002</sr:FirmwareVersion>"
        "<sr:DeviceIDList>00-DB-12-34-56-78-90-A0</sr:DeviceIDList></sr:UpdateFirmware>"
    )
    answer = await rig.ask(request_xml("11.1", body, target=DSP, cv=8), "serviceD")
    assert code_of(answer) == "I0"
    await asyncio.sleep(1)
    (alert,) = [
        etree.fromstring(r.xml) for r in rig.head_end.responses() if b"FirmwareDistributionFailure" in r.xml
    ]
    schema(alert)
    assert alert.findtext(".//sr:DCCAlertCode", namespaces=NS) == "N18"
    assert alert.findtext(".//sr:MeterIDs", namespaces=NS) == "00-DB-12-34-56-78-90-A0"
    assert rig.store.unfinished() == []
