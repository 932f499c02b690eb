"""The shell of a meter, whichever fuel: clusters, authorisation, timers, NVM, status push.

The core (`meter.py`) is moved forward at its own next instant, at every command and at every read.
What a command changed is put to NVM before its answer is sent. Every half hour the whole state is
saved as well; after a restart of the program the core lives through the rest again, to the same values.

A Critical Instruction that comes bare from the hub is refused with NOT_AUTHORIZED and logged.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import Final

from smets1.devices.account import Account
from smets1.devices.alert_queue import AlertQueue
from smets1.devices.answer_store import AnswerStore
from smets1.devices.authorisation import CRITICAL, AuthorisationCore, KeyConfirmation
from smets1.devices.days import MINUTE_US
from smets1.devices.display import ACCOUNT_STATE
from smets1.devices.event_log import AlertCode
from smets1.devices.log_clusters import LogClusters
from smets1.devices.malformed import UNUSUAL, WINDOW_US, MalformedWatch
from smets1.devices.meter import GasMeterCore, MeterCore
from smets1.devices.meter_clusters import MeterClusters, require_sua
from smets1.devices.meter_face import MeterFace
from smets1.devices.panel import Identity
from smets1.devices.parameter_effects import govern_meter
from smets1.devices.parameter_service import ParameterService
from smets1.devices.prepayment_clusters import PrepaymentClusters
from smets1.devices.price_clusters import PriceClusters
from smets1.devices.register_clusters import RegisterClusters
from smets1.devices.screens import SYMBOLS
from smets1.devices.setting_clusters import SettingClusters
from smets1.devices.tokens import TopUpDesk, TopUpResult
from smets1.devices.vend_hold import VendHold
from smets1.errors import DecodeError, RefusedError, SecurityError
from smets1.firmware.device import ENDPOINT, TROUBLE, Board, Device, Factory
from smets1.firmware.key_proof import NONCE_OCTETS
from smets1.firmware.price_listeners import PriceListeners
from smets1.firmware.time_keeper import TimeVerdict
from smets1.firmware.zcl.clusters.smets1 import AUTHORISATION, CriticalStatus
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, ClusterInstance, CommandContext, Via, reply
from smets1.firmware.zcl.status import FrameType, Side, Status
from smets1.hardware.clock import Timer
from smets1.hardware.radio import COORDINATOR, ApsIndication, KeyOrigin, LinkKey

__all__ = ["PUSH_PAUSE_S", "MeterDevice"]

PUSH_PAUSE_S: Final = 900
"""How long after an unacknowledged status push the device tries again."""

# Side and number together name a command: GetCurrentPrice and PublishPrice are both 0x00.
_CRITICAL_COMMANDS: Final = frozenset(
    (row.cluster_id, row.sender, row.command_id) for row in CRITICAL if row.frame_type is FrameType.CLUSTER
)
_CRITICAL_WRITES: Final = frozenset(
    row.cluster_id for row in CRITICAL if row.frame_type is FrameType.GLOBAL
)  # fmt: skip
_COMMISSIONED_KEY: Final = "commissioned"
_LOCAL_COMMANDS: Final = frozenset({"local_change_supply"})
"""What only a person in the home may ask for; from the head end it would enable supply without a SUA."""


class MeterDevice(Device):
    """An ESME or a GSME."""

    def __init__(
        self,
        factory: Factory,
        board: Board,
        *,
        meter: MeterCore,
        desk: TopUpDesk,
        sua_key: bytes,
        engineering_pin: str = "",
        mpxn: str = "",
    ) -> None:
        """`sua_key`: the first SUA key (16 octets), used only where NVM holds none yet.

        `mpxn`: the MPAN or MPRN that the installer has set; empty: none.

        `engineering_pin`: digits that open the menu behind key 9; empty: there is no such menu.
        """
        super().__init__(factory, board)
        self.meter = meter
        self.desk = desk
        self.authorisation = AuthorisationCore(device=self.eui64, nvm=self.nvm)
        self.answers = AnswerStore(self.nvm)
        if not self.authorisation.has_key:
            self.authorisation.provision(sua_key)
        self._noted_generation = self.authorisation.generation
        if meter.restore(self.nvm):
            desk.restore(self.nvm)
        self.clusters = MeterClusters(self.app.core, meter, desk, self.civil)
        self.clusters.on_change = self._on_change
        self.prices = PriceListeners(self.app, ENDPOINT)
        self.clusters.on_price_asked = self._on_price_asked
        PriceClusters(self.app.core, self.clusters, self.civil)
        PrepaymentClusters(self.app.core, self.clusters, self.civil)
        self.registers = RegisterClusters(self.app.core, meter, self.civil)
        self.logs = LogClusters(
            self.app.core,
            meter,
            self.civil,
            is_from_head_end=self.is_from_head_end,
            on_change=self._on_change,
        )
        self.app.core.guard = self._guard
        self._malformed = MalformedWatch()
        self.app.core.on_malformed = self._on_malformed
        self._engineering_pin = engineering_pin
        self._number = "mprn" if isinstance(meter, GasMeterCore) else "mpan"
        self.parameters = ParameterService(
            self.app.core.server(ENDPOINT, "device_information"),
            self.nvm,
            self.civil,
            meter=meter,
            on_change=self._on_parameters,
            presets={self._number: mpxn},
        )
        self.face = MeterFace(
            meter,
            desk,
            identity=self._identity,
            civil=self.civil,
            scheduler=self.scheduler,
            nvm=self.nvm,
            commit=self._on_keys,
        )
        self.clusters.on_top_up = self.on_code
        self.hold = VendHold(lambda: self.face.panel.keypad.is_in_vend_mode)
        assert self.upkeep is not None, "only the hub has none"
        self.settings = SettingClusters(
            self.app.core,
            self.clusters,
            self.parameters,
            self.civil,
            self.upkeep.clock,
            on_clock=self._on_clock_judged,
        )
        govern_meter(
            self.parameters,
            face=self.face,
            clusters=self.clusters,
            management=self.settings.management,
            upkeep=self.upkeep,
        )
        self._timer: Timer | None = None
        self._is_closing = False
        self._push_wanted = asyncio.Event()
        self.alerts = AlertQueue(self.nvm)
        self._alerts_wanted = asyncio.Event()
        self._add_authorisation()
        self.app.core.obtain_server(ENDPOINT, "events")

    @property
    def account(self) -> Account:
        """The prepayment account, brought to the present."""
        self.meter.advance(self.civil.utc_us())
        return self.meter.account

    # --- a person at the meter ----------------------------------------------------------------------

    def press(self, keys: str, *, is_held: bool = False) -> list[TopUpResult]:
        """Press "0" to "9", "A", "B", one after the other; what came of codes that they submitted.

        What they changed is committed when this returns. Raises InputError for any other key.
        """
        return self.face.press(keys, is_held=is_held)

    @property
    def screen(self) -> dict[str, list[str]]:
        """What stands behind each of the keys 0 to 9 now: a title and its values."""
        return self.face.pages()

    @property
    def shown(self) -> list[str]:
        """What the person at the meter sees now, all lines of it."""
        return self.face.lines()

    def _identity(self) -> Identity:
        value = self.parameters.book.value
        return Identity(
            mpxn=str(value(self._number)),
            supplier=(str(value("supplier_name")), str(value("supplier_contact"))),
            symbol=SYMBOLS[str(value("currency"))],
            firmware=f"{self.images.version:08X}",
            is_commissioned=self.port.network is not None,
            engineering_pin=self._engineering_pin,
        )

    def _on_parameters(self) -> None:
        self.settings.on_parameters()
        self._on_change()

    def on_code(self, result: TopUpResult) -> None:
        """A code has been judged, from wherever it came; nothing of it is committed yet."""
        self.face.unlock(result)

    def _on_keys(self, results: list[TopUpResult]) -> None:
        for result in results:
            self.on_code(result)
        self.clusters.metering.touch("supply_status", "instantaneous_demand")
        self.clusters.prepayment.touch("credit_remaining", "credit_status")
        self._on_change()
        self.nvm.commit()
        self.hold.release()

    def on_message(self, indication: ApsIndication) -> None:
        """A top-up that comes while a code is being typed waits for the end of Vend Mode."""

        def obey() -> None:
            if not self._is_closing:
                super(MeterDevice, self).on_message(indication)

        who = (indication.source, indication.source_endpoint)
        if not self.hold.offer(indication.cluster_id, indication.payload, obey, who=who):
            super().on_message(indication)

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Power up. After `lose_power` the time without power is an outage: nothing flowed in it."""
        now_us = self.civil.utc_us()
        if self.meter.is_without_power:
            self.meter.outage(now_us)
        else:
            self.meter.advance(now_us)
        self._on_change()
        self.nvm.commit()
        if self.authorisation.is_push_due:
            self._push_wanted.set()
        super().start()
        self.spawn(self.persevere(self._push_status))
        if self.alerts:
            self._alerts_wanted.set()

    async def close(self) -> None:
        self.meter.advance(self.civil.utc_us())
        self.save()
        self._stop_timer()
        await super().close()

    def power_off(self) -> None:
        self._stop_timer()
        super().power_off()

    def lose_power(self) -> None:
        """The mains, or the battery, are gone: what the last charge is good for is done, then silence.

        `power_off` is the program's end; this is the house's, and ends with an outage at the next start.
        """
        self.meter.power_off(utc_us=self.civil.utc_us())
        self._on_change()
        self.last_gasp()
        self.nvm.commit()
        self.power_off()

    def last_gasp(self) -> None:
        """What can be said without waiting for an answer. Default: nothing."""

    def _stop_timer(self) -> None:
        self._is_closing = True
        self.face.close()
        if self._timer is not None:
            self._timer.cancel()

    def save(self) -> None:
        """Put the whole state to NVM; the commit is made before anything is answered."""
        self.meter.save(self.nvm)
        self.desk.save(self.nvm)

    def _on_price_asked(self, context: CommandContext) -> None:
        """Displays are told the next price unasked; the head end asks again when it wants to know."""
        if not self.is_from_head_end(context):
            self.prices.remember(context)

    def _on_change(self) -> None:
        self.registers.sync()
        self.save()
        self.prices.tell(self.clusters.current_price())
        self._take_events()
        self._arm()

    def _arm(self) -> None:
        """Wake at the core's next instant."""
        if self._is_closing:
            return
        if self._timer is not None:
            self._timer.cancel()
        wanted = [self.meter.next_timer_us(), self.alerts.next_timer_us()]
        due_us = self.civil.scheduler_us(min(each for each in wanted if each is not None))
        self._timer = self.scheduler.call_at_us(due_us, self._on_timer)

    def _on_timer(self) -> None:
        self.meter.advance(self.civil.utc_us())
        self.alerts.on_timer(utc_us=self.civil.utc_us())
        self.clusters.metering.touch("supply_status")
        self.clusters.prepayment.touch(*ACCOUNT_STATE)
        self.settings.touch()
        self._on_change()
        self.nvm.commit()

    def changed(self) -> None:
        """Somebody has done something to the meter by hand: saved, told, timers set anew."""
        self._on_change()
        self.clusters.metering.touch("supply_status", "instantaneous_demand")
        self.nvm.commit()

    def on_clock_set(self) -> None:
        """The clock has just been set from the hub's."""
        self.on_clock_moved(0 if self.upkeep is None else self.upkeep.clock.last_step_us)

    def on_clock_moved(self, step_us: int) -> None:
        """The clock has been set forward by so much: the core's time jumps with it, its load does not."""
        now_us = self.civil.utc_us()
        self.meter.set_clock(now_us, utc_us=now_us - step_us)
        self._on_timer()
        self.face.arm()

    def _on_clock_judged(self, verdict: TimeVerdict) -> None:
        """SRV 6.11: where it trusts the hub's time, the clock is compared with it now."""
        if verdict is not TimeVerdict.REFUSED and self.upkeep is not None:
            self.spawn(self.upkeep.synchronise())

    def _take_events(self) -> None:
        """What the meter has just logged: alerts go to the hub, and are kept until it has them."""
        events = self.meter.take_events()
        for event in events:
            self.log.info("event %04X%s", event.code, f" {event.detail}" if event.detail else "")
        before = len(self.alerts)
        if events and self.parameters.book.value("alerts_enabled"):
            self.alerts.offer(events, utc_us=self.civil.utc_us())
        if self.alerts:
            self._alerts_wanted.set()
        if len(self.alerts) > before:
            self.on_alerts()

    def on_alerts(self) -> None:
        """New alerts wait for the hub."""

    async def publish_alert(self, fields: Values) -> None:
        """Hand one PublishEvent to the hub and wait until it has it. Raises NoAnswerError, RefusedError."""
        raise NotImplementedError

    async def send_alerts(self) -> None:
        """All that wait, in order. Raises NoAnswerError, RefusedError."""
        while (first := self.alerts.first()) is not None:
            number, fields = first
            self.nvm.commit()  # the number is used up before anybody hears of it
            await self.publish_alert(fields)
            self.alerts.acknowledge(number)
            self.nvm.commit()

    # --- Critical Instructions ----------------------------------------------------------------------

    def _add_authorisation(self) -> None:
        cluster = self.app.core.add_server(ENDPOINT, "authorisation")
        cluster.bind("sua_generation", lambda: self.authorisation.generation)
        cluster.bind("sua_counter", lambda: self.authorisation.counter)
        cluster.handle("critical_instruction", self._on_critical_instruction)
        cluster.handle("execute_once", self._on_execute_once)
        cluster.handle("rotate_key", self._on_rotate_key)
        cluster.handle("status_push_ack", self._on_push_ack)
        cluster.handle("verify_prepayment_key", self._on_verify_prepayment_key)

    def is_from_head_end(self, context: CommandContext) -> bool:
        """Whether a frame was the head end's, as far as the device can tell: it came from the hub."""
        return context.via in (Via.WIRE, Via.WAN) or context.source == COORDINATOR

    def _guard(self, instance: ClusterInstance, what: str, context: CommandContext) -> None:
        """Raises RefusedError for a critical or local command that comes bare from the hub."""
        if context.via is Via.SUA or not self.is_from_head_end(context):
            return
        if what in _LOCAL_COMMANDS or self._is_critical(instance, what):
            self.meter.note(
                AlertCode.NO_AUTHORITY, utc_us=self.civil.utc_us(), detail=f"{instance.cluster.name} {what}"
            )
            self._on_change()
            raise RefusedError(Status.NOT_AUTHORIZED, f"{what} without a SUA")

    def _is_critical(self, instance: ClusterInstance, what: str) -> bool:
        cluster = instance.cluster
        if what.startswith("write "):
            return cluster.cluster_id in _CRITICAL_WRITES
        sender = Side.CLIENT if instance.side is Side.SERVER else Side.SERVER
        command_id = cluster.command(what, sender).command_id
        return (cluster.cluster_id, sender, command_id) in _CRITICAL_COMMANDS

    def _on_critical_instruction(self, fields: Values, context: CommandContext) -> Answer:
        counter, cluster_id, frame = fields["counter"], fields["cluster"], bytes(fields["frame"])
        # The code belongs to this counter and this frame, so together they are the instruction's id.
        name = counter.to_bytes(8, "big") + bytes(fields["sua"]) + hashlib.sha256(frame).digest()[:8]
        verdict = self.authorisation.authorise(
            counter=counter, sua=bytes(fields["sua"]), cluster_id=cluster_id, frame=frame
        )
        if not verdict.is_granted:
            is_forged = verdict.status is CriticalStatus.WRONG_CODE
            self.meter.note(
                AlertCode.TRUSTED_SOURCE_AUTHENTICATION_FAILURE
                if is_forged
                else AlertCode.UNAUTHORISED_ACCESS,
                utc_us=self.civil.utc_us(),
                detail=f"critical instruction: {verdict.reason}",
            )
            self._on_change()
            # Refused; who asks again because the first answer was lost learns what that was.
            known = self.answers.find(name) or b""
            return reply("critical_result", counter=counter, status=int(verdict.status), frame=known)
        inner = self.app.execute(ENDPOINT, cluster_id, frame, replace(context, via=Via.SUA)) or b""
        self.answers.put(name, inner)
        return reply("critical_result", counter=counter, status=int(CriticalStatus.EXECUTED), frame=inner)

    def _on_execute_once(self, fields: Values, context: CommandContext) -> Answer:
        """An instruction that would do harm twice: a repeat gets the answer of the first time."""
        name, cluster_id = bytes(fields["instruction_id"]), fields["cluster"]
        if not self.is_from_head_end(context):
            return Status.NOT_AUTHORIZED
        if not name or cluster_id == AUTHORISATION.cluster_id:
            return Status.INVALID_FIELD
        answer = self.answers.find(name)
        if answer is None:
            answer = self.app.execute(ENDPOINT, cluster_id, bytes(fields["frame"]), context) or b""
            self.answers.put(name, answer)
        return reply("once_result", instruction_id=name, frame=answer)

    def _on_rotate_key(self, fields: Values, context: CommandContext) -> Answer:
        require_sua(context)
        try:
            held = self.authorisation.stage(fields["generation"], bytes(fields["wrapped_key"]))
        except (SecurityError, DecodeError) as error:
            self.log.warning("key rotation refused: %s", error)
            raise RefusedError(Status.FAILURE, "key rotation refused") from None
        asyncio.get_running_loop().call_soon(self._drop_old_key)
        return reply("rotate_key_response", generation=held.generation, confirmation=held.confirmation)

    def _drop_old_key(self) -> None:
        self.authorisation.drop_old_key()
        generation = self.authorisation.generation
        if generation != self._noted_generation:
            self._noted_generation = generation
            self._log_own(AlertCode.CREDENTIALS_UPDATED, f"SUA key of generation {generation}")
        self.log.info("SUA key of generation %d in force", self.authorisation.generation)
        self._push_wanted.set()

    def _on_verify_prepayment_key(self, fields: Values, context: CommandContext) -> Answer:
        nonce = bytes(fields["nonce"])
        if not self.is_from_head_end(context) or len(nonce) != NONCE_OCTETS:
            raise RefusedError(Status.NOT_AUTHORIZED, "who does not operate the meter asks no proof")
        return reply("prepayment_key_proof", proof=self.desk.prove_key(nonce))

    # --- what else goes to the logs -----------------------------------------------------------------

    def _log_own(self, code: AlertCode, detail: str = "") -> None:
        self.meter.note(code, utc_us=self.civil.utc_us(), detail=detail)
        self._on_change()
        self.nvm.commit()

    def _on_malformed(self) -> None:
        if self._malformed.note(self.civil.utc_us()):
            self._log_own(AlertCode.MALFORMED_COMMANDS, f"{UNUSUAL} within {WINDOW_US // MINUTE_US} minutes")

    def on_link_key(self, key: LinkKey) -> None:
        """A key established with the trust centre: the meter has joined; the first one commissions it."""
        super().on_link_key(key)
        network = self.port.network
        is_own = network is not None and key.partner == network.trust_centre
        if not is_own or key.origin is not KeyOrigin.ESTABLISHED:
            return
        self.meter.note(AlertCode.JOINED_HAN, utc_us=self.civil.utc_us())
        if self.nvm.get(_COMMISSIONED_KEY) is None:
            self.nvm.put(_COMMISSIONED_KEY, b"\x01")
            self.meter.note(AlertCode.COMMISSIONED, utc_us=self.civil.utc_us())
        self._on_change()
        self.nvm.commit()

    # --- status push --------------------------------------------------------------------------------

    async def _push_status(self) -> None:
        """Tell the S1SP which key generation is held until it says that it knows."""
        while True:
            await self._push_wanted.wait()
            await asyncio.sleep(1)
            while self.authorisation.is_push_due:
                try:
                    await self.push(self.authorisation.confirmation())
                except TROUBLE as error:
                    self.log.info("status push: %s", error)
                await asyncio.sleep(PUSH_PAUSE_S)
            self._push_wanted.clear()

    async def push(self, confirmation: KeyConfirmation) -> None:
        """Hand the push to the hub, by whichever way this meter has. Raises NoAnswerError."""
        raise NotImplementedError

    def _on_push_ack(self, fields: Values, context: CommandContext) -> Answer:
        self.authorisation.acknowledge(fields["generation"])
        return Status.SUCCESS
