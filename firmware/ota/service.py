"""The OTA Upgrade cluster on live devices: the machines of `client` and `server`, with a ZCL application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from smets1.errors import DecodeError, LostError, NoAnswerError, RefusedError, SecurityError
from smets1.eui64 import Eui64
from smets1.firmware.civil import CivilClock
from smets1.firmware.ota.client import Ask, OtaClient, Rest, Send
from smets1.firmware.ota.image_file import OtaHeader
from smets1.firmware.ota.server import OtaServer
from smets1.firmware.zcl.application import ZclApplication
from smets1.firmware.zcl.clusters.ota_upgrade import OTA_UPGRADE
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import LATER, Answer, CommandContext, reply
from smets1.firmware.zcl.status import Side, Status
from smets1.hardware.radio import BROADCAST_RX_ON, COORDINATOR

__all__ = ["OtaClientService", "OtaServerService"]

_LONGEST_REST_S: Final = 3600.0
"""A clock that is set meanwhile makes no wait longer than this."""
_HUB_ENDPOINT: Final = 1


class OtaClientService:
    """A device that fetches its firmware from the hub. `on_start(version)`: the image is due.

    `waits_to_be_woken`: a sleeping device does nothing between two calls of `stir`, one a waking.
    """

    def __init__(
        self,
        app: ZclApplication,
        client: OtaClient,
        civil: CivilClock,
        *,
        on_start: Callable[[int], None],
        waits_to_be_woken: bool = False,
        endpoint: int = 1,
    ) -> None:
        self.client = client
        self._app = app
        self._civil = civil
        self._on_start = on_start
        self._waits_to_be_woken = waits_to_be_woken
        self._stirred = asyncio.Event()
        cluster = app.core.add_client(endpoint, OTA_UPGRADE)
        identity, slots = client.identity, client.slots
        cluster.set("manufacturer_id", identity.manufacturer_code)
        cluster.set("image_type_id", identity.image_type)
        cluster.bind("image_upgrade_status", lambda: int(client.status))
        cluster.bind("file_offset", lambda: slots.offset)
        cluster.bind("current_file_version", lambda: slots.version)
        cluster.bind("downloaded_file_version", lambda: slots.staged_version or 0xFFFFFFFF)
        cluster.handle("image_notify", self._on_notify)
        cluster.handle("image_block_response", self._on_block)
        cluster.handle("upgrade_end_response", self._on_end)

    async def run(self) -> None:
        """For as long as the device has the network and a key."""
        while True:
            step = self.client.next_step(utc_us=self._civil.utc_us())
            if isinstance(step, Rest):
                await self._rest(step.until_utc_us)
            elif isinstance(step, Ask):
                await self._ask(step)
            elif isinstance(step, Send):
                self._app.command(COORDINATOR, _HUB_ENDPOINT, OTA_UPGRADE, step.command, **step.values)
            else:
                self._on_start(step.version)

    async def _rest(self, until_utc_us: int) -> None:
        self._stirred.clear()
        if self._waits_to_be_woken:
            await self._stirred.wait()
            return
        pause_s = max(0, until_utc_us - self._civil.utc_us()) / 1e6
        try:
            async with asyncio.timeout(min(pause_s, _LONGEST_REST_S)):
                await self._stirred.wait()
        except TimeoutError:
            return

    async def _ask(self, ask: Ask) -> None:
        status: int | None = None
        try:
            values = await self._app.request(
                COORDINATOR, _HUB_ENDPOINT, OTA_UPGRADE, ask.command, **ask.values
            )
        except RefusedError as error:
            status = error.status
        except (NoAnswerError, DecodeError, SecurityError, LostError):
            status = None
        else:
            self.client.on_answer(ask, values, utc_us=self._civil.utc_us())
            return
        self.client.on_failure(ask, status, utc_us=self._civil.utc_us())

    def stir(self) -> None:
        """Look whether something is due."""
        self._stirred.set()

    def poke(self) -> None:
        """There is news: ask now."""
        self.client.poke(utc_us=self._civil.utc_us())
        self._stirred.set()

    def start_staged(self, version: int, at_utc_us: int | None) -> bool:
        """The word to start a staged image, or to wait for it again; see `ImageSlots.obey`."""
        is_known = self.client.start_staged(version, at_utc_us)
        self._stirred.set()
        return is_known

    def _on_notify(self, values: Values, context: CommandContext) -> Answer:
        if context.source != COORDINATOR:
            return Status.NOT_AUTHORIZED
        is_broadcast = context.is_broadcast
        if self.client.on_notify(values, utc_us=self._civil.utc_us(), is_broadcast=is_broadcast):
            self._stirred.set()
        return Status.SUCCESS

    def _on_block(self, values: Values, context: CommandContext) -> Answer:
        """Part of a page; one that was asked for by itself goes to who asked."""
        if context.source != COORDINATOR:
            return Status.NOT_AUTHORIZED
        self.client.on_block(values, utc_us=self._civil.utc_us())
        self._stirred.set()
        return Status.SUCCESS

    def _on_end(self, values: Values, context: CommandContext) -> Answer:
        """Unasked: the server has decided when."""
        if context.source != COORDINATOR or values["upgrade_time"] == 0xFFFFFFFF:
            return Status.NOT_AUTHORIZED if context.source != COORDINATOR else Status.SUCCESS
        wait_s = max(0, int(values["upgrade_time"]) - int(values["current_time"]))
        at_us = self._civil.utc_us() + wait_s * 1_000_000
        return Status.SUCCESS if self.start_staged(int(values["file_version"]), at_us) else Status.NOT_FOUND


class OtaServerService:
    """The hub's end. `spawn` runs what sends the blocks of a page."""

    def __init__(
        self,
        app: ZclApplication,
        server: OtaServer,
        civil: CivilClock,
        *,
        spawn: Callable[[Any], Any],
        endpoint: int = 1,
    ) -> None:
        self.server = server
        self.on_end: Callable[[Eui64, bool], None] = lambda _eui64, _is_good: None
        """A device has fetched an image, and found it good or not; its first word of it, not the repeats."""
        self._app = app
        self._civil = civil
        self._spawn = spawn
        self._endpoint = endpoint
        cluster = app.core.add_server(endpoint, OTA_UPGRADE)
        cluster.handle("query_next_image_request", self._on_query)
        cluster.handle("image_block_request", self._on_block)
        cluster.handle("image_page_request", self._on_page)
        cluster.handle("upgrade_end_request", self._on_end)

    def notify(self, header: OtaHeader, *, jitter: int = 100) -> None:
        """Broadcast that there is an image; under the network key alone, as no broadcast has a link key."""
        self._app.command(
            BROADCAST_RX_ON,
            _HUB_ENDPOINT,  # the devices' as well
            OTA_UPGRADE,
            "image_notify",
            source_endpoint=self._endpoint,
            sender=Side.SERVER,
            is_secured=False,
            payload_type=3,
            query_jitter=jitter,
            manufacturer_code=header.manufacturer_code,
            image_type=header.image_type,
            file_version=header.file_version,
        )

    def _on_query(self, values: Values, context: CommandContext) -> Answer:
        if context.source_eui64 is None:
            return Status.NOT_AUTHORIZED
        return reply("query_next_image_response", **self.server.query(values, context.source_eui64))

    def _on_block(self, values: Values, context: CommandContext) -> Answer:
        if context.source_eui64 is None:
            return Status.NOT_AUTHORIZED
        return reply("image_block_response", **self.server.block(values, context.source_eui64))

    def _on_page(self, values: Values, context: CommandContext) -> Answer:
        if context.source_eui64 is None:
            return Status.NOT_AUTHORIZED
        blocks = self.server.page(values, context.source_eui64)
        self._spawn(self._send_page(blocks, context))
        return LATER

    async def _send_page(self, blocks: list[tuple[int, dict[str, Any]]], context: CommandContext) -> None:
        began_us = self._civil.utc_us()
        send = partial(self._app.reply, context, "image_block_response")
        for after_us, values in blocks:
            await asyncio.sleep(max(0, began_us + after_us - self._civil.utc_us()) / 1e6)
            send(**values)

    def _on_end(self, values: Values, context: CommandContext) -> Answer:
        if context.source_eui64 is None:
            return Status.NOT_AUTHORIZED
        before = self.server.progress.get(context.source_eui64)
        told = None if before is None else (before.version, before.status)
        answer = self.server.end(values, context.source_eui64, utc_us=self._civil.utc_us())
        now = self.server.progress[context.source_eui64]
        if told != (now.version, now.status):
            self.on_end(context.source_eui64, now.status == Status.SUCCESS)
        return Status.SUCCESS if answer is None else reply("upgrade_end_response", **answer)
