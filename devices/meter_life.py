"""The inside of a meter: consumption, tariff, account and switch moved forward together.

`advance` cuts time into spans in which nothing but consumption happens: up to the next UTC half hour,
tariff switch, end of a hold on disablement, or the first whole second at which consumption brings the
account to a threshold. So what a meter does does not depend on how often anybody reads it, and two
meters fed with the same load and the same commands are equal to the last fine unit.

The order of things at one instant: consumption up to it; local midnight closes the displays' spans;
debts, then the standing charge (UTC midnight); thresholds; then the logs. Commands come after all of
that. Every command method advances to its own time first.

Consumption flows while supply is on. Time in which a meter was without power (`outage`) has none,
but its midnights count: standing charges and debts of a week's power cut are due afterwards.

All instants are the meter's own time (`clock.py`). Set forward, the time left out is lived without
consumption, as a power cut is. Set back, it is lived again: consumption counts, hours that were charged
once are not charged again, and a half hour lived twice stands once in the profile, with both amounts.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from smets1.devices.account import Account, AccountEvent, AccountEventKind
from smets1.devices.billing import (
    BillingDataLog,
    BillingSnapshot,
    SnapshotCause,
    snapshot,
)
from smets1.devices.days import (
    DAY_US,
    HALF_HOUR_US,
    SECOND_US,
    ceil_to,
    local_day,
    local_midnight_us,
)
from smets1.devices.event_log import AlertCode, EventLog, LogEntry
from smets1.devices.load import Household, Load
from smets1.devices.metering import DailyRead, DailyReadLog, PeriodMarks, ProfileLog, Registers
from smets1.devices.prepayment import PaymentMode, PrepaymentConfig
from smets1.devices.publication import Shelves
from smets1.devices.schedule import FutureCommand, FutureCommands
from smets1.devices.state import StateReader, pack_state
from smets1.devices.supply import OffReason, SupplyMachine
from smets1.devices.tamper import Sensor, TamperMachine
from smets1.devices.tariff import Tariff
from smets1.errors import DecodeError
from smets1.firmware.nvm import Nvm

__all__ = ["MeterLife"]

_UNIT: Final = 1_000_000  # uWh in a Wh, ul in a litre

_CODES: Final = {
    AccountEventKind.LOW_CREDIT: AlertCode.CREDIT_BELOW_LOW_THRESHOLD,
    AccountEventKind.EMERGENCY_OFFERED: AlertCode.EMERGENCY_CREDIT_AVAILABLE,
    AccountEventKind.EMERGENCY_TAKEN: AlertCode.EMERGENCY_CREDIT_ACTIVATED,
    AccountEventKind.EMERGENCY_EXHAUSTED: AlertCode.EMERGENCY_CREDIT_EXHAUSTED,
    AccountEventKind.BELOW_DISABLEMENT: AlertCode.CREDIT_BELOW_DISABLEMENT_THRESHOLD,
    AccountEventKind.DISABLEMENT_HELD: AlertCode.DISABLEMENT_SUSPENDED,
    AccountEventKind.TIME_DEBT_1_PAID: AlertCode.DEBT_COLLECTED_TIME_1,
    AccountEventKind.TIME_DEBT_2_PAID: AlertCode.DEBT_COLLECTED_TIME_2,
    AccountEventKind.PAYMENT_DEBT_PAID: AlertCode.DEBT_COLLECTED_PAYMENT,
    AccountEventKind.CREDIT_ADDED: AlertCode.CREDIT_ADDED_LOCALLY,
}


class MeterLife:
    """How a meter lives: time, consumption, logs, NVM. Starts with supply on."""

    sensors = Sensor(0)
    """The tamper sensors that are fitted."""

    def __init__(
        self,
        *,
        now_us: int,
        tariff: Tariff,
        prepayment: PrepaymentConfig | None = None,
        mode: PaymentMode = PaymentMode.CREDIT,
        balance_mp: int = 0,
    ) -> None:
        self.now_us = now_us
        self.tariff = tariff
        self.registers = Registers()
        self.registers.fit(tariff, utc_us=now_us)
        self.account = Account(
            config=prepayment or PrepaymentConfig(),
            now_us=now_us,
            mode=mode,
            balance_mp=balance_mp,
            standing_charge_fine=tariff.standing_charge_fine,
        )
        self.supply = SupplyMachine()
        self.log = EventLog()
        self.profile = ProfileLog()
        self.daily = DailyReadLog()
        self.marks = PeriodMarks(utc_us=now_us)
        self.billing = BillingDataLog()
        self.future = FutureCommands()
        self.tamper = TamperMachine(fitted=self.sensors)
        self.shelves = Shelves()
        self.tenancy_from_us = 0  # what lies before belongs to an earlier household
        self._load_shift_us = 0  # own time and this make the time of the loads
        self._off_since_us: int | None = None  # power has been gone since
        self._source_mark = self._source(now_us)
        self._profile_mark = 0  # register in whole units at the last half hour
        self._settled_us = -1  # thresholds have been looked at at this instant
        self._has_power = True
        self._is_skipping = False  # the clock is being set forward: time that nobody lives
        self._events: list[LogEntry] = []

    # --- what differs between the fuels ----------------------------------------------------------

    def _source(self, utc_us: int) -> int:
        """What the house would have drawn since its beginning: uWh, or ul of gas."""
        raise NotImplementedError

    @property
    def house(self) -> Load:
        """What draws behind this meter."""
        raise NotImplementedError

    def _energy_at(self, quantity: int) -> int:
        """The energy register (uWh) when the quantity register shows this."""
        raise NotImplementedError

    @property
    def demand(self) -> int:
        """W, or litres an hour of gas; 0 while supply is not on."""
        raise NotImplementedError

    # --- reads -----------------------------------------------------------------------------------

    @property
    def reading(self) -> int:
        """The register as it is sent: whole Wh, or litres, rounded down."""
        return self.registers.quantity // _UNIT

    @property
    def tou(self) -> int:
        """The TOU register that counts now."""
        return self.tariff.tou_at(self.now_us)

    @property
    def price_mp_per_kwh(self) -> int:
        tou = self.tou
        return self.tariff.price_mp_per_kwh(tou, self.tariff.block_at(tou, self.registers.counters_uwh[tou]))

    @property
    def snapshots(self) -> deque[BillingSnapshot]:
        """The changes of mode and tariff in the billing data log."""
        return self.billing.changes

    def consumer_profile(self, start_utc_us: int, end_utc_us: int) -> list[tuple[int, int]]:
        """The profile log as the household may see it: from the change of tenancy on (SRV 3.2)."""
        return self.profile.read(max(start_utc_us, self.tenancy_from_us), end_utc_us)

    def take_events(self) -> list[LogEntry]:
        """What was logged since the last call, in order."""
        events, self._events = self._events, []
        return events

    # --- time ------------------------------------------------------------------------------------

    def advance(self, utc_us: int) -> None:
        """Live up to `utc_us`. An earlier time than before changes nothing."""
        while self.now_us <= utc_us:
            # there already, as at every read but the first of an instant: no edge ahead matters
            boundary_us = utc_us if self.now_us == utc_us else self._boundary_us()
            end_us = min(utc_us, boundary_us)
            crossing_us = self._crossing_us(end_us)
            if crossing_us == self.now_us:
                self._settle()
            elif end_us == self.now_us:
                return
            else:
                stop_us = end_us if crossing_us is None else crossing_us
                self._step(stop_us, settles=crossing_us is not None or stop_us == boundary_us)

    def _settle(self) -> None:
        """Thresholds that are met at this very instant, without a span before it."""
        self._settled_us = self.now_us
        self._take_account(self.account.settle())

    def next_timer_us(self) -> int:
        """When something happens next without anybody asking; call `advance` then."""
        boundary_us = self._boundary_us()
        crossing_us = self._crossing_us(boundary_us)
        return boundary_us if crossing_us is None else crossing_us

    def outage(self, utc_us: int) -> None:
        """Power is back at `utc_us`, gone since `power_off` or the last instant known: nothing flowed."""
        since_us = self.now_us if self._off_since_us is None else self._off_since_us
        self._has_power = False
        self.advance(utc_us)
        self._has_power, self._off_since_us = True, None
        if utc_us > since_us:
            self._on_power_back(since_us)

    def power_off(self, *, utc_us: int) -> None:
        """Power goes. What a meter can still say in its last gasp is the shell's to send."""
        self.advance(utc_us)
        self._has_power, self._off_since_us = False, self.now_us

    @property
    def is_without_power(self) -> bool:
        """Between `power_off` and `outage`, over restarts too."""
        return self._off_since_us is not None

    def _on_power_back(self, since_us: int) -> None:
        """Log it; what it is called differs between the fuels."""

    def set_clock(self, to_us: int, *, utc_us: int) -> None:
        """The own clock showed `utc_us` and shows `to_us` from now on (clock.py decides whether)."""
        self.advance(utc_us)
        delta_us = to_us - self.now_us
        if delta_us == 0:
            return
        self._load_shift_us -= delta_us
        self.supply.shift(delta_us)
        self.account.shift_timers(delta_us)
        self._shift_timers(delta_us)
        if delta_us > 0:
            self._is_skipping = True
            self.advance(to_us)
            self._is_skipping = False
        else:
            self.now_us = self.account.now_us = to_us
            self._settled_us = -1
            self.marks.on_clock_set(self.registers, utc_us=to_us)
            self.billing.on_clock_set(utc_us=to_us)
        self._source_mark = self._source(self.now_us)
        self._on_clock_set()
        if delta_us < 0:
            self._settle()  # what a friendly hour held back may stand outside it now

    def _shift_timers(self, delta_us: int) -> None:
        """Spans that run in a fuel's own machines go on."""

    def _on_clock_set(self) -> None:
        """What a fuel has to begin anew."""

    @property
    def _is_flowing(self) -> bool:
        return self.supply.is_on and self._is_awake

    @property
    def _is_awake(self) -> bool:
        """Whether it senses anything: it has power, and time is lived and not left out."""
        return self._has_power and not self._is_skipping

    def _boundary_us(self) -> int:
        now_us = self.now_us
        edges = [
            now_us // HALF_HOUR_US * HALF_HOUR_US + HALF_HOUR_US,
            self.tariff.next_switch_us(now_us),
            self.account.next_hold_change_us(),
            self.supply.next_timer_us(),
            self.billing.next_us,
            self.future.next_timer_us(),
            *self._more_edges(),
        ]
        return min(edge for edge in edges if edge is not None and edge > now_us)

    def _more_edges(self) -> list[int | None]:
        """The next instants of a fuel's own machines."""
        return []

    def _crossing_us(self, end_us: int) -> int | None:
        """The first whole second up to `end_us` at which consumption meets a threshold of the account."""
        low_s, high_s = ceil_to(self.now_us, SECOND_US) // SECOND_US, end_us // SECOND_US
        if low_s * SECOND_US == self._settled_us:
            low_s += 1
        if low_s > high_s:
            return None
        headroom = self.account.headroom_fine() if self._is_flowing else None
        if headroom is None or self._cost_until(high_s * SECOND_US) < headroom:
            return None
        while low_s < high_s:
            middle_s = (low_s + high_s) // 2
            if self._cost_until(middle_s * SECOND_US) >= headroom:
                high_s = middle_s
            else:
                low_s = middle_s + 1
        return high_s * SECOND_US

    def _cost_until(self, utc_us: int) -> int:
        quantity = self.registers.quantity + self._source(utc_us) - self._source_mark
        energy = self._energy_at(quantity) - self.registers.energy_uwh
        tou = self.tou
        return self.tariff.cost_fine(tou, self.registers.counters_uwh[tou], energy)

    def _step(self, to_us: int, *, settles: bool) -> None:
        """One span without an inner event, and what is due at its end."""
        source = self._source(to_us)
        cost = 0
        self._flow(to_us)
        if self._is_flowing:
            self.registers.quantity += source - self._source_mark
            energy = self._energy_at(self.registers.quantity) - self.registers.energy_uwh
            cost = self.registers.add(energy, tariff=self.tariff, tou=self.tou)
        self._source_mark = source
        self.now_us = to_us
        is_half_hour = to_us % HALF_HOUR_US == 0
        if is_half_hour and local_midnight_us(local_day(to_us)) == to_us:
            self.marks.on_midnight(self.registers, utc_us=to_us)
        charged_us = self.account.charged_us
        self._take_account(self.account.advance(to_us, cost, settle=settles))
        if settles:
            self._settled_us = to_us
        if self.supply.on_timer(utc_us=to_us):
            self._note(AlertCode.LOAD_LIMIT_RESTORED)
            self._note(AlertCode.SUPPLY_DISABLED_THEN_ARMED, "overload over")
        self._on_edge()
        if is_half_hour:
            self._on_half_hour(is_charged=to_us > charged_us)
        self._switched()
        if self.billing.is_due(to_us):
            self._snapshot(SnapshotCause.BILLING_CALENDAR)
            self.registers.end_block_period(self.tariff)
        for command in self.future.take_due(utc_us=to_us):
            self._carry_out(command)

    def _flow(self, to_us: int) -> None:
        """A span up to `to_us` is about to be lived: a fuel's further registers."""

    def _on_edge(self) -> None:
        """An instant was reached: a fuel's own machines."""

    def _switched(self) -> None:
        """The switch may have moved: a fuel's machines that follow it."""

    def _on_half_hour(self, *, is_charged: bool) -> None:
        """`is_charged`: this hour had not been charged before the clock was set back."""
        self.profile.record(self.now_us, self.reading - self._profile_mark)
        self._profile_mark = self.reading
        if self.now_us % DAY_US == 0:
            if is_charged and not self.account.is_credit_retained:
                self.registers.cost_fine += self.tariff.standing_charge_fine
            self.registers.roll_block_period(self.tariff, utc_us=self.now_us)
            self.daily.record(
                DailyRead(
                    utc_us=self.now_us,
                    quantity=self.registers.quantity,
                    cost_fine=self.registers.cost_fine,
                    balance_fine=self.account.balance_fine,
                    tou_uwh=tuple(self.registers.tou_uwh),
                    block_uwh=tuple(tuple(row) for row in self.registers.block_uwh),
                )
            )

    # --- events ----------------------------------------------------------------------------------

    def _note(self, code: int, detail: str = "") -> None:
        self._events.append(self.log.record(code, utc_us=self.now_us, detail=detail))

    def note(self, code: int, *, utc_us: int, detail: str = "") -> None:
        """Something that a shell has seen (joined, tamper, refused authority) goes to the log."""
        self.advance(utc_us)
        self._note(code, detail)

    def _snapshot(self, cause: SnapshotCause) -> None:
        self.billing.take(snapshot(cause, self.registers, self.account, utc_us=self.now_us))
        self._note(AlertCode.BILLING_LOG_UPDATED, cause.name)

    def _carry_out(self, command: FutureCommand) -> None:
        """A future-dated command is due."""
        raise NotImplementedError

    def _take_account(self, events: list[AccountEvent]) -> None:
        for event in events:
            code = _CODES.get(event.kind)
            if code is not None:
                self._note(code, f"balance {event.balance_mp}")
            if event.kind is AccountEventKind.CUT_OFF:
                self.supply.disable(OffReason.NO_CREDIT, utc_us=self.now_us)
                self._switched()
            elif event.kind is AccountEventKind.RESTORED and self.supply.clear(OffReason.NO_CREDIT):
                self._note(AlertCode.SUPPLY_ARMED, "credit restored")

    # --- NVM -------------------------------------------------------------------------------------

    def save(self, nvm: Nvm) -> None:
        """Put all that has changed; the shell commits, with whatever else belongs to the same change."""
        nvm.put("meter/core", self._encode_core())
        nvm.put("meter/tariff", self.tariff.encode())
        nvm.put("meter/prepayment", self.account.config.encode())
        nvm.put("meter/account", self.account.encode())
        nvm.put("meter/registers", self.registers.encode())
        nvm.put("meter/supply", self.supply.encode())
        nvm.put("meter/marks", self.marks.encode())
        nvm.put("meter/daily", self.daily.encode())
        nvm.put("meter/log", self.log.encode())
        for name, octets in self._more_records().items():
            nvm.put(f"meter/{name}", octets)
        for name, log in self._profiles().items():
            for day, chunk in log.take_changed():
                if chunk is None:
                    nvm.delete(f"meter/{name}/{day}")
                else:
                    nvm.put(f"meter/{name}/{day}", chunk)

    def _profiles(self) -> dict[str, ProfileLog]:
        """Half-hour logs by the name of their records."""
        return {"profile": self.profile}

    def _more_records(self) -> dict[str, bytes]:
        """Records that images of the first version do not have."""
        house = {"house": self.house.encode()} if isinstance(self.house, Household) else {}
        return {
            **house,
            "billing": self.billing.encode(),
            "future": self.future.encode(),
            "tamper": self.tamper.encode(),
            "shelves": self.shelves.encode(),
        }

    def _restore_more(self, records: dict[str, bytes]) -> None:
        """Take over those of `_more_records` that are there. Raises DecodeError."""
        if "billing" in records:
            self.billing = BillingDataLog.decode(records["billing"])
        if "future" in records:
            self.future = FutureCommands.decode(records["future"])
        if "tamper" in records:
            self.tamper.decode_into(records["tamper"])
        if "shelves" in records:
            self.shelves = Shelves.decode(records["shelves"])
        if isinstance(self.house, Household) and "house" in records:
            self.house.decode_into(records["house"])

    def restore(self, nvm: Nvm) -> bool:
        """Take over what `save` wrote; False where there is nothing. Raises DecodeError.

        The meter is then at the instant of that save: `advance` (a restart of the program) or `outage`
        (a power cut of the house) brings it to the present.
        """
        core = nvm.get("meter/core")
        if core is None:
            return False
        self.tariff = Tariff.decode(_record(nvm, "tariff"))
        self.account = Account.decode(
            _record(nvm, "account"), config=PrepaymentConfig.decode(_record(nvm, "prepayment"))
        )
        self.registers = Registers.decode(_record(nvm, "registers"))
        self.supply = SupplyMachine.decode(_record(nvm, "supply"))
        self.marks = PeriodMarks.decode(_record(nvm, "marks"))
        self.daily = DailyReadLog.decode(_record(nvm, "daily"))
        self.log = EventLog.decode(_record(nvm, "log"))
        for name, log in self._profiles().items():
            log.clear()
            prefix = f"meter/{name}/"
            for key in nvm.keys(prefix):
                log.load_chunk(_day_of(key, prefix), _value(nvm, key))
        found = {name: nvm.get(f"meter/{name}") for name in self._more_records()}
        self._restore_more({name: octets for name, octets in found.items() if octets is not None})
        self._decode_core(core)
        return True

    def _core_fields(self) -> dict[str, object]:
        return {
            "now_us": self.now_us,
            "profile_mark": self._profile_mark,
            "settled_us": self._settled_us,
            "tenancy_us": self.tenancy_from_us,
            "load_shift_us": self._load_shift_us,
            "off_since_us": self._off_since_us,
        }

    def _encode_core(self) -> bytes:
        return pack_state("meter", 2, self._core_fields())

    def _decode_core(self, octets: bytes) -> StateReader:
        reader = StateReader(octets, kind="meter", versions=(1, 2))
        self.now_us = reader.whole("now_us")
        self._profile_mark = reader.whole("profile_mark")
        self._settled_us = reader.whole("settled_us")
        if reader.version == 1:
            self._decode_first_version(reader)
        else:
            self.tenancy_from_us = reader.whole("tenancy_us")
            self._load_shift_us = reader.whole("load_shift_us")
            self._off_since_us = reader.whole_or_none("off_since_us")
            self._has_power = self._off_since_us is None
        self._source_mark = self._source(self.now_us)
        return reader

    def _decode_first_version(self, reader: StateReader) -> None:
        """Snapshots stood here, and were five numbers each."""
        for utc_us, cause, quantity, cost, balance in reader.rows("snapshots", 5):
            if cause not in tuple(SnapshotCause):
                raise reader.bad("snapshots", "have an unknown cause")
            self.billing.take(
                BillingSnapshot(
                    utc_us=utc_us,
                    cause=SnapshotCause(cause),
                    quantity=quantity,
                    cost_fine=cost,
                    balance_fine=balance,
                )
            )


def _value(nvm: Nvm, key: str) -> bytes:
    octets = nvm.get(key)
    if octets is None:
        raise DecodeError("NVM", 0, f"the record {key} is missing")
    return octets


def _record(nvm: Nvm, name: str) -> bytes:
    return _value(nvm, f"meter/{name}")


def _day_of(key: str, prefix: str) -> int:
    text = key[len(prefix) :]
    if not text.isdecimal():
        raise DecodeError("NVM", 0, f"the record {key} names no day")
    return int(text)
