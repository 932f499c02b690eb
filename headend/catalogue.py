"""The 129 service reference variants: what each is, and who may ask for it.

72 of them can be used with SMETS1 devices; the other 51 of DUIS 3 are refused with DCC alert N60; six came
later. Facts compiled from the DUIS service tables and the SMETS1 migration guide (table 3 of which
counts the variants by user role).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from functools import cached_property
from typing import Final

from smets1.headend.duis.codes import CommandVariant, UserRole

__all__ = ["CATALOGUE", "FutureDating", "ServiceVariant", "Smets1Support", "find_variant", "is_nameable"]


@unique
class Smets1Support(StrEnum):
    """Whether a variant can be used with a SMETS1 device."""

    YES = "yes"
    NO = "no"
    AFTER_DUIS_3 = "after DUIS 3"  # did not exist when SMETS1 support was defined


@unique
class FutureDating(StrEnum):
    """Who waits for the execution date of a future-dated request."""

    NO = "No"
    DSP = "DSP"
    DEVICE = "Device"
    DSP_AND_DEVICE = "DSP & Device"


@dataclass(frozen=True, kw_only=True)
class ServiceVariant:
    """One service reference variant (SRV). No slots: the derived set of variants is cached."""

    srv: str  # as "4.1.1"
    service_reference: str  # as "4.1"
    name: str
    smets1: Smets1Support
    critical: bool
    on_demand: bool
    future_dated: FutureDating
    dcc_scheduled: bool
    non_device: bool  # answered by the DSP; nothing goes to a device
    roles: tuple[UserRole, ...]

    @cached_property
    def command_variants(self) -> frozenset[CommandVariant]:
        """Those that SMETS1 can honour. **Assumption**: a critical request may also come as CV 1."""
        if self.non_device:
            return frozenset({CommandVariant.NON_DEVICE})
        if self.critical:
            return frozenset(
                {CommandVariant.NON_CRITICAL, CommandVariant.TRANSFORM, CommandVariant.SIGNED_PRE_COMMAND}
            )
        return frozenset({CommandVariant.NON_CRITICAL})


# variant | S: SMETS1, L: after DUIS 3; C: critical; O: on demand; d/m/b: future-dated at the DSP, the meter,
# both; R: repeated by a DCC schedule; N: non-device | eligible user roles | name
_TABLE: Final = """
1.1.1|SCOm--|IS GS|Update Import Tariff (Primary Element)
1.1.2|-COm--|IS|Update Import Tariff (Secondary Element)
1.2.1|SCOm--|IS GS|Update Price (Primary Element)
1.2.2|-COm--|IS|Update Price (Secondary Element)
1.5|SCO---|IS GS|Update Meter Balance
1.6|SCOm--|IS GS|Update Payment Mode
1.7|-CO---|IS|Reset Tariff Block Counter Matrix
2.1|SCOm--|IS GS|Update Prepay Configuration
2.2|S-O---|IS GS|Top Up Device
2.3|SCO---|IS GS|Update Debt
2.5|SCO---|IS GS|Activate Emergency Credit
3.1|--Od--|IS GS|Display Message
3.2|S-Od--|IS GS|Restrict Access For Change Of Tenancy
3.3|S-O---|IS GS|Clear Event Log
3.4|--Od--|IS GS|Update Supplier Name
3.5|--O---|IS GS|Disable Privacy PIN
4.1.1|S-Od--|IS GS ED GT|Read Instantaneous Import Registers
4.1.2|S-Od--|IS GS ED GT|Read Instantaneous Import TOU Matrices
4.1.3|S-Od--|IS ED|Read Instantaneous Import TOU With Blocks Matrices
4.1.4|S-Od--|GS|Read Instantaneous Import Block Counters
4.2|S-Od--|ES ED|Read Instantaneous Export Registers
4.3|S-Od--|IS GS|Read Instantaneous Prepay Values
4.4.2|S-Od--|IS GS|Retrieve Change Of Mode / Tariff Triggered Billing Data Log
4.4.3|S-Od--|IS GS|Retrieve Billing Calendar Triggered Billing Data Log
4.4.4|S-Od--|GS IS|Retrieve Billing Data Log (Payment Based Debt Payments)
4.4.5|S-Od--|GS IS|Retrieve Billing Data Log (Prepayment Credits)
4.6.1|S-OdR-|IS GS|Retrieve Import Daily Read Log
4.6.2|--OdR-|ES|Retrieve Export Daily Read Log
4.8.1|S-OdR-|IS GS ED GT OU|Read Active Import Profile Data
4.8.2|S-OdR-|IS ED OU|Read Reactive Import Profile Data
4.8.3|S-OdR-|ES ED OU|Read Export Profile Data
4.10|S-OdR-|IS GS ED GT|Read Network Data
4.11.1|S-O---|IS GS OU|Read Tariff (Primary Element)
4.11.2|--O---|IS OU|Read Tariff (Secondary Element)
4.12.1|--OdR-|IS ED|Read Maximum Demand Import Registers
4.12.2|--OdR-|ES ED|Read Maximum Demand Export Registers
4.13|S-Od--|IS GS|Read Prepayment Configuration
4.14|--OdR-|IS GS|Read Prepayment Daily Read Log
4.15|S-OdR-|IS ED|Read Load Limit Data
4.16|S-O-R-|IS ED|Read Active Power Import
4.17|--OdR-|IS GS ED GT OU|Retrieve Daily Consumption Log
4.18|S-Od--|IS GS|Read Meter Balance
5.1|S----N|IS ES GS ED GT OU|Create Schedule
5.2|S----N|IS ES GS ED GT OU|Read Schedule
5.3|S----N|IS ES GS ED GT OU|Delete Schedule
6.2.1|S-O---|IS RSA ED|Read Device Configuration (Voltage)
6.2.2|--O---|IS RSA ED|Read Device Configuration (Randomisation)
6.2.3|S-O---|IS RSA GS|Read Device Configuration (Billing Calendar)
6.2.4|S-O---|IS ES GS RSA ED GT OU|Read Device Configuration (Identity Exc MPxN)
6.2.5|S-O---|IS RSA|Read Device Configuration (Instantaneous Power Thresholds)
6.2.7|--O---|IS ES GS RSA ED GT OU|Read Device Configuration (MPxN)
6.2.8|S-O---|GS RSA GT|Read Device Configuration (Gas)
6.2.9|S-O---|IS GS RSA|Read Device Configuration (Payment Mode)
6.2.10|--O---|IS GS ED|Read Device Configuration (Event and Alert Behaviours)
6.4.1|SCOm--|IS|Update Device Configuration (Load Limiting General Settings)
6.4.2|S-Od--|IS|Update Device Configuration (Load Limiting Counter Reset)
6.5|S-Od--|ED|Update Device Configuration (Voltage)
6.6|SCO---|GS|Update Device Configuration (Gas Conversion)
6.7|SCO---|GS|Update Device Configuration (Gas Flow)
6.8|SCO---|IS GS|Update Device Configuration (Billing Calendar)
6.11|SCO---|IS GS|Synchronise Clock
6.12|S-Od--|IS|Update Device Configuration (Instantaneous Power Threshold)
6.13|S-O---|IS GS ED GT RSA|Read Event Or Security Log
6.14.1|-CO---|IS|Update Device Configuration (Auxiliary Load Control Description)
6.14.2|-COm--|IS|Update Device Configuration (Auxiliary Load Control Scheduler)
6.14.3|LCOm--|IS|Update Device Configuration (Auxiliary Controller Scheduler)
6.15.1|SCOm--|IS GS ED GT|Update Security Credentials (KRP)
6.15.2|-CO---|IS GS|Update Security Credentials (Device)
6.17|-CO---|IS GS|Issue Security Credentials
6.18.1|--Od--|ED|Set Maximum Demand Configurable Time Period
6.18.2|--Od--|ED|Reset Maximum Demand Registers
6.20.1|--Od--|IS GS|Set Device Configuration (Import MPxN)
6.20.2|--Od--|ES|Set Device Configuration (Export MPAN)
6.21|S-Od--|IS GS|Request Handover Of DCC Controlled Device
6.22|--O---|IS GS ED|Configure Alert Behaviour
6.23|S-Ob--|IS GS|Update Security Credentials (CoS)
6.24.1|S-O---|IS GS ED GT|Retrieve Device Security Credentials (KRP)
6.24.2|-CO---|IS GS|Retrieve Device Security Credentials (Device)
6.25|SCO---|IS|Set Electricity Supply Tamper State
6.26|-CO---|IS|Update Device Configuration (daily resetting of Tariff Block Counter Matrix)
6.27|S-Od--|ED|Update Device Configuration (RMS Voltage Counter Reset)
6.28|--O---|IS GS|Set CHF Sub GHz Configuration
6.29|--O---|IS GS|Request CHF Sub GHz Channel Scan
6.30|--O---|IS GS RSA|Read CHF Sub GHz Configuration
6.31|--O---|IS GS RSA|Read CHF Sub GHz Channel
6.32|--O---|IS GS RSA|Read CHF Sub GHz Channel Log
7.1|SCO---|IS|Enable Supply
7.2|SCO---|IS GS|Disable Supply
7.3|SCO---|IS GS|Arm Supply
7.4|S-O---|IS ES GS RSA ED GT|Read Supply Status
7.5|-CO---|IS|Activate Auxiliary Load
7.6|-CO---|IS|Deactivate Auxiliary Load
7.7|--Od--|IS ED OU|Read Auxiliary Load Switch Data
7.8|-CO---|IS|Reset Auxiliary Load
7.9|--Od--|IS|Add Auxiliary Load To Boost Button
7.10|--Od--|IS|Remove Auxiliary Load From Boost Button
7.11|--Od--|IS OU|Read Boost Button Details
7.12|-CO---|IS|Set Randomised Offset Limit
7.13|LCO---|IS|Set Auxiliary Controller State
7.14|L-Od--|IS ED OU|Read Auxiliary Controller Configuration Data
7.15|L-Od--|IS ED OU|Read Auxiliary Controller Operational Data
7.16|LCO---||Limit APC Level
8.1.1|SCO---|IS GS|Commission Device
8.2|S----N|IS ES GS RSA ED GT OU|Read Inventory
8.3|S----N|IS GS|Decommission Device
8.4|S----N|IS ES GS RSA ED GT OU|Update Inventory
8.5|---d--||Service Opt Out
8.6|-----N||Service Opt In
8.7.1|SCO---|IS GS|Join Service (Critical)
8.7.2|S-O---|IS GS OU|Join Service (Non-Critical)
8.8.1|SCO---|IS GS|Unjoin Service (Critical)
8.8.2|S-O---|IS GS OU|Unjoin Service (Non-Critical)
8.9|S-Od--|IS GS OU|Read Device Log
8.11|S-Od--|IS GS OU|Update HAN Device Log
8.12.1|--O---|IS GS|Restore HAN Device Log
8.12.2|--O---|IS GS|Restore Gas Proxy Function Device Log
8.13|-----N|IS GS|Return Local Command Response
8.14.1|-----N|IS GS|Communications Hub Status Update - Install Success
8.14.2|-----N|IS GS|Communications Hub Status Update - Install No SM WAN
8.14.3|-----N|IS GS|Communications Hub Status Update - Fault Return
8.14.4|-----N|IS GS|Communications Hub Status Update - No Fault Return
9.1|--O---|OU|Request Customer Identification Number
11.1|S----N|IS GS|Update Firmware
11.2|S-Od--|IS ES GS RSA ED GT OU|Read Firmware Version
11.3|SCOm--|IS GS|Activate Firmware
11.4|L----N|IS GS|Update PPMID Firmware
12.1|-----N|IS ES GS RSA ED GT OU|Request WAN Matrix
12.2|S----N|IS ES GS RSA ED GT OU|Device Pre-notification
14.1|--O-R-|GT|Record Network Data (GAS)
"""

_SUPPORT: Final = {"S": Smets1Support.YES, "-": Smets1Support.NO, "L": Smets1Support.AFTER_DUIS_3}
_FUTURE: Final = {
    "-": FutureDating.NO,
    "d": FutureDating.DSP,
    "m": FutureDating.DEVICE,
    "b": FutureDating.DSP_AND_DEVICE,
}


def _read_row(row: str) -> ServiceVariant:
    srv, flags, roles, name = row.split("|")
    return ServiceVariant(
        srv=srv,
        service_reference=".".join(srv.split(".")[:2]),
        name=name,
        smets1=_SUPPORT[flags[0]],
        critical=flags[1] == "C",
        on_demand=flags[2] == "O",
        future_dated=_FUTURE[flags[3]],
        dcc_scheduled=flags[4] == "R",
        non_device=flags[5] == "N",
        roles=tuple(UserRole(role) for role in roles.split()),
    )


CATALOGUE: Final[dict[str, ServiceVariant]] = {
    variant.srv: variant for variant in map(_read_row, _TABLE.strip().splitlines())
}
_REFERENCES: Final = frozenset(variant.service_reference for variant in CATALOGUE.values())


def find_variant(srv: str) -> ServiceVariant | None:
    """The variant of that number, or None where DUIS 5.4 has none."""
    return CATALOGUE.get(srv)


def is_nameable(srv: str, service_reference: str) -> bool:
    """Whether DUIS has both, so that a response may name them; they need not belong together."""
    return srv in CATALOGUE and service_reference in _REFERENCES
