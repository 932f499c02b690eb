"""`smets1 keys`: files that are made once, and what signs with them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from lxml import etree

from smets1.headend.duis.signature import CertificateStore, Credential, Verifier, XmlSigner
from smets1.tools.cli import main

_SUPPLIER = 0x90B3D51F30010000


def test_make_issue_and_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pki"
    assert main(["keys", "make", str(folder), "--json"]) == 0
    written = [Path(path) for path in json.loads(capsys.readouterr().out)["written"]]
    assert len(written) == 14
    for path in written:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o600 if path.suffix == ".key" else 0o644)
    assert main(["keys", "issue", str(folder), "--name", "lab", "--eui64", "90-B3-D5-1F-30-07-00-00"]) == 0
    authority = x509.load_pem_x509_certificate((folder / "authority.pem").read_bytes())
    for name in ("lab", "supplier", "s1sp"):
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        certificate.verify_directly_issued_by(authority)

    certificate = x509.load_pem_x509_certificate((folder / "supplier.pem").read_bytes())
    key = serialization.load_pem_private_key((folder / "supplier.key").read_bytes(), None)
    signer = XmlSigner(Credential(eui64=_SUPPLIER, certificate=certificate, key=key))  # type: ignore[arg-type]
    signed = etree.tostring(signer.sign(etree.fromstring(b"<a/>")))
    store = CertificateStore()
    store.add(Credential(eui64=_SUPPLIER, certificate=certificate))
    _, credential = Verifier(store).verify(signed, now_utc_us=17 * 10**14)
    assert credential.eui64 == _SUPPLIER


def test_nothing_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dsp.key").write_text("mine")
    assert main(["keys", "make", str(tmp_path)]) == 1
    assert "dsp.key is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["dsp.key"], "nothing was written beside it"
    (tmp_path / "dsp.key").unlink()
    assert main(["keys", "make", str(tmp_path)]) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["keys", "make", str(tmp_path)]) == 1
    assert main(["keys", "issue", str(tmp_path), "--name", "s1sp", "--eui64", "90-B3-D5-1F-30-00-00-01"]) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("damage", ["missing", "nonsense", "other"])
def test_an_authority_that_cannot_be_used(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        assert main(["keys", "make", str(tmp_path / folder)]) == 0
    key = tmp_path / "a" / "authority.key"
    if damage == "missing":
        key.unlink()
    elif damage == "nonsense":
        key.write_text("hello")
    else:
        key.write_bytes((tmp_path / "b" / "authority.key").read_bytes())
    capsys.readouterr()
    arguments = ["keys", "issue", str(tmp_path / "a"), "--name", "x", "--eui64", "90-B3-D5-1F-30-07-00-00"]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not (tmp_path / "a" / "x.pem").exists()


@pytest.mark.parametrize("name", ["../x", "authority", "", "a b"])
def test_names_that_are_no_file_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["keys", "issue", str(tmp_path), "--name", name, "--eui64", "90-B3-D5-1F-30-07-00-00"])
    assert caught.value.code == 2
