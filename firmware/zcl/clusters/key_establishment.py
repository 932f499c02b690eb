"""Key Establishment (0x0800): the messages of CBKE; `firmware.zcl.key_establishment` plays them.

Identity, ephemeral data and MAC are bare octets whose size follows from the suite (48 and 22 octets in
suite 1, 74 and 37 in suite 2, MAC 16), so they run to the end of the frame here.

Source: SE 1.2 07-5356-19, annex C.3.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, unique
from typing import Final

from smets1.firmware.zcl.declare import Cluster, attributes, generated, received

__all__ = ["KEY_ESTABLISHMENT", "KeyEstablishmentSuite", "TerminateStatus"]


class KeyEstablishmentSuite(IntFlag):
    """As an attribute the suites that a device supports; in a command exactly one."""

    CBKE_ECMQV = 0x0001  # crypto suite 1, sect163k1
    CBKE_ECMQV_283K1 = 0x0002  # crypto suite 2


@unique
class TerminateStatus(IntEnum):
    """Why an establishment ends."""

    UNKNOWN_ISSUER = 0x01
    BAD_KEY_CONFIRM = 0x02
    BAD_MESSAGE = 0x03
    NO_RESOURCES = 0x04
    UNSUPPORTED_SUITE = 0x05
    INVALID_KEY_USAGE = 0x06


_INITIATE = "suite:bm16 ephemeral_data_generate_time:u8 confirm_key_generate_time:u8 identity:octets"
_TERMINATE = "status:e8 wait_time:u8 suite:bm16"
_SUITE = "0000  key_establishment_suite  e16  M =0"

KEY_ESTABLISHMENT: Final = Cluster(
    cluster_id=0x0800,
    name="key_establishment",
    server=attributes(_SUITE),
    client=attributes(_SUITE),
    commands=(
        received(0x00, "initiate_key_establishment_request", _INITIATE, must=True),
        received(0x01, "ephemeral_data_request", "ephemeral_data:octets", must=True),
        received(0x02, "confirm_key_data_request", "mac:octets16", must=True),
        received(0x03, "terminate_key_establishment", _TERMINATE, must=True),
        generated(0x00, "initiate_key_establishment_response", _INITIATE, must=True),
        generated(0x01, "ephemeral_data_response", "ephemeral_data:octets", must=True),
        generated(0x02, "confirm_key_data_response", "mac:octets16", must=True),
        generated(0x03, "terminate_key_establishment", _TERMINATE, must=True),
    ),
)
