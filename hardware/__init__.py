"""What is soldered to the board: the crystal, the radio, the stick, the rig.

In and out: whole IEEE 802.15.4 frames (frame radios) or APS messages (modems); time in
microseconds. `radio.py` holds the small interfaces that the rest sees; every driver has an
in-memory twin (`air:`), so every program runs with no stick plugged in.
"""
