"""A supplier at a bench: service requests carried out on a meter's clusters, without air, hub or WAN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.devices.meter_cores import any_meter

from smets1.devices.keypad import KeypadEntry
from smets1.devices.load import ConstantLoad
from smets1.devices.meter_clusters import MeterClusters
from smets1.devices.panel import Identity, Panel
from smets1.devices.prepayment_clusters import PrepaymentClusters
from smets1.devices.price_clusters import PriceClusters
from smets1.devices.tariff import Tariff
from smets1.devices.tokens import TopUpDesk
from smets1.firmware.civil import parse_utc
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.utrn import ValueClass, make_utrn
from smets1.firmware.zcl.execute import ZclCore
from smets1.firmware.zcl.server import CommandContext, Via
from smets1.hardware.radio import ApsSecurity
from smets1.headend.duis.codes import DeviceType
from smets1.headend.duis.request import XmlNode, parse_document, read_node
from smets1.headend.inventory import InventoryDevice
from smets1.headend.srv import PLANS
from smets1.headend.srv.steps import Answer, Outcome, RefusedByDeviceError, Task

START_US = parse_utc("2024-03-01T00:00:00Z")
ESME, SUPPLIER = 0x00DB1234567890A0, 1
KEY = bytes(16)
TARIFF = Tariff.flat(price_mp_per_kwh=30_000, standing_charge_mp=40_000)


def token(counter: int = 1, pounds: int = 5, key: bytes = KEY) -> str:
    """20 digits for the meter at the bench."""
    return make_utrn(
        key, originator=SUPPLIER, target=ESME, counter=counter, value=pounds, value_class=ValueClass.POUNDS
    )


class Time:
    """Civil time that stands still until it is told."""

    def __init__(self, utc_us: int) -> None:
        self.now_us = utc_us

    def utc_us(self) -> int:
        return self.now_us


class Bench:
    """One meter with its clusters, keys and glass. `cut` is a power cut: what was not committed is gone.

    `account`: how the meter's account begins (prepayment, mode, balance_mp).
    """

    def __init__(
        self,
        *,
        is_gas: bool = False,
        nvm: MemoryNvm | None = None,
        now_us: int = START_US,
        watts: int = 1000,
        **account: Any,
    ) -> None:
        self.is_gas = is_gas
        self.watts = watts
        self.nvm = nvm or MemoryNvm()
        self.time = Time(now_us)
        load = ConstantLoad(watts=watts, start_utc_us=START_US)
        self.meter: Any = any_meter(load, is_gas=is_gas, now_us=START_US, tariff=TARIFF, **account)
        self.core = ZclCore()
        self.desk = TopUpDesk(key=KEY, originator=SUPPLIER, target=ESME)
        if self.meter.restore(self.nvm):
            self.desk.restore(self.nvm)
        keypad = self.nvm.get("meter/keypad")
        self.panel = Panel(
            self.meter,
            self.desk,
            identity=Identity(),
            keypad=None if keypad is None else KeypadEntry.decode(keypad),
        )
        clusters = MeterClusters(self.core, self.meter, self.desk, self.time)  # type: ignore[arg-type]
        self.core.add_server(1, "device_information")
        PriceClusters(self.core, clusters, self.time)  # type: ignore[arg-type]
        PrepaymentClusters(self.core, clusters, self.time)  # type: ignore[arg-type]

    def cut(self) -> Bench:
        nvm = self.nvm.after_power_cut()
        return Bench(is_gas=self.is_gas, nvm=nvm, now_us=self.time.now_us, watts=self.watts)

    def save(self) -> None:
        """Put all of it; not yet committed."""
        self.meter.save(self.nvm)
        self.desk.save(self.nvm)
        self.nvm.put("meter/keypad", self.panel.encode())

    def execute(self, cluster_id: int, frame: bytes, *, via: Via = Via.SUA) -> bytes:
        """As a shell does: saved and committed before it is answered."""
        answer = self.carry_out(cluster_id, frame, via=via)
        self.save()
        self.nvm.commit()
        return answer

    def carry_out(self, cluster_id: int, frame: bytes, *, via: Via = Via.SUA) -> bytes:
        """The act alone, before anything of it is saved."""
        context = CommandContext(now_us=0, via=via, security=ApsSecurity.LINK_KEY)
        answer = self.core.execute(1, cluster_id, frame, context)
        assert answer is not None
        return answer

    def ask(self, srv: str, body: str, *, before: Callable[[int], Bench] | None = None) -> Outcome:
        """A whole service request. `before(n)`: which bench executes step n, from 0."""
        plan, bench, number = PLANS[srv], self, 0
        run = plan.run(self.task(srv, body))
        try:
            step = next(run)
            while True:
                bench = bench if before is None else before(number)
                via = Via.SUA if step.is_critical else Via.WIRE
                frame = bench.execute(step.cluster_id, step.frame, via=via)
                number += 1
                step = run.send(Answer(frame=frame, device_utc_us=None, is_from_gsme=False))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except RefusedByDeviceError as error:
            return plan.refuse(self.task(srv, body), error, position=number)

    def task(self, srv: str, body: str) -> Task:
        types = (DeviceType.ESME, DeviceType.GSME, DeviceType.CHF, DeviceType.GPF)
        home = tuple(
            InventoryDevice(eui64=ESME + number, device_type=kind, hub=ESME + 2)
            for number, kind in enumerate(types)
        )
        return Task(
            srv=srv,
            body=xml(body),
            device=home[1 if self.is_gas else 0],
            home=home,
            originator=1,
            counter=self.time.now_us,
            accepted_utc_us=self.time.now_us,
        )


def xml(text: str) -> XmlNode:
    """'<A><B>1</B></A>' without namespaces."""
    return read_node(parse_document(text.encode()))
