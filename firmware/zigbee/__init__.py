"""The ZigBee PRO stack in a device's flash: MAC, NWK, APS, ZDO and the security between them.

In: frames of an 802.15.4 transceiver (FrameRadio of `hardware/radio.py`). Out: APS messages (HanPort).

- `node.HanNode`: the shell; the only module that meets a radio, a clock or asyncio.
- `stack.ZigbeeStack`: the layers put together; six verbs, no I/O.
- `mac`, `nwk`, `aps`, `zdo`, `trust_centre`: the layers. Most are cut into parts of one idea each, the
  last of which inherits the others: `mac_queue`, `mac_device`; `nwk_broadcast`, `nwk_routing`,
  `nwk_concentrator`, `nwk_parent`, `nwk_ageing`, `nwk_conflict`, `nwk_membership`; `aps_sending`;
  `stack_core` to `stack_leaving`.
- `mac_events`, `nwk_events`, `stack_events`: what they tell upwards. `security`: keys, counters, their NVM.
- `mac_frames`, `nwk_frames`, `aps_frames`, `zdp_frames`, `security_header`: octets.

Calls go down directly (APS -> NWK -> MAC), news goes up as event lists, so a lower layer knows nothing of
who sits above. Time comes in as `now_us`; each layer leaves its deadlines in one `timers.TimerQueue`.

Source: Zigbee 05-3474-21 with the feature set ZigBee PRO; IEEE 802.15.4-2006; Smart Energy 1.x security.

Left out: MAC security, beacon-enabled PANs and GTS; inter-PAN; tree addressing and routing (stack profile 2,
that of Smart Energy, gives random addresses and routes by mesh only; stack profile 1 has both); high-security
mode (SKKE); the multicast mode of NWK (groups travel as broadcasts, as SE allows).
A data poll proves nothing, yet keeps a child alive, as the specification has it.
Simplified: each router keeps a neighbour for every router that it hears; APS counters run per destination.

Vectors: spec examples in `tests/firmware/zigbee/`. Try: `python tests/benchmarks/bench_stack.py`
"""
