"""The application layer of a device: `ZclCore` joined to a HAN port. The only asyncio in this package.

    app = ZclApplication(han=port, post=shell.post, scheduler=loop)
    metering = app.core.add_server(1, "metering")
    metering.bind("current_summation_delivered", lambda: meter.energy_wh)
    metering.handle("change_supply", on_change_supply)
    values = await app.read(0x0000, 1, "time", ["time"])
    answer = await app.request(0x0000, 1, "prepayment", "consumer_top_up", originating_device=2, ...)

Answers, reports and other messages that nobody waits for go out through `post`, which the device's shell
supplies (fire and forget: it logs what could not be delivered). The shell passes `on_message` on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from smets1.errors import ClosedError, DecodeError, MisuseError, NoAnswerError, RefusedError
from smets1.firmware.nvm import Nvm
from smets1.firmware.zcl import general
from smets1.firmware.zcl.declare import Cluster
from smets1.firmware.zcl.execute import Guard, ZclCore, find_cluster
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.frame import ZclFrame, ZclHeader, command_frame, general_frame
from smets1.firmware.zcl.general import GeneralMessage
from smets1.firmware.zcl.records import TypedValue
from smets1.firmware.zcl.report_targets import ReportRoutes, ReportTargets
from smets1.firmware.zcl.security import Verdict, is_protected, judge
from smets1.firmware.zcl.server import ClusterInstance, CommandContext, Via
from smets1.firmware.zcl.status import FrameType, GeneralCommand, Side, to_status
from smets1.firmware.zcl.types import Value
from smets1.hardware.clock import Scheduler, Timer
from smets1.hardware.radio import ApsIndication, ApsMessage, ApsSecurity, BoundTarget

__all__ = ["DEFAULT_TIMEOUT_US", "SE_PROFILE", "ApsSender", "ZclApplication"]

SE_PROFILE: Final = 0x0109
_HOME_AUTOMATION: Final = 0x0104  # general hosts (zigbee-herdsman) ask under it, whatever an endpoint says
DEFAULT_TIMEOUT_US: Final = 15_000_000  # two polls of a sleepy device at its fast rate, and then some


class ApsSender(Protocol):
    """What is needed of a HAN port."""

    async def send(self, message: ApsMessage) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where a message goes, and from where."""

    cluster: Cluster
    destination: int
    endpoint: int
    source_endpoint: int
    is_secured: bool | None = None  # None: as the cluster needs

    def message(self, frame: bytes, profile_id: int) -> ApsMessage:
        cluster_id = self.cluster.cluster_id
        return ApsMessage(
            destination=self.destination,
            destination_endpoint=self.endpoint,
            source_endpoint=self.source_endpoint,
            cluster_id=cluster_id,
            profile_id=profile_id,
            payload=frame,
            is_secured=is_protected(cluster_id) if self.is_secured is None else self.is_secured,
        )


@dataclass(slots=True)
class _Pending:
    """A question that waits for its answer."""

    header: ZclHeader
    future: asyncio.Future[ZclFrame]
    is_secured: bool


class ZclApplication:
    """Endpoints, requests and reports of one device."""

    def __init__(
        self,
        *,
        han: ApsSender,
        post: Callable[[ApsMessage], None],
        scheduler: Scheduler,
        guard: Guard | None = None,
        profile_id: int = SE_PROFILE,
        source_endpoint: int = 1,
        routes: ReportRoutes | None = None,
        nvm: Nvm | None = None,
    ) -> None:
        """`routes`, `nvm`: for reports, see `ReportTargets`."""
        self.core = ZclCore(guard=guard)
        self.core.on_change = self._arm
        self._targets = ReportTargets(self.core, routes, nvm)
        self._han = han
        self._post = post
        self._scheduler = scheduler
        self._profile_id = profile_id
        self._source_endpoint = source_endpoint
        self._sequence = 0
        self._pending: dict[tuple[int, int, int], _Pending] = {}  # (short address, cluster id, sequence)
        self._timer: Timer | None = None
        self._timer_us: int | None = None
        self._is_closed = False

    # --- from the HAN ---------------------------------------------------------------------------------

    def on_message(self, indication: ApsIndication) -> None:
        """For `HanListener.on_message`. Answers what is asked, wakes who waits."""
        if self._is_closed or indication.profile_id not in (self._profile_id, _HOME_AUTOMATION):
            return
        if self._resolve(indication):
            return
        context = CommandContext(
            now_us=self._scheduler.now_us(),
            via=Via.HAN,
            source=indication.source,
            source_endpoint=indication.source_endpoint,
            source_eui64=indication.source_eui64,
            security=indication.security,
            is_broadcast=indication.is_broadcast,
        )
        answer = self.core.execute(
            indication.destination_endpoint, indication.cluster_id, indication.payload, context
        )
        if answer is not None:
            self._post(
                ApsMessage(
                    destination=indication.source,
                    destination_endpoint=indication.source_endpoint,
                    source_endpoint=indication.destination_endpoint,
                    cluster_id=indication.cluster_id,
                    profile_id=indication.profile_id,
                    payload=answer,
                    is_secured=indication.security is ApsSecurity.LINK_KEY,
                )
            )
        self._arm()

    def execute(self, endpoint: int, cluster_id: int, frame: bytes, context: CommandContext) -> bytes | None:
        """One ZCL frame that did not come over the HAN (wire, WAN, inside a Critical Instruction)."""
        answer = self.core.execute(endpoint, cluster_id, frame, context)
        self._arm()
        return answer

    def _resolve(self, indication: ApsIndication) -> bool:
        """Whether this is the answer to a pending question."""
        payload = indication.payload
        if not self._pending or len(payload) < 3:
            return False
        sequence = payload[3] if payload[0] & 0x04 and len(payload) >= 5 else payload[1]
        key = (indication.source, indication.cluster_id, sequence)
        pending = self._pending.get(key)
        if pending is None or indication.is_broadcast:
            return False
        try:
            frame = ZclFrame.decode(payload)
        except DecodeError:
            return False
        if frame.header.sender is pending.header.sender or not _answers(pending.header, frame):
            return False
        verdict = judge(indication.cluster_id, payload, indication.security, is_broadcast=False)
        if verdict is not Verdict.ACCEPT and pending.is_secured:
            return False  # asked under the link key, answered without: not from whom we asked
        if not pending.future.done():
            pending.future.set_result(frame)
        return True

    # --- questions ------------------------------------------------------------------------------------

    async def request(
        self,
        destination: int,
        endpoint: int,
        cluster: Cluster | int | str,
        command: str,
        /,
        *,
        source_endpoint: int | None = None,
        sender: Side = Side.CLIENT,
        timeout_us: int = DEFAULT_TIMEOUT_US,
        is_secured: bool | None = None,
        **fields: Any,
    ) -> Values:
        """Ask by cluster command; the fields of the answering command, {} for a Default Response SUCCESS.

        A string that is not available comes as an empty one.

        `sender`: SERVER for the commands that a server sends (a meter asking for a mirror).
        `is_secured`: None follows the cluster. Raises NoAnswerError, RefusedError(status) for a Default
        Response that is not SUCCESS, DecodeError for an answer that cannot be read.
        """
        target = find_cluster(cluster)
        header = ZclHeader(
            frame_type=FrameType.CLUSTER,
            sender=sender,
            manufacturer_code=target.manufacturer_code,
            sequence=self._next_sequence(destination, target.cluster_id),
            command_id=target.command(command, sender).command_id,
        )
        payload = target.command(command, sender).payload.encode(fields)
        route = self._target(target, destination, endpoint, source_endpoint, is_secured)
        frame = await self._ask(route, header, payload, timeout_us)
        if frame.header.frame_type is FrameType.CLUSTER:
            name, values = frame.command(target)
            return target.command(name, frame.header.sender).payload.without_blanks(values)
        _check_default_response(frame)
        return {}

    async def general(
        self,
        destination: int,
        endpoint: int,
        cluster: Cluster | int | str,
        message: GeneralMessage,
        /,
        *,
        source_endpoint: int | None = None,
        sender: Side = Side.CLIENT,
        timeout_us: int = DEFAULT_TIMEOUT_US,
        is_secured: bool | None = None,
    ) -> GeneralMessage:
        """Ask by general command; the answering message. `sender` CLIENT asks the other's server side.

        Raises NoAnswerError, RefusedError(status) for a Default Response that is not SUCCESS, DecodeError.
        """
        target = find_cluster(cluster)
        header = ZclHeader(
            frame_type=FrameType.GLOBAL,
            sender=sender,
            manufacturer_code=target.manufacturer_code,
            sequence=self._next_sequence(destination, target.cluster_id),
            command_id=message.COMMAND_ID,
        )
        route = self._target(target, destination, endpoint, source_endpoint, is_secured)
        frame = await self._ask(route, header, message.encode(), timeout_us)
        if frame.header.command_id == GeneralCommand.DEFAULT_RESPONSE:
            _check_default_response(frame)
        return frame.general()

    async def read(
        self,
        destination: int,
        endpoint: int,
        cluster: Cluster | int | str,
        names: Iterable[str],
        /,
        *,
        sender: Side = Side.CLIENT,
        **options: Any,
    ) -> Values:
        """Attribute values by name; those that the other does not have are left out.

        A value that is "not available" comes as it is on the air (`ZclType.invalid`). Raises as `general`.
        """
        target = find_cluster(cluster)
        side = _opposite(sender)
        rows = [target.attribute(name, side) for name in names]
        asked = general.ReadAttributes(tuple(row.attribute_id for row in rows))
        answer = await self.general(destination, endpoint, target, asked, sender=sender, **options)
        if not isinstance(answer, general.ReadAttributesResponse):
            raise RefusedError(to_status(None), "answered a read with something else")
        by_id = target.attributes_by_id[side]
        return {
            by_id[record.attribute_id].name: record.value
            for record in answer.records
            if record.status == 0 and record.attribute_id in by_id
        }

    async def write(
        self,
        destination: int,
        endpoint: int,
        cluster: Cluster | int | str,
        values: Mapping[str, Value],
        /,
        *,
        sender: Side = Side.CLIENT,
        is_undivided: bool = False,
        **options: Any,
    ) -> None:
        """Write attributes by name.

        Raises RefusedError with the status of the first that failed, and as `general`.
        """
        target = find_cluster(cluster)
        records = []
        for name, value in values.items():
            row = target.attribute(name, _opposite(sender))
            records.append(general.TypedValue(row.attribute_id, row.type.type_id, value))
        kind = general.WriteAttributesUndivided if is_undivided else general.WriteAttributes
        answer = await self.general(
            destination, endpoint, target, kind(tuple(records)), sender=sender, **options
        )
        if isinstance(answer, general.WriteAttributesResponse) and answer.failed:
            failed = answer.failed[0]
            raise RefusedError(failed.status, f"write of attribute 0x{failed.attribute_id:04X} refused")

    async def configure_reporting(
        self,
        destination: int,
        endpoint: int,
        cluster: Cluster | int | str,
        wanted: Mapping[str, tuple[int, int, Value]],
        /,
        **options: Any,
    ) -> None:
        """`wanted`: attribute name -> (minimum interval in s, maximum interval in s, reportable change).

        The change is ignored for discrete types. Raises as `write`.
        """
        target = find_cluster(cluster)
        records = []
        for name, (low_s, high_s, change) in wanted.items():
            row = target.attribute(name)
            records.append(
                general.ReportingRecord(0, row.attribute_id, row.type.type_id, low_s, high_s, change)
            )
        message = general.ConfigureReporting(tuple(records))
        answer = await self.general(destination, endpoint, target, message, **options)
        if isinstance(answer, general.ConfigureReportingResponse) and answer.failed:
            failed = answer.failed[0]
            raise RefusedError(failed.status, f"reporting of attribute 0x{failed.attribute_id:04X} refused")

    def command(
        self,
        destination: int,
        endpoint: int,
        cluster: Cluster | int | str,
        command: str,
        /,
        *,
        source_endpoint: int | None = None,
        sender: Side = Side.CLIENT,
        is_secured: bool | None = None,
        **fields: Any,
    ) -> None:
        """Send a cluster command and wait for nothing; no Default Response is asked for unless it fails."""
        target = find_cluster(cluster)
        frame = command_frame(
            target,
            command,
            fields,
            sender=sender,
            sequence=self._next_sequence(destination, target.cluster_id),
            disable_default_response=True,
        )
        route = self._target(target, destination, endpoint, source_endpoint, is_secured)
        self._post(route.message(frame, self._profile_id))

    def reply(self, context: CommandContext, command: str, /, **fields: Any) -> None:
        """The answer to a command whose handler returned LATER. Raises MisuseError if not from the HAN."""
        frame = command_frame(
            find_cluster(context.cluster_id),
            command,
            fields,
            sender=context.side,
            sequence=context.sequence,
            disable_default_response=True,
        )
        self.send_answer(context, frame)

    def send_answer(self, context: CommandContext, frame: bytes) -> None:
        """`reply` with a whole frame, such as an answer that was relayed."""
        if context.source is None:
            raise MisuseError("only a command from the HAN can be answered later")
        route = _Target(
            cluster=find_cluster(context.cluster_id),
            destination=context.source,
            endpoint=context.source_endpoint,
            source_endpoint=context.endpoint,
            is_secured=context.security is ApsSecurity.LINK_KEY,
        )
        self._post(route.message(frame, self._profile_id))

    async def relay(
        self,
        destination: int,
        endpoint: int,
        cluster_id: int,
        frame: bytes,
        /,
        *,
        source_endpoint: int | None = None,
        timeout_us: int = DEFAULT_TIMEOUT_US,
    ) -> bytes:
        """Pass on somebody else's question; the whole answering frame, under the asker's sequence number.

        Raises DecodeError for a frame that is none, MisuseError for an undeclared cluster, NoAnswerError.
        """
        target = find_cluster(cluster_id)
        asked, payload = ZclHeader.decode(frame)
        ours = replace(asked, sequence=self._next_sequence(destination, cluster_id))
        route = self._target(target, destination, endpoint, source_endpoint, None)
        answer = await self._ask(route, ours, bytes(payload), timeout_us)
        return replace(answer.header, sequence=asked.sequence).encode() + answer.payload

    async def send_report(
        self, destination: int, endpoint: int, instance: ClusterInstance, names: Iterable[str], /
    ) -> None:
        """Report values now, whatever is configured; those without a value are left out.

        Raises NoAnswerError where the report was not acknowledged.
        """
        records = []
        for name in names:
            row = instance.cluster.attribute(name, instance.side)
            found = instance.read(row.attribute_id)
            if found is not None:
                records.append(TypedValue(row.attribute_id, row.type.type_id, found[1]))
        target = BoundTarget(short_address=destination, endpoint=endpoint)
        await self._han.send(self._report_message(instance, tuple(records), target))

    def _report_message(
        self,
        instance: ClusterInstance,
        records: tuple[TypedValue, ...],
        target: BoundTarget,
    ) -> ApsMessage:
        cluster, destination = instance.cluster, target.short_address
        frame = general_frame(
            general.ReportAttributes(records),
            sender=instance.side,
            sequence=self._next_sequence(destination, cluster.cluster_id),
            manufacturer_code=cluster.manufacturer_code,
        )
        route = self._target(cluster, destination, target.endpoint, instance.endpoint, None)
        return replace(route.message(frame, self._profile_id), group=target.group)

    def _target(
        self,
        cluster: Cluster,
        destination: int,
        endpoint: int,
        source_endpoint: int | None,
        is_secured: bool | None,
    ) -> _Target:  # fmt: skip
        return _Target(
            cluster=cluster,
            destination=destination,
            endpoint=endpoint,
            source_endpoint=self._source_endpoint if source_endpoint is None else source_endpoint,
            is_secured=is_secured,
        )

    async def _ask(self, route: _Target, header: ZclHeader, payload: bytes, timeout_us: int) -> ZclFrame:
        if self._is_closed:
            raise ClosedError("the ZCL application is closed")
        message = route.message(header.encode() + payload, self._profile_id)
        future: asyncio.Future[ZclFrame] = asyncio.get_running_loop().create_future()
        key = (route.destination, route.cluster.cluster_id, header.sequence)
        self._pending[key] = _Pending(header, future, message.is_secured)
        until_us = self._scheduler.now_us() + timeout_us
        timer = self._scheduler.call_at_us(until_us, _expire, future, route.cluster.name, timeout_us)
        try:
            await self._han.send(message)
            return await future
        finally:
            timer.cancel()
            del self._pending[key]
            if future.done() and not future.cancelled():
                future.exception()  # seen: where the send failed, its own error is the one to tell

    def _next_sequence(self, destination: int, cluster_id: int) -> int:
        """The next number that no pending question to the same cluster has."""
        for _ in range(256):
            self._sequence = (self._sequence + 1) & 0xFF
            if (destination, cluster_id, self._sequence) not in self._pending:
                return self._sequence
        raise MisuseError("256 questions are pending to one device")

    # --- reports --------------------------------------------------------------------------------------

    def bind_reports(
        self,
        endpoint: int,
        cluster: Cluster | int | str,
        destination: Callable[[], int | None],
        destination_endpoint: int,
    ) -> None:
        """Send reports of a cluster there; `destination` is asked each time (None: nowhere just now)."""
        self._targets.bind(endpoint, find_cluster(cluster).cluster_id, destination, destination_endpoint)

    def restore_reports(self) -> None:
        """At power-up: what others have configured goes on. Raises DecodeError for damaged memory."""
        self._targets.restore(now_us=self._scheduler.now_us())
        self._arm()

    def forget_reports(self) -> None:
        """New on a network: nobody there has configured anything. Uncommitted."""
        self._targets.forget()
        self._arm()

    def report(
        self, endpoint: int, cluster: Cluster | int | str, wanted: Mapping[str, tuple[int, int, Value]]
    ) -> None:
        """Configure own reporting without being asked; see `configure_reporting`. Raises MisuseError."""
        instance = self.core.server(endpoint, cluster)
        for name, (low_s, high_s, change) in wanted.items():
            row = instance.cluster.attribute(name)
            record = general.ReportingRecord(0, row.attribute_id, row.type.type_id, low_s, high_s, change)
            status = self.core.reporting.configure(instance, record, now_us=self._scheduler.now_us())
            if status:
                raise MisuseError(f"{name} cannot be reported: {status.name}")
        self._arm()

    def _arm(self) -> None:
        due_us = self.core.reporting.next_timer_us()
        if due_us == self._timer_us or self._is_closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_us = due_us
        self._timer = None if due_us is None else self._scheduler.call_at_us(due_us, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_us = None
        self.core.reporting.on_timer(now_us=self._scheduler.now_us())
        for item in self.core.reporting.take_reports():
            instance = item.instance
            for target in self._targets.of(instance):
                self._post(self._report_message(instance, item.records, target))
        self._arm()

    def close(self) -> None:
        """Stop reporting; questions that wait end with ClosedError."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for pending in self._pending.values():
            if not pending.future.done():
                pending.future.set_exception(ClosedError("the device was closed"))


def _opposite(side: Side) -> Side:
    return Side.CLIENT if side is Side.SERVER else Side.SERVER


def _answers(question: ZclHeader, frame: ZclFrame) -> bool:
    """Whether the frame can be the answer: right kind, and a Default Response that names the question."""
    header = frame.header
    if header.frame_type is FrameType.CLUSTER:
        return question.frame_type is FrameType.CLUSTER
    if header.command_id == GeneralCommand.DEFAULT_RESPONSE:
        return len(frame.payload) >= 2 and frame.payload[0] == question.command_id
    return question.frame_type is FrameType.GLOBAL and header.command_id != GeneralCommand.REPORT_ATTRIBUTES


def _check_default_response(frame: ZclFrame) -> None:
    status = frame.payload[1]
    if status:
        raise RefusedError(status, f"refused with {to_status(status).name} (0x{status:02X})")


def _expire(future: asyncio.Future[ZclFrame], what: str, waited_us: int) -> None:
    if not future.done():
        future.set_exception(NoAnswerError(f"{what} request", 1, waited_us))
