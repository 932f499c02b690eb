"""The state machine of one home: no walk through it rolls back on a guess, and each ends in one row."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from smets1.errors import LostError, MisuseError
from smets1.headend.migration.progress import Action, HomeProgress, KeyState, Row, Stage

HUB = 0x00DB1234567890A2
ANSWERS = (KeyState.ROTATED, KeyState.NOT_ROTATED, KeyState.UNKNOWN)


def installed(*, has_gas: bool = True) -> HomeProgress:
    home = HomeProgress.begin(HUB, file_set=3, has_gas=has_gas)
    return home.viable(gsme_generation=int(has_gas), esme_generation=1).installed(now_utc_us=5)


def secured(*answers: KeyState, has_gas: bool = True) -> HomeProgress:
    """Each answer to one attempt at the meter whose turn it is."""
    home = installed(has_gas=has_gas).securing(now_utc_us=6)
    for answer in answers:
        is_gas = home.next_action is Action.SECURE_GSME
        home = home.asking().answered(is_gas=is_gas, state=answer)
    return home


@pytest.mark.parametrize(
    ("answers", "stage", "row"),
    [
        ("RR", Stage.MIGRATED, Row.BOTH_ROTATED),
        ("N", Stage.ROLL_BACK, Row.GSME_FAILED),
        ("U", Stage.SECURING, Row.GSME_SILENT),
        ("UUUR", Stage.SECURING, None),
        ("UN", Stage.ROLL_BACK, Row.GSME_FAILED),
        ("RU", Stage.SECURING, Row.ESME_SILENT),
        ("RUR", Stage.MIGRATED, Row.BOTH_ROTATED),
        ("RN", Stage.STRANDED, Row.ESME_FAILED),
    ],
)
def test_the_rows_of_table_2(answers: str, stage: Stage, row: Row | None) -> None:
    by_letter = {state.name[0]: state for state in ANSWERS}
    home = secured(*(by_letter[letter] for letter in answers))
    assert (home.stage, home.row) == (stage, row)


def test_a_single_fuel_home_is_never_handed_back_after_its_esme_was_asked() -> None:
    home = secured(KeyState.NOT_ROTATED, has_gas=False)
    assert (home.stage, home.row) == (Stage.STRANDED, Row.ESME_FAILED)
    assert not home.may_roll_back
    assert installed(has_gas=False).may_roll_back
    with pytest.raises(MisuseError):
        home.fail("16.11", "never")
    done = secured(KeyState.ROTATED, has_gas=False)
    assert (done.stage, done.row) == (Stage.MIGRATED, None), "rows 1 to 3 do not apply"


@pytest.mark.parametrize("seed", range(200))
def test_no_walk_rolls_back_on_a_guess(seed: int) -> None:
    rng = random.Random(seed)
    home = installed(has_gas=rng.random() < 0.8).securing(now_utc_us=6)
    truly_rotated = {True: False, False: False}  # by is_gas: what the devices know
    for _ in range(30):
        before = home
        if home.next_action in (Action.SECURE_GSME, Action.SECURE_ESME) and rng.random() < 0.6:
            is_gas = home.next_action is Action.SECURE_GSME
            state = rng.choice(ANSWERS)
            if truly_rotated[is_gas]:
                state = KeyState.ROTATED if state is KeyState.NOT_ROTATED else state
            elif state is KeyState.ROTATED or (state is KeyState.UNKNOWN and rng.random() < 0.5):
                truly_rotated[is_gas] = True  # with its answer, or with an answer that was lost
            home = home.asking().answered(is_gas=is_gas, state=state)
        elif rng.random() < 0.5:
            pushers = [is_gas for is_gas in (True, False) if truly_rotated[is_gas]]
            if pushers:
                home = home.answered(is_gas=rng.choice(pushers), state=KeyState.ROTATED)
        elif home.stage is Stage.SECURING and rng.random() < 0.2:
            home = home.strand("16.11", "no answer")
        else:
            home = home.reported()
        assert HomeProgress.decode(home.encode()) == home
        if home.stage is Stage.ROLL_BACK:
            assert home.gsme in (KeyState.NOT_ROTATED, KeyState.NOT_ATTEMPTED)
            assert not truly_rotated[True], "handed back with a rotated gas meter"
            assert not truly_rotated[False]
            break
        if before.gsme is KeyState.ROTATED:
            assert home.gsme is KeyState.ROTATED, "what was proven stays proven"
            assert not home.may_roll_back
        if home.stage is Stage.MIGRATED:
            assert home.esme is KeyState.ROTATED
            break


def test_an_outcome_that_changes_is_reported_again() -> None:
    home = secured(KeyState.ROTATED, KeyState.UNKNOWN).strand("16.11", "silent").reported()
    assert home.is_reported
    late = home.answered(is_gas=False, state=KeyState.ROTATED)
    assert late.stage is Stage.MIGRATED
    assert not late.is_reported
    assert late.answered(is_gas=False, state=KeyState.ROTATED) == late, "a push that comes again"


def test_out_of_order() -> None:
    home = HomeProgress.begin(HUB, file_set=1, has_gas=True)
    for step in (
        lambda: home.installed(now_utc_us=1),
        lambda: home.securing(now_utc_us=1),
        lambda: home.asking(),
        lambda: home.rolled_back(),
        lambda: home.commissioned(),
        lambda: home.reinstall(),
    ):
        with pytest.raises(MisuseError):
            step()


def test_a_damaged_record() -> None:
    octets = secured(KeyState.ROTATED).encode()
    for at in range(len(octets)):
        with pytest.raises(LostError):
            HomeProgress.decode(octets[:at])
    rng = random.Random(1)
    for _ in range(500):
        spoiled = bytearray(octets)
        spoiled[rng.randrange(len(spoiled))] ^= 1 << rng.randrange(8)
        try:
            HomeProgress.decode(bytes(spoiled))
        except LostError:
            continue
    assert HomeProgress.decode(replace(installed(), reason="é").encode()).reason == "é"
