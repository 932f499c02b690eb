"""The radio of each device of a home, as its line in the home file says: air, stick or simulated stick.

A simulated stick (`rcp:simulated`, `ezsp:simulated`, `ezsp:simulated@14`) is plugged in here: the driver of
real ones at one end of a cable in this process, firmware of `tools/dongle` at the other, its antenna on the
home's air. It keeps the home's time, so it runs at any speed and mixes with devices on the air.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from smets1.errors import InputError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.nvm import Nvm, NvmStore
from smets1.firmware.seed import SeedTree
from smets1.firmware.zigbee.node import HanConfig, HanNode
from smets1.hardware.air import Air
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop
from smets1.hardware.ezsp.bellows_line import require_bellows
from smets1.hardware.ezsp.modem import ModemConfig
from smets1.hardware.ezsp.radio import EzspRadio
from smets1.hardware.radio import FrameRadio, HanPort, NodeRole
from smets1.hardware.rcp import BridgeRadio, MemoryCable, RcpRadio, open_pipe
from smets1.hardware.rcp.pipe import BytePipe
from smets1.tools.dongle import Dongle, EzspDongle
from smets1.tools.home_config import DeviceConfig, HomeConfig, RadioKind, Role
from smets1.tools.home_file import parse_radio

__all__ = ["HomeRadios", "require_sticks", "with_radios"]

_NODE_ROLES: Final = {
    Role.CHF: NodeRole.COORDINATOR,
    Role.ESME: NodeRole.ROUTER,
    Role.GSME: NodeRole.SLEEPY_END_DEVICE,
    Role.PPMID: NodeRole.END_DEVICE,
    Role.IHD: NodeRole.END_DEVICE,
    Role.CAD: NodeRole.END_DEVICE,
}
_RCP_FACTORY_BIT: Final = 1 << 57
"""Locally administered: a simulated RCP stick's own address is not that of the device on it."""
_EZSP_BAUD: Final = 115_200


def with_radios(config: HomeConfig, *texts: str) -> HomeConfig:
    """The same home on other radios, which its devices take in turn. Raises InputError."""
    specs = [parse_radio(text) for text in texts]
    on_air = [device.eui64 for device in config.devices if device.role is not Role.GPF]  # that is in the hub
    chosen = {eui64: specs[at % len(specs)] for at, eui64 in enumerate(on_air)}
    devices = (replace(each, radio=chosen.get(each.eui64, each.radio)) for each in config.devices)
    return replace(config, devices=tuple(devices))


def require_sticks(config: HomeConfig) -> None:
    """Raises InputError where a device's stick is not plugged in, or its driver not installed."""
    for radio in (device.radio for device in config.devices if device.runs_here):
        if radio.kind is RadioKind.EZSP:
            require_bellows()
        if radio.port and not radio.is_simulated and not radio.port.startswith("tcp://"):
            path = radio.port.partition("@")[0]
            if not Path(path).exists():
                advice = "plug the stick in, or see what `smets1 doctor` finds"
                raise InputError(f"radio {radio}: {path} is not there: {advice}")


class HomeRadios:
    """Makes ports. `cables`: those of the simulated sticks, by device, to pull out and to garble."""

    def __init__(self, air: Air, loop: EmulatorLoop, seeds: SeedTree, store: NvmStore) -> None:
        self.cables: dict[Eui64, MemoryCable] = {}
        self.dongles: dict[Eui64, Dongle | EzspDongle] = {}
        self.open_pipe: Callable[..., BytePipe] = open_pipe
        self.note: Callable[[int, bytes], object] = lambda time_us, psdu: None
        """Told each frame of a real RCP stick, which no tap of the air hears."""
        self._air = air
        self._loop = loop
        self._seeds = seeds
        self._store = store
        self._starting: list[asyncio.Task[None]] = []

    def port(self, device: DeviceConfig, nvm: Nvm, config: HanConfig, *, file: object) -> HanPort:
        """`file` is named where the radio cannot be had. Raises InputError."""
        radio = device.radio
        if radio.kind is not RadioKind.AIR and not radio.is_simulated and self._loop.speed == MAX_SPEED:
            where = f"{file}:{device.line}: radio {radio}"
            raise InputError(f"{where} needs a finite speed: at speed max time runs ahead of a stick")
        role = _NODE_ROLES[device.role]
        rng = self._seeds.random("han", format_eui64(device.eui64))
        if radio.kind is not RadioKind.EZSP:
            return HanNode(self._frame_radio(device), self._loop, nvm, rng, role, config)
        require_bellows()
        modem_config = ModemConfig(
            channels=config.channels, extended_pan_id=config.extended_pan_id, may_join=config.may_join
        )
        pipe = self._pipe(device, _EZSP_BAUD)
        return EzspRadio(pipe, device.eui64, self._loop, nvm, role, modem_config, rng=rng)

    def _frame_radio(self, device: DeviceConfig) -> FrameRadio:
        if device.radio.kind is RadioKind.AIR:
            return self._air.radio(device.eui64, name=device.role.value)
        stick = RcpRadio(self._pipe(device), device.eui64, self._loop)
        if not device.radio.is_simulated:
            stick.tap = lambda psdu: self.note(self._loop.now_us(), psdu)
        if device.radio.kind is RadioKind.RCP:
            return stick
        return BridgeRadio(self._air.radio(device.eui64, name=device.role.value), stick)

    def _pipe(self, device: DeviceConfig, *baud: int) -> BytePipe:
        if not device.radio.is_simulated:
            return self.open_pipe(device.radio.port, *baud)
        cable = self.cables.get(device.eui64)
        if cable is None:
            cable = self._plug_in(device)
        cable.plug()  # the power of a device is that of its stick
        return cable.host

    def _plug_in(self, device: DeviceConfig) -> MemoryCable:
        eui64 = device.eui64
        cable = self.cables[eui64] = MemoryCable(self._loop)
        if device.radio.kind is RadioKind.EZSP:
            self.dongles[eui64] = EzspDongle(
                self._air,
                cable.stick,
                eui64,
                random.Random(self._seeds.random("stick", format_eui64(eui64)).getrandbits(64)),
                version=device.radio.ezsp_version,
                nvm=self._store.device(f"stick {format_eui64(eui64)}"),
            )
        else:
            self.dongles[eui64] = Dongle(self._air, cable.stick, eui64 ^ _RCP_FACTORY_BIT)
        self._starting.append(self._loop.create_task(self.dongles[eui64].start()))
        return cable

    def cut_power(self, eui64: Eui64) -> None:
        """The stick of a device whose power is cut goes with it, until the device is made again."""
        cable = self.cables.get(eui64)
        if cable is not None:
            cable.unplug()

    async def close(self) -> None:
        for task in self._starting:
            task.cancel()
        for dongle in self.dongles.values():
            await dongle.close()
