"""What a gas meter knows of flow besides the register: the network data log and the check at opening.

*Network data log*: 4 hours of 6-minute volumes (40 values), always recorded on a SMETS1 meter, for the
network operator (SRV 4.10).

*Uncontrolled flow*: when a person has the valve opened, the meter lets the pressure settle
(StabilisationPeriod) and then looks for a while (MeasurementPeriod) at what flows although nothing should
burn yet. More than UncontrolledGasFlowRate, and it closes the valve again and is armed
(0x81BF): somebody has left a tap open. What is judged is the flow through taps left open, which a test or a
person sets; the house's own load comes from a file, cannot know of the valve, and does not count.
Simplified: the gas that passes in the check is not metered.

Source: migration guide, 2.8.11 (network data); devices seen (valve, 30 l/h); DUIS 5.4 services 4.10 and 6.7.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from smets1.devices.days import MINUTE_US, SECOND_US
from smets1.devices.state import StateReader, pack_state

__all__ = ["NETWORK_ENTRIES", "SLOT_US", "FlowCheck", "NetworkDataLog"]

SLOT_US: Final = 6 * MINUTE_US
NETWORK_ENTRIES: Final = 40  # 4 h
DEFAULT_RATE_DL_PER_H: Final = 300
DEFAULT_CHECK_S: Final = 10
DEFAULT_STABILISATION_DS: Final = 0


class NetworkDataLog:
    """Volume (litres) in each 6 minutes, the last 40; differences of the rounded-down register."""

    def __init__(self) -> None:
        self.entries: deque[tuple[int, int]] = deque(maxlen=NETWORK_ENTRIES)  # (end utc_us, litres)
        self._mark = 0  # the register at the last edge, litres

    @staticmethod
    def edges(from_us: int, to_us: int) -> range:
        """The slot ends in (from, to], at most as many as the log holds."""
        last = to_us // SLOT_US * SLOT_US
        first = max(from_us // SLOT_US * SLOT_US + SLOT_US, last - (NETWORK_ENTRIES - 1) * SLOT_US)
        return range(first, last + 1, SLOT_US)

    def record(self, end_us: int, reading_l: int) -> None:
        """The register at a slot's end. A slot lived twice (clock set back) stands once, with both."""
        amount, self._mark = reading_l - self._mark, reading_l
        for index, (end, before) in enumerate(self.entries):
            if end == end_us:
                self.entries[index] = (end_us, before + amount)
                return
        self.entries.append((end_us, amount))

    def encode(self) -> bytes:
        return pack_state("network", 1, {"rows": list(self.entries), "mark": self._mark})

    @classmethod
    def decode(cls, octets: bytes) -> NetworkDataLog:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="network", versions=(1,))
        log = cls()
        log.entries.extend((end_us, amount) for end_us, amount in reader.rows("rows", 2))
        log._mark = reader.whole("mark", 0)
        return log


class FlowCheck:
    """The look at the flow after the valve was opened.

    The rate is in 1/10 l/h, the last digit that DUIS has; the stabilisation period in 1/10 s, as in SE 1.2.
    """

    __slots__ = ("check_s", "open_taps_l_per_h", "rate_dl_per_h", "stabilisation_ds", "until_us")

    def __init__(self) -> None:
        self.rate_dl_per_h = DEFAULT_RATE_DL_PER_H
        self.check_s = DEFAULT_CHECK_S
        self.stabilisation_ds = DEFAULT_STABILISATION_DS
        self.open_taps_l_per_h = 0
        self.until_us: int | None = None

    def begin(self, *, utc_us: int) -> None:
        self.until_us = utc_us + self.stabilisation_ds * SECOND_US // 10 + self.check_s * SECOND_US

    def cancel(self) -> None:
        self.until_us = None

    def on_timer(self, *, utc_us: int) -> bool:
        """True where the check is over and has found too much."""
        if self.until_us is None or utc_us < self.until_us:
            return False
        self.until_us = None
        return self.open_taps_l_per_h * 10 > self.rate_dl_per_h

    def encode(self) -> bytes:
        return pack_state(
            "flow_check",
            2,
            {
                "settings": [self.rate_dl_per_h, self.check_s, self.stabilisation_ds],
                "taps": self.open_taps_l_per_h,
                "until_us": self.until_us,
            },
        )

    @classmethod
    def decode(cls, octets: bytes) -> FlowCheck:
        """Raises DecodeError."""
        reader = StateReader(octets, kind="flow_check", versions=(1, 2))
        check = cls()
        if reader.version == 1:  # whole litres, and no time to settle
            rate_l_per_h, check.check_s = reader.wholes("settings", 2)
            check.rate_dl_per_h = rate_l_per_h * 10
        else:
            check.rate_dl_per_h, check.check_s, check.stabilisation_ds = reader.wholes("settings", 3)
        check.open_taps_l_per_h = reader.whole("taps", 0)
        check.until_us = reader.whole_or_none("until_us")
        return check
