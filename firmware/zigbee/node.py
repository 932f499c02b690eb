"""The shell of one node: a frame radio and a scheduler below, the HanPort face above.

Callbacks and futures only, no tasks: it runs under asyncio and on a bare `HeapScheduler` alike. A fleet or
a benchmark uses `submit`, which calls back, in place of `send`, which awaits.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from logging import getLogger
from typing import Any, ClassVar, Final

from smets1.errors import (
    ClosedError,
    DecodeError,
    EmulatorError,
    LostError,
    MisuseError,
    NoAnswerError,
    RefusedError,
)
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.nvm import Nvm
from smets1.firmware.zigbee.aps_tables import ApsConfirm, ApsStatus
from smets1.firmware.zigbee.mac_events import (
    ScanEnergy,
    SetChannel,
    SetPan,
    SetPending,
    SetReceiver,
    Transmit,
)
from smets1.firmware.zigbee.stack import ZigbeeStack
from smets1.firmware.zigbee.stack_events import (
    HanConfig,
    LeftDevice,
    LinkKeyArrived,
    NetworkDown,
    NetworkUp,
    ProcedureEnded,
)
from smets1.firmware.zigbee.zdo import ZdpAnswered
from smets1.firmware.zigbee.zdp_frames import AddressResponse, BindRequest, ZdpCluster, ZdpStatus
from smets1.hardware.clock import Scheduler, Timer
from smets1.hardware.radio import (
    BROADCAST_RX_ON,
    ApsIndication,
    ApsMessage,
    BoundTarget,
    FrameRadio,
    GroupMembers,
    HanListener,
    JoinedDevice,
    KeyOrigin,
    LinkKey,
    NetworkInfo,
    NodeRole,
    SimpleDescriptor,
    TransmitOutcome,
)

__all__ = ["HanConfig", "HanNode"]

_log = getLogger(__name__)

ZDP_WAIT_US: Final = 3_000_000
ZDP_TRIES: Final = 3
KEY_WAIT_US: Final = 5_000_000
KEY_TRIES: Final = 3

Done = Callable[[EmulatorError | None, Any], None]
"""Called once: (error or None, value)."""

_ACTIONS: Final[dict[type, Callable[[FrameRadio, Any], None]]] = {
    SetChannel: lambda radio, action: radio.set_channel(action.channel),
    SetPan: lambda radio, action: radio.set_pan(
        action.pan_id, action.short_address, coordinator=action.is_coordinator
    ),
    SetReceiver: lambda radio, action: radio.set_receiver(action.is_on),
    SetPending: lambda radio, action: radio.set_pending(action.shorts, action.extendeds),
    ScanEnergy: lambda radio, action: radio.scan_energy(action.channel, action.duration_us),
}


class HanNode:
    """Implements HanPort over a FrameRadio. `rng` makes keys, addresses and jitter."""

    __slots__ = (
        "_done",
        "_handle",
        "_is_closed",
        "_is_draining",
        "_key_waits",
        "_listener",
        "_radio",
        "_scheduler",
        "_sending",
        "_timer",
        "_timer_us",
        "_zdp",
        "stack",
    )

    def __init__(
        self,
        radio: FrameRadio,
        scheduler: Scheduler,
        nvm: Nvm,
        rng: random.Random,
        role: NodeRole,
        config: HanConfig | None = None,
    ) -> None:
        self._radio = radio
        self._scheduler = scheduler
        self._listener: HanListener | None = None
        self._is_closed = False
        self._timer: Timer | None = None
        self._timer_us = 0
        self._handle = 0
        self._done: dict[int, Done] = {}
        self._sending: dict[int, Done] = {}
        self._zdp: dict[int, Done] = {}
        self._key_waits: dict[Eui64, list[Done]] = {}
        self._is_draining = False
        self.stack = ZigbeeStack(eui64=radio.eui64, role=role, config=config or HanConfig(), nvm=nvm, rng=rng)
        radio.attach(self)
        if role is NodeRole.SLEEPY_END_DEVICE:
            self.stack.mac.update_receiver()
        self._drain()

    # --- what it is -------------------------------------------------------------------------------------

    @property
    def eui64(self) -> Eui64:
        return self.stack.eui64

    @property
    def role(self) -> NodeRole:
        return self.stack.role

    @property
    def network(self) -> NetworkInfo | None:
        return self.stack.info

    @property
    def network_key(self) -> bytes | None:
        """For key files that a decoder reads; test keys only."""
        active = self.stack.keys.active
        return None if active is None else active.key

    def attach(self, listener: HanListener) -> None:
        self._listener = listener

    def set_endpoints(self, endpoints: tuple[SimpleDescriptor, ...]) -> None:
        """What the device object answers about this node."""
        self.stack.zdo.endpoints = {descriptor.endpoint: descriptor for descriptor in endpoints}

    # --- RadioListener ----------------------------------------------------------------------------------

    def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
        if not self._is_closed:
            stack = self.stack
            stack.receive(psdu, lqi, now_us=self._scheduler.now_us())
            if stack.mac.actions or stack.events or stack.timers.has_new:  # most ask nothing of an end device
                self._drain()

    def on_transmitted(self, outcome: TransmitOutcome) -> None:
        if not self._is_closed:
            self.stack.on_transmitted(outcome, now_us=self._scheduler.now_us())
            self._drain()

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        if not self._is_closed:
            self.stack.on_energy(channel, rssi_dbm, now_us=self._scheduler.now_us())
            self._drain()

    # --- the dull part ----------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Frames down, events up, one timer. A listener may call back into us: the outer call goes on."""
        stack = self.stack
        mac, timers = stack.mac, stack.timers
        if self._is_draining or not (mac.actions or stack.events or timers.has_new):
            return
        self._is_draining = True
        try:
            while True:
                if mac.actions:
                    for action in stack.take_actions():
                        if type(action) is Transmit:
                            self._radio.transmit(action.psdu)
                        else:
                            _ACTIONS[type(action)](self._radio, action)
                elif stack.events:
                    for event in stack.take_events():
                        self._dispatch(event)
                else:
                    break
        finally:
            self._is_draining = False
        if timers.has_new:
            next_us = timers.next_timer_us()
            if next_us is not None and (self._timer is None or next_us < self._timer_us):
                self._arm(next_us)

    def _dispatch(self, event: object) -> None:
        try:
            self._handlers[type(event)](self, event)
        except LostError:
            raise  # the storage is gone: a supervisor must hear of it
        except Exception:  # a listener's bug must not stop the radio; it is reported with its traceback
            _log.exception("%s: listener failed on %s", format_eui64(self.eui64), type(event).__name__)

    def _arm(self, when_us: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_us = when_us
        self._timer = self._scheduler.call_at_us(when_us, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.stack.timers.has_new = True  # what is left is to be waited for
        if not self._is_closed:
            self.stack.on_timer(now_us=self._scheduler.now_us())
            self._drain()

    def _new_handle(self) -> int:
        if self._is_closed:
            raise ClosedError("this node is closed")
        self._handle += 1
        return self._handle

    def _wait(self, start: Callable[[int], None]) -> asyncio.Future[Any]:
        """Begin a procedure of the stack; the future ends as the procedure does."""
        handle = self._new_handle()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._done[handle] = partial(_settle, future)
        start(handle)
        self._drain()
        return future

    # --- events -----------------------------------------------------------------------------------------

    def _on_indication(self, indication: ApsIndication) -> None:
        if self._listener is not None:
            self._listener.on_message(indication)

    def _on_confirm(self, confirm: ApsConfirm) -> None:
        done = self._sending.pop(confirm.handle, None)
        if done is None:
            return
        if confirm.status is ApsStatus.SUCCESS:
            done(None, None)
        elif confirm.status is ApsStatus.ASDU_TOO_LONG:
            done(MisuseError("an APS payload too long even in fragments, or for a broadcast"), None)
        else:
            done(NoAnswerError("APS acknowledgement", confirm.attempts, confirm.waited_us), None)

    def _on_procedure_ended(self, ended: ProcedureEnded) -> None:
        done = self._done.pop(ended.handle, None)
        if done is not None:
            done(ended.error, ended.value)

    def _on_zdp_answered(self, answered: ZdpAnswered) -> None:
        done = self._zdp.pop(answered.handle, None)
        if done is not None:
            done(None, answered.payload)

    def _on_network_up(self, event: NetworkUp) -> None:
        _log.info(
            "%s: on channel %d as 0x%04X",
            format_eui64(self.eui64),
            event.info.channel,
            event.info.short_address,
        )
        if self._listener is not None:
            self._listener.on_network_up(event.info)

    def _on_network_down(self, event: NetworkDown) -> None:
        _log.info("%s: off the network: %s", format_eui64(self.eui64), event.reason)
        if self._listener is not None:
            self._listener.on_network_down(event.reason)

    def _on_joined(self, device: JoinedDevice) -> None:
        _log.info("%s: joined as 0x%04X", format_eui64(device.eui64), device.short_address)
        if self._listener is not None:
            self._listener.on_device_joined(device)

    def _on_left(self, event: LeftDevice) -> None:
        if self._listener is not None:
            self._listener.on_device_left(event.eui64)

    def _on_key_arrived(self, event: LinkKeyArrived) -> None:
        for done in self._key_waits.pop(event.key.partner, ()):
            done(None, event.key)
        if self._listener is not None:
            self._listener.on_link_key(event.key)

    # --- HanPort: coming and going ------------------------------------------------------------------------

    async def start(self) -> bool:
        """Power up. True where NVM held a network: the node is back, or looks for its parent by itself."""
        handle = self._new_handle()
        is_known = self.stack.restore(handle, now_us=self._scheduler.now_us())
        self._drain()
        return is_known

    async def form(self) -> NetworkInfo:
        if self.role is not NodeRole.COORDINATOR:
            raise MisuseError("only a coordinator forms a network")
        await self._wait(lambda handle: self.stack.form(handle, now_us=self._scheduler.now_us()))
        return self._info()

    async def join(self, link_key: LinkKey) -> NetworkInfo:
        if self.role is NodeRole.COORDINATOR:
            raise MisuseError("a coordinator forms a network, it does not join one")
        if self.stack.info is not None:
            raise MisuseError("leave the network before joining another")
        await self._wait(lambda handle: self.stack.join(link_key, handle, now_us=self._scheduler.now_us()))
        return self._info()

    def _info(self) -> NetworkInfo:
        info = self.stack.info
        assert info is not None
        return info

    async def permit_join(self, duration_s: int) -> None:
        self._new_handle()
        self.stack.permit_join(duration_s, now_us=self._scheduler.now_us())
        self._drain()

    async def remove_device(self, eui64: Eui64) -> None:
        if self.role is not NodeRole.COORDINATOR:
            raise MisuseError("only the coordinator removes devices")
        await self._wait(
            lambda handle: self.stack.remove_device(eui64, handle, now_us=self._scheduler.now_us())
        )

    async def leave(self) -> None:
        await self._wait(lambda handle: self.stack.leave(handle, now_us=self._scheduler.now_us()))

    def rejoin(self) -> None:
        """The trust centre does not answer (Smart Energy keep-alive): look for the network again."""
        self.stack.rejoin(now_us=self._scheduler.now_us())
        self._drain()

    async def update_network_key(self) -> None:
        """Coordinator: a new network key for all; the switch follows some seconds later by itself."""
        if self.stack.trust_centre is None:
            raise MisuseError("only the coordinator changes the network key")
        now_us = self._scheduler.now_us()
        self.stack.trust_centre.update_network_key(now_us)
        self.stack.settle(now_us)
        self._drain()

    def change_channel(self, channel: int) -> None:
        """Coordinator: move the whole network, some seconds from now; sleepers look for it and come after."""
        if self.role is not NodeRole.COORDINATOR or channel not in self.stack.channels:
            raise MisuseError("only the coordinator changes the channel, to one that it may use")
        self.stack.change_channel(channel, now_us=self._scheduler.now_us())
        self._drain()

    async def close(self) -> None:
        """Power off, in order: counters flushed, radio closed, whoever waits is told."""
        if self._is_closed:
            return
        try:
            self.stack.flush()
        finally:
            self.power_off()

    def power_off(self) -> None:
        """Like pulling the plug: nothing is flushed, nobody on the air is told."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._radio.close()
        waiting = [*self._done.values(), *self._sending.values(), *self._zdp.values()]
        waiting += [done for waits in self._key_waits.values() for done in waits]
        for table in (self._done, self._sending, self._zdp, self._key_waits):
            table.clear()
        for done in waiting:
            done(NoAnswerError("the node was switched off"), None)

    # --- HanPort: data ------------------------------------------------------------------------------------

    def submit(self, message: ApsMessage, done: Done | None = None) -> None:
        """`send` without asyncio. Raises SecurityError at once; any other outcome goes to `done`."""
        handle = self._new_handle()
        if done is not None:
            self._sending[handle] = done
        try:
            self.stack.submit(message, handle if done is not None else 0, now_us=self._scheduler.now_us())
        except EmulatorError:
            self._sending.pop(handle, None)
            raise
        if not self._is_draining:
            self._drain()

    async def send(self, message: ApsMessage) -> None:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.submit(message, partial(_settle, future))
        await future

    async def find_short(self, eui64: Eui64, *, anew: bool = False) -> int:
        short_address = self.stack.nwk.shorts.get(eui64)
        if short_address is not None and not anew:
            return short_address
        payload = eui64.to_bytes(8, "little") + b"\0\0"
        octets = await self.ask_zdp(BROADCAST_RX_ON, ZdpCluster.NWK_ADDR_REQ, payload)
        try:
            answer = AddressResponse.decode(octets)
        except DecodeError:
            raise NoAnswerError("NWK_addr_req: a malformed answer") from None
        if answer.status or answer.eui64 != eui64 or answer.short_address >= 0xFFF8:
            raise NoAnswerError("NWK_addr_req: not on the network")
        self.stack.nwk.learn_address(answer.short_address, eui64)
        self.stack.settle(self._scheduler.now_us())
        self._drain()
        return answer.short_address

    def known_short(self, eui64: Eui64) -> int | None:
        return self.stack.nwk.shorts.get(eui64)

    def known_eui64(self, short_address: int) -> Eui64 | None:
        return self.stack.nwk.addresses.get(short_address)

    @property
    def group_members(self) -> GroupMembers:
        return self.stack.aps.groups

    def bound_targets(self, endpoint: int, cluster_id: int) -> list[BoundTarget]:
        targets = []
        for binding in self.stack.zdo.bindings.of(endpoint, cluster_id):
            if binding.destination is None:
                targets.append(BoundTarget(group=binding.group))
                continue
            short_address = self.known_short(binding.destination)
            if short_address is not None:
                targets.append(
                    BoundTarget(short_address=short_address, endpoint=binding.destination_endpoint)
                )
        return targets

    def keyed_partners(self) -> list[int]:
        entries = self.stack.keys.links.values()
        partners = [entry.partner for entry in entries if entry.origin is not KeyOrigin.INSTALL_CODE]
        return sorted(short for partner in partners if (short := self.known_short(partner)) is not None)

    async def bind(self, peer: Eui64, peer_endpoint: int, cluster_id: int, endpoint: int) -> None:
        request = BindRequest(
            source=peer,
            source_endpoint=peer_endpoint,
            cluster_id=cluster_id,
            destination=self.eui64,
            destination_endpoint=endpoint,
        )
        short_address = await self.find_short(peer)
        answer = await self.ask_zdp(short_address, ZdpCluster.BIND_REQ, request.encode())
        if not answer or answer[0]:
            raise RefusedError(answer[0] if answer else ZdpStatus.NOT_SUPPORTED, "the binding was refused")

    async def ask_zdp(self, destination: int, cluster_id: int, payload: bytes) -> bytes:
        """A ZDP request -> the answer's octets after the transaction number. Raises NoAnswerError."""
        for _ in range(ZDP_TRIES):
            handle = self._new_handle()
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._zdp[handle] = partial(_settle, future)
            now_us = self._scheduler.now_us()
            self.stack.ask_zdp(destination, cluster_id, payload, handle, now_us=now_us)
            self._scheduler.call_at_us(now_us + ZDP_WAIT_US, self._on_zdp_timeout, handle)
            self._drain()
            try:
                return bytes(await future)
            except NoAnswerError:
                continue
        raise NoAnswerError(f"ZDP request 0x{cluster_id:04X}", ZDP_TRIES, ZDP_TRIES * ZDP_WAIT_US)

    def _on_zdp_timeout(self, handle: int) -> None:
        done = self._zdp.pop(handle, None)
        if done is not None:
            self.stack.zdo.forget(handle)
            done(NoAnswerError("ZDP request"), None)

    # --- HanPort: keys ------------------------------------------------------------------------------------

    def set_link_key(self, key: LinkKey) -> None:
        self.stack.keys.set_link_key(key.partner, key.key, key.origin)

    def link_key(self, partner: Eui64) -> LinkKey | None:
        return self.stack.keys.link_key(partner)

    async def request_partner_key(self, partner: Eui64) -> LinkKey:
        for _ in range(KEY_TRIES):
            self._new_handle()
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            done = partial(_settle, future)
            self._key_waits.setdefault(partner, []).append(done)
            now_us = self._scheduler.now_us()
            if not self.stack.request_partner_key(partner, now_us=now_us):
                self._key_waits.pop(partner, None)
                raise NoAnswerError("partner key: no established key with the trust centre to ask under")
            self._scheduler.call_at_us(now_us + KEY_WAIT_US, self._on_key_timeout, partner, done)
            self._drain()
            try:
                key = await future
            except NoAnswerError:
                continue
            assert isinstance(key, LinkKey)
            return key
        raise NoAnswerError("partner key", KEY_TRIES, KEY_TRIES * KEY_WAIT_US)

    def _on_key_timeout(self, partner: Eui64, done: Done) -> None:
        waits = self._key_waits.get(partner, [])
        if done in waits:
            waits.remove(done)
            if not waits:
                del self._key_waits[partner]
            done(NoAnswerError("partner key"), None)

    # --- HanPort: sleeping --------------------------------------------------------------------------------

    def set_poll_interval(self, interval_us: int | None) -> None:
        self.stack.set_poll_interval(interval_us, now_us=self._scheduler.now_us())
        self._drain()

    async def poll(self) -> bool:
        return bool(await self._wait(lambda handle: self.stack.poll(handle, now_us=self._scheduler.now_us())))

    # --- who takes what: one table for all nodes ----------------------------------------------------------

    _handlers: ClassVar[dict[type, Callable[..., None]]] = {
        ApsIndication: _on_indication,
        ApsConfirm: _on_confirm,
        ProcedureEnded: _on_procedure_ended,
        ZdpAnswered: _on_zdp_answered,
        NetworkUp: _on_network_up,
        NetworkDown: _on_network_down,
        JoinedDevice: _on_joined,
        LeftDevice: _on_left,
        LinkKeyArrived: _on_key_arrived,
    }


def _settle(future: asyncio.Future[Any], error: EmulatorError | None, value: Any) -> None:
    if future.done():
        return  # whoever waited has given up
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
