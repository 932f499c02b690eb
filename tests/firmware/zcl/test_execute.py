"""The pure heart: what a frame does to a device, and what comes back."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from smets1.errors import MisuseError, RefusedError
from smets1.firmware.zcl import general as g
from smets1.firmware.zcl.clusters import CLUSTERS, cluster_named
from smets1.firmware.zcl.declare import Cluster, attributes
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.fields import Payload, Values
from smets1.firmware.zcl.frame import ZclFrame, ZclHeader, command_frame, general_frame
from smets1.firmware.zcl.server import LATER, Answer, CommandContext, Via, reply
from smets1.firmware.zcl.status import FrameType, Side, Status
from smets1.firmware.zcl.types import ZclArray, ZclStruct
from smets1.hardware.radio import ApsSecurity

WAN = CommandContext(now_us=0, via=Via.WAN)
HAN = CommandContext(now_us=0, via=Via.HAN, source=0x1234, source_endpoint=1, security=ApsSecurity.LINK_KEY)
METERING, TIME, BASIC = cluster_named("metering"), cluster_named("time"), cluster_named("basic")


def ask(
    core: ZclCore, cluster: Cluster, message: g.GeneralMessage, context: CommandContext = WAN
) -> g.GeneralMessage:
    answer = core.execute(1, cluster.cluster_id, general_frame(message, sequence=9), context)
    assert answer is not None
    frame = ZclFrame.decode(answer)
    assert (frame.header.sequence, frame.header.sender, frame.header.disable_default_response) == (
        9,
        Side.SERVER,
        True,
    )
    return frame.general()


def status_of(answer: bytes | None) -> Status | None:
    """Of a Default Response; None where nothing came."""
    if answer is None:
        return None
    message = ZclFrame.decode(answer).general()
    assert isinstance(message, g.DefaultResponse)
    return Status(message.status)


@pytest.fixture
def core() -> ZclCore:
    core = ZclCore()
    metering = core.add_server(1, "metering")
    metering.set("current_summation_delivered", 12345)
    metering.bind("instantaneous_demand", lambda: -7)
    time = core.add_server(1, TIME)
    time.set("time", 100)
    basic = core.add_server(1, BASIC)
    basic.set("location_description", "hall")
    return core


def test_read(core: ZclCore) -> None:
    answer = ask(core, METERING, g.ReadAttributes((0x0000, 0x0400, 0x0300, 0x0001, 0x7777)))
    assert answer == g.ReadAttributesResponse(
        (
            g.ReadRecord(0x0000, 0, 0x25, 12345),
            g.ReadRecord(0x0400, 0, 0x2A, -7),
            g.ReadRecord(0x0300, 0, 0x30, 0),  # mandatory, at its default
            g.ReadRecord(0x0001, Status.UNSUPPORTED_ATTRIBUTE),  # declared, but not of this device
            g.ReadRecord(0x7777, Status.UNSUPPORTED_ATTRIBUTE),
        )
    )


def test_a_getter_may_refuse(core: ZclCore) -> None:
    def refuse() -> int:
        raise RefusedError(Status.HARDWARE_FAILURE)

    core.server(1, "metering").bind("power_factor", refuse)
    assert ask(core, METERING, g.ReadAttributes((6,))) == g.ReadAttributesResponse((g.ReadRecord(6, 0xC0),))


def test_write_checks_type_access_and_range(core: ZclCore) -> None:
    time, seen = core.server(1, "time"), []
    time.set("time_zone", 0)
    time.on_write("time", lambda value, context: seen.append((value, context.via)))
    core.server(1, "time").set("standard_time", 5)
    answer = ask(core, TIME, g.WriteAttributes((
        g.TypedValue(0, 0xE2, 200), g.TypedValue(0, 0x23, 1), g.TypedValue(6, 0x23, 1),
        g.TypedValue(2, 0x2B, 90000), g.TypedValue(0x99, 0x20, 1),
    )))  # fmt: skip
    assert answer == g.WriteAttributesResponse((
        g.StatusRecord(Status.INVALID_DATA_TYPE, 0), g.StatusRecord(Status.READ_ONLY, 6),
        g.StatusRecord(Status.INVALID_VALUE, 2), g.StatusRecord(Status.UNSUPPORTED_ATTRIBUTE, 0x99),
    ))  # fmt: skip
    assert (time.get("time"), seen) == (200, [(200, Via.WAN)])
    basic = core.server(1, "basic")
    too_long = g.WriteAttributes((g.TypedValue(0x10, 0x42, "x" * 17),))
    assert ask(core, BASIC, too_long) == g.WriteAttributesResponse(
        (g.StatusRecord(Status.INVALID_VALUE, 0x10),)
    )
    assert basic.get("location_description") == "hall"


def test_write_hook_refuses_and_bound_values_are_not_stored(core: ZclCore) -> None:
    time, written = core.server(1, "time"), []

    def refuse(value: int, context: CommandContext) -> None:
        raise RefusedError(Status.NOT_AUTHORIZED)

    time.on_write("time", refuse)
    answer = ask(core, TIME, g.WriteAttributes((g.TypedValue(0, 0xE2, 1),)))
    assert answer == g.WriteAttributesResponse((g.StatusRecord(Status.NOT_AUTHORIZED, 0),))
    time.bind("time", lambda: 77, lambda value, context: written.append(value))
    assert ask(core, TIME, g.WriteAttributes((g.TypedValue(0, 0xE2, 1),))) == g.WriteAttributesResponse(())
    assert (written, time.get("time")) == ([1], 77)
    time.bind("time", lambda: 77)
    answer = ask(core, TIME, g.WriteAttributes((g.TypedValue(0, 0xE2, 1),)))
    assert answer == g.WriteAttributesResponse((g.StatusRecord(Status.READ_ONLY, 0),))


def test_undivided_writes_all_or_nothing(core: ZclCore) -> None:
    time = core.server(1, "time")
    bad = g.WriteAttributesUndivided((g.TypedValue(0, 0xE2, 5), g.TypedValue(1, 0x20, 5)))
    assert ask(core, TIME, bad) == g.WriteAttributesResponse((g.StatusRecord(Status.INVALID_DATA_TYPE, 1),))
    assert time.get("time") == 100
    good = g.WriteAttributesUndivided((g.TypedValue(0, 0xE2, 5), g.TypedValue(1, 0x18, 2)))
    assert ask(core, TIME, good) == g.WriteAttributesResponse(())
    assert (time.get("time"), time.get("time_status")) == (5, 2)


@pytest.mark.parametrize("is_moody", [False, True])
def test_an_undivided_write_that_is_refused_late_is_undone(core: ZclCore, is_moody: bool) -> None:
    """The hook of the third refuses when the first two have their values."""
    time = core.server(1, "time")
    kept = {"zone": 3600}

    def take(value: object, context: CommandContext) -> None:
        if is_moody and value == 3600:
            raise RefusedError(Status.ACTION_DENIED, "not back")
        assert isinstance(value, int)
        kept["zone"] = value

    def refuse(value: object, context: CommandContext) -> None:
        raise RefusedError(Status.NOT_AUTHORIZED, "never")

    time.bind("time_zone", lambda: kept["zone"], take)
    time.set("dst_shift", 0)
    time.on_write("dst_shift", refuse)
    values = (g.TypedValue(0, 0xE2, 5), g.TypedValue(2, 0x2B, 7200), g.TypedValue(5, 0x2B, 60))
    answer = ask(core, TIME, g.WriteAttributesUndivided(values))
    refused = [g.StatusRecord(Status.NOT_AUTHORIZED, 5)]
    if is_moody:
        refused.append(g.StatusRecord(Status.FAILURE, 2))
    assert answer == g.WriteAttributesResponse(tuple(refused))
    assert (time.get("time"), time.get("dst_shift")) == (100, 0)
    assert kept == {"zone": 7200 if is_moody else 3600}


def test_write_without_response(core: ZclCore) -> None:
    frame = general_frame(
        g.WriteAttributesNoResponse((g.TypedValue(0, 0xE2, 5),)), disable_default_response=False
    )
    assert core.execute(1, TIME.cluster_id, frame, WAN) is None
    assert core.server(1, "time").get("time") == 5


def test_discovery(core: ZclCore) -> None:
    metering = core.server(1, "metering")
    metering.handle("get_profile", lambda values, context: None)
    metering.handle("change_supply", lambda values, context: None)
    first = ask(core, METERING, g.DiscoverAttributes(0, 2))
    assert first == g.DiscoverAttributesResponse(
        False, (g.DiscoveredAttribute(0, 0x25), g.DiscoveredAttribute(0x200, 0x18))
    )
    rest = ask(core, METERING, g.DiscoverAttributes(0x201, 20))
    assert rest == g.DiscoverAttributesResponse(
        True, (g.DiscoveredAttribute(0x300, 0x30), g.DiscoveredAttribute(0x400, 0x2A))
    )
    extended = ask(core, TIME, g.DiscoverAttributesExtended(0, 1))
    assert extended == g.DiscoverAttributesExtendedResponse(False, (g.ExtendedAttribute(0, 0xE2, 0b111),))
    assert ask(core, METERING, g.DiscoverCommandsReceived(0, 9)) == g.DiscoverCommandsReceivedResponse(
        True, (0, 0x0B)
    )
    generated = ask(core, METERING, g.DiscoverCommandsGenerated(0x0C, 9))
    assert generated == g.DiscoverCommandsGeneratedResponse(True, (0x0C, 0x0D))


def change_supply(sequence: int = 3, *, quiet: bool = False) -> bytes:
    values: Values = {
        "provider_id": 1, "issuer_event_id": 2, "request_date_time": 0, "implementation_date_time": 0,
        "proposed_supply_status": 2, "supply_control_bits": 1,
    }  # fmt: skip
    return command_frame(METERING, "change_supply", values, sequence=sequence, disable_default_response=quiet)


def test_command_with_reply(core: ZclCore) -> None:
    seen: list[tuple[Values, CommandContext]] = []

    def obey(values: Values, context: CommandContext) -> Answer:
        seen.append((values, context))
        return reply(
            "supply_status_response", provider_id=1, issuer_event_id=values["issuer_event_id"],
            implementation_date_time=0, supply_status=2,
        )  # fmt: skip

    core.server(1, "metering").handle("change_supply", obey)
    answer = core.execute(1, 0x0702, change_supply(), HAN)
    assert answer is not None
    assert answer.hex() == "19030c" + "01000000" + "02000000" + "00000000" + "02"
    values, context = seen[0]
    assert values["proposed_supply_status"] == 2
    assert (context.source, context.endpoint, context.cluster_id, context.sequence) == (0x1234, 1, 0x0702, 3)


@pytest.mark.parametrize(
    ("outcome", "quiet", "expected"),
    [
        (None, False, Status.SUCCESS),
        (None, True, None),
        (Status.SUCCESS, True, None),
        (Status.INVALID_FIELD, False, Status.INVALID_FIELD),
        (Status.INVALID_FIELD, True, Status.INVALID_FIELD),
        (LATER, False, None),
        (RefusedError(Status.ACTION_DENIED), True, Status.ACTION_DENIED),
        (RefusedError(0x31337), False, Status.FAILURE),
    ],
)
def test_default_responses(core: ZclCore, outcome: object, quiet: bool, expected: Status | None) -> None:
    def obey(values: Values, context: CommandContext) -> Answer:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome  # type: ignore[return-value]

    core.server(1, "metering").handle("change_supply", obey)
    assert status_of(core.execute(1, 0x0702, change_supply(quiet=quiet), HAN)) is expected
    broadcast = replace(HAN, is_broadcast=True)
    assert core.execute(1, 0x0702, change_supply(quiet=quiet), broadcast) is None


def test_refusals(core: ZclCore) -> None:
    def outcome(frame: bytes, cluster_id: int = 0x0702, endpoint: int = 1) -> Status | None:
        return status_of(core.execute(endpoint, cluster_id, frame, WAN))

    assert outcome(change_supply()) is Status.UNSUP_CLUSTER_COMMAND  # declared, no handler
    assert outcome(bytes.fromhex("0101ee")) is Status.UNSUP_CLUSTER_COMMAND
    assert outcome(bytes.fromhex("0001ee")) is Status.UNSUP_GENERAL_COMMAND
    assert outcome(bytes.fromhex("05341201ee")) is Status.UNSUP_MANUF_CLUSTER_COMMAND
    assert outcome(bytes.fromhex("0434120100")) is Status.UNSUP_MANUF_GENERAL_COMMAND
    assert outcome(change_supply(), cluster_id=0x0701) is Status.UNSUPPORTED_CLUSTER
    assert outcome(change_supply(), endpoint=9) is Status.UNSUPPORTED_CLUSTER
    assert outcome(bytes.fromhex("00010000")) is Status.MALFORMED_COMMAND  # half an attribute id
    core.server(1, "metering").handle("change_supply", lambda values, context: None)
    assert outcome(change_supply()[:-1]) is Status.MALFORMED_COMMAND
    assert outcome(bytes.fromhex("00010b0b01")) is None  # never answers a Default Response
    assert outcome(b"\x02\x01\x00") is None
    assert core.counters.malformed == 3


def test_aps_security_by_cluster(core: ZclCore) -> None:
    metering = core.server(1, "metering")
    obeyed: list[Values] = []
    metering.handle("change_supply", lambda values, context: obeyed.append(values))

    def outcome(frame: bytes, cluster_id: int, security: ApsSecurity) -> Status | None:
        return status_of(core.execute(1, cluster_id, frame, replace(HAN, security=security)))

    assert outcome(change_supply(quiet=True), 0x0702, ApsSecurity.NETWORK_KEY) is Status.FAILURE
    assert outcome(change_supply(), 0x0702, ApsSecurity.INSTALL_CODE_KEY) is None
    assert outcome(change_supply(), 0x0702, ApsSecurity.NONE) is None
    assert outcome(bytes.fromhex("00010b0b01"), 0x0702, ApsSecurity.NETWORK_KEY) is None
    assert not obeyed
    assert (core.counters.unprotected, core.counters.wrong_key) == (1, 3)
    assert outcome(change_supply(), 0x0702, ApsSecurity.LINK_KEY) is Status.SUCCESS
    assert len(obeyed) == 1
    read = general_frame(g.ReadAttributes((0,)))
    assert core.execute(1, 0x0000, read, replace(HAN, security=ApsSecurity.NETWORK_KEY)) is not None
    unlisted = core.execute(1, 0x1234, read, replace(HAN, security=ApsSecurity.NETWORK_KEY))
    assert status_of(unlisted) is Status.FAILURE
    for via in (Via.WIRE, Via.WAN, Via.SUA):  # rules of the air only
        assert (
            status_of(core.execute(1, 0x0702, change_supply(), CommandContext(now_us=0, via=via)))
            is Status.SUCCESS
        )


def test_image_notify_may_be_broadcast(core: ZclCore) -> None:
    heard: list[Values] = []
    core.add_client(1, "ota_upgrade").handle("image_notify", lambda values, context: heard.append(values))
    ota = cluster_named("ota_upgrade")
    notify = command_frame(ota, "image_notify", {"payload_type": 0, "query_jitter": 50}, sender=Side.SERVER)
    context = replace(HAN, security=ApsSecurity.NETWORK_KEY, is_broadcast=True)
    assert core.execute(1, 0x0019, notify, context) is None
    assert heard == [{"payload_type": 0, "query_jitter": 50}]
    other = command_frame(ota, "query_next_image_response", {"status": 0x98}, sender=Side.SERVER)
    core.client(1, "ota_upgrade").handle(
        "query_next_image_response", lambda values, context: heard.append(values)
    )
    assert core.execute(1, 0x0019, other, context) is None
    assert len(heard) == 1


def test_guard_sees_commands_and_writes(core: ZclCore) -> None:
    asked: list[str] = []

    def guard(instance: object, what: str, context: CommandContext) -> None:
        asked.append(what)
        if context.via is not Via.SUA:
            raise RefusedError(Status.NOT_AUTHORIZED)

    core.guard = guard
    core.server(1, "metering").handle("change_supply", lambda values, context: None)
    assert status_of(core.execute(1, 0x0702, change_supply(), WAN)) is Status.NOT_AUTHORIZED
    assert status_of(core.execute(1, 0x0702, change_supply(), replace(WAN, via=Via.SUA))) is Status.SUCCESS
    answer = ask(core, TIME, g.WriteAttributes((g.TypedValue(0, 0xE2, 1),)))
    assert answer == g.WriteAttributesResponse((g.StatusRecord(Status.NOT_AUTHORIZED, 0),))
    assert asked == ["change_supply", "change_supply", "write time"]


def test_reports_are_heard_by_name(core: ZclCore) -> None:
    heard: list[Values] = []
    client = core.add_client(1, "metering")
    report = g.ReportAttributes((g.TypedValue(0, 0x25, 5), g.TypedValue(0xABCD, 0x20, 6)))
    frame = general_frame(report, sender=Side.SERVER, disable_default_response=False)
    assert status_of(core.execute(1, 0x0702, frame, HAN)) is Status.UNSUP_GENERAL_COMMAND
    client.handle_reports(lambda values, context: heard.append(values))
    assert status_of(core.execute(1, 0x0702, frame, HAN)) is Status.SUCCESS
    assert heard == [{"current_summation_delivered": 5, "attribute_abcd": 6}]


STRUCTURED = Cluster(
    cluster_id=0xFC77,
    name="structured",
    server=attributes("0000 list array W\n0001 record struct W\n0002 unique set W"),
)


def test_structured_reads_and_writes() -> None:
    core = ZclCore()
    server = core.add_server(1, STRUCTURED)
    server.update(
        list=ZclArray(0x21, (10, 20)),
        record=ZclStruct(((0x20, 1), (0x48, ZclArray(0x20, (5,))))),
        unique=ZclArray(0x20, (1,)),
    )

    def read(attribute_id: int, *indexes: int) -> g.ReadRecord:
        answer = ask(
            core, STRUCTURED, g.ReadAttributesStructured((g.SelectedId(attribute_id, g.Selector(indexes)),))
        )
        assert isinstance(answer, g.ReadAttributesResponse)
        return answer.records[0]

    def write(attribute_id: int, type_id: int, value: object, *indexes: int, action: int = 0) -> Status:
        record = g.SelectedValue(attribute_id, g.Selector(indexes, action), type_id, value)
        answer = ask(core, STRUCTURED, g.WriteAttributesStructured((record,)))
        assert isinstance(answer, g.WriteAttributesStructuredResponse)
        return Status(answer.failed[0].status) if answer.failed else Status.SUCCESS

    assert read(0, 2) == g.ReadRecord(0, 0, 0x21, 20)
    assert read(0, 0) == g.ReadRecord(0, 0, 0x21, 2)
    assert read(0).value == ZclArray(0x21, (10, 20))
    assert read(1, 2, 1) == g.ReadRecord(1, 0, 0x20, 5)
    assert read(0, 3).status == Status.INVALID_SELECTOR
    assert read(0, 1, 1).status == Status.INVALID_SELECTOR
    assert read(9).status == Status.UNSUPPORTED_ATTRIBUTE
    assert write(0, 0x21, 30, 2) is Status.SUCCESS
    assert server.get("list") == ZclArray(0x21, (10, 30))
    assert write(0, 0x20, 30, 2) is Status.INVALID_DATA_TYPE
    assert write(1, 0x20, 6, 2, 1) is Status.SUCCESS
    assert server.get("record") == ZclStruct(((0x20, 1), (0x48, ZclArray(0x20, (6,)))))
    assert write(2, 0x20, 9, action=1) is Status.SUCCESS
    assert write(2, 0x20, 9, action=1) is Status.DUPLICATE_EXISTS
    assert write(2, 0x20, 1, action=2) is Status.SUCCESS
    assert write(2, 0x20, 1, action=2) is Status.NOT_FOUND
    assert server.get("unique") == ZclArray(0x20, (9,))
    assert write(0, 0x20, 1) is Status.INVALID_DATA_TYPE
    assert write(0, 0x48, ZclArray(0x21, ())) is Status.SUCCESS


def test_endpoints_come_and_go(core: ZclCore) -> None:
    core.add_server(2, "metering").set("current_summation_delivered", 1)
    core.add_client(2, "time")
    assert core.endpoints == [1, 2]
    assert core.clusters_of(2, Side.SERVER) == [0x0702]
    assert core.clusters_of(2, Side.CLIENT) == [0x000A]
    with pytest.raises(MisuseError):
        core.add_server(2, "metering")
    core.remove_endpoint(2)
    assert core.endpoints == [1]
    with pytest.raises(MisuseError):
        core.server(2, "metering")


def test_own_mistakes_surface(core: ZclCore) -> None:
    metering = core.server(1, "metering")
    with pytest.raises(MisuseError):
        metering.set("no_such_attribute", 1)
    with pytest.raises(MisuseError):
        metering.set("current_summation_delivered", 1 << 48)
    with pytest.raises(MisuseError):
        metering.handle("supply_status_response", lambda values, context: None)  # the server sends that
    with pytest.raises(MisuseError):
        core.add_server(1, 0x4321)


@pytest.mark.parametrize("count", [20_000, pytest.param(500_000, marks=pytest.mark.slow)])
def test_random_frames_change_nothing_and_raise_nothing(core: ZclCore, count: int) -> None:
    rng = random.Random(11)
    for cluster in CLUSTERS.values():
        for add in (core.add_server, core.add_client):
            try:
                add(1, cluster)
            except MisuseError:
                pass
    insecure = replace(HAN, security=ApsSecurity.NETWORK_KEY)
    ids = sorted(CLUSTERS)
    for _ in range(count):
        octets = bytearray(rng.randbytes(rng.randrange(30)))
        if octets:
            octets[0] &= 0x1D
        context = HAN if rng.random() < 0.7 else insecure
        answer = core.execute(1, rng.choice(ids), bytes(octets), context)
        if answer is not None:
            header, _ = ZclHeader.decode(answer)
            assert header.frame_type is FrameType.GLOBAL
    for _ in range(3_000):
        before = core.server(1, "time").get("time")
        core.execute(1, 0x000A, b"\x00\x01\x02" + rng.randbytes(7), insecure)
        assert core.server(1, "time").get("time") == before


def test_modules_that_share_a_cluster_obtain_the_same_instance() -> None:
    core = ZclCore()
    made = core.obtain_server(1, "price")
    assert core.obtain_server(1, "price") is made is core.server(1, "price")
    client = core.obtain_client(1, "price")
    assert client is core.client(1, "price")
    assert client is not made


def test_a_string_that_is_not_available_is_an_empty_one_to_who_obeys(core: ZclCore) -> None:
    """Its length is all ones; handlers are not to be surprised by None."""
    seen: list[Values] = []
    prepayment = core.add_server(1, "prepayment")
    prepayment.handle("consumer_top_up", lambda values, context: seen.append(dict(values)))
    assert status_of(core.execute(1, 0x0705, b"\x01\x01\x04\x02\xff", WAN)) is Status.SUCCESS
    assert seen == [{"originating_device": 2, "top_up_code": b""}]
    records = Payload("count:u8 rows:{label:string amount:u8}*count names:octstr*")
    values = records.decode(b"\x01\xff\x05\xff\x01a")
    assert values["rows"] == [{"label": None, "amount": 5}]
    assert records.without_blanks(values) == {
        "count": 1, "rows": [{"label": "", "amount": 5}], "names": [b"", b"a"],
    }  # fmt: skip


def test_a_hook_is_not_asked_to_write_nothing(core: ZclCore) -> None:
    written: list[object] = []
    basic = core.server(1, BASIC)
    basic.on_write("location_description", lambda value, context: written.append(value))
    unset = g.WriteAttributes((g.TypedValue(0x0010, 0x42, None),))
    answer = ask(core, BASIC, unset)
    assert answer == g.WriteAttributesResponse((g.StatusRecord(Status.INVALID_VALUE, 0x0010),))
    assert written == []
    assert basic.get("location_description") == "hall"
