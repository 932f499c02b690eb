"""The doctor's other findings, and the command as a person meets it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from smets1.headend.pki import FilePki
from smets1.tools.cli import main
from smets1.tools.doctor import State
from smets1.tools.doctor.machine import examine_machine
from smets1.tools.doctor.rig import _certificate, _private, examine_rig, stick_ports
from smets1.tools.doctor.sticks_known import KNOWN_STICKS, SerialPort, access_problem
from smets1.tools.home_file import parse_home


def test_a_clock_that_cannot_be() -> None:
    for now in (datetime(1970, 1, 1, tzinfo=UTC), datetime(2106, 2, 7, tzinfo=UTC)):
        (found,) = (finding for finding in examine_machine(now) if finding.what == "clock")
        assert found.state is State.BAD
        assert "set-ntp" in found.advice
    assert all(finding.state is not State.BAD for finding in examine_machine())


def test_names_of_usb_ids() -> None:
    port = SerialPort(path="/dev/ttyACM0", vendor_id=0x1A86, product_id=0x55D4, product="")
    assert "ZBDongle-E" in port.likely
    assert SerialPort(path="x", vendor_id=1, product_id=2, product="").likely == ""
    assert all(0 < vendor <= 0xFFFF and 0 < product <= 0xFFFF for vendor, product in KNOWN_STICKS)


def test_who_may_open_a_port(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    missing, file = access_problem(str(tmp_path / "none")), access_problem(str(tmp_path / "file"))
    assert missing is not None
    assert file is not None
    assert "No such file" in missing[0]
    assert "is no serial port" in file[0]
    ours, theirs = os.openpty()
    try:
        assert access_problem(os.ttyname(theirs)) is None
    finally:
        os.close(ours)
        os.close(theirs)


def _answer_as_http(server: socket.socket) -> None:
    line, _ = server.accept()
    with line:
        line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        line.recv(100)


def test_what_a_home_needs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=_answer_as_http, args=(server,), daemon=True).start()
        text = f"""
            [wan]
            link = "mqtt://127.0.0.1:{port}"
            [[device]]
            role = "chf"
            radio = "rcp:/dev/ttyACM7"
        """
        config = parse_home(text, tmp_path / "home.toml")
        found = {finding.what: finding for finding in asyncio.run(examine_rig(config))}
    broker = found[f"broker 127.0.0.1:{port}"]
    assert (broker.state, broker.text) == (State.BAD, "is no MQTT broker")
    assert found["nvm"].state is State.NOTE
    assert stick_ports(config) == ["/dev/ttyACM7"]


def test_certificates_and_keys(tmp_path: Path) -> None:
    certificate, key = FilePki.create().authority_pem()
    (tmp_path / "ca.pem").write_bytes(certificate)
    (tmp_path / "bad.pem").write_bytes(b"no certificate")
    (tmp_path / "open.key").write_bytes(key)
    (tmp_path / "open.key").chmod(0o644)
    assert _certificate(tmp_path / "ca.pem").state is State.OK
    for path in (tmp_path / "bad.pem", tmp_path / "none.pem"):
        assert _certificate(path).state is State.BAD
    assert _private(tmp_path / "open.key").advice == f"chmod 600 {tmp_path / 'open.key'}"
    (tmp_path / "open.key").chmod(0o600)
    assert _private(tmp_path / "open.key").state is State.OK
    assert _private(tmp_path / "none.key").state is State.BAD


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "ttyNONE")
    assert main(["doctor", "--port", missing]) == 1
    out = capsys.readouterr().out
    assert f"BAD   stick {missing}: {missing}: No such file or directory" in out
    assert "by-id" in out
    assert main(["doctor", "--json", "--port", "tcp://127.0.0.1:1"]) == 1
    rows = json.loads(capsys.readouterr().out)["findings"]
    (row,) = (row for row in rows if row["what"] == "stick tcp://127.0.0.1:1")
    assert row["state"] == "bad"
    assert "address" in row["advice"]
    assert main(["doctor", str(tmp_path / "home.toml")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_an_expired_certificate(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now - timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "old.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    found = _certificate(tmp_path / "old.pem")
    assert found.state is State.BAD
    assert "was valid until" in found.text
