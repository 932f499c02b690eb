"""The head end: what stands between the suppliers' back offices and the communications hubs.

Imitates, of the real system, the DSP's front door and inventory (SMI), the SMETS1 Service Provider
(S1SP) and the Dual Control Organisation (DCO).

In: DUIS request XML (`head_end.HeadEnd.submit`, or HTTP through `api.make_app`).
Out: WAN requests that carry ZCL frames, through anything with `ask(hub, WanRequest)`; DUIS response XML.

- `duis`       parse, verify, build, sign; no decisions
- `catalogue`  the 129 service reference variants and who may use them
- `srv`        one module per service family: from a request to the frames a device must execute
- `s1sp`       one instruction at a time per device, retries, expiry, exactly one response
- `dco`        holds the SUA keys; authorises Critical Instructions, one SUA for one instruction
- `sharing`    several workers on one store, with `leases` and `sql_nvm`; see README.md
- `non_device` what the DSP answers by itself: inventory, `schedules`; `alerts` who is told what, unasked
- `firmware`   images of 11.1 to the hubs
- `effects`    what a successful service changes in the inventory and in `credentials`
- `inventory`, `store`, `engine`, `users`, `pki`, `utrn_desk`, `precommand`, `waiting`

Sources: DUIS and MMC XML schemas 5.4; migration guide 2019-03, section on service requests.
Left out as yet: the service variants that `srv.PLANS` does not
list (they are answered with DCC alert N60).
This folder imports neither hub nor devices: they meet in WAN messages only.
"""
