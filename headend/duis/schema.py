"""Schema validation with the XSDs that a user gives by folder; the product ships none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from lxml import etree

from smets1.errors import InputError

__all__ = ["SchemaValidator"]

_MAIN: Final = "DUIS-5.4.xsd"


class SchemaValidator:
    """`explain(octets)` says in one line why a document is invalid, or None where it is valid."""

    def __init__(self, folder: Path) -> None:
        """Compile DUIS-5.4.xsd (20 ms) and what it imports, from disk only. Raises InputError."""
        path = folder / _MAIN
        try:
            document = etree.parse(str(path), etree.XMLParser(no_network=True, resolve_entities=False))
            self._schema = etree.XMLSchema(document)
        except (OSError, etree.LxmlError) as error:
            raise InputError(f"schema {path} cannot be used: {' '.join(str(error).split())[:160]}") from None

    def explain(self, root: etree._Element) -> str | None:
        if self._schema.validate(root):
            return None
        log: Any = self._schema.error_log  # the type stubs do not know that it is a sequence
        first = log[0]
        return f"line {first.line}: {' '.join(first.message.split())}"[:300]
