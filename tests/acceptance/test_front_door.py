"""DCC's reference requests, sent by curl to a running home: over each WAN, and across a kill -9."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from home_process import HomeProcess, Mosquitto, until
from lxml import etree
from tests.headend.reference_table import read_back

pytestmark = pytest.mark.outsider

ESME = "00-DB-12-34-56-78-90-A0"
SR = "{http://www.dccinterface.co.uk/ServiceUserGateway}"
RA = "{http://www.dccinterface.co.uk/ResponseAndAlert}"
TOP_UP = "CS01a_2.2_SUCCESS_REQUEST_DUIS.XML"
READ_IMPORT = "ECS17b_4.1.1_SINGLE_SUCCESS_REQUEST_DUIS.XML"
INVENTORY = "8.2_READ_INVENTORY_REQUEST_DUIS.XML"
TOP_UP_MP = 1_000_000  # what DCC's reference token is worth: 10 pounds

# No standing charge and no price: what the balance shows are top-ups.
TOML = """
seed = 7
[[load]]
fuel = "electricity"
kind = "constant"
watts = 2000
[tariff.electricity]
unit_rate_pence = 0
standing_charge_pence = 0
[wan]
link = "{wan}"
"""


@pytest.fixture(params=["memory:", "mqtt:embedded", "mosquitto"])
def wan(request: pytest.FixtureRequest, program: Callable[[str], str], tmp_path: Path) -> Iterator[str]:
    """What `[wan] link` says."""
    if request.param == "mqtt:embedded":
        pytest.importorskip("amqtt")
    if request.param != "mosquitto":
        yield request.param
        return
    broker = Mosquitto(program("mosquitto"), tmp_path)
    yield broker.url
    broker.close()


@pytest.fixture
def home_toml(wan: str, tmp_path: Path) -> Path:
    path = tmp_path / "home.toml"
    path.write_text(TOML.format(wan=wan), encoding="utf-8")
    return path


@pytest.fixture
def judge(duis_schema: etree.XMLSchema, duis_parser: Path) -> Callable[[list[bytes]], list[etree._Element]]:
    """Documents -> their trees, once the schema and DCC's own parser have taken each."""

    def read(documents: list[bytes]) -> list[etree._Element]:
        trees = [etree.fromstring(document) for document in documents]
        for tree in trees:
            duis_schema.assertValid(tree)
        for tree, parsed in zip(trees, read_back(duis_parser, documents), strict=True):
            assert parsed["header"]["responseCode"] == code(tree)
            assert parsed["header"].get("requestId") is not None
        return trees

    return read


def curl(home: HomeProcess, path: str, file: Path) -> bytes:
    """As the README says it; where there is no curl, by urllib."""
    program = shutil.which("curl")
    if program is None:
        status, body = home.post(path, file.read_bytes())
        assert status == 200
        return body
    command = [program, "--silent", "--show-error", "--fail", "--noproxy", "*", "--data-binary", f"@{file}"]
    done = subprocess.run(
        [*command, "-H", "Content-Type: application/xml", home.url + path],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout


def established(keys: Path) -> set[str]:
    """The CBKE keys of a key file; the label says who told of a key first, which may differ."""
    lines = keys.read_text(encoding="ascii").splitlines()
    return {line.split(",")[0] for line in lines if "ESTABLISHED" in line}


def code(tree: etree._Element) -> str:
    return str(tree.findtext(f"{SR}Header/{SR}ResponseCode"))


def final(home: HomeProcess, count: int) -> bytes:
    """The count-th final response, once it is there."""
    until(lambda: len(home.final_responses()) >= count, f"final response {count}")
    return str(home.final_responses()[count - 1]["xml"]).encode()


def test_the_three_reference_requests(
    home_toml: Path, duis_templates: Path, judge: Callable[[list[bytes]], list[etree._Element]]
) -> None:
    with HomeProcess(home_toml, "--speed", "60") as home:
        home.wait_keyed()
        before = home.devices()[ESME]
        accepted = [curl(home, "/api/v1/serviceS", duis_templates / TOP_UP)]
        finals = [final(home, 1)]
        after = home.devices()[ESME]
        accepted.append(curl(home, "/api/v1/serviceS", duis_templates / READ_IMPORT))
        finals.append(final(home, 2))
        read = home.devices()[ESME]
        # 1200 s of the home's are 20 s of a machine's that is busy with other things.
        again = [
            curl(home, "/api/v1/serviceS?wait=1200", duis_templates / name) for name in (TOP_UP, READ_IMPORT)
        ]
        inventory = curl(home, "/api/v1/serviceD?wait=1200", duis_templates / INVENTORY)

        # A document that ends in the middle: one line, and nothing was begun.
        octets = (duis_templates / TOP_UP).read_bytes()
        for end in (0, 1, 300, len(octets) // 2, len(octets) - 3):
            status, said = home.post("/api/v1/serviceS", octets[:end])
            assert (status, said.count(b"\n")) == (400, 1)
        assert len(home.final_responses()) == len(finals) + len(again)
        assert home.stop() == 0
        assert home.errors == []

    answers = judge([*accepted, *finals, *again, inventory])
    assert [code(tree) for tree in answers] == ["I99", "I99", "I0", "I0", "I0", "I0", "I0"]
    topped_up, imported, refused = answers[2], answers[3], answers[4]

    assert topped_up.find(f".//{RA}TopUpDeviceRsp").get("MessageSuccess") == "true"
    assert after["balance_mp"] - before["balance_mp"] == TOP_UP_MP
    # The same token once more: no second credit, and the debug element says why.
    assert refused.find(f".//{RA}TopUpDeviceRsp").get("MessageSuccess") == "false"
    assert "duplicate" in refused.findtext(f".//{RA}Error")
    assert read["balance_mp"] == after["balance_mp"]

    register = imported.find(f".//{RA}ActiveImportRegister")
    value_wh = int(register.findtext(f".//{RA}Value") or register.text)
    assert 0 < after["energy_wh"] <= value_wh <= read["energy_wh"]

    listed = [element.text for element in answers[6].iter(f"{SR}DeviceID")]
    assert sorted(set(listed)) == [ESME[:-1] + digit for digit in "012345"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_kill_in_the_middle_of_a_top_up(
    home_toml: Path, duis_templates: Path, judge: Callable[[list[bytes]], list[etree._Element]],
    tmp_path: Path, seed: int,
) -> None:  # fmt: skip
    """kill -9 at some instant; see test_power_cut.py for each instant that matters."""
    words = (home_toml, "--nvm", tmp_path / "nvm", "--speed")
    request = duis_templates / TOP_UP
    with HomeProcess(*words, "60", "--keys", tmp_path / "before.txt") as home:
        home.wait_keyed()
        before = home.devices()
        assert home.stop() == 0
    with HomeProcess(*words, "1") as home:  # slow enough to be hit in the middle
        home.wait_keyed()
        was_accepted = code(etree.fromstring(curl(home, "/api/v1/serviceS", request))) == "I99"
        assert was_accepted
        delay_s = random.Random(seed).uniform(0, 0.4)
        subprocess.run(["sleep", f"{delay_s:.3f}"], check=True)
        home.kill()
    with HomeProcess(*words, "60", "--keys", tmp_path / "after.txt") as home:
        home.wait_keyed()
        answer = final(home, 1)
        again = curl(home, "/api/v1/serviceS?wait=1200", request)
        after = home.devices()
        assert home.stop() == 0
        assert home.errors == []
    first, second = judge([answer, again])
    assert (code(first), code(second)) == ("I0", "I0")
    assert "duplicate" in second.findtext(f".//{RA}Error")
    assert after[ESME]["balance_mp"] - before[ESME]["balance_mp"] == TOP_UP_MP
    for eui64, device in before.items():
        assert after[eui64]["short_address"] == device["short_address"]
    # Kept in NVM: no key was established anew, and whoever decodes a capture is told them again.
    old_keys, keys = (established(tmp_path / name) for name in ("before.txt", "after.txt"))
    assert keys == old_keys
    assert len(keys) == 4
