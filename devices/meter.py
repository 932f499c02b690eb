"""The meters, by one name: see `meter_core` for what both fuels share."""

from __future__ import annotations

from smets1.devices.billing import BillingSnapshot, SnapshotCause
from smets1.devices.electricity_meter import ElectricityMeterCore
from smets1.devices.gas_meter import GasMeterCore
from smets1.devices.meter_core import MeterCore

__all__ = ["BillingSnapshot", "ElectricityMeterCore", "GasMeterCore", "MeterCore", "SnapshotCause"]
