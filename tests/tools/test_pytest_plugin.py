"""The pytest plugin: the example of its documentation, virtual time, the seed in a failing report."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from smets1.devices.ppmid import TopUpAnswer
from smets1.errors import InputError
from smets1.hardware.clock import EmulatorLoop


@pytest.mark.slow
async def test_top_up(smets1_home: Any) -> None:
    """As the documentation has it."""
    home = await smets1_home(seed=7)  # six devices, joined and keyed
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    await home.ppmid.enter_utrn(token)
    assert home.esme.account.balance_mp == 1_000_000
    await home.clock.advance(hours=48)


async def test_a_home_of_a_test_begins_with_nothing(smets1_home: Any) -> None:
    home = await smets1_home()
    assert [meter.account.balance_mp for meter in (home.esme, home.gsme)] == [0, 0]
    answer = await home.ppmid.enter_utrn(home.headend.make_utrn(home.esme.eui64, pounds=3))
    assert isinstance(answer, TopUpAnswer)
    assert answer.is_accepted
    assert (answer.amount_mp, answer.balance_mp) == (300_000, 300_000)


async def test_what_a_file_says_of_money_counts(smets1_home: Any) -> None:
    home = await smets1_home(toml="[prepayment]\nbalance_pounds = 7\n")
    assert 600_000 < home.esme.account.balance_mp <= 700_000
    richer = await smets1_home(toml="[prepayment]\nbalance_pounds = 7\n", balance_pounds=9)
    assert 800_000 < richer.esme.account.balance_mp <= 900_000


async def test_time_is_virtual_and_whole(smets1_home: Any) -> None:
    home = await smets1_home(start="2023-07-01T00:00:00Z")
    assert isinstance(asyncio.get_running_loop(), EmulatorLoop)
    before_us, began = home.clock.utc_us, time.monotonic()
    await home.clock.advance(minutes=10, seconds=1.5)
    assert home.clock.utc_us - before_us == 601_500_000
    assert time.monotonic() - began < 60
    assert str(home.clock).startswith("2023-07-01T00:1")
    await home.clock.advance_to(before_us)  # has passed: returns at once
    assert home.clock.utc_us - before_us == 601_500_000


@pytest.mark.parametrize(
    ("start", "complaint"),
    [
        ("2023-07-01T00:00:00", "'2023-07-01T00:00:00' has no time zone"),
        ("soon", "'soon' is not a time"),
        ("1999-12-31T23:59:59Z", "1999-12-31T23:59:59Z is out of range: 2000 to 2099"),
    ],
)
async def test_a_start_is_one_moment_that_zigbee_can_count(
    smets1_home: Any, start: str, complaint: str
) -> None:
    with pytest.raises(InputError, match=re.escape(complaint)):
        await smets1_home(start=start)


async def test_other_tests_keep_the_ordinary_loop() -> None:
    assert not isinstance(asyncio.get_running_loop(), EmulatorLoop)


def test_without_pytest_asyncio_only_tests_of_a_home_fail(tmp_path: Path, repository: Path) -> None:
    """Every pytest of an environment with this package loads the plugin."""
    (tmp_path / "test_it.py").write_text(
        "def test_other():\n    pass\n\nasync def test_home(smets1_home):\n    pass\n", encoding="utf-8"
    )
    code = "import sys; sys.modules['pytest_asyncio'] = None; import pytest; sys.exit(pytest.main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "-p", "smets1.tools.pytest_plugin", "."],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(repository / "src"), "PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert "1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "smets1_home needs pytest-asyncio: pip install pytest-asyncio" in done.stdout


@pytest.mark.slow
def test_a_failure_tells_its_seed(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "async def test_it(smets1_home):\n    await smets1_home(seed=42)\n    assert False\n"
    )
    # Where the package is installed its entry point brings the plugin; twice would be once too often.
    is_installed = any(point.name == "smets1" for point in entry_points(group="pytest11"))
    plugin = [] if is_installed else ["-p", "smets1.tools.pytest_plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, "-o", "asyncio_mode=auto", "."],
        cwd=tmp_path,
        env={"PYTHONPATH": str(repository / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "--smets1-seed 42" in done.stdout
