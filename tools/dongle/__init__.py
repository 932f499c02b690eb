"""Sticks that are not there: programs open them as serial ports or TCP, their antenna is our air.

In and out: octets of a serial line on one side, an `AirRadio` on the other. `Dongle` behaves as OpenThread's
RCP firmware does (Spinel in HDLC-lite, API version 11), so zigbee-on-host and our own `rcp:` driver work on
it; `EzspDongle` as EmberZNet's NCP firmware (EZSP 13 or 14 in ASH) with our stack as its network layer, so
bellows, zigpy and zigbee-herdsman do. Several may share an air with each other and the devices of a home.

    air = Air(loop, random.Random(7))
    dongle = Dongle(air, TcpPort("127.0.0.1", 9999), 0x00DB000000000001)
    await dongle.start()

Source: see `hardware/rcp`, `hardware/ezsp`. Left out of EZSP: see `ezsp_stick`; of the RCP: Thread, IPv6, MAC
security and timed transmission on the stick, several interfaces; a transmission without CSMA has it all the
same, and its limit of back-offs is that of the air. A frame whose sequence number repeats is not filtered, as
on a stick. Try: `smets1 dongle` (EZSP), `smets1 dongle --rcp` and `python -m pytest tests/tools/dongle`.
"""

from smets1.tools.dongle.dongle import Dongle
from smets1.tools.dongle.ezsp_dongle import EzspDongle
from smets1.tools.dongle.ezsp_stick import EzspStick
from smets1.tools.dongle.ports import PtyPort, TcpPort
from smets1.tools.dongle.rcp_stick import RcpStick

__all__ = ["Dongle", "EzspDongle", "EzspStick", "PtyPort", "RcpStick", "TcpPort"]
