"""Counts, beside the stack, what was sent, confirmed and delivered: each acknowledged message exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from smets1.firmware.device import Device
from smets1.firmware.zigbee.aps import ApsLayer
from smets1.firmware.zigbee.aps_tables import ApsConfirm, ApsStatus
from smets1.firmware.zigbee.stack import ZigbeeStack
from smets1.firmware.zigbee.stack_core import Handlers
from smets1.hardware.radio import ApsIndication, ApsMessage

Key = tuple[int, int, int, int, int, bytes]
_FIRST_BROADCAST = 0xFFF8


class Ledger:
    """Keys are (source, destination, cluster, both endpoints, payload); a ZCL payload has a sequence number."""

    def __init__(self) -> None:
        self.sent: Counter[Key] = Counter()
        self.confirmed: Counter[Key] = Counter()
        self.delivered: Counter[Key] = Counter()
        self._keys: dict[tuple[int, int], Key] = {}
        self._watched: set[int] = set()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Write down what every stack of this process submits, until the block ends."""
        original = ApsLayer.send
        handlers = ZigbeeStack._aps_handlers

        def send(layer: ApsLayer, message: ApsMessage, handle: int, *, now_us: int) -> None:
            original(layer, message, handle, now_us=now_us)
            if message.wants_ack and message.destination < _FIRST_BROADCAST:
                nwk = layer._nwk
                key = (nwk.short_address, message.destination, message.cluster_id, message.source_endpoint,
                       message.destination_endpoint, message.payload)  # fmt: skip
                self.sent[key] += 1
                if handle:
                    self._keys[nwk.eui64, handle] = key

        ApsLayer.send = send  # type: ignore[method-assign]
        ZigbeeStack._aps_handlers = self._handlers(handlers)
        try:
            yield
        finally:
            ApsLayer.send = original  # type: ignore[method-assign]
            ZigbeeStack._aps_handlers = handlers

    def watch(self, device: Device) -> None:
        """Write down what this device is told."""
        self._watched.add(device.eui64)

    def _handlers(self, original: Handlers) -> Handlers:
        """The stack's own, beside which confirmations and indications of watched devices are counted."""
        confirm, indicate = original[ApsConfirm], original[ApsIndication]

        def on_confirm(stack: Any, event: ApsConfirm, now_us: int) -> None:
            if stack.eui64 in self._watched:
                key = self._keys.pop((stack.eui64, event.handle), None)
                if key is not None and event.status is ApsStatus.SUCCESS:
                    self.confirmed[key] += 1
            confirm(stack, event, now_us)

        def on_indication(stack: Any, event: ApsIndication, now_us: int) -> None:
            if stack.eui64 in self._watched and not event.is_broadcast:
                self.delivered[event.source, stack.nwk.short_address, event.cluster_id, event.source_endpoint,
                               event.destination_endpoint, event.payload] += 1  # fmt: skip
            indicate(stack, event, now_us)

        return {**original, ApsConfirm: on_confirm, ApsIndication: on_indication}

    def mistakes(self) -> list[str]:
        """Confirmed but never delivered, or delivered more often than sent; empty where all is well."""
        found = []
        for key, sent in self.sent.items():
            confirmed, delivered = self.confirmed[key], self.delivered[key]
            if not confirmed <= delivered <= sent:
                found.append(f"{key[0]:04X} to {key[1]:04X} on {key[2]:04X}, {key[5].hex()}: sent {sent}, "
                             f"confirmed {confirmed}, delivered {delivered}")  # fmt: skip
        return found
