"""The electricity meter: on the HAN for the displays, on the ribbon for the head end.

In the Secure set the hub sits on the ESME, so instructions and their answers, and what the meter says
unasked, travel over the ribbon (`firmware.wire`) and not over the air.
"""

from __future__ import annotations

import asyncio
from typing import Final

from smets1.devices.authorisation import KeyConfirmation
from smets1.devices.meter import ElectricityMeterCore
from smets1.devices.meter_device import MeterDevice
from smets1.devices.special_codes import Engineering
from smets1.devices.tokens import TopUpDesk, TopUpResult
from smets1.errors import NoAnswerError
from smets1.firmware.alert_data import LAST_GASP
from smets1.firmware.device import ENDPOINT, TROUBLE, Board, Factory
from smets1.firmware.tunnel_service import TunnelClient
from smets1.firmware.wire import Held, WireEnd
from smets1.firmware.zcl.clusters.events import EVENTS
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION, HUB_CONTROL
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.frame import command_frame
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zcl.status import Side

__all__ = ["Esme"]

_ALERT_PAUSE_S: Final = 60.0
_JOINING_KEY: Final = "esme/joining"


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
        mpxn: str = "",
    ) -> None:
        super().__init__(
            factory,
            board,
            meter=meter,
            desk=desk,
            sua_key=sua_key,
            engineering_pin=engineering_pin,
            mpxn=mpxn,
        )
        self._joining_wanted = asyncio.Event()
        self.tunnels = TunnelClient(self.app, on_data=lambda _tunnel_id, _data: None)
        self._ribbon = ribbon
        ribbon.handler = self._on_ribbon

    def _on_ribbon(self, endpoint: int, cluster_id: int, frame: bytes) -> bytes | Held | None:
        later: Held = asyncio.get_running_loop().create_future()

        def obey() -> None:
            if not later.done():
                later.set_result(self._execute(endpoint, cluster_id, frame))

        if self.hold.offer(cluster_id, frame, obey, who=later):
            return later
        return self._execute(endpoint, cluster_id, frame)

    def _execute(self, endpoint: int, cluster_id: int, frame: bytes) -> bytes | None:
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

    def start(self) -> None:
        super().start()
        self.spawn(self.persevere(self._tell_alerts))
        self.spawn(self.persevere(self._tell_joining))
        if self.nvm.get(_JOINING_KEY) is not None:
            self._joining_wanted.set()

    async def _tell_alerts(self) -> None:
        """Over the ribbon, which needs no network; while the hub is away they are kept."""
        while True:
            await self._alerts_wanted.wait()
            self._alerts_wanted.clear()
            try:
                await self.send_alerts()
            except TROUBLE as error:
                self.log.info("alerts are kept: %s", error)
                await asyncio.sleep(_ALERT_PAUSE_S)
                self._alerts_wanted.set()

    # --- joining ------------------------------------------------------------------------------------

    def on_code(self, result: TopUpResult) -> None:
        """Joining on and off is the hub's to do, which sits on this meter."""
        super().on_code(result)
        code = None if result.special is None else result.special.engineering
        if code in (Engineering.JOINING_ON, Engineering.JOINING_OFF):
            self.nvm.put(_JOINING_KEY, bytes([code is Engineering.JOINING_ON]))
            self._joining_wanted.set()

    async def _tell_joining(self) -> None:
        """Until the hub has heard of the last such code."""
        while True:
            await self._joining_wanted.wait()
            self._joining_wanted.clear()
            while (wanted := self.nvm.get(_JOINING_KEY)) is not None:
                frame = command_frame(HUB_CONTROL, "set_joining", {"is_open": bool(wanted[0])})
                try:
                    await self._ribbon.exchange(ENDPOINT, HUB_CONTROL.cluster_id, frame)
                except TROUBLE as error:
                    self.log.info("joining: %s", error)
                    await asyncio.sleep(_ALERT_PAUSE_S)
                    continue
                if self.nvm.get(_JOINING_KEY) == wanted:
                    self.nvm.delete(_JOINING_KEY)
                    self.nvm.commit()

    async def publish_alert(self, fields: Values) -> None:
        frame = command_frame(EVENTS, "publish_event", fields, sender=Side.SERVER)
        if await self._ribbon.exchange(ENDPOINT, EVENTS.cluster_id, frame) is None:
            raise NoAnswerError("the hub does not take the alert")

    def last_gasp(self) -> None:
        """The hub on the meter lives some moments longer, and can still tell."""
        fields = self.alerts.own_event(LAST_GASP, utc_us=self.civil.utc_us())
        self._ribbon.tell(
            ENDPOINT, EVENTS.cluster_id, command_frame(EVENTS, "publish_event", fields, sender=Side.SERVER)
        )

    async def close(self) -> None:
        self._ribbon.handler = None
        await super().close()

    def power_off(self) -> None:
        self._ribbon.handler = None
        super().power_off()
