"""headend/README.md names modules and tests; each of them is there."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_module_and_test_that_it_names_exists(repository: Path) -> None:
    text = (repository / "headend" / "README.md").read_text(encoding="utf-8")
    tests = repository / "tests" / "headend"
    sources = "".join(path.read_text(encoding="utf-8") for path in sorted(tests.glob("test_*.py")))
    names = re.findall(r"`(test_\w+)`", text)
    assert [name for name in names if f"def {name}(" not in sources] == []
    files = re.findall(r"`([\w/]+\.py)`", text)
    assert len(files) > 5
    folders = (repository / "headend", tests, repository)
    assert [name for name in files if not any((folder / name).is_file() for folder in folders)] == []
