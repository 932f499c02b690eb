"""Which clusters travel under a link key, and what becomes of a frame that did not.

Source: SE 1.2 07-5356-19, 5.4.6 (cluster usage of security keys).
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

from smets1.firmware.zcl.status import FrameType, GeneralCommand
from smets1.hardware.radio import ApsSecurity

__all__ = ["NETWORK_KEY_CLUSTERS", "Verdict", "is_protected", "judge"]

NETWORK_KEY_CLUSTERS: Final = frozenset(
    {
        0x0000,  # Basic
        0x0001,  # Power Configuration
        0x0003,  # Identify
        0x0009,  # Alarms
        0x0800,  # Key Establishment: it is what makes the link key
    }
)
"""Clusters that the network key alone protects. All others, unlisted and our own too, need the link key."""

_OTA: Final = 0x0019
_IMAGE_NOTIFY: Final = 0x00


@unique
class Verdict(IntEnum):
    """What to do with a frame from the HAN, before looking at what it asks."""

    ACCEPT = 0
    ANSWER_FAILURE = 1  # network key only, on a protected cluster: Default Response FAILURE
    DROP = 2  # no security at all, or a key that must not carry application data


def is_protected(cluster_id: int) -> bool:
    """Whether application data of this cluster needs the link key."""
    return cluster_id not in NETWORK_KEY_CLUSTERS


def judge(cluster_id: int, frame: bytes, security: ApsSecurity, *, is_broadcast: bool) -> Verdict:
    """`frame`: a whole ZCL frame off the air."""
    if security is ApsSecurity.LINK_KEY:
        return Verdict.ACCEPT
    if security is ApsSecurity.NONE:
        return Verdict.DROP
    if not is_protected(cluster_id):
        return Verdict.ACCEPT
    if security is ApsSecurity.INSTALL_CODE_KEY:
        return Verdict.DROP  # it only protects joining
    if is_broadcast:
        # Image Notify alone may be broadcast, and a broadcast cannot have a link key
        is_notify = cluster_id == _OTA and len(frame) >= 3 and frame[0] & 0x0F == 0x09
        return Verdict.ACCEPT if is_notify and frame[2] == _IMAGE_NOTIFY else Verdict.DROP
    is_global = len(frame) >= 3 and frame[0] & 0b111 == FrameType.GLOBAL
    if is_global and frame[2] == GeneralCommand.DEFAULT_RESPONSE:
        return Verdict.DROP  # never answered
    return Verdict.ANSWER_FAILURE
