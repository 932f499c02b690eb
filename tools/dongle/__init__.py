"""Sticks that are not there: programs open them as serial ports or TCP, their antenna is our air.

In and out: octets of a serial line (Spinel in HDLC-lite) on one side, an `AirRadio` on the other. It
behaves as OpenThread's RCP firmware does, API version 11, so zigbee-on-host and our own `rcp:` driver
work on it. Several sticks may share an air with each other and with the devices of a home.

    air = Air(loop, random.Random(7))
    dongle = Dongle(air, TcpPort("127.0.0.1", 9999), 0x00DB000000000001)
    await dongle.start()

Source: see `hardware/rcp`. Left out: Thread, IPv6, MAC security and timed transmission on the stick,
several interfaces; a transmission without CSMA has it all the same, and its limit of back-offs is that of
the air. A frame whose sequence number repeats is not filtered, as on a stick. Try: `smets1 dongle --rcp`
and `python -m pytest tests/tools/dongle`.
"""

from smets1.tools.dongle.dongle import Dongle
from smets1.tools.dongle.ports import PtyPort, TcpPort
from smets1.tools.dongle.rcp_stick import RcpStick

__all__ = ["Dongle", "PtyPort", "RcpStick", "TcpPort"]
