"""Tunnels: the table of the server, and a tunnel between hub and electricity meter over the HAN."""

from __future__ import annotations

import pytest

from smets1.errors import ClosedError, RefusedError
from smets1.firmware.tunnel import GB_HRGP, TunnelClosed, TunnelData, TunnelOpened, TunnelServer
from smets1.firmware.zcl.clusters.messaging import TransferDataStatus, TunnelStatus

METER, DISPLAY = 0xA0, 0xA5
S = 1_000_000


def ask(**changes):
    return {"protocol_id": GB_HRGP, "manufacturer_code": 0xFFFF, "flow_control_support": False, **changes}


def test_open_transfer_close():
    server = TunnelServer()
    answer = server.request(ask(maximum_incoming_transfer_size=300), METER, now_us=0)
    tunnel = answer["tunnel_id"]
    assert answer["tunnel_status"] == TunnelStatus.SUCCESS
    assert server.receive({"tunnel_id": tunnel, "data": b"up"}, METER, now_us=1) is None
    assert server.send(tunnel, b"down" * 75, now_us=2) == METER
    with pytest.raises(RefusedError):
        server.send(tunnel, bytes(301), now_us=2)
    server.close({"tunnel_id": tunnel}, METER, status_not_found=0x8B)
    assert server.take_events() == [
        TunnelOpened(tunnel_id=tunnel, peer=METER, protocol_id=GB_HRGP),
        TunnelData(tunnel_id=tunnel, peer=METER, data=b"up"),
        TunnelClosed(tunnel_id=tunnel, peer=METER, is_timeout=False),
    ]
    with pytest.raises(ClosedError):
        server.send(tunnel, b"", now_us=3)


def test_what_is_refused():
    server = TunnelServer(most=1, limit_octets=10)
    assert server.request(ask(protocol_id=1), METER, now_us=0)["tunnel_status"] == 3
    tunnel = server.request(ask(), METER, now_us=0)["tunnel_id"]
    assert server.request(ask(), DISPLAY, now_us=0)["tunnel_status"] == TunnelStatus.NO_MORE_TUNNEL_IDS
    for peer, number, data, status in (
        (DISPLAY, tunnel, b"x", TransferDataStatus.WRONG_DEVICE),
        (METER, tunnel + 1, b"x", TransferDataStatus.NO_SUCH_TUNNEL),
        (METER, tunnel, bytes(11), TransferDataStatus.DATA_OVERFLOW),
    ):
        answer = server.receive({"tunnel_id": number, "data": data}, peer, now_us=0)
        assert answer == ("transfer_data_error", {"tunnel_id": number, "transfer_data_status": status})
    with pytest.raises(RefusedError):
        server.close({"tunnel_id": tunnel}, DISPLAY, status_not_found=0x8B)
    assert server.open_ids == [tunnel]


def test_an_unused_tunnel_is_closed_and_use_keeps_it():
    server = TunnelServer(timeout_s=60)
    tunnel = server.request(ask(), METER, now_us=0)["tunnel_id"]
    server.receive({"tunnel_id": tunnel, "data": b"x"}, METER, now_us=50 * S)
    assert server.next_timer_us() == 110 * S
    server.on_timer(now_us=60 * S)
    assert server.open_ids == [tunnel]
    server.on_timer(now_us=110 * S)
    assert server.take_events()[-1] == TunnelClosed(tunnel_id=tunnel, peer=METER, is_timeout=True)
    assert server.next_timer_us() is None


def test_flow_control_gives_the_window_back():
    server = TunnelServer()
    request = ask(flow_control_support=True, maximum_incoming_transfer_size=100)
    tunnel = server.request(request, METER, now_us=0)["tunnel_id"]
    server.send(tunnel, bytes(60), now_us=0)
    with pytest.raises(RefusedError):
        server.send(tunnel, bytes(41), now_us=0)
    server.on_window(tunnel, DISPLAY, 100, now_us=0)  # not whose tunnel it is
    with pytest.raises(RefusedError):
        server.send(tunnel, bytes(41), now_us=0)
    server.on_window(tunnel, METER, 0xFFFF, now_us=0)
    server.send(tunnel, bytes(100), now_us=0)


def test_ids_come_round_without_meeting_an_open_one():
    server = TunnelServer(most=3)
    kept = server.request(ask(), METER, now_us=0)["tunnel_id"]
    for _ in range(70_000):
        number = server.request(ask(), METER, now_us=0)["tunnel_id"]
        assert number not in (kept, 0xFFFF)
        server.close({"tunnel_id": number}, METER, status_not_found=0x8B)
        server.take_events()


@pytest.mark.parametrize("has_flow_control", [False, True])
async def test_hub_and_electricity_meter(smets1_home, has_flow_control):
    home = await smets1_home(seed=20)
    meter, hub = home.esme.tunnels, home.chf.tunnels
    up: list[bytes] = []
    down: list[bytes] = []
    hub.on_event = lambda event: up.append(event.data) if isinstance(event, TunnelData) else None
    meter.on_data = lambda _tunnel_id, data: down.append(data)
    tunnel = await meter.open(has_flow_control=has_flow_control, limit_octets=400)
    await meter.send(tunnel, bytes(range(256)) * 4)  # far more than a frame holds
    await meter.send(tunnel, b"end")
    hub.send(tunnel.tunnel_id, bytes(400))
    await home.clock.advance(seconds=5)
    assert up == [bytes(range(256)) * 4, b"end"]
    assert down == [bytes(400)]
    await meter.close(tunnel)
    assert hub.server.open_ids == []
    with pytest.raises(ClosedError):
        await meter.send(tunnel, b"late")
    with pytest.raises(RefusedError):
        await meter.open(protocol_id=99)


async def test_a_forgotten_tunnel_is_closed_at_both_ends(smets1_home):
    home = await smets1_home(seed=21)
    home.chf.tunnels.server.timeout_s = 600
    closed: list[int] = []
    home.esme.tunnels.on_closed = closed.append
    tunnel = await home.esme.tunnels.open()
    await home.clock.advance(minutes=11)
    assert closed == [tunnel.tunnel_id]
    assert not tunnel.is_open
