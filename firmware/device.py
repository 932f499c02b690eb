"""The shell that every device of a home shares: power up, join, establish a key, then behave.

Order of power-up, as Smart Energy has it: back onto the network that NVM remembers, or join by install
code (three immediate attempts, then back off to an hour); then CBKE with the trust centre until there
is an established key (ten failures, then a 15-minute pause); then `behave`, which a kind of device
overrides. A parent or network that is lost sends the device back to the beginning.

Whatever a handler changed is committed to NVM before anything it answered leaves the device: messages
wait in an outbox that is emptied once per turn of the event loop, after the commit.

Source: SE 1.2 07-5356-19, 5.5.5 (joining), 5.4.7 (CBKE and its timing).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from logging import LoggerAdapter, getLogger
from random import Random
from typing import Any, Final

from smets1.errors import (
    DecodeError,
    EmulatorError,
    LostError,
    NoAnswerError,
    RefusedError,
    SecurityError,
)
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import CivilClock
from smets1.firmware.crypto.cbke import DeviceIdentity
from smets1.firmware.groups import add_groups, add_identify
from smets1.firmware.images import ImageSlots
from smets1.firmware.nvm import Nvm
from smets1.firmware.ota.client import OtaIdentity
from smets1.firmware.tasks import is_cancelled
from smets1.firmware.upkeep import Upkeep
from smets1.firmware.zcl.application import SE_PROFILE, ZclApplication
from smets1.firmware.zcl.key_establishment import (
    KeyEstablished,
    KeyEstablishment,
    KeyEstablishmentEvent,
)
from smets1.firmware.zcl.key_service import KeyEstablishmentService
from smets1.firmware.zcl.status import Side
from smets1.hardware.clock import Scheduler
from smets1.hardware.radio import (
    COORDINATOR,
    ApsIndication,
    ApsMessage,
    HanPort,
    JoinedDevice,
    KeyOrigin,
    LinkKey,
    NetworkInfo,
    NodeRole,
    SimpleDescriptor,
)

__all__ = ["ENDPOINT", "TROUBLE", "Board", "Device", "DeviceLogger", "Factory"]

ENDPOINT: Final = 1
TROUBLE: Final = (DecodeError, LostError, NoAnswerError, RefusedError, SecurityError)
"""What a peer, the air or storage may do to a device: it notes it and tries again later."""

_IMMEDIATE_JOINS: Final = 3
_JOIN_PAUSES_S: Final = (10, 30, 60, 300, 900, 1800, 3600)
_CBKE_FAILURES: Final = 10
_CBKE_PAUSE_S: Final = 900
_CBKE_RETRY_S: Final = 5
_TROUBLE_PAUSE_S: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """What is put into a device before it leaves the factory."""

    eui64: Eui64
    model: str
    manufacturer: str
    firmware_version: int  # 32 bits, as SRV 11.2 returns it
    device_type: int  # GBCS device type
    install_key: bytes = field(repr=False)  # link key of the install code, 16 octets
    identity: DeviceIdentity = field(repr=False)  # certificate and private key for CBKE

    @property
    def manufacturer_code(self) -> int:
        """For OTA files: the manufacturer as 4 hex digits; a name has no code."""
        try:
            return int(self.manufacturer, 16) & 0xFFFF
        except ValueError:
            return 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a device is soldered to."""

    port: HanPort
    scheduler: Scheduler
    civil: CivilClock
    nvm: Nvm
    rng: Random


class DeviceLogger(LoggerAdapter):  # type: ignore[type-arg]  # generic only in the stubs
    """Puts the device in front of each line."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"{self.extra['device']} {msg}" if self.extra else msg, kwargs


class Device:
    """One powered device. Implements `HanListener`; subclasses add clusters and `behave`."""

    zigbee_device_id = 0x0501  # Smart Energy device of endpoint 1; metering device
    ke_sessions = 1  # how many others may establish a key with this device at a time

    def __init__(self, factory: Factory, board: Board) -> None:
        self.factory = factory
        self.port = board.port
        self.scheduler = board.scheduler
        self.civil = board.civil
        self.nvm = board.nvm
        self.rng = board.rng
        name = f"{type(self).__name__} {format_eui64(factory.eui64)}"
        self.log = DeviceLogger(getLogger(__name__), {"device": name})
        self.app = ZclApplication(
            han=board.port, post=self.post, scheduler=board.scheduler, routes=board.port, nvm=board.nvm
        )
        engine = KeyEstablishment(
            {factory.identity.suite: factory.identity}, board.rng, session_limit=self.ke_sessions
        )
        self.key_service = KeyEstablishmentService(
            self.app,
            engine,
            board.scheduler,
            find_eui64=board.port.known_eui64,
            on_event=self._on_key_event,
        )
        self.keyed = asyncio.Event()
        """Set while the device is on the network with an established key."""
        self.on_key: Callable[[LinkKey], None] = lambda _key: None
        """For whoever writes key files of test runs."""
        self.on_network: Callable[[NetworkInfo], None] = lambda _info: None
        self._is_closed = False
        self._outbox: list[ApsMessage] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}  # a set that keeps its order
        self._network_lost = asyncio.Event()
        self._ke_wait_s = 0  # the peer's word: not to begin a key establishment before
        self._is_off = False  # a network is known, and lost for now
        self._network_moved = asyncio.Event()
        self._add_common_clusters()
        self.images = ImageSlots(board.nvm, factory.firmware_version)
        self.upkeep = None if board.port.role is NodeRole.COORDINATOR else self._make_upkeep()
        board.port.attach(self)

    @property
    def eui64(self) -> Eui64:
        return self.factory.eui64

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {format_eui64(self.eui64)}>"

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Power up, in the running event loop."""
        self.show_endpoints()
        self.app.restore_reports()
        self.spawn(self.persevere(self._live))
        if self.upkeep is not None:
            self.spawn(self.upkeep.watch_trial())

    async def close(self) -> None:
        """Power down in good order: commit, then stop everything, even where the commit raises LostError."""
        self._is_closed = True
        try:
            self.nvm.commit()
        finally:
            await self._stop()

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.app.close()  # after its users: none of them is to take it for a failure
        self.key_service.close()
        await self.port.close()

    def show_endpoints(self) -> None:
        """Let the device object answer what this device is; again where endpoints come or go."""
        core = self.app.core
        self.port.set_endpoints(
            tuple(
                SimpleDescriptor(
                    endpoint=endpoint,
                    profile_id=SE_PROFILE,
                    device_id=self.device_id_of(endpoint),
                    input_clusters=tuple(core.clusters_of(endpoint, Side.SERVER)),
                    output_clusters=tuple(core.clusters_of(endpoint, Side.CLIENT)),
                )
                for endpoint in core.endpoints
            )
        )

    def device_id_of(self, endpoint: int) -> int:
        """Smart Energy device identifier. Source: SE 1.2 07-5356-19, Table 5.12."""
        return self.zigbee_device_id

    def power_off(self) -> None:
        """Like pulling the plug: nothing is committed, nobody on the air is told."""
        self._is_closed = True
        self.app.close()
        for task in list(self._tasks):
            task.cancel()
        self.key_service.close()
        self.port.power_off()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run beside everything else until done or the device is closed; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._on_task_done)
        return task

    async def persevere(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do work that must not end by an error: it is logged, and after half a minute all begins again."""
        while True:
            try:
                await work()
            except Exception as error:  # a bug of ours must not leave a device dead on the wall
                if is_cancelled():
                    raise asyncio.CancelledError from error
                if isinstance(error, TROUBLE):
                    self.log.warning("%s", error)
                else:
                    self.log.exception("%s broke down", work.__name__)
            else:
                return
            await asyncio.sleep(_TROUBLE_PAUSE_S)

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, EmulatorError):
            self.log.warning("%s", error)
        else:
            self.log.error("a task broke down", exc_info=error)

    async def _live(self) -> None:
        while True:
            await self._get_on_network()
            self._network_lost.clear()
            if await self._get_keyed():
                self.keyed.set()
                self.log.info("keyed")
                await self._behave_until_lost()
            self.keyed.clear()

    async def _behave_until_lost(self) -> None:
        """Run `behave`; end when the network is lost."""
        work = [self.spawn(self.persevere(self.behave))]
        if self.upkeep is not None:
            work.append(self.spawn(self.persevere(self.upkeep.run)))
        try:
            await self._network_lost.wait()
        finally:
            for task in work:
                task.cancel()

    async def behave(self) -> None:
        """What this kind of device does while it is on the network with a key. Default: nothing."""

    def _make_upkeep(self) -> Upkeep:
        upkeep = Upkeep(
            app=self.app,
            port=self.port,
            scheduler=self.scheduler,
            civil=self.civil,
            images=self.images,
            identity=OtaIdentity(
                eui64=self.eui64,
                manufacturer_code=self.factory.manufacturer_code,
                image_type=self.factory.device_type,
            ),
            rng=Random(self.rng.getrandbits(64)),  # what it draws is no secret
        )
        upkeep.on_clock_set = self.on_clock_set
        upkeep.on_version = lambda version: self.log.info("runs firmware %08X", version)
        return upkeep

    def on_clock_set(self) -> None:
        """The clock was set from the hub's: what waits for an instant waits for another now."""
        self.nvm.commit()

    # --- joining ----------------------------------------------------------------------------------

    async def _get_on_network(self) -> None:
        while self._is_off and self.port.network is not None:  # the port looks for it by itself
            self._network_moved.clear()
            await self._network_moved.wait()
        if self.port.network is not None or await self.port.start():
            return
        attempt = 0
        while True:
            try:
                await self.port.join(self._install_link_key())
            except TROUBLE as error:
                attempt += 1
                self.log.info("join attempt %d: %s", attempt, error)
                await asyncio.sleep(self._join_pause_s(attempt))
            else:
                self.app.forget_reports()
                self.nvm.commit()
                return

    def _install_link_key(self) -> LinkKey:
        # Before joining nobody knows who the trust centre is: the port fills that in.
        return LinkKey(partner=0, key=self.factory.install_key, origin=KeyOrigin.INSTALL_CODE)

    def _join_pause_s(self, attempt: int) -> float:
        """Three attempts at once, then back off up to an hour, with jitter so that homes do not march."""
        if attempt < _IMMEDIATE_JOINS:
            return 0.5 + self.rng.random()
        pause_s = _JOIN_PAUSES_S[min(attempt - _IMMEDIATE_JOINS, len(_JOIN_PAUSES_S) - 1)]
        return pause_s * (0.75 + 0.5 * self.rng.random())

    # --- key establishment ------------------------------------------------------------------------

    async def _get_keyed(self) -> bool:
        """CBKE with the trust centre; False where the network was lost before it was done."""
        failures = 0
        while not self._network_lost.is_set():
            network = self.port.network
            if network is None:
                return False
            key = self.port.link_key(network.trust_centre)
            if key is not None and key.origin is KeyOrigin.ESTABLISHED:
                return True
            self._ke_wait_s = 0
            try:
                await self.key_service.establish(
                    COORDINATOR, ENDPOINT, suite=self.factory.identity.suite, peer_eui64=network.trust_centre
                )
            except TROUBLE as error:
                failures += 1
                self.log.info("key establishment failed (%d): %s", failures, error)
            else:
                return True
            pause_s = max(_CBKE_RETRY_S, self._ke_wait_s)
            if failures % _CBKE_FAILURES == 0:
                pause_s = _CBKE_PAUSE_S
            await asyncio.sleep(pause_s * (1 + 0.5 * self.rng.random()))
        return False

    def _on_key_event(self, event: KeyEstablishmentEvent) -> None:
        if isinstance(event, KeyEstablished):
            key = LinkKey(partner=event.peer_eui64, key=event.key, origin=KeyOrigin.ESTABLISHED)
            self.port.set_link_key(key)
            self.on_link_key(key)
        elif event.is_initiator:
            self._ke_wait_s = event.wait_s
        else:
            self.log.warning("key establishment with 0x%04X failed: %s", event.peer, event.status)

    # --- messages ---------------------------------------------------------------------------------

    def post(self, message: ApsMessage) -> None:
        """Send without waiting; after the commit of whatever led to it."""
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append(message)

    def _flush(self) -> None:
        messages, self._outbox = self._outbox, []
        if self._is_closed:
            return
        try:
            self.nvm.commit()
        except LostError as error:
            self.log.error("nothing is answered, since nothing can be stored: %s", error)
            return
        for message in messages:
            self.spawn(self._send(message))

    async def _send(self, message: ApsMessage) -> None:
        try:
            await self.port.send(message)
        except TROUBLE as error:
            self.log.info("message to 0x%04X on 0x%04X: %s", message.destination, message.cluster_id, error)

    # --- HanListener --------------------------------------------------------------------------------

    def on_message(self, indication: ApsIndication) -> None:
        self.app.on_message(indication)

    def on_device_joined(self, device: JoinedDevice) -> None:
        """Coordinator only."""

    def on_device_left(self, eui64: Eui64) -> None:
        """Coordinator only."""

    def on_network_up(self, info: NetworkInfo) -> None:
        self.log.info("on network, PAN 0x%04X channel %d", info.pan_id, info.channel)
        self._is_off = False
        self._network_moved.set()
        self.on_network(info)

    def on_network_down(self, reason: str) -> None:
        self.log.warning("off the network: %s", reason)
        self.keyed.clear()
        self._is_off = True
        self._network_lost.set()
        self._network_moved.set()

    def on_link_key(self, key: LinkKey) -> None:
        """A key with somebody is in force (established here, or handed out by the trust centre)."""
        self.on_key(key)

    # --- clusters that every device has -----------------------------------------------------------

    def _add_common_clusters(self) -> None:
        core, factory = self.app.core, self.factory
        basic = core.add_server(ENDPOINT, "basic")
        basic.update(
            zcl_version=3,
            manufacturer_name=factory.manufacturer,
            model_identifier=factory.model,
            power_source=3 if self.port.role is NodeRole.SLEEPY_END_DEVICE else 1,
        )
        information = core.add_server(ENDPOINT, "device_information")
        information.update(
            firmware_version=factory.firmware_version,
            model=factory.model,
            manufacturer=factory.manufacturer,
            device_type=factory.device_type,
        )
        add_groups(core, ENDPOINT, self.port.group_members, add_identify(core, ENDPOINT, self.scheduler))
