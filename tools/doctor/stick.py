"""Asks a stick what it is: EmberZNet's EZSP first, then OpenThread's Spinel. Either resets it.

A stick answers one of them within two seconds or not at all, at the baud rate of its firmware; the
wrong protocol's octets are noise to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from smets1.errors import DecodeError, LostError
from smets1.eui64 import Eui64, format_eui64
from smets1.hardware.clock import EmulatorLoop
from smets1.hardware.ezsp.ash_link import AshData, AshDown, AshLink, AshRole, AshUp
from smets1.hardware.ezsp.commands import VERSIONS, commands
from smets1.hardware.ezsp.frames import EzspFrame
from smets1.hardware.radio import CHANNELS, RadioListener, TransmitOutcome, channel_mask
from smets1.hardware.rcp import RcpRadio
from smets1.hardware.rcp.pipe import BytePipe, open_pipe

__all__ = ["EZSP_BAUDS", "RCP_BAUDS", "StickReport", "examine"]

EZSP_BAUDS: Final = (115_200, 460_800)
RCP_BAUDS: Final = (460_800, 115_200)
_EZSP_WAIT_S: Final = 2.0
_RCP_WAIT_S: Final = 3.0
_ANSWER_WAIT_S: Final = 2.0
_SCAN_WAIT_S: Final = 5.0
_SCAN_ENERGY: Final = 0
_SCAN_DURATION: Final = 3
_SCAN_US: Final = 100_000
_BOARD_NAME: Final = 0x02
_KEY_TABLE: Final = 0x1E  # EZSP_CONFIG_KEY_TABLE_SIZE
_LIBRARY_PRESENT: Final = 0x80
_LIBRARY_ABSENT: Final = 0xFF
_LIBRARIES: Final = {"CBKE 163k1": 0x06, "ECC 163k1": 0x08, "CBKE 283k1": 0x0D, "ECC 283k1": 0x0E}


@dataclass(slots=True, kw_only=True)
class StickReport:
    """What a stick says of itself."""

    firmware: str  # "EmberZNet 7.4.4", or what an RCP says
    protocol: str  # "EZSP 13", "Spinel 4.3"
    baud: int
    eui64: Eui64
    board: str = ""
    key_table_size: int | None = None  # EZSP
    libraries: dict[str, bool] = field(default_factory=dict)  # EZSP: is it there, or a stub
    energy_dbm: dict[int, int] = field(default_factory=dict)  # by channel

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"eui64": format_eui64(self.eui64)}

    @property
    def quietest(self) -> int | None:
        """The channel with the least energy; None where it was not measured."""
        return min(self.energy_dbm, key=lambda channel: (self.energy_dbm[channel], channel), default=None)


async def examine(port: str, opener: Callable[[str], BytePipe] = open_pipe) -> StickReport | None:
    """Whatever answers at a port (as in a radio spec, without its kind). None: nobody does.

    With `@BAUD`, only that rate is tried. Raises InputError for a bad spec, LostError for a port that
    cannot be opened.
    """
    has_one_rate = "@" in port or port.startswith("tcp://")
    for ask, bauds in ((_ask_ezsp, EZSP_BAUDS), (_ask_rcp, RCP_BAUDS)):
        for baud in bauds[:1] if has_one_rate else bauds:
            pipe = opener(port if has_one_rate else f"{port}@{baud}")
            report: StickReport | None = await ask(pipe, getattr(pipe, "baud", baud))
            if report is not None:
                return report
    return None


# --- EZSP -----------------------------------------------------------------------------------------------


class _EzspClient:
    """A host that asks one thing at a time."""

    def __init__(self, pipe: BytePipe) -> None:
        self._pipe = pipe
        self._link = AshLink(AshRole.HOST)
        self._events: asyncio.Queue[object] = asyncio.Queue()
        self._sequence = 0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.version = VERSIONS[0]
        self._is_legacy = True

    async def __aenter__(self) -> Self:
        await self._pipe.open(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._pipe.close()

    def on_octets(self, octets: bytes) -> None:
        self._link.receive(octets, now_us=self._now_us())
        self._drain()

    def on_lost(self, reason: str) -> None:
        self._events.put_nowait(AshDown(reason))

    async def reset(self) -> None:
        """Raises TimeoutError, LostError."""
        self._link.reset(now_us=self._now_us())
        self._drain()
        async with asyncio.timeout(_EZSP_WAIT_S):
            while not isinstance(await self._event(), AshUp):
                pass

    async def agree(self) -> dict[str, Any]:
        """The stick's own version, spoken from now on where we know it. Raises DecodeError and as `ask`."""
        said = await self.ask("version", desired_version=VERSIONS[0])
        self._is_legacy = False
        if (stick_version := int(said["version"])) != VERSIONS[0]:
            said = await self.ask("version", desired_version=stick_version)
        self.version = stick_version if stick_version in VERSIONS else VERSIONS[-1]
        return said

    async def ask(self, name: str, **values: Any) -> dict[str, Any]:
        """Raises DecodeError, TimeoutError, LostError."""
        command = commands(self.version)[name]
        self._sequence = (self._sequence + 1) & 0xFF
        frame = EzspFrame(
            sequence=self._sequence,
            frame_id=command.frame_id,
            parameters=command.request.encode(values),
            is_legacy=self._is_legacy,
        )
        self._link.submit(frame.encode(), now_us=self._now_us())
        self._drain()
        async with asyncio.timeout(_ANSWER_WAIT_S):
            while True:
                heard = await self._frame()
                if heard.is_response and not heard.is_callback and heard.sequence == self._sequence:
                    if heard.frame_id != command.frame_id:
                        raise DecodeError("EZSP", 3, f"{name} is not understood")
                    return command.answer.decode(heard.parameters)[0]

    async def callbacks(self, name: str, end: str) -> list[dict[str, Any]]:
        """Those of a name, until one of another name comes. Raises DecodeError, TimeoutError, LostError."""
        table = commands(self.version)
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(_SCAN_WAIT_S):
            while (heard := await self._frame()).frame_id != table[end].frame_id:
                if heard.frame_id == table[name].frame_id:
                    found.append(table[name].answer.decode(heard.parameters)[0])
        return found

    async def _frame(self) -> EzspFrame:
        while True:
            event = await self._event()
            if isinstance(event, AshData):
                return EzspFrame.decode(event.frame, is_legacy=self._is_legacy)

    async def _event(self) -> object:
        event = await self._events.get()
        if isinstance(event, AshDown):
            raise LostError(event.reason)
        return event

    def _drain(self) -> None:
        if octets := self._link.take_octets():
            self._pipe.write(octets)
        for event in self._link.take_events():
            self._events.put_nowait(event)
        if self._timer is not None:
            self._timer.cancel()
        due_us = self._link.next_timer_us()
        self._timer = None if due_us is None else self._loop.call_at(due_us / 1e6, self._on_timer)

    def _on_timer(self) -> None:
        self._link.on_timer(now_us=self._now_us())
        self._drain()

    def _now_us(self) -> int:
        return round(self._loop.time() * 1e6)


async def _ask_ezsp(pipe: BytePipe, baud: int) -> StickReport | None:
    async with _EzspClient(pipe) as client:
        try:
            await client.reset()
            said = await client.agree()
            report = StickReport(
                firmware=f"EmberZNet {_dotted(said['stack_version'])}",
                protocol=f"EZSP {said['version']}",
                baud=baud,
                eui64=(await client.ask("getEui64"))["eui64"],
            )
        except (TimeoutError, DecodeError, LostError):
            return None  # something else is at the other end, or nothing
        await _complete(client, report)
    return report


async def _complete(client: _EzspClient, report: StickReport) -> None:
    """What a stick may refuse, each thing for itself."""

    async def board() -> None:
        name = (await client.ask("getMfgToken", token_id=_BOARD_NAME))["data"]
        report.board = bytes(name).rstrip(b"\xff\x00").decode("ascii", "replace")

    async def key_table() -> None:
        report.key_table_size = (await client.ask("getConfigurationValue", config_id=_KEY_TABLE))["value"]

    async def libraries() -> None:
        for name, library_id in _LIBRARIES.items():
            status = (await client.ask("getLibraryStatus", library_id=library_id))["status"]
            report.libraries[name] = status != _LIBRARY_ABSENT and bool(status & _LIBRARY_PRESENT)

    async def energy() -> None:
        await client.ask(
            "startScan", kind=_SCAN_ENERGY, channel_mask=channel_mask(CHANNELS), duration=_SCAN_DURATION
        )
        for row in await client.callbacks("energyScanResultHandler", "scanCompleteHandler"):
            report.energy_dbm[row["channel"]] = row["rssi_dbm"]

    for part in (board, key_table, libraries, energy):
        await _quietly(part())


async def _quietly(part: Awaitable[None]) -> None:
    try:
        await part
    except (TimeoutError, DecodeError, LostError):
        return


def _dotted(version: int) -> str:
    return ".".join(str(version >> shift & 0xF) for shift in (12, 8, 4, 0))


# --- RCP ------------------------------------------------------------------------------------------------


class _EnergyEar(RadioListener):
    """Hears only how loud a channel is."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[int] = asyncio.Queue()

    def on_frame(self, psdu: bytes, lqi: int, rssi_dbm: int) -> None:
        return

    def on_transmitted(self, outcome: TransmitOutcome) -> None:
        return

    def on_energy(self, channel: int, rssi_dbm: int) -> None:
        self.heard.put_nowait(rssi_dbm)


async def _ask_rcp(pipe: BytePipe, baud: int) -> StickReport | None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    radio, ear = RcpRadio(pipe, 0, loop), _EnergyEar()
    try:
        radio.attach(ear)
        async with asyncio.timeout(_RCP_WAIT_S):
            await radio.up.wait()
        info = radio.info
        assert info is not None, "it is up"
        report = StickReport(
            firmware=info.version,
            protocol=f"Spinel {'.'.join(map(str, info.protocol))}",
            baud=baud,
            eui64=info.hardware_eui64,
        )
        await _quietly(_rcp_energy(radio, ear, report))
    except TimeoutError:
        return None
    finally:
        radio.close()
    return report


async def _rcp_energy(radio: RcpRadio, ear: _EnergyEar, report: StickReport) -> None:
    for channel in CHANNELS:
        radio.scan_energy(channel, _SCAN_US)
        async with asyncio.timeout(_ANSWER_WAIT_S):
            report.energy_dbm[channel] = await ear.heard.get()
