"""ZigBee Cluster Library and Smart Energy: the application layer that every device has in flash.

Octets of APS payloads in, octets out. `types`, `fields`, `declare`, `clusters` are data and codecs;
`frame` and `general` the messages; `server` and `execute` a device's attributes and what a frame does to
them (no I/O); `reporting` when a report is due, `report_targets` whose it is; `key_establishment` a value
machine; `application` the thin asyncio shell over a HAN port.

Documents: ZCL 07-5123 rev 7; Smart Energy 07-5356-15 to -19, 15-0131-02; CBKE in annex C.
Left out or simplified: scenes; selectors of structured reads and writes go one level into
arrays and structures; a device that configures reporting is bound by doing so; a report to a group
that needs a link key goes to each partner under its own; responses that outgrow an
APS payload are left to APS fragmentation.

Try it: `pytest tests/firmware/zcl`, `python tests/benchmarks/bench_zcl.py`.
"""
