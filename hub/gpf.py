"""The gas proxy function: the gas meter's mirror, and what waits for the meter to wake. A value machine.

The mirror keeps the attribute values that the meter has reported, with the meter's own time of them, and
answers for it. Instructions for the meter itself wait here, 24 h at most, until a report shows that it is
awake; the answer to that report carries a flag while something waits.

Source: SE 1.2 07-5356-19, D.3.4.3 (mirror), D.3.3.3.1.10 (notification flags).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cbor2

from smets1.firmware.nvm import Nvm
from smets1.firmware.zcl.clusters.metering import DeviceType, NotificationFlags

__all__ = ["LONGEST_WAIT_US", "MAX_WAITING", "GasProxy", "WaitingInstruction"]

LONGEST_WAIT_US: Final = 86_400_000_000
MAX_WAITING: Final = 100
_VALUES_KEY: Final = "gpf/values"


@dataclass(slots=True, eq=False)
class WaitingInstruction:
    """A ZCL frame for the gas meter; `settle` is called once with its answer, or None: not retrieved."""

    endpoint: int
    cluster_id: int
    frame: bytes
    expires_utc_us: int
    source_endpoint: int  # of the hub: its own for the head end's, the mirror's for a display's
    settle: Any  # Callable[[bytes | None], None]; a dataclass field that is a function confuses mypy


class GasProxy:
    """One gas meter's place in the hub. Values survive a restart; what waits is the WAN end's to keep."""

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        self.values: dict[str, dict[str, Any]] = {}
        """Cluster name -> attribute name -> value, as reported."""
        self.reported_utc_us: int | None = None
        self.is_removed = True
        self._waiting: deque[WaitingInstruction] = deque()
        self._in_hand: WaitingInstruction | None = None  # being given to the meter now
        stored = nvm.get(_VALUES_KEY)
        if stored is not None:
            self.values, self.reported_utc_us = cbor2.loads(stored)
            self.is_removed = False

    def create(self) -> None:
        """The meter has asked for a mirror."""
        self.is_removed = False
        self._save()

    def remove(self) -> list[WaitingInstruction]:
        """The mirror is no more; what waited for the meter, to be settled with None."""
        self.values, self.reported_utc_us, self.is_removed = {}, None, True
        self._nvm.delete(_VALUES_KEY)
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def report(self, cluster: str, values: Mapping[str, Any], *, meter_utc_us: int | None) -> None:
        """Take over what the meter says; values that it does not mention stay."""
        kept = self.values.setdefault(cluster, {})
        kept.update(values)
        if cluster == "metering":
            kept["metering_device_type"] = int(DeviceType.MIRRORED_GAS_METERING)
        if meter_utc_us is not None:
            self.reported_utc_us = meter_utc_us
        self._save()

    def _save(self) -> None:
        self._nvm.put(_VALUES_KEY, cbor2.dumps([self.values, self.reported_utc_us]))

    # --- what waits -------------------------------------------------------------------------------------

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    @property
    def flags(self) -> NotificationFlags:
        """For the answer to a report: stay awake, something is coming."""
        is_wanted = self._waiting or self._in_hand
        return NotificationFlags.STAY_AWAKE_REQUEST_WAN if is_wanted else NotificationFlags(0)

    def wait(self, instruction: WaitingInstruction) -> bool:
        """False where there is no room."""
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(instruction)
        return True

    def take(self) -> WaitingInstruction | None:
        """The next one, in the order they came; `put_back` it where the meter did not answer."""
        self._in_hand = self._waiting.popleft() if self._waiting else None
        return self._in_hand

    def put_back(self, instruction: WaitingInstruction) -> None:
        self._in_hand = None
        self._waiting.appendleft(instruction)

    def expire(self, *, utc_us: int) -> list[WaitingInstruction]:
        """Those that have waited too long, taken out; alert 0x819D (command not retrieved) is theirs."""
        late = [item for item in self._waiting if item.expires_utc_us <= utc_us]
        for item in late:
            self._waiting.remove(item)
        return late
