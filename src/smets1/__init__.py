"""smets1: an emulator of a GB SMETS1 smart-metering home, octet-exact on the HAN.

The sub-packages show the architecture; imports point down this list only:
tools -> headend, hub, devices -> firmware -> hardware -> (errors, eui64).
"""

__version__ = "0.1.0"
