"""The hub's Messaging server: one text for the displays of the home, and who has confirmed it.

The head end puts it up and takes it down with DisplayMessage and CancelMessage, as instructions to the hub
over the WAN; the displays are told at once, and whoever was away asks (GetLastMessage). Kept over power cuts.
DUIS has no request for it: 3.1, Display Message, is none of SMETS1's.

Source: SE 1.2 07-5356-19, D.5 (Messaging).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import cbor2

from smets1.errors import DecodeError, InputError, RefusedError
from smets1.eui64 import Eui64
from smets1.firmware.cbor import load_strict
from smets1.firmware.civil import CivilClock
from smets1.firmware.device import ENDPOINT
from smets1.firmware.nvm import Nvm
from smets1.firmware.zcl.application import ZclApplication
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.server import Answer, CommandContext, Via, reply
from smets1.firmware.zcl.status import Side, Status

__all__ = ["LONGEST_MESSAGE_OCTETS", "MessageBoard"]

LONGEST_MESSAGE_OCTETS: Final = 200
_KEY: Final = "message"
_FIELDS: Final = ("message_id", "message_control", "start_time", "duration_in_minutes", "message")
_CONFIRMATION: Final = 0x80


class MessageBoard:
    """On the hub's own endpoint. `displays`: short addresses of the displays that are on the network."""

    def __init__(
        self,
        app: ZclApplication,
        nvm: Nvm,
        civil: CivilClock,
        *,
        displays: Callable[[], Iterable[int]],
    ) -> None:
        self._app = app
        self._nvm = nvm
        self._civil = civil
        self._displays = displays
        self.confirmed: dict[Eui64, int] = {}  # of the present message: display -> when, UTC
        stored = nvm.get(_KEY)
        self._fields: dict[str, Any] = {}  # of the present message; empty: there is none
        if stored is not None:
            self._fields = _decode(stored)
        server = app.core.add_server(ENDPOINT, "messaging")
        server.handle("get_last_message", self._get_last)
        server.handle("message_confirmation", self._on_confirmation)
        orders = app.core.add_client(ENDPOINT, "messaging")
        orders.handle("display_message", self._on_display)
        orders.handle("cancel_message", self._on_cancel)

    def show(self, text: str, *, minutes: int | None = None, wants_confirmation: bool = False) -> int:
        """Put a text up from now on, in place of any other; its number. Raises InputError: too long."""
        if not 0 < len(text.encode()) <= LONGEST_MESSAGE_OCTETS:
            raise InputError(f"a message has 1 to {LONGEST_MESSAGE_OCTETS} octets")
        if minutes is not None and not 0 < minutes < 0xFFFF:
            raise InputError("a message lasts 1 to 65534 minutes")
        message_id = int(self._fields.get("message_id", 0)) % 0xFFFF_FFFE + 1
        self._put_up(
            {
                "message_id": message_id,
                "message_control": _CONFIRMATION if wants_confirmation else 0,
                "start_time": self._civil.zigbee_utc_s(),
                "duration_in_minutes": minutes,
                "message": text,
            }
        )
        return message_id

    def cancel(self) -> None:
        """Take the present text down."""
        if self._fields:
            self._take_down(self._fields["message_id"])

    def _put_up(self, fields: Mapping[str, Any]) -> None:
        self._fields = {name: fields[name] for name in _FIELDS}
        if not self._fields["start_time"]:  # now; whoever asks later is told when that was
            self._fields["start_time"] = self._civil.zigbee_utc_s()
        self.confirmed.clear()
        self._keep()
        self._tell("display_message", **self._fields)

    def _take_down(self, message_id: int) -> None:
        if message_id == self._fields.get("message_id"):
            self._fields["message"] = None  # its number is not given again
            self._keep()
        self._tell("cancel_message", message_id=message_id, message_control=0)

    def _keep(self) -> None:
        *numbers, text = (self._fields[name] for name in _FIELDS)
        octets = None if text is None else text.encode("utf-8", "surrogateescape")
        self._nvm.put(_KEY, cbor2.dumps([*numbers, octets]))
        self._nvm.commit()

    def _tell(self, command: str, **fields: Any) -> None:
        for short_address in self._displays():
            self._app.command(short_address, ENDPOINT, "messaging", command, sender=Side.SERVER, **fields)

    # --- on the HAN and over the WAN --------------------------------------------------------------------

    def _get_last(self, fields: Values, context: CommandContext) -> Answer:
        if not self._fields or self._fields["message"] is None or self._is_over():
            return Status.NOT_FOUND
        return reply("display_message", **self._fields)

    def _is_over(self) -> bool:
        minutes = self._fields["duration_in_minutes"]
        end_s = self._fields["start_time"] + 60 * (minutes or 0)
        return minutes is not None and self._civil.zigbee_utc_s() >= end_s

    def _on_confirmation(self, fields: Values, context: CommandContext) -> Answer:
        if context.source_eui64 is None or fields["message_id"] != self._fields.get("message_id"):
            return Status.NOT_FOUND
        self.confirmed.setdefault(context.source_eui64, self._civil.utc_us())
        return Status.SUCCESS

    def _on_display(self, fields: Values, context: CommandContext) -> Answer:
        _require_head_end(context)
        if any(fields[name] is None for name in ("message_id", "start_time", "message")):
            return Status.INVALID_FIELD
        self._put_up(fields)
        return Status.SUCCESS

    def _on_cancel(self, fields: Values, context: CommandContext) -> Answer:
        _require_head_end(context)
        self._take_down(fields["message_id"])
        return Status.SUCCESS


def _decode(stored: bytes) -> dict[str, Any]:
    match load_strict(stored):
        case [int(), int(), int(), int() | None, bytes() | None as octets] as row:
            text = None if octets is None else octets.decode("utf-8", "surrogateescape")
            return dict(zip(_FIELDS, [*row[:-1], text], strict=True))
    raise DecodeError("NVM", 0, "record message")


def _require_head_end(context: CommandContext) -> None:
    if context.via is not Via.WAN:
        raise RefusedError(Status.NOT_AUTHORIZED, "messages come from the head end")
