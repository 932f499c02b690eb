"""GetProfile in a home: a display of any make asks a meter, and the mirror of the gas meter."""

from __future__ import annotations

from typing import Any

from smets1.firmware.civil import zigbee_s
from smets1.firmware.zcl.clusters.metering import ProfileStatus

TOML = "[han]\nreport_interval_s = 1800\n[prepayment]\nbalance_pounds = 50\n" + "".join(
    f'[[load]]\nfuel = "{fuel}"\nkind = "constant"\nwatts = 2000\n' for fuel in ("electricity", "gas")
)


async def ask(home: Any, target: int, endpoint: int, channel: int = 0, periods: int = 4) -> dict[str, Any]:
    values = await home.ihd.app.request(
        target, endpoint, "metering", "get_profile", interval_channel=channel, end_time=0, number_of_periods=periods
    )  # fmt: skip
    return dict(values)


async def test_half_hours_of_both_fuels(smets1_home: Any) -> None:
    home = await smets1_home(toml=TOML, start="2023-01-16T00:00:00Z")
    await home.clock.advance(hours=5, minutes=10)
    esme = home.ihd.port.known_short(home.esme.eui64)
    electricity = await ask(home, esme, 1)
    assert electricity["intervals"] == [1000] * 4
    assert zigbee_s(home.clock.utc_us) - electricity["end_time"] in range(600, 700)
    gas = await ask(home, 0, 2, periods=2)
    last = home.chf.copies.profile.last_us(1 << 62)
    assert gas["end_time"] == zigbee_s(last)
    assert all(abs(litres - 89) <= 1 for litres in gas["intervals"]), "a kilowatt-hour in half an hour"
    exported = await ask(home, esme, 1, channel=1)
    assert (exported["status"], exported["intervals"]) == (ProfileStatus.SUCCESS, [0] * 4)
    assert (await ask(home, 0, 2, channel=1))["status"] == ProfileStatus.INTERVAL_CHANNEL_NOT_SUPPORTED
    assert (await ask(home, esme, 1, channel=2))["status"] == (
        ProfileStatus.UNDEFINED_INTERVAL_CHANNEL_REQUESTED
    )
    values = await home.ihd.app.read(esme, 1, "metering", ("max_number_of_periods_delivered",))
    assert values == {"max_number_of_periods_delivered": 24}
    home.esme.meter.change_tenancy(utc_us=home.esme.civil.utc_us())
    assert (await ask(home, esme, 1))["intervals"] == []
