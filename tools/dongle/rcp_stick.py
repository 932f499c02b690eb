"""OpenThread's RCP firmware as a value machine: octets of the line in and out, orders to an antenna out.

What a host asks is answered in order, in the same call. Only a transmission takes its time: its answer
comes when the antenna has told how it ended. After a reset everything is as at power-on, and the stick
says so without being asked.

Source: OpenThread src/ncp (behaviour of its radio build), spinel.h; draft-rquattle-spinel-unified-00.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from smets1.errors import DecodeError
from smets1.eui64 import Eui64
from smets1.hardware.radio import CHANNELS, TransmitOutcome
from smets1.hardware.rcp.hdlc import HdlcDecoder, hdlc_frame
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

__all__ = ["VERSION", "Configure", "PowerCycle", "RcpStick", "ScanEnergy", "Transmit"]

VERSION: Final = "OPENTHREAD/smets1; SIMULATION"
_PROTOCOL: Final = (4, 3)
_THREAD_INTERFACE: Final = 3
_API_VERSION: Final = 11
_MIN_HOST_API_VERSION: Final = 4
_CAPABILITIES: Final = (
    Capability.BAND_802_15_4_2450MHZ_OQPSK,
    Capability.CONFIG_RADIO,
    Capability.MAC_RAW,
    Capability.RCP_API_VERSION,
    Capability.RCP_MIN_HOST_API_VERSION,
)
_RADIO_CAPS: Final = (
    0b1_0001_1111  # ack timeout, energy scan, retries, back-off, sleep to tx; rx on when idle
)
_QUIET_DBM: Final = -100
_SENSITIVITY_DBM: Final = -100
_MAX_TABLE: Final = 64  # source addresses with pending data; sticks have from 10 (nRF52) up

_STATUS_OF: Final = {
    TransmitOutcome.SENT: Status.OK,
    TransmitOutcome.ACKED: Status.OK,
    TransmitOutcome.ACKED_PENDING: Status.OK,
    TransmitOutcome.NO_ACK: Status.NO_ACK,
    TransmitOutcome.CHANNEL_BUSY: Status.CCA_FAILURE,
}

_DEFAULTS: Final[dict[Property, Any]] = {
    Property.PHY_ENABLED: False,
    Property.PHY_CHAN: CHANNELS[0],
    Property.PHY_CCA_THRESHOLD: -75,
    Property.PHY_TX_POWER: 0,
    Property.MAC_SCAN_STATE: ScanState.IDLE,
    Property.MAC_SCAN_MASK: tuple(CHANNELS),
    Property.MAC_SCAN_PERIOD: 200,
    Property.MAC_15_4_SADDR: 0xFFFF,
    Property.MAC_15_4_PANID: 0xFFFF,
    Property.MAC_RAW_STREAM_ENABLED: False,
    Property.MAC_PROMISCUOUS_MODE: 0,
    Property.MAC_RX_ON_WHEN_IDLE_MODE: True,
    Property.MAC_SRC_MATCH_ENABLED: False,
    Property.MAC_SRC_MATCH_SHORT_ADDRESSES: (),
    Property.MAC_SRC_MATCH_EXTENDED_ADDRESSES: (),
}
_TABLES: Final = (Property.MAC_SRC_MATCH_SHORT_ADDRESSES, Property.MAC_SRC_MATCH_EXTENDED_ADDRESSES)


# --- orders to the antenna ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PowerCycle:
    """The chip starts again: what it was doing is forgotten. `Configure` follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure:
    """How the chip is to be from now on, whole."""

    eui64: Eui64
    channel: int
    pan_id: int
    short_address: int
    is_receiving: bool
    is_promiscuous: bool
    pending_shorts: Collection[int]
    pending_eui64s: Collection[Eui64]
    pends_always: bool  # every data request is acknowledged with the frame-pending bit


@dataclass(frozen=True, slots=True)
class Transmit:
    psdu: bytes
    retries: int


@dataclass(frozen=True, slots=True)
class ScanEnergy:
    channel: int
    duration_us: int


class _StatusError(Exception):
    """Answer with this status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


class RcpStick:
    """One stick. The shell calls `receive` and the `on_` methods, then drains octets and orders."""

    def __init__(self, hardware_eui64: Eui64) -> None:
        self.hardware_eui64 = hardware_eui64
        self._decoder = HdlcDecoder()
        self._octets = bytearray()
        self._orders: list[object] = []
        self._values: dict[Property, Any] = {}
        self._last_status = int(Status.RESET_POWER_ON)
        self._transmitting: RawTransmit | None = None
        self._transaction = 0
        self._scanned: int | None = None
        self._commands: dict[int, Callable[[SpinelFrame], None]] = {
            Command.NOOP: lambda frame: self._say_status(Status.OK, frame.transaction),
            Command.RESET: lambda frame: self.reset(Status.RESET_SOFTWARE),
            Command.PROP_VALUE_GET: self._on_get,
            Command.PROP_VALUE_SET: self._on_set,
            Command.PROP_VALUE_INSERT: self._on_insert,
            Command.PROP_VALUE_REMOVE: self._on_remove,
        }
        self.reset(Status.RESET_POWER_ON)

    @property
    def bad_count(self) -> int:
        """Frames from the host that were thrown away."""
        return self._decoder.bad_count

    @property
    def is_receiving(self) -> bool:
        values = self._values
        return bool(
            values[Property.PHY_ENABLED]
            and values[Property.MAC_RAW_STREAM_ENABLED]
            and values[Property.MAC_RX_ON_WHEN_IDLE_MODE]
        )

    def take_octets(self) -> bytes:
        octets = bytes(self._octets)
        self._octets.clear()
        return octets

    def take_orders(self) -> list[object]:
        orders, self._orders = self._orders, []
        return orders

    # --- the line -------------------------------------------------------------------------------------------

    def receive(self, octets: bytes) -> None:
        """Any octets from the host. Raises nothing."""
        for octets_in in self._decoder.feed(octets):
            try:
                frame = SpinelFrame.decode(octets_in)
            except DecodeError as error:
                if error.status is not None:
                    self._say_status(Status(error.status), octets_in[0] & 0x0F)
                continue
            self._on_frame(frame)

    def reset(self, cause: Status) -> None:
        """Begin again, and say why."""
        self._values = {**_DEFAULTS, Property.MAC_15_4_LADDR: self.hardware_eui64}
        self._transmitting = None
        self._scanned = None
        self._orders.append(PowerCycle())
        self._configure()
        self._say_status(cause, 0)

    def _on_frame(self, frame: SpinelFrame) -> None:
        handler = self._commands.get(frame.command)
        try:
            if frame.interface:
                raise _StatusError(Status.INVALID_INTERFACE)
            if handler is None:
                raise _StatusError(Status.INVALID_COMMAND)
            handler(frame)
        except _StatusError as refusal:
            self._say_status(refusal.status, frame.transaction)
        except DecodeError:
            self._say_status(Status.PARSE_ERROR, frame.transaction)

    def _say(self, prop: Property, payload: bytes, transaction: int = 0, command: int | None = None) -> None:
        frame = SpinelFrame(
            transaction=transaction,
            command=Command.PROP_VALUE_IS if command is None else command,
            prop=prop,
            payload=payload,
        )
        self._octets += hdlc_frame(frame.encode())

    def _say_status(self, status: Status, transaction: int) -> None:
        self._last_status = int(status)
        self._say(Property.LAST_STATUS, encode_value(Property.LAST_STATUS, status), transaction)

    # --- properties -----------------------------------------------------------------------------------------

    def _on_get(self, frame: SpinelFrame) -> None:
        prop = _known(frame)
        self._say(prop, encode_value(prop, self._read(prop)), frame.transaction)

    def _read(self, prop: Property) -> Any:
        fixed: dict[Property, Any] = {
            Property.LAST_STATUS: self._last_status,
            Property.PROTOCOL_VERSION: _PROTOCOL,
            Property.NCP_VERSION: VERSION,
            Property.INTERFACE_TYPE: _THREAD_INTERFACE,
            Property.VENDOR_ID: 0,
            Property.CAPS: _CAPABILITIES,
            Property.INTERFACE_COUNT: 1,
            Property.HWADDR: self.hardware_eui64,
            Property.PHY_CHAN_SUPPORTED: tuple(CHANNELS),
            Property.PHY_FREQ: 2_405_000 + 5_000 * (self._values[Property.PHY_CHAN] - CHANNELS[0]),
            Property.PHY_RSSI: _QUIET_DBM,
            Property.PHY_RX_SENSITIVITY: _SENSITIVITY_DBM,
            Property.RCP_API_VERSION: _API_VERSION,
            Property.RCP_MIN_HOST_API_VERSION: _MIN_HOST_API_VERSION,
            Property.RADIO_CAPS: _RADIO_CAPS,
        }
        if prop in fixed:
            return fixed[prop]
        if prop in self._values:
            return self._values[prop]
        raise _StatusError(Status.INVALID_COMMAND_FOR_PROP)

    def _on_set(self, frame: SpinelFrame) -> None:
        prop = _known(frame)
        if prop is Property.STREAM_RAW:
            self._transmit(frame)
            return
        if prop not in self._values:
            raise _StatusError(Status.INVALID_COMMAND_FOR_PROP)
        value = decode_value(prop, frame.payload)
        self._check(prop, value)
        if prop is Property.MAC_SCAN_STATE:
            self._scan(value)
        self._values[prop] = value
        self._configure()
        self._say(prop, encode_value(prop, value), frame.transaction)

    def _check(self, prop: Property, value: Any) -> None:
        is_fit = True
        if prop is Property.PHY_CHAN:
            is_fit = value in CHANNELS
        elif prop is Property.MAC_SCAN_MASK:
            is_fit = bool(value) and all(channel in CHANNELS for channel in value)
        elif prop is Property.MAC_SCAN_STATE:
            is_fit = value in (ScanState.IDLE, ScanState.ENERGY)  # a beacon scan is the host's own work
        elif prop is Property.MAC_PROMISCUOUS_MODE:
            is_fit = value <= 2
        elif prop in _TABLES and len(value) > _MAX_TABLE:
            raise _StatusError(Status.NOMEM)
        if not is_fit:
            raise _StatusError(Status.INVALID_ARGUMENT)
        if prop is Property.MAC_15_4_LADDR and self._transmitting is not None:
            raise _StatusError(Status.INVALID_STATE)

    def _on_insert(self, frame: SpinelFrame) -> None:
        prop, item = self._item(frame)
        table = self._values[prop]
        if item not in table:
            self._check(prop, (*table, item))
            self._values[prop] = (*table, item)
            self._configure()
        self._say(prop, frame.payload, frame.transaction, Command.PROP_VALUE_INSERTED)

    def _on_remove(self, frame: SpinelFrame) -> None:
        prop, item = self._item(frame)
        if item not in self._values[prop]:
            raise _StatusError(Status.ITEM_NOT_FOUND)
        self._values[prop] = tuple(other for other in self._values[prop] if other != item)
        self._configure()
        self._say(prop, frame.payload, frame.transaction, Command.PROP_VALUE_REMOVED)

    def _item(self, frame: SpinelFrame) -> tuple[Property, int]:
        prop = _known(frame)
        if prop not in _TABLES:
            raise _StatusError(Status.INVALID_COMMAND_FOR_PROP)
        items = decode_value(prop, frame.payload)
        if len(items) != 1:
            raise _StatusError(Status.PARSE_ERROR)
        return prop, items[0]

    def _configure(self) -> None:
        values = self._values
        self._orders.append(
            Configure(
                eui64=values[Property.MAC_15_4_LADDR],
                channel=values[Property.PHY_CHAN],
                pan_id=values[Property.MAC_15_4_PANID],
                short_address=values[Property.MAC_15_4_SADDR],
                is_receiving=self.is_receiving,
                is_promiscuous=values[Property.MAC_PROMISCUOUS_MODE] != 0,
                pending_shorts=values[Property.MAC_SRC_MATCH_SHORT_ADDRESSES],
                pending_eui64s=values[Property.MAC_SRC_MATCH_EXTENDED_ADDRESSES],
                pends_always=not values[Property.MAC_SRC_MATCH_ENABLED],
            )
        )

    # --- the radio ------------------------------------------------------------------------------------------

    def _transmit(self, frame: SpinelFrame) -> None:
        raw = RawTransmit.decode(frame.payload)
        if not self._values[Property.PHY_ENABLED] or self._transmitting is not None:
            raise _StatusError(Status.INVALID_STATE)
        after_channel = raw.channel if raw.after_channel is None else raw.after_channel
        if raw.channel not in CHANNELS or after_channel not in CHANNELS:
            raise _StatusError(Status.INVALID_ARGUMENT)
        self._transmitting = raw
        self._transaction = frame.transaction
        if raw.channel != self._values[Property.PHY_CHAN]:
            self._values[Property.PHY_CHAN] = raw.channel
            self._configure()
        self._orders.append(Transmit(raw.psdu, raw.retries))

    def on_transmitted(self, outcome: TransmitOutcome) -> None:
        raw, self._transmitting = self._transmitting, None
        if raw is None:
            return  # of before a reset
        status = _STATUS_OF[outcome]
        self._last_status = int(status)
        if self._transaction:
            done = TransmitDone(status=status, is_pending=outcome is TransmitOutcome.ACKED_PENDING)
            self._say(Property.LAST_STATUS, done.encode(), self._transaction)
        if raw.after_channel is not None and raw.after_channel != self._values[Property.PHY_CHAN]:
            self._values[Property.PHY_CHAN] = raw.after_channel
            self._configure()

    def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int, *, now_us: int) -> None:
        """Heard. `now_us`: the end of the frame, near enough."""
        if not self.is_receiving:
            return
        received = RawReceived(
            psdu=psdu,
            rssi_dbm=max(-127, min(rssi_dbm, 127)),
            channel=self._values[Property.PHY_CHAN],
            lqi=lqi,
            timestamp_us=now_us,
        )
        self._say(Property.STREAM_RAW, received.encode())

    def _scan(self, state: int) -> None:
        if state != ScanState.ENERGY:
            self._scanned = None
            return
        mask = self._values[Property.MAC_SCAN_MASK]
        if not self._values[Property.PHY_ENABLED] or self._scanned is not None:
            raise _StatusError(Status.INVALID_STATE)
        if len(mask) != 1:  # the firmware scans one channel at a time
            raise _StatusError(Status.INVALID_ARGUMENT)
        self._scanned = mask[0]
        self._orders.append(ScanEnergy(mask[0], self._values[Property.MAC_SCAN_PERIOD] * 1000))

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        if channel != self._scanned:
            return
        self._scanned = None
        self._values[Property.MAC_SCAN_STATE] = ScanState.IDLE
        peak = max(-128, min(rssi_dbm, 127)).to_bytes(1, "little", signed=True)
        self._say(Property.MAC_ENERGY_SCAN_RESULT, bytes((channel,)) + peak)
        self._say(Property.MAC_SCAN_STATE, bytes((ScanState.IDLE,)))


def _known(frame: SpinelFrame) -> Property:
    try:
        return Property(-1 if frame.prop is None else frame.prop)
    except ValueError:
        raise _StatusError(Status.PROP_NOT_FOUND) from None
