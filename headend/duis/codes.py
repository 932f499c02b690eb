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

    From E40 on they are an **assumption**: the codes are in the schema, their meanings are not public
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
    SEQUENCE_FAILED = "E31"

    DUPLICATE_REQUEST = "E40"
    CANCELLED = "E41"  # a future-dated request that its user has withdrawn
    PRE_COMMAND_CHANGED = "E43"
    NOT_AUTHORISED_BY_DCO = "E55"
    QUARANTINED = "E56"  # anomaly detection holds it back
    BAD_SIGNATURE = "E100"
    BAD_CONTENT = "E1000"
    SCHEDULE_OTHER_DEVICE = "E050101"  # 5.1: the device is not known, or not the user's
    SCHEDULE_SERVICE = "E050102"  # 5.1: this service cannot be scheduled for this device, or user
    SCHEDULE_DATES = "E050103"  # 5.1: the end is before the start, or already over
    SCHEDULE_LIMIT = "E050105"  # 5.1: 99 schedules are the most that one answer can list
    SCHEDULE_NOT_FOUND = "E050201"  # 5.2
    NO_SCHEDULE_TO_DELETE = "E050301"  # 5.3
    INVENTORY_NOT_FOUND = "E080201"
    DECOMMISSION_UNKNOWN = "E080301"  # 8.3: not in the inventory
    DECOMMISSION_STATUS = "E080302"  # 8.3: not in a status that can be decommissioned
    UPDATE_UNKNOWN = "E080405"  # 8.4: not in the inventory
    UPDATE_TYPE = "E080407"  # 8.4: not for this type of device
    DELETE_STATUS = "E080408"  # 8.4: only a pending device can be deleted
    PRENOTIFIED_BEFORE = "E120201"  # 12.2: the device is in the inventory already


@unique
class DccAlertCode(StrEnum):
    """The alerts that this head end sends. Source: DUIS-5.4.xsd, DCCAlertMessage; migration guide."""

    CREDENTIALS_UPDATED = "N42"  # to whoever's credentials were placed
    NETWORK_OPERATOR_TOLD = "N16"  # a meter was commissioned: to its network operator
    SUPPLIER_TOLD = "N55"  # a meter was commissioned: to its supplier
    STATUS_CHANGED = "N8"  # **assumption**: a device was decommissioned or deleted
    SCHEDULE_REMOVED = "N40"  # **assumption**: a DSP schedule ended with its device
    FIRMWARE_NOT_DELIVERED = "N18"  # **assumption**: what came of 11.1 where the hub did not take it
    POWER_OUTAGE = "AD1"  # the hub has told of it with the last of its power
    QUARANTINED = "N46"  # **assumption**: anomaly detection holds a request back
    UNKNOWN_TO_USER = "N999"  # an alert that the user's DUIS version does not have
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
