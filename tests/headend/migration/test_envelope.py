"""Files on their way: what is taken, once; what is refused, with which clause; and that nothing else happens.

The schema is judged by lxml's validator, which shares no code with our reader.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree
from tests.headend.migration.samples import HEADER, HOME, HUB, NOW_UTC_US, PKI, encrypted, mef

from smets1.firmware.nvm import MemoryNvm
from smets1.headend.duis.request import parse_document
from smets1.headend.migration.envelope import (
    MAX_FILE_OCTETS,
    FileRefusedError,
    FileSigner,
    Receiver,
    read_kept,
)
from smets1.headend.migration.files import (
    FILES,
    MAX_INSTALLATIONS,
    FileKind,
    MigrationCommonFile,
    schema,
)
from smets1.tools.migration.parties import RP, SUPPLIER
from smets1.tools.migration.population import run_population

RPS = frozenset({RP})
MCF = MigrationCommonFile(header=HEADER, installations=(HOME,))


def signer(nvm: MemoryNvm | None = None) -> FileSigner:
    return FileSigner(PKI.credentials[RP], nvm or MemoryNvm())


def receiver(nvm: MemoryNvm | None = None) -> Receiver:
    return Receiver(PKI.verifier(), nvm or MemoryNvm())


def take(octets: bytes, kind: FileKind = FileKind.MCF, *, by: Receiver | None = None) -> object:
    return (by or receiver()).take(octets, kind, senders=RPS, now_utc_us=NOW_UTC_US).content


def refusal(octets: bytes, kind: FileKind = FileKind.MCF, *, by: Receiver | None = None) -> str:
    with pytest.raises(FileRefusedError) as caught:
        take(octets, kind, by=by)
    assert str(caught.value).startswith(f"TMAD {caught.value.clause}: ")
    return caught.value.clause


def signed(content: MigrationCommonFile = MCF) -> bytes:
    return signer().sign(FileKind.MCF, content, now_utc_us=NOW_UTC_US)


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every kind of file but the MGF, of a population that went through a week."""
    folder = tmp_path_factory.mktemp("files")
    assert run_population(8, folder=folder).faults == []
    return sorted(folder.glob("*.xml"))


def is_valid(root: etree._Element) -> bool:
    return bool(etree.XMLSchema(etree.fromstring(schema().encode())).validate(root))


def test_every_file_is_of_the_schema(rehearsed: list[Path]) -> None:
    kinds = {FileKind(path.name.split("-")[0]) for path in rehearsed}
    assert kinds == set(FileKind) - {FileKind.MGF}
    for path in rehearsed:
        root = etree.fromstring(path.read_bytes())
        assert etree.QName(root).localname == FILES[FileKind(path.name.split("-")[0])].__name__
        assert is_valid(root), path.name


def test_what_the_schema_refuses_is_refused(rehearsed: list[Path]) -> None:
    """A seeded hundred of mutations: whatever our reader takes, the validator takes too."""
    rng, refused, taken = random.Random(3), 0, 0
    validator = etree.XMLSchema(etree.fromstring(schema().encode()))
    for _ in range(300):
        path = rng.choice(rehearsed)
        kind = FileKind(path.name.split("-")[0])
        root = etree.fromstring(path.read_bytes())
        _mutate(root, rng)
        octets = etree.tostring(root)
        try:
            read_kept(octets, kind)
        except Exception as error:
            assert type(error).__name__ in ("DecodeError", "DuisError", "InputError"), repr(error)
            refused += 1
            continue
        taken += 1
        assert validator.validate(parse_document(octets)), validator.error_log.last_error
    assert refused > 100
    assert taken > 5


def _mutate(root: etree._Element, rng: random.Random) -> None:
    inside = [part for part in root.iter(etree.Element) if "xmldsig" not in part.tag and part is not root]
    part = rng.choice(inside)
    parent = part.getparent()
    assert parent is not None
    change: Callable[[], object] = rng.choice(
        (
            lambda: parent.remove(part),
            lambda: parent.append(etree.fromstring(etree.tostring(part))),
            lambda: setattr(part, "text", rng.choice(("", "x", "-1", "9" * 30, "é", " 1 "))),
            lambda: setattr(part, "tag", part.tag + "x"),
            lambda: parent.insert(0, part),
        )
    )
    change()


def test_taken_once_over_restarts() -> None:
    sender, nvm = MemoryNvm(), MemoryNvm()
    first = signer(sender).sign(FileKind.MCF, MCF, now_utc_us=NOW_UTC_US)
    assert take(first, by=receiver(nvm)) == MCF
    assert refusal(first, by=receiver(nvm)) == "5.9.5"
    assert refusal(first, by=receiver(nvm.after_power_cut())) == "5.9.5"
    second = signer(sender.after_power_cut()).sign(FileKind.MCF, MCF, now_utc_us=NOW_UTC_US)
    assert take(second, by=receiver(nvm)) == MCF, "the sender counts on"
    assert refusal(first, by=receiver(nvm)) == "5.9.5"


def test_a_refused_file_may_be_put_right() -> None:
    nvm, octets = MemoryNvm(), signed()

    def refuse(_content: object) -> None:
        raise FileRefusedError("16.4", "not now")

    with pytest.raises(FileRefusedError):
        receiver(nvm).take(octets, FileKind.MCF, senders=RPS, now_utc_us=NOW_UTC_US, check=refuse)
    assert nvm.keys() == []
    assert take(octets, by=receiver(nvm)) == MCF


def test_each_refusal_has_its_clause() -> None:
    octets = signed()
    assert refusal(octets + b" " * MAX_FILE_OCTETS) == "5.9.1"
    assert refusal(b"") == "5.9.1"
    assert refusal(b"\x00" * 50) == "5.9.1"
    assert refusal(b'<!DOCTYPE a [<!ENTITY b "c">]>' + octets) == "5.9.1"
    assert refusal(octets, FileKind.MEF) == "5.9.1", "the root element of another kind"
    assert refusal(octets.replace(b"<Priority>false", b"<Priority>true")) == "5.9.2"
    stranger = FileSigner(PKI.stranger, MemoryNvm()).sign(FileKind.MCF, MCF, now_utc_us=NOW_UTC_US)
    assert refusal(stranger) == "5.9.2"
    supplier = FileSigner(PKI.credentials[SUPPLIER], MemoryNvm())
    assert refusal(supplier.sign(FileKind.MCF, MCF, now_utc_us=NOW_UTC_US)) == "5.9.3"
    assert refusal(signer().sign(FileKind.MCF, MCF, now_utc_us=NOW_UTC_US + 301_000_000)) == "5.9.4"
    assert refusal(signed(replace(MCF, installations=(HOME, HOME)))) == "10.1"
    tree = etree.fromstring(octets)
    tree.remove(tree[-1])
    assert refusal(etree.tostring(tree)) in ("5.9.1", "5.9.2"), "no signature"


def test_more_homes_than_a_file_may_have() -> None:
    homes = tuple(encrypted(HUB + 0x100 * index) for index in range(MAX_INSTALLATIONS + 1))
    octets = signer().sign(FileKind.MEF, mef(*homes), now_utc_us=NOW_UTC_US)
    assert refusal(octets, FileKind.MEF) in ("10.1", "5.9.1")
    octets = signer().sign(FileKind.MEF, mef(*homes[:-1]), now_utc_us=NOW_UTC_US)
    assert len(octets) < MAX_FILE_OCTETS
    assert take(octets, FileKind.MEF) == mef(*homes[:-1])


def test_every_octet_and_every_cut() -> None:
    """A seeded sample: tampered or cut, it is refused, and nothing but a refusal comes of it."""
    octets, rng = signed(), random.Random(9)
    for _ in range(150):
        spoiled = bytearray(octets)
        at = rng.randrange(len(spoiled))
        spoiled[at] ^= 1 << rng.randrange(7)
        try:
            content = take(bytes(spoiled))
        except FileRefusedError:
            continue
        assert content == MCF, "only what is not signed may differ: white space, the prolog"
    for at in sorted(rng.sample(range(len(octets)), 60)):
        refusal(octets[:at])
