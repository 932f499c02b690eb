"""The device's side of an upgrade: what to ask next, and what to make of the answer. A value machine.

    query -> image blocks (or pages of them) -> end -> wait for the hour, or the word -> start

`next_step` says what to do now: ask the server, rest until an instant, or start the staged image. Where a
download stands is in the image slots, so a device that lost power or the network just asks on.
A sleepy device downloads for `awake_us`, then sleeps for `asleep_us`, and so on.

Source: ZCL 07-5123 rev 7, 11.10 (process), 11.13 (commands), 11.15 (status), 11.11.10 (policies).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeAlias

from smets1.eui64 import Eui64
from smets1.firmware.images import ImageInfo, ImageSlots
from smets1.firmware.zcl.clusters.ota_upgrade import ImageUpgradeStatus
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.status import Status

__all__ = ["ASK_AGAIN", "Ask", "OtaClient", "OtaIdentity", "OtaRules", "OtaStep", "Rest", "Send", "Start"]

_S: Final = 1_000_000
ASK_AGAIN: Final = 0xFFFFFFFF
"""As upgrade time: wait to be told."""
_FIRST_PAUSE_US: Final = 5 * _S
_LAST_PAUSE_US: Final = 900 * _S
_JITTER_US: Final = 5 * _S
_MOST_BLOCK_FAILURES: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class OtaIdentity:
    """What a server is asked for."""

    eui64: Eui64
    manufacturer_code: int
    image_type: int
    hardware_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtaRules:
    """How a product goes about it."""

    block_octets: int = 48  # what fits one secured APS frame
    page_octets: int = 0  # 0: ask for each block; else for so many octets at a time
    page_spacing_ms: int = 100
    query_every_us: int = 86_400 * _S
    report_every_us: int = 3600 * _S  # while waiting to be told to start
    awake_us: int | None = None  # sleepy: longest time of asking in one waking; None: no limit
    asleep_us: int = 1800 * _S


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Send this command of the cluster; its answer goes to `on_answer`, its failure to `on_failure`."""

    command: str
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send this command; what comes of it arrives as `on_block`, each on its own."""

    command: str
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Nothing to do before then, unless something arrives."""

    until_utc_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start the staged image (`ImageSlots.activate`), and restart."""

    version: int


OtaStep: TypeAlias = Ask | Send | Rest | Start


class OtaClient:
    """One device's client. All times are UTC as the device knows it, microseconds since 1970."""

    def __init__(
        self,
        identity: OtaIdentity,
        slots: ImageSlots,
        rng: Random,
        *,
        utc_us: int,
        rules: OtaRules | None = None,
    ) -> None:
        self.identity = identity
        self.slots = slots
        self.rules = rules or OtaRules()
        self.block_count = 0  # blocks taken since power-up
        self._rng = rng
        self._query_at_us = utc_us + rng.randrange(self.rules.query_every_us)
        self._not_before_us = 0
        self._failures = 0
        self._window_us: int | None = None  # when this waking's asking began
        self._page_end = 0  # offset; blocks up to here come unasked
        self._page_until_us = 0
        self._report_at_us: int | None = None  # when to tell (again) that the image is complete; None: now
        self._is_told = False  # the server has answered the end of this download
        self._bad: ImageInfo | None = None  # complete and not fit: to be told

    @property
    def status(self) -> ImageUpgradeStatus:
        if self.slots.staged_version is not None:
            if self.slots.due_utc_us is not None:
                return ImageUpgradeStatus.COUNT_DOWN
            is_told = self._is_told
            return ImageUpgradeStatus.WAITING_TO_UPGRADE if is_told else ImageUpgradeStatus.DOWNLOAD_COMPLETE
        if self.slots.download is not None:
            return ImageUpgradeStatus.DOWNLOAD_IN_PROGRESS
        return ImageUpgradeStatus.NORMAL

    # --- what to do -------------------------------------------------------------------------------------

    def next_step(self, *, utc_us: int) -> OtaStep:
        slots = self.slots
        if slots.staged_version is not None:
            return self._wait_to_start(slots.staged_version, utc_us)
        if self._not_before_us > utc_us:
            return Rest(until_utc_us=self._not_before_us)
        if slots.download is not None and slots.is_complete:
            self._stage(slots.download)
            return self.next_step(utc_us=utc_us)
        if self._bad is not None:
            return Ask(command="upgrade_end_request", values=self._end(self._bad, Status.INVALID_IMAGE))
        if slots.download is not None:
            return self._go_on(slots.download, utc_us)
        if self._query_at_us > utc_us:
            return Rest(until_utc_us=self._query_at_us)
        return Ask(command="query_next_image_request", values=self._query())

    def _query(self) -> Values:
        values: Values = {
            "field_control": 0,
            "manufacturer_code": self.identity.manufacturer_code,
            "image_type": self.identity.image_type,
            "current_file_version": self.slots.version,
        }
        if self.identity.hardware_version is not None:
            values |= {"field_control": 1, "hardware_version": self.identity.hardware_version}
        return values

    def _go_on(self, info: ImageInfo, utc_us: int) -> OtaStep:
        rules = self.rules
        if rules.awake_us is not None:
            if self._window_us is None or utc_us >= self._window_us + rules.awake_us + rules.asleep_us:
                self._window_us = utc_us
            elif utc_us >= self._window_us + rules.awake_us:
                return Rest(until_utc_us=self._window_us + rules.awake_us + rules.asleep_us)
        if self.slots.offset < self._page_end and utc_us < self._page_until_us:
            return Rest(until_utc_us=self._page_until_us)
        common: Values = {
            "field_control": 0,
            "manufacturer_code": info.manufacturer_code,
            "image_type": info.image_type,
            "file_version": info.file_version,
            "file_offset": self.slots.offset,
            "maximum_data_size": rules.block_octets,
        }
        if not rules.page_octets or self._failures:
            return Ask(command="image_block_request", values=common)
        page = min(rules.page_octets, info.size_octets - self.slots.offset)
        blocks = -(-page // rules.block_octets)
        self._page_end = self.slots.offset + page
        self._page_until_us = utc_us + blocks * rules.page_spacing_ms * 1000 + 5 * _S
        values = common | {"page_size": page, "response_spacing": rules.page_spacing_ms}
        return Send(command="image_page_request", values=values)

    def _stage(self, info: ImageInfo) -> None:
        self._report_at_us, self._is_told = None, False
        if not self.slots.stage():
            self._bad = info

    def _wait_to_start(self, version: int, utc_us: int) -> OtaStep:
        due_us = self.slots.due_utc_us
        if due_us is not None and due_us <= utc_us:
            return Start(version=version)
        if not self._is_told or due_us is None:
            if self._report_at_us is None or self._report_at_us <= utc_us:
                info = ImageInfo(
                    manufacturer_code=self.identity.manufacturer_code,
                    image_type=self.identity.image_type,
                    file_version=version,
                    size_octets=0,
                )
                return Ask(command="upgrade_end_request", values=self._end(info, Status.SUCCESS))
            if due_us is None or self._report_at_us < due_us:
                return Rest(until_utc_us=self._report_at_us)
        assert due_us is not None
        return Rest(until_utc_us=due_us)

    def _end(self, info: ImageInfo, status: Status) -> Values:
        return {
            "status": int(status),
            "manufacturer_code": info.manufacturer_code,
            "image_type": info.image_type,
            "file_version": info.file_version,
        }

    # --- what came of it --------------------------------------------------------------------------------

    def on_answer(self, ask: Ask, values: Values, *, utc_us: int) -> None:
        """The answering command's fields, off the air; {} for a Default Response."""
        if ask.command == "query_next_image_request":
            self._on_query_answer(values, utc_us)
        elif ask.command == "image_block_request":
            self.on_block(values, utc_us=utc_us)
        else:
            self._on_end_answer(values, utc_us)

    def on_failure(self, ask: Ask, status: int | None, *, utc_us: int) -> None:
        """`status`: of the refusal; None: no answer."""
        if ask.command == "query_next_image_request":
            pause_us = self._pause_us() if status is None else self.rules.query_every_us
            self._query_at_us = utc_us + pause_us
        elif ask.command == "image_block_request":
            if status is None:
                self._not_before_us = utc_us + self._pause_us()
            else:
                self._abandon(utc_us)
        elif self._bad is not None:
            self._forget_bad(utc_us)
        else:
            self._report_at_us = utc_us + self._pause_us()

    def _pause_us(self) -> int:
        self._failures += 1
        return min(_FIRST_PAUSE_US << min(self._failures - 1, 10), _LAST_PAUSE_US)

    def _on_query_answer(self, values: Values, utc_us: int) -> None:
        self._failures = 0
        self._query_at_us = utc_us + self.rules.query_every_us
        if values.get("status") != Status.SUCCESS:
            return
        info = _info(values)
        asked = (self.identity.manufacturer_code, self.identity.image_type)
        if (info.manufacturer_code, info.image_type) == asked and info.file_version != self.slots.version:
            self.slots.begin(info)
            self._window_us = None

    def on_block(self, values: Values, *, utc_us: int) -> None:
        """A block, asked for or part of a page. What does not fit in is ignored."""
        info = self.slots.download
        if info is None:
            return
        status = values.get("status")
        if status == Status.WAIT_FOR_DATA:
            wait_s = max(0, min(int(values["request_time"]) - int(values["current_time"]), 86_400))
            self._not_before_us = utc_us + max(wait_s, 1) * _S
            return
        if status != Status.SUCCESS:
            self._abandon(utc_us)
            return
        named = (values["manufacturer_code"], values["image_type"], values["file_version"])
        data = bytes(values["image_data"])
        is_ours = named == (info.manufacturer_code, info.image_type, info.file_version)
        if is_ours and data and self.slots.write(int(values["file_offset"]), data):
            self._failures = 0
            self.block_count += 1
        elif not self._is_in_page(utc_us):
            self._failures += 1
            if self._failures >= _MOST_BLOCK_FAILURES:
                self._abandon(utc_us)  # a server that answers past the question for ever

    def _is_in_page(self, utc_us: int) -> bool:
        return utc_us < self._page_until_us

    def _abandon(self, utc_us: int) -> None:
        self.slots.discard()
        self._failures = 0
        self._page_end = 0
        self._query_at_us = utc_us + self.rules.query_every_us

    def _forget_bad(self, utc_us: int) -> None:
        self._bad = None
        self._query_at_us = utc_us + self.rules.query_every_us

    def _on_end_answer(self, values: Values, utc_us: int) -> None:
        self._failures = 0
        if self._bad is not None:
            self._forget_bad(utc_us)
            return
        staged = self.slots.staged_version
        if staged is None:
            return
        self._is_told = True
        self._report_at_us = utc_us + self.rules.report_every_us
        start_s = values.get("upgrade_time", ASK_AGAIN)
        if values.get("file_version", staged) not in (staged, ASK_AGAIN) or start_s == ASK_AGAIN:
            return
        # The server's own now is told beside it: the time to wait does not hang on our clock.
        wait_s = max(0, int(start_s) - int(values.get("current_time", 0)))
        self.slots.schedule(utc_us + wait_s * _S)

    # --- from outside -----------------------------------------------------------------------------------

    def on_notify(self, values: Values, *, utc_us: int, is_broadcast: bool) -> bool:
        """Image Notify, off the air. True where it means us: ask soon."""
        own: dict[str, Any] = {
            "manufacturer_code": self.identity.manufacturer_code,
            "image_type": self.identity.image_type,
        }
        for name, wanted in own.items():
            if name in values and values[name] not in (wanted, 0xFFFF):
                return False
        if self.slots.download is not None or self.slots.staged_version is not None:
            return False
        if is_broadcast:
            if values.get("file_version") == self.slots.version:
                return False
            if self._rng.randint(1, 100) > int(values["query_jitter"]):
                return False
        self.poke(utc_us=utc_us + (self._rng.randrange(_JITTER_US) if is_broadcast else 0))
        return True

    def poke(self, *, utc_us: int) -> None:
        """Ask for a new image then, if not before."""
        self._query_at_us = min(self._query_at_us, utc_us)

    def start_staged(self, version: int, at_utc_us: int | None) -> bool:
        """The word to start, or to wait for it again; see `ImageSlots.obey`."""
        is_known = self.slots.obey(version, at_utc_us)
        if is_known and at_utc_us is not None:
            self._is_told = True
        return is_known


def _info(values: Values) -> ImageInfo:
    return ImageInfo(
        manufacturer_code=int(values["manufacturer_code"]),
        image_type=int(values["image_type"]),
        file_version=int(values["file_version"]),
        size_octets=int(values["image_size"]),
    )
