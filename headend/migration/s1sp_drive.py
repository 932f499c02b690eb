"""The S1SP brings each home of an MEF to its end: Installed, Secured, migrated; or handed back, or stranded.

What a home has come to is `HomeProgress`, committed before anything is done about it; a restart goes on from
there. A home is driven only as far as the DCO finds it viable; its GSME is secured and then its ESME, through
Critical Instructions that the DCO authorises; what was confirmed not rotated is handed back. Source: TMAD
5.25 to 5.27, 16.7 to 16.13, C1 to C6.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from smets1.errors import EmulatorError, LostError, NoAnswerError, RefusedError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import CivilClock
from smets1.headend.duis.codes import DeviceType
from smets1.headend.head_end import HeadEnd
from smets1.headend.migration.dco_desk import Viability
from smets1.headend.migration.file_store import FileStore
from smets1.headend.migration.files import FileKind, Installation, MigrationHeader
from smets1.headend.migration.probe import Prober
from smets1.headend.migration.progress import Action, HomeProgress, KeyState, Row, Stage
from smets1.headend.migration.s1sp_homes import HomeBook
from smets1.headend.migration.smso import PrepaymentKey
from smets1.headend.migration.timers import INSTALLED_AHEAD_US
from smets1.headend.rotation import RotationResult

__all__ = ["AccountPort", "DcoPort", "HomeDriver", "S1spPolicy"]

_log = logging.getLogger(__name__)

_HOUR_US: Final = 3_600_000_000


class DcoPort(Protocol):
    """The whole of what the S1SP may ask of the DCO about a migration; see `dco_desk.DcoDesk`."""

    def take(self, kind: FileKind, octets: bytes, *, now_utc_us: int) -> None: ...
    def take_over(self, header: MigrationHeader, hub: Eui64, *, now_utc_us: int) -> Viability: ...
    def discard(self, hub: Eui64) -> None: ...
    def close(self, file_set: int) -> None: ...


class AccountPort(Protocol):
    """Where the S1SP gives a home back; the SMSO has it."""

    def hand_back(self, hub: Eui64) -> None:
        """The account is the supplier's again; again is no error."""

    def prepayment_key(self, device: Eui64) -> PrepaymentKey | None: ...
    def forget_prepayment_key(self, device: Eui64) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class S1spPolicy:
    """How patient the S1SP is: an **assumption** throughout."""

    attempt_us: int = 2 * _HOUR_US  # how long one instruction is tried; a gas meter wakes every half hour
    pause_us: int = _HOUR_US // 4  # between attempts at a meter that gives no answer
    attempts: int = 6  # then the home counts as stranded, until a late answer
    report_us: int = _HOUR_US  # SCF at least hourly (guide, step 18)
    makers: frozenset[str] = frozenset({"1057"})


class HomeDriver:
    """One task for each home that is not at its end. `on_migrated(home)`: both meters hold their new keys."""

    def __init__(
        self,
        book: HomeBook,
        files: FileStore,
        *,
        head_end: HeadEnd,
        dco: DcoPort,
        accounts: AccountPort,
        civil: CivilClock,
        prober: Prober,
        policy: S1spPolicy,
        on_migrated: Callable[[HomeProgress], None],
    ) -> None:
        self._policy = policy
        self._book = book
        self._files = files
        self._head_end = head_end
        self._dco = dco
        self._accounts = accounts
        self._civil = civil
        self._prober = prober
        self._on_migrated = on_migrated
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._driven: dict[Eui64, None] = {}
        head_end.on_key_confirmed(self._on_confirmed)

    # --- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Go on with every home that is not at its end."""
        for home in self._book.all():
            has_keys = self._files.keys(home.file_set, home.hub) is not None
            if has_keys or home.stage not in (Stage.VALIDATED, Stage.VIABLE):
                self.drive(home.hub)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """In the background, until `close`."""
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        task.add_done_callback(lambda _done: work.close())  # not yet begun where it was cancelled at once

    def drive(self, hub: Eui64) -> None:
        """To its end, or until it has to wait for a device."""
        if hub not in self._driven:
            self._driven[hub] = None
            self.spawn(self._persevere(hub))

    async def _persevere(self, hub: Eui64) -> None:
        """A DCO that is away, or a full disk, is waited for: what was noted before is where it goes on."""
        try:
            while True:
                try:
                    await self._drive_on(hub)
                    return
                except LostError as error:
                    _log.error("%s stands still for a while: %s", format_eui64(hub), error)
                    await asyncio.sleep(self._policy.pause_us / 1e6)
        finally:
            self._driven.pop(hub, None)

    async def _drive_on(self, hub: Eui64) -> None:
        """Until the home is at its end, or has to wait for a device."""
        steps: dict[Action, Callable[[HomeProgress], Coroutine[Any, Any, None]]] = {
            Action.CHECK_VIABILITY: self._check_viability,
            Action.INSTALL: self._install,
            Action.SECURE_GSME: self._secure,
            Action.SECURE_ESME: self._secure,
            Action.ROLL_BACK: self._roll_back,
        }
        while (step := steps.get(self._book.get(hub).next_action)) is not None:
            await step(self._book.get(hub))

    # --- before its keys are asked for --------------------------------------------------------------

    async def _check_viability(self, home: HomeProgress) -> None:
        common = self._files.common(home.file_set)
        if common is None:
            self._book.keep(home.fail("16.4", "its file set is gone"))
            return
        viability = self._dco.take_over(common.header, home.hub, now_utc_us=self._civil.utc_us())
        if not viability.is_viable:
            self._book.keep(home.fail(viability.clause, f"the DCO: {viability.reason}"))
            return
        generations = dict(viability.generations)
        gsme, esme = (self._book.meter(home, kind) for kind in (DeviceType.GSME, DeviceType.ESME))
        self._book.keep(
            home.viable(
                gsme_generation=0 if gsme is None else generations[gsme] + 1,
                esme_generation=0 if esme is None else generations[esme] + 1,
            )
        )

    async def install_ahead(self, installation: Installation) -> tuple[str, str] | None:
        """16.9: the steps of Installing, up to 7 days before the rest. What is wrong: clause, reason."""
        fault = await self._find_fault(installation)
        if fault is None:
            self._book.put_time(f"ahead/{installation.hub:016x}", self._civil.utc_us())
        return fault

    async def _install(self, home: HomeProgress) -> None:
        """C1, C2 (16.9): the hub answers, lists the gas meter, and both meters are what the MCF says."""
        ahead_utc_us = self._book.time(f"ahead/{home.hub:016x}") or 0
        if self._civil.utc_us() <= ahead_utc_us + INSTALLED_AHEAD_US:
            self._book.keep(home.installed(now_utc_us=ahead_utc_us))
            return
        installation = self._book.installation(home)
        fault: tuple[str, str] | None = ("16.4", "its file set is gone")
        if installation is not None:
            fault = await self._find_fault(installation)
        if fault is None:
            self._book.keep(home.installed(now_utc_us=self._civil.utc_us()))
        else:
            self._book.keep(home.fail(*fault))

    async def _find_fault(self, installation: Installation) -> tuple[str, str] | None:
        clause, hub = "C1", installation.hub
        try:
            whitelist = await self._prober.whitelist(hub)
            strange = _whitelist_fault(installation, whitelist)
            if strange is not None:
                return "16.12", strange
            for kind, clause in ((DeviceType.ESME, "C1"), (DeviceType.GSME, "C2")):
                for entry in installation.of_type(kind):
                    held = await self._prober.identity(hub, entry.device)
                    found = (held.get("model"), held.get("firmware_version"))
                    if found != (entry.model, int(entry.firmware, 16)):
                        return (
                            clause,
                            f"the {kind} says it is {found[0]} {found[1] or 0:08X}, not {entry.model}",
                        )
        except (NoAnswerError, RefusedError) as error:
            return clause, str(error)[:160]
        return None

    # --- its keys -------------------------------------------------------------------------------------

    async def _secure(self, home: HomeProgress) -> None:
        """One attempt at the meter whose turn it is (C5, then C6); never ahead of its day (16.10)."""
        now_utc_us = self._civil.utc_us()
        if home.stage is Stage.INSTALLED:
            if now_utc_us > home.installed_utc_us + INSTALLED_AHEAD_US:
                self._book.keep(home.reinstall())
                return
            home = self._book.keep(home.securing(now_utc_us=now_utc_us))
        is_gas = home.next_action is Action.SECURE_GSME
        device = self._book.meter(home, DeviceType.GSME if is_gas else DeviceType.ESME)
        if device is None:
            self._book.keep(home.strand("16.4", "its file set is gone"))
            return
        if home.attempts >= self._policy.attempts:
            self._book.keep(
                home.strand("16.11", f"no answer of the {'GSME' if is_gas else 'ESME'}: its key is unknown")
            )
            return
        if (home.gsme if is_gas else home.esme) is KeyState.UNKNOWN and home.attempts:
            await asyncio.sleep(self._policy.pause_us / 1e6)
            home = self._book.get(home.hub)
            if home.next_action is not (Action.SECURE_GSME if is_gas else Action.SECURE_ESME):
                return  # a status push has come meanwhile
        home = self._book.keep(home.asking())
        result = await self._head_end.rotate_sua_key(
            device,
            hub=home.hub,
            generation=home.gsme_generation if is_gas else home.esme_generation,
            lifetime_us=self._policy.attempt_us,
        )
        self._answer(home.hub, is_gas=is_gas, state=_KEY_STATES[result])

    def _answer(self, hub: Eui64, *, is_gas: bool, state: KeyState) -> None:
        home = self._book.get(hub)
        changed = home.answered(is_gas=is_gas, state=state)
        if changed == home:
            return
        self._book.keep(changed)
        if changed.stage is Stage.MIGRATED:
            self._on_migrated(changed)

    def _on_confirmed(self, device: Eui64) -> None:
        """A status push has proven the new key: it may be the answer that was lost."""
        hub = self._book.hub_of(device)
        if hub is None:
            return
        home = self._book.get(hub)
        is_gas = device == self._book.meter(home, DeviceType.GSME)
        if home.stage in (Stage.SECURING, Stage.STRANDED):
            self._answer(hub, is_gas=is_gas, state=KeyState.ROTATED)
            self.drive(hub)

    async def ask_again(self, hub: Eui64) -> None:
        """A stranded home whose device may answer again, or its ESME agree: one more round of attempts."""
        home = self._book.get(hub)
        if home.stage is Stage.STRANDED and home.row in (Row.GSME_SILENT, Row.ESME_SILENT, Row.ESME_FAILED):
            self._book.keep(replace(home, stage=Stage.SECURING, attempts=0))
            self.drive(hub)

    async def _roll_back(self, home: HomeProgress) -> None:
        """16.11: both delete their keys, and the account is the supplier's again."""
        self._dco.discard(home.hub)
        self._accounts.hand_back(home.hub)
        self._book.keep(home.rolled_back())


_KEY_STATES: Final = {
    RotationResult.ROTATED: KeyState.ROTATED,
    RotationResult.NOT_ROTATED: KeyState.NOT_ROTATED,
    RotationResult.UNKNOWN: KeyState.UNKNOWN,
}


def _whitelist_fault(home: Installation, whitelist: dict[Eui64, int | None]) -> str | None:
    """16.12, 16.13: which devices a CHF Whitelist may and must list."""
    never = {home.first(kind) for kind in (DeviceType.CHF, DeviceType.GPF, DeviceType.ESME)}
    wrong = [device for device in whitelist if device in never]
    if wrong:
        return f"the CHF Whitelist lists {format_eui64(wrong[0])}, a CHF, GPF or ESME"
    for kind in (DeviceType.GSME, DeviceType.PPMID, DeviceType.IHD, DeviceType.CAD):
        for entry in home.of_type(kind):
            if entry.device not in whitelist:
                return f"the {kind} is not on the CHF Whitelist"
            if kind is DeviceType.GSME and whitelist[entry.device] is None:
                return "the CHF Whitelist lists the GSME as never heard"
    return None


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    """The one place where a background failure ends: in the log."""
    try:
        await work
    except LostError as error:
        _log.error("the S1SP cannot go on with a home: %s", error)
    except EmulatorError as error:
        _log.error("a home stands still: %s", error)
    except Exception:
        _log.exception("a background task of the S1SP broke down")
