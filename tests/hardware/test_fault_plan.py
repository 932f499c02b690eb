"""Faults that come and go by the clock."""

from smets1.hardware.air.fault_plan import Away, Burst, Cut, FaultPlan, Partition

A, B, C = 0x1001, 0x1002, 0x1003
S = 1_000_000


def heard(bench) -> set[tuple[int, int]]:
    """Which of three radios is heard by which, apart from themselves."""
    faults = bench.air.faults
    return {
        (one, other)
        for one in (A, B, C)
        for other in (A, B, C)
        if one != other and faults.is_heard(one, other)
    }


def test_each_row_holds_from_its_start_to_its_end(bench) -> None:
    everything = heard(bench)
    plan = FaultPlan(bench.air)
    bench.scheduler.run_until(5 * S)  # times count from `begin`
    plan.begin(
        [
            Cut(sender=A, receiver=B, start_us=10 * S, end_us=20 * S),
            Cut(sender=A, receiver=B, start_us=15 * S, end_us=30 * S),
            Away(eui64=C, start_us=40 * S, end_us=50 * S),
            Partition(devices=(A, B), start_us=60 * S, end_us=70 * S),
            Partition(devices=(A, C), start_us=65 * S),
        ]
    )
    seen = {}
    for second in (14, 16, 24, 31, 36, 46, 56, 66, 71, 76):
        bench.scheduler.run_until(second * S)
        seen[second] = everything - heard(bench)
    without_c = {(A, C), (B, C), (C, A), (C, B)}
    assert seen == {
        14: set(),
        16: {(A, B)},
        24: {(A, B)},
        31: {(A, B)},  # the second row still wants it
        36: set(),
        46: without_c,
        56: set(),
        66: without_c,
        71: everything,  # two walls: each is alone
        76: {(A, B), (C, B), (B, A), (B, C)},
    }
    plan.end()
    assert heard(bench) == everything
    assert bench.air.faults.is_clear


def test_a_plan_that_ends_early_leaves_nothing_to_come(bench) -> None:
    plan = FaultPlan(bench.air)
    plan.begin([Away(eui64=A, start_us=S), Burst(length_us=S, period_us=2 * S)])
    plan.end()
    bench.run()
    assert bench.air.faults.is_clear
    assert bench.scheduler.now_us() < 2 * S


def test_one_row_is_added_and_taken_away_by_its_number(bench) -> None:
    everything = heard(bench)
    plan = FaultPlan(bench.air)
    plan.begin([Cut(sender=A, receiver=B)])
    bench.scheduler.run_until(100 * S)
    (away,) = plan.add([Away(eui64=C, start_us=10 * S, end_us=20 * S)])  # counts from now
    (again,) = plan.add([Cut(sender=A, receiver=B)])
    assert plan.remove(1)
    assert everything - heard(bench) == {(A, B)}, "another row still wants it"
    assert plan.remove(again)
    assert heard(bench) == everything
    bench.scheduler.run_until(115 * S)
    assert plan.rows == {away: Away(eui64=C, start_us=10 * S, end_us=20 * S)}
    assert (A, C) not in heard(bench)
    assert plan.remove(away)
    assert not plan.remove(away)
    assert heard(bench) == everything
    bench.run()
    assert bench.scheduler.now_us() < 120 * S


def test_noise_near_one_radio_disturbs_no_other(bench, frame) -> None:
    bench.no_backoff()
    a, b, c = bench.host(1), bench.host(2), bench.host(3)
    plan = FaultPlan(bench.air)
    plan.add([Burst(length_us=5_000, heard_by=(B,))])
    assert plan.rows == {}, "noise that comes once is not there any more"
    bench.scheduler.run_until(500)
    a.radio.transmit(frame(0xFFFF, 1, ack=False), retries=0)
    bench.run()
    assert (len(b.frames), len(c.frames)) == (0, 1)


def test_bursts_come_each_period_until_their_end(bench, frame) -> None:
    """5 ms of noise on channel 11, each 20 ms, for 0.1 s: what overlaps one is lost, and nothing else."""
    bench.no_backoff()
    a, b = bench.host(1), bench.host(2)
    FaultPlan(bench.air).begin(
        [Burst(channels=(11,), length_us=5_000, period_us=20_000, start_us=10_000, end_us=110_000)]
    )
    lost = []
    for number in range(30):
        start_us = number * 5_000 + 500
        bench.scheduler.run_until(start_us)
        before = len(b.frames)
        a.radio.transmit(frame(2, 1, ack=False), retries=0)
        bench.scheduler.run_until(start_us + 4_400)
        if len(b.frames) == before:
            lost.append(number)
    assert lost == [2, 6, 10, 14, 18]
