"""Imports point one way: tools -> headend, hub, devices -> firmware -> hardware -> errors, eui64, light_init.

Reads the source, so an import inside a function or under TYPE_CHECKING counts too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
BASE = {"errors", "eui64", "light_init", "__version__"}
MAY_IMPORT = {
    "hardware": {"hardware"},
    "firmware": {"firmware", "hardware"},
    "hub": {"hub", "firmware", "hardware"},
    "devices": {"devices", "firmware", "hardware"},
    "headend": {"headend", "firmware", "hardware"},
    "tools": {"tools", "headend", "hub", "devices", "firmware", "hardware"},
}
# Of hardware, the layers above it see only the interfaces.
INTERFACES = {"hardware.radio", "hardware.clock"}
# Inside firmware's stack, by module of firmware/: who may not know whom.
LOWER = {
    "crypto": {"zigbee", "zcl", "wan"},
    "zigbee": {"zcl", "wan"},
    "zcl": {"wan"},
    "wan": {"zigbee", "zcl"},
}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of each import of our own package, without its first name; `from x import y` is x.y."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write from smets1.… import …"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, module = name.partition(".")
            if package == "smets1":
                yield node.lineno, module


def sources(folder: str) -> list[Path]:
    return sorted((REPOSITORY / folder).rglob("*.py"))


def is_interface(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in INTERFACES)


def wrong_imports(folder: str) -> Iterator[str]:
    for path in sources(folder):
        for line, module in imports(path):
            where = f"{path.relative_to(REPOSITORY)}:{line}"
            top = module.partition(".")[0]
            if top in BASE:
                continue
            if top not in MAY_IMPORT[folder]:
                yield f"{where}: {folder} may not import {module}"
            elif top == "hardware" and folder not in ("hardware", "tools") and not is_interface(module):
                yield f"{where}: of hardware, {folder} sees only {', '.join(sorted(INTERFACES))}"


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_folders_import_downwards_only(folder: str) -> None:
    assert list(wrong_imports(folder)) == []


def test_the_stack_imports_downwards_only() -> None:
    wrong = []
    for layer, above in LOWER.items():
        for path in sources(f"firmware/{layer}"):
            for line, module in imports(path):
                parts = module.split(".")
                if parts[0] == "firmware" and len(parts) > 1 and parts[1] in above:
                    wrong.append(f"{path.relative_to(REPOSITORY)}:{line}: {layer} may not import {module}")
    assert wrong == []


def test_every_folder_is_a_package_that_says_what_it_is() -> None:
    """Without `__init__.py` a folder would be left out of the wheel in silence."""
    folders = {path.parent for folder in MAY_IMPORT for path in sources(folder)}
    assert folders
    for folder in sorted(folders):
        init = folder / "__init__.py"
        assert init.is_file(), f"{init.relative_to(REPOSITORY)} is missing"
        text = init.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), f"{init.relative_to(REPOSITORY)} says nothing"


def test_nobody_imports_tests_or_the_world_by_star() -> None:
    for folder in MAY_IMPORT:
        for path in sources(folder):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    assert all(alias.name != "*" for alias in node.names), f"{path}:{node.lineno}"
