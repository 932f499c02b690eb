"""Declarations of every cluster, as data: one module a specification chapter.

In: nothing. Out: `CLUSTERS` (cluster id -> `Cluster`) and `cluster_named`. Attributes are tables, commands
are rows in the notation of `fields`; codecs are compiled when a module is imported.

Documents: ZCL 07-5123 rev 7; Smart Energy 1.0 (07-5356-15) to 1.2b (15-0131-02). Left out: what SE 1.4
added (maximum demand by day, active and reactive quadrants, Sub-GHz), and snapshot payloads, which
stay octets here. Names may differ from other people's: they are the specification's in snake_case.
"""

from __future__ import annotations

from typing import Final

from smets1.errors import MisuseError
from smets1.firmware.zcl.clusters.calendar import CALENDAR
from smets1.firmware.zcl.clusters.demand_response import DEMAND_RESPONSE, ENERGY_MANAGEMENT
from smets1.firmware.zcl.clusters.device_management import DEVICE_MANAGEMENT
from smets1.firmware.zcl.clusters.events import EVENTS, MDU_PAIRING
from smets1.firmware.zcl.clusters.general import (
    ALARMS,
    BASIC,
    GROUPS,
    IDENTIFY,
    KEEP_ALIVE,
    POWER_CONFIGURATION,
    TIME,
)
from smets1.firmware.zcl.clusters.key_establishment import KEY_ESTABLISHMENT
from smets1.firmware.zcl.clusters.messaging import MESSAGING, TUNNELING
from smets1.firmware.zcl.clusters.meter_data import METER_DATA
from smets1.firmware.zcl.clusters.metering import METERING
from smets1.firmware.zcl.clusters.ota_upgrade import OTA_UPGRADE
from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.clusters.price import PRICE
from smets1.firmware.zcl.clusters.smets1 import (
    AUTHORISATION,
    DEVICE_INFORMATION,
    HUB_CONTROL,
    MANUFACTURER_CODE,
)
from smets1.firmware.zcl.declare import Cluster

__all__ = ["CLUSTERS", "MANUFACTURER_CODE", "cluster_named"]

CLUSTERS: Final[dict[int, Cluster]] = {
    cluster.cluster_id: cluster
    for cluster in (
        BASIC, POWER_CONFIGURATION, IDENTIFY, GROUPS, ALARMS, TIME, OTA_UPGRADE, KEEP_ALIVE,
        PRICE, DEMAND_RESPONSE, METERING, MESSAGING, TUNNELING, PREPAYMENT, ENERGY_MANAGEMENT, CALENDAR,
        DEVICE_MANAGEMENT, EVENTS, MDU_PAIRING, KEY_ESTABLISHMENT,
        AUTHORISATION, HUB_CONTROL, DEVICE_INFORMATION, METER_DATA,
    )
}  # fmt: skip

_BY_NAME: Final = {cluster.name: cluster for cluster in CLUSTERS.values()}


def cluster_named(name: str) -> Cluster:
    """'metering' -> its declaration. Raises MisuseError for a name that is not declared."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise MisuseError(f"no cluster {name!r}") from None
