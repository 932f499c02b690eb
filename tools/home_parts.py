"""The parts of a home, made from its file: loads, meters, factory data."""

from __future__ import annotations

from typing import Final

from smets1.devices.load import ConstantLoad, GasFlow, Household, Load, SumLoad
from smets1.devices.load_csv import read_csv_load
from smets1.devices.load_profile import GbProfileLoad
from smets1.devices.meter import ElectricityMeterCore, GasMeterCore
from smets1.devices.prepayment import PaymentMode
from smets1.devices.prepayment import PrepaymentConfig as MeterPrepayment
from smets1.devices.tariff import Tariff
from smets1.devices.tokens import TopUpDesk
from smets1.errors import InputError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import from_datetime
from smets1.firmware.crypto.cbke import TestCa
from smets1.firmware.crypto.mmo import install_code_key
from smets1.firmware.device import Factory
from smets1.firmware.seed import SeedTree
from smets1.tools.home_config import DeviceConfig, Fuel, HomeConfig, LoadConfig, LoadKind, Role
from smets1.tools.trial_keys import prepayment_key

__all__ = ["DEVICE_TYPES", "SUPPLIER", "electricity_meter", "factory", "gas_meter", "top_up_desk"]

SUPPLIER: Final = 0x90B3D51F30010000
"""Whose top-up tokens the meters take: the originator of DCC's reference requests."""

# GBCS device type codes. Source: GBCS, table "Device type"; as CHF device logs carry them.
DEVICE_TYPES: Final = {
    Role.GSME: 0,
    Role.ESME: 1,
    Role.CHF: 2,
    Role.GPF: 3,
    Role.IHD: 6,
    Role.PPMID: 7,
    Role.CAD: 8,
}


def factory(config: HomeConfig, device: DeviceConfig, ca: TestCa) -> Factory:
    """What a device has in it when it leaves the factory; the seed makes its keys."""
    seeds = SeedTree(config.seed)
    return Factory(
        eui64=device.eui64,
        model=device.model,
        manufacturer=device.manufacturer,
        firmware_version=int(device.firmware, 16),
        device_type=DEVICE_TYPES[device.role],
        install_key=install_code_key(device.install_code),
        identity=ca.issue(device.eui64, rng=seeds.random("certificate", format_eui64(device.eui64))),
    )


def _load(config: HomeConfig, load: LoadConfig) -> Load:
    start_utc_us = from_datetime(config.start)
    if load.kind is LoadKind.CONSTANT:
        return ConstantLoad(watts=load.watts, start_utc_us=start_utc_us)
    if load.kind is LoadKind.PROFILE:
        rng = SeedTree(config.seed).random("load", load.fuel)
        return GbProfileLoad(rng=rng, start_utc_us=start_utc_us, fuel=load.fuel, percent=load.percent)
    if load.file is None:
        raise InputError(f"{config.file}:{load.line}: a csv load needs a file")
    csv = read_csv_load(load.file, fuel="export" if load.is_export else load.fuel, home=load.home)
    return csv.rebased(start_utc_us, file_date=load.first_day)


def _loads(config: HomeConfig, fuel: Fuel, device: Eui64) -> Load:
    """All loads of a meter together; a file that names none has the built-in profile."""
    loads = _named(config, fuel, device, is_export=False) or [_load(config, LoadConfig(fuel=fuel))]
    return loads[0] if len(loads) == 1 else SumLoad(loads=tuple(loads))


def _named(config: HomeConfig, fuel: Fuel, device: Eui64, *, is_export: bool) -> list[Load]:
    return [
        _load(config, load)
        for load in config.loads
        if (load.fuel, load.is_export) == (fuel, is_export) and load.device in (None, device)
    ]


def _export(config: HomeConfig, device: Eui64) -> Load | None:
    loads = _named(config, Fuel.ELECTRICITY, device, is_export=True)
    return SumLoad(loads=tuple(loads)) if loads else None


def _tariff(config: HomeConfig, fuel: Fuel) -> Tariff:
    tariff = config.tariffs[fuel]
    return Tariff.flat(
        price_mp_per_kwh=tariff.unit_rate_mp_per_kwh,
        standing_charge_mp=tariff.standing_charge_mp_per_day,
    )


def _prepayment(config: HomeConfig, fuel: Fuel) -> MeterPrepayment:
    chosen = config.prepayment[fuel]
    return MeterPrepayment(
        low_credit_threshold_mp=chosen.low_credit_threshold_mp,
        emergency_credit_limit_mp=chosen.emergency_credit_limit_mp,
        emergency_credit_threshold_mp=chosen.emergency_credit_threshold_mp,
        disablement_threshold_mp=chosen.disablement_threshold_mp,
        max_meter_balance_mp=chosen.max_meter_balance_mp,
        max_credit_threshold_mp=chosen.max_credit_threshold_mp,
    )


def _mode(config: HomeConfig, fuel: Fuel) -> PaymentMode:
    return PaymentMode[config.prepayment[fuel].mode.name]


def electricity_meter(config: HomeConfig, device: DeviceConfig) -> ElectricityMeterCore:
    return ElectricityMeterCore(
        load=Household(_loads(config, Fuel.ELECTRICITY, device.eui64)),
        export=_export(config, device.eui64),
        voltage_rng=SeedTree(config.seed).random("street"),
        now_us=from_datetime(config.start),
        tariff=_tariff(config, Fuel.ELECTRICITY),
        prepayment=_prepayment(config, Fuel.ELECTRICITY),
        mode=_mode(config, Fuel.ELECTRICITY),
        balance_mp=config.prepayment[Fuel.ELECTRICITY].balance_mp,
    )


def gas_meter(config: HomeConfig, device: DeviceConfig) -> GasMeterCore:
    return GasMeterCore(
        flow=GasFlow(load=Household(_loads(config, Fuel.GAS, device.eui64))),
        now_us=from_datetime(config.start),
        tariff=_tariff(config, Fuel.GAS),
        prepayment=_prepayment(config, Fuel.GAS),
        mode=_mode(config, Fuel.GAS),
        balance_mp=config.prepayment[Fuel.GAS].balance_mp,
    )


def top_up_desk(config: HomeConfig, device: DeviceConfig) -> TopUpDesk:
    """`prepayment_key` is a trial key; the supplier of the reference requests is whose tokens count."""
    key = prepayment_key(config.seed, device.eui64)
    return TopUpDesk(key=key, originator=SUPPLIER, target=device.eui64)
