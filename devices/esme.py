"""The electricity meter: on the HAN for the displays, on the ribbon for the head end.

In the Secure set the hub sits on the ESME, so instructions and their answers, and what the meter says
unasked, travel over the ribbon (`firmware.wire`) and not over the air.
"""

from __future__ import annotations

from smets1.devices.authorisation import KeyConfirmation
from smets1.devices.meter import ElectricityMeterCore
from smets1.devices.meter_device import MeterDevice
from smets1.devices.tokens import TopUpDesk
from smets1.firmware.device import ENDPOINT, Board, Factory
from smets1.firmware.tunnel_service import TunnelClient
from smets1.firmware.wire import WireEnd
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.firmware.zcl.frame import command_frame
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zcl.status import Side

__all__ = ["Esme"]


class Esme(MeterDevice):
    """Liberty 100."""

    meter: ElectricityMeterCore

    def __init__(
        self,
        factory: Factory,
        board: Board,
        *,
        meter: ElectricityMeterCore,
        desk: TopUpDesk,
        sua_key: bytes,
        ribbon: WireEnd,
        engineering_pin: str = "",
    ) -> None:
        super().__init__(
            factory, board, meter=meter, desk=desk, sua_key=sua_key, engineering_pin=engineering_pin
        )
        self.tunnels = TunnelClient(self.app, on_data=lambda _tunnel_id, _data: None)
        self._ribbon = ribbon
        ribbon.handler = self._on_ribbon

    def _on_ribbon(self, endpoint: int, cluster_id: int, frame: bytes) -> bytes | None:
        context = CommandContext(now_us=self.scheduler.now_us(), via=Via.WIRE)
        answer = self.app.execute(endpoint, cluster_id, frame, context)
        self.nvm.commit()  # before the answer is on the ribbon
        return answer

    async def push(self, confirmation: KeyConfirmation) -> None:
        frame = command_frame(
            AUTHORISATION,
            "status_push",
            {"generation": confirmation.generation, "confirmation": confirmation.confirmation},
            sender=Side.SERVER,
            sequence=confirmation.generation & 0xFF,
        )
        await self._ribbon.exchange(ENDPOINT, AUTHORISATION.cluster_id, frame)

    async def close(self) -> None:
        self._ribbon.handler = None
        await super().close()

    def power_off(self) -> None:
        self._ribbon.handler = None
        super().power_off()
