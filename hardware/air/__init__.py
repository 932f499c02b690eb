"""The loopback air: 2.4 GHz as it is inside a house, in this process (radio spec `air:`).

In and out: whole IEEE 802.15.4 frames through `AirRadio`, a `FrameRadio`. Real times at 250 kbit/s,
unslotted CSMA-CA, acknowledgements as frames of their own, collisions, faults, pcapng capture.
Time comes from a `Scheduler`, randomness from one `random.Random`: equal seeds give equal octets.

    air = Air(scheduler, random.Random(7))
    meter = air.radio(0x00DB1234567890A0, "esme")
    air.faults.set_default(LinkFault(loss=0.2))
    capture = Capture(air, Path("home.pcapng"))
    air.inject(11, b"any octets")

Source: IEEE 802.15.4-2006, 6.5, 7.5.1, 7.5.6. Left out: beacon-enabled superframes, MAC security,
frames of version 2015, capture effect, fading. Vectors: tests/vectors/air_capture.pcapng. Try:
`python -m pytest tests/hardware` and `python tests/benchmarks/bench_air.py`.
"""

from smets1.hardware.air.capture import Capture
from smets1.hardware.air.channel import Fate
from smets1.hardware.air.faults import STRANGER, Faults, LinkFault
from smets1.hardware.air.medium import Air, Tap
from smets1.hardware.air.transceiver import AirRadio

__all__ = ["STRANGER", "Air", "AirRadio", "Capture", "Fate", "Faults", "LinkFault", "Tap"]
