"""The hub's configuration parameters: the registry that every device of a home has.

What the hub lives by and somebody may set is how often its devices prove that they hear it; all else is in
its device log. Written over ZCL by the head end, or by the operator.

Source: SE 1.2 07-5356-19, A.3 (Keep-Alive).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from smets1.devices.parameter_service import ParameterService
from smets1.devices.parameters import Access, Parameter
from smets1.firmware.device import ENDPOINT
from smets1.hub import chf

__all__ = ["HUB_PARAMETERS", "Chf"]

_SOURCE: Final = "SE 1.2, Keep-Alive"
HUB_PARAMETERS: Final = tuple(
    Parameter(
        name=name,
        default=default,
        unit=unit,
        low=low,
        high=high,
        readers=frozenset(Access),
        is_critical=False,
        source=_SOURCE,
    )
    for name, default, unit, low, high in (
        ("keep_alive_base", 10, "min", 1, 255),
        ("keep_alive_jitter", 300, "s", 0, 512),
    )
)


class Chf(chf.Chf):
    """A hub whose parameters are kept in its memory."""

    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        information = self.app.core.server(ENDPOINT, "device_information")
        self.parameters = ParameterService(information, self.nvm, self.civil, registry=HUB_PARAMETERS)
        keep_alive = self.app.core.server(ENDPOINT, "keep_alive")
        for name in self.parameters.book.names:
            self.parameters.follow(name, partial(keep_alive.set, name))
