"""The devices on the wall: ESME, GSME, PPMID, IHD and CAD of a Secure set.

Cores are value machines: consumption, time, keys and instructions in, values and events out. `meter_life`
is how a meter lives, `meter_core` what can be done to it, `electricity_meter` and `gas_meter` the two
fuels; each further machine (`account`, `tariff`, `supply`, `tokens`, `load_limit`, `voltage`, ...) is one
of their parts. Shells (`esme`, `gsme`, `ppmid`, `ihd`) put them on the HAN. `README.md` lists every SMETS1
function with its module, source and test, and what is simplified.

Documents: facts of SMETS1, ZigBee SE 1.2 D.3 and D.7, DUIS 5.4, the Liberty 100 and Pipit 500 manuals as
far as they are public. Left out: polyphase meters, maximum demand, auxiliary load control (not SMETS1).
Try it: `smets1 demo`.
"""
