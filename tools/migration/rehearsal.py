"""One rehearsal of a migration week: what each party does when, with a story that a person can follow.

The default calendar: Thursday 09:00 the suppliers authorise; on the migration day at 06:00 the homes are
switched on, 06:30 the Requesting Party begins, the second verification point and the MEF are at 07:00. The
guide's "T-24h" for the MCF is shortened so that the homes need not idle for a day; nothing in the rules
hangs on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Final

from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import from_datetime, to_datetime
from smets1.headend.migration.envelope import FileRefusedError
from smets1.headend.migration.files import (
    MAX_INSTALLATIONS,
    Authorisation,
    CommissionedBy,
    FileKind,
    Installation,
    MigrationAuthorisationFile,
    MigrationOutcome,
    NetworkCertificates,
    S1spOutcome,
    Supply,
    SupplyStatus,
)
from smets1.headend.migration.mcc import Plan, week_of
from smets1.headend.migration.progress import HomeProgress, KeyState, Stage
from smets1.headend.migration.requesting_party import HandOver
from smets1.tools.home_config import HomeConfig
from smets1.tools.migration.parties import NETWORK, RP
from smets1.tools.migration.rig import GROUP, HomeBooks, Rig

__all__ = ["Rehearsal", "StoryLine"]

_DAY: Final = timedelta(days=1)
_ENDED: Final = frozenset({Stage.COMMISSIONED, Stage.ROLLED_BACK, Stage.STRANDED})
_REPORTED: Final = {
    S1spOutcome.ROLL_BACK: MigrationOutcome.ROLLED_BACK,
    S1spOutcome.FAILED: MigrationOutcome.STRANDED,
}
_OUTCOMES: Final = (Stage.ROLL_BACK, Stage.ROLLED_BACK, Stage.STRANDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryLine:
    """Who did what when."""

    utc_us: int
    who: str
    text: str

    def __str__(self) -> str:
        moment = to_datetime(self.utc_us)
        return f"{moment:%a %H:%M:%S}  {self.who:<9} {self.text}"


@dataclass(slots=True)
class Rehearsal:
    """Drives the parties of a rig through a week; every step can also be taken by itself."""

    rig: Rig
    on_line: Callable[[StoryLine], None] = lambda _line: None
    story: list[StoryLine] = field(default_factory=list)
    files: list[tuple[FileKind, bytes]] = field(default_factory=list)
    plans: dict[Eui64, Plan] = field(default_factory=dict)
    commissions_itself: bool = False
    migrate_on: str | None = None
    is_priority: bool = False
    is_lean: bool = False  # thousands of homes: no story is kept
    holds_back: bool = False  # SCFs reach nobody who would commission
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _noted: dict[Eui64, str] = field(default_factory=dict)  # the last that was said of a home

    def __post_init__(self) -> None:
        rig = self.rig
        rig.s1sp.on_file = self._on_s1sp_file
        rig.s1sp.on_change = self._on_change
        rig.rp.on_note = self._on_rp_note
        rig.on_alert = self._on_alert
        for party in (rig.cp, rig.supplier_cp):
            party.on_home = self._on_commissioned

    # --- telling ------------------------------------------------------------------------------------

    def say(self, who: str, text: str) -> None:
        if self.is_lean:
            return
        line = StoryLine(utc_us=self.rig.civil.utc_us(), who=who, text=text)
        self.story.append(line)
        self.on_line(line)

    def keep(self, kind: FileKind, octets: bytes) -> None:
        """A file that somebody made; written to the folder where there is one."""
        self.files.append((kind, octets))
        folder = self.rig.options.folder
        if folder is not None:
            count = sum(1 for each, _ in self.files if each is kind)
            (folder / f"{kind}-{count:03d}.xml").write_bytes(octets)

    def of_kind(self, kind: FileKind) -> list[bytes]:
        return [octets for each, octets in self.files if each is kind]

    def _on_change(self, home: HomeProgress) -> None:
        if self.is_lean:
            return
        if home.is_reported and home.stage in (*_OUTCOMES, Stage.MIGRATED):
            return  # only that it is in an SCF is new
        text = _progress(home)
        if self._noted.get(home.hub) == text:  # only that it was silent is new
            text = "no answer: what the meter holds is still unknown"
        self._noted[home.hub] = text
        self.say("S1SP", f"home {_short(home.hub)}: {text}")

    def _on_rp_note(self, what: str, hub: Eui64, text: str) -> None:
        self.say("RP", f"home {_short(hub)}: {what}: {text}")

    def _on_alert(self, code: str, user: str, device: Eui64 | None) -> None:
        self.say("DSP", f"alert {code} to the {user} about {'?' if device is None else format_eui64(device)}")

    def _on_commissioned(self, home: Installation, is_done: bool) -> None:
        if is_done:
            self.rig.place_credentials(home)
        self.say("CP", f"home {_short(home.hub)}: {'commissioned' if is_done else 'commissioning failed'}")

    # --- the week -----------------------------------------------------------------------------------

    def authorise(
        self,
        books: Sequence[HomeBooks],
        *,
        week: date | None = None,
        only: Eui64 | None = None,
        migrate_on: str | None = None,
    ) -> None:
        """Each active supplier, or `only` one, gives its MA, for the week after the present one."""
        self.migrate_on = migrate_on
        rig = self.rig
        week = week or week_of(rig.civil.utc_us()) + 7 * _DAY
        lines: dict[Eui64, list[Authorisation]] = {}
        for each in books:
            electricity, gas, home = each.electricity, each.gas, each.smso
            if electricity.status is SupplyStatus.ACTIVE:
                both = gas is not None and gas == electricity
                line = self._line(electricity.supplier, mpan=home.mpan, mprn=home.mprn if both else None)
                lines.setdefault(electricity.supplier, []).append(line)
            if gas is not None and gas.status is SupplyStatus.ACTIVE and gas != electricity:
                line = self._line(gas.supplier, mpan=None, mprn=home.mprn)
                lines.setdefault(gas.supplier, []).append(line)
        for supplier, given in lines.items():
            if only not in (None, supplier):
                continue
            assert len(given) <= MAX_INSTALLATIONS, "one file for each supplier"
            content = MigrationAuthorisationFile(
                group_id=GROUP,
                supplier=supplier,
                migration_week=week.isoformat(),
                authorisations=tuple(given),
            )
            ma = rig.signer(supplier).sign(FileKind.MA, content, now_utc_us=rig.civil.utc_us())
            self.keep(FileKind.MA, ma)
            rig.mcc.take_ma(ma)
            self.say("supplier", f"MA to the MCC: {_homes(len(given))} for the week of {week}")

    def _line(self, supplier: Eui64, *, mpan: str | None, mprn: str | None) -> Authorisation:
        pki = self.rig.pki
        by = CommissionedBy.SUPPLIER if self.commissions_itself else CommissionedBy.COMMISSIONING_PARTY
        return Authorisation(
            mpan=mpan,
            mprn=mprn,
            commissioned_by=by,
            certificate=pki.certificate(supplier),
            network=NetworkCertificates(network_operator=NETWORK, certificate=pki.certificate(NETWORK)),
            migrate_on=self.migrate_on,
            is_priority=self.is_priority,
        )

    async def wait_until(self, utc_us: int) -> None:
        await asyncio.sleep(max(0, utc_us - self.rig.civil.utc_us()) / 1e6)

    async def to_day(self, *, hour: int = 6, day: int = 0) -> None:
        """To an hour of a day of the next Migration Week, with nothing switched on."""
        week = week_of(self.rig.civil.utc_us()) + 7 * _DAY
        moment = to_datetime(0).replace(year=week.year, month=week.month, day=week.day) + day * _DAY
        await self.wait_until(from_datetime(moment) + hour * 3_600_000_000)

    async def switch_on(self, books: HomeBooks, config: HomeConfig, **options: Any) -> None:
        """`options` of `open_home`."""
        await self.rig.switch_on(books, config, **options)
        self.say("home", f"{_short(books.hub)} is on: {len(books.smso.devices)} devices, joined and keyed")

    def plan(self, books: Sequence[HomeBooks]) -> list[Plan]:
        """The MCC's plan of today's week; homes without authorisation are told and left out."""
        week = week_of(self.rig.civil.utc_us())
        found = []
        for each in books:
            plan = self.rig.mcc.plan(each.hub, each.smso.mpan, each.smso.mprn, week)
            if plan is None:
                self.say(
                    "MCC", f"home {_short(each.hub)}: not authorised by every active supplier (TMAD 4.17)"
                )
            else:
                self.plans[each.hub] = plan
                found.append(plan)
        return found

    def entry(self, books: HomeBooks) -> Installation:
        """A home as the SMSO would file it, before there is a file."""
        home, registration, gas = books.smso, books.electricity, books.gas
        electricity = Supply(
            mpxn=home.mpan,
            supplier=registration.supplier,
            status=registration.status,
            certificate=None,
            network=None,
        )
        return Installation(
            hub=books.hub,
            devices=home.devices,
            electricity=electricity,
            gas=None if gas is None else replace(electricity, mpxn=home.mprn or "", supplier=gas.supplier),
            commissioned_by=CommissionedBy.COMMISSIONING_PARTY,
            is_priority=False,
        )

    async def validate(self, plans: Sequence[Plan]) -> tuple[HandOver, list[Eui64]] | None:
        """RP checks, MCF, MVF. None where no home is left."""
        rig, before = self.rig, len(self.rig.rp.rejections)
        hand_over = await rig.rp.prepare(plans)
        self._tell_rejections(before)
        if hand_over is None:
            return None
        self.keep(FileKind.MCF, hand_over.mcf)
        self.say("RP", f"MCF to the S1SP, the DCO and the CP: {_homes(len(hand_over.plans))}")
        rig.dco_desk.take(FileKind.MCF, hand_over.mcf, now_utc_us=rig.civil.utc_us())
        for party in (rig.cp, rig.supplier_cp):
            party.take_mcf(hand_over.mcf, frozenset({RP}))
        mvf = rig.s1sp.take_mcf(hand_over.mcf)
        rig.dco_desk.take(FileKind.MVF, mvf, now_utc_us=rig.civil.utc_us())
        before = len(rig.rp.rejections)
        valid = rig.rp.take_mvf(mvf, hand_over)
        self.say("S1SP", f"MVF to the RP and the DCO: valid: {len(valid)} of {_homes(len(hand_over.plans))}")
        self._tell_rejections(before)
        return hand_over, valid

    async def hand_over(self, hand_over: HandOver, valid: Sequence[Eui64]) -> bytes | None:
        """The second verification point, the account switch, the MEF; it is not given to anybody yet."""
        before = len(self.rig.rp.rejections)
        mef = await self.rig.rp.hand_over(hand_over, valid, is_stopped=self.rig.mcc.is_stopped)
        self._tell_rejections(before)
        if mef is not None:
            self.keep(FileKind.MEF, mef)
        return mef

    def give_mef(self, mef: bytes) -> list[Eui64]:
        """To the DCO and the S1SP. Raises FileRefusedError, RefusedError."""
        rig = self.rig
        self.say("RP", "MEF to the DCO and the S1SP")
        try:
            rig.dco_desk.take(FileKind.MEF, mef, now_utc_us=rig.civil.utc_us())
            begun = rig.s1sp.take_mef(mef)
        except FileRefusedError:
            self.take_back()
            raise
        return begun

    def take_back(self) -> None:
        """A refused MEF: homes that nobody has begun are the supplier's again."""
        for hub in self.plans:
            home = self.rig.s1sp.home(hub)
            if home is None or home.stage is Stage.ROLLED_BACK:
                self.rig.smso.hand_back(hub)

    async def run_day(self, books: Sequence[HomeBooks]) -> None:
        """Everything from the plan to the end of every home."""
        plans = self.plan(books)
        found = await self.validate(plans) if plans else None
        if found is None:
            return
        mef = await self.hand_over(*found)
        if mef is not None:
            self.give_mef(mef)
            await self.until_ended(books)

    async def until_ended(self, books: Sequence[HomeBooks], *, hours: float = 30.0) -> None:
        """Until each home that was begun is at an end that is reported, and COFs are out, hour by hour."""
        hour = self._hour()
        for _ in range(round(hours * 60)):
            if all(self._has_ended(each.hub) for each in books):
                break
            await asyncio.sleep(60)
            if self._hour() != hour:
                hour = self._hour()
                self.cof()
        await asyncio.gather(*self._tasks)
        self._tasks.clear()
        self.cof()

    def _hour(self) -> int:
        return self.rig.civil.utc_us() // 3_600_000_000

    def _has_ended(self, hub: Eui64) -> bool:
        home = self.rig.s1sp.home(hub)
        return home is None or (home.stage in _ENDED and home.is_reported)

    # --- files of the S1SP --------------------------------------------------------------------------

    def _on_s1sp_file(self, kind: FileKind, octets: bytes) -> None:
        self.keep(kind, octets)
        if kind is FileKind.SCF:
            self._tasks.append(self.rig.loop.create_task(self._take_scf(octets)))

    async def _take_scf(self, octets: bytes) -> None:
        scf = self.rig.rp.take_scf(octets)
        counts: dict[str, int] = {}
        for line in scf.installations:
            counts[line.outcome] = counts.get(line.outcome, 0) + 1
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        self.say("S1SP", f"SCF to the RP and the CP: {told}")
        for line in scf.installations:
            outcome = _REPORTED.get(line.outcome)
            if outcome is not None and line.hub in self.plans:
                self.rig.mcc.note(self.plans[line.hub], outcome, f"TMAD {line.clause}: {line.reason}")
        for party in () if self.holds_back else (self.rig.cp, self.rig.supplier_cp):
            await party.take_scf(octets)

    def cof(self) -> list[bytes]:
        """What the Commissioning Party, or the supplier, reports hourly."""
        made = []
        for party, who in ((self.rig.cp, "CP"), (self.rig.supplier_cp, "supplier")):
            for octets in party.report():
                self.keep(FileKind.COF, octets)
                self.say(who, "COF to the RP and the supplier")
                made.append(octets)
        for hub, plan in self.plans.items():
            home = self.rig.s1sp.home(hub)
            if home is not None and home.stage is Stage.COMMISSIONED:
                self.rig.mcc.note(plan, MigrationOutcome.COMMISSIONED)
        return made

    def reports(self) -> None:
        """S1MIG-001 and S1MIG-002 of the week."""
        for report_id in ("S1MIG-001", "S1MIG-002"):
            for octets in self.rig.mcc.report(
                report_id, from_utc_us=0, to_utc_us=self.rig.civil.utc_us() + 1
            ):
                self.keep(FileKind.REPORT, octets)
        self.say("MCC", "reports S1MIG-001 and S1MIG-002")

    def _tell_rejections(self, before: int) -> None:
        for rejection in self.rig.rp.rejections[before:]:
            failure = rejection.failures[0]
            more = f" and {len(rejection.failures) - 1} more" if len(rejection.failures) > 1 else ""
            hub = _short(rejection.plan.hub)
            self.say(
                "RP", f"home {hub} rejected {rejection.point}: {failure.reason} ({failure.clause}){more}"
            )
            self.rig.mcc.note(
                rejection.plan,
                MigrationOutcome.REJECTED,
                f"{rejection.point}: {failure.clause}: {failure.reason}",
            )


def _progress(home: HomeProgress) -> str:
    """What the S1SP has just noted about a home, before it acts on it."""
    if home.stage is Stage.SECURING:
        return _securing(home)
    text = _NOTED.get(home.stage, str(home.stage))
    is_why_new = home.reason and home.stage is not Stage.ROLLED_BACK
    return f"{text}: {home.reason} (TMAD {home.clause})" if is_why_new else text


def _securing(home: HomeProgress) -> str:
    for meter, state in (("GSME", home.gsme), ("ESME", home.esme)):
        if state is KeyState.UNKNOWN and not home.attempts:
            return f"is told to ask the {meter} anew"
        if state is KeyState.UNKNOWN:
            return (
                f"asks the {meter} to take a new SUA key, attempt {home.attempts}; "
                "until it answers its key is unknown"
            )
    if home.gsme is KeyState.ROTATED:
        return "the GSME has shown that it holds the new key: no way back from here; the ESME is next"
    return "begins to secure it: " + ("the GSME first" if home.gsme is not KeyState.NO_METER else "the ESME")


_NOTED: Final = {
    Stage.VALIDATED: "taken from the MEF; it was valid in the MVF",
    Stage.VIABLE: "viable: the DCO has opened the EncryptedSUAKey of each meter",
    Stage.INSTALLED: "installed: hub and meters answer, and are what the MCF says (16.9)",
    Stage.MIGRATED: "migrated: every meter has shown that it holds its new key",
    Stage.ROLL_BACK: "to be rolled back",
    Stage.ROLLED_BACK: "rolled back: the account is the supplier's again, the DCO's keys are deleted",
    Stage.COMMISSIONED: "commissioned: 8.1.1 is done for every meter, the UTRN Period runs",
}


def _homes(count: int) -> str:
    return f"{count} home" if count == 1 else f"{count} homes"


def _short(hub: Eui64) -> str:
    return format_eui64(hub)[-8:]
