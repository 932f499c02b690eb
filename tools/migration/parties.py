"""Who takes part, with trial credentials: addresses, certificates, one small PKI from the seed."""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from smets1.eui64 import Eui64
from smets1.firmware.seed import SeedTree
from smets1.headend.duis.codes import UserRole
from smets1.headend.duis.signature import Credential, Verifier
from smets1.headend.pki import TestPki, derive_p256
from smets1.headend.users import DEFAULT_DSP, ServiceUser

__all__ = ["CP", "DCO", "GAS_SUPPLIER", "MCC", "NETWORK", "RP", "S1SP", "SUPPLIER", "USERS", "Party", "Pki"]

Party = Eui64

SUPPLIER: Final[Party] = 0x90B3D51F30010000
"""Electricity, and gas where the supply is not split. Also whose tokens the trial meters take."""
GAS_SUPPLIER: Final[Party] = 0x90B3D51F30010010
NETWORK: Final[Party] = 0x90B3D51F30020000
RP: Final[Party] = 0x90B3D51F50000001
S1SP: Final[Party] = 0x90B3D51F30000001
DCO: Final[Party] = 0x90B3D51F50000002
CP: Final[Party] = 0x90B3D51F50000003
MCC: Final[Party] = 0x90B3D51F50000004

_NAMES: Final = {
    SUPPLIER: "supplier",
    GAS_SUPPLIER: "gas supplier",
    NETWORK: "network operator",
    RP: "Requesting Party",
    S1SP: "S1SP",
    DCO: "DCO",
    CP: "Commissioning Party",
    MCC: "MCC",
}

USERS: Final = (
    ServiceUser(eui64=SUPPLIER, name="supplier", roles=(UserRole.IS, UserRole.GS)),
    ServiceUser(eui64=GAS_SUPPLIER, name="gas supplier", roles=(UserRole.GS,)),
    ServiceUser(eui64=NETWORK, name="network operator", roles=(UserRole.ED, UserRole.GT)),
    ServiceUser(eui64=CP, name="Commissioning Party", roles=(UserRole.IS, UserRole.GS)),
    ServiceUser(eui64=DEFAULT_DSP, name="DSP", roles=(UserRole.IS, UserRole.GS, UserRole.OU)),
)


class Pki:
    """Credentials of every party; one of an outsider whom nobody trusts."""

    def __init__(self, seeds: SeedTree) -> None:
        self._seeds = seeds
        pki = TestPki(lambda label: seeds.octets(40, "pki", label))
        self.credentials: dict[Party, Credential] = {
            party: pki.issue(party, name) for party, name in _NAMES.items()
        }
        self._trusted = pki.store_of(*self.credentials.values())
        stranger = TestPki(lambda label: seeds.octets(40, "stranger", label))
        self.stranger = stranger.issue(RP, "somebody else")

    def certificates(self) -> tuple[tuple[Party, bytes], ...]:
        """Of everybody, as DER."""
        return tuple(
            (party, credential.certificate.public_bytes(Encoding.DER))
            for party, credential in self.credentials.items()
        )

    def verifier(self) -> Verifier:
        return Verifier(self._trusted)

    def group_key(self, group_id: str) -> ec.EllipticCurvePrivateKey:
        """The DCO's, of a Group ID (5.4A)."""
        return derive_p256(self._seeds.octets(40, "DCO", group_id))

    @staticmethod
    def certificate(owner: Party) -> str:
        """The hash by which files name an organisation certificate."""
        return hashlib.sha256(f"organisation {owner:016x}".encode()).hexdigest()[:40].upper()
