"""A node whose network layer is on an EZSP stick, as a `HanPort` (radio spec `ezsp:`).

Key establishment and all above it run here; the keys it ends in are put into the stick. Long messages are cut
and joined here. The device's EUI-64 is the stick's. One device a stick.

    radio = EzspRadio(open_pipe("/dev/ttyUSB0@115200"), eui64, loop, nvm, NodeRole.ROUTER)

Source: Silicon Labs UG100; Zigbee 05-3474-21, 2.4 (device object). Left out: fragments in windows of more
than one block, network keys changed from here (the stick follows those of others), messages of the
install-code key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from typing import Any, Final

from smets1.errors import MisuseError, NoAnswerError, RefusedError, SecurityError
from smets1.eui64 import Eui64, format_eui64
from smets1.hardware.ezsp.fragments import MAX_BLOCKS, Collector, cut
from smets1.hardware.ezsp.joining import EzspJoining
from smets1.hardware.ezsp.modem import BINDING_TABLE_SIZE, bellows_eui64, plain_eui64, status_of
from smets1.hardware.ezsp.schema import Values
from smets1.hardware.ezsp.statuses import ApsOption, BindingType, EventUnits, IncomingType, KeyEvent, Status
from smets1.hardware.radio import (
    BROADCAST_ROUTERS,
    BROADCAST_RX_ON,
    ApsIndication,
    ApsMessage,
    ApsSecurity,
    BoundTarget,
    GroupMembers,
    HanListener,
    KeyOrigin,
    LinkKey,
    NetworkInfo,
    NodeRole,
    SimpleDescriptor,
    channel_mask,
    zdp_message,
)

__all__ = ["EzspRadio"]

_log = getLogger(__name__)
_SENT_WAIT_S: Final = 60.0  # three repeats to a device that sleeps
_QUIET_WAIT_S: Final = 1.0
_QUIET_LOOK_S: Final = 0.01
_BROADCAST_OUT_US: Final = 64_000 + 3 * 500_000 + 36_000  # jitter, three times with a wait each, the channel
_ZDP_WAIT_S: Final = 3.0
_ZDP_TRIES: Final = 3
_KEY_WAIT_S: Final = 6.0
_KEY_TRIES: Final = 3
_ACK_WINDOW: Final = 0xFF00
_NWK_ADDR_REQ, _BIND_REQ, _UNBIND_REQ = 0x0000, 0x0021, 0x0022
_DEVICE_ANNCE: Final = 0x0013
_RESPONSE: Final = 0x8000
_NEVER: Final = (0xFFFF, EventUnits.MINUTES)  # 45 days: a stick has no word for it
_ADDRESS_ENTRIES: Final = 16
_RX_ON: Final = 0x08
_MGMT_PERMIT: Final = 0x0036


class EzspRadio(EzspJoining):
    """Implements `HanPort`. Methods that need the stick raise NoAnswerError while it is not there."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """As `EzspModem`."""
        super().__init__(*args, **options)
        self._collector = Collector()
        self._tag = 0
        self._sent: dict[int, asyncio.Future[Status]] = {}
        self._asked: dict[tuple[int, int], asyncio.Future[bytes]] = {}
        self._transaction = 0
        self._polls: list[asyncio.Future[Status]] = []
        self._key_waits: dict[Eui64, list[asyncio.Future[LinkKey]]] = {}
        self._bindings: list[Any] = []
        self._imports: list[asyncio.Task[None]] = []
        self._told_addresses: dict[Eui64, int] = {}
        self._broadcasts_out_us = 0  # until then the stick may have one to send or to repeat
        self._may_send = asyncio.Event()
        self._may_send.set()

    # --- what it is -----------------------------------------------------------------------------------

    @property
    def eui64(self) -> Eui64:
        return self._eui64

    @property
    def role(self) -> NodeRole:
        return self._role

    @property
    def network(self) -> NetworkInfo | None:
        return self._info

    @property
    def network_key(self) -> bytes | None:
        return self._network_key

    @property
    def group_members(self) -> GroupMembers:
        return self._groups

    def attach(self, listener: HanListener) -> None:
        self._listener = listener

    def set_endpoints(self, endpoints: tuple[SimpleDescriptor, ...]) -> None:
        """A stick on a network takes no new ones: it is reset, and is back a moment later."""
        if endpoints == self._endpoints:
            return
        self._endpoints = endpoints
        if self._is_open and self._may_send.is_set():
            self._may_send.clear()
            self._spawn(self._restart_when_quiet())

    async def _restart_when_quiet(self) -> None:
        """What is under way may come to its end; what is new waits for the stick to be back.

        A stick calls a broadcast sent when it has taken it: on the air it is a little later, and repeated.
        """
        waited_s = 0.0
        while self._sent and waited_s < _QUIET_WAIT_S:
            await asyncio.sleep(_QUIET_LOOK_S)
            waited_s += _QUIET_LOOK_S
        left_us = self._broadcasts_out_us - self._scheduler.now_us()
        if left_us > 0:
            await asyncio.sleep(left_us / 1_000_000)
        if self._is_open:
            self._restart()
        self._may_send.set()

    # --- HanPort: coming and going --------------------------------------------------------------------

    async def leave(self) -> None:
        ezsp = await self._wait_open()
        await self._guarded("leaveNetwork", ezsp.leaveNetwork())
        self._info = None
        self._memory.clear()

    def rejoin(self) -> None:
        if self._info is not None and self._is_open:
            self._spawn(self._find_network())

    async def _find_network(self) -> None:
        more = (0, 0) if self._line.ezsp.ezsp_version >= 14 else ()
        self._is_down = True
        self._tell_down("looking for the network again")
        await self._ask("findAndRejoinNetwork", True, channel_mask(self._config.channels), *more)

    async def close(self) -> None:
        """Power off, in order."""
        self.power_off()

    def power_off(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._is_open = False
        for task in list(self._tasks):
            task.cancel()
        self._line.close()
        self._on_stick_lost()

    def _on_stick_lost(self) -> None:
        waiting: list[asyncio.Future[Any]] = [*self._sent.values(), *self._asked.values(), *self._polls]
        waiting += [future for waits in self._key_waits.values() for future in waits]
        self._told_addresses.clear()
        for future in waiting:
            self._fail(future)
        super()._on_stick_lost()

    # --- HanPort: data --------------------------------------------------------------------------------

    async def send(self, message: ApsMessage) -> None:
        await self._may_send.wait()
        ezsp = await self._wait_open()
        if self._info is None or self._is_down:
            raise NoAnswerError("not on a network")
        if message.is_secured:
            await self._tell_address(ezsp, self._partner_at(message.destination), message.destination)
        while self._imports:  # the stick must have the key before it can use it
            await asyncio.wait(self._imports)
        blocks = cut(message.payload, is_secured=message.is_secured)
        if len(blocks) == 1 or message.destination >= 0xFFF8:
            if len(blocks) > 1:
                raise MisuseError("an APS payload too long for a broadcast")
            await self._send_frame(ezsp, message, self._frame(ezsp, message), message.payload)
            return
        if len(blocks) > MAX_BLOCKS:
            raise MisuseError("an APS payload too long even in fragments")
        frame = self._frame(ezsp, message)
        frame.options |= ApsOption.FRAGMENT | ApsOption.RETRY
        for number, block in enumerate(blocks):
            frame.groupId = number or len(blocks) << 8
            frame.sequence = await self._send_frame(ezsp, message, frame, block)

    def _partner_at(self, destination: int) -> Eui64:
        """Whose link key protects what goes there. Raises SecurityError where there is none."""
        partner = self._memory.addresses.get(destination)
        key = None if partner is None else self._memory.keys.get(partner)
        if partner is None or key is None or key.origin is KeyOrigin.INSTALL_CODE:
            raise SecurityError(f"no link key for application traffic with 0x{destination:04X}")
        return partner

    async def _tell_address(self, ezsp: Any, partner: Eui64, short_address: int) -> None:
        """The stick finds keys by EUI-64: it must know who is at an address that only we have asked for."""
        if self._told_addresses.get(partner) == short_address:
            return
        theirs = bellows_eui64(ezsp.types, partner)
        *_, known = await self._ask("lookupNodeIdByEui64", theirs)
        if int(known) != short_address:
            index = len(self._told_addresses) % _ADDRESS_ENTRIES
            await self._ask("replaceAddressTableEntry", index, theirs, short_address, False)
        self._told_addresses[partner] = short_address

    def _frame(self, ezsp: Any, message: ApsMessage) -> Any:
        options = ApsOption.ENABLE_ROUTE_DISCOVERY | ApsOption.ENABLE_ADDRESS_DISCOVERY
        options |= ApsOption.ENCRYPTION if message.is_secured else ApsOption.NONE
        options |= ApsOption.RETRY if message.wants_ack and message.destination < 0xFFF8 else ApsOption.NONE
        return ezsp.types.EmberApsFrame(
            profileId=message.profile_id,
            clusterId=message.cluster_id,
            sourceEndpoint=message.source_endpoint,
            destinationEndpoint=message.destination_endpoint,
            options=ezsp.types.EmberApsOption(int(options)),
            groupId=message.group or 0,
            sequence=0,
        )

    async def _send_frame(self, ezsp: Any, message: ApsMessage, frame: Any, octets: bytes) -> int:
        """Until the stick says how it went; the APS counter that it got."""
        tag = self._new_tag()
        future: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self._sent[tag] = future
        try:
            async with asyncio.timeout(_SENT_WAIT_S):
                answer = await self._guarded("send", self._submit(ezsp, message, frame, tag, octets))
                status, sequence = status_of(answer[0]), int(answer[1])
                if status is Status.SUCCESS:
                    status = await future
        except TimeoutError:
            raise NoAnswerError("messageSentHandler", 1, int(_SENT_WAIT_S * 1e6)) from None
        finally:
            del self._sent[tag]
        if status is Status.APS_ENCRYPTION_ERROR:
            raise SecurityError(f"the stick has no link key with 0x{message.destination:04X}")
        if status is Status.MESSAGE_TOO_LONG:
            raise MisuseError("an APS payload too long for the stick")
        if status is not Status.SUCCESS:
            raise NoAnswerError(f"APS acknowledgement ({status.name})")
        if message.group is not None or message.destination >= 0xFFF8:
            self._broadcasts_out_us = self._scheduler.now_us() + _BROADCAST_OUT_US
        return sequence

    async def _submit(self, ezsp: Any, message: ApsMessage, frame: Any, tag: int, octets: bytes) -> Any:
        if message.group is not None:
            return await ezsp.send_multicast(frame, 0, 3, tag, octets)
        if message.destination >= 0xFFF8:
            destination = ezsp.types.BroadcastAddress(message.destination)
            return await ezsp.send_broadcast(destination, frame, 0, tag, 0, octets)
        return await ezsp.send_unicast(ezsp.types.NWK(message.destination), frame, tag, octets)

    def _new_tag(self) -> int:
        """1..255, not that of a message that is still under way."""
        for _ in range(255):
            self._tag = self._tag % 255 + 1
            if self._tag not in self._sent:
                return self._tag
        raise NoAnswerError("255 messages are under way")

    # --- HanPort: addresses ---------------------------------------------------------------------------

    def known_eui64(self, short_address: int) -> Eui64 | None:
        return self._memory.addresses.get(short_address)

    def known_short(self, eui64: Eui64) -> int | None:
        return self._memory.shorts.get(eui64)

    async def find_short(self, eui64: Eui64, *, anew: bool = False) -> int:
        known = self._memory.shorts.get(eui64)
        if known is not None and not anew:
            return known
        answer = await self._ask_zdp(BROADCAST_RX_ON, _NWK_ADDR_REQ, eui64.to_bytes(8, "little") + b"\0\0")
        short_address = int.from_bytes(answer[9:11], "little")
        is_theirs = answer[1:9] == eui64.to_bytes(8, "little")
        if len(answer) < 11 or answer[0] or not is_theirs or short_address >= 0xFFF8:
            raise NoAnswerError("NWK_addr_req: not on the network")
        self._memory.learn(eui64, short_address)
        return short_address

    async def _ask_zdp(self, destination: int, cluster_id: int, payload: bytes) -> bytes:
        """A device object request -> its answer after the transaction number. Raises NoAnswerError."""
        for _ in range(_ZDP_TRIES):
            transaction = self._next_transaction()
            future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._asked[cluster_id | _RESPONSE, transaction] = future
            message = zdp_message(destination, cluster_id, bytes((transaction,)) + payload)
            try:
                async with asyncio.timeout(_ZDP_WAIT_S):
                    await self.send(message)
                    return await future
            except (NoAnswerError, TimeoutError):
                await self._wait_open()
            finally:
                self._asked.pop((cluster_id | _RESPONSE, transaction), None)
        raise NoAnswerError(f"ZDP request 0x{cluster_id:04X}", _ZDP_TRIES)

    def _next_transaction(self) -> int:
        self._transaction = self._transaction + 1 & 0xFF
        return self._transaction

    async def _tell_permit(self, duration_s: int) -> None:
        """Mgmt_Permit_Joining_req, to all routers."""
        payload = bytes((self._next_transaction(), duration_s, 1))
        await self.send(zdp_message(BROADCAST_ROUTERS, _MGMT_PERMIT, payload))

    # --- HanPort: bindings, which the stick keeps -----------------------------------------------------

    def bound_targets(self, endpoint: int, cluster_id: int) -> list[BoundTarget]:
        targets = []
        for entry in self._bindings:
            if (int(entry.local), int(entry.clusterId)) != (endpoint, cluster_id):
                continue
            identifier = plain_eui64(entry.identifier)
            if int(entry.type) == BindingType.MULTICAST:
                targets.append(BoundTarget(group=identifier & 0xFFFF))
                continue
            short_address = self.known_short(identifier)
            if short_address is not None:
                targets.append(BoundTarget(short_address=short_address, endpoint=int(entry.remote)))
        return targets

    def keyed_partners(self) -> list[int]:
        return []  # EZSP sends to a group by broadcast only: no report under link keys reaches one

    async def _read_bindings(self) -> None:
        entries = []
        for index in range(BINDING_TABLE_SIZE):
            status, entry = await self._ask("getBinding", index)
            if status_of(status) is not Status.SUCCESS:
                break
            if int(entry.type) in (BindingType.UNICAST, BindingType.MULTICAST):
                entries.append(entry)
        self._bindings = entries

    async def bind(self, peer: Eui64, peer_endpoint: int, cluster_id: int, endpoint: int) -> None:
        request = (
            peer.to_bytes(8, "little")
            + bytes((peer_endpoint,))
            + cluster_id.to_bytes(2, "little")
            + b"\x03"
            + self._eui64.to_bytes(8, "little")
            + bytes((endpoint,))
        )
        answer = await self._ask_zdp(await self.find_short(peer), _BIND_REQ, request)
        if not answer or answer[0]:
            raise RefusedError(answer[0] if answer else 0xFF, "Bind_req")

    # --- HanPort: keys --------------------------------------------------------------------------------

    def set_link_key(self, key: LinkKey) -> None:
        self._memory.set_key(key)
        if key.origin is KeyOrigin.INSTALL_CODE:
            return  # the stick hears of it when devices may join
        self._unsynced[key.partner] = None
        if self._is_open and self._info is not None:
            task = self._spawn(self._import(key))
            self._imports.append(task)
            task.add_done_callback(self._imports.remove)

    async def _import(self, key: LinkKey) -> None:
        try:
            await self._guarded("importLinkKey", self._put_key(self._line.ezsp, key))
        except RefusedError as error:
            _log.error("%s: %s", format_eui64(self._eui64), error)
            return  # tried again when the stick is opened, or a device is removed
        self._unsynced.pop(key.partner, None)

    def link_key(self, partner: Eui64) -> LinkKey | None:
        return self._memory.keys.get(partner)

    async def request_partner_key(self, partner: Eui64) -> LinkKey:
        ezsp = await self._wait_open()
        theirs = bellows_eui64(ezsp.types, partner)
        for _ in range(_KEY_TRIES):
            future: asyncio.Future[LinkKey] = asyncio.get_running_loop().create_future()
            with _waiting(self._key_waits.setdefault(partner, []), future):
                (status,) = await self._ask("requestLinkKey", theirs)
                if status_of(status) is not Status.SUCCESS:
                    raise NoAnswerError("partner key: no established key with the trust centre to ask under")
                try:
                    async with asyncio.timeout(_KEY_WAIT_S):
                        return await future
                except TimeoutError:
                    continue
        raise NoAnswerError("partner key", _KEY_TRIES, int(_KEY_TRIES * _KEY_WAIT_S * 1e6))

    async def _on_key_event(self, partner: Eui64, event: int) -> None:
        if event != KeyEvent.APP_LINK_KEY_ESTABLISHED:
            return
        ezsp = self._line.ezsp
        theirs = bellows_eui64(ezsp.types, partner)
        answer = await self._ask("exportLinkKeyByEui", theirs)
        data = next((bytes(v.serialize()) for v in answer if type(v).__name__ == "KeyData"), None)
        if data is None:
            return
        key = LinkKey(partner=partner, key=data, origin=KeyOrigin.PARTNER)
        self._memory.set_key(key)
        for future in self._key_waits.get(partner, ()):
            if not future.done():
                future.set_result(key)
        if self._listener is not None:
            self._listener.on_link_key(key)

    # --- HanPort: sleeping ----------------------------------------------------------------------------

    def set_poll_interval(self, interval_us: int | None) -> None:
        self._poll_interval_us = interval_us
        if self._is_open and self._info is not None:
            self._spawn(self._put_poll_interval(self._line.ezsp))

    async def _put_poll_interval(self, ezsp: Any) -> None:
        if self._role is not NodeRole.SLEEPY_END_DEVICE:
            return
        interval, units = _NEVER
        if self._poll_interval_us is not None:
            interval, units = self._poll_interval_us // 1_000, EventUnits.MILLISECONDS
            if interval > 0xFFFF:
                interval, units = min(interval // 250, 0xFFFF), EventUnits.QUARTER_SECONDS
        # not bellows' pollForData, which waits for the end of a poll
        await ezsp._command("pollForData", interval, ezsp.types.EmberEventUnits(int(units)), 3)

    async def poll(self) -> bool:
        ezsp = await self._wait_open()
        future: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        with _waiting(self._polls, future):
            inactive = ezsp.types.EmberEventUnits(int(EventUnits.INACTIVE))
            (status,) = await self._ask("pollForData", 0, inactive, 1)
            if status_of(status) is not Status.SUCCESS:
                raise NoAnswerError("the stick does not poll")
            try:
                async with asyncio.timeout(_ZDP_WAIT_S):
                    ended = await future
            except TimeoutError:
                raise NoAnswerError("pollCompleteHandler") from None
        if ended not in (Status.SUCCESS, Status.MAC_NO_DATA):
            raise NoAnswerError("the parent does not answer a poll")
        return ended is Status.SUCCESS

    # --- what the stick tells -------------------------------------------------------------------------

    async def _on_callback(self, name: str, args: Any) -> None:
        match name:
            case "message" if args["aps"]["options"] & ApsOption.FRAGMENT:
                await self._take_block(args)
            case "message":
                await self._take(args)
            case "messageSentHandler":
                self._on_sent(list(args))
            case "pollCompleteHandler":
                if self._polls and not self._polls[0].done():
                    self._polls[0].set_result(status_of(args[0]))
            case "zigbeeKeyEstablishmentHandler":
                await self._on_key_event(plain_eui64(args[0]), int(args[1]))
            case _:
                await super()._on_callback(name, args)

    def _on_sent(self, args: list[Any]) -> None:
        if self._line.ezsp.ezsp_version >= 14:
            status, _, _, _, tag, _ = args
        else:
            _, _, _, tag, status, _ = args
        future = self._sent.get(int(tag))
        if future is not None and not future.done():
            future.set_result(status_of(status))

    async def _take(self, values: Values) -> None:
        """A whole message, off the air or joined from its blocks."""
        aps, sender = values["aps"], values["sender"]
        if values.get("eui64"):
            self._memory.learn(values["eui64"], sender)
        elif self._memory.addresses.get(sender) is None:
            await self._look_up(sender)
        if aps["profile_id"] == 0 and aps["destination_endpoint"] == 0:
            self._on_zdp(sender, aps["cluster_id"], values["message"])
            return
        eui64 = self._memory.addresses.get(sender)
        security = self._security_of(aps["options"], eui64)
        kind = values["kind"]
        endpoints = [aps["destination_endpoint"]]
        if kind == IncomingType.MULTICAST:
            endpoints = self._groups.endpoints(aps["group_id"])
        if kind > IncomingType.BROADCAST or security is ApsSecurity.INSTALL_CODE_KEY:
            return  # our own voice, or a key that protects no application traffic
        for endpoint in endpoints:
            indication = ApsIndication(
                source=sender,
                source_eui64=eui64,
                source_endpoint=aps["source_endpoint"],
                destination_endpoint=endpoint,
                cluster_id=aps["cluster_id"],
                profile_id=aps["profile_id"],
                payload=values["message"],
                security=security,
                is_broadcast=kind != IncomingType.UNICAST,
                lqi=values["lqi"],
            )
            if self._listener is not None:
                self._listener.on_message(indication)

    def _security_of(self, options: int, eui64: Eui64 | None) -> ApsSecurity:
        """The stick says that a link key protected it; which one it was we know."""
        if not options & ApsOption.ENCRYPTION:
            return ApsSecurity.NETWORK_KEY
        key = None if eui64 is None else self._memory.keys.get(eui64)
        is_ours = key is not None and key.origin is not KeyOrigin.INSTALL_CODE
        return ApsSecurity.LINK_KEY if is_ours else ApsSecurity.INSTALL_CODE_KEY

    async def _look_up(self, short_address: int) -> None:
        status, theirs = await self._ask("lookupEui64ByNodeId", short_address)
        if status_of(status) is Status.SUCCESS:
            self._memory.learn(plain_eui64(theirs), short_address)

    def _on_zdp(self, sender: int, cluster_id: int, octets: bytes) -> None:
        """An answer to a question of ours, or news; questions to us the stick answers itself."""
        if not octets:
            return
        future = self._asked.get((cluster_id, octets[0]))
        if future is not None and not future.done():
            future.set_result(octets[1:])
        elif cluster_id == _DEVICE_ANNCE and len(octets) >= 12:
            eui64 = int.from_bytes(octets[3:11], "little")
            self._memory.learn(eui64, int.from_bytes(octets[1:3], "little"))
            self._note_announced(eui64, is_sleepy=not octets[11] & _RX_ON)
        elif cluster_id in (_BIND_REQ, _UNBIND_REQ):
            self._spawn(self._read_bindings())

    # --- blocks ---------------------------------------------------------------------------------------

    async def _take_block(self, values: Values) -> None:
        aps, sender = values["aps"], values["sender"]
        is_taken, whole = self._collector.add(
            sender,
            aps["sequence"],
            aps["group_id"],
            values["message"],
            now_us=self._scheduler.now_us(),
        )
        if not is_taken:
            return
        types = self._line.ezsp.types
        answer = types.EmberApsFrame(
            profileId=aps["profile_id"],
            clusterId=aps["cluster_id"],
            sourceEndpoint=aps["destination_endpoint"],
            destinationEndpoint=aps["source_endpoint"],
            options=types.EmberApsOption(aps["options"]),
            groupId=_ACK_WINDOW | aps["group_id"] & 0xFF,
            sequence=aps["sequence"],
        )
        await self._ask("sendReply", types.EmberNodeId(sender), answer, b"")
        if whole is not None:
            await self._take({**values, "message": whole})


@contextmanager
def _waiting(waits: list[Any], future: asyncio.Future[Any]) -> Iterator[None]:
    waits.append(future)
    try:
        yield
    finally:
        waits.remove(future)
