"""The description of the home's HTTP face as OpenAPI 3.1, made of the rows that also make the paths.

What a laboratory's hands do (`controls.py`) brings its own rows; the other paths are described here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from smets1.tools.controls import CONTROLS, Key

__all__ = ["open_api"]

_TYPES: Final = {bool: "boolean", int: "integer", str: "string"}
_EUI64: Final = "as 00-DB-12-34-56-78-90-A0"
_DEVICE: Final = "/api/v1/devices/{eui64}"
_NAMED: Final = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "value": {"type": ["boolean", "integer", "string"]}},
    "required": ["name", "value"],
    "additionalProperties": False,
}
_KEYS: Final = {
    "type": "object",
    "properties": {
        "keys": {"type": "string", "description": "one after the other, as on the device"},
        "held": {"type": "boolean", "description": "true: held down (a meter's keys)"},
    },
    "required": ["keys"],
}
_XML: Final = ("application/xml", {"type": "string"})
_JSON: Final = "application/json"

_HEAD_END_PATHS: Final[dict[str, Any]] = {
    f"/api/v1/{path}": {
        "parameters": [
            {
                "name": "wait",
                "in": "query",
                "schema": {"type": "number", "minimum": 0, "maximum": 3600},
                "description": "seconds to wait for the final answer in place of the acknowledgement",
            }
        ],
        "post": {
            "summary": f"{words}: a DUIS request, answered in DUIS",
            "requestBody": {"required": True, "content": {_XML[0]: {"schema": _XML[1]}}},
            "responses": {
                "200": {"description": "a DUIS response", "content": {_XML[0]: {}}},
                "400": {"description": "no DUIS request: why, in one line", "content": {"text/plain": {}}},
                "413": {"description": "too long", "content": {"text/plain": {}}},
                "503": {"description": "the head end cannot store it", "content": {"text/plain": {}}},
            },
        },
    }
    for path, words in (
        ("serviceS", "Send Command"),
        ("serviceT", "Transform"),
        ("serviceD", "Non-Device"),
    )
}


def _query(name: str, kind: str, words: str, **more: object) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": kind, **more}, "description": words}


def _operation(
    words: str, body: dict[str, Any] | None = None, *, is_of_device: bool = False
) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "done", "content": {_JSON: {}}}}
    if body is not None or is_of_device:
        responses["400"] = {"description": "what does not fit, in one line", "content": {"text/plain": {}}}
    if is_of_device:
        responses["404"] = {"description": "no such device runs here", "content": {"text/plain": {}}}
    operation: dict[str, Any] = {"summary": words, "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": body}}}
    return operation


def _removal(words: str) -> dict[str, Any]:
    operation = _operation(f"Take away: {words[0].lower()}{words[1:]}")
    operation["responses"]["404"] = {"description": "no such fault is set", "content": {"text/plain": {}}}
    return operation


def _in_path(name: str, kind: str, words: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": kind}, "description": words}


def _stream(media_type: str, words: str) -> dict[str, Any]:
    return {"summary": words, "responses": {"200": {"description": words, "content": {media_type: {}}}}}


def _of_device(*, parameters: Sequence[dict[str, Any]] = (), **operations: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": [_in_path("eui64", "string", _EUI64), *parameters], **operations}


def _body(keys: Sequence[Key]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for key in keys:
        kinds = [_TYPES[key.kind], *(["null"] if key.or_null else [])]
        limits = {"minimum": key.low, "maximum": key.high, "enum": list(key.choices) or None}
        properties[key.name] = {
            "type": kinds[0] if len(kinds) == 1 else kinds,
            "description": key.words,
            **{name: value for name, value in limits.items() if value is not None},
        }
    return {
        "type": "object",
        "properties": properties,
        "required": [key.name for key in keys if not key.is_optional],
        "additionalProperties": False,
    }


def open_api(*, has_head_end: bool) -> dict[str, Any]:
    """`has_head_end`: the head end runs here too, so its paths are served. Source: OpenAPI 3.1.0."""

    def device(words: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return _operation(words, body, is_of_device=True)

    paths: dict[str, Any] = dict(_HEAD_END_PATHS) if has_head_end else {}
    if has_head_end:
        paths["/api/v1/responses"] = {
            "parameters": [
                _query("user", "string", "EUI-64 of a user: only what was answered to it"),
                _query("after", "integer", "only those with a greater number", minimum=0),
                _query("limit", "integer", "at most so many, 100 where not said", minimum=0),
            ],
            "get": _operation("What the head end has answered"),
        }
    paths |= {
        "/api/v1/docs": {"get": _operation("This description")},
        "/api/v1/clock": {"get": _operation("The home's time, and how fast it goes")},
        "/api/v1/events": {"get": _stream("text/event-stream", "What happens, as it happens, one JSON each")},
        "/api/v1/metrics": {"get": _stream("text/plain", "Figures of the home for Prometheus")},
        "/api/v1/home": {"get": _operation("The home: time, devices, supply, registers")},
        "/api/v1/faults": {
            "get": _operation("What is wrong with the air now"),
            "post": _operation("These faults in place of all that were set", {"type": "object"}),
            "patch": _operation("These faults beside those that are set", {"type": "object"}),
        },
        "/api/v1/faults/default": {"delete": _removal("What holds on every link")},
        "/api/v1/faults/plan/{id}": {
            "parameters": [_in_path("id", "integer", "as GET shows it")],
            "delete": _removal("One cut, absence, partition or interference"),
        },
        "/api/v1/faults/node/{eui64}": _of_device(delete=_removal("What holds at one device")),
        "/api/v1/faults/link/{from}/{to}": {
            "parameters": [_in_path(name, "string", _EUI64) for name in ("from", "to")],
            "delete": _removal("What holds in one direction of one link"),
        },
        _DEVICE: _of_device(get=device("One device")),
        f"{_DEVICE}/screen": _of_device(get=device("What its display shows")),
        f"{_DEVICE}/keys": _of_device(post=device("Press its keys", _KEYS)),
        f"{_DEVICE}/parameters": _of_device(
            get=device("The configuration parameters of a meter or display, with their values"),
            post=device("Write one, as the operator does", _NAMED),
        ),
        f"{_DEVICE}/enrolment": _of_device(
            parameters=[_query("group", "string", "Group ID", default="DA")],
            get=device("What is not as it must be before the home is enrolled: is, must be"),
        ),
    }
    for row in CONTROLS.values():
        paths[f"{_DEVICE}/{row.name}"] = _of_device(post=device(row.words, _body(row.keys)))
    return {
        "openapi": "3.1.0",
        "info": {"title": "smets1: an emulated home", "version": "1"},
        "paths": paths,
    }
