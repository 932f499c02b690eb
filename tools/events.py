"""What a running home says of itself, as lines: device events, supply, displays' top-ups."""

from __future__ import annotations

import json
import logging
from typing import TextIO

from smets1.firmware.civil import CivilClock, format_utc

__all__ = ["EventLines", "quiet_libraries"]

_NOISY = ("aiomqtt", "asyncio", "aiohttp.access", "amqtt", "paho", "transitions")


class EventLines(logging.Handler):
    """A log handler that writes one line an event, stamped with the home's own time."""

    def __init__(self, civil: CivilClock, out: TextIO, *, as_json: bool) -> None:
        super().__init__(logging.INFO)
        self._civil = civil
        self._out = out
        self._as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        try:
            utc = format_utc(self._civil.utc_us())
            text = record.getMessage()
            if self._as_json:
                event = {"utc": utc, "level": record.levelname, "source": record.name, "text": text}
                line = json.dumps(event)
            else:
                mark = "" if record.levelno < logging.WARNING else f"{record.levelname} "
                line = f"{utc}  {mark}{text}"
            if record.exc_info and not self._as_json:
                line += "\n" + logging.Formatter().formatException(record.exc_info)
            print(line, file=self._out, flush=True)
        except Exception:  # a handler must never break what logs
            self.handleError(record)


def quiet_libraries() -> None:
    """Other people's libraries only speak up when something is wrong."""
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
