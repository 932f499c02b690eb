"""The shell of a display: a follower of the meters that a person looks at and presses."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from smets1.devices.display_panel import DISPLAY_KEYS, DisplayPanel, Request
from smets1.devices.follower import Follower
from smets1.devices.parameter_effects import govern_display
from smets1.devices.parameter_service import ParameterService
from smets1.errors import InputError, RefusedError
from smets1.firmware.device import ENDPOINT, TROUBLE, Board, Factory
from smets1.firmware.tasks import together
from smets1.firmware.zcl.clusters.messaging import MESSAGING
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, CommandContext
from smets1.firmware.zcl.status import Status
from smets1.hardware.radio import COORDINATOR

__all__ = ["DisplayDevice", "split_keys"]

_ASK_EVERY_S: Final = 3600
_KEYS: Final = re.compile("|".join(DISPLAY_KEYS))


def split_keys(text: str) -> list[str]:
    """ "> ok 12" -> [">", "OK", "1", "2"]. Raises InputError, one line."""
    wanted = text.upper().replace("-", " ")
    rest = _KEYS.sub("", wanted).split()
    if rest:
        raise InputError(f"there is no key {rest[0]!r}: the keys are {' '.join(DISPLAY_KEYS)}")
    return _KEYS.findall(wanted)


class DisplayDevice(Follower):
    """What IHD and PPMID have in common."""

    def __init__(self, factory: Factory, board: Board, **options: Any) -> None:
        """`options`: as of a `Follower`."""
        super().__init__(factory, board, **options)
        self.panel = DisplayPanel(
            lambda: self.model.view(utc_us=self.civil.utc_us()),
            lambda fuel, back: self.model.hours_page(fuel, back, utc_us=self.civil.utc_us()),
        )
        information = self.app.core.server(ENDPOINT, "device_information")
        self.parameters = ParameterService(information, self.nvm, self.civil)
        assert self.upkeep is not None, "only the hub has none"
        messaging = self.app.core.add_client(ENDPOINT, MESSAGING)
        messaging.handle("display_message", self._on_message)
        messaging.handle("cancel_message", self._on_cancellation)
        govern_display(self.parameters, model=self.model, privacy=self.panel.privacy, upkeep=self.upkeep)

    @property
    def screen(self) -> dict[str, list[str]]:
        """Page name -> lines, as the glass shows them now."""
        return self.panel.shown_pages(utc_us=self.civil.utc_us())

    # --- messages ---------------------------------------------------------------------------------------

    async def behave(self) -> None:
        await together(super().behave(), self._ask_for_messages())

    async def _ask_for_messages(self) -> None:
        """The hub tells of a message at once; who was away then asks, now and once an hour."""
        while True:
            try:
                fields = await self.app.request(COORDINATOR, ENDPOINT, MESSAGING, "get_last_message")
                self._take_message(fields)
            except RefusedError:
                pass  # there is none
            except TROUBLE as error:
                self.log.info("messages: %s", error)
            await asyncio.sleep(_ASK_EVERY_S)

    def _on_message(self, fields: Values, context: CommandContext) -> Answer:
        if context.source != COORDINATOR:
            return Status.NOT_AUTHORIZED
        return self._take_message(fields)

    def _take_message(self, fields: Values) -> Status:
        if fields["message_id"] is None or fields["start_time"] is None:
            return Status.INVALID_FIELD
        self.model.messages.take(fields, utc_us=self.civil.utc_us())
        self.nvm.commit()
        return Status.SUCCESS

    def _on_cancellation(self, fields: Values, context: CommandContext) -> Answer:
        if context.source != COORDINATOR:
            return Status.NOT_AUTHORIZED
        self.model.messages.cancel(fields["message_id"])
        self.nvm.commit()
        return Status.SUCCESS

    def _confirm_messages(self) -> None:
        for message_id in self.model.messages.confirm(self.civil.utc_us()):
            self.app.command(
                COORDINATOR, ENDPOINT, MESSAGING, "message_confirmation",
                message_id=message_id, confirmation_time=self.civil.zigbee_utc_s(),
            )  # fmt: skip
        self.nvm.commit()

    # --- a person at the display --------------------------------------------------------------------

    def press(self, keys: str) -> None:
        """Press `<`, `>`, `OK`, `BACK`, `0` to `9`, one after the other; blanks and hyphens are passed over.

        What the meters are asked for goes out at once; the glass says what came of it. OK on the page of
        messages confirms them. Raises InputError for any other key, before any is pressed.
        """
        for key in split_keys(keys):
            request = self.panel.press(key, utc_us=self.civil.utc_us())
            if request is not None:
                self.spawn(self._fulfil(request))
            elif key == "OK" and self.panel.page == "messages":
                self._confirm_messages()

    @property
    def shown(self) -> list[str]:
        """What the person at the display sees now."""
        return self.panel.lines(utc_us=self.civil.utc_us())

    async def _fulfil(self, request: Request) -> None:
        try:
            lines = await self.ask_meter(request)
        except TROUBLE as error:
            self.log.info("%s: %s", request.act.value, error)
            refused = isinstance(error, RefusedError)
            lines = ["Refused by the meter" if refused else "No answer from the meter"]
        self.panel.answer(*lines, utc_us=self.civil.utc_us())

    async def ask_meter(self, request: Request) -> list[str]:
        """Carry out what a person asked for; what to show. Raises RefusedError, NoAnswerError."""
        raise NotImplementedError
