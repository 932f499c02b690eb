"""What a SMETS1 meter measures and Smart Energy 1.2 has no word for: our own cluster MeterData 0xFC05.

The load limit's periods and its wide counter, the log of average voltages, the beginning of the tenancy, and
the block counters of the present block period. Registers and counters that settings go with are on
DeviceInformation.

Source: none; the project's design (an assumption). Cluster range: ZCL 07-5123 rev 7, table 2-12.
"""

from __future__ import annotations

from typing import Final

from smets1.firmware.zcl.clusters.smets1 import MANUFACTURER_CODE
from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = ["METER_DATA", "POWER_EVENTS", "POWER_EVENT_CODE"]

METER_DATA: Final = Cluster(
    cluster_id=0xFC05,
    name="meter_data",
    manufacturer_code=MANUFACTURER_CODE,
    server=attributes("""
        0010  load_limit_period             u16   # s, over which power is judged
        0011  load_limit_restoration_period  u32  # s
        0012  load_limit_count              u32   # Metering's own counter ends at 255
        0022  average_voltage_period        u32   # s
        0030  tenancy_from                  utc   # what is before is not this household's; 0: nothing is
        0100  tier{1..8}_block{1..8}_counter  u48  # Wh in the present block period
    """),
    commands=(
        received(0x00, "get_voltage_log", "earliest_time:utc number_of_entries:u16"),
        # oldest first; as many as fit a frame
        generated(0x00, "voltage_log", "entries:{end_time:utc average_mv:u24}*"),
    ),
)  # fmt: skip

POWER_EVENT_CODE: Final = 0xF000
"""Event id of the first of `POWER_EVENTS` in the power event log (Events cluster, fault log). Assumption."""

POWER_EVENTS: Final = (
    "Supply outage began",
    "Supply outage ended",
    "Average RMS voltage above its threshold",
    "Average RMS voltage no more above its threshold",
    "Average RMS voltage below its threshold",
    "Average RMS voltage no more below its threshold",
    "RMS voltage above the extreme over threshold",
    "RMS voltage no more above the extreme over threshold",
    "RMS voltage below the extreme under threshold",
    "RMS voltage no more below the extreme under threshold",
    "RMS voltage sag began",
    "RMS voltage sag ended",
    "RMS voltage swell began",
    "RMS voltage swell ended",
)
"""In the order of their codes; the event's data is the voltage in mV, 4 octets, the highest first."""
