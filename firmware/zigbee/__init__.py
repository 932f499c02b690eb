"""The ZigBee PRO stack in a device's flash: MAC, NWK, APS, ZDO and the security between them.

In: frames of an 802.15.4 transceiver (FrameRadio of `hardware/radio.py`). Out: APS messages (HanPort).

- `node.HanNode`: the shell; the only module that meets a radio, a clock or asyncio.
- `stack.ZigbeeStack`: the layers put together; six verbs, no I/O.
- `mac`, `nwk`, `aps`, `zdo`, `trust_centre`: the layers. `security`: keys and counters, kept in NVM.
- `mac_frames`, `nwk_frames`, `aps_frames`, `zdp_frames`, `security_header`: octets.

Calls go down directly (APS -> NWK -> MAC), news goes up as event lists, so a lower layer knows nothing of
who sits above. Time comes in as `now_us`; each layer leaves its deadlines in one `timers.TimerQueue`.

Source: Zigbee 05-3474-21 with the feature set ZigBee PRO; IEEE 802.15.4-2006; Smart Energy 1.x security.

Left out: MAC security, beacon-enabled PANs and GTS; inter-PAN; tree addressing (PRO uses random
addresses); high-security mode (SKKE); the multicast mode of NWK (groups travel as broadcasts, as SE allows).
Not yet: many-to-one routes (source routes are followed, not made), PAN id and address conflicts, sending
Parent_annce and orphan notifications (both are answered), ageing of silent end devices (timeouts are kept).
Simplified: each node keeps a neighbour for every router that it hears; APS counters run per destination.

Vectors: spec examples in `tests/firmware/zigbee/`. Try: `python tests/benchmarks/bench_stack.py`
"""
