"""What both meters have in common: a change of tenancy, images of the past, damaged records."""

from __future__ import annotations

import json
from random import Random

import pytest
from tests.devices.meter_cores import POUND, START, gas_meter, meter, twin

from smets1.devices.billing import SnapshotCause
from smets1.devices.days import DAY_US, HOUR_US
from smets1.devices.prepayment import PaymentMode
from smets1.errors import DecodeError
from smets1.firmware.nvm import MemoryNvm


def test_a_new_household_does_not_see_the_old_ones_profile():
    subject = meter()
    subject.advance(START + 5 * HOUR_US)
    subject.change_tenancy(utc_us=START + 5 * HOUR_US)
    subject.advance(START + 7 * HOUR_US)
    assert len(subject.consumer_profile(START, START + DAY_US)) == 4
    assert len(subject.profile.read(START, START + DAY_US)) == 14
    assert len(twin(subject).consumer_profile(START, START + DAY_US)) == 4


@pytest.mark.parametrize(("name", "make"), [("electricity", meter), ("gas", gas_meter)])
def test_an_image_of_the_first_version_still_loads(repository, name, make):
    image = json.loads((repository / "tests/vectors/nvm_meter_v1.json").read_text())["records"][name]
    nvm = MemoryNvm()
    for key, octets in image.items():
        nvm.put(key, bytes.fromhex(octets))
    subject, fresh = make(), make()
    assert subject.restore(nvm)
    fresh.set_payment_mode(PaymentMode.PREPAYMENT, utc_us=START + HOUR_US)
    fresh.add_credit(10 * POUND, source=0, utc_us=START + 2 * HOUR_US)
    assert subject.now_us == START + 30 * HOUR_US
    for core in (subject, fresh):
        core.advance(START + 50 * HOUR_US)
    assert subject.account.encode() == fresh.account.encode()
    assert subject.reading == fresh.reading
    (entry,) = subject.snapshots
    assert (entry.cause, entry.utc_us) == (SnapshotCause.MODE_CHANGE, START + HOUR_US)
    assert subject.profile.read(0, 2 * START) == fresh.profile.read(0, 2 * START)


MACHINES = ("billing", "future", "tamper", "load_limit", "voltage", "power_log")


@pytest.mark.parametrize(
    ("make", "name"),
    [*((meter, n) for n in MACHINES), *((gas_meter, n) for n in ("network", "flow_check", "battery"))],
)
def test_a_damaged_record_is_a_decode_error_and_a_missing_one_an_older_image(make, name):
    subject, nvm = make(), MemoryNvm()
    subject.advance(START + DAY_US)
    subject.save(nvm)
    good = nvm.get(f"meter/{name}")
    for end in range(len(good)):
        nvm.put(f"meter/{name}", good[:end])
        with pytest.raises(DecodeError):
            make().restore(nvm)
    rng = Random(name)
    for _ in range(200):
        octets = bytearray(good)
        octets[rng.randrange(len(octets))] = rng.randrange(256)
        nvm.put(f"meter/{name}", bytes(octets))
        try:
            make().restore(nvm)
        except DecodeError:
            continue
    nvm.delete(f"meter/{name}")
    assert make().restore(nvm)
