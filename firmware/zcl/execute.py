"""The pure heart: one ZCL frame in, the answering frame or nothing out.

The same for a frame off the air, over the wire between hub and electricity meter, in an instruction of
the head end, or inside a Critical Instruction; `CommandContext.via` says which.

Default responses follow ZCL 07-5123 rev 7, 2.5.12.2: to a unicast that is itself no Default Response
and got no other answer; where the asker disabled it, only to tell an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from smets1.errors import DecodeError, MisuseError, RefusedError
from smets1.firmware.zcl import general, structured
from smets1.firmware.zcl.clusters import CLUSTERS, cluster_named
from smets1.firmware.zcl.declare import Attribute, Cluster
from smets1.firmware.zcl.frame import ZclHeader
from smets1.firmware.zcl.general import GeneralMessage
from smets1.firmware.zcl.reporting import ReportingEngine
from smets1.firmware.zcl.security import Verdict, judge
from smets1.firmware.zcl.server import ClusterInstance, CommandContext, Later, Reply, Via
from smets1.firmware.zcl.status import FrameType, GeneralCommand, Side, Status, to_status
from smets1.firmware.zcl.types import Kind, Value

__all__ = ["Counters", "Guard", "ZclCore", "find_cluster"]

Guard: TypeAlias = Callable[[ClusterInstance, str, CommandContext], None]
"""Asked before a command (its name) or a write ("write " and the attribute's name) is obeyed.
Raises RefusedError to refuse."""

_Answer: TypeAlias = tuple[FrameType, int, bytes] | Status | None


@dataclass(slots=True)
class Counters:
    """What was seen and not obeyed."""

    malformed: int = 0
    unprotected: int = 0  # network key only, on a protected cluster
    wrong_key: int = 0


def find_cluster(cluster: Cluster | int | str) -> Cluster:
    """By id or name. Raises MisuseError for one that is not declared."""
    if isinstance(cluster, Cluster):
        return cluster
    if isinstance(cluster, str):
        return cluster_named(cluster)
    if (found := CLUSTERS.get(cluster)) is None:
        raise MisuseError(f"cluster 0x{cluster:04X} is not declared")
    return found


class ZclCore:
    """The endpoints of a device with their clusters, and what frames do to them. No I/O."""

    def __init__(self, *, guard: Guard | None = None) -> None:
        self._instances: dict[tuple[int, int, Side], ClusterInstance] = {}
        self.guard = guard
        self.reporting = ReportingEngine()
        self.counters = Counters()
        self.on_change: Callable[[], None] | None = None  # reporting may be due earlier
        self.on_malformed: Callable[[], None] = lambda: None  # a command that cannot be read
        self.on_configured: Callable[[ClusterInstance, CommandContext], None] | None = None
        self.on_removed: Callable[[ClusterInstance], None] | None = None
        self._general: dict[int, Callable[[ClusterInstance, bytes, CommandContext], _General]] = {
            GeneralCommand.READ_ATTRIBUTES: self._read,
            GeneralCommand.WRITE_ATTRIBUTES: self._write,
            GeneralCommand.WRITE_ATTRIBUTES_UNDIVIDED: self._write_undivided,
            GeneralCommand.WRITE_ATTRIBUTES_NO_RESPONSE: self._write_no_response,
            GeneralCommand.CONFIGURE_REPORTING: self._configure_reporting,
            GeneralCommand.READ_REPORTING_CONFIGURATION: self._read_reporting,
            GeneralCommand.REPORT_ATTRIBUTES: self._report,
            GeneralCommand.DISCOVER_ATTRIBUTES: self._discover,
            GeneralCommand.DISCOVER_ATTRIBUTES_EXTENDED: self._discover_extended,
            GeneralCommand.DISCOVER_COMMANDS_RECEIVED: self._discover_received,
            GeneralCommand.DISCOVER_COMMANDS_GENERATED: self._discover_generated,
            GeneralCommand.READ_ATTRIBUTES_STRUCTURED: self._read_structured,
            GeneralCommand.WRITE_ATTRIBUTES_STRUCTURED: self._write_structured,
        }

    # --- endpoints ------------------------------------------------------------------------------------

    def add_server(self, endpoint: int, cluster: Cluster | int | str) -> ClusterInstance:
        return self._add(endpoint, find_cluster(cluster), Side.SERVER)

    def add_client(self, endpoint: int, cluster: Cluster | int | str) -> ClusterInstance:
        return self._add(endpoint, find_cluster(cluster), Side.CLIENT)

    def obtain_server(self, endpoint: int, cluster: Cluster | int | str) -> ClusterInstance:
        """The one that is there, else a new one: for several modules that share a cluster."""
        return self._obtain(endpoint, find_cluster(cluster), Side.SERVER)

    def obtain_client(self, endpoint: int, cluster: Cluster | int | str) -> ClusterInstance:
        """As `obtain_server`."""
        return self._obtain(endpoint, find_cluster(cluster), Side.CLIENT)

    def server(self, endpoint: int, cluster: Cluster | int | str) -> ClusterInstance:
        """Raises MisuseError where there is none."""
        return self._find(endpoint, find_cluster(cluster), Side.SERVER)

    def client(self, endpoint: int, cluster: Cluster | int | str) -> ClusterInstance:
        """Raises MisuseError where there is none."""
        return self._find(endpoint, find_cluster(cluster), Side.CLIENT)

    def remove_endpoint(self, endpoint: int) -> None:
        """Take an endpoint away, as a hub does with a mirror."""
        for key in [key for key in self._instances if key[0] == endpoint]:
            instance = self._instances.pop(key)
            self.reporting.remove(instance)
            if self.on_removed is not None:
                self.on_removed(instance)

    def find(self, endpoint: int, cluster_id: int, side: Side) -> ClusterInstance | None:
        return self._instances.get((endpoint, cluster_id, side))

    def clusters_of(self, endpoint: int, side: Side) -> list[int]:
        """Cluster ids of one side, for the simple descriptor, ascending."""
        return sorted(key[1] for key in self._instances if key[0] == endpoint and key[2] is side)

    @property
    def endpoints(self) -> list[int]:
        return sorted({key[0] for key in self._instances})

    def _add(self, endpoint: int, cluster: Cluster, side: Side) -> ClusterInstance:
        key = (endpoint, cluster.cluster_id, side)
        if key in self._instances:
            raise MisuseError(f"{self._instances[key]!r} is there already")
        instance = self._instances[key] = ClusterInstance(endpoint, cluster, side, self._changed)
        return instance

    def _obtain(self, endpoint: int, cluster: Cluster, side: Side) -> ClusterInstance:
        found = self._instances.get((endpoint, cluster.cluster_id, side))
        return self._add(endpoint, cluster, side) if found is None else found

    def _find(self, endpoint: int, cluster: Cluster, side: Side) -> ClusterInstance:
        try:
            return self._instances[endpoint, cluster.cluster_id, side]
        except KeyError:
            raise MisuseError(f"endpoint {endpoint} has no {cluster.name} {side.name.lower()}") from None

    def _changed(self, instance: ClusterInstance, attribute: Attribute) -> None:
        if self.reporting.on_value(instance, attribute) and self.on_change is not None:
            self.on_change()

    def _count_malformed(self) -> None:
        self.counters.malformed += 1
        self.on_malformed()

    # --- one frame ------------------------------------------------------------------------------------

    def execute(self, endpoint: int, cluster_id: int, frame: bytes, context: CommandContext) -> bytes | None:
        """Run one whole ZCL frame off the air, wire or WAN; the answering frame, or None where none is due.

        Raises nothing for any octets; what a handler raises as MisuseError is our own bug.
        """
        verdict = Verdict.ACCEPT
        if context.via is Via.HAN:
            verdict = judge(cluster_id, frame, context.security, is_broadcast=context.is_broadcast)
        try:
            header, payload = ZclHeader.decode(frame)
        except DecodeError:
            if verdict is Verdict.ACCEPT:
                self._count_malformed()
            else:  # who shows no link key leaves no trace in a log
                self.counters.malformed += 1
            return None
        answer: _Answer
        if verdict is Verdict.DROP:
            self.counters.wrong_key += 1
            return None
        if verdict is Verdict.ANSWER_FAILURE:
            self.counters.unprotected += 1
            answer = Status.FAILURE
        else:
            answer = self._obey(endpoint, cluster_id, header, payload, context)
        return None if context.is_broadcast else _encode_answer(header, answer)

    def _obey(
        self, endpoint: int, cluster_id: int, header: ZclHeader, payload: bytes, context: CommandContext
    ) -> _Answer:
        side = Side.SERVER if header.sender is Side.CLIENT else Side.CLIENT
        instance = self._instances.get((endpoint, cluster_id, side))
        if instance is None:
            return Status.UNSUPPORTED_CLUSTER
        try:
            if header.frame_type is FrameType.GLOBAL:
                return self._obey_general(instance, header, payload, context)
            return self._obey_command(instance, header, payload, context)
        except DecodeError as error:
            self._count_malformed()
            return to_status(error.status or Status.MALFORMED_COMMAND)
        except RefusedError as error:
            return to_status(error.status)

    def _obey_command(
        self, instance: ClusterInstance, header: ZclHeader, payload: bytes, context: CommandContext
    ) -> _Answer:
        cluster = instance.cluster
        handler = instance.handlers.get(header.command_id)
        if handler is None or header.manufacturer_code != cluster.manufacturer_code:
            is_standard = header.manufacturer_code is None
            return Status.UNSUP_CLUSTER_COMMAND if is_standard else Status.UNSUP_MANUF_CLUSTER_COMMAND
        name, obey = handler
        declared = cluster.commands_by_id[header.sender, header.command_id].payload
        values = declared.without_blanks(declared.decode(payload))
        context = replace(
            context,
            endpoint=instance.endpoint,
            cluster_id=cluster.cluster_id,
            side=instance.side,
            sequence=header.sequence,
        )
        if self.guard is not None:
            self.guard(instance, name, context)
        answer = obey(values, context)
        if isinstance(answer, Reply):
            command = cluster.command(answer.name, instance.side)
            return FrameType.CLUSTER, command.command_id, command.payload.encode(answer.values)
        if isinstance(answer, Later):
            return None
        return Status.SUCCESS if answer is None else answer

    def _obey_general(
        self, instance: ClusterInstance, header: ZclHeader, payload: bytes, context: CommandContext
    ) -> _Answer:
        if header.manufacturer_code not in (None, instance.cluster.manufacturer_code):
            return Status.UNSUP_MANUF_GENERAL_COMMAND
        obey = self._general.get(header.command_id)
        if obey is None:
            # answers that nobody waits for any more: well formed, so no error; others: unknown
            known = header.command_id in general.GENERAL
            return Status.SUCCESS if known else Status.UNSUP_GENERAL_COMMAND
        answer = obey(instance, payload, context)
        if isinstance(answer, Status) or answer is None:
            return answer
        return FrameType.GLOBAL, answer.COMMAND_ID, answer.encode()

    # --- general commands -----------------------------------------------------------------------------

    def _read(self, instance: ClusterInstance, payload: bytes, context: CommandContext) -> _General:
        records = []
        for attribute_id in general.ReadAttributes.decode(payload).attribute_ids:
            try:
                found = instance.read(attribute_id)
            except RefusedError as error:
                records.append(general.ReadRecord(attribute_id, error.status))
                continue
            if found is None:
                records.append(general.ReadRecord(attribute_id, Status.UNSUPPORTED_ATTRIBUTE))
            else:
                records.append(general.ReadRecord(attribute_id, 0, found[0].type.type_id, found[1]))
        return general.ReadAttributesResponse(tuple(records))

    def _may_write(
        self, instance: ClusterInstance, record: general.TypedValue, context: CommandContext
    ) -> Status:
        status = instance.check_write(record.attribute_id, record.type_id, record.value)
        attribute = instance.attribute(record.attribute_id)
        if status is Status.SUCCESS and self.guard is not None and attribute is not None:
            try:
                self.guard(instance, "write " + attribute.name, context)
            except RefusedError as error:
                return to_status(error.status)
        return status

    def _write_each(
        self, instance: ClusterInstance, payload: bytes, context: CommandContext
    ) -> tuple[general.StatusRecord, ...]:
        failed = []
        for record in general.WriteAttributes.decode(payload).records:
            status = self._may_write(instance, record, context)
            if status is Status.SUCCESS:
                status = instance.write(record.attribute_id, record.value, context)
            if status is not Status.SUCCESS:
                failed.append(general.StatusRecord(status, record.attribute_id))
        return tuple(failed)

    def _write(self, instance: ClusterInstance, payload: bytes, context: CommandContext) -> _General:
        return general.WriteAttributesResponse(self._write_each(instance, payload, context))

    def _write_no_response(
        self, instance: ClusterInstance, payload: bytes, context: CommandContext
    ) -> _General:
        self._write_each(instance, payload, context)
        return None

    def _write_undivided(
        self, instance: ClusterInstance, payload: bytes, context: CommandContext
    ) -> _General:
        """All or none: where a hook refuses, those before it get their former values back, last first."""
        records = general.WriteAttributesUndivided.decode(payload).records
        outcomes = [(record, self._may_write(instance, record, context)) for record in records]
        if all(status is Status.SUCCESS for _, status in outcomes):
            outcomes = _write_all(instance, records, context)
        return general.WriteAttributesResponse(
            tuple(
                general.StatusRecord(status, record.attribute_id)
                for record, status in outcomes
                if status is not Status.SUCCESS
            )
        )

    def _configure_reporting(
        self, instance: ClusterInstance, payload: bytes, context: CommandContext
    ) -> _General:
        failed = []
        records = general.ConfigureReporting.decode(payload).records
        for record in records:
            status = self.reporting.configure(instance, record, now_us=context.now_us)
            if status is not Status.SUCCESS:
                failed.append(general.ReportingStatus(status, record.direction, record.attribute_id))
        if self.on_configured is not None and len(failed) < len(records):
            self.on_configured(instance, context)
        return general.ConfigureReportingResponse(tuple(failed))

    def _read_reporting(self, instance: ClusterInstance, payload: bytes, context: CommandContext) -> _General:
        answers = []
        for direction, attribute_id in general.ReadReportingConfiguration.decode(payload).records:
            configuration = None if direction else self.reporting.configuration(instance, attribute_id)
            status = Status.SUCCESS
            if instance.attribute(attribute_id) is None:
                status = Status.UNSUPPORTED_ATTRIBUTE
            elif configuration is None:
                status = Status.NOT_FOUND
            answers.append(general.ReportingAnswer(status, direction, attribute_id, configuration))
        return general.ReadReportingConfigurationResponse(tuple(answers))

    def _report(self, instance: ClusterInstance, payload: bytes, context: CommandContext) -> _General:
        records = general.ReportAttributes.decode(payload).records
        if instance.report_handler is None:
            return Status.UNSUP_GENERAL_COMMAND
        sender = Side.SERVER if instance.side is Side.CLIENT else Side.CLIENT
        names = instance.cluster.attributes_by_id[sender]
        values = {}
        for attribute_id, _, value in records:
            attribute = names.get(attribute_id)
            values[f"attribute_{attribute_id:04x}" if attribute is None else attribute.name] = value
        context = replace(
            context, endpoint=instance.endpoint, cluster_id=instance.cluster.cluster_id, side=instance.side
        )
        instance.report_handler(values, context)
        return Status.SUCCESS

    def _discover(self, instance: ClusterInstance, payload: bytes, context: CommandContext) -> _General:
        asked = general.DiscoverAttributes.decode(payload)
        found = [row for row in instance.supported if row.attribute_id >= asked.first_id]
        records = tuple(
            general.DiscoveredAttribute(row.attribute_id, row.type.type_id) for row in found[: asked.maximum]
        )
        return general.DiscoverAttributesResponse(len(found) <= asked.maximum, records)

    def _discover_extended(
        self, instance: ClusterInstance, payload: bytes, context: CommandContext
    ) -> _General:
        asked = general.DiscoverAttributesExtended.decode(payload)
        found = [row for row in instance.supported if row.attribute_id >= asked.first_id]
        records = tuple(
            general.ExtendedAttribute(row.attribute_id, row.type.type_id, _access(row))
            for row in found[: asked.maximum]
        )
        return general.DiscoverAttributesExtendedResponse(len(found) <= asked.maximum, records)

    def _discover_received(
        self, instance: ClusterInstance, payload: bytes, context: CommandContext
    ) -> _General:
        asked = general.DiscoverCommandsReceived.decode(payload)
        found = [ident for ident in sorted(instance.handlers) if ident >= asked.first_id]
        complete = len(found) <= asked.maximum
        return general.DiscoverCommandsReceivedResponse(complete, tuple(found[: asked.maximum]))

    def _discover_generated(
        self, instance: ClusterInstance, payload: bytes, context: CommandContext
    ) -> _General:
        asked = general.DiscoverCommandsGenerated.decode(payload)
        commands = instance.cluster.commands_by_id
        found = sorted(
            ident for sender, ident in commands if sender is instance.side and ident >= asked.first_id
        )
        complete = len(found) <= asked.maximum
        return general.DiscoverCommandsGeneratedResponse(complete, tuple(found[: asked.maximum]))

    def _read_structured(
        self, instance: ClusterInstance, payload: bytes, context: CommandContext
    ) -> _General:
        return structured.read(instance, payload)

    def _write_structured(
        self, instance: ClusterInstance, payload: bytes, context: CommandContext
    ) -> _General:
        return structured.write(instance, payload, context, self._may_write)


_General: TypeAlias = GeneralMessage | Status | None

_READABLE: Final = 0x01
_WRITABLE: Final = 0x02
_REPORTABLE: Final = 0x04


def _access(attribute: Attribute) -> int:
    access = _READABLE
    if attribute.is_writable:
        access |= _WRITABLE
    return access if attribute.type.kind is Kind.COMPOSITE else access | _REPORTABLE


def _write_all(
    instance: ClusterInstance, records: tuple[general.TypedValue, ...], context: CommandContext
) -> list[tuple[general.TypedValue, Status]]:
    """Write one after the other up to the first that is refused; then undo.

    A hook that judges values takes its former one back. One that judges the moment may refuse even that:
    the answer then names that attribute too, with FAILURE, so that nobody takes it for unchanged.
    """
    done: list[tuple[general.TypedValue, Value]] = []
    for record in records:
        found = instance.read(record.attribute_id)
        status = instance.write(record.attribute_id, record.value, context)
        if status is not Status.SUCCESS:
            stuck = [
                (undone, Status.FAILURE)
                for undone, former in reversed(done)
                if instance.write(undone.attribute_id, former, context) is not Status.SUCCESS
            ]
            return [(record, status), *stuck]
        done.append((record, None if found is None else found[1]))
    return [(record, Status.SUCCESS) for record in records]


def _encode_answer(header: ZclHeader, answer: _Answer) -> bytes | None:
    """The frame for an outcome, by the rules of default responses."""
    if answer is None:
        return None
    if not isinstance(answer, Status):
        frame_type, command_id, payload = answer
        return header.answer(frame_type, command_id).encode() + payload
    is_global = header.frame_type is FrameType.GLOBAL
    if is_global and header.command_id == GeneralCommand.DEFAULT_RESPONSE:
        return None
    if answer is Status.SUCCESS and header.disable_default_response:
        return None
    head = header.answer(FrameType.GLOBAL, GeneralCommand.DEFAULT_RESPONSE)
    return head.encode() + bytes((header.command_id, answer))
