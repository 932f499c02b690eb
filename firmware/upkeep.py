"""What every device but the hub does beside its work: keep-alive, its clock, its firmware.

`run` lives while the device has the network and a key. `watch_trial` lives as long as the device: a new
image that has not reached the hub within an hour of its start makes way for its predecessor.

Source: SE 1.2b 15-0131-02, annex A (keep-alive); ZCL 07-5123 rev 7, 11 (OTA); SE 1.2 07-5356-19, 5.12 (time).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final

from smets1.errors import DecodeError, LostError, NoAnswerError, RefusedError, SecurityError
from smets1.firmware.civil import CivilClock, from_zigbee_s, zigbee_s
from smets1.firmware.images import ImageSlots
from smets1.firmware.keep_alive import BASE_MINUTES, JITTER_S, KeepAlive, KeepAliveStep
from smets1.firmware.ota.client import OtaClient, OtaIdentity, OtaRules
from smets1.firmware.ota.service import OtaClientService
from smets1.firmware.tasks import together
from smets1.firmware.time_keeper import ClockStatus, TimeKeeper, TimeVerdict
from smets1.firmware.zcl.application import ZclApplication
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, CommandContext, Via, reply
from smets1.firmware.zcl.status import Status
from smets1.hardware.clock import Scheduler
from smets1.hardware.radio import COORDINATOR, HanPort, NodeRole

__all__ = ["Upkeep", "start_instant_us"]

_ENDPOINT: Final = 1
_DAY_S: Final = 86_400
_TIME_RETRY_S: Final = 300
_TRIAL_S: Final = 3600.0
_SETTLE_S: Final = 60  # others are joining and establishing keys: the clock is right enough till then
_AT_ONCE: Final = 0
_WITHDRAWN: Final = 0xFFFFFFFF
_SLEEPY_RULES: Final = OtaRules(awake_us=60_000_000, asleep_us=60_000_000)  # at the next waking, that is
_ERRORS: Final = (NoAnswerError, RefusedError, SecurityError, DecodeError, LostError)


def start_instant_us(activation_time_s: int, *, now_utc_us: int) -> int | None:
    """ZigBee UTC seconds of an activation -> when to start; 0: at once; 0xFFFFFFFF: None, not any more."""
    if activation_time_s == _WITHDRAWN:
        return None
    return now_utc_us if activation_time_s == _AT_ONCE else max(now_utc_us, from_zigbee_s(activation_time_s))


class Upkeep:
    """The upkeep of one device. `on_version`, `on_clock_set`: hooks of the device's shell."""

    def __init__(
        self,
        *,
        app: ZclApplication,
        port: HanPort,
        scheduler: Scheduler,
        civil: CivilClock,
        images: ImageSlots,
        identity: OtaIdentity,
        rng: Random,
    ) -> None:
        is_sleepy = port.role is NodeRole.SLEEPY_END_DEVICE
        self.images = images
        self.on_version: Callable[[int], None] = lambda _version: None
        self.on_clock_set: Callable[[], None] = lambda: None
        self.proves_itself: Callable[[], bool] = lambda: True
        """What the running image finds of itself; a test makes a bad image of it."""
        self._app = app
        self._port = port
        self._scheduler = scheduler
        self._civil = civil
        self._rng = rng
        self._trial_began = asyncio.Event()
        self._is_sleepy = is_sleepy
        self._time_due_us = scheduler.now_us() + _SETTLE_S * 1_000_000
        self._time_every_s = _DAY_S
        self._time_changed = asyncio.Event()
        self.keep_alive = KeepAlive(rng, now_us=scheduler.now_us())
        self.clock = TimeKeeper(civil)
        rules = _SLEEPY_RULES if is_sleepy else OtaRules()
        client = OtaClient(identity, images, rng, utc_us=civil.utc_us(), rules=rules)
        self.ota = OtaClientService(
            app, client, civil, on_start=self._start_image, waits_to_be_woken=is_sleepy
        )
        self._add_clusters()
        images.on_boot()

    def _add_clusters(self) -> None:
        self._app.core.add_client(_ENDPOINT, "keep_alive")
        information = self._app.core.server(_ENDPOINT, "device_information")
        information.bind("firmware_version", lambda: self.images.version)
        information.bind("pending_firmware_version", lambda: self.images.staged_version or 0)
        information.bind("clock_status", lambda: int(self.clock.status))
        information.bind("clock_last_set", self._last_set)
        information.handle("activate_firmware", self._on_activate)

    def _last_set(self) -> int:
        last_us = self.clock.last_set_utc_us
        return 0xFFFFFFFF if last_us is None else zigbee_s(last_us)

    async def run(self) -> None:
        """For as long as the device has the network and a key."""
        self.keep_alive.on_back(now_us=self._scheduler.now_us())
        if self._is_sleepy:
            await self.ota.run()
            return
        await together(self._keep_alive(), self._keep_time(), self.ota.run())

    async def on_wake(self) -> None:
        """A sleeping device is awake: whatever has fallen due. It does nothing of it in between."""
        self.ota.stir()
        now_us = self._scheduler.now_us()
        if now_us >= self._time_due_us and await self.synchronise():
            self._time_due_us = now_us + self._time_every_s * 1_000_000
        await self._take_step(self.keep_alive.next_step(now_us=now_us))

    # --- keep-alive -------------------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        machine = self.keep_alive
        while True:
            wait_us = machine.due_us - self._scheduler.now_us()
            if wait_us > 0:
                await asyncio.sleep(wait_us / 1e6)
            await self._take_step(machine.next_step(now_us=self._scheduler.now_us()))

    async def _take_step(self, step: KeepAliveStep) -> None:
        if step is KeepAliveStep.ASK:
            await self._ask_whether_alive()
        elif step is KeepAliveStep.REJOIN:
            self.keep_alive.on_rejoining(now_us=self._scheduler.now_us())
            self._port.rejoin()  # ends this task, if there was a network
            await asyncio.sleep(1)

    async def _ask_whether_alive(self) -> None:
        names = ("keep_alive_base", "keep_alive_jitter")
        try:
            values = await self._app.read(COORDINATOR, _ENDPOINT, "keep_alive", names)
        except _ERRORS:
            self.keep_alive.on_miss(now_us=self._scheduler.now_us())
        else:
            self.keep_alive.on_answer(
                int(values.get("keep_alive_base", BASE_MINUTES)),
                int(values.get("keep_alive_jitter", JITTER_S)),
                now_us=self._scheduler.now_us(),
            )

    # --- time -------------------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        """After joining, then once a day (or as configured); sooner where the hub has not told it."""
        await asyncio.sleep(_SETTLE_S * (1 + self._rng.random()))
        while True:
            is_told = await self.synchronise()
            pause_s = self._time_every_s if is_told else _TIME_RETRY_S
            self._time_changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s * (0.75 + 0.25 * self._rng.random())):
                    await self._time_changed.wait()

    def set_time_interval(self, interval_s: int) -> None:
        """Compare the clock with the hub's at least so often, from now on."""
        if interval_s != self._time_every_s:
            self._time_every_s = interval_s
            self._time_due_us = min(self._time_due_us, self._scheduler.now_us() + interval_s * 1_000_000)
            self._time_changed.set()

    async def synchronise(self) -> bool:
        """Compare the clock with the hub's now. False: no answer, or none that counts."""
        asked_us = self._scheduler.now_us()
        try:
            values = await self._app.read(COORDINATOR, _ENDPOINT, "time", ("time", "time_status"))
        except _ERRORS:
            return False
        round_trip_us = self._scheduler.now_us() - asked_us
        verdict = self.clock.on_time(
            int(values.get("time", 0)), int(values.get("time_status", 0)), round_trip_us=round_trip_us
        )
        if verdict is TimeVerdict.ADJUSTED:
            self.on_clock_set()
        return self.clock.status is ClockStatus.SYNCHRONISED

    # --- firmware ---------------------------------------------------------------------------------------

    def _start_image(self, version: int) -> None:
        self.images.activate()
        self.on_version(version)
        self._trial_began.set()

    def _on_activate(self, fields: Values, context: CommandContext) -> Answer:
        """The word of the head end (SRV 11.3): start a staged image, at once or at an instant."""
        if context.via is Via.HAN and context.source != COORDINATOR:
            return Status.NOT_AUTHORIZED
        version = int(fields["file_version"])
        start_us = start_instant_us(int(fields["activation_time"]), now_utc_us=self._civil.utc_us())
        status = Status.SUCCESS if self.ota.start_staged(version, start_us) else Status.NOT_FOUND
        return reply("activate_firmware_response", status=int(status), file_version=version)

    async def _prove(self) -> None:
        """A new image that reaches the hub, and finds nothing wrong with itself, is good."""
        while self.images.is_on_trial:
            if self.proves_itself() and await self.synchronise():
                self.images.confirm()
                return
            await asyncio.sleep(60)

    async def watch_trial(self) -> None:
        """For as long as the device has power."""
        while True:
            if not self.images.is_on_trial:
                self._trial_began.clear()
                await self._trial_began.wait()
            proof = asyncio.create_task(self._prove())
            try:
                async with asyncio.timeout(_TRIAL_S):
                    await proof
            except TimeoutError:
                if self.images.roll_back():
                    self.on_version(self.images.version)
