"""The devices on the wall: ESME, GSME, PPMID and IHD of a Secure set.

Cores are value machines (`meter`, `account`, `tariff`, `supply`, `tokens`, `keypad`,
`authorisation`, `load`, `screens`): consumption, time and instructions in, values and events out.
Shells (`esme`, `gsme`, `ppmid`, `ihd`) put them on the HAN. Documents: facts of SMETS1, ZigBee SE 1.2
D.3 and D.7, the Liberty 100 and Pipit 500 manuals as far as they are public.

Left out so far: export, TOU switching by the head end, load limiting, tamper, firmware images, CAD.
Try it: `smets1 demo`.
"""
