"""The head end as a whole: takes request octets in, gives response octets back, carries out the rest.

`HeadEnd.submit` is the DSP's front door: it checks (see `access`) and answers at once with I0, a
refusal, or I99; device requests then go to the S1SP and their one response is kept until it is taken.
It opens no socket and reads no clock but the civil one; `api` is the HTTP shell around it.

A user is answered by whatever comes first: the caller of `submit` who waits, or `on_response`, which
the HTTP shell uses to POST to the user's own address. Both can read `responses` at any time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

from smets1.errors import InputError, LostError
from smets1.eui64 import Eui64, format_eui64, parse_eui64
from smets1.firmware.civil import CivilClock
from smets1.firmware.wan.messages import WanEvent
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION
from smets1.headend.access import (
    WAITS_AT_DSP,
    AccessControl,
    CheckedRequest,
    RefusedRequestError,
    Signatures,
    execution_utc_us,
    is_cancellation,
)
from smets1.headend.alerts import AlertDesk
from smets1.headend.catalogue import is_nameable
from smets1.headend.credentials import CredentialBook, Credentials
from smets1.headend.dco import DcoFace
from smets1.headend.duis.codes import CommandVariant, ResponseCode, ServicePath, UserRole
from smets1.headend.duis.request import DuisRequest, RequestId, XmlNode, parse_request
from smets1.headend.duis.response import ResponseBuilder, ResponseSigner, is_success
from smets1.headend.duis.schema import SchemaValidator
from smets1.headend.duis.signature import Verifier
from smets1.headend.effects import Effects
from smets1.headend.firmware import FirmwareDesk
from smets1.headend.inventory import Inventory, InventoryDevice
from smets1.headend.non_device import READS, NonDeviceDesk
from smets1.headend.precommand import build_pre_command, pre_command_digest
from smets1.headend.rotation import RotationResult, Rotator
from smets1.headend.s1sp import Execution, S1sp, StepFailedError, Wan
from smets1.headend.schedules import ScheduleBook
from smets1.headend.sharing import WorkSharing
from smets1.headend.srv import PLANS
from smets1.headend.srv.device_log import COMMISSIONING_PLANS
from smets1.headend.srv.steps import Plan, Task
from smets1.headend.store import Store, StoredRequest, StoredResponse
from smets1.headend.users import DEFAULT_DSP, DEFAULT_USERS, ServiceUser, UserTable
from smets1.headend.utrn_desk import UtrnDesk
from smets1.headend.waiting import Waiters

__all__ = ["HeadEnd", "HeadEndSettings"]

_log = logging.getLogger(__name__)

_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadEndSettings:
    """What a home file or a test may choose."""

    signatures: Signatures = "off"
    # "reused": a RequestID may come again as a new request. DCC's reference requests share theirs.
    request_ids: Literal["unique", "reused"] = "unique"
    lifetime_us: int = _DAY_US  # how long a device request is tried, from its execution date
    worker: int = 0  # which of `workers` this is, where several share the hubs; see `sharing`
    workers: int = 1
    dsp: Eui64 = DEFAULT_DSP
    users: tuple[ServiceUser, ...] = DEFAULT_USERS
    # Anomaly detection: the most requests that a user may send in 24 hours, by service reference variant.
    thresholds: Mapping[str, int] = field(default_factory=dict)


class HeadEnd:
    """DSP, S1SP and their store. Make it, `start` it in the event loop, `close` it."""

    def __init__(
        self,
        *,
        store: Store,
        wan: Wan,
        dco: DcoFace,
        civil: CivilClock,
        signer: ResponseSigner,
        random_octets: Callable[[int], bytes],
        verifier: Verifier | None = None,
        schema: SchemaValidator | None = None,
        utrn_desk: UtrnDesk | None = None,
        settings: HeadEndSettings | None = None,
    ) -> None:
        """`random_octets(n)` gives the S1SP's contributions to new SUA keys. The WAN is started first.

        Raises MisuseError where signatures are required and there is no verifier.
        """
        self.settings = settings or HeadEndSettings()
        self.users = UserTable(self.settings.users)
        self.inventory = Inventory(store)
        self.store = store
        self.utrn_desk = utrn_desk
        self.on_response: Callable[[StoredResponse], None] | None = None
        self._civil = civil
        self._access = AccessControl(
            users=self.users,
            inventory=self.inventory,
            signatures=self.settings.signatures,
            verifier=verifier,
            schema=schema,
            find_transformed=store.transformed,
        )
        self._responses = ResponseBuilder(dsp=self.settings.dsp, signer=signer)
        self._s1sp = S1sp(store=store, wan=wan, dco=dco, civil=civil)
        self._rotator = Rotator(
            store=store, s1sp=self._s1sp, wan=wan, dco=dco, civil=civil, random_octets=random_octets
        )
        self.alerts = AlertDesk(
            store=store,
            inventory=self.inventory,
            users=self.users,
            responses=self._responses,
            dsp=self.settings.dsp,
            on_response=self._announce,
        )
        self._schedules = ScheduleBook(
            store=store,
            civil=civil,
            lifetime_us=self.settings.lifetime_us,
            submit=self._start_scheduled,
        )
        self.credentials = CredentialBook(store, civil, on_due=self._on_credentials_due)
        self._effects = Effects(
            self.inventory,
            self.alerts,
            self.credentials,
            find_certificate=lambda user: None if verifier is None else verifier.certificate_of(user),
        )
        self._firmware = FirmwareDesk(
            store=store,
            inventory=self.inventory,
            s1sp=self._s1sp,
            wan=wan,
            civil=civil,
            alerts=self.alerts,
        )
        self.is_commissioning: Callable[[InventoryDevice, str], bool] = lambda _device, _srv: False
        """Whether a service for a device is a Commissioning Request: such a one reaches no device."""
        self._desk = NonDeviceDesk(
            users=self.users,
            inventory=self.inventory,
            schedules=self._schedules,
            alerts=self.alerts,
            firmware=self._firmware,
        )
        self._sharing = WorkSharing(
            store,
            self.inventory,
            self._schedules,
            worker=self.settings.worker,
            workers=self.settings.workers,
            take=self._take_up,
        )
        self._sharing.on_change = self._on_shares
        self._schedules.is_mine = self.credentials.is_mine = self._sharing.is_mine
        self._rotator.on_accepted = self._sharing.claim
        self._rotator.on_ended = self._firmware.on_ended = self._sharing.release
        self.on_lost: Callable[[LostError], None] | None = None
        """Several workers: the store is gone, and with it all hubs. This one is of no more use: close it."""
        self._last_loss = ""
        self._is_started = False
        self._tasks: dict[asyncio.Task[None], str | None] = {}  # and the requests that they are for
        self._future: dict[str, tuple[StoredRequest, asyncio.Task[None]]] = {}  # not begun yet, by key
        self._successors: dict[str, list[asyncio.Future[None]]] = {}  # by the key that they wait for
        self._waiters = Waiters(store, self._sharing, self._announce)

    # --- life ---

    async def start(self) -> None:
        """Take up every accepted request that has no response yet.

        Raises LostError; InputError where several workers are to share a store that is not PostgreSQL.
        """
        self._sharing.start()
        self._is_started = True
        self._schedules.start()
        self.credentials.start()
        if self._sharing.is_shared:
            self._spawn(self._share())

    async def close(self) -> None:
        """Stop; what is unfinished goes on at the next start."""
        self._is_started = False
        self._schedules.stop()
        self.credentials.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._waiters.close()
        self._sharing.stop()

    async def _share(self) -> None:
        try:
            await self._sharing.run()
        except LostError as error:
            if self.on_lost is not None:
                self.on_lost(error)
            raise

    def _on_shares(self) -> None:
        """Hubs have come or gone: what is in hand for those that went is another worker's."""
        gone = self._sharing.drop_foreign()
        for task, key in self._tasks.items():
            if key in gone:
                task.cancel()
        for key in gone:
            self._future.pop(key, None)
        self._waiters.send_elsewhere(gone)
        if self._is_started:
            with suppress(LostError):
                self._schedules.start()
                self.credentials.start()

    def _take_up(self, stored: StoredRequest) -> None:
        """Accepted in a former life of this worker, or by another one."""
        if self._rotator.owns(stored):
            self._spawn(self._rotator.resume(stored, self.inventory), stored.key)
        elif self._firmware.owns(stored):
            self._spawn(self._firmware.resume(stored), stored.key)
        else:
            self._resume(stored)

    def _resume(self, stored: StoredRequest) -> None:
        try:
            checked = self._access.readmit(stored.xml)
        except RefusedRequestError as refusal:  # its device or user is gone since
            self._spawn(self._end(stored, refusal.request, refusal.code), stored.key)
        else:
            if checked.alert is not None:
                self._spawn(self._finish(stored, self._alert(checked, self._civil.utc_us())), stored.key)
            elif is_cancellation(checked):
                self._spawn(self._withdraw(stored, checked), stored.key)
            else:
                self._begin(stored, checked, is_resumed=True)

    def _start_scheduled(self, stored: StoredRequest) -> None:
        """A DSP schedule has come to its time: an accepted request like any other."""
        if self.store.add_request(stored):
            self._sharing.claim(stored)
            self._resume(stored)

    def _spawn(self, work: Coroutine[Any, Any, object], key: str | None = None) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._logged(work))
        self._tasks[task] = key
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        task.add_done_callback(lambda _done: work.close())  # not yet begun where it was cancelled at once
        return task

    async def _logged(self, work: Coroutine[Any, Any, object]) -> None:
        """The one place where a background failure ends: in the log. A store that is gone is told of once."""
        try:
            await work
        except LostError as error:
            if str(error) != self._last_loss:
                self._last_loss = str(error)
                _log.error("the head end cannot go on: %s", error)
        except Exception:
            _log.exception("a background task of the head end broke down")

    # --- the front door ---

    async def submit(
        self,
        xml: bytes,
        path: ServicePath | str = ServicePath.SEND_COMMAND,
        *,
        wait_s: float | None = None,
    ) -> bytes:
        """One request -> the synchronous response; with `wait_s` the final one, where it comes in time.

        Raises DuisError (one line) for octets that no DUIS response could answer, ValueError for an
        unknown path, LostError where the store has failed.
        """
        now_utc_us = self._civil.utc_us()
        self._sharing.refresh()
        try:
            checked = self._access.admit(xml, ServicePath(path), now_utc_us=now_utc_us)
            return await self._dispatch(checked, wait_s, now_utc_us)
        except RefusedRequestError as refusal:
            request = refusal.request
            _log.info("%s refused with %s: %s", request.request_id, refusal.code, refusal)
            if not is_nameable(request.srv, request.service_reference):
                reason = str(refusal)
                return self._responses.nameless_refusal(request, refusal.code, reason, now_utc_us=now_utc_us)
            return self._responses.service(request, refusal.code, now_utc_us=now_utc_us)

    async def _dispatch(self, checked: CheckedRequest, wait_s: float | None, now_utc_us: int) -> bytes:
        request, is_sent = checked.request, checked.request.command_variant in _ANSWERED_LATER
        if checked.alert is not None and not is_sent:
            return self._alert(checked, now_utc_us)
        if checked.variant.non_device:
            return await self._answer_itself(checked, now_utc_us)
        if request.command_variant is CommandVariant.TRANSFORM:
            return await self._transform(request, now_utc_us)
        is_mine = self._sharing.is_mine(request.target)
        if checked.alert is None and is_mine and is_cancellation(checked):
            return await self._cancel(checked, now_utc_us)
        if self._is_anomalous(checked, now_utc_us):
            return await self._quarantine(checked, now_utc_us)
        stored = self._accept(checked, now_utc_us)
        await self.store.committed()
        if checked.alert is None and not self._sharing.is_mine(request.target):
            return await self._leave_to_another(stored, checked, wait_s)
        final = None if wait_s is None else self._waiters.expect(stored.key)
        if checked.alert is not None:
            await self._finish(stored, self._alert(checked, now_utc_us))
        else:
            self._begin(stored, checked)
        if final is not None and wait_s is not None:
            response = await self._waiters.wait(stored.key, final, wait_s)
            if response is not None:
                return response.xml
        return self._responses.service(request, ResponseCode.ACKNOWLEDGED, now_utc_us=self._civil.utc_us())

    async def _leave_to_another(
        self, stored: StoredRequest, checked: CheckedRequest, wait_s: float | None
    ) -> bytes:
        """The worker of its hub finds it in the store."""
        if wait_s is not None:
            response = await self._waiters.wait_for_another(stored.key, wait_s)
            if response is not None:
                return response.xml
        now_utc_us = self._civil.utc_us()
        return self._responses.service(checked.request, ResponseCode.ACKNOWLEDGED, now_utc_us=now_utc_us)

    async def _transform(self, request: DuisRequest, now_utc_us: int) -> bytes:
        key = str(request.request_id)
        if self.settings.request_ids == "unique" and self.store.is_known(key):
            raise _used_before(request)
        payload = build_pre_command(request)
        self.store.add_transformed(key, pre_command_digest(payload))
        await self.store.committed()
        return self._responses.pre_command(request, payload, now_utc_us=now_utc_us)

    async def _answer_itself(self, checked: CheckedRequest, now_utc_us: int) -> bytes:
        """A non-device request: what it changes and its response become durable together."""
        request = checked.request
        if request.srv in READS and self.settings.request_ids == "reused":
            code, content = self._desk.answer(request, now_utc_us=now_utc_us)
            return self._responses.service(request, code, now_utc_us=now_utc_us, content=content)
        with self.store.together():
            stored = self._accept(checked, now_utc_us)
            code, content = self._desk.answer(request, now_utc_us=now_utc_us)
            xml = self._responses.service(request, code, now_utc_us=now_utc_us, content=content)
            number = self.store.add_answer(stored.key, user=stored.originator, xml=xml, now_utc_us=now_utc_us)
        await self.store.committed()
        self.alerts.announce()
        for delivery in self._firmware.take_fresh():
            if not self._sharing.is_mine(delivery.target):
                continue  # its worker finds it in the store
            self._sharing.claim(delivery)
            self._spawn(self._firmware.resume(delivery), delivery.key)
        if number is not None:
            self.store.mark_delivered(number)
        return xml

    async def _cancel(self, checked: CheckedRequest, now_utc_us: int) -> bytes:
        """Withdraw the user's waiting requests for the same service of the same device."""
        with self.store.together():
            stored = self._accept(checked, now_utc_us)
            response = self._answer_cancellation(stored, checked)
        await self._withdraw_waiting(stored)
        await self.store.committed()
        assert response is not None, "accepted just now"
        self.store.mark_delivered(response.number)
        return response.xml

    async def _withdraw(self, stored: StoredRequest, checked: CheckedRequest) -> None:
        """As `_cancel`, of a cancellation that another worker has accepted."""
        response = self._answer_cancellation(stored, checked)
        await self._withdraw_waiting(stored)
        await self._publish(stored, response)

    def _answer_cancellation(self, stored: StoredRequest, checked: CheckedRequest) -> StoredResponse | None:
        now_utc_us = self._civil.utc_us()
        xml = self._responses.service(checked.request, ResponseCode.SUCCESS, now_utc_us=now_utc_us)
        return self._add_answer(stored, xml)

    async def _withdraw_waiting(self, stored: StoredRequest) -> None:
        for waiting, task in list(self._future.values()):
            same = (waiting.originator, waiting.target, waiting.srv)
            if same == (stored.originator, stored.target, stored.srv):
                task.cancel()
                self._future.pop(waiting.key, None)
                await self._end(waiting, parse_request(waiting.xml), ResponseCode.CANCELLED)

    def _is_anomalous(self, checked: CheckedRequest, now_utc_us: int) -> bool:
        most = self.settings.thresholds.get(checked.variant.srv)
        if most is None:
            return False
        return most <= self.store.count_requests(
            originator=checked.request.originator, srv=checked.variant.srv, since_utc_us=now_utc_us - _DAY_US
        )

    async def _quarantine(self, checked: CheckedRequest, now_utc_us: int) -> bytes:
        """Nothing is carried out; the user hears N46 besides the refusal."""
        self.alerts.quarantined(checked.request.request_id, now_utc_us=now_utc_us)
        await self.store.committed()
        self.alerts.announce()
        raise RefusedRequestError(checked.request, ResponseCode.QUARANTINED, "above the user's threshold")

    def _accept(self, checked: CheckedRequest, now_utc_us: int) -> StoredRequest:
        """Durable after `committed()`. Raises RefusedRequestError for a RequestID used before."""
        request = checked.request
        key = str(request.request_id)
        if self.settings.request_ids == "reused" and self.store.is_known(key):
            key = f"{key}#{self.store.next_count('reused request ids')}"
        not_before_utc_us = now_utc_us
        if checked.variant.future_dated in WAITS_AT_DSP:
            not_before_utc_us = max(execution_utc_us(request) or 0, now_utc_us)
        stored = StoredRequest(
            key=key,
            originator=request.originator,
            target=request.target,
            srv=request.srv,
            xml=request.xml,
            accepted_utc_us=now_utc_us,
            not_before_utc_us=not_before_utc_us,
            expires_utc_us=not_before_utc_us + self.settings.lifetime_us,
        )
        if not self.store.add_request(stored):
            raise _used_before(request)
        if checked.alert is not None or self._sharing.is_mine(request.target):
            self._sharing.claim(stored)
        return stored

    def _alert(self, checked: CheckedRequest, now_utc_us: int) -> bytes:
        assert checked.alert is not None
        return self._responses.command_failure(
            checked.request, checked.alert, device=checked.request.target, now_utc_us=now_utc_us
        )

    # --- carrying out ---

    def _begin(self, stored: StoredRequest, checked: CheckedRequest, *, is_resumed: bool = False) -> None:
        assert checked.device is not None, "checked as a device request"
        assert checked.role is not None, "checked as a device request"
        task = Task(
            srv=checked.variant.srv,
            body=checked.request.body,
            device=checked.device,
            home=tuple(self.inventory.home_of(checked.device.eui64)),
            originator=checked.request.originator,
            counter=checked.request.request_id.counter,
            accepted_utc_us=stored.accepted_utc_us,
            other=self._other_device(checked.request.body),
            role=checked.role,
            credentials=partial(self.credentials.find, checked.device.eui64),
            firmware_version=self._firmware.version_of,
        )
        execution = Execution(
            key=stored.key,
            plan=self._plan(checked.device, checked.variant.srv),
            task=task,
            role=checked.role,
            not_before_utc_us=stored.not_before_utc_us,
            expires_utc_us=stored.expires_utc_us,
            is_resumed=is_resumed,
        )
        work = self._spawn(self._carry_out(stored, checked, execution), stored.key)
        if stored.not_before_utc_us > self._civil.utc_us():
            self._future[stored.key] = stored, work

    def _plan(self, device: InventoryDevice, srv: str) -> Plan:
        if srv in COMMISSIONING_PLANS and self.is_commissioning(device, srv):
            return COMMISSIONING_PLANS[srv]
        return PLANS[srv]

    def on_commissioned(self, listener: Callable[[InventoryDevice, int], None]) -> None:
        """`listener(meter, utc_us)` at each successful 8.1.1, before its response is written."""
        self._effects.on_commissioned = listener

    def _other_device(self, body: XmlNode) -> InventoryDevice | None:
        """The second device that a request is about."""
        text = body.value("DeviceID") or body.value("OtherDeviceID")
        with suppress(InputError):
            return None if text is None else self.inventory.find(parse_eui64(text))
        return None

    async def _carry_out(self, stored: StoredRequest, checked: CheckedRequest, execution: Execution) -> None:
        request = checked.request
        await self._s1sp.sleep_until(stored.not_before_utc_us)
        self._future.pop(stored.key, None)
        if request.preceding is not None and not await self._has_succeeded(request.preceding, stored):
            _log.info("%s: its preceding request did not succeed", stored.key)
            await self._end(stored, request, ResponseCode.SEQUENCE_FAILED)
            return
        try:
            outcome = await self._s1sp.execute(execution)
            with self.store.together():
                if outcome.is_success:
                    self._effects.apply(execution.task, now_utc_us=self._civil.utc_us())
                xml = self._responses.device_answer(
                    request,
                    now_utc_us=self._civil.utc_us(),
                    data=outcome.data,
                    time=outcome.time,
                    debug=outcome.debug,
                    schedule_id=self._schedules.id_of(stored),
                )
                response = self._add_answer(stored, xml)
            await self._publish(stored, response)
        except StepFailedError as failure:
            _log.info("%s ends with %s: %s", stored.key, failure.code, failure)
            with self.store.together():
                if failure.code is ResponseCode.QUARANTINED:
                    self.alerts.quarantined(request.request_id, now_utc_us=self._civil.utc_us())
                now_utc_us = self._civil.utc_us()
                xml = self._responses.service(request, failure.code, now_utc_us=now_utc_us)
                response = self._add_answer(stored, xml)
            await self._publish(stored, response)
        except LostError:
            raise  # storage or WAN is gone: the request stays accepted, and is taken up at the next start
        except Exception:  # a bug of ours must not leave a request without its response
            _log.exception("%s broke down", stored.key)
            await self._end(stored, request, ResponseCode.NO_RESPONSE)
        self._s1sp.forget(execution)

    async def _has_succeeded(self, preceding: RequestId, stored: StoredRequest) -> bool:
        """Wait for the response to a preceding request, but no longer than `stored` lives."""
        key = str(preceding)
        response = self.store.response_to(key)
        left_s = max(stored.expires_utc_us - self._civil.utc_us(), 0) / 1e6
        if response is None and self._sharing.is_shared:
            response = await self._sharing.wait_for_response(key, left_s)
        elif response is None:
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._successors.setdefault(key, []).append(ended)
            await asyncio.wait((ended,), timeout=left_s)
            response = self.store.response_to(key)
        return response is not None and is_success(response.xml)

    async def _end(self, stored: StoredRequest, request: DuisRequest, code: ResponseCode) -> None:
        """A request ends without an answer of its device."""
        await self._finish(stored, self._responses.service(request, code, now_utc_us=self._civil.utc_us()))

    async def _finish(self, stored: StoredRequest, xml: bytes) -> None:
        await self._publish(stored, self._add_answer(stored, xml))

    def _add_answer(self, stored: StoredRequest, xml: bytes) -> StoredResponse | None:
        """The one response; durable after `committed()`. None where there is one already."""
        now_utc_us = self._civil.utc_us()
        number = self.store.add_answer(stored.key, user=stored.originator, xml=xml, now_utc_us=now_utc_us)
        if number is None:
            return None
        return StoredResponse(
            number=number,
            key=stored.key,
            user=stored.originator,
            xml=xml,
            created_utc_us=now_utc_us,
            is_delivered=False,
        )

    async def _publish(self, stored: StoredRequest, response: StoredResponse | None) -> None:
        """Commit, then tell who waits for it, or else `on_response`."""
        await self.store.committed()
        self._sharing.release(stored.key)
        self.alerts.announce()
        if response is None:  # another worker was first
            response = self.store.response_to(stored.key)
            if response is not None:
                self._waiters.tell(stored.key, response)
            return
        for successor in self._successors.pop(stored.key, []):
            if not successor.done():
                successor.set_result(None)
        if not self._waiters.tell(stored.key, response):
            self._announce(response)

    def _announce(self, response: StoredResponse) -> None:
        if self.on_response is not None:
            self.on_response(response)

    @property
    def sharing(self) -> WorkSharing:
        return self._sharing

    def responses(
        self, *, user: Eui64 | None = None, after: int = 0, limit: int = 100
    ) -> list[StoredResponse]:
        """Final responses and alerts, oldest first, with numbers above `after`."""
        return self.store.responses(user=user, after=after, limit=limit)

    def _on_credentials_due(self, device: Eui64, held: Credentials) -> None:
        """Inside the transaction that makes the change; users hear of it when that is durable."""
        self._effects.credentials_due(device, held, now_utc_us=self._civil.utc_us())
        asyncio.get_running_loop().call_soon(self.alerts.announce)

    # --- tokens and SUA keys ---

    def make_utrn(
        self,
        device: Eui64,
        *,
        pounds: int | None = None,
        pence: int | None = None,
        originator: Eui64 | None = None,
    ) -> str:
        """A new token for a meter, by default in the name of the first supplier of its fuel.

        Raises InputError for an unknown device or an amount that no token can carry.
        """
        known = self.inventory.find(device)
        if self.utrn_desk is None or known is None:
            raise InputError(f"no UTRN can be made for {format_eui64(device)}: it is not known here")
        if originator is None:
            suppliers = (
                user.eui64
                for user in self.settings.users
                if {UserRole.IS, UserRole.GS} & {*user.roles_for(known.device_type)}
            )
            originator = next(suppliers, None)
        if originator is None:
            raise InputError(f"no UTRN can be made for {format_eui64(device)}: no user is its supplier")
        return self.utrn_desk.make(device, originator=originator, pounds=pounds, pence=pence)

    async def rotate_sua_key(
        self,
        device: Eui64,
        *,
        hub: Eui64 | None = None,
        generation: int | None = None,
        lifetime_us: int | None = None,
    ) -> RotationResult:
        """Give a device a new SUA key through a Critical Instruction, and wait for the outcome.

        `hub`, `generation`: see `Rotator.rotate`. Raises InputError for a device that is not in the inventory
        or has no SUA key, or is in the hands of another worker.
        """
        if not self._sharing.is_mine(hub or device):
            raise InputError(f"{format_eui64(device)}: its hub is another worker's; ask that one")
        return await self._rotator.rotate(
            device,
            self.inventory,
            lifetime_us=lifetime_us or self.settings.lifetime_us,
            hub=hub,
            generation=generation,
        )

    def on_key_confirmed(self, listener: Callable[[Eui64], None]) -> None:
        """`listener(device)`: a status push has proven which key the device holds."""
        self._rotator.on_confirmed = listener

    def on_event(self, hub: Eui64, event: WanEvent) -> None:
        """What a device says unasked; called once per event, in the event loop."""
        if event.cluster_id == AUTHORISATION.cluster_id:
            work = self._rotator.on_event(hub, event, self.inventory)
            if work is not None:
                self._spawn(work)
        else:
            self.alerts.on_event(hub, event, now_utc_us=self._civil.utc_us())
            self.alerts.announce()


def _used_before(request: DuisRequest) -> RefusedRequestError:
    reason = f"RequestID {request.request_id} was used before"
    return RefusedRequestError(request, ResponseCode.DUPLICATE_REQUEST, reason)


_ANSWERED_LATER: Final = frozenset({CommandVariant.NON_CRITICAL, CommandVariant.SIGNED_PRE_COMMAND})
