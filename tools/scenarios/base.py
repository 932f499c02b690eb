"""What a scenario is made of: a stage with a rehearsal on it, expectations, and the book of all scenarios."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from smets1.devices.enrolment import DeviceKind, required_of
from smets1.errors import EmulatorError, InputError, RefusedError
from smets1.eui64 import format_eui64
from smets1.firmware.wan.memory import Fault, Transfer
from smets1.firmware.zcl.clusters import metering
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice
from smets1.hardware.clock import MAX_SPEED, run
from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.envelope import FileRefusedError
from smets1.headend.migration.files import DeviceEntry, FileKind, SupplyStatus
from smets1.headend.migration.progress import HomeProgress, Row, Stage
from smets1.headend.migration.s1sp_desk import S1spPolicy
from smets1.headend.migration.smso import Account
from smets1.headend.migration.utrn_period import Channel
from smets1.headend.srv import frames
from smets1.headend.srv.critical import Instruction
from smets1.tools.home import Home
from smets1.tools.home_config import HomeConfig, Role
from smets1.tools.migration.orders import reference_home
from smets1.tools.migration.parties import SUPPLIER
from smets1.tools.migration.rehearsal import Rehearsal, StoryLine
from smets1.tools.migration.rig import GROUP, HomeBooks, Rig, RigOptions
from smets1.tools.new_file import make_folder

__all__ = [
    "BOTH",
    "CATALOGUE",
    "DONE",
    "DORMANT",
    "DUAL",
    "METERS",
    "SINGLE",
    "Expected",
    "Scenario",
    "Set",
    "Verdict",
    "play",
    "scenario",
]

DUAL: Final = (Role.CHF, Role.GPF, Role.ESME, Role.GSME, Role.PPMID, Role.IHD)
METERS: Final = (Role.CHF, Role.GPF, Role.ESME, Role.GSME)
SINGLE: Final = (Role.CHF, Role.ESME, Role.PPMID, Role.IHD)
BOTH: Final = (Role.GSME, Role.ESME)
"""The meters, in the order in which they are secured."""
DORMANT: Final[dict[str, Any]] = {"electricity": SupplyStatus.DORMANT, "gas": SupplyStatus.DORMANT}
_HOUR_US: Final = 3_600_000_000
_QUICK: Final = S1spPolicy(attempt_us=_HOUR_US // 2, pause_us=_HOUR_US // 12, attempts=3)

Play = Callable[["Set"], Awaitable[None]]


class ScenarioFailedError(EmulatorError):
    """Something is not as the scenario says it must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str
    title: str
    source: str  # the clause or table that it rehearses
    play: Play = field(repr=False)


CATALOGUE: Final[dict[str, Scenario]] = {}


def scenario(title: str, source: str) -> Callable[[Play], Play]:
    """Enter a coroutine into the catalogue, under its own name with dashes."""

    def enter(play: Play) -> Play:
        name = getattr(play, "__name__", "").strip("_").replace("_", "-")
        assert name not in CATALOGUE, f"{name} is there already"
        CATALOGUE[name] = Scenario(name=name, title=title, source=source, play=play)
        return play

    return enter


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How a home must stand at the end, everywhere."""

    stage: Stage | None  # at the S1SP; None: it never came so far
    row: Row | None = None
    account: Account = Account.DCC
    rotated: tuple[Role, ...] = ()  # whose devices hold generation 1


DONE: Final = Expected(stage=Stage.COMMISSIONED, row=Row.BOTH_ROTATED, rotated=BOTH)
"""As it should be."""


class Set:
    """What a scenario plays on. Made by `play`."""

    def __init__(self, on_line: Callable[[str], None], *, folder: Path | None = None) -> None:
        self._on_line = on_line
        self._folder = folder
        self.count = 0  # expectations that held

    # --- setting up -----------------------------------------------------------------------------------

    def begin(self, **options: Any) -> None:
        """All parties; `options` of RigOptions. Called once, by the scenario's first need of them."""
        options.setdefault("policy", _QUICK)
        self.rig = Rig(RigOptions(folder=self._folder, **options))
        self.week = Rehearsal(self.rig, on_line=self._tell)

    def _tell(self, line: StoryLine) -> None:
        self._on_line(str(line))

    def say(self, text: str) -> None:
        self.week.say("", text)

    @cached_property
    def config(self) -> HomeConfig:
        return self.home_config()

    @staticmethod
    def home_config(roles: tuple[Role, ...] = DUAL, *, index: int = 0) -> HomeConfig:
        return reference_home(roles, index=index)

    async def start(
        self, roles: tuple[Role, ...] = DUAL, *, authorise: bool = True, **books: Any
    ) -> HomeBooks:
        """The usual beginning: one home on the books, authorised on Thursday, on at Monday 06:00."""
        if not hasattr(self, "rig"):
            self.begin()
        await self.rig.start()
        config = self.home_config(roles)
        home = self.rig.add_books(config, **books)
        if authorise:
            self.week.authorise([home])
        await self.week.to_day(hour=6)
        await self.week.switch_on(home, config)
        return home

    async def move_in(self, count: int) -> list[HomeBooks]:
        """So many homes on the books, of hub and meters alone."""
        if not hasattr(self, "rig"):
            self.begin()
        await self.rig.start()
        return [
            self.rig.add_books(self.home_config(METERS, index=index), index=index) for index in range(count)
        ]

    async def switch_on_all(self, homes: list[HomeBooks]) -> None:
        """Of `move_in`, on Monday at 06:00."""
        await self.week.to_day(hour=6)
        for index, home in enumerate(homes):
            await self.week.switch_on(home, self.home_config(METERS, index=index))

    @staticmethod
    def real(books: HomeBooks) -> Home:
        assert books.home is not None, "switched on"
        return books.home

    async def file(self, *books: HomeBooks) -> bytes:
        """MCF, MVF and MEF of homes that pass; the MEF, which nobody has been given yet."""
        found = await self.week.validate(self.week.plan(books))
        assert found is not None, "a home passes"
        mef = await self.week.hand_over(*found)
        assert mef is not None, "a home passes"
        return mef

    def progress(self, books: HomeBooks) -> HomeProgress:
        """At the S1SP, which has begun with it."""
        found = self.rig.s1sp.home(books.hub)
        assert found is not None, "begun"
        return found

    # --- judging ----------------------------------------------------------------------------------------

    def expect(self, is_so: bool, text: str) -> None:
        """Raises ScenarioFailedError where it is not so."""
        self._on_line(f"{'':20}{'ok' if is_so else 'NOT SO'}: {text}")
        if not is_so:
            raise ScenarioFailedError(f"not so: {text}")
        self.count += 1

    def expect_refusal(self, clause: str, work: Callable[[], object], text: str) -> None:
        """`work()` must be refused, with that clause."""
        try:
            work()
        except (FileRefusedError, RefusedError) as error:
            found = error.clause if isinstance(error, FileRefusedError) else str(error)
            self.week.say("", f"refused: {error}")
            self.expect(clause in found, f"{text}: refused with TMAD {clause}")
        else:
            self.expect(False, f"{text}: refused with TMAD {clause}")

    def expect_home(
        self, books: HomeBooks, expected: Expected, *, is_later: bool = False
    ) -> HomeProgress | None:
        """Account, keys on the devices, at the S1SP and at the DCO, files, alerts.

        `is_later`: files of an earlier attempt are among those that were made.
        """
        rig, progress = self.rig, self.rig.s1sp.home(books.hub)
        self.expect(
            rig.smso.account(books.hub) is expected.account, f"the account is the {expected.account}'s"
        )
        found = None if progress is None else progress.stage
        self.expect(found is expected.stage, f"at the S1SP the home is {expected.stage or 'unknown'}")
        row = None if progress is None else progress.row
        self.expect(row is expected.row, f"table 2: {f'row {expected.row}' if expected.row else 'no row'}")
        for role in BOTH:
            self._expect_key(books, role, is_rotated=role in expected.rotated)
        if not is_later:
            self._expect_files(expected)
        told = [alert for alert in books.alerts if alert.startswith(("N55", "N16"))]
        meters = len(books.smso.meters)
        wanted = 2 * meters if expected.stage is Stage.COMMISSIONED else 0
        self.expect(len(told) == wanted, f"{wanted} alerts N55 and N16")
        return progress

    def expect_rejected(self, books: HomeBooks, clause: str, point: str) -> None:
        """The Requesting Party goes no further with it, and nothing of it has changed."""
        found = [r for r in self.rig.rp.rejections if r.plan.hub == books.hub]
        self.expect(bool(found) and found[-1].point == point, f"the home is rejected {point}")
        clauses = {failure.clause for failure in found[-1].failures}
        self.expect(clause in clauses, f"for {clause}")
        self.expect(self.rig.smso.account(books.hub) is Account.SUPPLIER, "the account is the supplier's")
        self.expect(self.rig.s1sp.home(books.hub) is None, "the S1SP never began with it")
        self.expect(not books.alerts, "nobody got an alert")
        for meter in books.smso.meters:
            self.expect(not self.rig.dco.is_enrolled(meter), f"the DCO has no key of {format_eui64(meter)}")

    def _expect_key(self, books: HomeBooks, role: Role, *, is_rotated: bool) -> None:
        device = getattr(self.real(books), role.value, None)
        if device is None or device.eui64 not in books.smso.meters:
            return
        name = role.value.upper()
        generation = int(is_rotated)
        self.expect(
            device.authorisation.generation == generation, f"the {name} holds key generation {generation}"
        )
        if self.rig.dco.is_enrolled(device.eui64):
            is_same = self.is_dco_key_held(books, role)
            progress = self.rig.s1sp.home(books.hub)
            is_known = progress is not None and progress.stage in (Stage.MIGRATED, Stage.COMMISSIONED)
            if is_rotated or is_known:
                self.expect(is_same, f"the DCO has the very key of the {name}")

    def is_dco_key_held(self, books: HomeBooks, role: Role) -> bool:
        """Whether the device holds the key that the DCO has in use, or has on offer to it."""
        device = getattr(self.real(books), role.value)
        held = device.authorisation.confirmation()
        return self.rig.dco.recognises(device.eui64, held.generation, held.confirmation)

    def _expect_files(self, expected: Expected) -> None:
        kinds = {kind for kind, _ in self.week.files}
        if expected.stage is Stage.COMMISSIONED:
            wanted = {FileKind.MCF, FileKind.MVF, FileKind.MEF, FileKind.SCF, FileKind.COF}
            self.expect(wanted <= kinds, "MCF, MVF, MEF, SCF and COF were made")
        elif expected.stage is not None:
            self.expect(FileKind.SCF in kinds, "an SCF tells of it")
            self.expect(FileKind.COF not in kinds, "there is no COF")

    # --- top-ups ----------------------------------------------------------------------------------------

    def token(self, books: HomeBooks, role: Role, channel: Channel, *, pence: int = 500) -> str:
        """Raises RefusedError."""
        device = getattr(self.real(books), role.value).eui64
        if channel is Channel.DCC:
            return self.rig.s1sp.supplier_utrn(device, pence=pence, originator=SUPPLIER)
        return self.rig.smso.request_utrn(device, pence=pence, channel=channel)

    def expect_top_up(self, books: HomeBooks, role: Role, channel: Channel, text: str) -> None:
        """A token is had, and the meter takes it."""
        device = getattr(self.real(books), role.value)
        before = device.account.balance_mp
        token = self.token(books, role, channel)
        result = device.desk.enter(
            device.meter, token, source=OriginatingDevice.METER, utc_us=self.rig.civil.utc_us()
        )
        gained = result.is_accepted and device.account.balance_mp == before + 500_000
        self.expect(gained, f"{text}: £5.00 by {channel} at the {role.value.upper()}")

    def expect_no_top_up(
        self, books: HomeBooks, role: Role, channel: Channel, clause: str, text: str
    ) -> None:
        self.expect_refusal(
            clause, lambda: self.token(books, role, channel), f"{text} ({channel}, {role.value.upper()})"
        )

    # --- faults -----------------------------------------------------------------------------------------

    def lose_on_wan(self, books: HomeBooks, *topics: str) -> Callable[[], None]:
        """What the hub says under these topics never arrives; call what is returned to mend it."""
        broker = self.real(books).broker
        assert broker is not None, "in memory"
        hub = f"hub-{books.hub:016x}"

        def judge(transfer: Transfer) -> Fault:
            is_lost = transfer.to_broker and transfer.client_id == hub and transfer.topic.endswith(topics)
            return Fault.LOST if is_lost else Fault.NONE

        def mend() -> None:
            broker.fault = None

        broker.fault = judge
        self.say(f"[fault] the WAN loses what the hub says: {', '.join(topics)}")
        return mend

    def cut_off(self, books: HomeBooks, role: Role) -> Callable[[], None]:
        """Nobody on the HAN hears a device, nor it them."""
        faults = self.real(books).air.faults
        device = getattr(self.real(books), role.value).eui64
        faults.move_away(device)
        self.say(f"[fault] the {role.value.upper()} is cut off from the HAN")
        return lambda: faults.bring_back(device)

    def supply_off(self, books: HomeBooks) -> Instruction:
        """The Critical Instruction to disable the supply, as anybody can write it."""
        values = {
            "provider_id": SUPPLIER & 0xFFFFFFFF,
            "issuer_event_id": 1,
            "request_date_time": 0,
            "implementation_date_time": 0,
            "proposed_supply_status": metering.SupplyStatus.SUPPLY_OFF,
            "supply_control_bits": 0,
        }
        return Instruction(
            cluster_id=metering.METERING.cluster_id,
            frame=frames.command(metering.METERING.cluster_id, "change_supply", values),
        )

    async def hours(self, hours: float) -> None:
        await asyncio.sleep(hours * 3600)

    async def switch_off(self, books: HomeBooks) -> None:
        """The home's mains: what its devices hold is in their NVM."""
        home = self.real(books)
        for device in reversed(home.devices):
            await device.close()
        home.devices.clear()
        self.say("the home's mains are off: nothing of it is wanted for a while")

    async def switch_on_again(self, books: HomeBooks) -> None:
        home = self.real(books)
        for config in home.config.devices:
            if config.role is not Role.GPF:
                delattr(home, config.role.value)
                await home.add_device(config)
        await home.joined()
        await self.hours(0.6)  # the gas meter wakes every half hour: by then the hub has heard it
        self.say("the home's mains are on again, and all its devices have been heard")

    async def wait_for(self, is_so: Callable[[], bool], *, seconds: float = 7200.0) -> None:
        """To the millisecond in which something inside a party or device comes to be so."""
        for _ in range(round(seconds * 1000)):
            if is_so():
                return
            await asyncio.sleep(0.001)
        self.expect(False, "what was waited for happens")

    @staticmethod
    def required(role: Role) -> dict[str, tuple[int, int | bool | str]]:
        return required_of(GROUP, DeviceKind[role.name])

    def extra_display(self, role: Role, index: int, joined_utc_us: int) -> DeviceEntry:
        """One more display on the SMSO's books, of the same model as the first."""
        first = next(device for device in self.config.devices if device.role is role)
        return DeviceEntry(
            device_type=DeviceType[role.name],
            device=first.eui64 + 0x1000 + index,
            manufacturer=first.manufacturer,
            model=first.model,
            firmware=first.firmware,
            joined_utc_us=joined_utc_us,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a scenario ended."""

    name: str
    is_passed: bool
    held: int  # expectations
    reason: str = ""


def play(
    name: str, *, on_line: Callable[[str], None] = lambda _line: None, folder: Path | None = None
) -> Verdict:
    """Play one in virtual time. Raises InputError for a name that there is not."""
    chosen = CATALOGUE.get(name)
    if chosen is None:
        raise InputError(f"there is no scenario {name}: `smets1 scenario --list` names them")
    if folder is not None:
        make_folder(folder, "--out")
    stage = Set(on_line, folder=folder)
    try:
        run(_play(chosen, stage), speed=MAX_SPEED)
    except ScenarioFailedError as error:
        return Verdict(name=name, is_passed=False, held=stage.count, reason=str(error))
    return Verdict(name=name, is_passed=True, held=stage.count)


async def _play(chosen: Scenario, stage: Set) -> None:
    try:
        await chosen.play(stage)
    finally:
        if hasattr(stage, "rig"):
            await stage.rig.close()
