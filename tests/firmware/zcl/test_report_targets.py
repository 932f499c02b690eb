"""Who gets reports: the binding table, who configured, groups under link keys; and what a power cut leaves."""

from __future__ import annotations

import pytest

from smets1.errors import DecodeError
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zcl import general as g
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.frame import general_frame
from smets1.firmware.zcl.report_targets import CONFIGURER_LIMIT, ReportTargets
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.firmware.zcl.status import Side
from smets1.hardware.radio import ApsSecurity, BoundTarget

DISPLAY, IDENTIFY, METERING = 0xD15, 0x0003, 0x0702
SUMMATION = g.ReportingRecord(0, 0x0000, 0x25, 5, 30, 10)
STATUS = g.ReportingRecord(0, 0x0014, 0x30, 0, 600, None)


class Routes:
    """The port's part: tables that the test writes."""

    def __init__(self) -> None:
        self.table: list[BoundTarget] = []
        self.shorts: dict[int, int] = {}
        self.partners: list[int] = []

    def bound_targets(self, endpoint: int, cluster_id: int) -> list[BoundTarget]:
        return list(self.table)

    def known_short(self, eui64: int) -> int | None:
        return self.shorts.get(eui64)

    def keyed_partners(self) -> list[int]:
        return self.partners


class Meter:
    """A meter's core as it comes up: clusters first, then what its memory says."""

    def __init__(self, nvm: MemoryNvm, routes: Routes | None = None) -> None:
        self.nvm, self.routes = nvm, routes or Routes()
        self.core = ZclCore()
        self.metering = self.core.add_server(1, "metering")
        self.metering.update(current_summation_delivered=1000, supply_status=2)
        self.targets = ReportTargets(self.core, self.routes, nvm)
        self.targets.restore(now_us=0)

    def configure(
        self,
        *records: g.ReportingRecord,
        source: int | None = 0x77,
        eui64: int | None = DISPLAY,
        endpoint: int = 4,
    ) -> None:
        context = CommandContext(
            now_us=0, via=Via.HAN, source=source, source_eui64=eui64, source_endpoint=endpoint,
            security=ApsSecurity.LINK_KEY,
        )  # fmt: skip
        frame = general_frame(g.ConfigureReporting(records), sender=Side.CLIENT, sequence=1)
        answer = self.core.execute(1, METERING, frame, context)
        assert answer == b"\x18\x01\x07\x00", "ConfigureReportingResponse, all well"

    def told(self) -> list[tuple[int, int]]:
        return [(target.short_address, target.endpoint) for target in self.targets.of(self.metering)]

    def after_power_cut(self) -> Meter:
        return Meter(self.nvm.after_power_cut(), self.routes)


def test_what_was_configured_goes_on_after_a_power_cut() -> None:
    meter = Meter(MemoryNvm())
    meter.configure(SUMMATION, STATUS)
    assert meter.after_power_cut().told() == [], "nothing is acknowledged before the device commits"
    meter.nvm.commit()
    again = meter.after_power_cut()
    assert again.told() == [(0x77, 4)]
    assert again.core.reporting.configuration(again.metering, 0) == SUMMATION
    assert again.core.reporting.configuration(again.metering, 0x14) == STATUS
    assert again.core.reporting.next_timer_us() == 30_000_000
    again.core.reporting.on_timer(now_us=30_000_000)
    assert [report.records for report in again.core.reporting.take_reports()] == [
        (g.TypedValue(0, 0x25, 1000),)
    ]


def test_a_change_after_the_power_cut_is_noticed() -> None:
    meter = Meter(MemoryNvm())
    meter.configure(SUMMATION)
    meter.nvm.commit()
    again = meter.after_power_cut()
    again.metering.set("current_summation_delivered", 1010)
    assert again.core.reporting.next_timer_us() == 5_000_000


def test_stopped_reports_are_not_begun_again() -> None:
    meter = Meter(MemoryNvm())
    meter.configure(SUMMATION)
    meter.nvm.commit()
    meter.configure(SUMMATION._replace(max_interval_s=0xFFFF))
    meter.nvm.commit()
    assert meter.after_power_cut().core.reporting.next_timer_us() is None
    assert meter.nvm.keys() == []


def test_a_configurer_is_found_at_its_present_address() -> None:
    meter = Meter(MemoryNvm())
    meter.configure(SUMMATION)
    meter.nvm.commit()
    meter.routes.shorts[DISPLAY] = 0x99  # it has rejoined elsewhere
    assert meter.told() == [(0x99, 4)]
    assert meter.after_power_cut().told() == [(0x99, 4)]
    meter.configure(SUMMATION, source=0x99)
    assert meter.told() == [(0x99, 4)], "known already"


def test_a_binding_that_took_its_place_is_remembered() -> None:
    meter = Meter(MemoryNvm())
    meter.configure(SUMMATION)
    meter.routes.table.append(BoundTarget(short_address=0x77, endpoint=4))
    assert meter.told() == [(0x77, 4)]
    meter.nvm.commit()
    meter.routes.table.clear()
    assert meter.after_power_cut().told() == [], "unbound, and not told again for having configured"


def test_configurers_are_limited() -> None:
    meter = Meter(MemoryNvm())
    for number in range(CONFIGURER_LIMIT + 3):
        meter.configure(SUMMATION, endpoint=number + 1)
    assert len(meter.told()) == CONFIGURER_LIMIT


def test_an_endpoint_that_goes_takes_its_reports_along() -> None:
    meter = Meter(MemoryNvm())
    meter.configure(SUMMATION)
    meter.nvm.commit()
    meter.core.remove_endpoint(1)
    assert meter.nvm.keys() == []
    meter.nvm.commit()
    assert meter.after_power_cut().core.reporting.next_timer_us() is None


def test_a_new_network_begins_without() -> None:
    meter = Meter(MemoryNvm())
    meter.configure(SUMMATION)
    meter.targets.forget()
    assert meter.nvm.keys() == []
    assert meter.told() == []
    assert meter.core.reporting.next_timer_us() is None


def test_a_cluster_that_the_firmware_has_no_more_keeps_its_record() -> None:
    meter = Meter(MemoryNvm())
    meter.configure(SUMMATION)
    meter.nvm.commit()
    other = ZclCore()
    nvm = meter.nvm.after_power_cut()
    ReportTargets(other, meter.routes, nvm).restore(now_us=0)
    assert other.reporting.next_timer_us() is None
    assert Meter(nvm).told() == [(0x77, 4)]


@pytest.mark.parametrize("octets", [b"", b"\xff", b"\x82\x80\x01", b"\x82\x81\x01\x80", b"\x82\x80\x81\x01"])
def test_damaged_memory_is_told(octets: bytes) -> None:
    nvm = MemoryNvm({"zcl/report/01/0702/0": octets})
    with pytest.raises(DecodeError):
        Meter(nvm)


def test_a_group_hears_what_needs_a_link_key_partner_by_partner() -> None:
    routes = Routes()
    routes.table.append(BoundTarget(group=5))
    routes.partners = [0x11, 0x22]
    meter = Meter(MemoryNvm(), routes)
    assert meter.targets.of(meter.metering) == [
        BoundTarget(short_address=0x11, group=5),
        BoundTarget(short_address=0x22, group=5),
    ]
    identify = meter.core.add_server(1, "identify")
    assert meter.targets.of(identify) == [BoundTarget(group=5)], "one broadcast: it needs no link key"
