"""The in-home display: reads, shows, commands nothing."""

from __future__ import annotations

from smets1.devices.display_device import DisplayDevice

__all__ = ["Ihd"]


class Ihd(DisplayDevice):
    """Pipit 500 without prepayment functions."""

    zigbee_device_id = 0x0502  # in-premise display
