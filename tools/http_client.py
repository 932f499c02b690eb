"""Asking a running home over HTTP, from a command. Standard library only, so that commands start quickly."""

from __future__ import annotations

import argparse
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Final

from smets1.errors import InputError, LostError
from smets1.tools.arguments import judged

__all__ = ["DEFAULT_URL", "add_address_arguments", "exchange", "split_address"]

DEFAULT_URL: Final = "http://127.0.0.1:8079"
_MAX_ANSWER_OCTETS: Final = 64 * 2**20


def add_address_arguments(parser: argparse.ArgumentParser) -> None:
    """`--url` and `--token`."""
    parser.add_argument("--url", type=_url, default=DEFAULT_URL, help=f"the head end (default {DEFAULT_URL})")
    parser.add_argument(
        "--token",
        default=os.environ.get("SMETS1_TOKEN", ""),
        help="for a head end that is not on loopback (default: $SMETS1_TOKEN)",
    )


def _url(text: str) -> str:
    judged(split_address, text)
    return text


def split_address(url: str) -> urllib.parse.SplitResult:
    """Raises InputError for what is no address of HTTP."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        parts, is_usable = urllib.parse.SplitResult("", "", "", "", ""), False
    if not is_usable:
        raise InputError(f"{url!r} is no address: write it as {DEFAULT_URL}")
    return parts


def exchange(
    target: str, *, data: bytes | None = None, media_type: str, token: str = "", timeout_s: float
) -> tuple[int, bytes]:
    """GET, or POST where there is data; status and body, whatever the status.

    `target`: made of what `split_address` has judged. Raises LostError (nobody there, or gone silent).
    """
    headers = {"Content-Type": media_type, "Accept": media_type}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(target, data=data, headers=headers)  # noqa: S310 # judged before
    # No proxy of the environment: a head end on loopback or in the laboratory is spoken to directly.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = urllib.parse.urlunsplit((*urllib.parse.urlsplit(target)[:2], "", "", ""))
    try:
        with opener.open(request, timeout=timeout_s) as reply:
            return reply.status, reply.read(_MAX_ANSWER_OCTETS)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(_MAX_ANSWER_OCTETS)
    except urllib.error.URLError as error:
        raise LostError(
            f"no head end at {url} ({_reason(error.reason)}): start one with `smets1 run`"
        ) from None
    except TimeoutError:
        raise LostError(f"{url} took the request and has not answered in {timeout_s:g} s") from None
    except (http.client.HTTPException, ConnectionError) as error:
        raise LostError(f"{url} broke off ({_reason(error)}): is it a head end?") from None


def _reason(error: object) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
