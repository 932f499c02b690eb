"""Who shows a meter's price, and telling them when it is another.

A display that has asked for the price is told each new one by PublishPrice, unasked, as a Smart Energy server
does; one that has left is told in vain until others take its place.

Source: SE 1.2 07-5356-19, D.4.2.4.1 (Publish Price, "when an update is available").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from smets1.firmware.zcl.application import ZclApplication
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zcl.status import Side

__all__ = ["PriceListeners"]

_MOST: Final = 8
_SHOWN: Final = ("price", "price_trailing_digit_and_price_tier", "rate_label")


class PriceListeners:
    """Of one price server: its application and endpoint."""

    def __init__(self, app: ZclApplication, endpoint: int) -> None:
        self._app = app
        self._endpoint = endpoint
        self._listeners: deque[tuple[int, int]] = deque(maxlen=_MOST)  # short address, endpoint
        self._told: tuple[Any, ...] | None = None

    def remember(self, context: CommandContext) -> None:
        """Somebody on the HAN has asked for the price."""
        listener = (context.source, context.source_endpoint)
        if context.via is Via.HAN and context.source is not None and listener not in self._listeners:
            self._listeners.append((context.source, context.source_endpoint))

    def tell(self, price: Mapping[str, Any]) -> None:
        """Fields of PublishPrice as they are now; sent where what is shown has changed."""
        shown = tuple(price[name] for name in _SHOWN)
        if shown == self._told:
            return
        is_first, self._told = self._told is None, shown
        for short_address, endpoint in () if is_first else self._listeners:
            self._app.command(
                short_address,
                endpoint,
                "price",
                "publish_price",
                sender=Side.SERVER,
                source_endpoint=self._endpoint,
                **price,
            )
