"""How long key establishment takes here, beside openssl and the figures of earlier trials.

    python tests/benchmarks/bench_cbke.py [REPEATS]

One full side: a fresh ephemeral key pair, the peer's two points judged, its public key taken from its
certificate, ECMQV, both keys and both MACs. openssl (C, constant time) has no ECMQV: what is shown is
its plain ECDH, about a third of that work.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from random import Random

from smets1.firmware.crypto.cbke import CbkeSide, CbkeSuite, EphemeralKey, TestCa, reconstruct_public_key
from smets1.firmware.crypto.ccm import FrameCipher
from smets1.firmware.crypto.mmo import hmac_mmo, mmo_hash

TRIED_MS = {CbkeSuite.SUITE_1: 13.0, CbkeSuite.SUITE_2: 31.0}  # pure Python, tau-NAF, same class of machine
GOAL_MS = {CbkeSuite.SUITE_1: 8.0, CbkeSuite.SUITE_2: None}
OPENSSL_CURVES = {CbkeSuite.SUITE_1: "ecdhk163", CbkeSuite.SUITE_2: "ecdhk283"}


def median_ms(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1e6


def openssl_ms() -> dict[CbkeSuite, float]:
    """Time of one ECDH operation a suite; empty where openssl or its curves are missing."""
    program = shutil.which("openssl")
    if program is None:
        return {}
    done = subprocess.run(
        [program, "speed", "-seconds", "1", *OPENSSL_CURVES.values()],
        capture_output=True,
        text=True,
        check=False,
    )
    found = {}
    for suite in CbkeSuite:
        bits = OPENSSL_CURVES[suite].removeprefix("ecdhk")
        if match := re.search(rf"{bits} bits ecdh \(nistk{bits}\)\s+\S+\s+([\d.]+)", done.stdout):
            found[suite] = 1000 / float(match[1])
    return found


def bench_suite(suite: CbkeSuite, repeats: int) -> dict[str, float]:
    rng = Random(1)
    start = time.perf_counter_ns()
    ca = TestCa(suite, rng)
    hub = CbkeSide(identity=ca.issue(2), ephemeral=EphemeralKey.generate(suite, rng), is_initiator=False)
    own = ca.issue(1)
    certificate = hub.identity.certificate.encode()

    def full_side() -> None:
        side = CbkeSide(identity=own, ephemeral=EphemeralKey.generate(suite, rng), is_initiator=True)
        side.establish(certificate, hub.ephemeral.octets)

    full_side()
    first_ms = (time.perf_counter_ns() - start) / 1e6
    return {
        "first use: CA, two certificates, tables, one side": first_ms,
        "one full side": median_ms(full_side, repeats),
        "  ephemeral key pair": median_ms(lambda: EphemeralKey.generate(suite, rng), repeats),
        "  establish": median_ms(lambda: hub.establish(own.certificate, hub.ephemeral.octets), repeats),
        "public key from certificate": median_ms(
            lambda: reconstruct_public_key(hub.identity.certificate, ca.public_key), repeats
        ),
        "certificate issued": median_ms(lambda: ca.issue(1), repeats),
    }


def bench_frames(repeats: int) -> dict[str, float]:
    """Microseconds."""
    cipher, nonce, aad, payload = FrameCipher(bytes(16)), bytes(13), bytes(26), bytes(60)
    sealed = cipher.seal(nonce, aad, payload)
    work: dict[str, Callable[[], object]] = {
        "seal 60 octets": lambda: cipher.seal(nonce, aad, payload),
        "open 60 octets": lambda: cipher.open(nonce, aad, sealed),
        "AES-MMO of 18 octets": lambda: mmo_hash(payload[:18]),
        "HMAC-MMO of 60 octets": lambda: hmac_mmo(payload[:16], payload),
    }
    return {name: median_ms(one, repeats * 100) * 1000 for name, one in work.items()}


def main() -> int:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    theirs = openssl_ms()
    for suite in CbkeSuite:
        print(f"CBKE suite {suite.value} ({suite.curve.parameters.name})")
        ours = bench_suite(suite, repeats)
        for name, value in ours.items():
            print(f"  {name:<52}{value:9.2f} ms")
        full = ours["one full side"]
        tried, goal = TRIED_MS[suite], GOAL_MS[suite]
        print(f"  {'earlier trial, one full side':<52}{tried:9.2f} ms   ours x {full / tried:.2f}")
        if goal is not None:
            print(f"  {'goal, one full side':<52}{goal:9.2f} ms   {'met' if full <= goal else 'MISSED'}")
        if suite in theirs:
            ratio = full / theirs[suite]
            print(f"  {'openssl, one plain ECDH (C)':<52}{theirs[suite]:9.2f} ms   ours x {ratio:.0f}")
    print("Frames")
    for name, value in bench_frames(repeats).items():
        print(f"  {name:<52}{value:9.2f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
