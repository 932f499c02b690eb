"""What every device has in flash: the ZigBee stack, ZCL, CBKE, the WAN link, NVM, clocks.

In and out: frames and messages as values; time, randomness and storage are handed in. The layers
are value machines; `device.py` is the shell that every device of the home shares.
`headend` meets `hub` only in `wan`; `sua.py` and `utrn.py` hold the two formulas that device and head
end share, each an assumption that a lab may swap.
"""
