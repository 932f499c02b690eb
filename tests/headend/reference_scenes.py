"""What a home must be like for a reference request to make sense, and why some are refused all the same.

A request of DCC's set says nothing of the home that it was made for: 2.5 asks for emergency credit, which a
meter gives only when the balance is low; 8.7 names devices that no other request knows. `set_scene` puts the
home into that state, by hands and meters and never by what is asked for. Each scene has its sentence for the
documentation, and so has each refusal that remains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from smets1.devices.prepayment import PaymentMode
from smets1.eui64 import parse_eui64
from smets1.headend.duis.codes import DeviceStatus, DeviceType
from smets1.headend.duis.request import DuisRequest
from smets1.headend.inventory import InventoryDevice
from smets1.hub.device_log import DeviceLogEntry
from smets1.tools.home import Home
from smets1.tools.home_config import Role
from smets1.tools.home_parts import DEVICE_TYPES

__all__ = ["HOME", "REFUSED", "SCENES", "set_scene", "why_refused"]

HOME: Final = "[han]\ngas_wake_s = 60\n[prepayment]\nmax_credit_threshold_pounds = 20\n"
_LOW_MP: Final = 50_000  # the emergency credit threshold is 100 000


def _mode(home: Home, request: DuisRequest) -> None:
    wanted = PaymentMode.CREDIT if request.body.find("CreditMode") else PaymentMode.PREPAYMENT
    for meter in (home.esme.meter, home.gsme.meter):
        if meter.account.mode is not wanted:
            meter.set_payment_mode(wanted, utc_us=home.clock.utc_us)


def _low_balance(home: Home, request: DuisRequest) -> None:
    for meter in (home.esme.meter, home.gsme.meter):
        meter.adjust_balance(_LOW_MP - meter.account.balance_mp, utc_us=home.clock.utc_us)


def _supply_off(home: Home, request: DuisRequest) -> None:
    for meter in (home.esme.meter, home.gsme.meter):
        meter.disable_supply(utc_us=home.clock.utc_us)


def _other_device(home: Home, request: DuisRequest) -> None:
    eui64 = parse_eui64(request.body.value("OtherDeviceID") or "")
    home.chf.device_log.add(
        DeviceLogEntry(eui64=eui64, link_key=bytes(16), device_type=DEVICE_TYPES[Role.IHD])
    )
    home.headend.inventory.put(
        InventoryDevice(
            eui64=eui64, device_type=DeviceType.IHD, hub=home.chf.eui64, status=DeviceStatus.COMMISSIONED
        )
    )


def _metering_point(home: Home, request: DuisRequest) -> None:
    inventory = home.headend.inventory
    meter = inventory.find(home.esme.eui64)
    assert meter is not None, "the home is enrolled"
    inventory.put(replace(meter, mpxn=request.body.value("ImportMPxN")))


Scene = Callable[[Home, DuisRequest], None]
SCENES: Final[dict[tuple[str, ...], tuple[Scene, str]]] = {
    ("1.5",): (_mode, "the meters are in the payment mode that the request names"),
    ("2.5",): (_low_balance, "50p are left, which is below the emergency credit threshold"),
    ("7.3",): (_supply_off, "the supply has been disabled"),
    ("8.7.1", "8.7.2", "8.8.1", "8.8.2"): (
        _other_device,
        "the other device is a display that the hub's device log names",
    ),
    ("6.23",): (_metering_point, "the meter has the MPAN that the request names"),
}
"""SRVs -> what is done before each of their requests, and how the documentation says it."""

REFUSED: Final = {
    "ECS29b_6.5": "sets a polyphase meter; this one has a single phase",
    "ECS29d_6.5": "sets a polyphase meter; this one has a single phase",
    "CS02gLoadControllerBySupplier_6.15.1": "places the certificates of a load controller, a role that SMETS1 "
    "devices do not have",
    "CS06_11.3_FUTURE_DATED": "names a hash that no image has; activation of an image that was delivered is in "
    "`tests/headend/test_firmware_delivery.py`",
    "CS06_11.3_IMMEDIATE": "names the same hash",
}
"""How a request's name begins -> why this home does not do it."""


def set_scene(home: Home, request: DuisRequest) -> None:
    for srvs, (scene, _) in SCENES.items():
        if request.srv in srvs:
            scene(home, request)


def why_refused(name: str) -> str | None:
    """None: there is no good reason, so it is a defect."""
    return next((why for start, why in REFUSED.items() if name.startswith(start)), None)
