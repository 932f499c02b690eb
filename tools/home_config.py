"""What a home is made of, as typed, frozen values, and the defaults of the reference home.

`home_file.py` reads them from home.toml. Money is in 1/1000 pence (`_mp`), prices in 1/1000 pence for
a kWh or a day, times in microseconds. What an unpublished detail decides (model names, install codes)
is listed in docs/assumptions.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum, unique
from pathlib import Path
from typing import Final

from smets1.eui64 import Eui64
from smets1.firmware.crypto.mmo import format_install_code
from smets1.hardware.air.fault_plan import PlanRow
from smets1.hardware.air.faults import LinkFault
from smets1.headend.duis.codes import UserRole

__all__ = [
    "DEFAULT_ROLES",
    "DEFAULT_START",
    "DEFAULT_TARIFFS",
    "ONE_ONLY",
    "PENNY_MP",
    "POUND_MP",
    "SIMULATED",
    "DeviceConfig",
    "FaultsConfig",
    "Fuel",
    "HanConfig",
    "HeadEndConfig",
    "HomeConfig",
    "LoadConfig",
    "LoadKind",
    "PaymentMode",
    "PrepaymentConfig",
    "RadioKind",
    "RadioSpec",
    "Role",
    "Signatures",
    "TariffConfig",
    "UserConfig",
    "WanConfig",
    "WanKind",
    "default_device",
    "trial_install_code",
]

POUND_MP: Final = 100_000
PENNY_MP: Final = 1_000


@unique
class Role(StrEnum):
    CHF = "chf"
    GPF = "gpf"
    ESME = "esme"
    GSME = "gsme"
    PPMID = "ppmid"
    IHD = "ihd"
    CAD = "cad"


@unique
class RadioKind(StrEnum):
    AIR = "air"
    RCP = "rcp"
    BRIDGE = "air+rcp"  # on the air and on a stick at once
    EZSP = "ezsp"


@unique
class Fuel(StrEnum):
    ELECTRICITY = "electricity"
    GAS = "gas"


@unique
class LoadKind(StrEnum):
    CONSTANT = "constant"
    PROFILE = "profile"
    CSV = "csv"


@unique
class WanKind(StrEnum):
    MEMORY = "memory"
    MQTT = "mqtt"
    EMBEDDED = "embedded"  # MQTT through the amqtt broker that this process starts


@unique
class Signatures(StrEnum):
    REQUIRE = "require"
    OFF = "off"


@unique
class PaymentMode(StrEnum):
    CREDIT = "credit"
    PREPAYMENT = "prepayment"


SIMULATED: Final = "simulated"
"""The port of a stick that is not there."""


# --- what a home file says -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioSpec:
    """`air:`, `rcp:/dev/ttyACM0`, `ezsp:/dev/ttyUSB0`, `rcp:simulated`, `ezsp:simulated@14`."""

    kind: RadioKind = RadioKind.AIR
    port: str = ""  # empty for the air

    @property
    def is_simulated(self) -> bool:
        """A stick that the home itself makes, on its own air."""
        return self.port.partition("@")[0] == SIMULATED

    @property
    def ezsp_version(self) -> int:
        """That a simulated stick speaks."""
        return int(self.port.partition("@")[2] or 13)

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WanConfig:
    kind: WanKind = WanKind.MEMORY
    host: str = ""
    port: int = 1883
    is_tls: bool = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    latency_us: int = 50_000  # memory only: one way


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    role: Role
    eui64: Eui64
    radio: RadioSpec = RadioSpec()
    manufacturer: str  # 4 hex digits, as in the inventory of DUIS
    model: str  # 30 characters at most
    firmware: str  # 8 hex digits, as 11.2 returns it
    install_code: bytes = field(repr=False)  # with its CRC: 8, 10, 14 or 18 octets
    runs_here: bool = True  # False: a real device, or one that another process runs; the hub admits it
    mpxn: str = ""  # of a meter: its MPAN (13 digits) or MPRN (1 to 10); empty: of none
    clock_drift_ppm: int = 0  # how many parts in a million its crystal is too fast
    mqtt: WanConfig = WanConfig()  # of a CAD: the broker of the household
    engineering_pin: str = field(default="", repr=False)  # of a meter; empty: one made from the seed
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadConfig:
    fuel: Fuel
    kind: LoadKind = LoadKind.PROFILE
    is_export: bool = False  # what the home gives back (electricity)
    device: Eui64 | None = None  # None: the home's meter of that fuel
    watts: int = 0  # constant: power drawn, for gas the heat of the gas burnt
    percent: int = 100  # profile: 100 is a typical GB home
    file: Path | None = None  # csv
    home: str | None = None  # csv of several homes: the value of LCLid
    first_day: date | None = None  # csv: the file's day that is the home's first; None: the same date
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserConfig:
    """A DCC user whom the head end knows; `callback` is where responses and alerts are POSTed."""

    eui64: Eui64
    name: str
    roles: tuple[UserRole, ...]
    callback: str | None = None
    certificate_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadEndConfig:
    runs_here: bool = True
    signatures: Signatures = Signatures.OFF
    http_host: str = "127.0.0.1"
    http_port: int = 8079  # 0: any free one
    token: str = field(default="", repr=False)  # asked of HTTP clients; a must on other than loopback
    users: tuple[UserConfig, ...] = ()  # empty: those of the reference requests, headend/users.py
    database: str = ""  # SQLAlchemy URL; empty: a file beside the NVM, or memory where there is none
    schema_dir: Path | None = None  # the user's own copy of the DUIS schemas


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultsConfig:
    """What `Faults` of the air is set to at the start; a link is (sender, receiver), one direction."""

    every_link: LinkFault = field(default_factory=LinkFault)
    nodes: tuple[tuple[Eui64, LinkFault], ...] = ()
    links: tuple[tuple[Eui64, Eui64, LinkFault], ...] = ()
    positions_m: tuple[tuple[Eui64, tuple[float, float]], ...] = ()
    plan: tuple[PlanRow, ...] = ()  # its times count from the home's start, or from when it was set


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffConfig:
    unit_rate_mp_per_kwh: int
    standing_charge_mp_per_day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepaymentConfig:
    """Defaults have the magnitudes of DCC's reference test data set, but for the opening balance."""

    mode: PaymentMode = PaymentMode.PREPAYMENT
    balance_mp: int = 20 * POUND_MP
    emergency_credit_limit_mp: int = 300_000
    emergency_credit_threshold_mp: int = 100_000
    low_credit_threshold_mp: int = 200_000
    disablement_threshold_mp: int = 0
    max_meter_balance_mp: int = 5_000_000
    max_credit_threshold_mp: int = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HanConfig:
    channel: int | None = None  # 11..26; None: chosen by scan
    report_interval_us: int = 30_000_000  # how often meters report to the displays
    gas_wake_us: int = 1_800_000_000  # how often the gas meter wakes
    cbke_suite: int = 1  # 1 or 2: certificates and curve of key establishment


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeConfig:
    """A whole home file."""

    file: Path | None
    seed: int
    start: datetime  # UTC
    speed: float  # MAX_SPEED for "max"
    devices: tuple[DeviceConfig, ...]
    loads: tuple[LoadConfig, ...]
    wan: WanConfig
    headend: HeadEndConfig
    faults: FaultsConfig
    han: HanConfig
    tariffs: dict[Fuel, TariffConfig]
    prepayment: dict[Fuel, PrepaymentConfig]
    nvm_dir: Path | None  # None: in memory, forgotten at the end

    def device(self, role: Role) -> DeviceConfig | None:
        """The first device of a role."""
        return next((device for device in self.devices if device.role is role), None)

    def of_role(self, role: Role) -> tuple[DeviceConfig, ...]:
        return tuple(device for device in self.devices if device.role is role)


# --- defaults --------------------------------------------------------------------------------------

# The targets of the reference requests. The model names are an assumption (docs/assumptions.md).
_REFERENCE: Final = 0x00DB1234567890A0
_DEFAULTS: Final[dict[Role, tuple[int, str]]] = {
    Role.ESME: (0, "Liberty 100"),
    Role.GSME: (1, "Liberty Gas"),
    Role.CHF: (2, "Skyline-i 510"),
    Role.GPF: (3, "Skyline-i 510"),
    Role.PPMID: (4, "Pipit 500 PPMID"),
    Role.IHD: (5, "Pipit 500"),
    Role.CAD: (7, "CAD"),  # 6 is an auxiliary-load device in the reference requests, not SMETS1
}
ONE_ONLY: Final = (Role.CHF, Role.GPF)
DEFAULT_ROLES: Final = (Role.ESME, Role.GSME, Role.CHF, Role.GPF, Role.PPMID, Role.IHD)
DEFAULT_START: Final = datetime(2023, 1, 16, tzinfo=UTC)  # a Monday in winter
DEFAULT_TARIFFS: Final = {
    Fuel.ELECTRICITY: TariffConfig(unit_rate_mp_per_kwh=34_000, standing_charge_mp_per_day=46_000),
    Fuel.GAS: TariffConfig(unit_rate_mp_per_kwh=10_300, standing_charge_mp_per_day=28_000),
}


def trial_install_code(eui64: Eui64) -> bytes:
    """A 16-octet code with its CRC, the same for a device each time. For trials: whoever knows
    the EUI-64 knows it."""
    digest = hashlib.sha256(b"smets1 trial install code" + eui64.to_bytes(8, "big")).digest()
    return format_install_code(digest[:16])


# Metering points of the reference home: those that DCC's reference requests name.
_POINTS: Final = {_REFERENCE: "1312345678111", _REFERENCE + 1: "1000999888"}


def default_device(role: Role, eui64: Eui64 | None = None) -> DeviceConfig:
    index, model = _DEFAULTS[role]
    address = _REFERENCE + index if eui64 is None else eui64
    return DeviceConfig(
        role=role,
        eui64=address,
        manufacturer="1057",
        model=model,
        firmware="00000001",
        install_code=trial_install_code(address),
        mpxn=_POINTS.get(address, ""),
    )
