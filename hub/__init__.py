"""The communications hub of a Secure set: CHF (coordinator, trust centre, WAN end) and GPF.

In: requests of the head end as WAN messages, reports and questions of the devices as ZCL frames.
Out: their answers, and the head end's messages to the displays (`message_board.py`). The GPF mirrors the gas
meter (`gas_mirror.py`), answers for it out of its own copies of the meter's logs, and keeps what waits for it
to wake (`gas_delivery.py`). `admission.py` says who may be on the HAN.
Never imports `devices`: hub and devices meet only in ZCL.
"""
