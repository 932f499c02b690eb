"""A stick with the network layer on it (Silicon Labs EmberZNet), as a modem (radio spec `ezsp:`).

In and out: APS messages above (`HanPort`), EZSP commands in ASH frames below. ASH and the tables of commands
(versions 13 and 14) are our own and serve both ends: the other end of the line, a simulated stick, is in
`tools/dongle`. The driver for devices and hub (`radio.py`) goes through bellows' `EZSP` class instead, which
speaks 13 to 19 and has met more sticks than anybody else.

    link = AshLink(AshRole.HOST)
    frame = EzspFrame(sequence=0, frame_id=0, parameters=b"\\x0d", is_legacy=True)

Source: Silicon Labs UG100 (EZSP), UG101 (ASH). Left out: SPI, secure EZSP, Green Power, ZLL, manufacturing
tests. Judge of the tables: bellows, in tests/hardware/test_ezsp_commands.py. Try:
`python -m pytest tests/hardware/test_ash.py tests/tools/dongle` and `smets1 dongle --ezsp`.
"""

from smets1.hardware.ezsp.ash_link import AshData, AshDown, AshLink, AshReset, AshRole, AshUp
from smets1.hardware.ezsp.commands import commands, commands_by_id
from smets1.hardware.ezsp.frames import EzspFrame

__all__ = [
    "AshData",
    "AshDown",
    "AshLink",
    "AshReset",
    "AshRole",
    "AshUp",
    "EzspFrame",
    "commands",
    "commands_by_id",
]
