"""The DCO behind its calls: nothing but them can be asked, whatever octets come; killed, it goes on."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cbor2
import pytest
from tests.headend.migration.samples import HEADER, HOME, HUB, NOW_UTC_US, PKI

from smets1.errors import LostError, RefusedError
from smets1.firmware.nvm import MemoryNvm
from smets1.headend.dco import AuthorisationRequest, Dco
from smets1.headend.duis.codes import UserRole
from smets1.headend.migration.dco_calls import DcoClient, DcoServer
from smets1.headend.migration.dco_desk import DcoDesk
from smets1.headend.migration.dco_process import DcoProcess, DcoSettings
from smets1.headend.migration.envelope import FileRefusedError, FileSigner, Receiver
from smets1.headend.migration.files import FileKind, MigrationCommonFile
from smets1.headend.srv.critical import Instruction
from smets1.tools.migration.parties import RP, S1SP

KEY = bytes(range(16))
METER = HOME.meters[0]
DISABLE = AuthorisationRequest(
    instruction_id="a",
    device=METER,
    srv="7.2",
    role=UserRole.IS,
    instruction=Instruction(cluster_id=0x0702, frame=b"\x01\x02\x03"),
)


def make() -> tuple[Dco, DcoServer, DcoClient]:
    dco = Dco(MemoryNvm(), random_octets=random.Random(1).randbytes)
    desk = DcoDesk(
        dco,
        receiver=Receiver(PKI.verifier(), MemoryNvm()),
        nvm=MemoryNvm(),
        group_keys={"DA": PKI.group_key("DA")},
        requesting_parties=frozenset({RP}),
        s1sps=frozenset({S1SP}),
    )
    server = DcoServer(dco, desk)
    return dco, server, DcoClient(server.answer)


def test_the_client_is_the_dco() -> None:
    dco, _, client = make()
    dco.enrol(METER, KEY)
    offer = client.offer_rotation(METER, bytes(32), instruction_id="r", now_utc_us=NOW_UTC_US)
    again = dco.offer_rotation(METER, bytes(32), instruction_id="r", now_utc_us=NOW_UTC_US)
    assert offer == again
    assert client.is_enrolled(METER)
    assert not client.is_enrolled(METER + 1)
    assert client.generation(METER) == 0
    assert not client.confirm_rotation(METER, 1, bytes(16))
    assert not client.recognises(METER, 0, bytes(16))
    assert client.public_key("DA") == PKI.group_key("DA").public_key()
    mcf = FileSigner(PKI.credentials[RP], MemoryNvm()).sign(
        FileKind.MCF, MigrationCommonFile(header=HEADER, installations=(HOME,)), now_utc_us=NOW_UTC_US
    )
    client.take(FileKind.MCF, mcf, now_utc_us=NOW_UTC_US)
    viability = client.take_over(HEADER, HUB, now_utc_us=NOW_UTC_US)
    assert (viability.is_viable, viability.clause) == (False, "16.5")
    client.discard(HUB)
    client.close(1)


def test_refusals_come_as_the_dco_raised_them() -> None:
    dco, _, client = make()
    dco.enrol(METER, KEY)
    for side in (dco, client):
        with pytest.raises(RefusedError, match=r"not what 7\.2 stands for") as caught:
            side.authorise(DISABLE, now_utc_us=NOW_UTC_US)
        assert caught.value.status == 0x7E
    with pytest.raises(FileRefusedError) as refused:
        client.take(FileKind.MCF, b"<x/>", now_utc_us=NOW_UTC_US)
    assert refused.value.clause == "5.9.2", "no signature"
    with pytest.raises(FileRefusedError):
        client.take(FileKind.COF, b"", now_utc_us=NOW_UTC_US)
    with pytest.raises(LostError):
        client.public_key("ZZ")


BAD: list[Any] = [
    [],
    ["enrol", METER, KEY],
    ["discard_all"],
    ["__init__"],
    ["generation"],
    ["generation", "1"],
    ["generation", True],
    ["generation", -1],
    ["generation", 2**64 - 1, 2],
    ["authorise", "a", METER, "7.2", "KING", 1, b"", 1],
    ["take", "XYZ", b"", 1],
    {"generation": METER},
    7,
    None,
]


@pytest.mark.parametrize("call", BAD)
def test_nothing_else_can_be_asked(call: Any) -> None:
    dco, server, _ = make()
    dco.enrol(METER, KEY)
    kind, value = cbor2.loads(server.answer(cbor2.dumps(call)))
    assert kind == 4
    assert value == "the DCO does not understand the call"


def test_any_octets_are_answered_and_no_key_is_told() -> None:
    dco, server, _ = make()
    dco.enrol(METER, KEY)
    rng = random.Random(2)
    calls = [["generation", METER], ["offer_rotation", METER, bytes(32), "r", 1], ["is_enrolled", METER]]
    for _ in range(2000):
        octets = bytearray(cbor2.dumps(rng.choice(calls)))
        for _ in range(rng.randrange(3)):
            octets[rng.randrange(len(octets))] = rng.randrange(256)
        answer = server.answer(bytes(octets[: rng.randrange(len(octets) + 1)]))
        assert KEY not in answer
        assert len(cbor2.loads(answer)) == 2


def settings(store: Path) -> DcoSettings:
    return DcoSettings(
        store=str(store),
        vault_key=bytes(32),
        group_keys={"DA": PKI.group_key("DA").private_numbers().private_value.to_bytes(32, "big")},
        certificates=PKI.certificates(),
        requesting_parties=frozenset({RP}),
        s1sps=frozenset({S1SP}),
        seed=b"s",
    )


def test_a_process_that_is_killed_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "dco.nvm"
    mcf = FileSigner(PKI.credentials[RP], MemoryNvm()).sign(
        FileKind.MCF, MigrationCommonFile(header=HEADER, installations=(HOME,)), now_utc_us=NOW_UTC_US
    )
    process = DcoProcess(settings(store))
    try:
        process.client.take(FileKind.MCF, mcf, now_utc_us=NOW_UTC_US)
        before = process.pid
        process.kill()
        with pytest.raises(FileRefusedError) as caught:
            process.client.take(FileKind.MCF, mcf, now_utc_us=NOW_UTC_US)
        assert caught.value.clause == "5.9.5", "it remembers what it has taken"
        assert process.pid != before
        assert not process.client.is_enrolled(METER)
    finally:
        process.close()
        process.close()
    with pytest.raises(LostError, match="switched off"):
        process.client.is_enrolled(METER)
    assert b"MigrationCommonFile" not in store.read_bytes(), "encrypted at rest"


def test_secrets_stay_out_of_reprs(tmp_path: Path) -> None:
    shown = repr(settings(tmp_path / "x"))
    assert "vault_key" not in shown
    assert "group_keys" not in shown
    assert DcoSettings.decode(settings(tmp_path / "x").encode()) == settings(tmp_path / "x")
