"""Two applications joined by an in-memory pair, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from smets1.errors import ClosedError, NoAnswerError, RefusedError
from smets1.firmware.zcl import general as g
from smets1.firmware.zcl.application import ZclApplication
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import LATER, CommandContext, reply
from smets1.firmware.zcl.status import Side, Status
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop, run
from smets1.hardware.radio import ApsIndication, ApsMessage, ApsSecurity, BoundTarget

HUB, METER = 0x0000, 0x1234


class Port:
    """One end of the pair: delivers after 5 ms, or not at all."""

    def __init__(self, loop: EmulatorLoop, short_address: int) -> None:
        self.loop, self.short_address = loop, short_address
        self.other: Port | None = None
        self.app: ZclApplication | None = None
        self.is_deaf = False
        self.sent: list[ApsMessage] = []
        self.security = ApsSecurity.LINK_KEY

    async def send(self, message: ApsMessage) -> None:
        self.post(message)
        if self.is_deaf:
            await asyncio.sleep(1)
            raise NoAnswerError("aps")
        await asyncio.sleep(0.01)

    def post(self, message: ApsMessage) -> None:
        self.sent.append(message)
        if not self.is_deaf:
            self.loop.call_at_us(self.loop.now_us() + 5_000, self.deliver, message)

    def deliver(self, message: ApsMessage) -> None:
        assert self.other is not None
        assert self.other.app is not None
        self.other.app.on_message(
            ApsIndication(
                source=self.short_address,
                source_eui64=None,
                source_endpoint=message.source_endpoint,
                destination_endpoint=message.destination_endpoint,
                cluster_id=message.cluster_id,
                profile_id=message.profile_id,
                payload=message.payload,
                security=self.security if message.is_secured else ApsSecurity.NETWORK_KEY,
                is_broadcast=False,
                lqi=255,
            )
        )


class Table:
    """A binding table; one partner has a link key with us."""

    def __init__(self) -> None:
        self.table: list[BoundTarget] = []

    def bound_targets(self, endpoint: int, cluster_id: int) -> list[BoundTarget]:
        return list(self.table)

    def known_short(self, eui64: int) -> int | None:
        return None

    def keyed_partners(self) -> list[int]:
        return [0x66]


class Pair:
    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EmulatorLoop)
        self.loop = loop
        self.hub_port, self.meter_port = Port(loop, HUB), Port(loop, METER)
        self.hub_port.other, self.meter_port.other = self.meter_port, self.hub_port
        self.hub = ZclApplication(han=self.hub_port, post=self.hub_port.post, scheduler=loop)
        self.meter = ZclApplication(han=self.meter_port, post=self.meter_port.post, scheduler=loop)
        self.hub_port.app, self.meter_port.app = self.hub, self.meter
        metering = self.meter.core.add_server(1, "metering")
        metering.set("current_summation_delivered", 500)


def in_virtual_time(test: Callable[[Pair], Awaitable[None]]) -> Callable[[], None]:
    def wrapper() -> None:
        async def main() -> None:
            await test(Pair())

        run(main(), speed=MAX_SPEED)

    wrapper.__name__ = test.__name__  # type: ignore[attr-defined]
    return wrapper


@in_virtual_time
async def test_read_and_write(pair: Pair) -> None:
    found = await pair.hub.read(
        METER, 1, "metering", ["current_summation_delivered", "unit_of_measure", "site_id"]
    )
    assert found == {"current_summation_delivered": 500, "unit_of_measure": 0}
    pair.hub.core.add_server(1, "time").set("time", 100)
    await pair.meter.write(HUB, 1, "time", {"time": 200, "time_status": 3})
    assert pair.hub.core.server(1, "time").get("time") == 200
    with pytest.raises(RefusedError) as caught:
        await pair.meter.write(HUB, 1, "time", {"time_zone": 5}, is_undivided=True)
    assert caught.value.status == Status.UNSUPPORTED_ATTRIBUTE


@in_virtual_time
async def test_request_with_reply_default_response_and_refusal(pair: Pair) -> None:
    metering = pair.meter.core.server(1, "metering")
    metering.handle("local_change_supply", lambda values, context: None)
    metering.handle("reset_load_limit_counter", lambda values, context: Status.ACTION_DENIED)
    metering.handle(
        "take_snapshot",
        lambda values, context: reply("take_snapshot_response", snapshot_id=7, snapshot_confirmation=0),
    )
    assert await pair.hub.request(METER, 1, "metering", "local_change_supply", proposed_supply_status=2) == {}
    answer = await pair.hub.request(METER, 1, "metering", "take_snapshot", snapshot_cause=1)
    assert answer == {"snapshot_id": 7, "snapshot_confirmation": 0}
    with pytest.raises(RefusedError) as caught:
        await pair.hub.request(
            METER, 1, "metering", "reset_load_limit_counter", provider_id=1, issuer_event_id=2
        )
    assert caught.value.status == Status.ACTION_DENIED
    with pytest.raises(RefusedError) as caught:
        await pair.hub.request(METER, 1, "price", "get_current_price", command_options=0)
    assert caught.value.status == Status.UNSUPPORTED_CLUSTER


@in_virtual_time
async def test_a_meter_asks_for_a_mirror(pair: Pair) -> None:
    """Server to client: the meter's server side asks, the hub's client side answers."""
    client = pair.hub.core.add_client(1, "metering")
    client.handle("request_mirror", lambda values, context: reply("request_mirror_response", endpoint_id=2))
    answer = await pair.meter.request(HUB, 1, "metering", "request_mirror", sender=Side.SERVER)
    assert answer == {"endpoint_id": 2}


@in_virtual_time
async def test_answers_may_come_later(pair: Pair) -> None:
    def obey(values: Values, context: CommandContext) -> Any:
        pair.loop.call_at_us(
            pair.loop.now_us() + 2_000_000,
            lambda: pair.meter.reply(
                context, "take_snapshot_response", snapshot_id=1, snapshot_confirmation=0
            ),
        )
        return LATER

    pair.meter.core.server(1, "metering").handle("take_snapshot", obey)
    answer = await pair.hub.request(METER, 1, "metering", "take_snapshot", snapshot_cause=1)
    assert answer["snapshot_id"] == 1
    assert pair.loop.now_us() > 2_000_000


@in_virtual_time
async def test_no_answer(pair: Pair) -> None:
    pair.meter.core.server(1, "metering").handle("take_snapshot", lambda values, context: LATER)
    with pytest.raises(NoAnswerError):
        await pair.hub.request(METER, 1, "metering", "take_snapshot", snapshot_cause=1, timeout_us=3_000_000)
    assert pair.loop.now_us() == 3_000_000
    pair.hub_port.is_deaf = True
    with pytest.raises(NoAnswerError):
        await pair.hub.read(METER, 1, "metering", ["status"])


@in_virtual_time
async def test_many_questions_at_once_get_their_own_answers(pair: Pair) -> None:
    metering = pair.meter.core.server(1, "metering")
    metering.handle(
        "take_snapshot",
        lambda values, context: reply(
            "take_snapshot_response", snapshot_id=values["snapshot_cause"], snapshot_confirmation=0
        ),
    )
    asked = [pair.hub.request(METER, 1, "metering", "take_snapshot", snapshot_cause=n) for n in range(200)]
    answers = await asyncio.gather(*asked)
    assert [answer["snapshot_id"] for answer in answers] == list(range(200))


@in_virtual_time
async def test_an_unprotected_answer_to_a_protected_question_is_not_believed(pair: Pair) -> None:
    pair.meter_port.security = ApsSecurity.NETWORK_KEY
    with pytest.raises(NoAnswerError):
        await pair.hub.read(METER, 1, "metering", ["status"])


@in_virtual_time
async def test_asking_without_link_key_fails(pair: Pair) -> None:
    with pytest.raises(RefusedError) as caught:
        await pair.hub.read(METER, 1, "metering", ["status"], is_secured=False)
    assert caught.value.status == Status.FAILURE
    assert pair.meter.core.counters.unprotected == 1


@in_virtual_time
async def test_reports(pair: Pair) -> None:
    heard: list[tuple[int, Values]] = []
    client = pair.hub.core.add_client(1, "metering")
    client.handle_reports(lambda values, context: heard.append((pair.loop.now_us() // 1_000_000, values)))
    await pair.hub.configure_reporting(METER, 1, "metering", {"current_summation_delivered": (5, 30, 10)})
    await asyncio.sleep(31)
    pair.meter.core.server(1, "metering").set("current_summation_delivered", 600)
    await asyncio.sleep(8)
    assert heard == [(30, {"current_summation_delivered": 500}), (35, {"current_summation_delivered": 600})]
    answer = await pair.hub.general(METER, 1, "metering", g.ReadReportingConfiguration((g.DirectedId(0, 0),)))
    assert isinstance(answer, g.ReadReportingConfigurationResponse)
    assert answer.records[0].configuration == g.ReportingRecord(0, 0, 0x25, 5, 30, 10)
    with pytest.raises(RefusedError):
        await pair.hub.configure_reporting(METER, 1, "metering", {"site_id": (5, 30, None)})
    pair.meter.close()
    await asyncio.sleep(100)
    assert len(heard) == 2


@in_virtual_time
async def test_own_reports_to_a_moving_address(pair: Pair) -> None:
    heard: list[Values] = []
    pair.hub.core.add_client(3, "metering").handle_reports(lambda values, context: heard.append(values))
    where: list[int | None] = [None]
    pair.meter.bind_reports(1, "metering", lambda: where[0], 3)
    pair.meter.report(1, "metering", {"current_summation_delivered": (0, 10, 1)})
    await asyncio.sleep(11)
    assert heard == []
    where[0] = HUB
    await asyncio.sleep(10)
    assert heard == [{"current_summation_delivered": 500}]


@in_virtual_time
async def test_a_binding_takes_the_place_of_whoever_configured_and_may_be_undone(pair: Pair) -> None:
    routes = Table()
    table = routes.table
    meter = ZclApplication(han=pair.meter_port, post=pair.meter_port.post, scheduler=pair.loop, routes=routes)
    pair.meter_port.app = meter
    meter.core.add_server(1, "metering").set("current_summation_delivered", 1)

    async def targets() -> set[tuple[int, int]]:
        pair.meter_port.sent.clear()
        await asyncio.sleep(10)
        return {(message.destination, message.destination_endpoint) for message in pair.meter_port.sent}

    wanted = {"current_summation_delivered": (0, 5, 0)}
    await pair.hub.configure_reporting(METER, 1, "metering", wanted)
    assert await targets() == {(HUB, 1)}  # a display that only configures
    table.append(BoundTarget(short_address=0x77, endpoint=4))
    assert await targets() == {(HUB, 1), (0x77, 4)}
    table.append(BoundTarget(short_address=HUB, endpoint=1))
    assert await targets() == {(HUB, 1), (0x77, 4)}
    table.clear()
    assert await targets() == set()  # unbound, whoever configured
    table.append(BoundTarget(group=5))
    assert await targets() == {(0x66, 0)}  # under the link key of each partner
    assert all(message.group == 5 and message.is_secured for message in pair.meter_port.sent)


@in_virtual_time
async def test_commands_that_nobody_waits_for(pair: Pair) -> None:
    heard: list[Values] = []
    pair.hub.core.add_client(1, "price").handle("cancel_tariff", lambda values, context: heard.append(values))
    pair.meter.command(
        HUB, 1, "price", "cancel_tariff", sender=Side.SERVER, provider_id=1, issuer_tariff_id=2, tariff_type=0
    )
    await asyncio.sleep(1)
    assert heard == [{"provider_id": 1, "issuer_tariff_id": 2, "tariff_type": 0}]
    assert pair.hub_port.sent == []


@in_virtual_time
async def test_a_frame_of_another_profile_is_for_nobody_here(pair: Pair) -> None:
    asked: list[ApsMessage] = []
    pair.meter_port.is_deaf = True
    pair.hub_port.deliver = asked.append  # type: ignore[method-assign]
    with pytest.raises(NoAnswerError):
        await pair.hub.read(METER, 1, "metering", ["status"], timeout_us=100_000)
    (message,) = asked
    for profile_id, answers in ((0x0101, 0), (0xC05E, 0), (0x0109, 1)):
        pair.meter.on_message(
            ApsIndication(
                source=HUB,
                source_eui64=None,
                source_endpoint=1,
                destination_endpoint=1,
                cluster_id=message.cluster_id,
                profile_id=profile_id,
                payload=message.payload,
                security=ApsSecurity.LINK_KEY,
                is_broadcast=False,
                lqi=255,
            )
        )
        assert len(pair.meter_port.sent) == answers


@in_virtual_time
async def test_closing_ends_questions(pair: Pair) -> None:
    pair.meter.core.server(1, "metering").handle("take_snapshot", lambda values, context: LATER)
    asked = asyncio.ensure_future(pair.hub.request(METER, 1, "metering", "take_snapshot", snapshot_cause=1))
    await asyncio.sleep(1)
    pair.hub.close()
    with pytest.raises(ClosedError):
        await asked
    with pytest.raises(ClosedError):
        await pair.hub.read(METER, 1, "metering", ["status"])
