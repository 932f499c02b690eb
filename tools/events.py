"""What a running home says of itself, as lines: device events, supply, displays' top-ups."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TextIO

from smets1.firmware.civil import CivilClock, format_utc

__all__ = ["EventLines", "event_fields", "event_mark", "quiet_libraries"]

_NOISY = ("aiomqtt", "asyncio", "aiohttp.access", "amqtt", "paho", "transitions")


class EventLines(logging.Handler):
    """A log handler that writes one line an event, stamped with the home's own time."""

    def __init__(
        self, civil: CivilClock, out: TextIO, *, as_json: bool, on_closed: Callable[[], object] = lambda: None
    ) -> None:
        """`on_closed`: called when nobody reads `out` any more, as in `smets1 run | head`."""
        super().__init__(logging.INFO)
        self._on_closed = on_closed
        self._civil = civil
        self._out = out
        self._as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = event_fields(record, self._civil.utc_us())
            if self._as_json:
                line = json.dumps(event)
            else:
                line = f"{event['utc']}  {event_mark(record)}{event['text']}"
            if record.exc_info and not self._as_json:
                line += "\n" + logging.Formatter().formatException(record.exc_info)
            print(line, file=self._out, flush=True)
        except BrokenPipeError:
            self._on_closed()
        except Exception:  # a handler must never break what logs
            self.handleError(record)


def event_mark(record: logging.LogRecord) -> str:
    """What a line for a person begins with: nothing, or how bad it is."""
    return "" if record.levelno < logging.WARNING else f"{record.levelname} "


def event_fields(record: logging.LogRecord, utc_us: int) -> dict[str, str]:
    """An event as JSON has it; `utc_us`: the home's own time."""
    return {
        "utc": format_utc(utc_us),
        "level": record.levelname,
        "source": record.name,
        "text": record.getMessage(),
    }


def quiet_libraries() -> None:
    """Other people's libraries only speak up when something is wrong."""
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
