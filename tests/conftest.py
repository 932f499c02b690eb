"""What every test may ask for: shared material, foreign programs, the installed pytest plugin.

Whatever is missing on this machine skips the tests that need it, with one line that says what.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio
from hypothesis.internal.conjecture import providers
from judged_home import JudgedHomes
from lxml import etree

from smets1.tools.home import Home

REPOSITORY = Path(__file__).resolve().parent.parent
OUTSIDERS = REPOSITORY / "tests" / ".outsiders"

# One example database a clone would make a run depend on the one before it; the seed is fixed so that
# a failure on one machine is the same failure on the next.
hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")

# Hypothesis also draws numbers that stand in the source of whatever modules of ours are loaded by then, so that
# one seed would mean one thing in a test by itself and another in the whole suite. It has no setting for that.
if hasattr(providers, "_get_local_constants"):
    providers._get_local_constants = lambda: providers._local_constants


def pytest_configure(config: pytest.Config) -> None:
    """Where the package is not installed (PYTHONPATH=src), its pytest plugin has no entry point."""
    if not config.pluginmanager.has_plugin("smets1"):
        plugin = importlib.import_module("smets1.tools.pytest_plugin")
        config.pluginmanager.register(plugin, "smets1")


@pytest.fixture(autouse=True, scope="session")
def _system_programs() -> Iterator[None]:
    """Debian keeps servers (mosquitto) in /usr/sbin, which is not on every user's PATH."""
    saved = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join(part for part in (saved, "/usr/sbin", "/sbin") if part)
    yield
    os.environ["PATH"] = saved


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this clone."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of shared material beside the repository; $SMETS1_SHARED names another place."""
    folder = Path(os.environ.get("SMETS1_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "contract.md").is_file():
        pytest.skip("no ../shared beside the repository ($SMETS1_SHARED names another place)")
    return folder


@pytest.fixture(scope="session")
def duis_schema(shared_dir: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(shared_dir / "schemas" / "DUIS-5.4.xsd"))


@pytest.fixture(scope="session")
def outsiders_dir() -> Path:
    """What tools/outsiders has installed for tests."""
    if not OUTSIDERS.is_dir():
        pytest.skip("no tests/.outsiders: run ./tools/outsiders")
    return OUTSIDERS


@pytest.fixture(scope="session")
def duis_templates(outsiders_dir: Path) -> Path:
    """The folder of the 297 reference requests of the npm package @smartdcc/duis-templates."""
    folder = outsiders_dir / "duis-templates" / "templates"
    if not folder.is_dir():
        pytest.skip("@smartdcc/duis-templates is not installed: run ./tools/outsiders")
    return folder


@pytest.fixture(scope="session")
def duis_parser(outsiders_dir: Path) -> Path:
    """The folder that holds node_modules/@smartdcc/duis-parser; run node there."""
    if not (outsiders_dir / "node_modules" / "@smartdcc" / "duis-parser").is_dir():
        pytest.skip("@smartdcc/duis-parser is not installed: run ./tools/outsiders")
    if shutil.which("node") is None:
        pytest.skip("node is not installed: run ./tools/test")
    return outsiders_dir


@pytest.fixture(scope="session")
def program(_system_programs: None) -> Callable[[str], str]:
    """`program("tshark")` -> its path; skips where it is not installed."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed: run ./tools/test")
        return path

    return find


@pytest_asyncio.fixture
async def smets1_home(
    request: pytest.FixtureRequest, smets1_home: Callable[..., Awaitable[Home]], tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Home]]]:
    """The plugin's; the air of a whole-home scenario is judged at its end.

    Scenarios are `tests/test_home*.py`, those of the judges, and what is marked `judged`.
    """
    is_scenario = request.path.parent in (REPOSITORY / "tests", REPOSITORY / "tests" / "judges")
    if not is_scenario and request.node.get_closest_marker("judged") is None:
        yield smets1_home
        return
    homes = JudgedHomes(smets1_home, tmp_path)
    yield homes
    await homes.judge_all()
