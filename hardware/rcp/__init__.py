"""An 802.15.4 stick with OpenThread's RCP firmware, as a `FrameRadio` (radio spec `rcp:`).

In and out: whole IEEE 802.15.4 frames above; Spinel frames in HDLC-lite below, over a serial port, TCP
or an in-memory cable. The stick does channel access, acknowledgement and repeats; our own stack above
takes any role. The other end of the line, a simulated stick, is in `tools/dongle` and shares the codecs.

    radio = RcpRadio(open_pipe("/dev/ttyACM0"), eui64, loop)      # a FrameRadio from here on
    node = HanNode(radio, loop, nvm, rng, NodeRole.ROUTER)

Source: draft-rquattle-spinel-unified-00; OpenThread's spinel.h (RCP API version 11) for what came after
the draft. Left out: Thread, IPv6, several interfaces on one stick, MAC security on the stick, timed
transmission, GPIO. Vectors: the draft's, in tests/hardware/test_spinel.py. Try:
`python -m pytest tests/hardware/test_spinel*.py tests/tools/dongle` and `smets1 dongle --rcp`.
"""

from smets1.hardware.rcp.bridge import BridgeRadio
from smets1.hardware.rcp.pipe import BytePipe, MemoryCable, PipeListener, open_pipe
from smets1.hardware.rcp.radio import RcpRadio

__all__ = ["BridgeRadio", "BytePipe", "MemoryCable", "PipeListener", "RcpRadio", "open_pipe"]
