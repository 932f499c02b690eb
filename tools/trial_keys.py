"""Trial keys: what a home file leaves secret is made from its seed, so that every run and tool agrees.

Whoever knows the seed knows them: for trials only. A rig's production keys come from the operating
system instead. That a device has one prepayment key and one SUA key of 16 octets is an assumption
(docs/assumptions.md).
"""

from __future__ import annotations

from typing import Final

from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.seed import SeedTree

__all__ = ["engineering_pin", "prepayment_key", "sua_key"]

_KEY_OCTETS: Final = 16


# Found by search, so that the tokens in DCC's reference requests (CS01a_2.2 for the ESME, CS01b_2.2 for the
# GSME of the reference home) are authentic for these two devices whatever the seed.
_REFERENCE_PREPAYMENT_KEYS: Final = {
    0x00DB1234567890A0: b"TESTKEY1410D5354",
    0x00DB1234567890A1: b"TESTKEY0C00F173E",
}


def prepayment_key(seed: int, device: Eui64) -> bytes:
    """The key that a meter's UTRNs are made with; 16 octets."""
    if device in _REFERENCE_PREPAYMENT_KEYS:
        return _REFERENCE_PREPAYMENT_KEYS[device]
    return SeedTree(seed).octets(_KEY_OCTETS, "trial key", "prepayment", format_eui64(device))


def sua_key(seed: int, device: Eui64) -> bytes:
    """The SUA key with which a device leaves the factory (generation 0); 16 octets."""
    return SeedTree(seed).octets(_KEY_OCTETS, "trial key", "SUA", format_eui64(device))


def engineering_pin(seed: int, device: Eui64) -> str:
    """Four digits that open a meter's engineering menu, where the home file gives none."""
    return (
        f"{SeedTree(seed).random('trial key', 'engineering PIN', format_eui64(device)).randrange(10_000):04d}"
    )
