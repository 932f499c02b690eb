"""What installing brings. A clone without symlinks builds an empty wheel in silence: so look inside."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import smets1

FOLDERS = ("devices", "firmware", "hardware", "headend", "hub", "tools")
SCRIPTS = {"bootstrap.sh", "demo", "outsiders", "test"}  # beside tools/, not part of the package


def expected_files(repository: Path) -> set[str]:
    """Paths in the package, as installed."""
    files = {
        f"smets1/{name}" for name in ("__init__.py", "errors.py", "eui64.py", "light_init.py", "py.typed")
    }
    for folder in FOLDERS:
        for path in (repository / folder).rglob("*"):
            place = path.relative_to(repository)
            hidden = any(part.startswith((".", "__pycache__")) for part in place.parts)
            is_script = folder == "tools" and path.name in SCRIPTS
            if path.is_file() and not hidden and not is_script and path.suffix not in (".md", ".pyc"):
                files.add(f"smets1/{place}")
    return files


def test_the_tree_is_seen_through_links(repository: Path) -> None:
    for folder in FOLDERS:
        link = repository / "src" / "smets1" / folder
        assert link.is_symlink(), (
            f"{link} is no symlink: clone with symlinks on (git config core.symlinks true)"
        )
        assert not Path(os.readlink(link)).is_absolute()
        assert link.resolve() == repository / folder


def test_version_and_licence(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "GPL-3.0-or-later"
    assert "GNU GENERAL PUBLIC LICENSE" in (repository / "LICENSE").read_text(encoding="utf-8")
    assert f"## {smets1.__version__}" in (repository / "CHANGES.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", ["tools/demo", "tools/test", "tools/outsiders", ".ci/run"])
def test_scripts_are_executable_posix_sh(repository: Path, script: str) -> None:
    path = repository / script
    assert os.access(path, os.X_OK)
    assert path.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", path], check=True)


@pytest.fixture(scope="session")
def built(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    pytest.importorskip("build", reason="the package `build` is not installed")
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder, repository],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and "No matching distribution found for setuptools" in done.stdout + done.stderr:
        pytest.skip("no network: setuptools cannot be fetched to build with")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


@pytest.mark.outsider
def test_the_wheel_holds_the_whole_tree_and_no_other_name(built: Path, repository: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"smets1-{smets1.__version__}.dist-info"
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    inside = {name for name in names if not name.startswith(f"{info}/")}
    assert inside == expected_files(repository)
    assert f"{info}/licenses/LICENSE" in names
    assert "smets1 = smets1.tools.cli:main" in entry_points
    assert "smets1 = smets1.tools.pytest_plugin" in entry_points


@pytest.mark.outsider
def test_the_sdist_holds_it_too(built: Path, repository: Path) -> None:
    """As files: whoever unpacks it needs no symlinks."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = {member.name.partition("/src/")[2]: member for member in archive if "/src/" in member.name}
    for name in expected_files(repository):
        assert members[name].isfile(), name


@pytest.mark.outsider
def test_the_wheel_works_in_a_clean_environment(built: Path, tmp_path: Path) -> None:
    """Import and --help need nothing that is not in the wheel or the standard library."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    for words in (["-c", "import smets1"], ["-m", "smets1.tools.cli", "--help"]):
        done = subprocess.run(
            [sys.executable, "-S", *words], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
    top = {path.name for path in tmp_path.iterdir()} - {f"smets1-{smets1.__version__}.dist-info"}
    assert top == {"smets1"}
