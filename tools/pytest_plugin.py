"""The pytest plugin: `smets1_home`, a whole home in virtual time.

```python
async def test_top_up(smets1_home):
    home = await smets1_home(seed=7)
    token = home.headend.make_utrn(home.esme.eui64, pounds=10)
    await home.ppmid.enter_utrn(token)
    assert home.esme.account.balance_mp == 1_000_000
    await home.clock.advance(hours=48)
```
A test that asks for `smets1_home` runs on an `EmulatorLoop` at speed max; every other test keeps
the ordinary asyncio loop. When it fails, its report ends with the seed and the line that repeats it.
`--smets1-seed N` gives every home that names no seed of its own the seed N.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from smets1.hardware.clock import MAX_SPEED, EmulatorLoop

if TYPE_CHECKING:
    from smets1.tools.home import Home

__all__ = ["smets1_home"]

_FIXTURE = "smets1_home"
_SEEDS = pytest.StashKey[list[int]]()


def _unavailable(_function: object) -> object:
    """In place of the fixture: every pytest of an environment that has this package loads this plugin."""

    @pytest.fixture
    def smets1_home() -> None:
        pytest.fail(f"{_FIXTURE} needs pytest-asyncio: pip install pytest-asyncio", pytrace=False)

    return smets1_home


try:
    from pytest_asyncio import fixture as _fixture
except ImportError:
    _fixture = _unavailable  # type: ignore[assignment]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("smets1", "SMETS1 home emulator")
    group.addoption("--smets1-seed", type=int, default=1, help="seed of homes that name none (default 1)")


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Virtual time for tests of a home, the ordinary loop for all others."""
    if _FIXTURE in getattr(item, "fixturenames", ()):
        return {"virtual": lambda: EmulatorLoop(MAX_SPEED)}
    return {"asyncio": asyncio.new_event_loop}


@_fixture
async def smets1_home(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Awaitable[Home]]]:
    """A factory: `await smets1_home(seed=7, toml="...", start="2023-01-15T00:00:00Z", nvm_dir=None)`.

    The home's devices are joined and keyed when it returns. Both meters begin with a balance of nothing,
    unless `balance_pounds`, `toml` or `config` says otherwise. Homes are closed after the test.
    """
    # Imported here, so that pytest starts fast in projects that have the plugin but no home in a test.
    from smets1.tools.home import open_home

    homes: list[Home] = []
    seeds = request.node.stash.setdefault(_SEEDS, [])

    async def make(*, seed: int | None = None, **options: Any) -> Home:
        chosen = request.config.getoption("--smets1-seed") if seed is None else seed
        seeds.append(chosen)
        if "toml" not in options and "config" not in options:
            options.setdefault("balance_pounds", 0)
        home = await open_home(seed=chosen, **options)
        homes.append(home)
        return home

    yield make
    for home in reversed(homes):
        await home.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    seeds = item.stash.get(_SEEDS, [])
    if report.failed and seeds:
        text = ", ".join(str(seed) for seed in seeds)
        report.sections.append(
            (
                "smets1 seed",
                f"seed {text}; repeat with: python -m pytest '{item.nodeid}' --smets1-seed {seeds[0]}",
            )
        )
