"""The SMETS1 Service Provider: carries accepted requests out, each to exactly one response.

One instruction at a time per device; others wait in the order of acceptance. A WAN request's id
follows from its request's key and the step's position, and a plan is the same each time it runs. So after
kill -9 every unfinished request starts again from its beginning and asks for the same ids: the WAN end
here and the hub answer a repeat with the stored answer, until they are told to forget it, which
is after the response is durable. Nothing is executed twice and nothing is left without a response.
Instructions that carry a SUA are stored besides, as they were sent.

The S1SP holds no SUA key. For a critical step it tells the DCO exactly what it is about to ask, and
gets one authorisation code for exactly that.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from smets1.errors import DecodeError, EmulatorError, NoAnswerError, RefusedError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import CivilClock
from smets1.firmware.wan.messages import WanRequest, WanResponse, WanStatus
from smets1.headend.dco import ANOMALY, AuthorisationRequest, DcoFace
from smets1.headend.duis.codes import ResponseCode, UserRole
from smets1.headend.srv import critical
from smets1.headend.srv.steps import Answer, Outcome, Plan, RefusedByDeviceError, Step, Task
from smets1.headend.store import Store

__all__ = ["Execution", "S1sp", "StepFailedError", "Wan"]

_log = logging.getLogger(__name__)

_ATTEMPTS: Final = 3  # for a device that does not answer the hub, where asking again does no harm
_RETRY_US: Final = 60_000_000


class Wan(Protocol):
    """What the S1SP needs of the WAN; `firmware.wan.HeadEndWan` is one."""

    async def ask(self, hub: Eui64, request: WanRequest) -> WanResponse:
        """Waits until answered. Raises NoAnswerError after expiry."""

    def forget(self, request_id: str) -> None:
        """The answer is stored here."""


class StepFailedError(EmulatorError):
    """A step got no answer from its device; `code` is what the user is told."""

    def __init__(self, code: ResponseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One accepted request on its way to its devices."""

    key: str
    plan: Plan
    task: Task
    role: UserRole
    not_before_utc_us: int
    expires_utc_us: int
    is_resumed: bool = False  # accepted before the head end was last started
    settled: list[str] = field(default_factory=list)  # WAN ids to forget once the response is durable


class S1sp:
    """Carries executions out over the WAN."""

    def __init__(self, *, store: Store, wan: Wan, dco: DcoFace, civil: CivilClock) -> None:
        self._store = store
        self._wan = wan
        self._dco = dco
        self._civil = civil
        self._locks: dict[Eui64, asyncio.Lock] = {}
        self._whole: dict[Eui64, asyncio.Lock] = {}  # of plans whose frames must not mix with another's

    async def execute(self, execution: Execution) -> Outcome:
        """Run a plan to its end. Raises StepFailedError; a device's "no" is an Outcome."""
        await self.sleep_until(execution.not_before_utc_us)
        if not execution.plan.is_whole:
            return await self._run(execution)
        async with self._whole.setdefault(execution.task.device.eui64, asyncio.Lock()):
            return await self._run(execution)

    async def _run(self, execution: Execution) -> Outcome:
        run = execution.plan.run(execution.task)
        known = self._store.steps(execution.key) if execution.is_resumed else {}
        position = 0
        try:
            step = next(run)
            while True:
                stored = known.get(position)
                response = None
                if stored is not None and stored.answer is not None:
                    response = WanResponse.decode(stored.answer)
                if response is None:
                    sent = None if stored is None else WanRequest.decode(stored.request)
                    response = await self._perform(execution, position, step, sent)
                position += 1
                step = run.send(self._read_answer(step, response))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome
        except RefusedByDeviceError as error:
            return execution.plan.refuse(execution.task, error, position=max(position, 1))
        except DecodeError as error:
            refusal = RefusedByDeviceError(f"the device's answer is malformed: {error.reason}", 0x01)
            return execution.plan.refuse(execution.task, refusal, position=max(position, 1))
        finally:
            run.close()

    async def sleep_until(self, utc_us: int) -> None:
        """Wait for a civil time, exact to the microsecond of the scheduler."""
        scheduler = self._civil.scheduler
        if utc_us <= self._civil.utc_us():
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = scheduler.call_at_us(self._civil.scheduler_us(utc_us), _resolve, reached)
        try:
            await reached
        finally:
            timer.cancel()

    def device_lock(self, device: Eui64) -> AbstractAsyncContextManager[None]:
        """Held while an instruction is with a device; waiters get it in the order they asked."""
        return self._locks.setdefault(device, asyncio.Lock())

    # --- one step ---

    async def _perform(
        self, execution: Execution, position: int, step: Step, sent: WanRequest | None
    ) -> WanResponse:
        """Send a step and wait for its answer; the device's lock is held meanwhile."""
        hub = execution.task.device.hub
        async with self.device_lock(step.target):
            attempt = 0
            while True:
                request = sent or self._prepare(execution, position, attempt, step)
                response = await self.ask(hub, request)
                attempt += 1
                may_repeat = step.is_repeatable and attempt < _ATTEMPTS
                if response.status is not WanStatus.UNREACHABLE or not may_repeat:
                    break
                self._wan.forget(request.request_id)
                sent = None
                await self.sleep_until(self._civil.utc_us() + _RETRY_US)
            execution.settled.append(response.request_id)
            return response

    async def ask(self, hub: Eui64, request: WanRequest) -> WanResponse:
        """Raises StepFailedError where the request expired without an answer."""
        try:
            return await self._wan.ask(hub, request)
        except NoAnswerError as error:
            raise StepFailedError(ResponseCode.DEVICE_NOT_REACHED, str(error)) from None

    def _prepare(self, execution: Execution, position: int, attempt: int, step: Step) -> WanRequest:
        """The WAN request of a step; authorised and stored where it is critical."""
        wan_id = wan_request_id(execution.key, position, attempt)
        cluster_id, endpoint, frame = step.cluster_id, step.endpoint, step.frame
        if step.is_critical:
            cluster_id, frame = self._authorise(execution, wan_id, step)
        elif step.is_once:
            instruction = critical.Instruction(cluster_id=cluster_id, frame=frame)
            cluster_id, frame = critical.wrap_once(instruction, bytes.fromhex(wan_id))
        request = WanRequest(
            request_id=wan_id,
            expires_utc_us=execution.expires_utc_us,
            target=step.target,
            endpoint=endpoint,
            cluster_id=cluster_id,
            frame=frame,
        )
        if step.is_critical:
            self._store.add_step(execution.key, position, request.encode())
        return request

    def forget(self, execution: Execution) -> None:
        """Its response is durable: nobody will ask for these again."""
        for request_id in execution.settled:
            self._wan.forget(request_id)

    def _authorise(self, execution: Execution, wan_id: str, step: Step) -> tuple[int, bytes]:
        """Raises StepFailedError where the DCO refuses."""
        instruction = critical.Instruction(cluster_id=step.cluster_id, frame=step.frame)
        try:
            authorisation = self._dco.authorise(
                AuthorisationRequest(
                    instruction_id=wan_id,
                    device=step.target,
                    srv=execution.task.srv,
                    role=execution.role,
                    instruction=instruction,
                ),
                now_utc_us=self._civil.utc_us(),
            )
        except RefusedError as error:
            _log.warning("DCO refuses %s for %s: %s", execution.key, format_eui64(step.target), error)
            code = ResponseCode.NOT_AUTHORISED_BY_DCO
            if error.status == ANOMALY:
                code = ResponseCode.QUARANTINED
            raise StepFailedError(code, str(error)) from None
        return critical.wrap(instruction, authorisation)

    @staticmethod
    def _read_answer(step: Step, response: WanResponse) -> Answer:
        """Raises StepFailedError, RefusedByDeviceError or DecodeError."""
        check_status(response)
        frame = response.frame
        if step.is_critical:
            frame = critical.unwrap(frame)
        elif step.is_once:
            frame = critical.unwrap_once(frame)
        return Answer(frame=frame, device_utc_us=response.device_utc_us, is_from_gsme=response.from_gsme)


_STATUS_CODES: Final = {
    WanStatus.UNREACHABLE: ResponseCode.NO_RESPONSE,
    WanStatus.EXPIRED: ResponseCode.DEVICE_NOT_REACHED,
    WanStatus.UNKNOWN_TARGET: ResponseCode.DEVICE_NOT_REACHED,
    WanStatus.MALFORMED: ResponseCode.NO_RESPONSE,
    WanStatus.FAILED: ResponseCode.NO_RESPONSE,
}


def check_status(response: WanResponse) -> None:
    """Nothing for DONE. Raises StepFailedError, or RefusedByDeviceError for REFUSED."""
    if response.status is WanStatus.REFUSED:
        raise RefusedByDeviceError("the hub or the device refuses", int(response.status))
    code = _STATUS_CODES.get(response.status)
    if code is not None:
        raise StepFailedError(code, f"WAN status {response.status.name}")


def wan_request_id(key: str, position: int, attempt: int) -> str:
    """40 hex digits, always the same for the same step, and unlike that of any other."""
    return hashlib.sha256(f"{key}|{position}|{attempt}".encode()).hexdigest()[:40]


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
