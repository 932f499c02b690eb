"""The host's side of Spinel as a value machine: brings a stick up, keeps it as wanted, sends and hears.

Start: a reset, which the stick confirms with a status that nobody asked for; then its versions and
capabilities; then everything that is wanted of it (`want`), from which moment it is up. A stick that
resets by itself, or stops answering, goes through the same again and ends as it was: whoever is above
sees one frame that was not acknowledged.

One property command is under way at a time, as in OpenThread's own host, since a stick has little room.
A transmission takes longer and has its own place beside it. Time is integer microseconds; octets come
and go unframed by time or size.

Source: draft-rquattle-spinel-unified-00, 4, 5, C.1 (initialisation); facts in spinel.py.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Any, Final

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.hardware.radio import TransmitOutcome
from smets1.hardware.rcp.hdlc import FLAG, HdlcDecoder, hdlc_frame
from smets1.hardware.rcp.spinel import (
    Capability,
    Command,
    Property,
    RawReceived,
    RawTransmit,
    ScanState,
    SpinelFrame,
    Status,
    TransmitDone,
    decode_value,
    encode_value,
)

__all__ = ["Energy", "Heard", "RcpHost", "Refused", "StickInfo", "StickLost", "StickUp", "Transmitted"]

RESET_WAIT_US: Final = 2_000_000
ANSWER_WAIT_US: Final = 1_000_000
TRANSMIT_WAIT_US: Final = 1_500_000  # four tries with all their back-offs stay below 400 ms
TRIES: Final = 3
_TRANSACTIONS: Final = 15
_ENERGY_UNKNOWN_DBM: Final = 0  # where the stick cannot measure: nobody should choose that channel
_NATIVE: Final = 15_360  # statuses from here on are OpenThread's own error numbers
_NO_ACKS: Final = (Status.NO_ACK, _NATIVE + 14)
_ACK_REQUEST: Final = 0x20
_FULL_LQI: Final = 255
_PROBED: Final = (
    Property.PROTOCOL_VERSION,
    Property.NCP_VERSION,
    Property.CAPS,
    Property.HWADDR,
    Property.RCP_API_VERSION,
)
_TABLES: Final = (Property.MAC_SRC_MATCH_SHORT_ADDRESSES, Property.MAC_SRC_MATCH_EXTENDED_ADDRESSES)
_ORDER: Final = (  # of applying what is wanted: the radio on first, hearing last
    Property.PHY_ENABLED,
    Property.MAC_15_4_LADDR,
    Property.PHY_CHAN,
    Property.MAC_15_4_PANID,
    Property.MAC_15_4_SADDR,
    Property.MAC_SRC_MATCH_ENABLED,
    Property.MAC_SRC_MATCH_SHORT_ADDRESSES,
    Property.MAC_SRC_MATCH_EXTENDED_ADDRESSES,
    Property.MAC_RAW_STREAM_ENABLED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StickInfo:
    """What a stick says of itself."""

    protocol: tuple[int, ...]
    version: str
    hardware_eui64: Eui64
    api_version: int | None  # None: firmware of before there was one
    capabilities: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StickUp:
    info: StickInfo


@dataclass(frozen=True, slots=True)
class StickLost:
    """It does not answer, or is no radio co-processor: close the port and open it again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A property that is wanted and cannot be had."""

    prop: Property
    status: int


@dataclass(frozen=True, slots=True)
class Heard:
    psdu: bytes
    lqi: int
    rssi_dbm: int


@dataclass(frozen=True, slots=True)
class Transmitted:
    outcome: TransmitOutcome


@dataclass(frozen=True, slots=True)
class Energy:
    channel: int
    rssi_dbm: int


@unique
class _Phase(IntEnum):
    CLOSED = 0
    RESETTING = 1
    PROBING = 2
    UP = 3


@dataclass(frozen=True, slots=True)
class _Step:
    """A property command to send. `tries_left` after this one."""

    command: Command
    prop: Property
    payload: bytes = b""
    tries_left: int = TRIES - 1


class RcpHost:
    """One stick. The shell calls the `on_` methods and `receive`, then drains octets and events."""

    def __init__(self) -> None:
        self._phase = _Phase.CLOSED
        self._decoder = HdlcDecoder()
        self._octets = bytearray()
        self._events: list[object] = []
        self._wanted: dict[Property, Any] = {Property.PHY_ENABLED: True, Property.MAC_SRC_MATCH_ENABLED: True}
        self._overfull: dict[Property, None] = {}  # tables that the stick has no room for
        self._steps: deque[_Step] = deque()
        self._step: _Step | None = None
        self._step_transaction = 0
        self._step_until_us = 0
        self._raw: RawTransmit | None = None  # the frame at hand
        self._raw_transaction = 0  # 0: it has not gone to the stick yet
        self._raw_until_us = 0
        self._scanned: int | None = None
        self._scan_us = 0
        self._scan_until_us: int | None = None
        self._transaction = 0
        self._resets_left = 0
        self._probed: dict[Property, Any] = {}
        self.info: StickInfo | None = None
        self.bad_count = 0
        """Frames from the stick that could not be read; those with a bad CRC not counted."""

    @property
    def is_up(self) -> bool:
        return self._phase is _Phase.UP

    def take_octets(self) -> bytes:
        octets = bytes(self._octets)
        self._octets.clear()
        return octets

    def take_events(self) -> list[object]:
        events, self._events = self._events, []
        return events

    # --- the line ---------------------------------------------------------------------------------------

    def on_open(self, *, now_us: int) -> None:
        """The line is there. Whatever the stick was doing, it begins again."""
        self._decoder = HdlcDecoder()
        self._resets_left = TRIES
        self._reset(now_us)

    def on_closed(self) -> None:
        """The line is gone: the frame at hand was not acknowledged."""
        self._phase = _Phase.CLOSED
        self._octets.clear()
        self._abandon()

    def receive(self, octets: bytes, *, now_us: int) -> None:
        """Any octets off the line. Raises nothing."""
        for frame in self._decoder.feed(octets):
            try:
                self._on_frame(SpinelFrame.decode(frame), now_us)
            except DecodeError:
                self.bad_count += 1

    def next_timer_us(self) -> int | None:
        times = []
        if self._step is not None or self._phase is _Phase.RESETTING:
            times.append(self._step_until_us)
        if self._raw_transaction:
            times.append(self._raw_until_us)
        if self._scan_until_us is not None:
            times.append(self._scan_until_us)
        return min(times, default=None)

    def on_timer(self, *, now_us: int) -> None:
        if self._scan_until_us is not None and now_us >= self._scan_until_us:
            self._end_scan(_ENERGY_UNKNOWN_DBM)
        if self._raw_transaction and now_us >= self._raw_until_us:
            self._end_transmission(TransmitOutcome.NO_ACK)
        if self._phase is _Phase.RESETTING and now_us >= self._step_until_us:
            self._reset(now_us)
        elif self._step is not None and now_us >= self._step_until_us:
            step, self._step = self._step, None
            if step.tries_left:
                self._steps.appendleft(_Step(step.command, step.prop, step.payload, step.tries_left - 1))
            else:
                self._resets_left = TRIES
                self._reset(now_us)
        self._pump(now_us)

    # --- what is asked of the stick -----------------------------------------------------------------------

    def want(self, prop: Property, value: Any, *, now_us: int) -> None:
        """A property that the stick is to have from now on, however often it starts again."""
        if self._wanted.get(prop) == value:
            return
        self._wanted[prop] = value
        if self._phase is _Phase.UP:
            self._steps.append(_Step(Command.PROP_VALUE_SET, prop, encode_value(prop, value)))
            self._pump(now_us)

    def transmit(self, psdu: bytes, *, retries: int, now_us: int) -> None:
        """One frame at a time; ends in one `Transmitted`."""
        assert self._raw is None
        channel = self._wanted.get(Property.PHY_CHAN, 11)
        self._raw = RawTransmit(psdu=psdu, channel=channel, retries=retries)
        self._raw_transaction = 0
        self._raw_until_us = now_us + TRANSMIT_WAIT_US
        if self._phase is not _Phase.UP:
            self._raw_transaction = -1  # waits for the stick, but not for ever
        else:
            self._steps.append(_Step(Command.PROP_VALUE_SET, Property.STREAM_RAW))
            self._pump(now_us)

    def scan_energy(self, channel: int, duration_us: int, *, now_us: int) -> None:
        """Ends in one `Energy`."""
        self._scanned = channel
        self._scan_us = duration_us
        self._scan_until_us = now_us + duration_us + TRANSMIT_WAIT_US
        if self._phase is _Phase.UP:
            period_ms = max(1, duration_us // 1000)
            for prop, value in (
                (Property.MAC_SCAN_MASK, (channel,)),
                (Property.MAC_SCAN_PERIOD, min(period_ms, 0xFFFF)),
                (Property.MAC_SCAN_STATE, ScanState.ENERGY),
            ):
                self._steps.append(_Step(Command.PROP_VALUE_SET, prop, encode_value(prop, value)))
            self._pump(now_us)

    # --- coming up ----------------------------------------------------------------------------------------

    def _reset(self, now_us: int) -> None:
        if not self._resets_left:
            self._phase = _Phase.CLOSED
            self._abandon()
            self._events.append(StickLost("the stick does not answer"))
            return
        self._resets_left -= 1
        self._phase = _Phase.RESETTING
        self._drop_steps()
        self._octets.append(FLAG)  # ends whatever half a frame the stick has
        self._put(SpinelFrame(transaction=0, command=Command.RESET))
        self._step_until_us = now_us + RESET_WAIT_US

    def _probe(self, now_us: int) -> None:
        """The stick has started."""
        if self._raw_transaction > 0:
            self._end_transmission(TransmitOutcome.NO_ACK)
        if self._scanned is not None and self._phase is _Phase.UP:
            self._end_scan(_ENERGY_UNKNOWN_DBM)
        self._phase = _Phase.PROBING
        self._drop_steps()
        self._probed.clear()
        self._steps.extend(_Step(Command.PROP_VALUE_GET, prop) for prop in _PROBED)
        self._pump(now_us)

    def _on_probed(self, now_us: int) -> None:
        probed = self._probed
        capabilities = probed.get(Property.CAPS, ())
        if Capability.MAC_RAW not in capabilities:
            self._phase = _Phase.CLOSED
            self._abandon()
            self._events.append(StickLost("the stick is no radio co-processor (it has no raw MAC)"))
            return
        self.info = StickInfo(
            protocol=probed.get(Property.PROTOCOL_VERSION, ()),
            version=probed.get(Property.NCP_VERSION, ""),
            hardware_eui64=probed.get(Property.HWADDR, 0),
            api_version=probed.get(Property.RCP_API_VERSION),
            capabilities=capabilities,
        )
        self._phase = _Phase.UP
        for prop in _ORDER:
            if prop in self._wanted:
                value = encode_value(prop, self._wanted[prop])
                self._steps.append(_Step(Command.PROP_VALUE_SET, prop, value))
        if self._raw is not None:
            self._raw_transaction = 0
            self._steps.append(_Step(Command.PROP_VALUE_SET, Property.STREAM_RAW))
        self._events.append(StickUp(self.info))
        if self._scanned is not None:
            self.scan_energy(self._scanned, self._scan_us, now_us=now_us)

    # --- going out ------------------------------------------------------------------------------------------

    def _pump(self, now_us: int) -> None:
        while self._steps and self._step is None and self._phase >= _Phase.PROBING:
            step = self._steps.popleft()
            transaction = self._next_transaction()
            payload = step.payload
            if step.prop is Property.STREAM_RAW:
                if self._raw is None:
                    continue
                payload = self._raw.encode()
                self._raw_transaction = transaction
                self._raw_until_us = now_us + TRANSMIT_WAIT_US
            else:
                self._step = step
                self._step_transaction = transaction
                self._step_until_us = now_us + ANSWER_WAIT_US
            self._put(
                SpinelFrame(transaction=transaction, command=step.command, prop=step.prop, payload=payload)
            )

    def _put(self, frame: SpinelFrame) -> None:
        self._octets += hdlc_frame(frame.encode())

    def _next_transaction(self) -> int:
        """1..15, none that is under way."""
        while True:
            self._transaction = self._transaction % _TRANSACTIONS + 1
            if self._transaction != self._raw_transaction:
                return self._transaction

    def _drop_steps(self) -> None:
        self._steps.clear()
        self._step = None

    def _abandon(self) -> None:
        """Whoever waits is told."""
        self._drop_steps()
        if self._raw is not None:
            self._end_transmission(TransmitOutcome.NO_ACK)
        if self._scanned is not None:
            self._end_scan(_ENERGY_UNKNOWN_DBM)

    # --- coming in ------------------------------------------------------------------------------------------

    def _on_frame(self, frame: SpinelFrame, now_us: int) -> None:
        if frame.interface or frame.command != Command.PROP_VALUE_IS:
            return
        if frame.prop == Property.STREAM_RAW:
            self._on_heard(RawReceived.decode(frame.payload))
        elif frame.transaction and frame.transaction == self._raw_transaction:
            self._on_transmit_done(frame)
        elif self._step is not None and frame.transaction == self._step_transaction:
            self._on_answer(frame, now_us)
        elif frame.transaction == 0:
            self._on_news(frame, now_us)
        self._pump(now_us)

    def _on_heard(self, received: RawReceived) -> None:
        if self._phase is _Phase.UP:
            lqi = _FULL_LQI if received.lqi is None else received.lqi
            self._events.append(Heard(received.psdu, lqi, received.rssi_dbm))

    def _on_transmit_done(self, frame: SpinelFrame) -> None:
        if frame.prop != Property.LAST_STATUS:
            return
        assert self._raw is not None
        done = TransmitDone.decode(frame.payload)
        if done.status in _NO_ACKS:
            outcome = TransmitOutcome.NO_ACK
        elif done.status != Status.OK:
            outcome = TransmitOutcome.CHANNEL_BUSY  # not sent, whatever the reason
        elif not self._raw.psdu[0] & _ACK_REQUEST:
            outcome = TransmitOutcome.SENT
        else:
            outcome = TransmitOutcome.ACKED_PENDING if done.is_pending else TransmitOutcome.ACKED
        self._end_transmission(outcome)

    def _on_answer(self, frame: SpinelFrame, now_us: int) -> None:
        """The property's value, or a status: refused, or done where nothing is to be told."""
        step = self._step
        assert step is not None
        is_refused = frame.prop == Property.LAST_STATUS and step.prop is not Property.LAST_STATUS
        if not is_refused and frame.prop != step.prop:
            return
        if self._phase is _Phase.PROBING and not is_refused:
            self._probed[step.prop] = decode_value(step.prop, frame.payload)
        self._step = None
        if self._phase is _Phase.PROBING:
            if not self._steps:
                self._on_probed(now_us)
            return
        status = decode_value(Property.LAST_STATUS, frame.payload) if is_refused else Status.OK
        if status != Status.OK:
            self._events.append(Refused(step.prop, status))
        if step.prop in _TABLES:
            self._judge_table(step.prop, status == Status.OK, now_us)
        elif step.prop is Property.MAC_SCAN_STATE and status != Status.OK and self._scanned is not None:
            self._end_scan(_ENERGY_UNKNOWN_DBM)

    def _judge_table(self, prop: Property, is_whole: bool, now_us: int) -> None:
        """A stick has room for few children. Without a table everyone who polls is told to wait for more."""
        if is_whole:
            self._overfull.pop(prop, None)
        else:
            self._overfull[prop] = None
        self.want(Property.MAC_SRC_MATCH_ENABLED, not self._overfull, now_us=now_us)

    def _on_news(self, frame: SpinelFrame, now_us: int) -> None:
        """What nobody asked for, just now."""
        payload = frame.payload
        if frame.prop == Property.LAST_STATUS:
            status = decode_value(Property.LAST_STATUS, payload)
            if Status.is_reset(status) and self._phase is not _Phase.CLOSED:
                self._probe(now_us)
        elif frame.prop == Property.MAC_ENERGY_SCAN_RESULT and self._scanned is not None:
            if len(payload) < 2:
                raise DecodeError("Spinel", len(payload), "an energy without a value")
            if payload[0] == self._scanned:
                self._end_scan(int.from_bytes(payload[1:2], "little", signed=True))

    def _end_transmission(self, outcome: TransmitOutcome) -> None:
        self._raw = None
        self._raw_transaction = 0
        self._events.append(Transmitted(outcome))

    def _end_scan(self, rssi_dbm: int) -> None:
        assert self._scanned is not None
        channel, self._scanned, self._scan_until_us = self._scanned, None, None
        self._events.append(Energy(channel, rssi_dbm))
