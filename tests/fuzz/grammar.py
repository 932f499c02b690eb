"""Frames as a malicious device would build them: well formed at every layer but one, with values at the edges.

Random octets seldom get past the first check of a layer. These are made of the stack's own encoders and of the
declared clusters, so that what is odd is the meaning: addresses of others, counts that lie, unasked answers,
blocks of no message, commands of the wrong side, nesting.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.declare import Cluster
from smets1.firmware.zcl.fields import Field, Payload
from smets1.firmware.zcl.general import GENERAL
from smets1.firmware.zcl.server import ClusterInstance
from smets1.firmware.zcl.status import GeneralCommand, Side
from smets1.firmware.zcl.types import BY_ID, ZclType
from smets1.firmware.zigbee import aps_frames as aps
from smets1.firmware.zigbee import nwk_frames as nwk
from smets1.firmware.zigbee import zdp_frames as zdp

__all__ = ["Grammar"]

_OCTETS = (0x00, 0x01, 0x02, 0x7F, 0x80, 0xFE, 0xFF)
_LISTS = ("u24", "bag", "set", "array", "struct")
_RESPONSE = 0x8000


class Grammar:
    """`shorts`, `eui64s`: of the home's devices, so that lies concern somebody."""

    def __init__(self, rng: random.Random, shorts: Sequence[int], eui64s: Sequence[int], pan: int) -> None:
        self.rng = rng
        self.shorts = tuple(shorts)
        self.eui64s = tuple(eui64s)
        self.extended_pan_id = pan

    # --- small things -----------------------------------------------------------------------------------

    def octet(self) -> int:
        return self.rng.choice(_OCTETS) if self.rng.random() < 0.6 else self.rng.randrange(256)

    def short(self) -> int:
        special = (0xFFFF, 0xFFFE, 0xFFFD, 0xFFFC, 0xFFF8, 0x0000, self.rng.randrange(0x10000))
        return self.rng.choice((*self.shorts, *self.shorts, *special))

    def eui64(self) -> int:
        return self.rng.choice((*self.eui64s, *self.eui64s, 0, 2**64 - 1, self.rng.getrandbits(64)))

    def octets(self, longest: int) -> bytes:
        return bytes(self.octet() for _ in range(self.rng.randrange(longest + 1)))

    def coin(self) -> bool:
        return self.rng.random() < 0.5

    def maybe_cut(self, octets: bytes) -> bytes:
        """Mostly whole; now and then cut, or with something behind."""
        dice = self.rng.random()
        if dice < 0.08 and octets:
            return octets[: self.rng.randrange(len(octets))]
        return octets + self.octets(8) if dice > 0.95 else octets

    # --- NWK --------------------------------------------------------------------------------------------

    def nwk_command(self) -> bytes:
        shorts = tuple(self.short() for _ in range(self.rng.randrange(7)))
        rng = self.rng
        command: nwk.NwkCommand = rng.choice(
            (
                lambda: nwk.RouteRequest(
                    identifier=self.octet(), destination=self.short(), path_cost=self.octet(),
                    many_to_one=rng.randrange(4), destination_eui64=rng.choice((None, self.eui64())),
                ),
                lambda: nwk.RouteReply(
                    identifier=rng.randrange(8), originator=self.short(), responder=self.short(),
                    path_cost=self.octet(), originator_eui64=rng.choice((None, self.eui64())),
                    responder_eui64=rng.choice((None, self.eui64())),
                ),
                lambda: nwk.NetworkStatus(status=rng.randrange(0x16), destination=self.short()),
                lambda: nwk.RouteRecord(relays=shorts),
                lambda: nwk.RejoinRequest(capability=self.octet()),
                lambda: nwk.RejoinResponse(short_address=self.short(), status=self.octet()),
                lambda: nwk.LinkStatus(
                    entries=tuple(
                        nwk.LinkStatusEntry(
                            neighbour=short, incoming_cost=rng.randrange(8), outgoing_cost=rng.randrange(8)
                        )
                        for short in shorts
                    ),
                    is_first=self.coin(), is_last=self.coin(),
                ),
                lambda: nwk.NetworkReport(
                    extended_pan_id=rng.choice((self.extended_pan_id, self.eui64())), pan_ids=shorts
                ),
                lambda: nwk.EndDeviceTimeoutRequest(timeout=self.octet(), configuration=self.octet()),
                lambda: nwk.EndDeviceTimeoutResponse(status=self.octet(), parent_information=self.octet()),
            )
        )()  # fmt: skip
        return self.maybe_cut(command.encode())

    def nwk_header(self, frame_type: nwk.NwkFrameType, destination: int, source: int) -> bytes:
        """Of a secured frame, with every option there is."""
        rng = self.rng
        relays = tuple(self.short() for _ in range(rng.randrange(6))) if rng.random() < 0.15 else None
        return nwk.NwkHeader(
            frame_type=frame_type, destination=destination, source=source,
            radius=rng.choice((0, 1, 2, 30, 255)), sequence=rng.randrange(256), discover_route=rng.randrange(2),
            destination_eui64=self.eui64() if rng.random() < 0.2 else None,
            source_eui64=self.eui64() if rng.random() < 0.2 else None,
            relays=relays, relay_index=rng.randrange(8) if relays is not None else 0,
            is_end_device_initiator=rng.random() < 0.1,
        ).encode()  # fmt: skip

    # --- APS --------------------------------------------------------------------------------------------

    def aps_header(self, *, is_secured: bool, cluster_id: int, profile_id: int) -> bytes:
        """Data or acknowledgement; often a fragment, of few numbers, so that blocks meet."""
        rng = self.rng
        fragment = rng.choice((aps.Fragment.NONE, aps.Fragment.FIRST, aps.Fragment.PART))
        group = rng.choice((1, 0x4321, 0xFFFF)) if rng.random() < 0.1 else None
        return aps.ApsHeader(
            frame_type=rng.choice((aps.ApsFrameType.DATA,) * 4 + (aps.ApsFrameType.ACKNOWLEDGEMENT,)),
            counter=rng.choice((1, 2, 3, rng.randrange(256))),
            delivery=aps.DeliveryMode.UNICAST if group is None else aps.DeliveryMode.GROUP,
            is_secured=is_secured, wants_ack=self.coin(), group=group,
            destination_endpoint=rng.choice((1, 1, 1, 0, 2, 0xFF)), cluster_id=cluster_id,
            profile_id=profile_id, source_endpoint=rng.choice((1, 0, 2)), fragment=fragment,
            block=rng.choice((0, 1, 2, 3, 5, 63, 64, 255)), ack_bits=self.octet(),
        ).encode()  # fmt: skip

    def aps_command(self, depth: int = 0) -> bytes:
        rng, key = self.rng, bytes(self.octet() for _ in range(16))
        command: aps.ApsCommand = rng.choice(
            (
                lambda: aps.TransportKey(
                    key_type=rng.choice(tuple(aps.KeyType)), key=key, key_sequence=self.octet(),
                    destination=self.eui64(), source=self.eui64(), partner=self.eui64(),
                    is_initiator=self.coin(),
                ),
                lambda: aps.UpdateDevice(
                    device=self.eui64(), short_address=self.short(), status=rng.randrange(6)
                ),
                lambda: aps.RemoveDevice(target=self.eui64()),
                lambda: aps.RequestKey(
                    key_type=rng.randrange(6), partner=rng.choice((None, self.eui64()))
                ),
                lambda: aps.SwitchKey(key_sequence=self.octet()),
                lambda: aps.Tunnel(destination=self.eui64(), frame=self._tunnelled(depth)),
            )
        )()  # fmt: skip
        return self.maybe_cut(command.encode())

    def _tunnelled(self, depth: int) -> bytes:
        if depth > 2:
            return self.octets(20)
        return aps.command_header(self.octet(), is_secured=self.coin()) + self.aps_command(depth + 1)

    # --- ZDP --------------------------------------------------------------------------------------------

    def zdp(self) -> tuple[int, bytes]:
        """(cluster, payload with its transaction number): requests, and answers that nobody waits for."""
        rng = self.rng
        eui64s = tuple(self.eui64() for _ in range(rng.randrange(5)))
        clusters = tuple(
            rng.choice((0x0702, 0x0003, rng.randrange(0x10000))) for _ in range(rng.randrange(4))
        )
        cluster, body = rng.choice(
            (
                lambda: (zdp.ZdpCluster.DEVICE_ANNCE, zdp.DeviceAnnce(
                    short_address=self.short(), eui64=self.eui64(), capability=self.octet()).encode()),
                lambda: (zdp.ZdpCluster.PARENT_ANNCE, zdp.ParentAnnce(children=eui64s).encode()),
                lambda: (zdp.ZdpCluster.PARENT_ANNCE | _RESPONSE, b"\0" + zdp.ParentAnnce(children=eui64s).encode()),
                lambda: (zdp.ZdpCluster.NWK_ADDR_REQ | _RESPONSE, zdp.AddressResponse(
                    status=0, eui64=self.eui64(), short_address=self.short()).encode()),
                lambda: (zdp.ZdpCluster.MATCH_DESC_REQ, zdp.MatchDescRequest(
                    short_address=self.short(), profile_id=0x0109, input_clusters=clusters,
                    output_clusters=clusters).encode()),
                lambda: (rng.choice((zdp.ZdpCluster.BIND_REQ, zdp.ZdpCluster.UNBIND_REQ)), zdp.BindRequest(
                    source=self.eui64(), source_endpoint=self.octet(), cluster_id=0x0702,
                    group=None if self.coin() else 5, destination=self.eui64(),
                    destination_endpoint=self.octet()).encode()),
                lambda: (rng.choice(tuple(zdp.ZdpCluster)) | rng.choice((0, _RESPONSE)), self.octets(30)),
                lambda: (rng.choice((zdp.ZdpCluster.NWK_ADDR_REQ, zdp.ZdpCluster.IEEE_ADDR_REQ)),
                         self.eui64().to_bytes(8, "little") + self.octets(3)),
                lambda: (rng.choice((0x0002, 0x0003, 0x0004, 0x0005)),
                         self.short().to_bytes(2, "little") + self.octets(2)),
            )
        )()  # fmt: skip
        return int(cluster), self.maybe_cut(bytes((rng.randrange(256),)) + body)

    # --- ZCL --------------------------------------------------------------------------------------------

    def zcl(self, instances: Sequence[ClusterInstance] = ()) -> tuple[int, int, bytes]:
        """(endpoint, cluster, frame): a command with edge values, mostly for one of these, or a general one."""
        rng = self.rng
        if instances and rng.random() < 0.95:
            one = rng.choice(instances)
            other = Side.CLIENT if one.side is Side.SERVER else Side.SERVER
            endpoint, cluster, sender = one.endpoint, one.cluster, other
        else:
            endpoint, cluster, sender = 1, rng.choice(tuple(CLUSTERS.values())), rng.choice(tuple(Side))
        make = self._general if rng.random() < 0.4 else self._command
        return endpoint, cluster.cluster_id, make(cluster, sender)

    def _head(self, cluster: Cluster, sender: Side, command_id: int, *, is_cluster: bool) -> bytes:
        control = (0x01 if is_cluster else 0x00) | (0x08 if sender is Side.SERVER else 0)
        control |= 0x10 if self.coin() else 0
        code = cluster.manufacturer_code
        if self.rng.random() < 0.05:
            code = self.rng.choice((None, 0x1234, 0xFFF1))
        maker = b"" if code is None else code.to_bytes(2, "little")
        return (
            bytes((control | (0x04 if maker else 0),)) + maker + bytes((self.rng.randrange(256), command_id))
        )

    def _command(self, cluster: Cluster, sender: Side) -> bytes:
        commands = [command for command in cluster.commands if command.sender is sender]
        if not commands:
            return self._general(cluster, sender)
        command = self.rng.choice(commands)
        head = self._head(cluster, sender, command.command_id, is_cluster=True)
        return head + self.maybe_cut(self.payload(command.payload))

    def payload(self, payload: Payload) -> bytes:
        out = b""
        for field in payload.fields:
            if field.is_optional and self.rng.random() < 0.2:
                break
            out += self._field(field)
        return out

    def _field(self, field: Field) -> bytes:
        if not field.is_repeated and field.when is not None and self.rng.random() < 0.5:
            return b""
        times = self.rng.choice((0, 1, 1, 2, 5)) if field.is_repeated else 1
        return b"".join(self._one(field) for _ in range(times))

    def _one(self, field: Field) -> bytes:
        if field.records is not None:
            return self.payload(field.records)
        if field.type is None:
            return (
                self.octets(60)
                if field.octets == -1
                else bytes(self.octet() for _ in range(field.octets or 0))
            )
        return self.value(field.type)

    def value(self, zcl_type: ZclType, depth: int = 0) -> bytes:
        rng = self.rng
        if zcl_type.size is not None:
            if rng.random() < 0.2:
                return self.eui64().to_bytes(8, "little")[: zcl_type.size].ljust(zcl_type.size, b"\0")
            edge = rng.choice((b"\x00", b"\xff", b"\x7f", b"\x80"))
            return edge * zcl_type.size if self.coin() else bytes(self.octet() for _ in range(zcl_type.size))
        if zcl_type.name in ("octstr", "string"):
            body = self.octets(40)
            return bytes((rng.choice((len(body),) * 5 + (0xFF, 0, 0xFE)),)) + body
        if zcl_type.name in ("octstr16", "string16"):
            body = self.octets(60)
            return rng.choice((len(body),) * 5 + (0xFFFF, 0, 300)).to_bytes(2, "little") + body
        if depth > 4:
            return b"\0\0\0"
        inner = rng.choice(tuple(BY_ID.values()))
        count = rng.randrange(4)
        values = b"".join(self.value(inner, depth + 1) for _ in range(count))
        return bytes((inner.type_id,)) + count.to_bytes(2, "little") + values

    def _attribute(self, cluster: Cluster, sender: Side) -> tuple[int, ZclType]:
        rows = [row for side in Side if side is not sender for row in cluster.attributes_by_id[side].values()]
        if not rows or self.rng.random() < 0.1:
            return self.rng.choice((0, 0xFFFD, 0xFFFF)), self.rng.choice(tuple(BY_ID.values()))
        row = self.rng.choice(rows)
        is_wrong = self.rng.random() < 0.1
        return row.attribute_id, self.rng.choice(tuple(BY_ID.values())) if is_wrong else row.type

    def _general(self, cluster: Cluster, sender: Side) -> bytes:
        rng = self.rng
        command = rng.choice((*GENERAL, *GENERAL, rng.randrange(256)))
        body = b""
        for _ in range(rng.randrange(6)):
            attribute_id, zcl_type = self._attribute(cluster, sender)
            name, typed = attribute_id.to_bytes(2, "little"), bytes((zcl_type.type_id,))
            match command:
                case GeneralCommand.READ_ATTRIBUTES:
                    body += name
                case GeneralCommand.READ_ATTRIBUTES_RESPONSE:
                    body += name + rng.choice((b"\0" + typed + self.value(zcl_type), b"\x86"))
                case GeneralCommand.CONFIGURE_REPORTING:
                    change = self.value(zcl_type)
                    times = rng.choice((0, 1, 5, 60, 0xFFFF)), rng.choice((0, 1, 30, 0xFFFF))
                    body += b"\0" + name + typed + b"".join(t.to_bytes(2, "little") for t in times) + change
                case GeneralCommand.READ_ATTRIBUTES_STRUCTURED:
                    body += name + self._selector()
                case GeneralCommand.WRITE_ATTRIBUTES_STRUCTURED:
                    body += name + self._selector() + typed + self.value(zcl_type)
                case GeneralCommand.READ_REPORTING_CONFIGURATION:
                    body += bytes((rng.randrange(3),)) + name
                case (
                    GeneralCommand.WRITE_ATTRIBUTES
                    | GeneralCommand.WRITE_ATTRIBUTES_UNDIVIDED
                    | GeneralCommand.WRITE_ATTRIBUTES_NO_RESPONSE
                    | GeneralCommand.REPORT_ATTRIBUTES
                ):
                    body += name + typed + self.value(zcl_type)
                case _:
                    body += self.octets(6)
        head = self._head(cluster, sender, int(command), is_cluster=False)
        return head + self.maybe_cut(body)

    def _selector(self) -> bytes:
        depth = self.rng.choice((0, 1, 2, 15, 0x10, 0x20, 0xFF))
        return bytes((depth,)) + b"".join(self.octets(2).ljust(2, b"\0") for _ in range(depth & 0x0F))
