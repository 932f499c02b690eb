"""Tunnels: octets of another protocol, carried over the HAN. Value machines for the two ends.

A client (the meter) asks the server (the hub) for a tunnel of a protocol; each end may then send
what the other takes at a time. Flow control: the sender gets a window back with each acknowledgement.
A tunnel in which nothing moved for the server's timeout is closed, and the client told.

Source: SE 1.2 07-5356-19, D.6 (Tunneling cluster; D.6.2.2.3 timeout, D.6.2.4, D.6.2.5 commands).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from smets1.errors import ClosedError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.zcl.clusters.messaging import TransferDataStatus, TunnelStatus
from smets1.firmware.zcl.fields import Values

__all__ = [
    "GB_HRGP",
    "MANUFACTURER_NONE",
    "ClientTunnel",
    "TunnelClosed",
    "TunnelData",
    "TunnelEvent",
    "TunnelOpened",
    "TunnelServer",
]

MANUFACTURER_NONE: Final = 0xFFFF
GB_HRGP: Final = 6
"""Protocol id of the GB smart metering message format. Source: SE 1.2, table D-71."""
DEFAULT_SIZE: Final = 1500
_NO_TUNNEL: Final = 0xFFFF
_PAGE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelOpened:
    tunnel_id: int
    peer: Eui64
    protocol_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelData:
    tunnel_id: int
    peer: Eui64
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelClosed:
    tunnel_id: int
    peer: Eui64
    is_timeout: bool


TunnelEvent: TypeAlias = TunnelOpened | TunnelData | TunnelClosed


@dataclass(slots=True)
class _Tunnel:
    peer: Eui64
    protocol_id: int
    has_flow_control: bool
    limit_octets: int  # what the client takes at a time
    window_octets: int  # what it takes just now, with flow control
    used_us: int


class TunnelServer:
    """All tunnels of one server. `protocols`: (manufacturer code, protocol id) that it carries."""

    def __init__(
        self,
        protocols: Iterable[tuple[int, int]] = ((MANUFACTURER_NONE, GB_HRGP),),
        *,
        timeout_s: int = 0xFFFF,
        most: int = 8,
        limit_octets: int = DEFAULT_SIZE,
    ) -> None:
        self.protocols = sorted(protocols)
        self.timeout_s = timeout_s
        self.limit_octets = limit_octets
        self._most = most
        self._next_id = 0
        self._tunnels: dict[int, _Tunnel] = {}
        self._events: list[TunnelEvent] = []

    @property
    def open_ids(self) -> list[int]:
        return sorted(self._tunnels)

    def take_events(self) -> list[TunnelEvent]:
        events, self._events = self._events, []
        return events

    def next_timer_us(self) -> int | None:
        if not self._tunnels:
            return None
        return min(tunnel.used_us for tunnel in self._tunnels.values()) + self.timeout_s * 1_000_000

    def on_timer(self, *, now_us: int) -> None:
        """Close what nobody has used. The shell tells each client by a TunnelClosureNotification."""
        for tunnel_id in self.open_ids:
            tunnel = self._tunnels[tunnel_id]
            if now_us - tunnel.used_us >= self.timeout_s * 1_000_000:
                self._close(tunnel_id, is_timeout=True)

    # --- commands off the air; each gives the answering command's name and fields, or raises RefusedError --

    def request(self, values: Values, peer: Eui64, *, now_us: int) -> dict[str, Any]:
        protocol = (int(values["manufacturer_code"]), int(values["protocol_id"]))
        refusal: TunnelStatus | None = None
        if protocol not in self.protocols:
            refusal = TunnelStatus.PROTOCOL_NOT_SUPPORTED
        elif len(self._tunnels) >= self._most:
            refusal = TunnelStatus.NO_MORE_TUNNEL_IDS
        if refusal is not None:
            return self._response(_NO_TUNNEL, refusal)
        tunnel_id = self._new_id()
        limit = int(values.get("maximum_incoming_transfer_size") or DEFAULT_SIZE)
        has_flow_control = bool(values["flow_control_support"])
        self._tunnels[tunnel_id] = _Tunnel(peer, protocol[1], has_flow_control, limit, limit, now_us)
        self._events.append(TunnelOpened(tunnel_id=tunnel_id, peer=peer, protocol_id=protocol[1]))
        return self._response(tunnel_id, TunnelStatus.SUCCESS)

    def _response(self, tunnel_id: int, status: TunnelStatus) -> dict[str, Any]:
        return {
            "tunnel_id": tunnel_id,
            "tunnel_status": status,
            "maximum_incoming_transfer_size": self.limit_octets,
        }

    def _new_id(self) -> int:
        while self._next_id in self._tunnels or self._next_id == _NO_TUNNEL:
            self._next_id = (self._next_id + 1) & 0xFFFF
        tunnel_id, self._next_id = self._next_id, (self._next_id + 1) & 0xFFFF
        return tunnel_id

    def close(self, values: Values, peer: Eui64, *, status_not_found: int) -> None:
        """Raises RefusedError for a tunnel that is not the asker's."""
        tunnel = self._tunnels.get(int(values["tunnel_id"]))
        if tunnel is None or tunnel.peer != peer:
            raise RefusedError(status_not_found, "no such tunnel")
        self._close(int(values["tunnel_id"]), is_timeout=False)

    def receive(self, values: Values, peer: Eui64, *, now_us: int) -> tuple[str, dict[str, Any]] | None:
        """Data of the client: what to say to it, None for nothing."""
        tunnel_id, data = int(values["tunnel_id"]), bytes(values["data"])
        tunnel = self._tunnels.get(tunnel_id)
        wrong: TransferDataStatus | None = None
        if tunnel is None:
            wrong = TransferDataStatus.NO_SUCH_TUNNEL
        elif tunnel.peer != peer:
            wrong = TransferDataStatus.WRONG_DEVICE
        elif len(data) > self.limit_octets:
            wrong = TransferDataStatus.DATA_OVERFLOW
        if wrong is not None or tunnel is None:
            return "transfer_data_error", {"tunnel_id": tunnel_id, "transfer_data_status": wrong}
        tunnel.used_us = now_us
        self._events.append(TunnelData(tunnel_id=tunnel_id, peer=peer, data=data))
        if not tunnel.has_flow_control:
            return None
        return "ack_transfer_data", {"tunnel_id": tunnel_id, "number_of_bytes_left": self.limit_octets}

    def on_window(self, tunnel_id: int, peer: Eui64, octets: int, *, now_us: int) -> None:
        """AckTransferData or ReadyData of the client: how much it takes now."""
        tunnel = self._tunnels.get(tunnel_id)
        if tunnel is not None and tunnel.peer == peer:
            tunnel.window_octets = min(octets, tunnel.limit_octets)
            tunnel.used_us = now_us

    def on_error(self, tunnel_id: int, peer: Eui64, status: int) -> None:
        """TransferDataError of the client: it knows no such tunnel, so it is none."""
        tunnel = self._tunnels.get(tunnel_id)
        if tunnel is not None and tunnel.peer == peer and status == TransferDataStatus.NO_SUCH_TUNNEL:
            self._close(tunnel_id, is_timeout=False)

    def protocols_from(self, offset: int) -> dict[str, Any]:
        rows = self.protocols[offset : offset + _PAGE]
        return {
            "protocol_list_complete": offset + _PAGE >= len(self.protocols),
            "protocol_count": len(rows),
            "protocol_list": [{"manufacturer_code": maker, "protocol_id": number} for maker, number in rows],
        }

    # --- from above ---------------------------------------------------------------------------------------

    def send(self, tunnel_id: int, data: bytes, *, now_us: int) -> Eui64:
        """Whom to send it to. Raises ClosedError, RefusedError (the client takes less now)."""
        tunnel = self._tunnels.get(tunnel_id)
        if tunnel is None:
            raise ClosedError("the tunnel is closed")
        room = tunnel.window_octets if tunnel.has_flow_control else tunnel.limit_octets
        if len(data) > room:
            raise RefusedError(TransferDataStatus.DATA_OVERFLOW, f"the other end takes {room} octets now")
        if tunnel.has_flow_control:
            tunnel.window_octets -= len(data)
        tunnel.used_us = now_us
        return tunnel.peer

    def forget(self, peer: Eui64) -> None:
        """The device has left."""
        for tunnel_id in [number for number, tunnel in self._tunnels.items() if tunnel.peer == peer]:
            self._close(tunnel_id, is_timeout=False)

    def _close(self, tunnel_id: int, *, is_timeout: bool) -> None:
        tunnel = self._tunnels.pop(tunnel_id)
        self._events.append(TunnelClosed(tunnel_id=tunnel_id, peer=tunnel.peer, is_timeout=is_timeout))


@dataclass(slots=True)
class ClientTunnel:
    """The client's end of one tunnel: what the server takes, what it has sent."""

    tunnel_id: int
    limit_octets: int
    has_flow_control: bool
    window_octets: int = 0
    is_open: bool = True

    def __post_init__(self) -> None:
        self.window_octets = self.limit_octets

    def may_send(self, octets: int) -> bool:
        room = self.window_octets if self.has_flow_control else self.limit_octets
        return self.is_open and octets <= room
