"""A stick kept open: set up for Smart Energy, put back on its network, opened again after it was pulled.

The trunk of `EzspRadio`. Commands go through bellows; what the stick tells comes in order, one at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any, Final

from smets1.errors import (
    ClosedError,
    InputError,
    LostError,
    NoAnswerError,
    RefusedError,
    SecurityError,
)
from smets1.eui64 import Eui64, format_eui64
from smets1.hardware.clock import Scheduler
from smets1.hardware.ezsp.bellows_line import EzspLine
from smets1.hardware.ezsp.memory import Groups, ModemMemory, Records
from smets1.hardware.ezsp.schema import Values
from smets1.hardware.ezsp.statuses import (
    KeyKind,
    NetworkStatus,
    PolicyId,
    Status,
    TrustCentrePolicy,
    from_sl_status,
)
from smets1.hardware.radio import (
    CHANNELS,
    COORDINATOR,
    HanListener,
    KeyOrigin,
    LinkKey,
    NetworkInfo,
    NodeRole,
    SimpleDescriptor,
)
from smets1.hardware.rcp.pipe import BytePipe

__all__ = [
    "BINDING_TABLE_SIZE",
    "NO_INDEX",
    "EzspModem",
    "ModemConfig",
    "bellows_eui64",
    "plain_eui64",
    "status_of",
]

_log = getLogger(__name__)
_REOPEN_S: Final = 1.0
_WATCH_S: Final = 30.0
_UP_WAIT_S: Final = 20.0
_KEY_TABLE_SIZE: Final = 24
BINDING_TABLE_SIZE: Final = 32
_TRANSIENT_KEY_LIFE_S: Final = 3600
NO_INDEX: Final = 0xFF
_DENY_KEY_REQUESTS: Final = 0x50
_ALLOW_APP_KEY_REQUESTS: Final = 0x61
_ZDO_REQUESTS_TOO: Final = 0x01
_PARENT_IN_TOKEN: Final = 0x0001 | 0x0002
_MOVES: Final = (Status.CHANNEL_CHANGED, Status.PAN_ID_CHANGED, Status.NODE_ID_CHANGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModemConfig:
    """What a product fixes about its radio."""

    channels: tuple[int, ...] = tuple(CHANNELS)
    scan_exponent: int = 3
    extended_pan_id: int | None = None  # coordinator; None: its EUI-64
    pan_id: int | None = None
    network_key: bytes | None = field(default=None, repr=False)
    may_join: Callable[[Eui64], bool] | None = None
    manufacturer_code: int = 0x0000
    poll_interval_us: int | None = None


def plain_eui64(theirs: Any) -> Eui64:
    """bellows' EUI64 as a number."""
    return int.from_bytes(theirs.serialize(), "little")


def bellows_eui64(types: Any, eui64: Eui64) -> Any:
    """A number as bellows' EUI64, of the types that the stick's version has."""
    return types.EUI64.deserialize(eui64.to_bytes(8, "little"))[0]


def status_of(value: Any) -> Status:
    """A status as bellows gives it, of any version."""
    if "sl_Status" in type(value).__name__:
        return from_sl_status(int(value))
    try:
        return Status(int(value))
    except ValueError:
        return Status.FATAL


class EzspModem:
    """Subclasses take callbacks (`_on_callback`) and are `HanPort`s."""

    def __init__(
        self,
        pipe: BytePipe,
        eui64: Eui64,
        scheduler: Scheduler,
        nvm: Records,
        role: NodeRole,
        config: ModemConfig | None = None,
    ) -> None:
        self._eui64 = eui64
        self._role = role
        self._config = config or ModemConfig()
        self._scheduler = scheduler
        self._memory = ModemMemory(nvm)
        self._groups = Groups(self._memory, self._on_groups)
        self._line = EzspLine(pipe, self._on_message, self._on_lost)
        self._listener: HanListener | None = None
        self._endpoints: tuple[SimpleDescriptor, ...] = ()
        self._info: NetworkInfo | None = None
        self._network_key: bytes | None = None
        self._is_closed = False
        self._is_open = False
        self._is_restarting = False  # on purpose, and for a moment: nobody above is told
        self._is_down = False  # a network is known, and lost for now
        self._told_up = False
        self._opened = asyncio.Event()
        self._lost = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._callbacks: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._unsynced: dict[Eui64, None] = dict.fromkeys(self._memory.keys)
        self._poll_interval_us = self._config.poll_interval_us
        self._key_slots = 0
        self._key_lock = asyncio.Lock()
        self.lost_count = 0

    # --- opening --------------------------------------------------------------------------------------

    async def _power_up(self) -> None:
        """Open the stick for the first time. Raises LostError, InputError."""
        if self._supervisor is not None:
            await self._wait_open()
            return
        await self._open()
        self._supervisor = self._spawn(self._stay_open())
        self._spawn(self._pass_on())
        self._spawn(self._watch())

    async def _stay_open(self) -> None:
        while True:
            await self._lost.wait()
            if not self._is_restarting:
                self.lost_count += 1
            while not self._is_open:
                if not self._is_restarting:
                    await asyncio.sleep(_REOPEN_S)
                try:
                    await self._open()
                except (LostError, NoAnswerError, InputError) as error:  # another stick may be in its place
                    _log.warning("%s: %s", format_eui64(self._eui64), error)
                    self._give_up_restart()

    async def _open(self) -> None:
        self._lost.clear()
        ezsp = await self._line.open()
        ezsp.add_callback(lambda name, args: self._callbacks.put_nowait((name, args)))
        try:
            await self._set_up(ezsp)
            await self._come_back(ezsp)
        except (LostError, InputError):
            self._line.close()
            raise
        except Exception as error:  # bellows has no common ancestor of what may go wrong
            self._line.close()
            raise LostError(f"{self._line.pipe}: {error!r}") from None
        self._is_open = True
        self._is_restarting = False
        self._opened.set()
        _log.info("%s: %s: EZSP %d", format_eui64(self._eui64), self._line.pipe, ezsp.ezsp_version)
        self._tell_network()

    async def _set_up(self, ezsp: Any) -> None:
        (theirs,) = await ezsp.getEui64()
        if plain_eui64(theirs) != self._eui64:
            is_right = format_eui64(plain_eui64(theirs))
            raise InputError(
                f"{self._line.pipe}: the stick is {is_right}, not {format_eui64(self._eui64)}:"
                f' write eui64 = "{is_right}" for its device'
            )
        await ezsp.write_config({})
        for name, value in (
            ("CONFIG_KEY_TABLE_SIZE", _KEY_TABLE_SIZE),
            ("CONFIG_BINDING_TABLE_SIZE", BINDING_TABLE_SIZE),
            ("CONFIG_TRANSIENT_KEY_TIMEOUT_S", _TRANSIENT_KEY_LIFE_S),
            ("CONFIG_APPLICATION_ZDO_FLAGS", _ZDO_REQUESTS_TOO),
        ):
            # a stick with less memory keeps its own number
            await ezsp.setConfigurationValue(ezsp.types.EzspConfigId[name], value)
        _, key_slots = await ezsp.getConfigurationValue(ezsp.types.EzspConfigId.CONFIG_KEY_TABLE_SIZE)
        self._key_slots = int(key_slots)
        policies = {
            PolicyId.TRUST_CENTER: TrustCentrePolicy.ALLOW_JOINS
            | TrustCentrePolicy.ALLOW_UNSECURED_REJOINS
            | TrustCentrePolicy.JOINS_USE_INSTALL_CODE_KEY,
            PolicyId.TC_KEY_REQUEST: _DENY_KEY_REQUESTS,
            PolicyId.APP_KEY_REQUEST: _ALLOW_APP_KEY_REQUESTS,
        }
        for policy, decision in policies.items():
            await ezsp.setPolicy(int(policy), int(decision))
        await ezsp.setManufacturerCode(self._config.manufacturer_code)
        for descriptor in self._endpoints:
            await self._add_endpoint(ezsp, descriptor)
        await self._put_groups(ezsp)

    async def _add_endpoint(self, ezsp: Any, descriptor: SimpleDescriptor) -> None:
        await ezsp.addEndpoint(
            descriptor.endpoint,
            descriptor.profile_id,
            descriptor.device_id,
            descriptor.device_version,
            len(descriptor.input_clusters),
            len(descriptor.output_clusters),
            list(descriptor.input_clusters),
            list(descriptor.output_clusters),
        )

    def _on_groups(self) -> None:
        if self._is_open:
            self._spawn(self._put_groups())

    async def _put_groups(self, ezsp: Any = None) -> None:
        ezsp = ezsp or self._line.ezsp
        if ezsp is None:
            return
        types = ezsp.types
        for index, (group, endpoint) in enumerate(self._groups.members):
            entry = types.EmberMulticastTableEntry(multicastId=group, endpoint=endpoint, networkIndex=0)
            await ezsp.setMulticastTableEntry(index, entry)

    async def _come_back(self, ezsp: Any) -> None:
        """Onto the network of the stick's tokens, where there is one."""
        types = ezsp.types
        with ezsp.wait_for_stack_status(types.sl_Status.NETWORK_UP) as up:
            (status,) = await ezsp.networkInit(types.EmberNetworkInitBitmask(_PARENT_IN_TOKEN))
            if status_of(status) is not Status.SUCCESS:
                return
            async with asyncio.timeout(_UP_WAIT_S):
                await up
        await self._on_up(ezsp)

    async def _on_up(self, ezsp: Any) -> None:
        """On the network: what is it, and does the stick have our keys?"""
        await self._read_network(ezsp)
        self._network_key = bytes((await ezsp.get_network_key()).key.serialize())
        self._is_down = False
        await self._sync_keys(ezsp)
        await self._put_poll_interval(ezsp)
        await self._put_permit(ezsp)

    async def _read_network(self, ezsp: Any) -> None:
        _, _, parameters = await ezsp.getNetworkParameters()
        (short_address,) = await ezsp.getNodeId()
        _, security = await ezsp.getCurrentSecurityState()
        _, _, parent = await ezsp.getParentChildParameters()
        trust_centre = plain_eui64(security.trustCenterLongAddress)
        if self._role is NodeRole.COORDINATOR:
            trust_centre = self._eui64
        else:
            self._memory.learn(trust_centre, COORDINATOR)
        self._info = NetworkInfo(
            pan_id=int(parameters.panId),
            extended_pan_id=plain_eui64(parameters.extendedPanId),
            channel=int(parameters.radioChannel),
            short_address=int(short_address),
            parent_short=None if self._role is NodeRole.COORDINATOR else int(parent),
            trust_centre=trust_centre,
        )

    async def _put_poll_interval(self, ezsp: Any) -> None:
        """Sleepy end devices poll as often as they are told."""

    async def _put_permit(self, ezsp: Any) -> None:
        """A stick that was reset lets nobody join any more."""

    # --- keys in the stick ----------------------------------------------------------------------------

    async def _sync_keys(self, ezsp: Any) -> None:
        """Those that the stick may not have: it was away when they came, or we have started anew."""
        for partner in list(self._unsynced):
            key = self._memory.keys.get(partner)
            if key is not None and key.origin is not KeyOrigin.INSTALL_CODE:
                try:
                    await self._put_key(ezsp, key)
                except RefusedError as error:  # one partner less, but the network is there
                    _log.error("%s: %s", format_eui64(self._eui64), error)
                    continue
            self._unsynced.pop(partner, None)

    async def _put_key(self, ezsp: Any, key: LinkKey) -> None:
        """Unless it is there: a key that is imported again starts its counters anew.

        One at a time, lest two of them find the same place free. Raises RefusedError: no room.
        """
        async with self._key_lock:
            await self._put_key_now(ezsp, key)

    async def _put_key_now(self, ezsp: Any, key: LinkKey) -> None:
        types = ezsp.types
        theirs = bellows_eui64(types, key.partner)
        data = types.KeyData(key.key)
        info = self._info
        if info is not None and key.partner == info.trust_centre and self._role is not NodeRole.COORDINATOR:
            context = types.SecurityManagerContextV13(
                core_key_type=KeyKind.TC_LINK,
                key_index=0,
                derived_type=0,
                eui64=theirs,
                multi_network_index=0,
                flags=0,
                psa_key_alg_permission=0,
            )
            answer = list(await ezsp.exportKey(context))
            if data not in answer:
                answer = list(await ezsp.importKey(context, data))
                self._check_key(answer[0], key)
            return
        (index,) = await ezsp.findKeyTableEntry(theirs, True)
        if int(index) != NO_INDEX:
            answer = list(await ezsp.exportLinkKeyByIndex(index))
            if data in answer:
                return
        else:
            index = await self._free_index(ezsp)
        (status,) = await ezsp.importLinkKey(index, theirs, data)
        self._check_key(status, key)

    def _check_key(self, status: Any, key: LinkKey) -> None:
        if int(status):
            partner = format_eui64(key.partner)
            raise RefusedError(int(status), f"{self._line.pipe}: no link key with {partner} in the stick")

    async def _free_index(self, ezsp: Any) -> int:
        for index in range(self._key_slots):
            answer = list(await ezsp.exportLinkKeyByIndex(index))
            if any(int(value) for value in answer if type(value).__name__ == "sl_Status"):
                return index
        count = self._key_slots
        raise RefusedError(
            NO_INDEX, f"{self._line.pipe}: the key table is full: this stick holds {count} keys"
        )

    # --- losing it ------------------------------------------------------------------------------------

    def _on_lost(self, reason: str) -> None:
        _log.warning("%s: %s: %s", format_eui64(self._eui64), self._line.pipe, reason)
        self._is_open = False
        self._opened.clear()
        self._lost.set()
        self._on_stick_lost()
        self._tell_down("the stick is gone")

    def _restart(self) -> None:
        """Reset the stick and set it up anew."""
        self._is_restarting = True
        self._is_open = False
        self._opened.clear()
        self._line.close()
        self._on_stick_lost()
        self._lost.set()

    def _give_up_restart(self) -> None:
        if self._is_restarting:
            self._is_restarting = False
            self._tell_down("the stick is gone")

    def _on_stick_lost(self) -> None:
        """Whoever waits for the stick waits in vain."""

    @staticmethod
    def _fail(future: asyncio.Future[Any]) -> None:
        """Its owner may be waiting for the stick's answer to a command still, and never come to this."""
        if not future.done():
            future.set_exception(NoAnswerError("the stick is gone"))
            future.exception()  # seen: asyncio has nothing to complain of

    def _tell_network(self) -> None:
        if self._info is not None and not self._is_down and not self._told_up:
            self._told_up = True
            if self._listener is not None:
                self._listener.on_network_up(self._info)

    def _tell_down(self, reason: str) -> None:
        if self._told_up:
            self._told_up = False
            if self._listener is not None and not self._is_closed:
                self._listener.on_network_down(reason)

    async def _wait_open(self) -> Any:
        """bellows' EZSP, when the stick is there. Raises NoAnswerError where it is not, ClosedError."""
        if self._is_closed:
            raise ClosedError(f"radio {format_eui64(self._eui64)} is closed")
        if self._is_restarting:
            with suppress(TimeoutError):
                async with asyncio.timeout(_UP_WAIT_S):
                    await self._opened.wait()
        if not self._is_open or self._is_closed:
            raise NoAnswerError(f"{self._line.pipe}: the stick is not there")
        return self._line.ezsp

    async def _ask(self, name: str, *args: Any) -> Any:
        """A command -> what bellows makes of the answer. Raises NoAnswerError."""
        ezsp = await self._wait_open()
        return await self._guarded(name, ezsp._command(name, *args))

    async def _guarded(self, name: str, work: Awaitable[Any]) -> Any:
        """bellows has no common ancestor of what may go wrong. Raises NoAnswerError."""
        try:
            return await work
        except (LostError, NoAnswerError, RefusedError, SecurityError, asyncio.CancelledError):
            raise
        except Exception as error:
            self._judge(name, error)
            raise NoAnswerError(f"{self._line.pipe}: {name}: {error!r}") from None

    def _judge(self, name: str, error: Exception) -> None:
        """No answer to a command: after so much garbage the line is not in step any more."""
        if isinstance(error, TimeoutError):
            self._line.give_up(f"no answer to {name}")

    async def _watch(self) -> None:
        """A line can fall out of step while nothing is asked: what the stick hears would never come up."""
        while True:
            await asyncio.sleep(_WATCH_S)
            if self._is_open:
                with suppress(NoAnswerError):
                    await self._ask("nop")

    # --- what it tells --------------------------------------------------------------------------------

    async def _pass_on(self) -> None:
        """Callbacks in order; one that must ask the stick something holds up those behind it."""
        while True:
            name, args = await self._callbacks.get()
            try:
                await self._on_callback(name, args)
            except (LostError, NoAnswerError) as error:
                _log.info("%s: %s: %s", format_eui64(self._eui64), name, error)
            except Exception:  # a listener's bug must not stop the radio; it is reported with its traceback
                _log.exception("%s: listener failed on %s", format_eui64(self._eui64), name)

    async def _on_callback(self, name: str, args: Any) -> None:
        if name == "stackStatusHandler":
            await self._on_stack_status(status_of(args[0]))

    async def _on_stack_status(self, status: Status) -> None:
        if not self._is_open:
            return  # whoever opens it reads for himself
        ezsp = self._line.ezsp
        if status is Status.NETWORK_UP:
            await self._on_up(ezsp)
            self._tell_network()
        elif status is Status.NETWORK_DOWN:
            (state,) = await self._ask("networkState")
            self._is_down = True
            if int(state) == NetworkStatus.NO_NETWORK:
                self._info = None
                self._memory.clear()
            self._tell_down("off the network")
        elif status in _MOVES and self._info is not None:
            await self._guarded("getNetworkParameters", self._read_network(ezsp))

    def _on_message(self, values: Values) -> None:
        self._callbacks.put_nowait(("message", values))

    # --- tasks ----------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled() or (error := task.exception()) is None:
            return
        _log.warning("%s: %s: %s", format_eui64(self._eui64), self._line.pipe, error)
