"""The Tunneling cluster on live devices: `TunnelServer` on the hub, `TunnelClient` on who asks for a tunnel.

client = TunnelClient(device.app, on_data=take)
tunnel = await client.open(protocol_id=GB_HRGP)
await client.send(tunnel, octets)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from smets1.errors import ClosedError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.tunnel import (
    DEFAULT_SIZE,
    GB_HRGP,
    MANUFACTURER_NONE,
    ClientTunnel,
    TunnelClosed,
    TunnelEvent,
    TunnelServer,
)
from smets1.firmware.zcl.application import ZclApplication
from smets1.firmware.zcl.clusters.messaging import TUNNELING, TransferDataStatus, TunnelStatus
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, CommandContext, reply
from smets1.firmware.zcl.status import Side, Status
from smets1.hardware.clock import Scheduler, Timer
from smets1.hardware.radio import COORDINATOR

__all__ = ["TunnelClient", "TunnelServerService"]

_ENDPOINT: Final = 1


class TunnelServerService:
    """`find_short(eui64)`: where a device is now, None where nobody knows. `on_event`: whatever happens."""

    def __init__(
        self,
        app: ZclApplication,
        server: TunnelServer,
        scheduler: Scheduler,
        *,
        find_short: Callable[[Eui64], int | None],
    ) -> None:
        self.server = server
        self.on_event: Callable[[TunnelEvent], None] = lambda _event: None
        self._app = app
        self._scheduler = scheduler
        self._find_short = find_short
        self._timer: Timer | None = None
        cluster = app.core.add_server(_ENDPOINT, TUNNELING)
        cluster.bind("close_tunnel_timeout", lambda: server.timeout_s)
        cluster.handle("request_tunnel", self._on_request)
        cluster.handle("close_tunnel", self._on_close)
        cluster.handle("transfer_data", self._on_data)
        cluster.handle("transfer_data_error", self._on_error)
        cluster.handle("ack_transfer_data", self._on_ack)
        cluster.handle("ready_data", self._on_ready)
        cluster.handle(
            "get_supported_tunnel_protocols",
            lambda fields, _context: reply(
                "supported_tunnel_protocols_response", **server.protocols_from(fields["protocol_offset"])
            ),
        )

    def send(self, tunnel_id: int, data: bytes) -> None:
        """Raises ClosedError, RefusedError (no room at the other end)."""
        peer = self.server.send(tunnel_id, data, now_us=self._scheduler.now_us())
        self._tell(peer, "transfer_data", tunnel_id=tunnel_id, data=data)
        self._arm()

    def close(self) -> None:
        """The device goes down."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self, peer: Eui64, command: str, **fields: Any) -> None:
        short_address = self._find_short(peer)
        if short_address is not None:
            self._app.command(short_address, _ENDPOINT, TUNNELING, command, sender=Side.SERVER, **fields)

    def _peer(self, context: CommandContext) -> Eui64:
        if context.source_eui64 is None:
            raise RefusedError(Status.NOT_AUTHORIZED, "a tunnel is for a device on the HAN")
        return context.source_eui64

    def _on_request(self, fields: Values, context: CommandContext) -> Answer:
        answer = self.server.request(fields, self._peer(context), now_us=context.now_us)
        self._drain()
        return reply("request_tunnel_response", **answer)

    def _on_close(self, fields: Values, context: CommandContext) -> Answer:
        self.server.close(fields, self._peer(context), status_not_found=Status.NOT_FOUND)
        self._drain()
        return Status.SUCCESS

    def _on_data(self, fields: Values, context: CommandContext) -> Answer:
        answer = self.server.receive(fields, self._peer(context), now_us=context.now_us)
        self._drain()
        return Status.SUCCESS if answer is None else reply(answer[0], **answer[1])

    def _on_error(self, fields: Values, context: CommandContext) -> Answer:
        self.server.on_error(fields["tunnel_id"], self._peer(context), fields["transfer_data_status"])
        self._drain()
        return Status.SUCCESS

    def _on_ack(self, fields: Values, context: CommandContext) -> Answer:
        octets = fields["number_of_bytes_left"]
        self.server.on_window(fields["tunnel_id"], self._peer(context), octets, now_us=context.now_us)
        return Status.SUCCESS

    def _on_ready(self, fields: Values, context: CommandContext) -> Answer:
        octets = fields["number_of_octets_left"]
        self.server.on_window(fields["tunnel_id"], self._peer(context), octets, now_us=context.now_us)
        return Status.SUCCESS

    def _drain(self) -> None:
        for event in self.server.take_events():
            if isinstance(event, TunnelClosed) and event.is_timeout:
                self._tell(event.peer, "tunnel_closure_notification", tunnel_id=event.tunnel_id)
            self.on_event(event)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due_us = self.server.next_timer_us()
        self._timer = None if due_us is None else self._scheduler.call_at_us(due_us, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.server.on_timer(now_us=self._scheduler.now_us())
        self._drain()


class TunnelClient:
    """A device that opens tunnels to the hub. `on_data(tunnel id, octets)`, `on_closed(tunnel id)`."""

    def __init__(self, app: ZclApplication, *, on_data: Callable[[int, bytes], None]) -> None:
        self.on_data = on_data
        self.on_closed: Callable[[int], None] = lambda _tunnel_id: None
        self._app = app
        self._tunnels: dict[int, ClientTunnel] = {}
        cluster = app.core.add_client(_ENDPOINT, TUNNELING)
        cluster.handle("transfer_data", self._on_data)
        cluster.handle("tunnel_closure_notification", self._on_closure)
        cluster.handle("ack_transfer_data", self._on_ack)
        cluster.handle("transfer_data_error", self._on_error)

    async def open(
        self,
        *,
        protocol_id: int = GB_HRGP,
        manufacturer_code: int = MANUFACTURER_NONE,
        has_flow_control: bool = False,
        limit_octets: int = DEFAULT_SIZE,
    ) -> ClientTunnel:
        """Raises RefusedError with a TunnelStatus, NoAnswerError."""
        values = await self._app.request(
            COORDINATOR,
            _ENDPOINT,
            TUNNELING,
            "request_tunnel",
            protocol_id=protocol_id,
            manufacturer_code=manufacturer_code,
            flow_control_support=has_flow_control,
            maximum_incoming_transfer_size=limit_octets,
        )
        if values["tunnel_status"] != TunnelStatus.SUCCESS:
            raise RefusedError(values["tunnel_status"], "the hub gives no tunnel")
        limit = int(values.get("maximum_incoming_transfer_size", DEFAULT_SIZE))
        tunnel = ClientTunnel(
            tunnel_id=int(values["tunnel_id"]), limit_octets=limit, has_flow_control=has_flow_control
        )
        self._tunnels[tunnel.tunnel_id] = tunnel
        return tunnel

    async def send(self, tunnel: ClientTunnel, data: bytes) -> None:
        """Returns when the hub has it. Raises ClosedError, RefusedError (too much), NoAnswerError."""
        if not tunnel.is_open:
            raise ClosedError("the tunnel is closed")
        if not tunnel.may_send(len(data)):
            raise RefusedError(TransferDataStatus.DATA_OVERFLOW, "more than the hub takes now")
        answer = await self._app.request(
            COORDINATOR, _ENDPOINT, TUNNELING, "transfer_data", tunnel_id=tunnel.tunnel_id, data=data
        )
        if "transfer_data_status" in answer:
            self._close(tunnel.tunnel_id)
            raise ClosedError("the hub knows no such tunnel")
        if tunnel.has_flow_control:
            tunnel.window_octets = int(answer.get("number_of_bytes_left", tunnel.window_octets))

    async def close(self, tunnel: ClientTunnel) -> None:
        """Raises NoAnswerError; the tunnel is closed here in any case."""
        self._close(tunnel.tunnel_id)
        try:
            await self._app.request(
                COORDINATOR, _ENDPOINT, TUNNELING, "close_tunnel", tunnel_id=tunnel.tunnel_id
            )
        except RefusedError:
            return  # it was closed there already

    def _close(self, tunnel_id: int) -> None:
        tunnel = self._tunnels.pop(tunnel_id, None)
        if tunnel is not None:
            tunnel.is_open = False
            self.on_closed(tunnel_id)

    def _on_data(self, fields: Values, context: CommandContext) -> Answer:
        tunnel = self._tunnels.get(fields["tunnel_id"])
        if tunnel is None or context.source != COORDINATOR:
            return reply(
                "transfer_data_error",
                tunnel_id=fields["tunnel_id"],
                transfer_data_status=TransferDataStatus.NO_SUCH_TUNNEL,
            )
        self.on_data(tunnel.tunnel_id, bytes(fields["data"]))
        if not tunnel.has_flow_control:
            return Status.SUCCESS
        return reply(
            "ack_transfer_data", tunnel_id=tunnel.tunnel_id, number_of_bytes_left=tunnel.limit_octets
        )

    def _on_closure(self, fields: Values, context: CommandContext) -> Answer:
        if context.source == COORDINATOR:
            self._close(fields["tunnel_id"])
        return Status.SUCCESS

    def _on_ack(self, fields: Values, context: CommandContext) -> Answer:
        tunnel = self._tunnels.get(fields["tunnel_id"])
        if tunnel is not None and context.source == COORDINATOR:
            tunnel.window_octets = min(fields["number_of_bytes_left"], tunnel.limit_octets)
        return Status.SUCCESS

    def _on_error(self, fields: Values, context: CommandContext) -> Answer:
        if (
            context.source == COORDINATOR
            and fields["transfer_data_status"] == TransferDataStatus.NO_SUCH_TUNNEL
        ):
            self._close(fields["tunnel_id"])
        return Status.SUCCESS
