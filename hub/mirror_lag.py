"""Whether the gas proxy is behind the gas meter: a command was carried out, and no report has come since.

The meter reports once more before it sleeps, some ten seconds after its last command. Whoever has written
and reads at once is to find what was written, so a read of the mirror waits for that report. What the head
end has only asked the meter leaves the mirror as it is. **Assumption**: a real proxy may answer with what
it had.

In: answered instructions and reports. Out: `is_behind`. Lost in a power cut: then a read does not wait.
"""

from __future__ import annotations

from typing import Final

from smets1.errors import DecodeError
from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.frame import ZclHeader, read_command
from smets1.firmware.zcl.status import FrameType, GeneralCommand

__all__ = ["MirrorLag"]

_QUESTIONS: Final = ("get_", "read_")


class MirrorLag:
    """A report is prices and counters, then the account, then the registers: whole from its account on."""

    def __init__(self) -> None:
        self.is_behind = False
        self._is_account_told = False

    def on_answered(self, cluster_id: int, frame: bytes) -> None:
        """The meter has answered this frame of ours."""
        if not _is_question(cluster_id, frame):
            self.is_behind, self._is_account_told = True, False

    def on_report(self, cluster: str) -> None:
        if cluster == "prepayment":
            self._is_account_told = True
        elif cluster == "metering" and self._is_account_told:
            self.is_behind = False


def _is_question(cluster_id: int, frame: bytes) -> bool:
    try:
        header, _ = ZclHeader.decode(frame)
        if header.frame_type is FrameType.GLOBAL:
            return header.command_id == GeneralCommand.READ_ATTRIBUTES
        name, _ = read_command(CLUSTERS[cluster_id], frame)
    except (DecodeError, KeyError):
        return False
    return name.startswith(_QUESTIONS)
