"""A busy day of a home whose process is killed again and again; run as a program by test_busy_kills.py.

    python busy_day.py FOLDER KILLS [SEED]

Each life is a process of its own (forked from one that has imported everything), opens the NVM that the one before
left, judges it, and then lives: codes at the keypad, at the PPMID and from the head end, old codes again, emergency
credit, supply off, armed and confirmed, hours that cost more than the credit. At a seeded instant, right before some
SQL statement of any of its databases or some frame on the air, it sends itself SIGKILL. Nothing of ours runs after it.

What a person has seen stands in a ledger outside the home, written before each act and after each answer. Each life
judges by it: nothing acknowledged is lost, nothing is credited twice, money adds up to 10^-12 of 1/1000 pence,
emergency credit is not overdrawn, no supply comes on without a person, registers and time never run back, nobody joins
anew. Prints one JSON line: how many lives, kills and acts of each kind; or fails with the seed and what was wrong.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from lives import addresses_and_keys, count_associations

from smets1.devices.meter_device import MeterDevice
from smets1.devices.supply import SupplyState
from smets1.errors import NoAnswerError, RefusedError
from smets1.firmware.utrn import ValueClass, make_utrn
from smets1.hardware.clock import MAX_SPEED, run
from smets1.tools.duis_ask import ask
from smets1.tools.home import Home, open_home
from smets1.tools.home_parts import SUPPLIER
from smets1.tools.trial_keys import prepayment_key

SEED = 7
POUND_MP, FINE = 100_000, 10**12
OPENING_MP = 3 * POUND_MP
# 30 pence a minute on each fuel: credit, emergency credit and darkness follow each other within half an hour
TOML = """
start = 2023-01-16T00:00:00Z
[han]
report_interval_s = 600
gas_wake_s = 300
[[load]]
fuel = "electricity"
kind = "constant"
watts = 6000
[[load]]
fuel = "gas"
kind = "constant"
watts = 12000
[tariff.electricity]
unit_rate_pence = 300
standing_charge_pence = 46
[tariff.gas]
unit_rate_pence = 150
standing_charge_pence = 28
[prepayment]
balance_pounds = 3
emergency_credit_limit_pounds = 3
emergency_credit_threshold_pounds = 1
low_credit_threshold_pounds = 2
max_meter_balance_pounds = 100
"""


class Ledger:
    """What the world outside the home knows; lines are whole, since each is one write to the kernel."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = []
        if path.exists():
            self.entries = [json.loads(line) for line in path.read_text().splitlines()]
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, what: str, **fields: Any) -> None:
        entry = {"what": what, **fields}
        self.entries.append(entry)
        os.write(self._file, json.dumps(entry).encode() + b"\n")

    def of(self, *what: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            e for e in self.entries if e["what"] in what and all(e.get(k) == v for k, v in fields.items())
        ]

    def last(self, what: str) -> dict[str, Any] | None:
        return next((entry for entry in reversed(self.entries) if entry["what"] == what), None)


class Cutter:
    """Kills this process right before the `at`-th SQL statement or frame after `arm`."""

    def __init__(self, kind: str, at: int) -> None:
        self._kind, self._left = kind, at
        self._is_armed = False
        connect = sqlite3.connect

        def watched(*args: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*args, **options)
            connection.set_trace_callback(lambda _sql: self.count("statement"))
            return connection

        sqlite3.connect = sqlite3.dbapi2.connect = watched  # type: ignore[attr-defined, assignment]

    def arm(self) -> None:
        self._is_armed = True

    def count(self, kind: str) -> None:
        if self._is_armed and kind == self._kind:
            self._left -= 1
            if self._left <= 0:
                self.cut()

    def cut(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


# --- what must hold whenever the power comes back -------------------------------------------------


def meters_of(home: Home) -> dict[str, MeterDevice]:
    return {"esme": home.esme, "gsme": home.gsme}


def accepted(device: MeterDevice, ledger: Ledger, name: str) -> list[dict[str, Any]]:
    """The tokens that the meter remembers having credited, of all that were ever tried."""
    settled = {entry["counter"] for entry in ledger.of("settled", meter=name)}
    present = set(device.desk.cache.counters)
    tried = {entry["counter"]: entry for entry in ledger.of("try", meter=name)}
    return [entry for counter, entry in tried.items() if counter in settled | present]


def judge(home: Home, ledger: Ledger) -> None:
    for name, device in meters_of(home).items():
        meter, account = device.meter, device.meter.account
        credited = accepted(device, ledger, name)
        for entry in ledger.of("accepted", meter=name):
            assert entry["counter"] in {each["counter"] for each in credited}, (
                f"{name}: an accepted token is lost"
            )
        assert 0 <= account.emergency_fine <= account.emergency_lent_fine, (
            f"{name}: emergency credit overdrawn"
        )
        assert account.emergency_lent_fine in (0, 3 * POUND_MP * FINE)
        held = account.balance_fine - (account.emergency_lent_fine - account.emergency_fine)
        added_mp = OPENING_MP + sum(each["amount_mp"] for each in credited)
        excess = held + meter.registers.cost_fine - added_mp * FINE
        assert excess == 0, f"{name}: money does not add up by {excess / FINE} mp at {home.clock}"
        before = ledger.last(f"seen {name}")
        if before is not None:
            assert meter.reading >= before["reading"], f"{name}: the register ran back"
            acts = ledger.entries[ledger.entries.index(before) :]
            is_confirmed = any(entry["what"] == "confirm" and entry["meter"] == name for entry in acts)
            if meter.supply.state is SupplyState.ON:
                assert before["supply"] == "ON" or is_confirmed, f"{name}: on without a person"
        for entry in credited:
            if not ledger.of("settled", meter=name, counter=entry["counter"]):
                ledger.write("settled", meter=name, counter=entry["counter"])
    time_before = ledger.last("time")
    if time_before is not None:
        assert home.clock.utc_us >= time_before["utc_us"], "time ran back"


# --- what a person does -----------------------------------------------------------------------------


class Person:
    def __init__(self, home: Home, ledger: Ledger, rng: Random) -> None:
        self.home, self.ledger, self.rng = home, ledger, rng

    def see(self) -> None:
        for name, device in meters_of(self.home).items():
            device.nvm.commit()
            state = device.meter.supply.state.name
            self.ledger.write(f"seen {name}", supply=state, reading=device.meter.reading)
        self.ledger.write("time", utc_us=self.home.clock.utc_us)

    def _token(self, name: str) -> dict[str, Any]:
        tries = self.ledger.of("try", meter=name)
        counter, pounds = len(tries) + 1, self.rng.randint(1, 5)
        eui64 = meters_of(self.home)[name].eui64
        digits = make_utrn(
            prepayment_key(SEED, eui64), originator=SUPPLIER, target=eui64,
            counter=counter, value=pounds, value_class=ValueClass.POUNDS,
        )  # fmt: skip
        return {"meter": name, "counter": counter, "amount_mp": pounds * POUND_MP, "digits": digits}

    async def top_up(self) -> None:
        name, way = self.rng.choice(("esme", "gsme")), self.rng.choice(("keypad", "ppmid", "wan"))
        token = self._token(name)
        self.ledger.write("try", **token, way=way)
        if await self._enter(name, way, token["digits"]):
            self.ledger.write("accepted", meter=name, counter=token["counter"], way=way)

    async def old_code_again(self) -> None:
        """Whatever was accepted is refused for ever, by every way."""
        old = self.ledger.of("accepted")[-20:]
        if old:
            entry, way = self.rng.choice(old), self.rng.choice(("keypad", "ppmid", "wan"))
            (token,) = self.ledger.of("try", meter=entry["meter"], counter=entry["counter"])
            assert not await self._enter(entry["meter"], way, token["digits"]), "credited twice"
            self.ledger.write("refused", way=way)

    async def _enter(self, name: str, way: str, digits: str) -> bool:
        device = meters_of(self.home)[name]
        fuel: Any = "gas" if name == "gsme" else "electricity"
        if way == "keypad":
            if device.meter.supply.state is SupplyState.ARMED:
                device.press("A")  # past READY, which it would confirm with a B that is not meant
            results = device.press(f"A {digits} B")
            return [result.is_accepted for result in results] == [True]
        if way == "ppmid":
            return (await self.home.ppmid.enter_utrn(digits, fuel)).is_accepted
        answer = await ask(self.home, "2.2", device.eui64, token=digits, wait_s=900)
        return b'MessageSuccess="true"' in answer.xml or b"<sr:UTRNVerified" in answer.xml

    async def take_emergency_credit(self) -> None:
        offering = [
            name for name, device in meters_of(self.home).items() if device.account.is_emergency_available
        ]
        name = self.rng.choice(offering or ["esme", "gsme"])
        if self.rng.random() < 0.5:
            meters_of(self.home)[name].press("7A")
        else:
            await self.home.ppmid.activate_emergency_credit("gas" if name == "gsme" else "electricity")
        if offering:
            self.ledger.write("emergency", meter=name)

    async def confirm(self) -> None:
        ready = [
            name for name, device in meters_of(self.home).items()
            if device.meter.supply.state is SupplyState.ARMED
        ]  # fmt: skip
        name = self.rng.choice(ready or ["esme", "gsme"])
        self.ledger.write("confirm", meter=name)
        if self.rng.random() < 0.5:
            meters_of(self.home)[name].press("AB")
        else:
            await self.home.ppmid.confirm_supply("gas" if name == "gsme" else "electricity")

    async def switch_from_afar(self) -> None:
        device = self.rng.choice((self.home.esme, self.home.gsme))
        srv = self.rng.choice(("7.2", "7.3", "7.3"))
        await ask(self.home, srv, device.eui64, wait_s=900)
        self.ledger.write("switched", srv=srv)

    async def let_time_pass(self) -> None:
        await self.home.clock.advance(minutes=self.rng.randint(1, 9))

    async def act(self) -> None:
        acts: list[Callable[[], Any]] = [
            self.top_up, self.top_up, self.old_code_again, self.take_emergency_credit, self.take_emergency_credit,
            self.confirm, self.confirm, self.confirm, self.switch_from_afar,
            self.let_time_pass, self.let_time_pass, self.let_time_pass,
        ]  # fmt: skip
        try:
            await self.rng.choice(acts)()
        except (RefusedError, NoAnswerError):
            self.ledger.write("no")
        self.see()


async def life(folder: Path, number: int, seed: int) -> None:
    rng = Random(f"{seed} {number}")
    kind = rng.choice(("statement", "frame"))
    cutter = Cutter(kind, rng.randint(1, 400 if kind == "statement" else 800))
    ledger = Ledger(folder / "ledger.jsonl")
    home = await open_home(seed=SEED, toml=TOML, nvm_dir=folder / "nvm", waits=number == 0)
    home.air.tap(lambda *_: cutter.count("frame"))
    association_requests = count_associations(home)
    if number == 0:  # the installation itself is another test's
        await home.clock.advance(minutes=11)
        ledger.write("keys", keys=addresses_and_keys(home))
    judge(home, ledger)
    if number >= 0:
        cutter.arm()
    await home.joined(600)
    first = ledger.last("keys")
    assert first is not None
    assert addresses_and_keys(home) == first["keys"], "keys and addresses are others"
    assert association_requests() == 0, "somebody joined anew"
    person = Person(home, ledger, rng)
    person.see()
    while True:
        await person.act()
        if number < 0:  # the last life: whatever was begun is finished by itself
            await home.clock.advance(hours=2)
            judge(home, ledger)
            assert not home.headend.store.unfinished()
            await home.close()
            return


def fork(folder: Path, number: int, seed: int) -> int:
    """The wait status of one life."""
    child = os.fork()
    if child == 0:
        try:
            run(life(folder, number, seed), speed=MAX_SPEED)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    return os.waitpid(child, 0)[1]


def main(folder: Path, kills: int, seed: int) -> None:
    for number in range(kills):
        status = fork(folder, number, seed)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(f"seed {seed}, life {number}: see above")
    if fork(folder, -1, seed) != 0:
        sys.exit(f"seed {seed}, the last life: see above")
    ledger = Ledger(folder / "ledger.jsonl")
    counts = Counter(entry["what"] for entry in ledger.entries)
    counts |= Counter(f"accepted {entry['way']}" for entry in ledger.of("accepted"))
    states = {entry["supply"] for entry in ledger.entries if entry["what"].startswith("seen ")}
    print(json.dumps({"kills": kills, "states": sorted(states), **counts}))


if __name__ == "__main__":
    _, where, how_many, *chosen = sys.argv
    main(Path(where), int(how_many), int(chosen[0]) if chosen else 1)
