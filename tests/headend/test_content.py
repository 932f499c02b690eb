"""What every plan does with the body of a request: what is missing or no such thing is refused, with a reason."""

from __future__ import annotations

import pytest

from smets1.firmware.civil import parse_utc
from smets1.firmware.zcl.status import Status
from smets1.headend.duis.request import XmlNode
from smets1.headend.srv.content import index_of, number, required, utc_us
from smets1.headend.srv.steps import RefusedByDeviceError


def test_what_is_there() -> None:
    day = XmlNode("Day", text="7", attributes=(("index", "3"),), children=(XmlNode("Hour", text="-2"),))
    assert (number(day), number(day, "Hour"), index_of(day)) == (7, -2, 3)
    assert required(0, "nothing") == 0, "nought is something"
    assert utc_us("2024-01-01T00:00:00Z") == parse_utc("2024-01-01T00:00:00Z")


@pytest.mark.parametrize("text", [None, "", "soon", "2024-13-01T00:00:00Z"])
def test_what_is_no_time(text: str | None) -> None:
    with pytest.raises(RefusedByDeviceError) as caught:
        utc_us(text)
    assert caught.value.status == Status.INVALID_FIELD == 0x85


@pytest.mark.parametrize("attributes", [(), (("index", "first"),), (("index", ""),), (("indices", "1"),)])
def test_what_has_no_index(attributes: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(RefusedByDeviceError, match="Day has no index"):
        index_of(XmlNode("Day", attributes=attributes))


def test_what_is_not_there() -> None:
    with pytest.raises(RefusedByDeviceError, match="Hour is no number"):
        number(XmlNode("Day"), "Hour")
    with pytest.raises(RefusedByDeviceError, match="Day is no number"):
        number(XmlNode("Day", text="seven"))
    with pytest.raises(RefusedByDeviceError, match="nobody is here"):
        required(None, "nobody is here")
