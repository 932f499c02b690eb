"""When files of a set are given up, and how far ahead a home may be installed. Values and times, no clock.

Source: guide 7.2.1, step 13 (24 h, 48 h, 60 days); TMAD 16.9 (7 days). What is dropped stays dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

__all__ = [
    "FILES_WITHIN_US",
    "INSTALLED_AHEAD_US",
    "MEF_KEPT_US",
    "WORD_WITHIN_US",
    "FileSetTimes",
    "Verdict",
]

_HOUR_US: Final = 3_600_000_000

FILES_WITHIN_US: Final = 24 * _HOUR_US
"""After the MVF: MCF and MEF must have come, or all of the set is dropped."""
WORD_WITHIN_US: Final = 48 * _HOUR_US
"""After the MEF: the S1SP must have said something of it, or it is dropped."""
MEF_KEPT_US: Final = 60 * 24 * _HOUR_US
"""The longest that an MEF is kept at all."""
INSTALLED_AHEAD_US: Final = 7 * 24 * _HOUR_US


@unique
class Verdict(StrEnum):
    KEEP = "keep"
    DROP_SET = "MCF and MEF did not come within 24 hours of the MVF"
    DROP_SILENT_MEF = "no word from the S1SP within 48 hours of the MEF"
    DROP_OLD_MEF = "60 days are over"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSetTimes:
    """When the DCO received the files of one set, and first heard of it from the S1SP; None: not yet."""

    mcf_utc_us: int | None = None
    mvf_utc_us: int | None = None
    mef_utc_us: int | None = None
    heard_utc_us: int | None = None

    def verdict(self, now_utc_us: int) -> Verdict:
        """At the exact end of a time a file is still kept."""
        has_all = self.mcf_utc_us is not None and self.mef_utc_us is not None
        if self.mvf_utc_us is not None and not has_all and now_utc_us > self.mvf_utc_us + FILES_WITHIN_US:
            return Verdict.DROP_SET
        if self.mef_utc_us is None:
            return Verdict.KEEP
        if now_utc_us > self.mef_utc_us + MEF_KEPT_US:
            return Verdict.DROP_OLD_MEF
        if self.heard_utc_us is None and now_utc_us > self.mef_utc_us + WORD_WITHIN_US:
            return Verdict.DROP_SILENT_MEF
        return Verdict.KEEP

    def is_late_mef(self, now_utc_us: int) -> bool:
        """Whether an MEF that comes now is too late for its MVF."""
        return self.mvf_utc_us is not None and now_utc_us > self.mvf_utc_us + FILES_WITHIN_US
