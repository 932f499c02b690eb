"""ZCL codec beside zigpy's, in one run: whole frames built and read, per second.

Run: python tests/benchmarks/bench_zcl.py. Wanted: 80 000 built, 40 000 read (docs/figures.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from smets1.firmware.zcl import general as g
from smets1.firmware.zcl.clusters import cluster_named
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.frame import ZclFrame, command_frame, general_frame, read_command
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zcl.status import Side

RECORDS = ((0x0000, 0x25, 0x4D64CC), (0x0400, 0x2A, 2547), (0x0014, 0x30, 2))


def per_second(work: Callable[[], object], seconds: float = 0.4) -> float:
    """The best of three runs."""
    best = 0.0
    for _ in range(3):
        count, started = 0, time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds / 3:
            for _ in range(200):
                work()
            count += 200
        best = max(best, count / spent)
    return best


def ours() -> dict[str, Callable[[], object]]:
    report = g.ReportAttributes(tuple(g.TypedValue(*record) for record in RECORDS))
    report_octets = general_frame(report, sender=Side.SERVER)
    response_octets = general_frame(
        g.ReadAttributesResponse(tuple(g.ReadRecord(a, 0, t, v) for a, t, v in RECORDS)), sender=Side.SERVER
    )
    metering = cluster_named("metering")
    values = {
        "provider_id": 1, "issuer_event_id": 2, "request_date_time": 0, "implementation_date_time": 0,
        "proposed_supply_status": 2, "supply_control_bits": 1,
    }  # fmt: skip
    command_octets = command_frame(metering, "change_supply", values)
    core = ZclCore()
    server = core.add_server(1, "metering")
    server.update(current_summation_delivered=5, instantaneous_demand=2547, supply_status=2)
    question = general_frame(g.ReadAttributes((0x0000, 0x0400, 0x0014)))
    context = CommandContext(now_us=0, via=Via.WAN)
    return {
        "report, 3 attributes: build": lambda: general_frame(
            g.ReportAttributes(tuple([g.TypedValue(*record) for record in RECORDS])), sender=Side.SERVER
        ),
        "report, 3 attributes: read": lambda: ZclFrame.decode(report_octets).general(),
        "report, message made before: serialise": lambda: general_frame(report, sender=Side.SERVER),
        "read response, 3 attributes: build": lambda: general_frame(
            g.ReadAttributesResponse(tuple([g.ReadRecord(a, 0, t, v) for a, t, v in RECORDS])),
            sender=Side.SERVER,
        ),
        "read response, 3 attributes: read": lambda: ZclFrame.decode(response_octets).general(),
        "change_supply: build": lambda: command_frame(metering, "change_supply", values),
        "change_supply: read": lambda: read_command(metering, command_octets),
        "execute a read of 3 attributes": lambda: core.execute(1, 0x0702, question, context),
    }


def zigpys() -> dict[str, Callable[[], object]]:
    from zigpy.zcl import foundation

    def attributes() -> list[foundation.Attribute]:
        found = []
        for attribute_id, type_id, value in RECORDS:
            kind = foundation.DataType.from_type_id(type_id).python_type
            found.append(
                foundation.Attribute(attribute_id, foundation.TypeValue(type=type_id, value=kind(value)))
            )
        return found

    report = foundation.GeneralCommand.Report_Attributes
    schema = foundation.GENERAL_COMMANDS[report].schema

    def build() -> bytes:
        header = foundation.ZCLHeader.general(tsn=0, command_id=report)
        octets: bytes = header.serialize() + schema(attributes()).serialize()
        return octets

    octets = build()
    made = schema(attributes())
    made_header = foundation.ZCLHeader.general(tsn=0, command_id=report)

    def read() -> object:
        _, rest = foundation.ZCLHeader.deserialize(octets)
        return schema.deserialize(rest)

    return {
        "report, 3 attributes: build": build,
        "report, message made before: serialise": lambda: made_header.serialize() + made.serialize(),
        "report, 3 attributes: read": read,
    }


def main() -> None:
    try:
        theirs = {name: per_second(work) for name, work in zigpys().items()}
    except ImportError:
        theirs = {}
        print("zigpy is not installed: ours alone")
    print(f"{'whole ZCL frame':40} {'ours/s':>10} {'zigpy/s':>10} {'ratio':>7}")
    for name, work in ours().items():
        rate, other = per_second(work), theirs.get(name)
        beside = f"{other:10,.0f} {rate / other:6.1f}x" if other else ""
        print(f"{name:40} {rate:10,.0f} {beside}")


if __name__ == "__main__":
    main()
