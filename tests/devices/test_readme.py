"""devices/README.md names modules and tests; each of them is there."""

from __future__ import annotations

import re


def test_every_module_and_test_that_the_list_names_exists(repository):
    text = (repository / "devices" / "README.md").read_text(encoding="utf-8")
    tests = sorted((repository / "tests").rglob("test_*.py"))
    sources = "".join(path.read_text(encoding="utf-8") for path in tests)
    names = re.findall(r"`(test_\w+)`", text)
    assert len(names) > 80
    assert [name for name in names if f"def {name}(" not in sources] == []
    files = re.findall(r"`([\w/]+\.py)`", text)
    folders = (repository / "devices", repository / "tests" / "devices", repository)
    assert [name for name in files if not any((folder / name).is_file() for folder in folders)] == []


def test_every_module_of_the_folder_is_in_the_list_or_is_plumbing(repository):
    text = (repository / "devices" / "README.md").read_text(encoding="utf-8")
    plumbing = {"__init__.py", "days.py", "state.py", "meter.py", "esme.py", "gsme.py", "ppmid.py", "ihd.py"}
    modules = {path.name for path in (repository / "devices").glob("*.py")} - plumbing
    assert sorted(name for name in modules if f"`{name}`" not in text) == []


def test_every_rule_has_its_test_or_says_what_is_not_so(repository):
    text = (repository / "devices" / "README.md").read_text(encoding="utf-8")
    table = text.split("row by row")[1]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 45
    for _, rule, tests, remark, _ in rows:
        assert "`test_" in tests or remark.strip(), rule
