"""headend/README.md names modules, tests and codes; each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

from smets1.headend.duis.codes import ResponseCode


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


def test_every_code_has_a_test_in_which_it_is_given(repository: Path) -> None:
    text = (repository / "headend" / "README.md").read_text(encoding="utf-8")
    tests = repository / "tests" / "headend"
    sources = [path.read_text(encoding="utf-8") for path in sorted(tests.glob("test_*.py"))]
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("|") and "`test_" in line]
    listed: set[str] = set()
    for codes, _, names in rows:
        files = "".join(
            source
            for source in sources
            if any(f"def {name}(" in source for name in re.findall(r"`(test_\w+)`", names))
        )
        for code in re.findall(r"\b[EIN]\d+\b", codes):
            assert re.search(rf"[\"'b]{code}[\"']", files), (code, names)
            listed.add(code)
    assert {code.value for code in ResponseCode} <= listed
