"""Codes and names of the DUIS schema. Source: DUIS-5.4.xsd (types of the same names)."""

from __future__ import annotations

from enum import IntEnum, StrEnum, unique
from typing import Final

__all__ = [
    "DS",
    "RA",
    "SCHEMA_VERSION",
    "SR",
    "CommandVariant",
    "DccAlertCode",
    "DeviceStatus",
    "DeviceType",
    "ResponseCode",
    "ServicePath",
    "UserRole",
]

SR: Final = "http://www.dccinterface.co.uk/ServiceUserGateway"
RA: Final = "http://www.dccinterface.co.uk/ResponseAndAlert"
DS: Final = "http://www.w3.org/2000/09/xmldsig#"
SCHEMA_VERSION: Final = "5.4"


@unique
class ResponseCode(StrEnum):
    """The codes that this head end gives, out of the schema's list.

    The last block is an **assumption**: the codes are in the schema, their meanings are not public
    with it. A laboratory that has the DUIS text changes them here.
    """

    SUCCESS = "I0"
    ACKNOWLEDGED = "I99"
    INVALID_USER = "E1"
    ROLE_NOT_ELIGIBLE = "E2"
    USER_STATUS = "E3"
    NOT_USERS_DEVICE = "E4"
    DEVICE_STATUS = "E5"
    WRONG_DEVICE_TYPE = "E11"
    WRONG_COMMAND_VARIANT = "E12"
    WRONG_PATH = "E13"
    UNKNOWN_DEVICE = "E19"
    DEVICE_NOT_REACHED = "E20"
    NO_RESPONSE = "E21"
    FUTURE_DATED_TIMEOUT = "E30"
    SEQUENCE_FAILED = "E31"

    DUPLICATE_REQUEST = "E40"
    PRE_COMMAND_CHANGED = "E43"
    NOT_AUTHORISED_BY_DCO = "E55"
    BAD_SIGNATURE = "E100"
    BAD_CONTENT = "E1000"
    INVENTORY_NOT_FOUND = "E080201"


@unique
class DccAlertCode(StrEnum):
    """The alerts that this head end sends. Source: DUIS-5.4.xsd, DCCAlertMessage; migration guide."""

    SRV_NOT_SUPPORTED = "N60"  # the variant cannot be used with a SMETS1 device
    COMMAND_VARIANT_NOT_SUPPORTED = "N61"
    S1SP_ALERT = "N62"  # **assumption**: the schema numbers it, the meaning is not public with it


@unique
class DeviceType(StrEnum):
    ESME = "ESME"
    GSME = "GSME"
    GPF = "GPF"
    CHF = "CHF"
    HCALCS = "HCALCS"
    PPMID = "PPMID"
    IHD = "IHD"
    CAD = "CAD"


@unique
class DeviceStatus(StrEnum):
    PENDING = "Pending"
    WHITELISTED = "Whitelisted"
    INSTALLED_NOT_COMMISSIONED = "InstalledNotCommissioned"
    COMMISSIONED = "Commissioned"
    DECOMMISSIONED = "Decommissioned"
    WITHDRAWN = "Withdrawn"
    SUSPENDED = "Suspended"
    RECOVERY = "Recovery"
    RECOVERED = "Recovered"


@unique
class UserRole(StrEnum):
    """Who a service user is, in the catalogue's abbreviations."""

    IS = "IS"  # import (electricity) supplier
    ES = "ES"  # export supplier
    GS = "GS"  # gas supplier
    RSA = "RSA"  # registered supplier agent
    ED = "ED"  # electricity distributor
    GT = "GT"  # gas transporter
    OU = "OU"  # other user


@unique
class CommandVariant(IntEnum):
    """How a request wants to be delivered. Source: DUIS-5.4.xsd, CommandVariant."""

    NON_CRITICAL = 1
    LOCAL = 2
    WAN_AND_LOCAL = 3
    TRANSFORM = 4
    SIGNED_PRE_COMMAND = 5
    SIGNED_LOCAL = 6
    SIGNED_WAN_AND_LOCAL = 7
    NON_DEVICE = 8
    DCC_INTERNAL = 9


@unique
class ServicePath(StrEnum):
    """The three doors, as DCC Boxed names them in its URLs."""

    SEND_COMMAND = "serviceS"
    TRANSFORM = "serviceT"
    NON_DEVICE = "serviceD"
