"""Messages go to the methods that the class has, not to one that a part above has replaced."""

from __future__ import annotations

import pytest

from smets1.firmware.zigbee.node import HanNode
from smets1.firmware.zigbee.nwk_membership import NwkLayer
from smets1.firmware.zigbee.stack import ZigbeeStack
from smets1.firmware.zigbee.zdo import Zdo


@pytest.mark.parametrize("layer", [NwkLayer, ZigbeeStack, Zdo, HanNode])
def test_a_table_names_the_last_word_on_each_message(layer: type) -> None:
    names = [name for name in dir(layer) if name.endswith("_handlers")]
    assert names
    for name in names:
        table = getattr(layer, name)
        assert table, name
        for taken, method in table.items():
            assert getattr(layer, method.__name__) is method, taken
