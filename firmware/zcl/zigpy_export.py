"""Our cluster declarations as zigpy clusters, so that zigpy programs read Smart Energy devices.

    from smets1.firmware.zcl.zigpy_export import export_clusters
    clusters = export_clusters()                       # cluster id -> class, zigpy's registry untouched
    clusters = export_clusters(registers=True)         # zigpy and quirks find them by cluster id

zigpy's own Price, Prepayment, Messaging, Tunneling, Calendar, Device Management, Events and Key Establishment
are empty. Importing this module needs zigpy (the extra `radio`); nothing else of the package imports it.

Left out: attributes of the client side, for which zigpy has no place; defaults and ranges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from zigpy import types as t
from zigpy.zcl import Cluster as ZigpyCluster
from zigpy.zcl import foundation as typed_foundation

from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.declare import Attribute, Cluster, Command
from smets1.firmware.zcl.fields import Field, Payload, Values
from smets1.firmware.zcl.status import Side
from smets1.firmware.zcl.types import ZclDate, ZclTimeOfDay, ZclType

__all__ = ["export_cluster", "export_clusters", "field_name", "plain", "plain_values"]

# zigpy's definitions take plain numbers and strings and convert them; their annotations say otherwise.
foundation: Any = typed_foundation

_RESERVED: Final = frozenset(dir(foundation.CommandSchema)) - {"count", "index"}


def field_name(name: str) -> str:
    """What a field is called there: names that mean something to zigpy's Struct get an underscore."""
    return f"{name}_" if name in _RESERVED else name


def export_clusters(*, registers: bool = False) -> dict[int, type[ZigpyCluster]]:
    """Every declared cluster. `registers`: also put them into zigpy's registry, in place of its own."""
    exported = {cluster_id: export_cluster(cluster) for cluster_id, cluster in CLUSTERS.items()}
    if registers:
        ZigpyCluster._registry.update(exported)
    return exported


def export_cluster(cluster: Cluster) -> type[ZigpyCluster]:
    """One cluster as a class. "Server commands" are there those that the server receives."""
    code = cluster.manufacturer_code
    attributes = {row.name: _attribute(row, code) for row in cluster.server}
    commands = {
        side: {
            command.name: _command(command, code) for command in cluster.commands if command.sender is side
        }
        for side in Side
    }
    body = {
        "cluster_id": cluster.cluster_id,
        "name": "".join(word.capitalize() for word in cluster.name.split("_")),
        "ep_attribute": cluster.name,
        "_skip_registry": True,
        "AttributeDefs": type("AttributeDefs", (foundation.BaseAttributeDefs,), attributes),
        "ServerCommandDefs": type("ServerCommandDefs", (foundation.BaseCommandDefs,), commands[Side.CLIENT]),
        "ClientCommandDefs": type("ClientCommandDefs", (foundation.BaseCommandDefs,), commands[Side.SERVER]),
    }
    return type(str(body["name"]), (ZigpyCluster,), body)


def _attribute(row: Attribute, manufacturer_code: int | None) -> typed_foundation.ZCLAttributeDef:
    made: typed_foundation.ZCLAttributeDef = foundation.ZCLAttributeDef(
        id=row.attribute_id,
        name=row.name,
        type=_python_type(row.type),
        zcl_type=foundation.DataTypeId(row.type.type_id),
        access="rw" if row.is_writable else "rp",
        mandatory=row.is_mandatory,
        manufacturer_code=manufacturer_code,
    )
    return made


def _command(command: Command, manufacturer_code: int | None) -> typed_foundation.ZCLCommandDef:
    made: typed_foundation.ZCLCommandDef = foundation.ZCLCommandDef(
        id=command.command_id,
        name=command.name,
        schema=_struct(command.name, command.payload, foundation.CommandSchema),
        manufacturer_code=manufacturer_code,
    )
    return made


# --- payloads -------------------------------------------------------------------------------------------


def _struct(name: str, payload: Payload, base: type) -> type:
    """The payload as a zigpy Struct; conditions, counts and optional tails become its field options."""
    body: dict[str, Any] = {"__annotations__": {}}
    for field in payload.fields:
        key = field_name(field.name)
        body["__annotations__"][key] = "None"
        body[key] = t.StructField(
            type=_field_type(name, field),
            optional=field.is_optional,
            requires=_requirement(field),
            length=_length(field),
        )
    return type(name, (base,), body)


def _field_type(name: str, field: Field) -> type:
    item: type
    if field.records is not None:
        item = _struct(f"{name}_{field.name}", field.records, t.Struct)
    elif field.octets is not None:
        item = t.Bytes if field.octets < 0 else _octets_type(field.octets)
    else:
        assert field.type is not None
        item = _python_type(field.type)
    return t.List[item] if field.is_repeated else item  # type: ignore[valid-type]


def _requirement(field: Field) -> Callable[[Any], bool] | None:
    if field.when is None:
        return None
    name, operator, operand = field.when
    key = field_name(name)
    if operator == "&":
        return lambda struct: bool((getattr(struct, key) or 0) & operand)
    return lambda struct: bool(getattr(struct, key) == operand)


def _length(field: Field) -> Callable[[Any], int] | None:
    if field.count is None:
        return None
    key = field_name(field.count)
    return lambda struct: int(getattr(struct, key))


def _python_type(zcl_type: ZclType) -> type:
    found: type = foundation.DataType.from_type_id(zcl_type.type_id).python_type
    return found


_OCTETS_TYPES: Final[dict[int, type]] = {}


def _octets_type(size: int) -> type:
    """Bare octets of a fixed number, which zigpy has no type for."""
    if size in _OCTETS_TYPES:
        return _OCTETS_TYPES[size]

    def deserialize(cls: type, octets: bytes) -> tuple[bytes, bytes]:
        if len(octets) < size:
            raise ValueError(f"{size} octets wanted, {len(octets)} left")
        value: bytes = cls(octets[:size])
        return value, octets[size:]

    def serialize(self: bytes) -> bytes:
        return bytes(self)

    body = {"serialize": serialize, "deserialize": classmethod(deserialize)}
    made = _OCTETS_TYPES[size] = type(f"Octets{size}", (bytes,), body)
    return made


# --- values ---------------------------------------------------------------------------------------------


def plain_values(command: Any, payload: Payload) -> Values:
    """What zigpy has read, as `payload.decode` gives it: by our field names, absent fields left out."""
    values: Values = {}
    for field in payload.fields:
        value = getattr(command, field_name(field.name))
        if value is not None:
            values[field.name] = _plain_field(value, field)
    return values


def _plain_field(value: Any, field: Field) -> Any:
    if field.is_repeated:
        if field.records is not None:
            records = field.records
            return [plain_values(item, records) for item in value]
        return [plain(item) for item in value]
    return plain(value)


def plain(value: Any) -> Any:
    """A zigpy value as ours (`types` says what that is): EUI-64s are ints, absent dates all-ones."""
    if isinstance(value, t.EUI64):
        return int.from_bytes(value.serialize(), "little")
    if isinstance(value, t.KeyData):
        return value.serialize()
    if isinstance(value, t.Bool):
        return bool(value)
    if isinstance(value, t.Date):
        return ZclDate(*value.serialize())
    if isinstance(value, t.TimeOfDay):
        return ZclTimeOfDay(*value.serialize())
    kinds: tuple[type[Any], ...] = (int, float, bytes, str)
    for kind in kinds:
        if isinstance(value, kind):
            return kind(value)
    return value
