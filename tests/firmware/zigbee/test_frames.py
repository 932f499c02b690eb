"""Every codec of the stack: spec layouts, round trips, truncation, random octets."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from smets1.errors import DecodeError
from smets1.firmware.zigbee import aps_frames as aps
from smets1.firmware.zigbee import mac_frames as mac
from smets1.firmware.zigbee import nwk_frames as nwk
from smets1.firmware.zigbee import zdp_frames as zdp
from smets1.firmware.zigbee.security_header import AuxiliaryHeader, KeyIdentifier
from smets1.hardware.radio import SimpleDescriptor

EUI = 0x00DB1234567890A0
KEY = bytes(range(16))


def after_offset(decode: Callable[[bytes], tuple[Any, int]]) -> Callable[[bytes], Any]:
    def whole(octets: bytes) -> Any:
        value, offset = decode(octets)
        assert offset == len(octets)
        return value

    return whole


MAC = mac.MacFrame.decode
NWK = after_offset(nwk.NwkHeader.decode)
APS = after_offset(aps.ApsHeader.decode)
AUX = after_offset(AuxiliaryHeader.decode)
NWK_COMMAND = nwk.decode_nwk_command
APS_COMMAND = aps.decode_aps_command

SHORT, EXTENDED, NONE = mac.AddressMode.SHORT, mac.AddressMode.EXTENDED, mac.AddressMode.NONE

CASES: list[tuple[Any, Callable[[bytes], Any], str]] = [
    (mac.MacFrame(frame_type=mac.MacFrameType.MAC_COMMAND, sequence=8, destination_mode=SHORT, destination_pan=0xFFFF, destination=0xFFFF, payload=b"\x07"), MAC, "030808ffffffff07"),
    (mac.MacFrame(frame_type=mac.MacFrameType.MAC_COMMAND, sequence=9, destination_mode=SHORT, destination_pan=0x1AAA, destination=0, source_mode=EXTENDED, source_pan=0xFFFF, source=EUI, payload=b"\x01\x8e", wants_ack=True), MAC, "23c809aa1a0000ffffa09078563412db00018e"),
    (mac.MacFrame(frame_type=mac.MacFrameType.DATA, sequence=1, destination_mode=SHORT, destination_pan=2, destination=3, source_mode=SHORT, source_pan=2, source=4, payload=b"x", wants_ack=True), MAC, "618801020003000400" + "78"),
    (mac.MacFrame(frame_type=mac.MacFrameType.BEACON, sequence=1, source_mode=SHORT, source_pan=2, source=0), MAC, "00800102000000"),
    (mac.MacFrame(frame_type=mac.MacFrameType.ACKNOWLEDGMENT, sequence=7, is_pending=True), MAC, "120007"),
    (mac.Beacon(is_pan_coordinator=True, permits_association=True, payload=b"zz"), mac.Beacon.decode, "ffcf00007a7a"),
    (mac.ZigbeeBeacon(has_router_capacity=True, depth=0, has_end_device_capacity=True, extended_pan_id=EUI, update_id=0), mac.ZigbeeBeacon.decode, "002284a09078563412db00ffffff00"),
    (mac.AssociationRequest(capability=0x8E), mac.AssociationRequest.decode, "018e"),
    (mac.AssociationResponse(short_address=0x1234, status=0), mac.AssociationResponse.decode, "02341200"),
    (mac.CoordinatorRealignment(pan_id=1, coordinator_short=0, channel=11, short_address=0x1234), mac.CoordinatorRealignment.decode, "08010000000b3412"),
    (nwk.NwkHeader(frame_type=nwk.NwkFrameType.DATA, destination=0xFFFD, source=0x1234, radius=30, sequence=5), NWK, "0802fdff34121e05"),
    (nwk.NwkHeader(frame_type=nwk.NwkFrameType.NWK_COMMAND, destination=0, source=1, radius=1, sequence=5, destination_eui64=EUI, source_eui64=EUI + 1, relays=(7, 8), relay_index=1, discover_route=1, is_end_device_initiator=True), NWK, "493e000001000105a09078563412db00a19078563412db00020107000800"),
    (nwk.RouteRequest(identifier=1, destination=2, path_cost=3), NWK_COMMAND, "010001020003"),
    (nwk.RouteRequest(identifier=1, destination=2, path_cost=3, many_to_one=1, destination_eui64=EUI), NWK_COMMAND, "012801020003a09078563412db00"),
    (nwk.RouteReply(identifier=1, originator=2, responder=3, path_cost=4, originator_eui64=EUI, responder_eui64=EUI), NWK_COMMAND, "0230010200030004a09078563412db00a09078563412db00"),
    (nwk.NetworkStatus(status=2, destination=0x1234), NWK_COMMAND, "03023412"),
    (nwk.Leave(is_request=True, is_rejoin=True), NWK_COMMAND, "0460"),
    (nwk.RouteRecord(relays=(1, 2)), NWK_COMMAND, "050201000200"),
    (nwk.RejoinRequest(capability=0x80), NWK_COMMAND, "0680"),
    (nwk.RejoinResponse(short_address=0x1234, status=0), NWK_COMMAND, "07341200"),
    (nwk.LinkStatus(entries=(nwk.LinkStatusEntry(neighbour=1, incoming_cost=1, outgoing_cost=3),)), NWK_COMMAND, "0861010031"),
    (nwk.NetworkReport(extended_pan_id=EUI, pan_ids=(1, 2)), NWK_COMMAND, "0902a09078563412db0001000200"),
    (nwk.NetworkUpdate(extended_pan_id=EUI, update_id=1, pan_id=0x1234), NWK_COMMAND, "0a01a09078563412db00013412"),
    (nwk.EndDeviceTimeoutRequest(timeout=8), NWK_COMMAND, "0b0800"),
    (nwk.EndDeviceTimeoutResponse(status=0, parent_information=1), NWK_COMMAND, "0c0001"),
    (aps.ApsHeader(frame_type=aps.ApsFrameType.DATA, counter=9, wants_ack=True, is_secured=True, destination_endpoint=1, cluster_id=0x0702, profile_id=0x0109, source_endpoint=2), APS, "6001020709010209"),
    (aps.ApsHeader(frame_type=aps.ApsFrameType.DATA, counter=9, delivery=aps.DeliveryMode.GROUP, group=0x1234, cluster_id=6, profile_id=0x0104, source_endpoint=1), APS, "0c3412060004010109"),
    (aps.ApsHeader(frame_type=aps.ApsFrameType.DATA, counter=9, destination_endpoint=1, cluster_id=6, profile_id=0x0109, source_endpoint=1, fragment=aps.Fragment.FIRST, block=3), APS, "800106000901010901" + "03"),
    (aps.ApsHeader(frame_type=aps.ApsFrameType.ACKNOWLEDGEMENT, counter=9, destination_endpoint=1, cluster_id=6, profile_id=0x0109, source_endpoint=1, fragment=aps.Fragment.PART, block=2, ack_bits=0xFF), APS, "82010600090101090202ff"),
    (aps.ApsHeader(frame_type=aps.ApsFrameType.COMMAND, counter=9, is_secured=True), APS, "2109"),
    (aps.ApsHeader(frame_type=aps.ApsFrameType.ACKNOWLEDGEMENT, counter=9, is_command_ack=True), APS, "1209"),
    (aps.TransportKey(key_type=aps.KeyType.STANDARD_NETWORK, key=KEY, key_sequence=0, destination=EUI, source=EUI + 2), APS_COMMAND, "0501" + KEY.hex() + "00a09078563412db00a29078563412db00"),
    (aps.TransportKey(key_type=aps.KeyType.APPLICATION_LINK, key=KEY, partner=EUI, is_initiator=True), APS_COMMAND, "0503" + KEY.hex() + "a09078563412db0001"),
    (aps.TransportKey(key_type=aps.KeyType.TRUST_CENTRE_LINK, key=KEY, destination=EUI, source=EUI), APS_COMMAND, "0504" + KEY.hex() + "a09078563412db00a09078563412db00"),
    (aps.UpdateDevice(device=EUI, short_address=0x1234, status=1), APS_COMMAND, "06a09078563412db00341201"),
    (aps.RemoveDevice(target=EUI), APS_COMMAND, "07a09078563412db00"),
    (aps.RequestKey(key_type=2, partner=EUI), APS_COMMAND, "0802a09078563412db00"),
    (aps.RequestKey(key_type=4, partner=None), APS_COMMAND, "0804"),
    (aps.SwitchKey(key_sequence=1), APS_COMMAND, "0901"),
    (aps.Tunnel(destination=EUI, frame=b"\x21\x01"), APS_COMMAND, "0ea09078563412db002101"),
    (AuxiliaryHeader(key_id=KeyIdentifier.NETWORK, frame_counter=1, source=EUI, key_sequence=0), AUX, "2801000000a09078563412db0000"),
    (AuxiliaryHeader(key_id=KeyIdentifier.KEY_TRANSPORT, frame_counter=1, source=None, key_sequence=None), AUX, "1001000000"),
    (zdp.DeviceAnnce(short_address=0x1234, eui64=EUI, capability=0x8E), zdp.DeviceAnnce.decode, "3412a09078563412db008e"),
    (zdp.NodeDescriptor(logical_type=1, capability=0x8E, manufacturer_code=0x1234), zdp.NodeDescriptor.decode, "01408e3412520002002a000200"),
    (zdp.ParentAnnce(children=(EUI,)), zdp.ParentAnnce.decode, "01a09078563412db00"),
    (zdp.AddressResponse(status=0, eui64=EUI, short_address=1), zdp.AddressResponse.decode, "00a09078563412db000100"),
    (zdp.AddressResponse(status=0, eui64=EUI, short_address=1, associated=(5,)), zdp.AddressResponse.decode, "00a09078563412db00010001000500"),
    (zdp.MatchDescRequest(short_address=0xFFFD, profile_id=0x0109, input_clusters=(0x702,), output_clusters=()), zdp.MatchDescRequest.decode, "fdff090101020700"),
    (zdp.BindRequest(source=EUI, source_endpoint=1, cluster_id=0x702, destination=EUI, destination_endpoint=1), zdp.BindRequest.decode, "a09078563412db0001020703a09078563412db0001"),
    (zdp.BindRequest(source=EUI, source_endpoint=1, cluster_id=0x702, group=5), zdp.BindRequest.decode, "a09078563412db00010207010500"),
    (zdp.MgmtLqiResponse(status=0, total=1, start_index=0, neighbours=(zdp.NeighbourRecord(extended_pan_id=EUI, eui64=EUI, short_address=1, device_type=1, rx_on_when_idle=1, relationship=1, permit_joining=2, depth=1, lqi=255),)), zdp.MgmtLqiResponse.decode, "00010001a09078563412db00a09078563412db000100150201ff"),
]  # fmt: skip


def name(case: Any) -> str | None:
    return type(case).__name__ if not isinstance(case, str) and not callable(case) else None


@pytest.mark.parametrize(("message", "decode", "octets"), CASES, ids=name)
def test_octets_and_back(message: Any, decode: Callable[[bytes], Any], octets: str) -> None:
    assert message.encode().hex() == octets
    assert decode(bytes.fromhex(octets)) == message


@pytest.mark.parametrize(("message", "decode", "octets"), CASES, ids=name)
def test_truncated_at_every_octet_gives_a_message_or_decode_error(
    message: Any, decode: Callable[[bytes], Any], octets: str
) -> None:
    whole = bytes.fromhex(octets)
    for size in range(len(whole)):
        try:
            decode(whole[:size])
        except DecodeError:
            pass
        except AssertionError:
            pass  # `after_offset`: a shorter header, with octets after it


DECODERS = [
    mac.MacFrame.decode, mac.Beacon.decode, mac.ZigbeeBeacon.decode, mac.AssociationRequest.decode,
    mac.AssociationResponse.decode, mac.CoordinatorRealignment.decode, nwk.NwkHeader.decode, NWK_COMMAND,
    aps.ApsHeader.decode, APS_COMMAND, AuxiliaryHeader.decode, zdp.DeviceAnnce.decode, zdp.decode_simple_descriptor,
    zdp.NodeDescriptor.decode, zdp.ParentAnnce.decode, zdp.AddressResponse.decode, zdp.MatchDescRequest.decode,
    zdp.BindRequest.decode, zdp.MgmtLqiResponse.decode,
]  # fmt: skip


@pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: decode.__qualname__)
def test_random_octets_raise_decode_error_only(decode: Callable[[bytes], Any]) -> None:
    rng = random.Random(1)
    for _ in range(2000):
        octets = rng.randbytes(rng.randrange(40))
        if rng.random() < 0.5 and octets:
            octets = bytes((rng.randrange(16),)) + octets[1:]  # commands have small numbers
        try:
            decode(octets)
        except DecodeError:
            pass


def test_a_simple_descriptor_and_back() -> None:
    descriptor = SimpleDescriptor(
        endpoint=1, profile_id=0x0109, device_id=0x0501, input_clusters=(0, 0x702), output_clusters=(10,)
    )
    octets = bytes.fromhex("0109010105000200000207010a00")
    assert zdp.encode_simple_descriptor(descriptor) == octets
    assert zdp.decode_simple_descriptor(octets) == descriptor
    for size in range(len(octets)):
        with pytest.raises(DecodeError):
            zdp.decode_simple_descriptor(octets[:size])


def test_a_data_frame_is_split_as_it_is_decoded() -> None:
    rng = random.Random(1)
    for control in range(1 << 16):
        octets = control.to_bytes(2, "little") + rng.randbytes(12)
        split = mac.split_data_frame(octets)
        try:
            frame = mac.MacFrame.decode(octets)
        except DecodeError:
            assert split is None
            continue
        if split is not None:
            assert frame.frame_type is mac.MacFrameType.DATA
            assert split == (frame.destination_pan, frame.destination, frame.source, frame.payload)
            assert (frame.source_pan, frame.is_pending) == (split[0], octets[0] & 0x10 != 0)
    assert mac.split_data_frame(b"\x41\x88" + bytes(6)) is None


def test_a_key_is_not_in_a_repr() -> None:
    said = repr([message for message, _, _ in CASES])
    assert KEY.hex() not in said
    assert repr(KEY) not in said


def test_the_quick_data_frame_is_the_slow_one() -> None:
    slow = mac.MacFrame(
        frame_type=mac.MacFrameType.DATA, sequence=1, destination_mode=SHORT, destination_pan=2, destination=3,
        source_mode=SHORT, source_pan=2, source=4, payload=b"x", wants_ack=True,
    )  # fmt: skip
    assert mac.data_frame(2, 3, 4, 1, b"x", wants_ack=True) == slow.encode()
