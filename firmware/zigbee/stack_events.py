"""What a product fixes about its radio, and the news of a whole stack for its shell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from smets1.errors import EmulatorError
from smets1.eui64 import Eui64
from smets1.hardware.radio import (
    CHANNELS,
    LinkKey,
    NetworkInfo,
    SimpleDescriptor,
)

__all__ = ["HanConfig", "LeftDevice", "LinkKeyArrived", "NetworkDown", "NetworkUp", "ProcedureEnded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HanConfig:
    """What a product fixes about its radio; nothing here changes while it runs."""

    channels: tuple[int, ...] = tuple(CHANNELS)
    scan_exponent: int = 3  # (2^n + 1) * 15.36 ms a channel
    extended_pan_id: int | None = None  # coordinator; None: its EUI-64
    pan_id: int | None = None  # coordinator; None: at random, free on the channel
    network_key: bytes | None = field(default=None, repr=False)  # coordinator; None: at random
    endpoints: tuple[SimpleDescriptor, ...] = ()
    manufacturer_code: int = 0x0000
    may_join: Callable[[Eui64], bool] | None = None  # the whitelist; None: whoever has a link key here
    max_children: int = 1024
    link_status_period_us: int = 15_000_000
    concentrator_period_us: int = 600_000_000  # coordinator: how often it renews the routes to it; 0: never
    fragment_window: int = 1
    end_device_timeout: int = 8  # 0: 10 s, else 2^n minutes; after such silence the parent forgets us
    poll_interval_us: int | None = None  # sleepy end device, at power-up


# --- news for the shell -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NetworkUp:
    info: NetworkInfo


@dataclass(frozen=True, slots=True)
class NetworkDown:
    reason: str


@dataclass(frozen=True, slots=True)
class LinkKeyArrived:
    key: LinkKey


@dataclass(frozen=True, slots=True)
class LeftDevice:
    """Coordinator: a device has gone, of itself or removed."""

    eui64: Eui64


@dataclass(frozen=True, slots=True)
class ProcedureEnded:
    """form, join, restore, poll, remove or leave: `error` None where it went well."""

    handle: int
    error: EmulatorError | None = None
    value: bool = False
