"""The DCO in a process of its own: the S1SP's process holds no SUA key, and none of the DCO's own.

`DcoProcess` starts `python -m smets1.headend.migration.dco_process`, gives it over its standard input what it
needs to open its store, once, and then only calls (`dco_calls`), each four octets of length and the octets.
Calls are answered in turn and the caller waits: both ends are of one machine, and a call takes milliseconds.
The secrets of the first message come from whoever installs the DCO; here that is the rehearsal's trial PKI.
A DCO that was killed finds everything again in its store.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_der_x509_certificate

from smets1.errors import LostError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.nvm import NvmStore
from smets1.headend.dco import Dco
from smets1.headend.duis.signature import CertificateStore, Credential, Verifier
from smets1.headend.migration.dco_calls import DcoClient, DcoServer
from smets1.headend.migration.dco_desk import DcoDesk
from smets1.headend.migration.envelope import MAX_FILE_OCTETS, Receiver
from smets1.headend.vault import VaultNvm

__all__ = ["DcoProcess", "DcoSettings"]

_MAX_CALL: Final = MAX_FILE_OCTETS + 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class DcoSettings:
    """What a DCO is installed with. `store`: a file of its own, or ":memory:"."""

    store: str
    vault_key: bytes = field(repr=False)
    group_keys: Mapping[str, bytes] = field(repr=False)  # private keys, 32 octets each
    certificates: tuple[tuple[Eui64, bytes], ...]  # whose signatures it knows, as DER
    requesting_parties: frozenset[Eui64]
    s1sps: frozenset[Eui64]
    seed: bytes = field(default=b"", repr=False)  # of a rehearsal; empty: the operating system's randomness

    def encode(self) -> bytes:
        return cbor2.dumps(
            [
                self.store,
                self.vault_key,
                dict(self.group_keys),
                [list(pair) for pair in self.certificates],
                sorted(self.requesting_parties),
                sorted(self.s1sps),
                self.seed,
            ]
        )

    @classmethod
    def decode(cls, octets: bytes) -> DcoSettings:
        """Of our own parent. Raises DecodeError, ValueError."""
        value: Any = load_strict(octets)
        store, vault_key, group_keys, certificates, requesting_parties, s1sps, seed = value
        return cls(
            store=store,
            vault_key=vault_key,
            group_keys=group_keys,
            certificates=tuple((eui64, der) for eui64, der in certificates),
            requesting_parties=frozenset(requesting_parties),
            s1sps=frozenset(s1sps),
            seed=seed,
        )


class DcoProcess:
    """Starts the process; `client` is how to ask it. `close` it, or `kill` it as a power cut would.

    Where it has died, the call under way raises LostError, and the next starts it again.
    """

    def __init__(self, settings: DcoSettings) -> None:
        self._settings = settings
        self.client = DcoClient(self._exchange)
        self._child = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "smets1.headend.migration.dco_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._is_over = False
        self._send(self._settings.encode())
        if self._receive() != b"ready":
            raise LostError("the DCO's process has not started")
        return self._child

    @property
    def pid(self) -> int:
        return self._child.pid

    def _exchange(self, octets: bytes) -> bytes:
        if self._is_over:
            raise LostError("the DCO was switched off")
        if self._child.poll() is not None:
            self._end()
            self._start()
        self._send(octets)
        return self._receive()

    def _send(self, octets: bytes) -> None:
        assert self._child.stdin is not None, "a pipe"
        try:
            _write(self._child.stdin, octets)
        except (OSError, ValueError):
            raise LostError("the DCO's process has ended") from None

    def _receive(self) -> bytes:
        assert self._child.stdout is not None, "a pipe"
        octets = _read(self._child.stdout)
        if octets is None:
            raise LostError("the DCO's process has ended")
        return octets

    def kill(self) -> None:
        """kill -9: what it has not committed is lost. `client` starts it again at the next call."""
        self._child.kill()
        self._child.wait()

    def close(self) -> None:
        """Its input ends, so it does, for good. Closing twice is allowed."""
        self._is_over = True
        self._end()

    def _end(self) -> None:
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was still to be written has nobody to read it
                    continue
        self._child.wait()


def _write(pipe: IO[bytes], octets: bytes) -> None:
    pipe.write(len(octets).to_bytes(4, "big") + octets)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes | None:
    """None: the other end is gone, or sends more than any call has."""
    try:
        size = int.from_bytes(head, "big") if len(head := pipe.read(4)) == 4 else _MAX_CALL + 1
        octets = b"" if size > _MAX_CALL else pipe.read(size)
    except (OSError, ValueError):
        return None
    return octets if len(octets) == size else None


def _serve(reader: IO[bytes], writer: IO[bytes]) -> None:
    first = _read(reader)
    if first is None:
        return
    settings = DcoSettings.decode(first)
    random_octets = random.Random(settings.seed).randbytes if settings.seed else os.urandom
    store = NvmStore.open(settings.store)
    vault = VaultNvm(store.device("dco"), settings.vault_key, random_octets=random_octets)
    trusted = CertificateStore()
    for eui64, der in settings.certificates:
        trusted.add(Credential(eui64=eui64, certificate=load_der_x509_certificate(der)))
    dco = Dco(vault, random_octets=random_octets)
    desk = DcoDesk(
        dco,
        receiver=Receiver(Verifier(trusted), vault),
        nvm=vault,
        group_keys={
            group_id: ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
            for group_id, secret in settings.group_keys.items()
        },
        requesting_parties=settings.requesting_parties,
        s1sps=settings.s1sps,
    )
    server = DcoServer(dco, desk)
    _write(writer, b"ready")
    while (call := _read(reader)) is not None:
        _write(writer, server.answer(call))
    store.close()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
