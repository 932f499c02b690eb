"""The power is cut in the middle of a top-up: the token is credited once, and nothing is lost or made anew.

What matters of a cut is what was durable, and that changes only at commits: so the process is killed right
before each of them, and at the end. See power_cut.py for one life of the home.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from home_process import environment
from power_cut import REQUEST, TOKEN

PROGRAM = Path(__file__).with_name("power_cut.py")
START_MP, CREDITED_MP = 500_000, 1_500_000
KILLED = -9


def live(folder: Path, *words: object) -> tuple[int, dict[str, Any]]:
    """Exit code, and what the life printed."""
    done = subprocess.run(
        [sys.executable, PROGRAM, folder, *map(str, words)],
        capture_output=True, text=True, check=False, timeout=120, env=environment(),
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The NVM of a home that was installed and switched off in good order; what it was like."""
    folder = tmp_path_factory.mktemp("installed")
    code, found = live(folder, "install")
    assert (code, found["balance_mp"]) == (0, START_MP)
    return folder, found


@pytest.fixture
def cut_life(installed: tuple[Path, dict[str, Any]], tmp_path: Path) -> Any:
    """`cut_life("wan", 3)`: a life with that cut, then the next life; judges what both ways share."""
    nvm, before = installed

    def cut_and_go_on(way: str, commit: int) -> dict[str, Any]:
        folder = tmp_path / f"{way}-{commit}"
        shutil.copytree(nvm, folder)
        code, cut = live(folder, way, commit)
        assert code == KILLED
        code, found = live(folder, "afterwards")
        assert code == 0
        for name in before:
            if name.startswith("00DB"):
                assert found[name] == before[name], "addresses and keys outlive the cut"
        assert found["associations"] == 0, "nobody joins anew"
        assert found["utc_us"] >= cut["cut_utc_us"], "time does not go back"
        assert found["unfinished"] == 0
        assert found["balance_at_last_mp"] == CREDITED_MP, "credited once, typed how often ever"
        shutil.rmtree(folder)
        return found

    return cut_and_go_on


def judge_wan(found: dict[str, Any]) -> None:
    """A request is either unknown, and then without effect, or accepted, carried out and answered once."""
    if not found["responses"]:
        assert (found["balance_mp"], found["typed_again"]) == (START_MP, "ACCEPTED")
        return
    (response,) = found["responses"]
    assert "<sr:ResponseCode>I0<" in response
    assert (found["balance_mp"], found["typed_again"]) == (CREDITED_MP, "REJECTED_DUPLICATE_TOP_UP")
    # Where the cut fell between the meter's commit and the hub's, the hub asks again, and the meter says
    # what it says to any token that it has: the answer is then an honest "duplicate".
    assert 'MessageSuccess="true"' in response or "duplicate top up" in response


def judge_keypad(found: dict[str, Any]) -> None:
    was_credited = found["balance_mp"] == CREDITED_MP
    assert found["balance_mp"] in (START_MP, CREDITED_MP)
    assert found["typed_again"] == ("REJECTED_DUPLICATE_TOP_UP" if was_credited else "ACCEPTED")


JUDGES = {"wan": judge_wan, "keypad": judge_keypad}


def count_commits(installed: tuple[Path, dict[str, Any]], folder: Path, way: str) -> int:
    """Of a life without a cut, which is also judged."""
    shutil.copytree(installed[0], folder)
    code, found = live(folder, way)
    assert (code, found["balance_mp"], found["unfinished"]) == (0, CREDITED_MP, 0)
    assert ("ACCEPTED" if way == "keypad" else 'MessageSuccess="true"') in found["answer"]
    return int(found["commits"])


def test_reference_token_is_in_the_request() -> None:
    assert f"<sr:UTRN>{TOKEN}</sr:UTRN>".encode() in REQUEST


def test_cut_at_some_commits(installed: Any, cut_life: Any, tmp_path: Path) -> None:
    commits = count_commits(installed, tmp_path / "uncut", "wan")
    assert commits > 5
    for commit in random.Random(7).sample(range(2, commits), 2):
        judge_wan(cut_life("wan", commit))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("way", ["wan", "keypad"])
def test_cut_at_every_commit(installed: Any, cut_life: Any, tmp_path: Path, way: str, part: int) -> None:
    """The parts together are all of them; the cut beyond the last commit is one when the answer is there."""
    commits = count_commits(installed, tmp_path / "uncut", way)
    cuts = range(1 + part, commits + 2, 4)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda commit: cut_life(way, commit), cuts))
    for one in found:
        JUDGES[way](one)
    balances = [one["balance_mp"] for one in found]
    assert balances == sorted(balances), "what a later cut finds is never less"
    if cuts[-1] == commits + 1:
        assert balances[-1] == CREDITED_MP
