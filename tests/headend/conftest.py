"""A head end with a hub of our own making: in memory, answering ZCL frames as devices would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from smets1.errors import NoAnswerError, SecurityError
from smets1.eui64 import parse_eui64
from smets1.firmware.civil import CivilClock, parse_utc
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.seed import SeedTree
from smets1.firmware.sua import SuaState, instruction_octets
from smets1.firmware.wan.messages import WanRequest, WanResponse, WanStatus
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.clusters.metering import METERING
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION, DEVICE_INFORMATION
from smets1.firmware.zcl.frame import ZclFrame, command_frame, general_frame
from smets1.firmware.zcl.general import (
    DefaultResponse,
    ReadAttributes,
    ReadAttributesResponse,
    ReadRecord,
)
from smets1.firmware.zcl.status import FrameType, Side, Status
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, Scheduler
from smets1.headend.dco import Dco
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.signature import Credential, Verifier, XmlSigner
from smets1.headend.head_end import HeadEnd, HeadEndSettings
from smets1.headend.inventory import InventoryDevice
from smets1.headend.pki import TestPki
from smets1.headend.store import Store
from smets1.headend.utrn_desk import UtrnDesk

SUPPLIER = parse_eui64("90-B3-D5-1F-30-01-00-00")
NETWORK = parse_eui64("90-B3-D5-1F-30-02-00-00")
S1SP = parse_eui64("90-B3-D5-1F-30-00-00-01")
DSP = parse_eui64("90-B3-D5-1F-30-00-00-02")
ESME = parse_eui64("00-DB-12-34-56-78-90-A0")
GSME, CHF, GPF, PPMID, IHD = ESME + 1, ESME + 2, ESME + 3, ESME + 4, ESME + 5
START_UTC_US = parse_utc("2024-03-01T12:00:00Z")
SUA_KEY = bytes(range(16))
PREPAYMENT_KEY = bytes(range(16, 32))

TYPES = {
    ESME: DeviceType.ESME,
    GSME: DeviceType.GSME,
    CHF: DeviceType.CHF,
    GPF: DeviceType.GPF,
    PPMID: DeviceType.PPMID,
    IHD: DeviceType.IHD,
}


@pytest.hookimpl(tryfirst=True)
def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], Any]] | None:
    """All of it runs in virtual time, where a day takes no time, except what opens sockets."""
    if "api" in item.path.name:
        return None
    return {"virtual": lambda: EmulatorLoop(MAX_SPEED)}


class LoopScheduler:
    """The time of an ordinary loop, for the tests with sockets."""

    def now_us(self) -> int:
        return int(asyncio.get_running_loop().time() * 1e6)

    def call_at_us(self, when_us: int, callback: Callable[..., object], *args: Any) -> Any:
        return asyncio.get_running_loop().call_at(when_us / 1e6, callback, *args)


@dataclass
class FakeMeter:
    """Attributes by (endpoint, cluster id, name), a supply, and a SUA state that survives."""

    attributes: dict[tuple[int, int, str], Any]
    sua: SuaState | None = None
    top_ups: list[str] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    once: dict[bytes, bytes] = field(default_factory=dict)  # answers by instruction id
    logged: list[tuple[int, int, bytes]] = field(default_factory=list)  # changes of the hub's device log


def _attributes(endpoint: int, total: int, divisor: int, balance: int) -> dict[tuple[int, int, str], Any]:
    metering = {
        "current_summation_delivered": total,
        "multiplier": 1,
        "divisor": divisor,
        "supply_status": 2,
        "remaining_battery_life": 97,
        "instantaneous_demand": 1500,
    }
    prepayment = {
        "payment_control_configuration": 0x0497,
        "credit_remaining": balance,
        "emergency_credit_remaining": 500_000,
        "accumulated_debt": 0,
        "debt_amount_1": 1000,
        "debt_amount_2": 2000,
        "debt_amount_3": 3000,
    }
    values = {(endpoint, METERING.cluster_id, name): value for name, value in metering.items()}
    values |= {(endpoint, PREPAYMENT.cluster_id, name): value for name, value in prepayment.items()}
    information = {"firmware_version": 0x01020304, "model": "Liberty 100", "manufacturer": "Secure"}
    return values | {
        (endpoint, DEVICE_INFORMATION.cluster_id, name): value for name, value in information.items()
    }


class FakeHub:
    """The WAN as the S1SP sees it: answers, keeps answers by id, and can be silent or unreachable."""

    def __init__(self) -> None:
        sua = SuaState(generation=0, counter=0, key=SUA_KEY)
        self.meters = {
            ESME: FakeMeter(_attributes(1, 1_234_567, 1000, 1_250_000), sua),
            GSME: FakeMeter(_attributes(1, 0, 1000, 0), sua),
            GPF: FakeMeter(_attributes(2, 98_765, 1000, 777_000)),
            CHF: FakeMeter(_attributes(1, 0, 1, 0)),
            PPMID: FakeMeter(_attributes(1, 0, 1, 0)),
        }
        self.answers: dict[str, WanResponse] = {}
        self.asked: list[WanRequest] = []
        self.forgotten: list[str] = []
        self.is_silent = False  # requests wait for ever, executed or not
        self.executes_when_silent = False
        self.is_expiring = False
        self.unreachable_times = 0

    async def ask(self, hub: int, request: WanRequest) -> WanResponse:
        assert hub == CHF
        WanRequest.decode(request.encode())  # the id and sizes fit the protocol
        self.asked.append(request)
        if self.is_expiring:
            raise NoAnswerError("hub")
        if self.is_silent:
            if self.executes_when_silent:
                self._answer(request)
            await asyncio.get_running_loop().create_future()
        return self._answer(request)

    def forget(self, request_id: str) -> None:
        self.forgotten.append(request_id)

    def _answer(self, request: WanRequest) -> WanResponse:
        if request.request_id not in self.answers:
            self.answers[request.request_id] = self._execute(request)
        return self.answers[request.request_id]

    def _execute(self, request: WanRequest) -> WanResponse:
        meter = self.meters.get(request.target)
        if meter is None:
            return WanResponse(request_id=request.request_id, status=WanStatus.UNKNOWN_TARGET)
        if self.unreachable_times:
            self.unreachable_times -= 1
            return WanResponse(request_id=request.request_id, status=WanStatus.UNREACHABLE)
        frame = execute(meter, request.target, request.endpoint, request.cluster_id, request.frame)
        return WanResponse(
            request_id=request.request_id,
            status=WanStatus.DONE,
            frame=frame,
            device_utc_us=START_UTC_US,
            from_gsme=request.target in (GSME, GPF),
        )


def execute(
    meter: FakeMeter, eui64: int, endpoint: int, cluster_id: int, octets: bytes, *, by_sua: bool = False
) -> bytes:
    """One frame against a fake meter -> its answer."""
    cluster, frame = CLUSTERS[cluster_id], ZclFrame.decode(octets)
    if frame.header.frame_type is FrameType.GLOBAL:
        return _read(meter, endpoint, cluster_id, frame.general())
    name, values = frame.command(cluster)
    meter.executed.append(name)

    def answer(response: str, **fields: Any) -> bytes:
        return command_frame(cluster, response, fields, sender=Side.SERVER)

    if name == "consumer_top_up":
        code = values["top_up_code"].decode()
        if code in meter.top_ups:
            result = {"result_type": 2, "top_up_value": 0, "credit_remaining": -1}
        else:
            meter.top_ups.append(code)
            meter.attributes[endpoint, cluster_id, "credit_remaining"] += 1_000_000
            balance = meter.attributes[endpoint, cluster_id, "credit_remaining"]
            result = {"result_type": 0, "top_up_value": 1_000_000, "credit_remaining": balance}
        return answer("consumer_top_up_response", source_of_top_up=0, **result)
    if name == "read_device_log":
        entries = [
            {"device": GSME, "device_type": 1, "last_communication": 762_609_600},
            {"device": PPMID, "device_type": 4, "last_communication": 0xFFFFFFFF},
        ]
        return answer("device_log", total=2, first_index=0, entries=entries)
    if name == "update_device_log":
        meter.logged.append((int(values["operation"]), values["device"], bytes(values["install_code"])))
        return answer("update_device_log_response", status=0, device=values["device"])
    if name == "change_supply" and by_sua:
        status = values["proposed_supply_status"]
        meter.attributes[endpoint, cluster_id, "supply_status"] = status
        return answer(
            "supply_status_response",
            provider_id=values["provider_id"],
            issuer_event_id=values["issuer_event_id"],
            implementation_date_time=0,
            supply_status=status,
        )
    if name == "execute_once":
        meter.executed.remove(name)
        if values["instruction_id"] not in meter.once:
            inner = execute(meter, eui64, endpoint, values["cluster"], values["frame"])
            meter.once[values["instruction_id"]] = inner
        inner = meter.once[values["instruction_id"]]
        return answer("once_result", instruction_id=values["instruction_id"], frame=inner)
    if name == "critical_instruction":
        return _critical(meter, eui64, endpoint, values)
    if name == "rotate_key" and by_sua:
        assert meter.sua is not None
        meter.sua = meter.sua.stage(values["generation"], values["wrapped_key"])
        generation, confirmation = meter.sua.confirmation(eui64)
        meter.sua = meter.sua.activate()
        meter.attributes[endpoint, cluster_id, "sua_generation"] = generation
        return answer("rotate_key_response", generation=generation, confirmation=confirmation)
    if name == "status_push_ack":
        return general_frame(
            DefaultResponse(2, 0), sender=Side.SERVER, manufacturer_code=cluster.manufacturer_code
        )
    refusal = DefaultResponse(frame.header.command_id, Status.NOT_AUTHORIZED)
    return general_frame(refusal, sender=Side.SERVER, manufacturer_code=cluster.manufacturer_code)


def _critical(meter: FakeMeter, eui64: int, endpoint: int, values: dict[str, Any]) -> bytes:
    assert meter.sua is not None
    inner = b""
    try:
        octets = instruction_octets(values["cluster"], values["frame"])
        meter.sua = meter.sua.authorise(eui64, values["counter"], values["sua"], octets)
        inner = execute(meter, eui64, endpoint, values["cluster"], values["frame"], by_sua=True)
        status = 0
    except SecurityError:
        status = 2
    result = {"counter": values["counter"], "status": status, "frame": inner}
    return command_frame(AUTHORISATION, "critical_result", result, sender=Side.SERVER)


def _read(meter: FakeMeter, endpoint: int, cluster_id: int, message: object) -> bytes:
    assert isinstance(message, ReadAttributes)
    cluster, records = CLUSTERS[cluster_id], []
    for attribute_id in message.attribute_ids:
        attribute = cluster.attributes_by_id[Side.SERVER][attribute_id]
        value = meter.attributes.get((endpoint, cluster_id, attribute.name))
        if value is None:
            records.append(ReadRecord(attribute_id, Status.UNSUPPORTED_ATTRIBUTE))
        else:
            records.append(ReadRecord(attribute_id, 0, attribute.type.type_id, value))
    return general_frame(
        ReadAttributesResponse(tuple(records)),
        sender=Side.SERVER,
        manufacturer_code=cluster.manufacturer_code,
    )


# --- the head end around it ----------------------------------------------------------------------


@dataclass
class Rig:
    """One head end with all that it was made of; `restart` is kill -9 and a new start."""

    store: Store
    hub: FakeHub
    dco: Dco
    dco_nvm: MemoryNvm
    civil: CivilClock
    pki: TestPki
    credentials: dict[int, Credential]
    settings: HeadEndSettings
    desk: UtrnDesk
    head_end: HeadEnd

    async def restart(self) -> None:
        await self.head_end.close()
        self.dco_nvm = self.dco_nvm.after_power_cut()
        self.dco = Dco(self.dco_nvm, random_octets=self.dco._random_octets)
        self.head_end = _head_end(self)
        await self.head_end.start()

    async def ask(self, xml: bytes, path: str = "serviceS", wait_s: float | None = 5) -> etree._Element:
        return etree.fromstring(await self.head_end.submit(xml, path, wait_s=wait_s))


def _head_end(rig: Rig) -> HeadEnd:
    seed = SeedTree(5)
    return HeadEnd(
        store=rig.store,
        wan=rig.hub,
        dco=rig.dco,
        civil=rig.civil,
        signer=XmlSigner(rig.credentials[S1SP]),
        random_octets=seed.random("s1sp").randbytes,
        verifier=Verifier(rig.pki.store_of(*rig.credentials.values())),
        utrn_desk=rig.desk,
        settings=rig.settings,
    )


def make_pki() -> TestPki:
    """The same one in each process."""
    seed = SeedTree(7)
    return TestPki(lambda label: seed.octets(40, "pki", label))


def make_credentials(pki: TestPki) -> dict[int, Credential]:
    names = {SUPPLIER: "U1", NETWORK: "N1", S1SP: "S1SP", DSP: "DSP"}
    return {eui64: pki.issue(eui64, name) for eui64, name in names.items()}


@pytest.fixture(scope="session")
def pki() -> TestPki:
    return make_pki()


@pytest.fixture(scope="session")
def credentials(pki: TestPki) -> dict[int, Credential]:
    return make_credentials(pki)


@pytest.fixture
async def make_rig(pki: TestPki, credentials: dict[int, Credential], tmp_path: Path) -> Any:
    """`await make_rig(settings...)` -> a running rig."""
    rigs: list[Rig] = []

    async def make(**settings: Any) -> Rig:
        loop = asyncio.get_running_loop()
        scheduler: Scheduler = loop if isinstance(loop, EmulatorLoop) else LoopScheduler()
        civil = CivilClock(scheduler, START_UTC_US - scheduler.now_us())
        dco_nvm = MemoryNvm()
        dco = Dco(dco_nvm, random_octets=SeedTree(9).random("dco").randbytes)
        for meter in (ESME, GSME):
            dco.enrol(meter, SUA_KEY)
        desk = UtrnDesk(MemoryNvm())
        desk.enrol(ESME, PREPAYMENT_KEY)
        rig = Rig(
            desk=desk,
            store=Store.open(tmp_path / f"headend{len(rigs)}.db"),
            hub=FakeHub(),
            dco=dco,
            dco_nvm=dco_nvm,
            civil=civil,
            pki=pki,
            credentials=credentials,
            settings=replace(HeadEndSettings(), **settings),
            head_end=None,  # type: ignore[arg-type]
        )
        rig.head_end = _head_end(rig)
        with rig.store.together():
            for eui64, device_type in TYPES.items():
                mpxn = {ESME: "1234567890123", GSME: "1234567890"}.get(eui64)
                rig.head_end.inventory.put(
                    InventoryDevice(
                        eui64=eui64, device_type=device_type, hub=CHF, model="Test", mpxn=mpxn,
                        commissioned_utc_us=START_UTC_US,
                    )
                )  # fmt: skip
        rig.store.flush()
        await rig.head_end.start()
        rigs.append(rig)
        return rig

    yield make
    for rig in rigs:
        await rig.head_end.close()
        rig.store.close()


@pytest.fixture
async def rig(make_rig: Any) -> Rig:
    made: Rig = await make_rig()
    return made


# --- documents ---------------------------------------------------------------------------------------

NS = {
    "sr": "http://www.dccinterface.co.uk/ServiceUserGateway",
    "ra": "http://www.dccinterface.co.uk/ResponseAndAlert",
}


def request_xml(
    srv: str,
    body: str,
    *,
    target: str = "00-DB-12-34-56-78-90-A0",
    originator: str = "90-B3-D5-1F-30-01-00-00",
    counter: int = 1000,
    cv: int = 1,
    reference: str | None = None,
) -> bytes:
    """A DUIS request without signature. `body`: XML with the prefix sr."""
    reference = reference or ".".join(srv.split(".")[:2])
    return (
        f'<sr:Request xmlns:sr="{NS["sr"]}" schemaVersion="5.4"><sr:Header>'
        f"<sr:RequestID>{originator}:{target}:{counter}</sr:RequestID>"
        f"<sr:CommandVariant>{cv}</sr:CommandVariant>"
        f"<sr:ServiceReference>{reference}</sr:ServiceReference>"
        f"<sr:ServiceReferenceVariant>{srv}</sr:ServiceReferenceVariant>"
        f"</sr:Header><sr:Body>{body}</sr:Body></sr:Request>"
    ).encode()


def code_of(response: etree._Element) -> str:
    return response.findtext("sr:Header/sr:ResponseCode", namespaces=NS) or ""


@pytest.fixture(scope="session")
def schema(duis_schema: etree.XMLSchema) -> Any:
    """`schema(root)` fails the test where a response is not valid."""

    def check(root: etree._Element) -> None:
        # A fresh parse: what goes out is octets, not our tree.
        document = etree.fromstring(etree.tostring(root))
        assert duis_schema.validate(document), duis_schema.error_log

    return check
