"""Onto a network by way of an EZSP stick: form one and let others in, or join one by install code.

Source: Silicon Labs UG100, 6 and 9; Zigbee 05-3474-21, 4.6.3; Smart Energy 1.x, 5.4.
"""

from __future__ import annotations

import asyncio
import random
from logging import getLogger
from typing import Any, Final

from smets1.errors import MisuseError, NoAnswerError, RefusedError
from smets1.eui64 import Eui64, format_eui64
from smets1.hardware.ezsp.modem import NO_INDEX, EzspModem, bellows_eui64, plain_eui64, status_of
from smets1.hardware.ezsp.statuses import NODE_TYPES, DeviceUpdate, JoinDecision, SecurityBit, Status
from smets1.hardware.radio import (
    BROADCAST_RX_ON,
    JoinedDevice,
    KeyOrigin,
    LinkKey,
    NetworkInfo,
    NodeRole,
    channel_mask,
)

__all__ = ["EzspJoining"]

_log = getLogger(__name__)
_SCANS: Final = 3  # Smart Energy: three scans at once, then the application backs off
_SCAN_WAIT_S: Final = 15.0
_JOIN_WAIT_S: Final = 30.0
_FORM_WAIT_S: Final = 10.0
_LEAVE_WAIT_S: Final = 9.0
_MOVE: Final = 0xFE
_MOVE_WAIT_S: Final = 12.0  # the life of a broadcast, and a little
_MOVE_TRIES: Final = 5
_REPORT_S: Final = 0.2  # two pieces of news make a join
_PRO: Final = 2
_ENERGY, _ACTIVE = 0, 1
_POWER_DBM: Final = 8
_NOBODY: Final = 0xFFFF
_NO_KEY: Final = bytes(16)
_PAN_ACCESS_DENIED: Final = 2
_FAILURES: Final = (
    Status.JOIN_FAILED,
    Status.NO_BEACONS,
    Status.NO_NETWORK_KEY_RECEIVED,
    Status.NOT_JOINED,
    Status.FATAL,
)


class EzspJoining(EzspModem):
    def __init__(self, *args: Any, rng: random.Random, **options: Any) -> None:
        """`rng` makes the network key and PAN identifier of a coordinator."""
        super().__init__(*args, **options)
        self._rng = rng
        self._permit_until_us: int | None = None
        self._ended: asyncio.Future[Status] | None = None
        self._joining: dict[Eui64, tuple[int | None, bool]] = {}  # update of the trust centre, is sleepy
        self._leaving: dict[Eui64, asyncio.Event] = {}

    async def start(self) -> bool:
        """Raises LostError where there is no stick, InputError where it is another one."""
        await self._power_up()
        return self._info is not None

    # --- one's own ------------------------------------------------------------------------------------

    async def form(self) -> NetworkInfo:
        if self._role is not NodeRole.COORDINATOR:
            raise MisuseError("only a coordinator forms a network")
        await self._wait_open()
        config = self._config
        channel, taken = await self._quiet_channel()
        pan_id = config.pan_id
        while pan_id is None or (pan_id in taken and config.pan_id is None):
            pan_id = self._rng.randrange(1, 0x3FFF)
        bits = SecurityBit.HAVE_PRECONFIGURED_KEY | SecurityBit.HAVE_NETWORK_KEY
        await self._set_security(
            bits | SecurityBit.REQUIRE_ENCRYPTED_KEY,
            self._rng.randbytes(16),
            config.network_key or self._rng.randbytes(16),
        )
        parameters = self._parameters(config.extended_pan_id or self._eui64, pan_id, channel)
        await self._go("formNetwork", parameters, wait_s=_FORM_WAIT_S)
        return self._up_info()

    def change_channel(self, channel: int) -> None:
        """Coordinator: move the whole network, some seconds from now; the stick tells it, and goes with it.

        Raises NoAnswerError where there is no stick.
        """
        if self._role is not NodeRole.COORDINATOR or channel not in self._config.channels:
            raise MisuseError("only the coordinator changes the channel, to one that it may use")
        if not self._is_open and not self._is_restarting:
            raise NoAnswerError(f"{self._line.pipe}: the stick is not there")
        self._spawn(self._move(channel))

    async def _move(self, channel: int) -> None:
        """A stick that was reset or away in between has forgotten it: it is told again.

        It has its old update identifier still, so that those who have moved take it for the same change.
        """
        for _ in range(_MOVE_TRIES):
            if self._info is not None and self._info.channel == channel:
                return
            try:
                (status,) = await self._ask("energyScanRequest", BROADCAST_RX_ON, 1 << channel, _MOVE, 0)
                if status_of(status) is not Status.SUCCESS:
                    _log.warning("%s: change of channel: %s", format_eui64(self._eui64), status)
            except NoAnswerError as error:
                _log.info("%s: change of channel: %s", format_eui64(self._eui64), error)
            await asyncio.sleep(_MOVE_WAIT_S)
        if self._info is None or self._info.channel != channel:
            raise NoAnswerError(f"change to channel {channel}", _MOVE_TRIES)

    async def _quiet_channel(self) -> tuple[int, set[int]]:
        """The channel with the fewest networks, then the quietest; the PAN identifiers heard."""
        channels = self._config.channels
        levels: dict[int, int] = {}
        if len(channels) > 1:
            for channel, level_dbm in await self._scan(_ENERGY):
                levels[int(channel)] = max(int(level_dbm), levels.get(int(channel), -128))
        found = [network for network, _, _ in await self._scan(_ACTIVE)]
        others = dict.fromkeys(channels, 0)
        for network in found:
            others[int(network.channel)] = others.get(int(network.channel), 0) + 1
        best = min(channels, key=lambda number: (others[number], levels.get(number, 0), number))
        return best, {int(network.panId) for network in found}

    async def _scan(self, kind: int) -> Any:
        ezsp = await self._wait_open()
        types = ezsp.types
        try:
            async with asyncio.timeout(_SCAN_WAIT_S):  # bellows itself would wait for ever
                return await ezsp.startScan(
                    scanType=types.EzspNetworkScanType(kind),
                    channelMask=types.Channels(channel_mask(self._config.channels)),
                    duration=self._config.scan_exponent,
                )
        except asyncio.CancelledError:
            raise
        except Exception as error:  # bellows has no common ancestor of what may go wrong
            raise NoAnswerError(f"{self._line.pipe}: scan: {error!r}") from None

    async def _set_security(self, bits: int, preconfigured_key: bytes, network_key: bytes) -> None:
        types = self._line.ezsp.types
        state = types.EmberInitialSecurityState(
            bitmask=types.EmberInitialSecurityBitmask(int(bits)),
            preconfiguredKey=types.KeyData(preconfigured_key),
            networkKey=types.KeyData(network_key),
            networkKeySequenceNumber=0,
            preconfiguredTrustCenterEui64=bellows_eui64(types, 0),
        )
        (status,) = await self._ask("setInitialSecurityState", state)
        if status_of(status) is not Status.SUCCESS:
            raise NoAnswerError(f"the stick refuses its security state ({status!r})")

    def _parameters(self, extended_pan_id: int, pan_id: int, channel: int) -> Any:
        types = self._line.ezsp.types
        parameters = types.EmberNetworkParameters()
        parameters.extendedPanId = types.ExtendedPanId.deserialize(extended_pan_id.to_bytes(8, "little"))[0]
        parameters.panId = types.EmberPanId(pan_id)
        parameters.radioTxPower = types.uint8_t(_POWER_DBM)
        parameters.radioChannel = types.uint8_t(channel)
        parameters.joinMethod = types.EmberJoinMethod.USE_MAC_ASSOCIATION
        parameters.nwkManagerId = types.EmberNodeId(0)
        parameters.nwkUpdateId = types.uint8_t(0)
        parameters.channels = types.Channels(channel_mask(self._config.channels))
        return parameters

    async def _go(self, name: str, *args: Any, wait_s: float) -> None:
        """Form or join, to its end. Raises NoAnswerError, RefusedError."""
        self._ended = asyncio.get_running_loop().create_future()
        try:
            (status,) = await self._ask(name, *args)
            ended = status_of(status)
            if ended is Status.SUCCESS:
                async with asyncio.timeout(wait_s):
                    ended = await self._ended
        except TimeoutError:
            raise NoAnswerError(name, 1, int(wait_s * 1e6)) from None
        finally:
            self._ended = None
        if ended is Status.JOIN_FAILED:
            raise RefusedError(_PAN_ACCESS_DENIED, "the network does not admit this device")
        if ended is Status.NO_BEACONS:
            raise NoAnswerError("no network that lets devices join")
        if ended is Status.NO_NETWORK_KEY_RECEIVED:
            raise NoAnswerError("the network key did not come")
        if ended is not Status.NETWORK_UP:
            raise NoAnswerError(f"{name}: {ended.name}")

    def _up_info(self) -> NetworkInfo:
        if self._info is None:
            raise NoAnswerError("the network is gone again")
        return self._info

    async def _on_stack_status(self, status: Status) -> None:
        await super()._on_stack_status(status)
        ended = self._ended
        if ended is not None and not ended.done() and (status is Status.NETWORK_UP or status in _FAILURES):
            ended.set_result(status)

    def _on_stick_lost(self) -> None:
        if self._ended is not None:
            self._fail(self._ended)

    # --- another's ------------------------------------------------------------------------------------

    async def join(self, link_key: LinkKey) -> NetworkInfo:
        if self._role is NodeRole.COORDINATOR:
            raise MisuseError("a coordinator forms a network, it does not join one")
        if self._info is not None:
            raise MisuseError("leave the network before joining another")
        await self._wait_open()
        network = await self._open_network()
        bits = SecurityBit.HAVE_PRECONFIGURED_KEY | SecurityBit.REQUIRE_ENCRYPTED_KEY
        await self._set_security(bits, link_key.key, _NO_KEY)
        extended_pan_id = plain_eui64(network.extendedPanId)
        parameters = self._parameters(extended_pan_id, int(network.panId), int(network.channel))
        types = self._line.ezsp.types
        node_type = types.EmberNodeType(int(NODE_TYPES[self._role]))
        await self._go("joinNetwork", node_type, parameters, wait_s=_JOIN_WAIT_S)
        info = self._up_info()
        self._memory.set_key(
            LinkKey(partner=info.trust_centre, key=link_key.key, origin=KeyOrigin.INSTALL_CODE)
        )
        return info

    async def _open_network(self) -> Any:
        """The one that is heard best and lets devices join."""
        for _ in range(_SCANS):
            heard = [
                (int(lqi), network)
                for network, lqi, _ in await self._scan(_ACTIVE)
                if network.allowingJoin and int(network.stackProfile) == _PRO
            ]
            if heard:
                return max(heard, key=lambda pair: pair[0])[1]
        raise NoAnswerError("no network that lets devices join", _SCANS)

    # --- letting others in ----------------------------------------------------------------------------

    async def permit_join(self, duration_s: int) -> None:
        """Under the install-code keys of those whom the whitelist names, this node and all routers."""
        ezsp = await self._wait_open()
        duration_s = max(0, min(duration_s, 254))
        self._permit_until_us = self._scheduler.now_us() + duration_s * 1_000_000
        await self._guarded("permitJoining", self._put_permit(ezsp))
        await self._tell_permit(duration_s)

    async def _put_permit(self, ezsp: Any) -> None:
        if self._permit_until_us is None:
            return
        left_us = self._permit_until_us - self._scheduler.now_us()
        types = ezsp.types
        if self._role is NodeRole.COORDINATOR:
            may_join = self._config.may_join or (lambda _: True)
            await ezsp.clearTransientLinkKeys()
            for eui64, key in self._memory.install_keys.items():
                if left_us > 0 and may_join(eui64):
                    theirs = bellows_eui64(types, eui64)
                    flags = types.SecurityManagerContextFlags(0)
                    await ezsp.importTransientKey(theirs, types.KeyData(key), flags)
        await ezsp.permitJoining(max(0, left_us // 1_000_000))

    async def _tell_permit(self, duration_s: int) -> None:
        raise NotImplementedError

    async def _on_callback(self, name: str, args: Any) -> None:
        if name == "trustCenterJoinHandler":
            await self._on_trust_centre_join(list(args))
        else:
            await super()._on_callback(name, args)

    async def _on_trust_centre_join(self, args: list[Any]) -> None:
        short_address, theirs, update, decision, _ = args
        eui64 = plain_eui64(theirs)
        if int(update) == DeviceUpdate.DEVICE_LEFT:
            event = self._leaving.get(eui64)
            if event is not None:
                event.set()
            elif self._listener is not None:
                self._listener.on_device_left(eui64)
        elif int(decision) != JoinDecision.DENY_JOIN:
            self._memory.learn(eui64, int(short_address))
            _, is_sleepy = self._joining.get(eui64, (None, False))
            self._note_join(eui64, int(update), is_sleepy)

    def _note_announced(self, eui64: Eui64, *, is_sleepy: bool) -> None:
        if self._role is NodeRole.COORDINATOR:
            update, _ = self._joining.get(eui64, (None, False))
            self._note_join(eui64, update, is_sleepy)

    def _note_join(self, eui64: Eui64, update: int | None, is_sleepy: bool) -> None:
        """Trust centre and device object each tell half of it, in either order."""
        if eui64 not in self._joining:
            self._spawn(self._report_join(eui64))
        self._joining[eui64] = (update, is_sleepy)

    async def _report_join(self, eui64: Eui64) -> None:
        await asyncio.sleep(_REPORT_S)
        update, is_sleepy = self._joining.pop(eui64)
        short_address = self._memory.shorts.get(eui64)
        if self._listener is not None and short_address is not None:
            self._listener.on_device_joined(
                JoinedDevice(
                    eui64=eui64,
                    short_address=short_address,
                    is_sleepy=is_sleepy,
                    is_rejoin=update != DeviceUpdate.UNSECURED_JOIN,
                )
            )

    # --- sending others away --------------------------------------------------------------------------

    async def remove_device(self, eui64: Eui64) -> None:
        if self._role is not NodeRole.COORDINATOR:
            raise MisuseError("only the coordinator removes devices")
        ezsp = await self._wait_open()
        theirs = bellows_eui64(ezsp.types, eui64)
        gone = self._leaving[eui64] = asyncio.Event()
        try:
            short_address = self._memory.shorts.get(eui64, _NOBODY)
            await self._ask("removeDevice", ezsp.types.EmberNodeId(short_address), theirs, theirs)
            async with asyncio.timeout(_LEAVE_WAIT_S):
                await gone.wait()
        except TimeoutError:
            pass  # it is forgotten all the same
        finally:
            del self._leaving[eui64]
        (index,) = await self._ask("findKeyTableEntry", theirs, True)
        if int(index) != NO_INDEX:
            await self._ask("eraseKeyTableEntry", index)
            self._spawn(self._sync_keys(ezsp))  # for whom there was no room
        self._memory.forget(eui64)
        if self._listener is not None:
            self._listener.on_device_left(eui64)
