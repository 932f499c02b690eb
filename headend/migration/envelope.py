"""Files on their way between parties: signed, counted, dated, bounded; and every refusal with its clause.

A file is <Kind><FileCounter/><OriginatorID/><CreationDateTime/><Content/><ds:Signature/></Kind>, signed as
DUIS documents are. Its counter is above that of every earlier file of the same kind and originator, so none
is taken twice. Octets are counted before anything looks at them. Source: TMAD table 5.9 (numbers of its
steps other than 5.9.1 and 5.9.5 are **assumptions**), guide 4.5.6.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree

from smets1.errors import DecodeError, EmulatorError, InputError, LostError, SecurityError
from smets1.eui64 import Eui64, format_eui64, parse_eui64
from smets1.firmware.civil import format_utc, parse_utc
from smets1.firmware.nvm import Nvm
from smets1.headend.duis.request import DuisError, XmlNode, append_tree, parse_document, read_node
from smets1.headend.duis.signature import Credential, Verifier, XmlSigner
from smets1.headend.migration.element import node_of, read
from smets1.headend.migration.files import FILES, MAX_INSTALLATIONS, NAMESPACE, FileKind, MigrationFile

__all__ = ["MAX_FILE_OCTETS", "FileRefusedError", "FileSigner", "ReceivedFile", "Receiver", "read_kept"]

MAX_FILE_OCTETS: Final = 2 * 1024 * 1024
_MAX_AHEAD_US: Final = 300_000_000  # a sender's clock may be this much before ours
_COUNTER_OCTETS: Final = 8


class FileRefusedError(EmulatorError):
    """A whole file is refused; `clause` of TMAD says why."""

    def __init__(self, clause: str, reason: str) -> None:
        super().__init__(f"TMAD {clause}: {reason}")
        self.clause = clause
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFile:
    """A file that was accepted."""

    kind: FileKind
    originator: Eui64
    counter: int
    created_utc_us: int
    content: MigrationFile


class FileSigner:
    """One party's outgoing files. Its counters are committed before a file leaves it."""

    def __init__(self, credential: Credential, nvm: Nvm) -> None:
        self.party = credential.eui64
        self._signer = XmlSigner(credential)
        self._nvm = nvm

    def sign(self, kind: FileKind, content: MigrationFile, *, now_utc_us: int) -> bytes:
        """The file's octets."""
        assert type(content) is FILES[kind], "content and kind agree"
        counter = _counter(self._nvm, f"sent/{kind}") + 1
        self._nvm.put(f"sent/{kind}", counter.to_bytes(_COUNTER_OCTETS, "big"))
        self._nvm.commit()
        root = etree.Element(f"{{{NAMESPACE}}}{type(content).__name__}", nsmap={None: NAMESPACE})
        for name, said in (
            ("FileCounter", str(counter)),
            ("OriginatorID", format_eui64(self.party)),
            ("CreationDateTime", format_utc(now_utc_us)),
        ):
            etree.SubElement(root, f"{{{NAMESPACE}}}{name}").text = said
        append_tree(root, NAMESPACE, node_of("Content", content))
        signed: bytes = etree.tostring(self._signer.sign(root), xml_declaration=True, encoding="UTF-8")
        return signed


class Receiver:
    """One party's incoming files: what it has seen is committed before a file counts as taken."""

    def __init__(self, verifier: Verifier, nvm: Nvm) -> None:
        self._verifier = verifier
        self._nvm = nvm

    def take(
        self,
        octets: bytes,
        kind: FileKind,
        *,
        senders: frozenset[Eui64] | None,
        now_utc_us: int,
        check: Callable[[Any], None] = lambda _content: None,
        owner_of: Callable[[Any], Eui64] | None = None,
    ) -> ReceivedFile:
        """Foreign octets -> a file. `senders` None: anybody whose certificate is known.

        `owner_of(content)`: in whose name alone it may be sent (4.17). `check(content)` may raise
        FileRefusedError too. Raises FileRefusedError; nothing of a refused file is
        remembered, so that it may be put right and sent again under the same counter.
        """
        received = self._open(octets, kind, senders, now_utc_us)
        key = f"taken/{kind}/{received.originator:016x}"
        if received.counter <= _counter(self._nvm, key):
            raise FileRefusedError("5.9.5", f"FileCounter {received.counter} is not above the last one taken")
        if owner_of is not None and owner_of(received.content) != received.originator:
            raise FileRefusedError("4.17", "it authorises in another supplier's name")
        check(received.content)
        self._nvm.put(key, received.counter.to_bytes(_COUNTER_OCTETS, "big"))
        self._nvm.commit()
        return received

    def _open(
        self, octets: bytes, kind: FileKind, senders: frozenset[Eui64] | None, now_utc_us: int
    ) -> ReceivedFile:
        if len(octets) > MAX_FILE_OCTETS:
            raise FileRefusedError("5.9.1", f"{len(octets)} octets; {MAX_FILE_OCTETS} are allowed")
        try:
            root, credential = self._verifier.verify(octets, now_utc_us=now_utc_us)
        except DuisError as error:
            raise FileRefusedError("5.9.1", str(error)) from None
        except SecurityError as error:
            raise FileRefusedError("5.9.2", error.reason) from None
        if root.tag != f"{{{NAMESPACE}}}{FILES[kind].__name__}":
            raise FileRefusedError("5.9.1", f"the root element is not {FILES[kind].__name__}")
        if any(etree.QName(part).namespace != NAMESPACE for part in root.iter(etree.Element)):
            raise FileRefusedError("5.9.1", "an element of another namespace")
        if any((part.tail or "").strip() for part in root.iter(etree.Element)):
            raise FileRefusedError("5.9.1", "text between elements")
        try:
            received = _read(read_node(root), kind)
        except (DecodeError, InputError) as error:
            reason = error.reason if isinstance(error, DecodeError) else str(error)
            raise FileRefusedError("5.9.1", f"not valid against the schema: {reason}") from None
        if received.originator != credential.eui64:
            raise FileRefusedError("5.9.3", "it is signed by somebody else than its OriginatorID")
        if senders is not None and received.originator not in senders:
            raise FileRefusedError("5.9.3", f"{format_eui64(received.originator)} may not send a {kind}")
        if received.created_utc_us > now_utc_us + _MAX_AHEAD_US:
            raise FileRefusedError("5.9.4", "it was created in the future")
        _check_installations(received.content)
        return received


def read_kept(octets: bytes, kind: FileKind) -> MigrationFile:
    """A file that was verified when it came, out of a party's own store. Raises DecodeError."""
    root = parse_document(octets)
    signature = root[-1]
    root.remove(signature)
    return _read(read_node(root), kind).content


def _read(node: XmlNode, kind: FileKind) -> ReceivedFile:
    names = [child.name for child in node.children]
    if names != ["FileCounter", "OriginatorID", "CreationDateTime", "Content"]:
        raise DecodeError("migration file", 0, "FileCounter, OriginatorID, CreationDateTime, Content")
    counter, originator, created, content = node.children
    if node.text or any(part.attributes for part in (node, counter, originator, created)):
        raise DecodeError("migration file", 0, "text or attributes where there are none")
    if not (counter.text.isascii() and counter.text.isdigit() and len(counter.text) <= 18):
        raise DecodeError("migration file", 0, "FileCounter is no number")
    return ReceivedFile(
        kind=kind,
        originator=parse_eui64(originator.text),
        counter=int(counter.text),
        created_utc_us=parse_utc(created.text),
        content=read(content, FILES[kind]),
    )


def _check_installations(content: Any) -> None:
    listed = getattr(content, "installations", getattr(content, "authorisations", ()))
    if len(listed) > MAX_INSTALLATIONS:
        raise FileRefusedError("10.1", f"{len(listed)} installations; {MAX_INSTALLATIONS} are allowed")
    hubs = [item.hub for item in listed if hasattr(item, "hub")]
    if len(set(hubs)) != len(hubs):
        raise FileRefusedError("10.1", "a CHFIdentifier is listed twice")


def _counter(nvm: Nvm, key: str) -> int:
    stored = nvm.get(key)
    if stored is None:
        return 0
    if len(stored) != _COUNTER_OCTETS:
        raise LostError("a file counter is damaged")
    return int.from_bytes(stored, "big")
