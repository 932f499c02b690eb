"""A capture read with its keys: who told whom what, each message once, however often it was on the air.

    commands = read_transcript(path.read_bytes(), keys, names)

Relays, MAC repeats and APS repeats of a message are one; blocks of a long one are joined. What cannot be
decrypted or decoded is a command named so, never left out. Our own codecs read; tshark judges the result.
Source: Zigbee 05-3474-21, 2.2.5, 3.3.1, 4.5. Left out: MAC and NWK commands, acknowledgements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from smets1.errors import DecodeError, InputError, SecurityError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.crypto.ccm import FrameCipher, key_load_key, key_transport_key
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.declare import Cluster
from smets1.firmware.zcl.frame import ZclFrame
from smets1.firmware.zcl.general import GENERAL, ReadAttributes
from smets1.firmware.zcl.status import FrameType, Side
from smets1.firmware.zigbee.aps_frames import ApsCommandId, ApsFrameType, ApsHeader, DeliveryMode, Fragment
from smets1.firmware.zigbee.mac_frames import AssociationResponse, MacCommand, MacFrame, MacFrameType
from smets1.firmware.zigbee.nwk_frames import NwkFrameType, NwkHeader
from smets1.firmware.zigbee.security_header import AuxiliaryHeader, KeyIdentifier, open_link, open_network
from smets1.firmware.zigbee.zdp_frames import ZdpCluster
from smets1.hardware.pcapng import LINKTYPE_IEEE802_15_4_WITHFCS, CapturedFrame, read_pcapng

__all__ = ["Command", "read_transcript"]

_FCS_OCTETS: Final = 2
_ZDP_RESPONSE: Final = 0x8000
_FIRST_BROADCAST: Final = 0xFFF8
_REPEAT_US: Final = 60_000_000
"""An APS counter comes round no sooner; repeats of a message end well before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One message. `name` as tables of ours have it, with the names of attributes that are asked for."""

    time_us: int
    sender: str
    receiver: str  # "all" for a broadcast
    layer: str  # "APS", "ZDP", "ZCL"
    name: str


class _Reader:
    def __init__(self, keys: Iterable[bytes], names: Mapping[Eui64, str]) -> None:
        derive = {
            KeyIdentifier.DATA: lambda key: key,
            KeyIdentifier.KEY_TRANSPORT: key_transport_key,
            KeyIdentifier.KEY_LOAD: key_load_key,
        }
        keys = list(keys)
        self._network = [FrameCipher(key) for key in keys]
        self._link = {kind: [FrameCipher(make(key)) for key in keys] for kind, make in derive.items()}
        self._names = names
        self._eui64s: dict[int, Eui64] = {}
        self._seen: dict[tuple[object, ...], int] = {}
        self._blocks: dict[tuple[int, int, int], dict[int, bytes]] = {}
        self._counts: dict[tuple[int, int, int], int] = {}
        self.commands: list[tuple[int, int, int, str, str]] = []

    # --- below ------------------------------------------------------------------------------------------

    def read(self, frame: CapturedFrame) -> None:
        """Anything that is no ZigBee data frame is passed over."""
        try:
            mac = MacFrame.decode(frame.octets[:-_FCS_OCTETS])
            if mac.frame_type is MacFrameType.MAC_COMMAND:
                self._learn_association(mac)
            elif mac.frame_type is MacFrameType.DATA:
                self._read_nwk(frame.time_us, mac.payload)
        except DecodeError:
            return

    def _learn_association(self, mac: MacFrame) -> None:
        if mac.payload[:1] == bytes((MacCommand.ASSOCIATION_RESPONSE,)) and mac.destination is not None:
            self._eui64s[AssociationResponse.decode(mac.payload[1:]).short_address] = mac.destination

    def _read_nwk(self, time_us: int, octets: bytes) -> None:
        header, offset = NwkHeader.decode(octets)
        for short, eui64 in (
            (header.source, header.source_eui64),
            (header.destination, header.destination_eui64),
        ):
            if eui64 is not None:
                self._eui64s[short] = eui64
        if header.frame_type is not NwkFrameType.DATA:
            return
        payload = octets[offset:]
        if header.is_secured:
            aux, _ = AuxiliaryHeader.decode(octets, offset)
            if aux.source is None:
                return
            opened = _first_that_opens(
                self._network, open_network, octets, offset, aux.source, aux.frame_counter
            )
            if opened is None:
                self._note(time_us, header, "NWK", "no network key fits")
                return
            payload = opened
        self._read_aps(time_us, header, payload)

    # --- APS ----------------------------------------------------------------------------------------------

    def _read_aps(self, time_us: int, nwk: NwkHeader, octets: bytes) -> None:
        aps, offset = ApsHeader.decode(octets)
        if aps.frame_type not in (ApsFrameType.DATA, ApsFrameType.COMMAND):
            return
        mark = (
            nwk.source,
            nwk.destination,
            aps.frame_type,
            aps.counter,
            aps.cluster_id,
            aps.fragment,
            aps.block,
        )
        if time_us - self._seen.get(mark, -_REPEAT_US) < _REPEAT_US:
            return
        self._seen[mark] = time_us
        payload = octets[offset:]
        if aps.is_secured:
            aux, body = AuxiliaryHeader.decode(octets, offset)
            source = self._eui64s.get(nwk.source) if aux.source is None else aux.source
            ciphers = [] if source is None else self._link.get(aux.key_id, [])
            opened = _first_that_opens(ciphers, open_link, octets, offset, body, source, aux.frame_counter)
            if opened is None:
                self._note(time_us, nwk, "APS", "no link key fits")
                return
            payload = opened
        if aps.frame_type is ApsFrameType.COMMAND:
            self._note(time_us, nwk, "APS", _command_name(payload))
            return
        whole = self._join(nwk, aps, payload)
        if whole is not None:
            self._read_message(time_us, nwk, aps, whole)

    def _join(self, nwk: NwkHeader, aps: ApsHeader, payload: bytes) -> bytes | None:
        if aps.fragment is Fragment.NONE:
            return payload
        key = (nwk.source, nwk.destination, aps.counter)
        if aps.fragment is Fragment.FIRST:
            self._counts[key], self._blocks[key] = aps.block, {0: payload}
        elif key in self._blocks:
            self._blocks[key][aps.block] = payload
        blocks = self._blocks.get(key, {})
        if len(blocks) < self._counts.get(key, 1):
            return None
        del self._blocks[key], self._counts[key]
        return b"".join(blocks[number] for number in sorted(blocks))

    # --- what it says -----------------------------------------------------------------------------------

    def _read_message(self, time_us: int, nwk: NwkHeader, aps: ApsHeader, payload: bytes) -> None:
        if aps.profile_id == 0:
            cluster, suffix = aps.cluster_id & ~_ZDP_RESPONSE, aps.cluster_id & _ZDP_RESPONSE
            known = {member.value: member.name for member in ZdpCluster}
            name = known.get(cluster, f"0x{aps.cluster_id:04X}") + ("_RSP" if suffix else "")
            if aps.cluster_id == ZdpCluster.DEVICE_ANNCE and len(payload) >= 11:
                self._eui64s[int.from_bytes(payload[1:3], "little")] = int.from_bytes(payload[3:11], "little")
            self._note(time_us, nwk, "ZDP", name)
            return
        name = _zcl_name(aps.cluster_id, payload)
        self._note(time_us, nwk, "ZCL", name, group=aps.group if aps.delivery is DeliveryMode.GROUP else None)

    def _note(self, time_us: int, nwk: NwkHeader, layer: str, name: str, group: int | None = None) -> None:
        if group is not None:
            name = f"{name} (group 0x{group:04X})"
        self.commands.append((time_us, nwk.source, nwk.destination, layer, name))

    def take(self) -> list[Command]:
        """Names of addresses as they are known at the end."""
        return [
            Command(
                time_us=time_us,
                sender=self._name(source),
                receiver=self._name(destination),
                layer=layer,
                name=name,
            )
            for time_us, source, destination, layer, name in self.commands
        ]

    def _name(self, short_address: int) -> str:
        if short_address >= _FIRST_BROADCAST:
            return "all"
        eui64 = self._eui64s.get(short_address)
        if eui64 is None:
            return f"0x{short_address:04X}"
        return self._names.get(eui64, format_eui64(eui64))


def _first_that_opens(ciphers: list[FrameCipher], read: Callable[..., bytes], *frame: object) -> bytes | None:
    """What `read(cipher, *frame)` gives; the cipher that fits is the first to be tried on the next frame."""
    for at, cipher in enumerate(ciphers):
        try:
            payload = read(cipher, *frame)
        except SecurityError:
            continue
        ciphers.insert(0, ciphers.pop(at))
        return payload
    return None


def read_transcript(octets: bytes, keys: Iterable[str], names: Mapping[Eui64, str]) -> list[Command]:
    """`octets`: a pcapng file of link type 195; `keys`: lines as tshark's `zigbee_pc_keys` has them.

    `names`: what addresses are called. Raises DecodeError for a damaged file, InputError for a bad key line.
    """
    reader = _Reader(map(_key, keys), names)
    for frame in read_pcapng(octets):
        if frame.link_type == LINKTYPE_IEEE802_15_4_WITHFCS:
            reader.read(frame)
    return reader.take()


def _key(line: str) -> bytes:
    try:
        key = bytes.fromhex(line.split(",", maxsplit=1)[0].strip().strip('"'))
    except ValueError:
        key = b""
    if len(key) != 16:  # the line is not repeated: it may hold most of a key
        raise InputError(
            'a line of keys must begin with 32 hex digits in quotes, as "00...FF","Normal","LABEL"'
        )
    return key


def _command_name(payload: bytes) -> str:
    names = {member.value: member.name for member in ApsCommandId}
    return names.get(payload[0], f"0x{payload[0]:02X}") if payload else "empty"


def _zcl_name(cluster_id: int, payload: bytes) -> str:
    cluster = CLUSTERS.get(cluster_id)
    where = f"0x{cluster_id:04X}" if cluster is None else cluster.name
    try:
        frame = ZclFrame.decode(payload)
        if frame.header.frame_type is FrameType.GLOBAL:
            return f"{where} {_general_name(frame, cluster)}"
        if cluster is None:
            return f"{where} 0x{frame.header.command_id:02X}"
        return f"{where} {frame.command(cluster)[0]}"
    except DecodeError as error:
        return f"{where} not decoded: {error}"


def _general_name(frame: ZclFrame, cluster: Cluster | None) -> str:
    """With the attributes that are asked for, but not those of an answer, which follow from them."""
    message = GENERAL.get(frame.header.command_id)
    if message is None:
        return f"0x{frame.header.command_id:02X}"
    if message is not ReadAttributes:
        return message.__name__
    side = Side.CLIENT if frame.header.sender is Side.SERVER else Side.SERVER
    known = {} if cluster is None else cluster.attributes_by_id[side]
    asked = ReadAttributes.decode(frame.payload).attribute_ids
    names = (known[each].name if each in known else f"0x{each:04X}" for each in asked)
    return f"ReadAttributes {', '.join(names)}"
