"""The WAN of a home, and the household's own MQTT: a broker in memory, one in this process, or elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smets1.errors import MisuseError
from smets1.firmware.seed import SeedTree
from smets1.firmware.wan.link import WanLink
from smets1.firmware.wan.memory import MemoryBroker
from smets1.firmware.wan.mqtt import MqttLink, MqttSettings
from smets1.hardware.clock import MAX_SPEED, EmulatorLoop
from smets1.tools.home_config import WanConfig, WanKind

if TYPE_CHECKING:
    from smets1.tools.broker import EmbeddedBroker

__all__ = ["HomeWan"]

_NOT_AT_MAX: Final = (
    "a WAN over MQTT needs a finite speed: at speed max time runs ahead of the broker; "
    'take --speed 60, or link = "memory:"'
)


class HomeWan:
    """Gives links to whoever needs one; owns the broker where it is in this process."""

    def __init__(self, config: WanConfig, loop: EmulatorLoop, seeds: SeedTree) -> None:
        self._config = config
        self._loop = loop
        self._seeds = seeds
        self._settings: MqttSettings | None = None
        self._embedded: EmbeddedBroker | None = None
        self.memory: MemoryBroker | None = None
        if config.kind is WanKind.MEMORY:
            self.memory = MemoryBroker(loop, latency_us=config.latency_us)

    async def start(self) -> None:
        """Raises MisuseError at speed max, InputError where the embedded broker cannot start."""
        if self._config.kind is WanKind.MEMORY:
            return
        if self._loop.speed == MAX_SPEED:
            raise MisuseError(_NOT_AT_MAX)
        if self._config.kind is WanKind.EMBEDDED:
            from smets1.tools.broker import EmbeddedBroker

            self._embedded = EmbeddedBroker()
            self._embedded.start()
            self._settings = MqttSettings.parse(self._embedded.url)
        else:
            self._settings = MqttSettings(
                host=self._config.host,
                port=self._config.port,
                use_tls=self._config.is_tls,
                ca=self._config.ca_file,
                cert=self._config.certificate_file,
                key=self._config.key_file,
            )

    def link(self, client_id: str) -> WanLink:
        """A link of its own for one client."""
        rng = self._seeds.random("wan link", client_id)
        if self.memory is not None:
            return self.memory.link(client_id, rng)
        assert self._settings is not None, "started"
        return MqttLink(self._settings, client_id, rng)

    async def close(self) -> None:
        if self._embedded is not None:
            self._embedded.close()
