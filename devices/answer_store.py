"""What a device has answered to instructions that must not be carried out twice.

An instruction bears an id of its asker's. Its answer is put to NVM beside its effect, in one commit; asked
again under the same id, the device gives that answer and does nothing. So a hub that loses power between the
meter's commit and its own learns what became of the instruction, and a top-up that was credited is not called
a duplicate. The newest `KEPT` are held, which is far more than a hub can have under way to one device.

Source: none public; **assumption**, our own design.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import cbor2

from smets1.errors import DecodeError
from smets1.firmware.cbor import load_strict
from smets1.firmware.nvm import Nvm

__all__ = ["KEPT", "AnswerStore"]

KEPT: Final = 32
_KEY: Final = "answers"


class AnswerStore:
    """Reads and writes through to NVM; the caller commits before it answers."""

    def __init__(self, nvm: Nvm) -> None:
        """Raises DecodeError for a record that is not ours."""
        self._nvm = nvm
        self._answers: OrderedDict[bytes, bytes] = OrderedDict()
        stored = nvm.get(_KEY)
        rows = load_strict(stored) if stored is not None else []
        if not isinstance(rows, list):
            raise DecodeError("NVM", 0, f"record {_KEY}")
        for row in rows:
            match row:
                case [bytes(instruction_id), bytes(answer)]:
                    self._answers[instruction_id] = answer
                case _:
                    raise DecodeError("NVM", 0, f"record {_KEY}")

    def find(self, instruction_id: bytes) -> bytes | None:
        return self._answers.get(instruction_id)

    def put(self, instruction_id: bytes, answer: bytes) -> None:
        """Of an instruction that has just been carried out."""
        self._answers[instruction_id] = answer
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)
        self._nvm.put(_KEY, cbor2.dumps([[name, octets] for name, octets in self._answers.items()]))
