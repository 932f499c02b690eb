"""The CHF Whitelist as a value machine."""

from __future__ import annotations

import cbor2
import pytest

from smets1.errors import RefusedError
from smets1.firmware.nvm import MemoryNvm
from smets1.hub.device_log import MAX_ENTRIES, DeviceLog, DeviceLogEntry

KEY = bytes(range(16))


def entry(eui64: int, *, is_listed: bool = True, device_type: int = 6) -> DeviceLogEntry:
    return DeviceLogEntry(eui64=eui64, link_key=KEY, is_listed=is_listed, device_type=device_type)


def test_it_survives_a_restart() -> None:
    nvm = MemoryNvm()
    log = DeviceLog(nvm)
    log.add(entry(2))
    log.add(entry(1, is_listed=False, device_type=1))
    log.heard(2, 5_000_000)
    nvm.commit()
    again = DeviceLog(nvm.after_power_cut())
    assert again.entries() == log.entries()
    assert [e.eui64 for e in again.entries()] == [1, 2]
    assert [e.eui64 for e in again.listed()] == [2]
    assert again.get(2).last_communication_utc_us == 5_000_000
    assert again.get(1).last_communication_utc_us is None


def test_what_is_not_committed_is_not_there() -> None:
    nvm = MemoryNvm()
    DeviceLog(nvm).add(entry(2))
    assert not DeviceLog(nvm.after_power_cut()).may_join(2)


def test_only_who_is_there_may_join() -> None:
    log = DeviceLog(MemoryNvm())
    log.add(entry(1, is_listed=False))
    assert log.may_join(1)
    assert not log.may_join(2)
    assert log.remove(1)
    assert not log.remove(1)
    assert not log.may_join(1)


def test_the_installation_is_admitted_once() -> None:
    nvm = MemoryNvm()
    log = DeviceLog(nvm)
    log.admit(entry(1))
    log.remove(1)
    nvm.commit()
    again = DeviceLog(nvm.after_power_cut())
    again.admit(entry(1))
    again.admit(entry(2))
    assert [e.eui64 for e in again.entries()] == [2]
    again.add(entry(1))  # who comes back is added by hand
    assert again.may_join(1)


def test_sixteen_at_most_and_unlisted_ones_do_not_count() -> None:
    log = DeviceLog(MemoryNvm())
    log.add(entry(99, is_listed=False))
    for eui64 in range(MAX_ENTRIES):
        log.add(entry(eui64))
    with pytest.raises(RefusedError):
        log.add(entry(50))
    log.add(entry(3, device_type=7))  # one that is there may be replaced
    assert log.get(3).device_type == 7
    assert len(log.listed()) == MAX_ENTRIES


def test_it_is_written_once_a_minute_however_much_is_heard() -> None:
    nvm = MemoryNvm()
    log = DeviceLog(nvm)
    log.add(entry(1))
    log.heard(1, 0)
    written = nvm.get("device_log")
    log.heard(1, 59_999_999)
    assert nvm.get("device_log") == written
    log.heard(1, 60_000_000)
    assert nvm.get("device_log") != written
    log.heard(7, 60_000_000)  # a stranger
    assert log.get(7) is None


def test_keys_are_not_shown() -> None:
    assert KEY.hex() not in repr(entry(1))
    assert repr(KEY) not in repr(entry(1))


def test_the_image_of_the_first_version_loads() -> None:
    nvm = MemoryNvm({"device_log": cbor2.dumps([[1, KEY, True, None], [2, KEY, False, 9]])})
    log = DeviceLog(nvm)
    assert [(e.eui64, e.is_listed, e.device_type) for e in log.entries()] == [
        (1, True, 0xFF),
        (2, False, 0xFF),
    ]
    log.remove(1)
    log.admit(entry(1))
    assert log.get(1) is None, "what that version had was admitted then"
