"""Networking on the stick: form, join, come back, leave, scan, permit; who is a child and a neighbour."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from smets1.errors import EmulatorError, NoAnswerError
from smets1.eui64 import Eui64
from smets1.firmware.zigbee.nwk import FIRST_BROADCAST
from smets1.firmware.zigbee.nwk_events import EnergyFound, NetworksFound
from smets1.firmware.zigbee.nwk_tables import Neighbour
from smets1.firmware.zigbee.stack_events import (
    HanConfig,
    LeftDevice,
    NetworkDown,
    NetworkUp,
    ProcedureEnded,
)
from smets1.firmware.zigbee.zdo import CHANGE_CHANNEL, MAX_SCAN_COUNT, MAX_SCAN_EXPONENT
from smets1.hardware.ezsp.schema import Values
from smets1.hardware.ezsp.statuses import (
    NODE_TYPES,
    DeviceUpdate,
    EmberNodeType,
    EventUnits,
    JoinDecision,
    NetworkStatus,
    SecurityBit,
    Status,
)
from smets1.hardware.radio import (
    CHANNELS,
    COORDINATOR,
    JoinedDevice,
    KeyOrigin,
    LinkKey,
    NodeRole,
    channel_mask,
    channels_in,
)
from smets1.tools.dongle.ezsp_core import Answer, Answers
from smets1.tools.dongle.ezsp_settings import Counter, EzspSettings
from smets1.tools.dongle.ezsp_stack import Moved

__all__ = ["EzspNetwork"]

_CHANNELS: Final = tuple(CHANNELS)
_NO_NODE: Final = 0xFFFE
_NOBODY: Final = 0xFFFF
_MAX_PERMIT_S: Final = 254
_ROLES: Final = {kind: role for role, kind in NODE_TYPES.items()}
_UNIT_US: Final = {
    EventUnits.MILLISECONDS: 1_000,
    EventUnits.QUARTER_SECONDS: 250_000,
    EventUnits.MINUTES: 60_000_000,
}
_NO_NETWORK: Final[Values] = {
    "extended_pan_id": 0,
    "pan_id": 0xFFFF,
    "power_dbm": 0,
    "channel": 0,
    "join_method": 0,
    "manager": 0,
    "update_id": 0,
    "channels": 0,
}
_NO_CHILD: Final[Values] = {
    "eui64": 0,
    "node_type": 0,
    "short_address": _NOBODY,
    "phy": 0,
    "power": 0,
    "timeout": 0,
    "remaining": 0,
}


class EzspNetwork(EzspSettings):
    def _forget(self) -> None:
        self._security: Values | None = None
        self._power_dbm = 8
        self._is_joining = False
        self._is_leaving = False
        self._is_scanning = False
        self._permits = 0
        super()._forget()

    def may_join(self, eui64: Eui64) -> bool:
        raise NotImplementedError

    # --- security state, before a network -------------------------------------------------------------

    def _set_security(self, state: Values) -> Answer:
        if self.stack.info is not None:
            return {"status": Status.INVALID_CALL}
        self._security = state
        return {"status": Status.SUCCESS}

    # --- form, join, come back, leave -----------------------------------------------------------------

    def _form(self, parameters: Values) -> Answer:
        security = self._security
        if self.stack.info is not None or self._is_joining:
            return {"status": Status.INVALID_CALL}
        if security is None or not security["bitmask"] & SecurityBit.HAVE_NETWORK_KEY:
            return {"status": Status.SECURITY_STATE_NOT_SET}
        if parameters["channel"] not in _CHANNELS:
            return {"status": Status.BAD_ARGUMENT}
        config = HanConfig(
            channels=(parameters["channel"],),
            extended_pan_id=parameters["extended_pan_id"] or None,
            pan_id=parameters["pan_id"] if parameters["pan_id"] != 0xFFFF else None,
            network_key=security["network_key"],
            may_join=self.may_join,
            endpoints=tuple(self.endpoints.values()),
        )
        self._is_joining = True
        self._make_stack(NodeRole.COORDINATOR, config)
        self._keep_security(security)
        self._store_role(NodeRole.COORDINATOR)
        handle = self._new_handle(lambda ended: self._on_formed(parameters["update_id"]))
        self.stack.form(handle, now_us=self._now_us)
        return {"status": Status.SUCCESS}

    def _on_formed(self, update_id: int) -> None:
        self._is_joining = False
        self.stack.use_channels(_CHANNELS)
        self.stack.nwk.update_id = update_id
        self.stack.nwk.refresh_beacon()

    def _keep_security(self, security: Values) -> None:
        """The global link key, and the bits that tell what it is, for a host that asks later."""
        key = security["preconfigured_key"]
        self.nvm.put("stick/security", security["bitmask"].to_bytes(2, "little") + key)
        self.nvm.commit()

    def _join(self, node_type: int, parameters: Values) -> Answer:
        role = _ROLES.get(EmberNodeType(node_type)) if node_type in (*EmberNodeType,) else None
        security = self._security
        if self.stack.info is not None or self._is_joining:
            return {"status": Status.INVALID_CALL}
        if role is None or role is NodeRole.COORDINATOR:
            return {"status": Status.BAD_ARGUMENT}
        if security is None or not security["bitmask"] & SecurityBit.HAVE_PRECONFIGURED_KEY:
            return {"status": Status.SECURITY_STATE_NOT_SET}
        channel = parameters["channel"]
        channels = (channel,) if channel in _CHANNELS else channels_in(parameters["channels"]) or _CHANNELS
        self._is_joining = True
        self._make_stack(role, HanConfig(channels=channels, endpoints=tuple(self.endpoints.values())))
        self.stack.wanted_pan = parameters["extended_pan_id"] or None
        self._keep_security(security)
        self._store_role(role)
        key = LinkKey(partner=0, key=security["preconfigured_key"], origin=KeyOrigin.INSTALL_CODE)
        self.stack.join(key, self._new_handle(self._on_join_ended), now_us=self._now_us)
        return {"status": Status.SUCCESS}

    def _on_join_ended(self, ended: ProcedureEnded) -> None:
        self._is_joining = False
        self.stack.use_channels(_CHANNELS)  # only where to join was the host's to say
        if ended.error is not None:
            self._tell_status(self._join_failure(ended.error))

    def _join_failure(self, error: EmulatorError) -> Status:
        if not isinstance(error, NoAnswerError):
            return Status.JOIN_FAILED
        return Status.NO_NETWORK_KEY_RECEIVED if self.stack.has_seen_network else Status.NO_BEACONS

    def _network_init(self, bitmask: int) -> Answer:
        """Back on the network of the tokens."""
        role = self._stored_role()
        if self.stack.info is not None:
            return {"status": Status.INVALID_CALL}
        if role is None or self.nvm.get("net") is None:
            return {"status": Status.NOT_JOINED}
        may_join = self.may_join if role is NodeRole.COORDINATOR else None
        self._make_stack(role, HanConfig(may_join=may_join, endpoints=tuple(self.endpoints.values())))
        is_known = self.stack.restore(self._new_handle(), now_us=self._now_us)
        return {"status": Status.SUCCESS if is_known else Status.NOT_JOINED}

    def _leave(self, options: int = 0) -> Answer:
        if self.stack.info is None:
            return {"status": Status.INVALID_CALL}
        self._is_leaving = True
        self.stack.leave(self._new_handle(), now_us=self._now_us)
        return {"status": Status.SUCCESS}

    def _rejoin(self, **_options: int) -> Answer:
        if self.stack.info is None:
            return {"status": Status.INVALID_CALL}
        self.stack.rejoin(now_us=self._now_us)
        return {"status": Status.SUCCESS}

    def _permit(self, duration_s: int) -> Answer:
        stack = self.stack
        if stack.info is None:
            return {"status": Status.NOT_JOINED}
        seconds = min(duration_s, _MAX_PERMIT_S)
        stack.nwk.permit_join(seconds, self._now_us)
        self._permits += 1
        if seconds:
            self._tell_status(Status.NETWORK_OPENED)
            stack.timers.at(self._now_us + seconds * 1_000_000, self._on_permit_over, self._permits)
        else:
            self._tell_status(Status.NETWORK_CLOSED)
        return {"status": Status.SUCCESS}

    def _on_permit_over(self, now_us: int, number: int) -> None:
        if number == self._permits:
            self._tell_status(Status.NETWORK_CLOSED)

    # --- scans ----------------------------------------------------------------------------------------

    def _start_scan(self, kind: int, channel_mask: int, duration: int) -> Answer:
        channels = channels_in(channel_mask)
        if kind > 1 or not channels or duration > 14:
            return {"status": Status.BAD_ARGUMENT}
        is_started = not self._is_joining and self.stack.scan_for_host(
            channels, duration, is_energy=kind == 0, now_us=self._now_us
        )
        self._is_scanning = is_started
        return {"status": Status.SUCCESS if is_started else Status.MAC_SCANNING}

    def _stop_scan(self) -> Answer:
        """The scan goes on to its end, which nobody hears of."""
        self._is_scanning = False
        return {"status": Status.SUCCESS}

    def _on_energies(self, found: EnergyFound) -> None:
        if self._is_scanning:
            for channel, level_dbm in found.levels_dbm:
                self._call_back(
                    "energyScanResultHandler", channel=channel, rssi_dbm=max(-128, min(level_dbm, 127))
                )
            self._end_scan()

    def _on_networks(self, found: NetworksFound) -> None:
        if not self._is_scanning:
            return
        for network in found.networks:
            record = {
                "channel": network.channel,
                "pan_id": network.pan_id,
                "extended_pan_id": network.extended_pan_id,
                "allows_join": network.permits_join,
                "stack_profile": 2,
                "update_id": network.update_id,
            }
            self._call_back("networkFoundHandler", found=record, lqi=network.lqi, rssi_dbm=self._rssi_dbm)
        self._end_scan()

    def _end_scan(self) -> None:
        self._is_scanning = False
        self._call_back("scanCompleteHandler", channel=0, status=Status.SUCCESS)

    # --- what it is -----------------------------------------------------------------------------------

    def _state(self) -> Answer:
        if self._is_leaving:
            state = NetworkStatus.LEAVING_NETWORK
        elif self._is_joining:
            state = NetworkStatus.JOINING_NETWORK
        elif self.stack.info is None:
            state = NetworkStatus.NO_NETWORK
        else:
            is_lost = self.stack.is_down
            state = NetworkStatus.JOINED_NETWORK_NO_PARENT if is_lost else NetworkStatus.JOINED_NETWORK
        return {"state": state}

    def _get_eui64(self) -> Answer:
        return {"eui64": self.eui64}

    def _get_node_id(self) -> Answer:
        info = self.stack.info
        return {"short_address": _NO_NODE if info is None else self.stack.nwk.short_address}

    def _parameters(self) -> Answer:
        stack, info = self.stack, self.stack.info
        if info is None:
            return {"status": Status.NOT_JOINED, "node_type": 0, "parameters": _NO_NETWORK}
        parameters = {
            "extended_pan_id": info.extended_pan_id,
            "pan_id": stack.mac.pan_id,
            "power_dbm": self._power_dbm,
            "channel": stack.mac.channel,
            "join_method": 0,
            "manager": stack.zdo.manager,
            "update_id": stack.nwk.update_id,
            "channels": channel_mask(CHANNELS),
        }
        return {"status": Status.SUCCESS, "node_type": NODE_TYPES[stack.role], "parameters": parameters}

    def _radio_parameters(self, phy_index: int) -> Answer:
        phy = {"power_dbm": self._power_dbm, "page": 0, "channel": self.stack.mac.channel}
        return {"status": Status.SUCCESS if phy_index == 0 else Status.INDEX_OUT_OF_RANGE, "parameters": phy}

    def _set_power(self, power_dbm: int) -> Answer:
        self._power_dbm = power_dbm
        return {"status": Status.SUCCESS}

    def _children(self) -> list[Neighbour]:
        neighbours = self.stack.nwk.neighbours.values()
        return sorted((n for n in neighbours if n.is_child), key=lambda child: child.short_address)

    def _parent_child(self) -> Answer:
        parent = self.stack.nwk.parent
        eui64 = self.stack.nwk.addresses.get(parent, 0) if parent is not None else 0
        return {
            "child_count": min(len(self._children()), 255),
            "parent_eui64": eui64,
            "parent": _NOBODY if parent is None else parent,
        }

    def _child_data(self, index: int) -> Answer:
        children = self._children()
        if index >= len(children):
            return {"status": Status.NOT_JOINED, "child": _NO_CHILD}
        child = children[index]
        record = {
            **_NO_CHILD,
            "eui64": child.eui64 or 0,
            "node_type": self._child_type(child),
            "short_address": child.short_address,
            "timeout": child.timeout,
        }
        return {"status": Status.SUCCESS, "child": record}

    def _child_type(self, child: Neighbour) -> EmberNodeType:
        if child.is_router:
            return EmberNodeType.ROUTER
        return EmberNodeType.SLEEPY_END_DEVICE if child.is_sleepy else EmberNodeType.END_DEVICE

    def _child_id(self, index: int) -> Answer:
        children = self._children()
        return {"short_address": children[index].short_address if index < len(children) else _NOBODY}

    def _neighbours(self) -> list[Neighbour]:
        """Routers in range: the table that a stick has of them."""
        neighbours = self.stack.nwk.neighbours.values()
        return sorted((n for n in neighbours if n.is_router), key=lambda other: other.short_address)

    def _neighbour_count(self) -> Answer:
        return {"count": min(len(self._neighbours()), 255)}

    def _neighbour(self, index: int) -> Answer:
        known = self._neighbours()
        if index >= len(known):
            names = ("short_address", "average_lqi", "in_cost", "out_cost", "age", "eui64")
            return {"status": Status.INDEX_OUT_OF_RANGE, "neighbour": dict.fromkeys(names, 0)}
        other = known[index]
        record = {
            "short_address": other.short_address,
            "average_lqi": other.lqi,
            "in_cost": 1,
            "out_cost": other.outgoing_cost,
            "age": min(other.age + 3, 255),  # counted from 3, as on a stick
            "eui64": other.eui64 or 0,
        }
        return {"status": Status.SUCCESS, "neighbour": record}

    def _route(self, index: int) -> Answer:
        routes = sorted(self.stack.nwk.routes.items())
        record = {
            "destination": _NOBODY,
            "next_hop": _NOBODY,
            "route_status": 3,  # unused
            "age": 0,
            "concentrator": 0,
            "record_state": 0,
        }
        if index >= self.configuration[0x07]:
            return {"status": Status.INDEX_OUT_OF_RANGE, "route": record}
        if index < len(routes):
            destination, route = routes[index]
            record.update(destination=destination, next_hop=route.next_hop, route_status=0)
            record["concentrator"] = 1 if route.is_many_to_one else 0
        return {"status": Status.SUCCESS, "route": record}

    # --- polling --------------------------------------------------------------------------------------

    def _poll(self, interval: int, units: int, failure_limit: int) -> Answer:
        """An interval of 0 is a single poll, whose end is told."""
        stack = self.stack
        if stack.info is None or stack.role is not NodeRole.SLEEPY_END_DEVICE:
            return {"status": Status.INVALID_CALL}
        if interval and units in _UNIT_US:
            stack.set_poll_interval(interval * _UNIT_US[EventUnits(units)], now_us=self._now_us)
        else:
            stack.poll(self._new_handle(self._on_polled), now_us=self._now_us)
        return {"status": Status.SUCCESS}

    def _on_polled(self, ended: ProcedureEnded) -> None:
        status = Status.SUCCESS if ended.value else Status.MAC_NO_DATA
        self._call_back(
            "pollCompleteHandler", status=status if ended.error is None else Status.MAC_NO_ACK_RECEIVED
        )

    # --- news -----------------------------------------------------------------------------------------

    def _on_event(self, event: object) -> None:
        match event:
            case ProcedureEnded():
                done = self._procedures.pop(event.handle, None)
                if done is not None:
                    done(event)
            case NetworkUp():
                self._tell_status(Status.NETWORK_UP)
            case NetworkDown():
                self._on_down()
            case Moved():
                self._on_moved(event)
            case EnergyFound():
                self._on_energies(event)
            case NetworksFound():
                self._on_networks(event)
            case JoinedDevice():
                self._on_device(event)
            case LeftDevice():
                short_address = self.stack.nwk.shorts.get(event.eui64, _NOBODY)
                self._tell_join(event.eui64, short_address, DeviceUpdate.DEVICE_LEFT, _NOBODY)
            case _:
                super()._on_event(event)

    def _on_down(self) -> None:
        if self.stack.info is None:  # left, or removed
            self._is_leaving = False
            self._store_role(None)
        self._tell_status(Status.NETWORK_DOWN)

    def _on_moved(self, moved: Moved) -> None:
        before, now = moved.before, moved.now
        if before.channel != now.channel:
            self._tell_status(Status.CHANNEL_CHANGED)
        if before.pan_id != now.pan_id:
            self._tell_status(Status.PAN_ID_CHANGED)
        if before.short_address != now.short_address:
            self._tell_status(Status.NODE_ID_CHANGED)

    def _on_device(self, device: JoinedDevice) -> None:
        trust_centre = self.stack.trust_centre
        assert trust_centre is not None
        parent = trust_centre.parent_of(device.eui64)
        update = DeviceUpdate.SECURED_REJOIN if device.is_rejoin else DeviceUpdate.UNSECURED_JOIN
        self.count(Counter.JOIN_INDICATION)
        parent_short = COORDINATOR if parent is None else parent
        self._tell_join(device.eui64, device.short_address, update, parent_short)
        for index, child in enumerate(self._children()):
            if child.eui64 == device.eui64 and not child.is_router and not device.is_rejoin:
                self._call_back(
                    "childJoinHandler",
                    index=index,
                    is_joining=True,
                    short_address=child.short_address,
                    eui64=device.eui64,
                    node_type=self._child_type(child),
                )

    def _tell_join(self, eui64: Eui64, short_address: int, update: DeviceUpdate, parent: int) -> None:
        self._call_back(
            "trustCenterJoinHandler",
            short_address=short_address,
            eui64=eui64,
            update=update,
            decision=JoinDecision.USE_PRECONFIGURED_KEY,
            parent=parent,
        )

    def _remove(self, destination: int, destination_eui64: Eui64, target: Eui64) -> Answer:
        if self.stack.trust_centre is None or self.stack.info is None:
            return {"status": Status.INVALID_CALL}
        self.stack.remove_device(target, self._new_handle(), now_us=self._now_us)
        return {"status": Status.SUCCESS}

    def _source_route_mode(self, mode: int) -> Answer:
        return {"remaining_ms": 0}

    def _update_network(self, target: int, channel_mask: int, duration: int, count: int) -> Answer:
        """As network manager: one node is to measure energy, or all are to change the channel.

        Left out: another manager (duration 0xFF).
        """
        stack, channels = self.stack, channels_in(channel_mask)
        if stack.info is None:
            return {"status": Status.NOT_JOINED}
        own_address = stack.nwk.short_address
        if duration == CHANGE_CHANNEL:
            if target < FIRST_BROADCAST or len(channels) != 1:
                return {"status": Status.BAD_ARGUMENT}
            if stack.zdo.manager != own_address:
                return {"status": Status.INVALID_CALL}
            stack.change_channel(channels[0], destination=target, now_us=self._now_us)
            return {"status": Status.SUCCESS}
        is_scan = duration <= MAX_SCAN_EXPONENT and 0 < count <= MAX_SCAN_COUNT and channels
        if not is_scan or target >= FIRST_BROADCAST or target == own_address:
            return {"status": Status.BAD_ARGUMENT}
        stack.ask_scan(target, channel_mask, duration, count, now_us=self._now_us)
        return {"status": Status.SUCCESS}

    def _accept_channel(self, **_values: Any) -> Answer:
        """Another channel than that of the network is for tests of radios."""
        return {"status": Status.SUCCESS if self.stack.info is None else Status.INVALID_CALL}

    _answers: ClassVar[Answers] = {
        **EzspSettings._answers,
        "setInitialSecurityState": _set_security,
        "formNetwork": _form,
        "joinNetwork": _join,
        "networkInit": _network_init,
        "leaveNetwork": _leave,
        "findAndRejoinNetwork": _rejoin,
        "permitJoining": _permit,
        "startScan": _start_scan,
        "stopScan": _stop_scan,
        "networkState": _state,
        "getEui64": _get_eui64,
        "getNodeId": _get_node_id,
        "getNetworkParameters": _parameters,
        "getRadioParameters": _radio_parameters,
        "setRadioPower": _set_power,
        "energyScanRequest": _update_network,
        "setRadioChannel": _accept_channel,
        "setLogicalAndRadioChannel": _accept_channel,
        "setRadioIeee802154CcaMode": EzspSettings._accepted,
        "setConcentrator": EzspSettings._accepted,
        "setSourceRouteDiscoveryMode": _source_route_mode,
        "getParentChildParameters": _parent_child,
        "getChildData": _child_data,
        "childId": _child_id,
        "neighborCount": _neighbour_count,
        "getNeighbor": _neighbour,
        "getRouteTableEntry": _route,
        "pollForData": _poll,
        "removeDevice": _remove,
    }
