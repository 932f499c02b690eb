"""home.toml: the reader that gives a `HomeConfig` and refuses anything that it does not know.

Goes in: the file (an empty one is a home with the six devices of the reference home). Comes out:
`home_config.HomeConfig`, frozen. Raises InputError `FILE:LINE: what is wrong, what is right` for an
unknown key, a missing one, a bad value.
The commented example that `smets1 init` writes is `home_template.toml`; a test reads it with this.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from smets1.errors import DecodeError, InputError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.crypto.mmo import parse_install_code
from smets1.hardware.clock import MAX_SPEED
from smets1.headend.duis.codes import UserRole
from smets1.tools.fault_file import read_faults
from smets1.tools.home_config import (
    DEFAULT_ROLES,
    DEFAULT_START,
    DEFAULT_TARIFFS,
    ONE_ONLY,
    PENNY_MP,
    POUND_MP,
    SIMULATED,
    DeviceConfig,
    Fuel,
    HanConfig,
    HeadEndConfig,
    HomeConfig,
    LoadConfig,
    LoadKind,
    PaymentMode,
    PrepaymentConfig,
    RadioKind,
    RadioSpec,
    Role,
    Signatures,
    TariffConfig,
    UserConfig,
    WanConfig,
    WanKind,
    default_device,
)
from smets1.tools.toml_reader import Table, judge, optional, parse_toml, read_eui64, read_toml

__all__ = [
    "check_http",
    "default_home",
    "hex_text",
    "home_of",
    "is_loopback",
    "parse_address",
    "parse_home",
    "parse_radio",
    "parse_speed",
    "read_home",
    "require_start",
]


def default_home() -> HomeConfig:
    """The reference home: what an empty file gives."""
    return parse_home("", Path("home.toml"))


def read_home(path: Path) -> HomeConfig:
    """Raises InputError (one line: file, line, what to do)."""
    return _whole_home(read_toml(path), path)


def parse_home(text: str, path: Path) -> HomeConfig:
    """As `read_home`, from text; `path` is what errors name and what relative paths start from."""
    return _whole_home(parse_toml(text, path), path)


def _whole_home(root: Table, path: Path) -> HomeConfig:
    home = home_of(root, path)
    root.done()
    return home


def home_of(root: Table, path: Path) -> HomeConfig:
    """What a file says of a home; who knows more keys asks for them, then calls `root.done()`."""
    devices = _devices(root)
    return HomeConfig(
        file=path,
        seed=root.integer("seed", 1, low=0, high=2**63 - 1),
        start=_start(root),
        speed=_speed(root),
        devices=devices,
        loads=_loads(root, devices),
        wan=_wan(root.table("wan")),
        headend=_headend(root.table("headend")),
        faults=read_faults(root.table("faults"), {device.eui64 for device in devices}),
        han=_han(root.table("han")),
        tariffs=_tariffs(root.table("tariff")),
        prepayment=_prepayment(root.table("prepayment")),
        nvm_dir=_nvm(root.table("nvm")),
    )


def _start(root: Table) -> datetime:
    start = root.instant("start", DEFAULT_START)
    try:
        return require_start(start)
    except InputError as error:
        root.refuse("start", f"start = {error}")


def require_start(start: datetime) -> datetime:
    """`start`, where a home can begin. Raises InputError.

    ZigBee's UTCTime is 32 bits of seconds since 2000, and ends in 2136: the last decades are for long runs.
    """
    if not 2000 <= start.year <= 2099:
        text = start.isoformat().replace("+00:00", "Z")
        raise InputError(f"{text} is out of range: 2000 to 2099 (ZigBee counts time from 2000)")
    return start


def _speed(root: Table) -> float:
    text = root.text("speed") if root.is_text("speed") else str(root.number("speed", 1, low=0, high=10**6))
    return judge(root, "speed", parse_speed, text)


def parse_speed(text: str) -> float:
    """'max' or a number above 0. Raises InputError."""
    if text == "max":
        return MAX_SPEED
    try:
        speed = float(text)
    except ValueError:
        speed = 0
    if not 0 < speed <= 1e6:
        raise InputError(f'{text!r} is not a speed: a number above 0, at most 1000000, as 60, or "max"')
    return speed


def _devices(root: Table) -> tuple[DeviceConfig, ...]:
    if not root.has("device"):
        root.tables("device")
        return tuple(default_device(role) for role in DEFAULT_ROLES)
    devices: list[DeviceConfig] = []
    for table in root.tables("device"):
        device = _device(table)
        for other in devices:
            if other.eui64 == device.eui64:
                table.refuse("eui64", f"{format_eui64(device.eui64)} is the device of line {other.line} too")
            if other.role is device.role and device.role in ONE_ONLY:
                table.refuse("role", f"a home has one {device.role.value}; there is one at line {other.line}")
        devices.append(device)
    return tuple(devices)


def _device(table: Table) -> DeviceConfig:
    role = table.choice("role", Role)
    base = default_device(role, optional(table, "eui64", lambda key: read_eui64(table, key)))
    device = replace(
        base,
        radio=judge(table, "radio", parse_radio, table.text("radio", "air:")),
        manufacturer=hex_text(table, "manufacturer", base.manufacturer, digits=4),
        model=_short(table, "model", base.model, longest=30),
        firmware=hex_text(table, "firmware", base.firmware, digits=8),
        install_code=_install_code(table, base.install_code),
        runs_here=table.boolean("runs_here", True),
        mpxn=_metering_point(table, role, base.mpxn),
        clock_drift_ppm=table.integer("clock_drift_ppm", 0, low=-1000, high=1000),
        engineering_pin=_engineering_pin(table, role),
        mqtt=_household_broker(table, role),
        line=table.line(),
    )
    table.done()
    return device


def _metering_point(table: Table, role: Role, default: str) -> str:
    """The MPAN of an electricity meter, the MPRN of a gas meter."""
    form = {
        Role.ESME: ("mpan", r"[0-9]{13}", "13 digits"),
        Role.GSME: ("mprn", r"[0-9]{1,10}", "1 to 10 digits"),
    }
    number = default
    for own, (key, pattern, words) in form.items():
        if not table.has(key):
            table.know(key)
            continue
        number = table.text(key)
        if own is not role:
            table.refuse(key, f"{key} is of a meter ({own.value}), and this is a {role.value}")
        if number and not re.fullmatch(pattern, number):
            table.refuse(key, f"{key} must be {words} in quotes, or empty")
    return number


def _household_broker(table: Table, role: Role) -> WanConfig:
    """Where a CAD republishes."""
    if not table.has("mqtt"):
        table.know("mqtt")
        return WanConfig()
    if role is not Role.CAD:
        table.refuse("mqtt", f"only a cad republishes over MQTT, and this is a {role.value}")
    kind, host, port, is_tls = judge(table, "mqtt", _parse_wan, table.text("mqtt"))
    if is_tls:
        table.refuse("mqtt", 'mqtt: no TLS to the broker of the household: write "mqtt://HOST:1883"')
    return WanConfig(kind=kind, host=host, port=port)


def _engineering_pin(table: Table, role: Role) -> str:
    if not table.has("engineering_pin"):
        table.know("engineering_pin")
        return ""
    pin = table.text("engineering_pin")
    if role not in (Role.ESME, Role.GSME):
        table.refuse("engineering_pin", f"only meters have an engineering menu, and this is a {role.value}")
    if not (4 <= len(pin) <= 8 and pin.isascii() and pin.isdecimal()):
        table.refuse("engineering_pin", "engineering_pin must be 4 to 8 digits in quotes")
    return pin


def parse_radio(text: str) -> RadioSpec:
    """The text of a radio. Raises InputError."""
    kind, colon, port = text.partition(":")
    kinds = [known.value for known in RadioKind]
    if not colon or kind not in kinds:
        known = "air:, rcp:/dev/ttyACM0, ezsp:/dev/ttyUSB0 or air+rcp:/dev/ttyACM0"
        raise InputError(f"{text!r} is no radio: write {known}")
    if (kind == RadioKind.AIR) == bool(port):
        example = "air:" if kind == RadioKind.AIR else f"{kind}:/dev/ttyUSB0"
        raise InputError(f"{text!r} is no radio: write {example}")
    spec = RadioSpec(kind=RadioKind(kind), port=port)
    if spec.kind is RadioKind.BRIDGE and spec.is_simulated:
        raise InputError(f"{text!r} is no radio: a simulated stick is on the simulated air already")
    if spec.is_simulated and port not in _SIMULATED_PORTS[spec.kind]:
        known = " or ".join(f"{kind}:{each}" for each in _SIMULATED_PORTS[spec.kind])
        raise InputError(f"{text!r} is no radio: write {known}")
    return spec


def hex_text(table: Table, key: str, default: str, *, digits: int) -> str:
    """So many hex digits, as upper case. Raises InputError."""
    text = table.text(key, default)
    if len(text) != digits or not all(char in "0123456789abcdefABCDEF" for char in text):
        table.refuse(key, f"{key} = {text!r} must be {digits} hex digits in quotes, as {default!r}")
    return text.upper()


def _short(table: Table, key: str, default: str, *, longest: int) -> str:
    text = table.text(key, default)
    if not 0 < len(text) <= longest or not text.isprintable():
        table.refuse(key, f"{key} must have 1 to {longest} printable characters")
    return text


def _install_code(table: Table, default: bytes) -> bytes:
    text = table.text("install_code", "")
    if not text:
        return default
    try:
        octets = bytes.fromhex(text.replace("-", " ").replace(":", " "))
        parse_install_code(octets)
    except ValueError:
        table.refuse("install_code", "install_code must be hex digits, as printed on the label, CRC included")
    except DecodeError as error:
        table.refuse("install_code", f"install_code: {error.reason}")
    return octets


def _loads(root: Table, devices: Iterable[DeviceConfig]) -> tuple[LoadConfig, ...]:
    meters = {Role.ESME: Fuel.ELECTRICITY, Role.GSME: Fuel.GAS}
    fuels = {device.eui64: meters[device.role] for device in devices if device.role in meters}
    loads: list[LoadConfig] = []
    for table in root.tables("load"):
        load = _load(table, fuels)
        for other in loads:
            if (other.fuel, other.device, other.is_export) == (load.fuel, load.device, load.is_export):
                table.refuse(
                    None, f"a second [[load]] for {load.fuel.value}; the first is at line {other.line}"
                )
        loads.append(load)
    covered = {load.fuel for load in loads if not load.is_export}
    present = [fuel for fuel in Fuel if fuel in fuels.values()]
    return (*loads, *(LoadConfig(fuel=fuel) for fuel in present if fuel not in covered))


def _load(table: Table, fuels: dict[Eui64, Fuel]) -> LoadConfig:
    fuel = table.choice("fuel", Fuel)
    kind = table.choice("kind", LoadKind, LoadKind.PROFILE)
    device = optional(table, "device", lambda key: read_eui64(table, key))
    if device is not None and fuels.get(device) is not fuel:
        table.refuse("device", f"{format_eui64(device)} is no {fuel.value} meter of this home")
    is_export = table.boolean("export", False)
    if is_export and (fuel is Fuel.GAS or kind is LoadKind.PROFILE):
        table.refuse("export", "export: what a home gives back is electricity, constant or from a csv")
    load = LoadConfig(fuel=fuel, kind=kind, is_export=is_export, device=device, line=table.line())
    if kind is LoadKind.CONSTANT:
        load = replace(load, watts=table.integer("watts", low=0, high=200_000))
    elif kind is LoadKind.PROFILE:
        load = replace(load, percent=table.integer("percent", 100, low=1, high=10_000))
    else:
        table.text("file")  # must be there
        load = replace(load, file=table.file("file"), home=table.text("home", "") or None)
        load = replace(load, first_day=optional(table, "first_day", lambda key: _day(table, key)))
    table.done()
    return load


def _day(table: Table, key: str) -> date:
    text = table.text(key)
    try:
        return date.fromisoformat(text)
    except ValueError:
        table.refuse(key, f'{key} = {text!r} is not a date: write it in quotes, as "2023-01-16"')


def _wan(table: Table) -> WanConfig:
    kind, host, port, is_tls = judge(table, "link", _parse_wan, table.text("link", "memory:"))
    wan = WanConfig(
        kind=kind,
        host=host,
        port=port,
        is_tls=is_tls,
        ca_file=table.file("ca_file"),
        certificate_file=table.file("certificate_file"),
        key_file=table.file("key_file"),
        latency_us=table.scaled("latency_ms", 50, unit=1000, low=0, high=600_000),
    )
    if (wan.certificate_file is None) != (wan.key_file is None):
        table.refuse(None, "certificate_file and key_file go together: write both or neither")
    for key in ("ca_file", "certificate_file"):
        if table.has(key) and not is_tls:
            table.refuse(key, f'{key} is for TLS only: write link = "mqtts://HOST:8883"')
    if table.has("latency_ms") and kind is not WanKind.MEMORY:
        table.refuse("latency_ms", 'latency_ms is for link = "memory:" only')
    table.done()
    return wan


def _parse_wan(text: str) -> tuple[WanKind, str, int, bool]:
    """A link spec -> kind, host, port, TLS. Raises InputError."""
    if text == "memory:":
        return WanKind.MEMORY, "", 0, False
    if text == "mqtt:embedded":
        return WanKind.EMBEDDED, "127.0.0.1", 0, False
    how = "write memory:, mqtt:embedded, mqtt://HOST:1883 or mqtts://HOST:8883"
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise InputError(f"{text!r} is no WAN link: {how}") from None
    if url.scheme not in ("mqtt", "mqtts") or not host or url.path or url.query or url.username is not None:
        raise InputError(f"{text!r} is no WAN link: {how}")
    is_tls = url.scheme == "mqtts"
    return WanKind.MQTT, host, port or (8883 if is_tls else 1883), is_tls


def _headend(table: Table) -> HeadEndConfig:
    host, port = judge(table, "http", parse_address, table.text("http", "127.0.0.1:8079"))
    users = tuple(_user(user) for user in table.tables("user"))
    headend = HeadEndConfig(
        runs_here=table.boolean("runs_here", True),
        signatures=table.choice("signatures", Signatures, Signatures.OFF),
        http_host=host,
        http_port=port,
        token=table.text("token", ""),
        users=users,
        database=table.text("database", ""),
        schema_dir=table.directory("schema_dir"),
    )
    try:
        check_http(headend)
    except InputError as error:
        table.refuse("http", str(error))
    table.done()
    return headend


def check_http(headend: HeadEndConfig) -> None:
    """Off loopback, signatures and a token are demanded. Raises InputError. Call it again after --http."""
    if is_loopback(headend.http_host):
        return
    where = f"http on {headend.http_host}, which is not loopback,"
    if headend.signatures is not Signatures.REQUIRE:
        raise InputError(f'{where} demands signatures = "require" in [headend]')
    if not headend.token:
        raise InputError(f'{where} demands token = "…" in [headend], which clients then send')


def is_loopback(host: str) -> bool:
    """127.0.0.0/8, ::1 and localhost; a name that we would have to look up is not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_address(text: str) -> tuple[str, int]:
    """'127.0.0.1:8079', '[::1]:8079' or ':8079' (loopback) -> host, port (0: any free one).

    Raises InputError.
    """
    try:
        url = urlsplit(f"//{text}")
        is_whole = url.netloc == text and url.username is None
        host, port = url.hostname, url.port
    except ValueError:
        is_whole, host, port = False, None, None
    if not is_whole or port is None:
        raise InputError(f"{text!r} is no address: write HOST:PORT, as 127.0.0.1:8079")
    return host or "127.0.0.1", port


def _user(table: Table) -> UserConfig:
    roles: list[UserRole] = []
    for text in table.texts("roles"):
        if text not in UserRole.__members__:
            table.refuse("roles", f"{text!r} is no user role: {', '.join(UserRole.__members__)}")
        roles.append(UserRole(text))
    callback = table.text("callback", "") or None
    if callback is not None and urlsplit(callback).scheme not in ("http", "https"):
        table.refuse("callback", f"callback = {callback!r} must be an http:// or https:// address")
    user = UserConfig(
        eui64=read_eui64(table, "eui64"),
        name=table.text("name", "user"),
        roles=tuple(roles),
        callback=callback,
        certificate_file=table.file("certificate_file"),
    )
    table.done()
    return user


def _han(table: Table) -> HanConfig:
    han = HanConfig(
        channel=optional(table, "channel", lambda key: table.integer(key, low=11, high=26)),
        report_interval_us=table.integer("report_interval_s", 30, low=1, high=86_400) * 1_000_000,
        gas_wake_us=table.integer("gas_wake_s", 1800, low=5, high=86_400) * 1_000_000,
        cbke_suite=table.integer("suite", 1, low=1, high=2),
    )
    table.done()
    return han


def _tariffs(table: Table) -> dict[Fuel, TariffConfig]:
    tariffs: dict[Fuel, TariffConfig] = {}
    for fuel in Fuel:
        part = table.table(fuel.value)
        base = DEFAULT_TARIFFS[fuel]
        rate = _pence(part, "unit_rate_pence", base.unit_rate_mp_per_kwh)
        standing = _pence(part, "standing_charge_pence", base.standing_charge_mp_per_day)
        tariffs[fuel] = TariffConfig(unit_rate_mp_per_kwh=rate, standing_charge_mp_per_day=standing)
        part.done()
    table.done()
    return tariffs


def _pence(table: Table, key: str, default_mp: int) -> int:
    if not table.has(key):
        table.know(key)
        return default_mp
    return table.scaled(key, unit=PENNY_MP, low=0, high=100_000)


_SIMULATED_PORTS: Final[dict[RadioKind, tuple[str, ...]]] = {
    RadioKind.RCP: (SIMULATED,),
    RadioKind.EZSP: (SIMULATED, f"{SIMULATED}@13", f"{SIMULATED}@14"),
}
_POUNDS: Final = {  # key in the file -> field; the meter holds int32 in 1/1000 pence
    "balance_pounds": "balance_mp",
    "emergency_credit_limit_pounds": "emergency_credit_limit_mp",
    "emergency_credit_threshold_pounds": "emergency_credit_threshold_mp",
    "low_credit_threshold_pounds": "low_credit_threshold_mp",
    "disablement_threshold_pounds": "disablement_threshold_mp",
    "max_meter_balance_pounds": "max_meter_balance_mp",
    "max_credit_threshold_pounds": "max_credit_threshold_mp",
}


def _prepayment(table: Table) -> dict[Fuel, PrepaymentConfig]:
    """Keys of [prepayment] hold for both fuels; those of [prepayment.gas] and .electricity for one."""
    common = _prepayment_keys(table, PrepaymentConfig())
    fuels: dict[Fuel, PrepaymentConfig] = {}
    for fuel in Fuel:
        part = table.table(fuel.value)
        fuels[fuel] = _prepayment_keys(part, common)
        part.done()
    table.done()
    return fuels


def _prepayment_keys(table: Table, base: PrepaymentConfig) -> PrepaymentConfig:
    pounds: dict[str, int] = {}
    for key, name in _POUNDS.items():
        table.know(key)
        if table.has(key):
            pounds[name] = table.scaled(key, unit=POUND_MP, low=-21_474, high=21_474)
    return replace(base, mode=table.choice("mode", PaymentMode, base.mode), **pounds)


def _nvm(table: Table) -> Path | None:
    name = table.text("directory", "")
    table.done()
    return table.folder / Path(name).expanduser() if name else None
