"""Times of day as DUIS writes them (xs:time): whole minutes UTC, with the two ways to write midnight."""

from __future__ import annotations

import pytest

from smets1.headend.srv.calendars import minute_of, time_text
from smets1.headend.srv.steps import RefusedByDeviceError


@pytest.mark.parametrize(
    ("text", "minute"),
    [("00:00:00", 0), ("07:30:00.00Z", 450), ("23:59:00Z", 1439), ("24:00:00Z", 0), ("24:00:00.00+00:00", 0)],
)
def test_a_minute_of_the_day(text: str, minute: int) -> None:
    assert minute_of(text) == minute
    assert minute_of(time_text(minute)) == minute


@pytest.mark.parametrize(
    "text", ["", None, "24:01:00Z", "25:00:00Z", "07:60:00Z", "07:30:01Z", "07:30:00+01:00"]
)
def test_what_is_none(text: str | None) -> None:
    with pytest.raises(RefusedByDeviceError):
        minute_of(text)
