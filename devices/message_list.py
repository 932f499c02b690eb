"""The messages that a display shows: a value machine, kept in its NVM.

A message is shown from its start to the end of its duration, latest first, the last 20. One that comes again
under the same number takes the old one's place. One that asks for it is confirmed by a person, once.

Source: SE 1.2 07-5356-19, D.5 (Messaging); Secure Pipit 500 guide (last 20 messages).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from smets1.devices.days import MINUTE_US
from smets1.devices.state import StateReader, pack_state
from smets1.errors import DecodeError
from smets1.firmware.civil import from_zigbee_s
from smets1.firmware.nvm import Nvm

__all__ = ["MOST_MESSAGES", "DisplayMessage", "MessageList"]

MOST_MESSAGES: Final = 20
_KEY: Final = "display/messages"
_KIND: Final = "messages"
_CONFIRMATION: Final = 0x80  # of message_control


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayMessage:
    message_id: int
    text: str
    start_us: int  # UTC
    end_us: int | None  # UTC; None: until another rule ends it
    wants_confirmation: bool = False

    def is_shown(self, utc_us: int) -> bool:
        return self.start_us <= utc_us and (self.end_us is None or utc_us < self.end_us)


class MessageList:
    """Reads and writes through to NVM; the caller commits before it answers."""

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        self._messages: list[DisplayMessage] = []  # latest first
        stored = nvm.get(_KEY)
        if stored is not None:
            self._decode(stored)

    def take(self, fields: Mapping[str, Any], *, utc_us: int) -> None:
        """Of DisplayMessage. Start 0: now; no duration: until it is cancelled."""
        start_s, minutes = fields["start_time"], fields["duration_in_minutes"]
        start_us = from_zigbee_s(start_s) if start_s else utc_us
        message = DisplayMessage(
            message_id=fields["message_id"],
            text=_readable(fields["message"] or ""),
            start_us=start_us,
            end_us=None if minutes is None else start_us + minutes * MINUTE_US,
            wants_confirmation=bool(fields["message_control"] & _CONFIRMATION),
        )
        before = next((each for each in self._messages if each.message_id == message.message_id), None)
        if before is not None and not start_s:  # told again: it does not begin anew, nor ask anew
            return
        others = [each for each in self._messages if each is not before]
        self._messages = [message, *others][:MOST_MESSAGES]
        self._put()

    def cancel(self, message_id: int) -> None:
        self._messages = [each for each in self._messages if each.message_id != message_id]
        self._put()

    def forget(self, before_us: int) -> None:
        """Another household lives here since: what was shown before is none of its business."""
        self._messages = [each for each in self._messages if each.start_us >= before_us]
        self._put()

    def shown(self, utc_us: int) -> list[DisplayMessage]:
        """Latest first."""
        return [each for each in self._messages if each.is_shown(utc_us)]

    def confirm(self, utc_us: int) -> list[int]:
        """A person has read what is shown: the numbers of those that ask to be told so."""
        asking = [each for each in self.shown(utc_us) if each.wants_confirmation]
        self._messages = [
            replace(each, wants_confirmation=False) if each in asking else each for each in self._messages
        ]
        if asking:
            self._put()
        return [each.message_id for each in asking]

    # --- NVM ------------------------------------------------------------------------------------------

    def _put(self) -> None:
        fields: dict[str, object] = {
            "texts": [each.text for each in self._messages],
            "numbers": [
                [
                    each.message_id,
                    each.start_us,
                    -1 if each.end_us is None else each.end_us,
                    int(each.wants_confirmation),
                ]
                for each in self._messages
            ],
        }
        self._nvm.put(_KEY, pack_state(_KIND, 1, fields))

    def _decode(self, stored: bytes) -> None:
        reader = StateReader(stored, kind=_KIND, versions=(1,))
        texts, numbers = reader.items("texts"), reader.rows("numbers", 4)
        if len(texts) != len(numbers):
            raise DecodeError("NVM", 0, "as many texts as numbers")
        for text, (message_id, start_us, end_us, wants) in zip(texts, numbers, strict=True):
            self._messages.append(
                DisplayMessage(
                    message_id=message_id,
                    text=str(text),
                    start_us=start_us,
                    end_us=None if end_us < 0 else end_us,
                    wants_confirmation=bool(wants),
                )
            )


def _readable(text: str) -> str:
    """Octets off the air may be anything; a glass shows letters, and blanks for what is none."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
