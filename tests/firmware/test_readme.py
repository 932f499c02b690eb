"""firmware/README.md names modules and tests; each of them is there."""

from __future__ import annotations

import re


def test_every_module_and_test_that_the_list_names_exists(repository):
    text = (repository / "firmware" / "README.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text() for path in sorted((repository / "tests").rglob("test_*.py")))
    names = re.findall(r"`(test_\w+)`", text)
    assert len(names) > 100
    assert [name for name in names if f"def {name}(" not in sources] == []
    files = re.findall(r"`([\w/]+\.py)`", text)
    folders = (repository / "firmware" / "zigbee", repository)
    assert [name for name in files if not any((folder / name).is_file() for folder in folders)] == []


def test_every_module_of_the_stack_is_in_the_list_or_is_plumbing(repository):
    text = (repository / "firmware" / "README.md").read_text(encoding="utf-8")
    plumbing = {
        "__init__.py", "aps_frames.py", "mac_events.py", "node.py", "nwk_events.py", "nwk_frames.py",
        "nwk_tables.py", "stack_core.py", "stack_events.py", "timers.py",
    }  # fmt: skip
    modules = {path.name for path in (repository / "firmware" / "zigbee").glob("*.py")} - plumbing
    assert sorted(name for name in modules if f"`{name}`" not in text) == []
