"""The gas proxy as a value machine."""

from __future__ import annotations

from typing import Any

from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zcl.clusters.metering import NotificationFlags
from smets1.hub.gpf import LONGEST_WAIT_US, MAX_WAITING, GasProxy, WaitingInstruction


def waiting(
    number: int = 0, *, expires_utc_us: int = 100, settled: list[Any] | None = None
) -> WaitingInstruction:
    answers: list[Any] = [] if settled is None else settled
    return WaitingInstruction(
        endpoint=1,
        cluster_id=0x0705,
        frame=bytes([number]),
        expires_utc_us=expires_utc_us,
        source_endpoint=1,
        settle=answers.append,
    )


def test_the_mirror_survives_a_restart() -> None:
    nvm = MemoryNvm()
    proxy = GasProxy(nvm)
    assert proxy.is_removed
    proxy.create()
    proxy.report("metering", {"current_summation_delivered": 7, "status": 0}, meter_utc_us=50)
    proxy.report("metering", {"current_summation_delivered": 8}, meter_utc_us=60)
    proxy.report("prepayment", {"credit_remaining": -5}, meter_utc_us=None)
    nvm.commit()
    again = GasProxy(nvm.after_power_cut())
    assert not again.is_removed
    assert again.values == proxy.values
    assert again.values["metering"]["current_summation_delivered"] == 8
    assert again.values["metering"]["status"] == 0, "what a report does not mention stays"
    assert again.values["metering"]["metering_device_type"] == 128
    assert again.reported_utc_us == 60


def test_in_the_order_they_came() -> None:
    proxy = GasProxy(MemoryNvm())
    items = [waiting(n) for n in range(3)]
    assert all(proxy.wait(item) for item in items)
    first = proxy.take()
    assert first is items[0]
    proxy.put_back(first)
    assert [proxy.take() for _ in range(4)] == [*items, None]


def test_flags_while_something_waits_or_is_under_way() -> None:
    proxy = GasProxy(MemoryNvm())
    stay = NotificationFlags.STAY_AWAKE_REQUEST_WAN
    assert proxy.flags == 0
    proxy.wait(waiting())
    assert proxy.flags == stay
    assert proxy.take() is not None
    assert proxy.waiting_count == 0
    assert proxy.flags == stay, "the meter must not sleep while it is being asked"
    assert proxy.take() is None
    assert proxy.flags == 0


def test_a_hundred_at_most() -> None:
    proxy = GasProxy(MemoryNvm())
    assert all(proxy.wait(waiting()) for _ in range(MAX_WAITING))
    assert not proxy.wait(waiting())


def test_expiry() -> None:
    proxy = GasProxy(MemoryNvm())
    late, later = waiting(1, expires_utc_us=100), waiting(2, expires_utc_us=101)
    proxy.wait(later)
    proxy.wait(late)
    assert proxy.expire(utc_us=99) == []
    assert proxy.expire(utc_us=100) == [late]
    assert proxy.waiting_count == 1
    assert proxy.expire(utc_us=1000) == [later]
    assert LONGEST_WAIT_US == 24 * 3600 * 1_000_000
