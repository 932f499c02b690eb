"""What parameters do that no core lives by: names and money on the glass, PINs, the keypad's lock, the clock.

Those of a core (thresholds, limits, battery) are written into it by the registry. These are kept there,
and whoever lives by them is told here: at the start, and whenever something was written.
"""

from __future__ import annotations

from typing import Final

from smets1.devices.days import SECOND_US
from smets1.devices.display import DisplayModel
from smets1.devices.meter_clusters import MeterClusters
from smets1.devices.meter_face import MeterFace
from smets1.devices.parameter_service import ParameterService
from smets1.devices.pin import PrivacyLock
from smets1.devices.screens import SYMBOLS
from smets1.firmware.upkeep import Upkeep
from smets1.firmware.zcl.server import ClusterInstance

__all__ = ["govern_display", "govern_meter"]

_ISO_4217: Final = {"GBP": 826, "EUR": 978}


def _govern_any(parameters: ParameterService, privacy: PrivacyLock, upkeep: Upkeep) -> None:
    parameters.follow("privacy_pin", privacy.set_pin)
    parameters.follow("clock_synchronisation_interval", upkeep.set_time_interval)


def govern_meter(
    parameters: ParameterService,
    *,
    face: MeterFace,
    clusters: MeterClusters,
    management: ClusterInstance,
    upkeep: Upkeep,
) -> None:
    """`management`: the meter's device_management. Names and MPxN are read from the registry where shown."""
    book, keypad = parameters.book, face.panel.keypad

    def set_lock(seconds: int) -> None:
        keypad.lock_us = seconds * SECOND_US

    def set_currency(code: str) -> None:
        keypad.symbol, clusters.currency = SYMBOLS[code], _ISO_4217[code]

    _govern_any(parameters, face.panel.privacy, upkeep)
    parameters.follow("keypad_lock", set_lock)
    parameters.follow("currency", set_currency)
    number = "mpan" if "mpan" in book.names else "mprn"
    management.bind("provider_name", lambda: str(book.value("supplier_name")).encode())
    management.bind("provider_contact_details", lambda: str(book.value("supplier_contact")).encode())
    clusters.metering.bind("site_id", lambda: str(book.value(number)).encode())


def govern_display(
    parameters: ParameterService, *, model: DisplayModel, privacy: PrivacyLock, upkeep: Upkeep
) -> None:
    def set_supplier(_value: str) -> None:
        book = parameters.book
        model.supplier = str(book.value("supplier_name")), str(book.value("supplier_contact"))

    def set_currency(code: str) -> None:
        model.symbol = SYMBOLS[code]

    _govern_any(parameters, privacy, upkeep)
    parameters.follow("supplier_name", set_supplier)
    parameters.follow("currency", set_currency)
