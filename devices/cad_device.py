"""The consumer access device: joins as a display does, follows, and republishes to the household's broker.

It commands nothing: the HAN lets it read, and what it has heard goes out as JSON (`cad.py`) over MQTT, QoS
1, not retained. What is heard within a second goes out together; what has not changed since the last
message is said again with the next report, since its time stamp is new, and what the device is itself each
hour. A broker that cannot be reached is tried again, and what was heard meanwhile is not told later: home
automation wants the present.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from smets1.devices.cad import cad_messages, cad_state
from smets1.devices.days import SECOND_US
from smets1.devices.display import FuelReadings
from smets1.devices.follower import MIRROR_ENDPOINT, Follower
from smets1.devices.parameter_service import ParameterService
from smets1.devices.parameters import CAD_PARAMETERS
from smets1.errors import InputError, LostError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.device import ENDPOINT, Board, Factory
from smets1.firmware.wan.link import WanLink
from smets1.firmware.zcl.clusters.price import signed_amount
from smets1.hardware.radio import COORDINATOR, ApsIndication

__all__ = ["Cad"]

_TOGETHER_S: Final = 1.0
_BROKER_RETRY_S: Final = 30.0
_STATE_EVERY_US: Final = 3600 * SECOND_US


class Cad(Follower):
    """`household`: a link to the broker that home automation listens to."""

    zigbee_device_id = 0x0502  # in-premise display: Smart Energy knows no nearer one

    def __init__(
        self,
        factory: Factory,
        board: Board,
        *,
        household: WanLink,
        esme: Eui64 | None,
        has_gas: bool,
        report_interval_us: int = 30 * SECOND_US,
    ) -> None:
        super().__init__(factory, board, esme=esme, has_gas=has_gas, report_interval_us=report_interval_us)
        self.household = household
        self._heard = asyncio.Event()
        self._told: dict[str, bytes] = {}
        self._mpan = self._mprn = ""
        self._lqi = 0  # of the last frame
        self._state_hour = -1  # in which the household was last told of the device itself
        information = self.app.core.server(ENDPOINT, "device_information")
        self.parameters = ParameterService(information, self.nvm, self.civil, registry=CAD_PARAMETERS)
        assert self.upkeep is not None, "only the hub has none"
        self.parameters.follow("clock_synchronisation_interval", self.upkeep.set_time_interval)
        household.attach(_Broker(self))

    def start(self) -> None:
        super().start()
        self.spawn(self.persevere(self._connect))
        self.spawn(self.persevere(self._republish))

    async def close(self) -> None:
        await super().close()
        await self.household.close()

    # --- following ------------------------------------------------------------------------------------

    def on_heard(self) -> None:
        self._heard.set()

    async def _read_electricity(self, meter: int) -> None:
        self._mpan = await self._read_site_id(meter, ENDPOINT)
        await super()._read_electricity(meter)

    async def _refresh_electricity(self, meter: int) -> None:
        await self._read_export(meter)
        await self._read_standing_charge(meter, ENDPOINT, self.model.electricity)
        await super()._refresh_electricity(meter)

    async def _read_export(self, meter: int) -> None:
        with suppress(RefusedError):
            values = await self.app.read(meter, ENDPOINT, "metering", ("current_summation_received",))
            self.model.electricity.values.update(values)

    async def _read_standing_charge(self, meter: int, endpoint: int, readings: FuelReadings) -> None:
        """In pounds, with as many digits right of the point as the low nibble says: `published_tariff.py`."""
        with suppress(RefusedError):
            tariff = await self.app.request(
                meter, endpoint, "price", "get_tariff_information",
                earliest_start_time=0, min_issuer_event_id=0, number_of_commands=1, tariff_type=0,
            )  # fmt: skip
            amount, digits = int(tariff["standing_charge"]), int(tariff["price_trailing_digit"]) & 0xF
            readings.standing_mp = signed_amount(amount) * 10**5 // 10**digits

    async def read_gas(self) -> None:
        if not self._mprn:
            self._mprn = await self._read_site_id(COORDINATOR, MIRROR_ENDPOINT)
        await super().read_gas()

    async def read_gas_settings(self) -> None:
        await super().read_gas_settings()
        await self._read_standing_charge(COORDINATOR, MIRROR_ENDPOINT, self.model.gas)

    async def _read_site_id(self, short_address: int, endpoint: int) -> str:
        """The MPAN or MPRN; empty where the meter does not tell it."""
        try:
            values = await self.app.read(short_address, endpoint, "metering", ("site_id",))
        except RefusedError:
            return ""
        return bytes(values.get("site_id") or b"").decode("ascii", "replace").strip("\0 ")

    # --- republishing ---------------------------------------------------------------------------------

    async def _connect(self) -> None:
        while True:
            try:
                await self.household.connect()
            except LostError as error:
                self.log.warning("household broker: %s", error)
                await asyncio.sleep(_BROKER_RETRY_S)
            except InputError as error:
                self.log.error("household broker: %s", error)
                return
            else:
                return

    async def _republish(self) -> None:
        while True:
            await self._heard.wait()
            await asyncio.sleep(_TOGETHER_S)
            self._heard.clear()
            if not self.household.is_up:
                continue
            self._tell_state()
            value = self.parameters.book.value
            messages = cad_messages(
                self.model,
                self.eui64,
                mpan=self._mpan,
                mprn=self._mprn,
                supplier=str(value("supplier_name")),
                currency=str(value("currency")),
            )
            for topic, payload in messages:
                if self._told.get(topic) != payload:
                    self._told[topic] = payload
                    self.household.publish(topic, payload)

    def _tell_state(self) -> None:
        now_us = self.civil.utc_us() // SECOND_US * SECOND_US
        if now_us // _STATE_EVERY_US == self._state_hour:
            return
        self._state_hour = now_us // _STATE_EVERY_US
        topic, payload = cad_state(
            self.eui64,
            utc_us=now_us,
            software=f"{self.images.version:08X}",
            hardware=self.factory.model,
            is_joined=self.port.network is not None,
            lqi=self._lqi,
        )
        self.household.publish(topic, payload)

    def on_message(self, indication: ApsIndication) -> None:
        self._lqi = indication.lqi
        super().on_message(indication)

    def on_broker_up(self) -> None:
        self._told.clear()
        self._state_hour = -1
        self._heard.set()  # the present, at once

    def on_broker_down(self, reason: str) -> None:
        self.log.warning("household broker: %s", reason)


class _Broker:
    """Hears the link; a device hears the air under the same names."""

    def __init__(self, cad: Cad) -> None:
        self._cad = cad

    def on_message(self, topic: str, payload: bytes) -> None:
        """Nothing is subscribed to: what a household publishes commands no CAD."""

    def on_up(self) -> None:
        self._cad.on_broker_up()

    def on_down(self, reason: str) -> None:
        self._cad.on_broker_down(reason)
