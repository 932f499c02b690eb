"""home.toml: defaults, values, and one clear line for everything wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smets1.errors import InputError
from smets1.eui64 import format_eui64, parse_eui64
from smets1.firmware.crypto.mmo import parse_install_code
from smets1.hardware.air.fault_plan import Away, Burst, Cut, Partition
from smets1.hardware.air.faults import LinkFault
from smets1.hardware.clock import MAX_SPEED
from smets1.headend.duis.codes import UserRole
from smets1.tools.home_config import (
    Fuel,
    HeadEndConfig,
    HomeConfig,
    LoadKind,
    PaymentMode,
    RadioKind,
    Role,
    Signatures,
    WanKind,
    trial_install_code,
)
from smets1.tools.home_file import (
    check_http,
    default_home,
    is_loopback,
    parse_address,
    parse_home,
    parse_speed,
    read_home,
)

FILE = Path("home.toml")
ESME = "00-DB-12-34-56-78-90-A0"
IHD = "00-DB-12-34-56-78-90-A5"
TEMPLATE = resources.files("smets1.tools").joinpath("home_template.toml").read_text(encoding="utf-8")


def read(text: str) -> HomeConfig:
    return parse_home(text, FILE)


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_empty_file_is_the_reference_home() -> None:
    home = default_home()
    assert [(device.role, format_eui64(device.eui64)) for device in home.devices] == [
        (Role.ESME, ESME),
        (Role.GSME, "00-DB-12-34-56-78-90-A1"),
        (Role.CHF, "00-DB-12-34-56-78-90-A2"),
        (Role.GPF, "00-DB-12-34-56-78-90-A3"),
        (Role.PPMID, "00-DB-12-34-56-78-90-A4"),
        (Role.IHD, IHD),
    ]
    assert [(load.fuel, load.kind) for load in home.loads] == [
        (Fuel.ELECTRICITY, LoadKind.PROFILE),
        (Fuel.GAS, LoadKind.PROFILE),
    ]
    assert home.start == datetime(2023, 1, 16, tzinfo=UTC)
    assert home.wan.kind is WanKind.MEMORY
    assert (home.headend.http_host, home.headend.http_port) == ("127.0.0.1", 8079)
    assert home.nvm_dir is None


def test_the_template_is_the_default_home() -> None:
    """What `smets1 init` writes says what holds when it is left out."""
    home = read(TEMPLATE)
    assert replace(home, faults=default_home().faults) == default_home()
    assert all(not value for value in (home.faults.every_link.loss, home.faults.every_link.delay_us))


def test_each_example_in_the_template_is_valid_alone(tmp_path: Path) -> None:
    """Every commented key, with its own table, is accepted once the files it names exist."""
    for name in ("readings.csv", "ca.pem", "hub.pem", "hub.key"):
        (tmp_path / name).touch()
    (tmp_path / "schemas").mkdir()
    lines = TEMPLATE.splitlines()
    for example in ('kind = "constant"', 'kind = "csv"'):
        start = next(i for i, line in enumerate(lines) if line.startswith("# " + example)) - 2
        block = [line[2:] for line in lines[start : start + 5] if line.startswith("# ")]
        assert parse_home("\n".join(block), tmp_path / "home.toml").loads[0].kind.value in example
    whole = "\n".join(
        line.removeprefix("# ")
        if line.startswith(("# channel = 11", "# database", "# schema_dir", "# directory"))
        else line
        for line in lines
    )
    home = parse_home(whole, tmp_path / "home.toml")
    assert home.han.channel == 11
    assert home.headend.schema_dir == tmp_path / "schemas"
    assert home.nvm_dir == tmp_path / "nvm"
    start, end = lines.index("# [[faults.link]]"), lines.index("[nvm]")
    block = [line[2:] for line in lines[start:end] if line.startswith("# ") and "And for" not in line]
    faults = parse_home("\n".join(block), tmp_path / "home.toml").faults
    assert len(faults.links) == 1
    assert [type(row) for row in faults.plan] == [Cut, Away, Partition, Burst]


def test_devices_that_are_written_are_all_there_are() -> None:
    home = read(
        f"""
[[device]]
role = "ihd"
eui64 = "{ESME.lower().replace("-", ":")}"
radio = "ezsp:/dev/ttyUSB0"
install_code = "83FE D340 7A93 9723 A5C6 39B2 6916 D505 C3B5"
runs_here = false
"""
    )
    (device,) = home.devices
    assert device.eui64 == parse_eui64(ESME)
    assert (device.radio.kind, device.radio.port, str(device.radio)) == (
        RadioKind.EZSP,
        "/dev/ttyUSB0",
        "ezsp:/dev/ttyUSB0",
    )
    assert parse_install_code(device.install_code).hex() == "83fed3407a939723a5c639b26916d505"
    assert not device.runs_here
    assert home.device(Role.IHD) is device
    assert home.device(Role.CHF) is None
    assert home.of_role(Role.CAD) == ()
    assert home.loads == ()  # no meter, no load
    assert "install_code" not in repr(home)


def test_trial_install_codes_are_valid_and_differ() -> None:
    codes = [trial_install_code(eui64) for eui64 in (1, 2)]
    assert codes[0] != codes[1]
    assert [len(parse_install_code(code)) for code in codes] == [16, 16]
    assert trial_install_code(1) == codes[0]


def test_money_is_exact_and_fuels_can_differ() -> None:
    home = read(
        """
[tariff.gas]
unit_rate_pence = 10.305
[prepayment]
balance_pounds = 12.34
[prepayment.gas]
mode = "credit"
disablement_threshold_pounds = -5
"""
    )
    assert home.tariffs[Fuel.GAS].unit_rate_mp_per_kwh == 10_305
    assert home.tariffs[Fuel.GAS].standing_charge_mp_per_day == 28_000
    electricity, gas = home.prepayment[Fuel.ELECTRICITY], home.prepayment[Fuel.GAS]
    assert (electricity.mode, electricity.balance_mp) == (PaymentMode.PREPAYMENT, 1_234_000)
    assert (gas.mode, gas.balance_mp, gas.disablement_threshold_mp) == (
        PaymentMode.CREDIT,
        1_234_000,
        -500_000,
    )


def test_faults_are_those_of_the_air() -> None:
    home = read(
        f"""
[faults]
loss = 0.2
jitter_ms = 1.5
[[faults.node]]
device = "{ESME}"
attenuation_db = 40
[[faults.link]]
from = "{ESME}"
to = "{IHD}"
delay_ms = 3
"""
    )
    assert home.faults.every_link == LinkFault(loss=0.2, jitter_us=1500)
    assert home.faults.nodes == ((parse_eui64(ESME), LinkFault(attenuation_db=40)),)
    assert home.faults.links == ((parse_eui64(ESME), parse_eui64(IHD), LinkFault(delay_us=3000)),)


def test_faults_may_have_their_time() -> None:
    home = read(
        f"""
[[faults.cut]]
from = "{ESME}"
to = "{IHD}"
start_s = 1.5
end_s = 3
[[faults.away]]
device = "{IHD}"
[[faults.partition]]
devices = ["{ESME}", "{IHD}"]
start_s = 60
[[faults.interference]]
channel = 15
length_ms = 2.5
every_ms = 20
[[faults.interference]]
length_ms = 100
rssi_dbm = -70
[[faults.node]]
device = "{IHD}"
x_m = 3.5
y_m = -2
"""
    )
    esme, ihd = parse_eui64(ESME), parse_eui64(IHD)
    assert home.faults.plan == (
        Cut(sender=esme, receiver=ihd, start_us=1_500_000, end_us=3_000_000),
        Away(eui64=ihd),
        Partition(devices=(esme, ihd), start_us=60_000_000),
        Burst(channels=(15,), length_us=2500, period_us=20_000),
        Burst(length_us=100_000, rssi_dbm=-70),
    )
    assert home.faults.positions_m == ((ihd, (3.5, -2.0)),)


def test_head_end_users() -> None:
    home = read(
        """
[[headend.user]]
eui64 = "90-B3-D5-1F-30-01-00-00"
roles = ["IS", "GS"]
callback = "http://127.0.0.1:9000/x"
"""
    )
    (user,) = home.headend.users
    assert user.roles == (UserRole.IS, UserRole.GS)


@pytest.mark.parametrize(
    ("link", "kind", "host", "port", "is_tls"),
    [
        ("memory:", WanKind.MEMORY, "", 0, False),
        ("mqtt:embedded", WanKind.EMBEDDED, "127.0.0.1", 0, False),
        ("mqtt://broker", WanKind.MQTT, "broker", 1883, False),
        ("mqtt://[::1]:1884", WanKind.MQTT, "::1", 1884, False),
        ("mqtts://broker", WanKind.MQTT, "broker", 8883, True),
    ],
)
def test_wan_links(link: str, kind: WanKind, host: str, port: int, is_tls: bool) -> None:
    wan = read(f'[wan]\nlink = "{link}"').wan
    assert (wan.kind, wan.host, wan.port, wan.is_tls) == (kind, host, port, is_tls)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sede = 1", "home.toml:1: unknown key 'sede': did you mean 'seed'?"),
        ("\n[wann]\n", "home.toml:2: unknown key 'wann': did you mean 'wan'?"),
        ("speed = 0", "home.toml:1: speed: '0' is not a speed: a number above 0, at most 1000000, as 60, or \"max\""),
        ("speed = 'fast'", "home.toml:1: speed: 'fast' is not a speed: a number above 0, at most 1000000, as 60, or \"max\""),
        ("[[device]]\nrole = 'esme'\nengineering_pin = '12'", "home.toml:3: engineering_pin must be 4 to 8 digits in quotes"),
        ("[[device]]\nrole = 'ihd'\nengineering_pin = '1234'", "home.toml:3: only meters have an engineering menu, and this is a ihd"),
        ("[[device]]\nrole = 'ihd'\nmqtt = 'memory:'", "home.toml:3: only a cad republishes over MQTT, and this is a ihd"),
        ("[[device]]\nrole = 'cad'\nmqtt = 'mqtts://h'", 'home.toml:3: mqtt: no TLS to the broker of the household: write "mqtt://HOST:1883"'),
        ("[[device]]\nrole = 'esma'", "home.toml:2: role = 'esma' is none of chf, gpf, esme, gsme, ppmid, ihd, cad: did you mean 'esme'?"),
        ("[[device]]\neui64 = 'x'", "home.toml:1: role is missing in [device]: one of chf, gpf, esme, gsme, ppmid, ihd, cad"),
        ("[[device]]\nrole = 'esme'\neui64 = '12'", "home.toml:3: eui64: '12' is not an EUI-64: write eight hex pairs, as 00-DB-12-34-56-78-90-A0"),
        ("[[device]]\nrole = 'esme'\neui46 = '12'", "home.toml:3: unknown key 'eui46' in [device]: did you mean 'eui64'?"),
        ("[[device]]\nrole = 'esme'\n[[device]]\nrole='esme'", "home.toml:3: 00-DB-12-34-56-78-90-A0 is the device of line 1 too"),
        (f"[[device]]\nrole = 'chf'\n[[device]]\nrole='chf'\neui64='{ESME}'", "home.toml:4: a home has one chf; there is one at line 1"),
        ("[[device]]\nrole = 'esme'\nradio = 'wifi:'", "home.toml:3: radio: 'wifi:' is no radio: write air:, rcp:/dev/ttyACM0, ezsp:/dev/ttyUSB0 or air+rcp:/dev/ttyACM0"),
        ("[[device]]\nrole = 'chf'\nradio = 'air+rcp:simulated'", "home.toml:3: radio: 'air+rcp:simulated' is no radio: a simulated stick is on the simulated air already"),
        ("[[device]]\nrole = 'chf'\nradio = 'air+rcp:'", "home.toml:3: radio: 'air+rcp:' is no radio: write air+rcp:/dev/ttyUSB0"),
        ("[[device]]\nrole = 'esme'\nradio = 'rcp:simulated@14'", "home.toml:3: radio: 'rcp:simulated@14' is no radio: write rcp:simulated"),
        ("[[device]]\nrole = 'esme'\nradio = 'ezsp:simulated@9'", "home.toml:3: radio: 'ezsp:simulated@9' is no radio: write ezsp:simulated or ezsp:simulated@13 or ezsp:simulated@14"),
        ("[[device]]\nrole = 'esme'\nradio = 'rcp:'", "home.toml:3: radio: 'rcp:' is no radio: write rcp:/dev/ttyUSB0"),
        ("[[device]]\nrole = 'esme'\ninstall_code = '83FED3407A932B71'", "home.toml:3: install_code: the CRC does not fit the code"),
        ("[[device]]\nrole = 'esme'\ninstall_code = 'hello'", "home.toml:3: install_code must be hex digits, as printed on the label, CRC included"),
        ("[[device]]\nrole = 'esme'\nmodel = 'a model name of far too many characters'", "home.toml:3: model must have 1 to 30 printable characters"),
        ("[[device]]\nrole = 'esme'\nfirmware = '1'", "home.toml:3: firmware = '1' must be 8 hex digits in quotes, as '00000001'"),
        ("[[load]]\nkind = 'csv'\nfuel = 'gas'", 'home.toml:1: file is missing in [load]: a text in quotes, as "…"'),
        ("[[load]]\nkind = 'csv'\nfuel = 'gas'\nfile = 'none.csv'", "home.toml:4: file: no such file: none.csv"),
        ("[[load]]\nkind = 'profile'\nfuel = 'gas'\nwatts = 3", "home.toml:4: unknown key 'watts' in [load] (known here: device, export, fuel, kind, percent)"),
        ("[[load]]\nfuel = 'gas'\nexport = true\nkind = 'constant'\nwatts = 1", "home.toml:3: export: what a home gives back is electricity, constant or from a csv"),
        ("[[load]]\nfuel = 'electricity'\nexport = true", "home.toml:3: export: what a home gives back is electricity, constant or from a csv"),
        ("[[load]]\nfuel = 'gas'\n[[load]]\nfuel='gas'", "home.toml:3: a second [[load]] for gas; the first is at line 1"),
        (f"[[load]]\nfuel = 'gas'\ndevice = '{ESME}'", f"home.toml:3: {ESME} is no gas meter of this home"),
        ("[wan]\nlink = 'tcp://x'", "home.toml:2: link: 'tcp://x' is no WAN link: write memory:, mqtt:embedded, mqtt://HOST:1883 or mqtts://HOST:8883"),
        ("[wan]\nlink = 'mqtt://x:y'", "home.toml:2: link: 'mqtt://x:y' is no WAN link: write memory:, mqtt:embedded, mqtt://HOST:1883 or mqtts://HOST:8883"),
        ("[wan]\nlink = 'mqtt://x'\nlatency_ms = 3", 'home.toml:3: latency_ms is for link = "memory:" only'),
        ("[headend]\nhttp = '0.0.0.0:8079'", 'home.toml:2: http on 0.0.0.0, which is not loopback, demands signatures = "require" in [headend]'),
        ("[headend]\nhttp = '0.0.0.0:1'\nsignatures = 'require'", 'home.toml:2: http on 0.0.0.0, which is not loopback, demands token = "…" in [headend], which clients then send'),
        ("[headend]\nhttp = 'localhost'", "home.toml:2: http: 'localhost' is no address: write HOST:PORT, as 127.0.0.1:8079"),
        ("[[headend.user]]\neui64 = '90-B3-D5-1F-30-01-00-00'\nroles = ['IX']", "home.toml:3: 'IX' is no user role: IS, ES, GS, RSA, ED, GT, OU"),
        ("[faults]\nloss = 2", "home.toml:2: loss = 2 is out of range: 0 to 1"),
        ("[[faults.link]]\nfrom = '00-00-00-00-00-00-00-01'\nto = 'x'", "home.toml:2: 00-00-00-00-00-00-00-01 is no device of this home"),
        ("[[faults.partiton]]\ndevices = []", "home.toml:1: unknown key 'partiton' in [faults]: did you mean 'partition'?"),
        ("[[faults.partition]]\ndevices = []", "home.toml:2: devices is empty: name those that hear only each other"),
        ("[[faults.partition]]\ndevices = ['00-00-00-00-00-00-00-01']", "home.toml:2: 00-00-00-00-00-00-00-01 is no device of this home"),
        ("[[faults.partition]]\ndevices = ['A5']", "home.toml:2: devices: 'A5' is not an EUI-64: write eight hex pairs, as 00-DB-12-34-56-78-90-A0"),
        (f"[[faults.away]]\ndevice = '{IHD}'\nstart_s = 5\nend_s = 5", "home.toml:4: end_s must be later than start_s"),
        (f"[[faults.away]]\ndevice = '{IHD}'\nstrat_s = 5", "home.toml:3: unknown key 'strat_s' in [faults.away]: did you mean 'start_s'?"),
        (f"[[faults.cut]]\nfrom = '{IHD}'", "home.toml:1: to is missing in [faults.cut]: a text in quotes, as \"…\""),
        ("[[faults.interference]]\nlength_ms = 0", "home.toml:2: length_ms must be more than 0"),
        ("[[faults.interference]]\nlength_ms = 5\nevery_ms = 5", "home.toml:3: every_ms, from start to start, must be more than length_ms"),
        ("[[faults.interference]]\nlength_ms = 5\nend_s = 5", "home.toml:3: end_s is for noise that comes again: give every_ms"),
        ("[[faults.interference]]\nlength_ms = 5\nchannel = 27", "home.toml:3: channel = 27 is out of range: 11 to 26"),
        (f"[[faults.node]]\ndevice = '{IHD}'\nx_m = 5", "home.toml:3: x_m and y_m go together: write both or neither"),
        ("[prepayment]\nbalance_pounds = 0.000001", "home.toml:2: balance_pounds is finer than can be counted: 0.00001 is the smallest step"),
        ("[prepayment.oil]\n", "home.toml:1: unknown key 'oil' in [prepayment]"),
        ("start = 2023-01-16", "home.toml:1: start must be a time, as 2023-01-16T00:00:00Z"),
        ("start = 1999-12-31T23:59:59Z", "home.toml:1: start = 1999-12-31T23:59:59Z is out of range: 2000 to 2099 (ZigBee counts time from 2000)"),
        ("start = 2136-02-07T06:00:00Z", "home.toml:1: start = 2136-02-07T06:00:00Z is out of range: 2000 to 2099 (ZigBee counts time from 2000)"),
        ("start = 0001-01-01T00:00:00+14:00", "home.toml:1: start = '0001-01-01T00:00:00+14:00' is not a time: write it as 2023-01-16T00:00:00Z"),
        ("speed = '1e9'", "home.toml:1: speed: '1e9' is not a speed: a number above 0, at most 1000000, as 60, or \"max\""),
        ("seed = 1\nseed = 2", "home.toml:2: not TOML: Cannot overwrite a value"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(text: str, expected: str) -> None:
    said = refusal(text)
    assert said.startswith(expected) if expected.endswith("[prepayment]") else said == expected


def test_tls_files_go_together(tmp_path: Path) -> None:
    (tmp_path / "hub.pem").touch()
    file = tmp_path / "home.toml"
    with pytest.raises(InputError, match=r":1: certificate_file and key_file go together"):
        parse_home("[wan]\nlink = 'mqtts://x'\ncertificate_file = 'hub.pem'", file)
    with pytest.raises(InputError, match=r":2: ca_file is for TLS only"):
        parse_home("[wan]\nca_file = 'hub.pem'", file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8079", ("127.0.0.1", 8079)),
        ("[::1]:0", ("::1", 0)),
        (":80", ("127.0.0.1", 80)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["", "8079", "a:b", "a:99999", "a:1/x", "u@a:1", "::1:8079"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(InputError):
        parse_address(text)


def test_loopback_is_known_without_asking_anyone() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "localhost.example", "")))


def test_off_loopback_demands_signatures_and_a_token() -> None:
    safe = HeadEndConfig(http_host="0.0.0.0", signatures=Signatures.REQUIRE, token="t")
    check_http(safe)
    for change in ({"token": ""}, {"signatures": Signatures.OFF}):
        with pytest.raises(InputError, match="demands"):
            check_http(replace(safe, **change))
    assert "'t'" not in repr(safe)


def test_speeds() -> None:
    assert parse_speed("max") == MAX_SPEED
    assert read("speed = 'max'").speed == MAX_SPEED
    assert read("speed = 0.5").speed == 0.5
    for text in ("nan", "inf", "-1", "0", ""):
        with pytest.raises(InputError):
            parse_speed(text)


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "day.csv").touch()
    (tmp_path / "home.toml").write_text(
        '[[load]]\nfuel = "gas"\nkind = "csv"\nfile = "day.csv"\n[nvm]\ndirectory = "n"'
    )
    home = read_home(tmp_path / "home.toml")
    assert home.loads[0].file == tmp_path / "day.csv"
    assert home.nvm_dir == tmp_path / "n"


@given(
    st.lists(
        st.sampled_from([*TEMPLATE.splitlines(), "x", "= 1", "[", "[[device]]", "loss = 3"]), max_size=30
    )
)
def test_any_mixture_of_lines_is_read_or_refused(lines: list[str]) -> None:
    try:
        read("\n".join(lines))
    except InputError as error:
        assert str(error).startswith("home.toml:")
