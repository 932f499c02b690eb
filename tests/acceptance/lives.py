"""What outlives a kill: looked at by the programs whose process is killed and begun again."""

from __future__ import annotations

from collections.abc import Callable

from smets1.firmware.zigbee.mac_frames import MacCommand
from smets1.hardware.ieee802154 import peek
from smets1.tools.home import Home


def addresses_and_keys(home: Home) -> dict[str, object]:
    """Of every device, as JSON has it; a digest of the keys would do, but these are test keys."""
    found: dict[str, object] = {}
    for device in home.devices:
        network = device.port.network
        keys = [device.port.link_key(other.eui64) for other in home.devices]
        found[f"{device.eui64:016X}"] = [
            None if network is None else network.short_address,
            *(None if key is None else [key.origin.name, key.key.hex()] for key in keys),
        ]
    return found


def count_associations(home: Home) -> Callable[[], int]:
    """How many MAC association requests are sent from now on: joins, which a restart must not need."""
    seen: list[int] = []

    def look(time_us: int, psdu: bytes, sender: int, fate: object) -> None:
        frame = peek(psdu)
        if frame is not None and frame.command_id == MacCommand.ASSOCIATION_REQUEST:
            seen.append(time_us)

    home.air.tap(look)
    return lambda: len(seen)
