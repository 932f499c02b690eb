"""A whole home in one process: air, devices, WAN, head end, all from one file and one seed.

`open_home` is the way in, for the command line, the pytest plugin and scripts. It must be called inside
an `EmulatorLoop`; everything runs in that loop's time. Power comes on in the order of a real
installation: hub first, then the devices, each joining by its install code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from logging import getLogger
from pathlib import Path
from typing import Any, Final

from smets1.devices.cad_device import Cad
from smets1.devices.esme import Esme
from smets1.devices.gsme import Gsme
from smets1.devices.ihd import Ihd
from smets1.devices.meter_device import MeterDevice
from smets1.devices.ppmid import Ppmid
from smets1.errors import InputError, LostError, MisuseError, NoAnswerError
from smets1.eui64 import Eui64, format_eui64
from smets1.firmware.civil import CivilClock, format_utc, from_datetime, to_datetime
from smets1.firmware.crypto.cbke import CbkeSuite, TestCa
from smets1.firmware.device import Board, Device
from smets1.firmware.nvm import DeviceNvm, NvmStore
from smets1.firmware.seed import SeedTree
from smets1.firmware.time_keeper import DeviceClock
from smets1.firmware.wan.hub_end import HubWanEnd
from smets1.firmware.wan.link import WanLink
from smets1.firmware.wan.memory import MemoryBroker
from smets1.firmware.wire import Wire
from smets1.firmware.zigbee.node import HanConfig as NodeConfig
from smets1.hardware.air import Air, Capture
from smets1.hardware.clock import EmulatorLoop
from smets1.hardware.radio import KeyOrigin, LinkKey
from smets1.headend.head_end import HeadEnd
from smets1.hub.admission import AdmittedDevice
from smets1.hub.chf import Chf
from smets1.hub.device_log import DeviceLog
from smets1.tools.home_config import DeviceConfig, Fuel, HomeConfig, Role
from smets1.tools.home_file import default_home, parse_home, require_start
from smets1.tools.home_headend import HomeHeadEnd
from smets1.tools.home_parts import DEVICE_TYPES, electricity_meter, factory, gas_meter, top_up_desk
from smets1.tools.home_radios import HomeRadios
from smets1.tools.home_wan import HomeWan
from smets1.tools.hub_registry import Chf as RegisteredChf
from smets1.tools.keys_file import KeyRing
from smets1.tools.live_faults import LiveFaults
from smets1.tools.new_file import NewFile, is_same_file, make_folder, require_writable
from smets1.tools.toml_reader import parse_instant
from smets1.tools.trial_keys import engineering_pin, sua_key

__all__ = ["Home", "HomeClock", "open_home"]

_log = getLogger(__name__)

JOIN_TIMEOUT_S: Final = 1200.0
"""Key establishment is to be done within 20 minutes (SE 1.2, 5.5.5)."""
_CLOCK_KEY: Final = "utc_us"
_CLOCK_EVERY_S: Final = 60.0
_CLOCK_LEASE_US: Final = 120_000_000  # more, for a loop that comes late


class HomeClock:
    """The home's time: civil time to read, and waiting."""

    def __init__(self, civil: CivilClock) -> None:
        self._civil = civil

    @property
    def utc_us(self) -> int:
        return self._civil.utc_us()

    @property
    def utc(self) -> datetime:
        return to_datetime(self.utc_us)

    def __str__(self) -> str:
        return format_utc(self.utc_us)

    async def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Let this much of the home's time pass."""
        await asyncio.sleep(days * 86_400 + hours * 3600 + minutes * 60 + seconds)

    async def advance_to(self, utc_us: int) -> None:
        """Let time pass up to an instant; one that has passed returns at once."""
        await asyncio.sleep(max(0, utc_us - self.utc_us) / 1e6)


class Home:
    """Devices by role (an attribute each), `headend`, `air`, `clock`. Made by `open_home`."""

    chf: Chf
    esme: Esme
    gsme: Gsme
    ppmid: Ppmid
    ihd: Ihd
    cad: Cad  # where the file has one

    def __init__(self, config: HomeConfig, *, nvm_dir: Path | None, loop: EmulatorLoop) -> None:
        self.config = config
        self.seeds = SeedTree(config.seed)
        self._loop = loop
        if nvm_dir is not None:
            make_folder(nvm_dir, "NVM")
        self._store = NvmStore.open(nvm_dir / "home.nvm" if nvm_dir else ":memory:")
        self._home_nvm = self._store.device("home")
        self.civil = CivilClock(loop, self._epoch_utc_us() - loop.now_us())
        self.clock = HomeClock(self.civil)
        self.air = Air(loop, self.seeds.random("air"))
        self.radios = HomeRadios(self.air, loop, self.seeds, self._store)
        self.wire = Wire(loop)
        self.keys = KeyRing()
        self.devices: list[Device] = []
        self.extended_pan_id: int | None = None  # of the hub that is to be made; None: its EUI-64
        self.capture: Capture | None = None
        self._ca = TestCa(CbkeSuite(config.han.cbke_suite), self.seeds.random("ca"))
        self._households: dict[Eui64, HomeWan] = {}
        self._wan = HomeWan(config.wan, loop, self.seeds)
        self._head_end: HomeHeadEnd | None = None
        self._nvm_dir = nvm_dir
        self._clock_task: asyncio.Task[None] | None = None
        self._request_counter = 0
        self._is_closed = False
        self.faults = LiveFaults(self.air)
        """What is wrong with the air, to be set, added to and taken from at any time."""
        self.faults.set(self.config.faults)

    @property
    def headend(self) -> HeadEnd:
        """Raises MisuseError where the file places the head end elsewhere."""
        if self._head_end is None:
            raise MisuseError("the head end does not run here")
        return self._head_end.head_end

    def wan_link(self, client_id: str) -> WanLink:
        """For a head end that runs outside the home (`runs_here = false`), on the home's own WAN."""
        return self._wan.link(client_id)

    @property
    def broker(self) -> MemoryBroker | None:
        """The WAN's broker in memory, to cut it; None where the WAN is another."""
        return self._wan.memory

    def next_request_counter(self) -> int:
        """For the RequestID of a DUIS request made here: each is above the one before, restarts too."""
        self._request_counter = max(self.clock.utc_us, self._request_counter + 1)
        return self._request_counter

    @property
    def speed(self) -> float:
        """Seconds of the home in one of the world; infinite: as fast as it goes."""
        return self._loop.speed

    def device(self, eui64: Eui64) -> Device | None:
        return next((device for device in self.devices if device.eui64 == eui64), None)

    # --- life -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Power everything up. Raises LostError, InputError."""
        await self._wan.start()
        if self.config.headend.runs_here:
            self._head_end = HomeHeadEnd(self.config, self.civil, self._wan.link("headend"), self._nvm_dir)
            await self._head_end.start()
        for config in self.config.devices:
            if config.runs_here and config.role is Role.CAD:
                household = self._households[config.eui64] = HomeWan(config.mqtt, self._loop, self.seeds)
                await household.start()
            if config.runs_here and config.role is not Role.GPF:
                self._add(config)
        for device in self.devices:
            await self._power_up(device)
        self._clock_task = self._loop.create_task(self._keep_time())

    async def add_device(self, config: DeviceConfig) -> None:
        """Power up one more device of the home file's kinds, in a home that runs."""
        self._add(config)
        await self._power_up(self.devices[-1])

    async def _power_up(self, device: Device) -> None:
        if isinstance(device, Chf):
            await self._connect(device)
        device.start()

    async def cut_power(self, eui64: Eui64) -> None:
        """The mains of a device are gone, or its battery: a meter's last gasp, then silence.

        A hub's links go with it. Raises InputError where no such device runs here.
        """
        device = self.running(eui64)
        if isinstance(device, MeterDevice):
            device.lose_power()
        else:
            device.power_off()
        self.radios.cut_power(eui64)
        self.devices.remove(device)
        if isinstance(device, Chf) and device.wan is not None:
            await device.wan.close()

    async def restore_power(self, eui64: Eui64) -> None:
        """Start a device again, from what its memory holds. Raises InputError where it runs or is unknown."""
        config = next((each for each in self.config.devices if each.eui64 == eui64), None)
        if config is None or config.role is Role.GPF:
            raise InputError(f"no device {format_eui64(eui64)} in this home")
        if self.device(eui64) is not None:
            raise InputError(f"{format_eui64(eui64)} has power")
        if config == self.config.device(config.role):
            delattr(self, config.role.value)
        await self.add_device(config)

    def running(self, eui64: Eui64) -> Device:
        """Raises InputError where no such device runs here, or has no power."""
        device = self.device(eui64)
        if device is None:
            raise InputError(f"no device {format_eui64(eui64)} runs here")
        return device

    def nvm_of(self, eui64: Eui64) -> DeviceNvm:
        """The memory of a device, whether it runs here or not."""
        return self._store.device(format_eui64(eui64))

    async def joined(self, timeout_s: float = JOIN_TIMEOUT_S) -> None:
        """Wait until every device that runs here is on the network with an established key.

        Raises NoAnswerError naming those that are not.
        """
        try:
            async with asyncio.timeout(timeout_s):
                for device in self.devices:
                    await device.keyed.wait()
        except TimeoutError:
            missing = ", ".join(repr(device) for device in self.devices if not device.keyed.is_set())
            raise NoAnswerError(f"joining of {missing}", 1, int(timeout_s * 1e6)) from None

    async def power_off(self) -> None:
        """As kill -9 does: what is not committed is lost. The files can be opened again afterwards."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._clock_task is not None:
            self._clock_task.cancel()
        for device in self.devices:
            device.power_off()
        await self.radios.close()
        self._store.close()
        if self._head_end is not None:
            await self._head_end.power_off()
        for device in self.devices:
            if isinstance(device, Chf) and device.wan is not None:
                await device.wan.close()
            if isinstance(device, Cad):
                await device.household.close()
        await self._wan.close()
        for household in self._households.values():
            await household.close()
        if self.capture is not None:
            self.capture.close()

    async def close(self) -> None:
        """Power everything down in good order; what NVM holds is complete. Closing twice is allowed.

        Raises LostError where something could not be stored, after all the rest has been closed.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._clock_task is not None:
            self._clock_task.cancel()
        self.faults.end()
        async with (
            AsyncExitStack() as steps
        ):  # from the last to the first, each whatever became of the others
            if self.capture is not None:
                steps.callback(self.capture.close)
            steps.callback(self._store.close)
            steps.callback(lambda: self._put_time(self.civil.utc_us()))
            steps.push_async_callback(self.radios.close)
            for household in self._households.values():
                steps.push_async_callback(household.close)
            steps.push_async_callback(self._wan.close)
            if self._head_end is not None:
                steps.push_async_callback(self._head_end.close)
            for device in self.devices:
                steps.push_async_callback(device.close)

    async def _keep_time(self) -> None:
        """After a power cut time goes on from a little later, never back."""
        while True:
            try:
                self._put_time(self.civil.utc_us() + _CLOCK_LEASE_US)
            except LostError as error:
                _log.error("the time of the home cannot be kept: %s", error)
            await asyncio.sleep(_CLOCK_EVERY_S)

    def _put_time(self, utc_us: int) -> None:
        """Where time goes on after a restart."""
        self._home_nvm.put(_CLOCK_KEY, utc_us.to_bytes(8, "big"))
        self._home_nvm.commit()

    def _epoch_utc_us(self) -> int:
        stored = self._home_nvm.get(_CLOCK_KEY)
        start_utc_us = from_datetime(self.config.start)
        return start_utc_us if stored is None else max(start_utc_us, int.from_bytes(stored, "big"))

    # --- parts ------------------------------------------------------------------------------------------

    async def _connect(self, chf: Chf) -> None:
        chf.wan = HubWanEnd(
            self._wan.link(f"hub-{chf.eui64:016x}"),
            chf.eui64,
            self.nvm_of(chf.eui64),
            self.civil,
            chf.execute,
            rng=self.seeds.random("wan", format_eui64(chf.eui64)),
        )
        await chf.wan.start()

    def _board(self, config: DeviceConfig, may_join: Callable[[Eui64], bool] | None = None) -> Board:
        name = format_eui64(config.eui64)
        nvm = self.nvm_of(config.eui64)
        channel = self.config.han.channel
        node_config = NodeConfig(may_join=may_join, extended_pan_id=self.extended_pan_id)
        if channel is not None:
            node_config = replace(node_config, channels=(channel,))
        port = self.radios.port(config, nvm, node_config, file=self.config.file)
        civil = self.civil  # the hub's: the head end keeps it right
        if config.role is not Role.CHF:
            epoch_us = self.civil.utc_us() - self._loop.now_us()
            civil = DeviceClock(self._loop, epoch_us, drift_ppm=config.clock_drift_ppm, nvm=nvm)
        return Board(
            port=port, scheduler=self._loop, civil=civil, nvm=nvm, rng=self.seeds.random("device", name)
        )

    def _add(self, config: DeviceConfig) -> None:
        makers: dict[Role, Callable[[DeviceConfig], Device]] = {
            Role.CHF: self._make_chf,
            Role.ESME: self._make_esme,
            Role.GSME: self._make_gsme,
            Role.PPMID: self._make_ppmid,
            Role.IHD: self._make_ihd,
            Role.CAD: self._make_cad,
        }
        device: Device = makers[config.role](config)
        device.on_key = self._note_key(device)
        device.on_network = lambda _info: self._note_present_keys(device)
        self.devices.append(device)
        if not hasattr(self, config.role.value):
            setattr(self, config.role.value, device)
        self.keys.add(factory(self.config, config, self._ca).install_key, f"IC {config.role.value}")

    def _note_key(self, device: Device) -> Callable[[LinkKey], None]:
        def note(key: LinkKey) -> None:
            label = f"{key.origin.name} {device.eui64:016X} {key.partner:016X}"
            self.keys.add(key.key, label)

        return note

    def _note_present_keys(self, device: Device) -> None:
        """On the network: its key, and link keys that NVM has kept from an earlier run."""
        key = device.port.network_key
        if key is not None and isinstance(device, Chf):
            self.keys.add(key, f"NETWORK {device.eui64:016X}")
        for other in self.config.devices:
            link_key = device.port.link_key(other.eui64)
            if link_key is not None and link_key.origin is not KeyOrigin.INSTALL_CODE:
                device.on_key(link_key)

    def _make_chf(self, config: DeviceConfig) -> Chf:
        log = DeviceLog(self.nvm_of(config.eui64))
        esme, gsme = self.config.device(Role.ESME), self.config.device(Role.GSME)
        gpf = self.config.device(Role.GPF)
        admitted = [
            AdmittedDevice(
                eui64=other.eui64,
                install_key=factory(self.config, other, self._ca).install_key,
                device_type=DEVICE_TYPES[other.role],
                is_listed=other.role is not Role.ESME,
            )
            for other in self.config.devices
            if other.role not in (Role.CHF, Role.GPF)
        ]
        return RegisteredChf(
            factory(self.config, config, self._ca),
            self._board(config, log.may_join),
            gpf=factory(self.config, gpf, self._ca) if gpf else None,
            esme=esme.eui64 if esme else None,
            gsme=gsme.eui64 if gsme else None,
            ribbon=self.wire.hub,
            devices=admitted,
            device_log=log,
        )

    def _make_esme(self, config: DeviceConfig) -> Esme:
        return Esme(
            factory(self.config, config, self._ca),
            self._board(config),
            meter=electricity_meter(self.config, config),
            desk=top_up_desk(self.config, config),
            sua_key=sua_key(self.config.seed, config.eui64),
            ribbon=self.wire.meter,
            engineering_pin=self.engineering_pin(config),
            mpxn=config.mpxn,
        )

    def _make_gsme(self, config: DeviceConfig) -> Gsme:
        return Gsme(
            factory(self.config, config, self._ca),
            self._board(config),
            meter=gas_meter(self.config, config),
            desk=top_up_desk(self.config, config),
            sua_key=sua_key(self.config.seed, config.eui64),
            wake_us=self.config.han.gas_wake_us,
            engineering_pin=self.engineering_pin(config),
            mpxn=config.mpxn,
        )

    def engineering_pin(self, config: DeviceConfig) -> str:
        """What opens a meter's engineering menu; no consumer is to see it."""
        return config.engineering_pin or engineering_pin(self.config.seed, config.eui64)

    def _display_options(self) -> dict[str, Any]:
        esme = self.config.device(Role.ESME)
        return {
            "esme": esme.eui64 if esme else None,
            "has_gas": self.config.device(Role.GSME) is not None,
            "report_interval_us": self.config.han.report_interval_us,
        }

    def _make_ppmid(self, config: DeviceConfig) -> Ppmid:
        return Ppmid(factory(self.config, config, self._ca), self._board(config), **self._display_options())

    def _make_ihd(self, config: DeviceConfig) -> Ihd:
        return Ihd(factory(self.config, config, self._ca), self._board(config), **self._display_options())

    def _make_cad(self, config: DeviceConfig) -> Cad:
        household = self._households.get(config.eui64)
        if household is None:  # added to a home that runs: its broker is one that needs no start
            household = self._households[config.eui64] = HomeWan(config.mqtt, self._loop, self.seeds)
        return Cad(
            factory(self.config, config, self._ca),
            self._board(config),
            household=household.link(f"cad-{config.eui64:016x}"),
            **self._display_options(),
        )

    def household(self, cad: Eui64) -> MemoryBroker:
        """The household's broker that a CAD republishes to, with `mqtt = "memory:"`. Raises MisuseError."""
        household = self._households.get(cad)
        if household is None or household.memory is None:
            raise MisuseError("only a CAD with the broker memory: has one here")
        return household.memory


async def open_home(
    *,
    seed: int | None = None,
    toml: str | None = None,
    config: HomeConfig | None = None,
    start: str | None = None,
    balance_pounds: float | None = None,
    nvm_dir: Path | None = None,
    capture: Path | None = None,
    keys: Path | None = None,
    waits: bool = True,
) -> Home:
    """A running home; with `waits`, one whose devices are all joined and keyed.

    `toml` is a home file's text, `config` one that has been read; neither: the reference home.
    `seed`, `start` (ISO 8601) and `balance_pounds` (both meters) go before what the file says.
    Raises InputError, LostError, MisuseError, NoAnswerError.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, EmulatorLoop):
        raise MisuseError("a home runs in an EmulatorLoop: use smets1.hardware.clock.run")
    chosen = config or (default_home() if toml is None else parse_home(toml, Path("home.toml")))
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    if start is not None:
        chosen = replace(chosen, start=require_start(parse_instant(start)))
    if balance_pounds is not None:
        prepayment = {
            fuel: replace(chosen.prepayment[fuel], balance_mp=round(balance_pounds * 100_000))
            for fuel in Fuel
        }
        chosen = replace(chosen, prepayment=prepayment)
    if keys is not None:
        require_writable(keys, "keys")
        if capture is not None and is_same_file(keys, capture):
            raise InputError(f"keys {keys}: is the file of the capture: give another")
    file = None if capture is None else NewFile(capture, "capture")
    home = Home(chosen, nvm_dir=nvm_dir or chosen.nvm_dir, loop=loop)
    try:
        if file is not None:
            home.capture = Capture(home.air, file.path, epoch_utc_us=home.civil.utc_us() - loop.now_us())
            home.radios.note = home.capture.note
        await home.start()
        if file is not None:
            file.keep()
        if keys is not None:
            home.keys.write_to(keys)
        if waits:
            await home.joined()
    except BaseException:  # whatever it was, nothing may be left running
        await home.close()
        if file is not None:
            file.drop()
        raise
    return home
