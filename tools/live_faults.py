"""What is wrong with the air of a running home: set anew, or one thing added, changed or taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smets1.eui64 import Eui64, format_eui64
from smets1.hardware.air.fault_plan import Away, Burst, Cut, FaultPlan, Partition, PlanRow
from smets1.hardware.air.faults import LinkFault
from smets1.tools.home_config import FaultsConfig

if TYPE_CHECKING:
    from smets1.hardware.air.medium import Air

__all__ = ["LiveFaults"]


class LiveFaults:
    """Faults and plan of one air. A `remove_...` answers False where nothing of that name is set."""

    def __init__(self, air: Air) -> None:
        self._faults = air.faults
        self._plan = FaultPlan(air)

    def set(self, config: FaultsConfig) -> None:
        """These and no others, from now on; times of its plan count from now."""
        self._plan.end()
        self._faults.clear()
        self.add(config)

    def add(self, config: FaultsConfig) -> list[int]:
        """What this names is changed, or there too; the rest stays. Answers the numbers of its plan."""
        faults = self._faults
        faults.set_default(config.every_link.over(faults.default))
        for eui64, fault in config.nodes:
            faults.set_node(eui64, fault.over(faults.node(eui64)))
        for sender, receiver, fault in config.links:
            faults.set_link(sender, receiver, fault.over(faults.one_way(sender, receiver)))
        for eui64, position_m in config.positions_m:
            faults.place(eui64, position_m)
        return self._plan.add(config.plan)

    def end(self) -> None:
        """The home closes: nothing of the plan is to come."""
        self._plan.end()

    def remove_default(self) -> bool:
        """What holds on every link."""
        was_set = self._faults.default != LinkFault()
        self._faults.set_default(None)
        return was_set

    def remove_node(self, eui64: Eui64) -> bool:
        """What holds at one device, and where it is."""
        was_set = self._faults.node(eui64) != LinkFault() or self._faults.position_m(eui64) is not None
        self._faults.set_node(eui64, None)
        self._faults.place(eui64, None)
        return was_set

    def remove_link(self, sender: Eui64, receiver: Eui64) -> bool:
        """What holds in one direction of one link."""
        was_set = self._faults.one_way(sender, receiver) != LinkFault()
        self._faults.set_link(sender, receiver, None)
        return was_set

    def remove_planned(self, number: int) -> bool:
        """One cut, absence, partition or interference, begun or to come."""
        return self._plan.remove(number)

    def snapshot(self) -> dict[str, Any]:
        """As JSON: what is set now, and `plan`, rows with their `id` as `remove_planned` takes it."""
        plan = [{"id": number, **_told(row)} for number, row in self._plan.rows.items()]
        return {**self._faults.snapshot(), "plan": plan}


def _told(row: PlanRow) -> dict[str, Any]:
    """A row in the words of `[faults]`."""
    said: dict[str, Any]
    match row:
        case Cut():
            said = {"kind": "cut", "from": format_eui64(row.sender), "to": format_eui64(row.receiver)}
        case Away():
            said = {"kind": "away", "device": format_eui64(row.eui64)}
        case Partition():
            said = {"kind": "partition", "devices": [format_eui64(eui64) for eui64 in row.devices]}
        case Burst():
            said = {"kind": "interference", "length_ms": row.length_us / 1000, "rssi_dbm": row.rssi_dbm}
            if len(row.channels) == 1:
                said["channel"] = row.channels[0]
            if row.period_us is not None:
                said["every_ms"] = row.period_us / 1000
            if row.heard_by is not None:
                said["devices"] = [format_eui64(eui64) for eui64 in row.heard_by]
    said["start_s"] = row.start_us / 1_000_000
    if row.end_us is not None:
        said["end_s"] = row.end_us / 1_000_000
    return said
