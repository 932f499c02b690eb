"""The two kinds of radio, as small interfaces; drivers implement them, `firmware` uses them.

A frame radio (`air:`, `rcp:`) carries whole IEEE 802.15.4 frames and does by itself what a
transceiver chip does: channel access, the acknowledgement and its frame-pending bit, repeats of an
unacknowledged frame, address filtering. A modem (`ezsp:`) has the network layer on the stick and
carries APS messages; its `HanPort` face is the same as that of our own stack above a frame radio.

Source: IEEE 802.15.4-2006, 7.5.1 (CSMA-CA), 7.5.6 (transmission, acknowledgement).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Final, Protocol

from smets1.eui64 import Eui64
from smets1.light_init import light_init

__all__ = [
    "BROADCAST_ALL",
    "BROADCAST_ROUTERS",
    "BROADCAST_RX_ON",
    "CHANNELS",
    "COORDINATOR",
    "NO_SHORT_ADDRESS",
    "ApsIndication",
    "ApsMessage",
    "ApsSecurity",
    "BoundTarget",
    "FrameRadio",
    "GroupMembers",
    "HanListener",
    "HanPort",
    "JoinedDevice",
    "KeyOrigin",
    "LinkKey",
    "NetworkInfo",
    "NodeRole",
    "RadioListener",
    "SimpleDescriptor",
    "TransmitOutcome",
    "channel_mask",
    "channels_in",
    "zdp_message",
]

CHANNELS: Final = range(11, 27)
"""Channel page 0, 2 405 to 2 480 MHz. Source: IEEE 802.15.4-2006, 6.1.2."""


def channel_mask(channels: Iterable[int]) -> int:
    """A bit for each channel, of its number, as requests and firmware have them."""
    return sum(1 << channel for channel in channels)


def channels_in(mask: int) -> tuple[int, ...]:
    """The channels of a mask, ascending; bits that are no channel of ours are passed over."""
    return tuple(channel for channel in CHANNELS if mask >> channel & 1)


COORDINATOR: Final = 0x0000
BROADCAST_ALL: Final = 0xFFFF
BROADCAST_RX_ON: Final = 0xFFFD
BROADCAST_ROUTERS: Final = 0xFFFC
NO_SHORT_ADDRESS: Final = 0xFFFE


# --- frame radios -------------------------------------------------------------------------------


@unique
class TransmitOutcome(IntEnum):
    """How a transmission ended, as the transceiver knows it."""

    SENT = 0  # no acknowledgement was asked for
    ACKED = 1
    ACKED_PENDING = 2  # acknowledged with the frame-pending bit: the parent holds data for us
    NO_ACK = 3
    CHANNEL_BUSY = 4


class RadioListener(Protocol):
    """Who hears a frame radio; called from the scheduler, never re-entrantly from `transmit`."""

    def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
        """A frame that passed the filter and its FCS. `psdu`: MAC header and payload, no FCS."""

    def on_transmitted(self, outcome: TransmitOutcome) -> None:
        """The frame given to `transmit` is done with; the next may be given."""

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        """The energy scan asked for has ended."""


class FrameRadio(Protocol):
    """One IEEE 802.15.4 transceiver. Takes one frame at a time."""

    @property
    def eui64(self) -> Eui64: ...
    def attach(self, listener: RadioListener) -> None: ...
    def set_channel(self, channel: int) -> None: ...
    def set_pan(self, pan_id: int, short_address: int, *, coordinator: bool) -> None:
        """The address filter. 0xFFFF as pan_id or short_address: none yet."""

    def set_receiver(self, on: bool) -> None:
        """Off: deaf (a sleeping device); transmitting still works and listens for its acknowledgement."""

    def set_pending(self, shorts: Collection[int], extendeds: Collection[Eui64]) -> None:
        """Sources whose data request is acknowledged with the frame-pending bit set."""

    def transmit(self, psdu: bytes, *, retries: int = 3) -> None:
        """Send MAC header and payload (no FCS). Ends in one `on_transmitted`."""

    def scan_energy(self, channel: int, duration_us: int) -> None: ...
    def close(self) -> None: ...


# --- what hub and devices see of a HAN, whichever radio is below -----------------------------------


@unique
class NodeRole(IntEnum):
    COORDINATOR = 0
    ROUTER = 1
    END_DEVICE = 2
    SLEEPY_END_DEVICE = 3


@unique
class KeyOrigin(IntEnum):
    """Where a link key came from; application traffic needs ESTABLISHED or PARTNER."""

    INSTALL_CODE = 0
    ESTABLISHED = 1  # by CBKE with the trust centre
    PARTNER = 2  # handed to both ends by the trust centre (Request-Key, application link key)


@unique
class ApsSecurity(IntEnum):
    """What protected an APS payload on the air."""

    NONE = 0
    NETWORK_KEY = 1
    INSTALL_CODE_KEY = 2
    LINK_KEY = 3  # a key of origin ESTABLISHED or PARTNER


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkKey:
    partner: Eui64
    key: bytes = field(repr=False)  # 16 octets
    origin: KeyOrigin


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo:
    """The network that a node is on."""

    pan_id: int
    extended_pan_id: int
    channel: int
    short_address: int
    parent_short: int | None  # None for the coordinator
    trust_centre: Eui64


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedDevice:
    """A device that the coordinator has admitted or that has announced itself."""

    eui64: Eui64
    short_address: int
    is_sleepy: bool
    is_rejoin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleDescriptor:
    """What lives on one endpoint, for whoever asks the device object. Source: Zigbee 05-3474-21, 2.3.2.5."""

    endpoint: int
    profile_id: int
    device_id: int
    device_version: int = 0
    input_clusters: tuple[int, ...] = ()  # servers
    output_clusters: tuple[int, ...] = ()  # clients


@light_init
@dataclass(frozen=True, slots=True, kw_only=True)
class ApsMessage:
    """An APS payload to send."""

    destination: int  # NWK short address, or one of the broadcasts
    destination_endpoint: int
    source_endpoint: int
    cluster_id: int
    profile_id: int
    payload: bytes
    is_secured: bool = True  # under the link key shared with the destination; NWK security always
    wants_ack: bool = True
    group: int | None = None  # to the members of this group; the endpoint does not count, nobody acknowledges


def zdp_message(destination: int, cluster_id: int, payload: bytes) -> ApsMessage:
    """Between device objects: endpoint 0, profile 0, no link key; acknowledged where one device is meant.

    Source: Zigbee 05-3474-21, 2.4.
    """
    return ApsMessage(
        destination=destination,
        destination_endpoint=0,
        source_endpoint=0,
        cluster_id=cluster_id,
        profile_id=0,
        payload=payload,
        is_secured=False,
        wants_ack=destination < 0xFFF8,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundTarget:
    """Where a binding leads, as of now: an endpoint of a device, or a group (of all, or on one device)."""

    short_address: int = BROADCAST_RX_ON
    endpoint: int = 0
    group: int | None = None


class GroupMembers(Protocol):
    """Which endpoints of a node answer to which group address. Changes are durable on return."""

    def groups(self, endpoint: int) -> list[int]: ...
    def add(self, group: int, endpoint: int) -> bool:
        """False: the table is full."""

    def remove(self, group: int, endpoint: int) -> bool:
        """False: it was no member."""

    def remove_all(self, endpoint: int) -> None: ...


@light_init
@dataclass(frozen=True, slots=True, kw_only=True)
class ApsIndication:
    """An APS payload that arrived, decrypted and de-duplicated."""

    source: int
    source_eui64: Eui64 | None  # proven by the link key where security is LINK_KEY or INSTALL_CODE_KEY
    source_endpoint: int
    destination_endpoint: int
    cluster_id: int
    profile_id: int
    payload: bytes
    security: ApsSecurity
    is_broadcast: bool
    lqi: int


class HanListener(Protocol):
    """Who hears a HAN port. Called from the event loop; must not block."""

    def on_message(self, indication: ApsIndication) -> None: ...
    def on_device_joined(self, device: JoinedDevice) -> None:
        """Coordinator only: the network key was sent to it, or it announced itself after a rejoin."""

    def on_device_left(self, eui64: Eui64) -> None: ...
    def on_network_up(self, info: NetworkInfo) -> None: ...
    def on_network_down(self, reason: str) -> None:
        """Left, removed, or the parent is lost; a lost parent is looked for again by the port itself."""

    def on_link_key(self, key: LinkKey) -> None:
        """A partner link key arrived from the trust centre (either end)."""


class HanPort(Protocol):
    """A node on a HAN: our own stack over a frame radio, or an EZSP modem."""

    @property
    def eui64(self) -> Eui64: ...
    @property
    def role(self) -> NodeRole: ...
    @property
    def network(self) -> NetworkInfo | None:
        """None while not on a network."""

    @property
    def network_key(self) -> bytes | None:
        """For key files that a decoder reads, of test runs only; None where there is none, or it is secret"""

    @property
    def group_members(self) -> GroupMembers: ...
    def bound_targets(self, endpoint: int, cluster_id: int) -> list[BoundTarget]:
        """Whom the binding table sends a cluster's reports to; without those whose address is not known."""

    def keyed_partners(self) -> list[int]:
        """Short addresses of those with whom a link key for application traffic is shared, ascending."""

    async def bind(self, peer: Eui64, peer_endpoint: int, cluster_id: int, endpoint: int) -> None:
        """Ask `peer` to send that cluster's reports to our `endpoint` from now on (Bind_req).

        Raises NoAnswerError, or RefusedError with the status of the answer.
        """

    def attach(self, listener: HanListener) -> None: ...
    def set_endpoints(self, endpoints: tuple[SimpleDescriptor, ...]) -> None:
        """All endpoints that this node answers for, in place of those told before; at any time."""

    async def start(self) -> bool:
        """Power up. True where NVM held a network and the node is back on it; False: form or join."""

    async def form(self) -> NetworkInfo:
        """Coordinator: scan, choose channel and PAN id, begin a secured network."""

    async def join(self, link_key: LinkKey) -> NetworkInfo:
        """Scan, associate, receive the network key under the install-code key, announce.

        One attempt. Raises NoAnswerError (no network, no key) or RefusedError (not admitted).
        """

    def change_channel(self, channel: int) -> None:
        """Coordinator: move the whole network, some seconds from now; sleepers look for it and come after.

        Raises MisuseError for anybody else and any other channel than those it may use, NoAnswerError where
        there is no stick.
        """

    async def permit_join(self, duration_s: int) -> None: ...
    async def send(self, message: ApsMessage) -> None:
        """Returns when the APS acknowledgement has come (or, unacknowledged, the frame has gone).

        Raises NoAnswerError, or SecurityError where no link key is shared with the destination.
        """

    async def find_short(self, eui64: Eui64, *, anew: bool = False) -> int:
        """The short address of a device, known or asked for on the network (NWK_addr_req).

        `anew`: asked for in any case, since the device does not answer where it is known to be.
        Raises NoAnswerError.
        """

    def known_eui64(self, short_address: int) -> Eui64 | None: ...
    def known_short(self, eui64: Eui64) -> int | None:
        """The short address of a device where it is known without asking."""

    def set_link_key(self, key: LinkKey) -> None:
        """Add or replace the key shared with a partner; written to NVM; its counters start again."""

    def link_key(self, partner: Eui64) -> LinkKey | None: ...
    async def request_partner_key(self, partner: Eui64) -> LinkKey:
        """Ask the trust centre for an application link key with `partner`. Raises NoAnswerError."""

    def set_poll_interval(self, interval_us: int | None) -> None:
        """Sleepy end device: how often to ask the parent for data; None: only on `poll`."""

    async def poll(self) -> bool:
        """Sleepy end device: one data request; True where the parent had a frame."""

    async def remove_device(self, eui64: Eui64) -> None:
        """Coordinator: make a device leave and forget its keys."""

    def rejoin(self) -> None:
        """The trust centre does not answer (Smart Energy keep-alive): look for the network again."""

    async def leave(self) -> None: ...
    async def close(self) -> None: ...
    def power_off(self) -> None:
        """Like pulling the plug: nothing more is stored, nobody is told."""
