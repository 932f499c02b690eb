"""What the Requesting Party checks of a home before its MCF, and again before its MEF. Values in, failures
out.

Source: consultation, table 1 (data validation), table 3 (mitigations 2 and 3), 2.4, 2.5; guide 2.6.4 (7
days).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from smets1.eui64 import Eui64, format_eui64
from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.files import DeviceEntry

__all__ = ["HomeFacts", "RpFailure", "check_home", "configuration_failures", "select_devices"]

_HOUR_US: Final = 3_600_000_000
_WITH_SMSO_US: Final = 2 * _HOUR_US
_GSME_WITH_CHF_US: Final = 24 * _HOUR_US
_CONTACTED_US: Final = 7 * 24 * _HOUR_US
_SINGLE: Final = (DeviceType.PPMID, DeviceType.IHD, DeviceType.CAD)
_LISTED: Final = (DeviceType.GSME, *_SINGLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RpFailure:
    clause: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeFacts:
    """All that was found of a home. Times are of the last communication; None or absent: none."""

    devices: tuple[DeviceEntry, ...]
    third_party: tuple[Eui64, ...] = ()  # on the HAN, not of the cohort, or a repeater
    with_smso_utc_us: Mapping[Eui64, int] = field(default_factory=dict)  # meter -> when
    whitelist: Mapping[Eui64, int | None] | None = None  # None: the hub did not answer
    has_prepayment_key: Mapping[Eui64, bool] = field(default_factory=dict)  # meter -> verified
    differences: tuple[str, ...] = ()  # configuration that is not as required
    silent: tuple[Eui64, ...] = ()  # devices whose configuration could not be read


def check_home(facts: HomeFacts, *, now_utc_us: int) -> list[RpFailure]:
    """Every failure; empty: the home goes into the file."""
    return [
        *_communication(facts, now_utc_us),
        *_devices(facts),
        *(
            RpFailure(clause="prepayment key", reason=f"{format_eui64(meter)} holds another prepayment key")
            for meter, is_held in facts.has_prepayment_key.items()
            if not is_held
        ),
        *configuration_failures(facts.differences, facts.silent),
    ]


def configuration_failures(differences: Iterable[str], silent: Iterable[Eui64]) -> list[RpFailure]:
    """Of a verification point: what is not as required, and who did not say."""
    texts = [*differences, *(f"{format_eui64(device)} does not answer" for device in silent)]
    return [RpFailure(clause="S1SR configuration", reason=text) for text in texts]


def _communication(facts: HomeFacts, now_utc_us: int) -> list[RpFailure]:
    """Table 3, mitigation 2."""
    failures = []
    for entry in facts.devices:
        if entry.device_type not in (DeviceType.ESME, DeviceType.GSME):
            continue
        spoke_utc_us = facts.with_smso_utc_us.get(entry.device)
        if spoke_utc_us is None or now_utc_us - spoke_utc_us > _WITH_SMSO_US:
            reason = f"the {entry.device_type} has not communicated with the SMSO within 2 hours"
            failures.append(RpFailure(clause="table 3, 2", reason=reason))
        if entry.device_type is DeviceType.GSME and facts.whitelist is not None:
            heard_utc_us = facts.whitelist.get(entry.device)
            if heard_utc_us is None or now_utc_us - heard_utc_us > _GSME_WITH_CHF_US:
                reason = "the GSME has not communicated with the CHF within 24 hours"
                failures.append(RpFailure(clause="table 3, 2", reason=reason))
    latest = max(facts.with_smso_utc_us.values(), default=None)
    if latest is None or now_utc_us - latest > _CONTACTED_US:
        failures.append(RpFailure(clause="5.12", reason="the home was not contacted within 7 days"))
    if facts.whitelist is None:
        failures.append(RpFailure(clause="table 3, 2", reason="the CHF does not answer"))
    return failures


def _devices(facts: HomeFacts) -> list[RpFailure]:
    failures = [
        RpFailure(
            clause="2.5",
            reason=f"{format_eui64(device)} is a third-party device or HAN repeater: excluded from migration",
        )
        for device in facts.third_party
    ]
    for entry in facts.devices:
        if entry.device_type in _LISTED and entry.device not in (facts.whitelist or {entry.device: 0}):
            reason = f"the {entry.device_type} {format_eui64(entry.device)} is not on the CHF Whitelist"
            failures.append(RpFailure(clause="16.12", reason=reason))
    return failures


def select_devices(
    devices: tuple[DeviceEntry, ...], *, is_all_dormant: bool, chosen: frozenset[Eui64]
) -> tuple[tuple[DeviceEntry, ...], list[RpFailure]]:
    """One PPMID, IHD and CAD each (4.34A, 16.17): in an all-dormant home the one that joined the HAN last.

    Elsewhere the responsible supplier has to have `chosen`; where it has not, that is a failure.
    """
    kept, failures = [e for e in devices if e.device_type not in _SINGLE], []
    for kind in _SINGLE:
        candidates = [entry for entry in devices if entry.device_type is kind]
        if len(candidates) > 1 and not is_all_dormant:
            candidates = [entry for entry in candidates if entry.device in chosen]
            if len(candidates) != 1:
                reason = f"more than one {kind}: the supplier has to say which one is migrated"
                failures.append(RpFailure(clause="2.5", reason=reason))
                continue
        kept += sorted(candidates, key=lambda entry: (entry.joined_utc_us or 0, entry.device))[-1:]
    return tuple(kept), failures
