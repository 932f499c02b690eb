"""When a device asks for its trust centre, and when it looks for it."""

from __future__ import annotations

from random import Random

from smets1.firmware.keep_alive import KeepAlive, KeepAliveStep

S = 1_000_000
MINUTE = 60 * S


def subject(seed=1, **options):
    return KeepAlive(Random(seed), now_us=0, **options)


def test_it_asks_after_base_and_a_random_part_of_the_jitter():
    due = [subject(seed).due_us for seed in range(200)]
    assert min(due) >= 10 * MINUTE
    assert max(due) <= 15 * MINUTE
    assert max(due) - min(due) > 4 * MINUTE
    machine = subject()
    assert machine.next_step(now_us=machine.due_us - 1) is KeepAliveStep.NOTHING
    assert machine.next_step(now_us=machine.due_us) is KeepAliveStep.ASK


def test_it_takes_base_and_jitter_from_the_trust_centre():
    machine = subject()
    machine.on_answer(2, 0, now_us=100)
    assert machine.due_us == 100 + 2 * MINUTE
    machine.on_answer(0, 60_000, now_us=0)  # out of range
    assert MINUTE <= machine.due_us <= MINUTE + 512 * S


def test_a_sleeping_device_asks_no_more_often_than_it_wakes():
    assert subject(shortest_us=30 * MINUTE).due_us == 30 * MINUTE


def test_three_misses_then_rejoins_a_minute_to_a_quarter_of_an_hour_apart():
    machine = subject()
    now, pauses = 0, []
    for misses in (1, 2, 3):
        assert not machine.is_lost
        now = machine.due_us
        machine.on_miss(now_us=now)
        assert machine.misses == misses
    assert machine.is_lost
    for _ in range(7):
        pauses.append((machine.due_us - now) // S)
        now = machine.due_us
        assert machine.next_step(now_us=now) is KeepAliveStep.REJOIN
        machine.on_rejoining(now_us=now)
        machine.on_back(now_us=now)
        assert machine.next_step(now_us=now + S) is KeepAliveStep.ASK
        machine.on_miss(now_us=now)
    assert pauses == [60, 120, 240, 480, 900, 900, 900]
    machine.on_answer(10, 0, now_us=now)
    assert not machine.is_lost
    assert machine.due_us == now + 10 * MINUTE
    for _ in range(3):
        now = machine.due_us
        machine.on_miss(now_us=now)
    assert machine.due_us - now == MINUTE  # the pauses begin anew


def test_coming_back_in_good_health_changes_nothing():
    machine = subject()
    due = machine.due_us
    machine.on_back(now_us=5)
    assert machine.due_us == due
