"""Whatever a display may read of the gas meter's account stands in its mirror, while the meter sleeps."""

from __future__ import annotations

from typing import Any

from smets1.firmware.civil import zigbee_s
from smets1.firmware.zcl.clusters.prepayment import OriginatingDevice

TOML = "[han]\nreport_interval_s = 1800\n[prepayment]\nbalance_pounds = 20\n"
NAMES = (
    *("overall_debt_cap", "total_credit_added", "max_credit_limit", "max_credit_per_top_up", "cut_off_value"),
    *("top_up_date_time_1", "top_up_amount_1", "top_up_originating_device_1", "top_up_code_1"),
    *("debt_amount_1", "debt_recovery_frequency_1", "debt_recovery_top_up_percentage_3"),
    "prepayment_alarm_status",
)


async def told(home: Any) -> dict[str, Any]:
    values = {}
    for start in range(0, len(NAMES), 4):
        values |= await home.ihd.app.read(0, 2, "prepayment", NAMES[start : start + 4])
    return values


async def test_limits_debts_and_the_last_top_up(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=40)
    meter, own = home.gsme.meter, home.gsme.clusters.prepayment
    before = await told(home)
    known = [name for name in NAMES if not name.startswith("top_up")]
    assert [before[name] for name in known] == [own.get(name) for name in known]
    assert (before["top_up_amount_1"], before["top_up_code_1"]) == (-(1 << 31), b""), "there was none"
    token = home.headend.make_utrn(home.gsme.eui64, pounds=5)
    assert (await home.ppmid.enter_utrn(token, "gas")).is_accepted
    meter.set_debts(time_1_mp=123_000, time_2_mp=0, payment_mp=0, utc_us=home.gsme.civil.utc_us())
    home.gsme.changed()
    await home.clock.advance(minutes=35)
    after = await told(home)
    assert after == {name: own.get(name) for name in NAMES}
    assert (after["top_up_amount_1"], after["total_credit_added"]) == (500_000, 500_000)
    assert after["top_up_originating_device_1"] == OriginatingDevice.IN_HOME_DISPLAY_DEVICE
    assert bytes(after["top_up_code_1"]) == token[-5:].encode()
    assert zigbee_s(home.clock.utc_us) - after["top_up_date_time_1"] < 4800
    assert after["debt_amount_1"] == 123_000


async def test_what_has_not_changed_is_not_told_again(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML)
    await home.clock.advance(minutes=40)
    reports: list[list[str]] = []
    send = home.gsme.app.send_report

    async def tap(destination: int, endpoint: int, instance: Any, names: Any) -> None:
        reports.append(list(names))
        await send(destination, endpoint, instance, names)

    home.gsme.app.send_report = tap
    await home.clock.advance(minutes=35)
    assert reports
    assert not any("max_credit_limit" in names for names in reports)
    home.chf.mirror.remove()
    await home.clock.advance(minutes=65)
    assert any("max_credit_limit" in names for names in reports), "a new mirror knows nothing"
