"""What a home file needs of the outside: broker, certificates and keys, NVM."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from smets1.tools.doctor.finding import Finding, State
from smets1.tools.home_config import HomeConfig, WanConfig, WanKind

__all__ = ["examine_rig", "stick_ports"]

_CONNECT_WAIT_S: Final = 5.0
_CONNECT: Final = (
    bytes.fromhex("101000044d5154540402000a0004") + b"docs"
)  # MQTT 3.1.1, clean, client id "docs"
_CONNACK: Final = 0x20
_REASONS: Final = {
    1: "protocol",
    2: "client id",
    3: "server unavailable",
    4: "bad password",
    5: "not authorised",
}
_SOON: Final = timedelta(days=30)


async def examine_rig(config: HomeConfig) -> list[Finding]:
    """Broker, certificates, NVM of a home that has been read."""
    found = [_home(config), *_keys(config.wan), _nvm(config.nvm_dir)]
    if config.wan.kind is WanKind.MQTT:
        found.append(await _broker(config.wan))
    return found


def stick_ports(config: HomeConfig) -> list[str]:
    """The ports of its radios, as the file writes them, each once."""
    return list(
        dict.fromkeys(
            device.radio.port
            for device in config.devices
            if device.radio.port and not device.radio.is_simulated
        )
    )


def _home(config: HomeConfig) -> Finding:
    radios = ", ".join(f"{device.role.value} {device.radio}" for device in config.devices)
    return Finding(what="home", state=State.OK, text=f"{config.file}: {radios}")


async def _broker(wan: WanConfig) -> Finding:
    """A whole MQTT greeting, since an open port may be anything."""
    where = f"broker {wan.host}:{wan.port}"
    try:
        async with asyncio.timeout(_CONNECT_WAIT_S):
            reader, writer = await asyncio.open_connection(wan.host, wan.port, ssl=_tls(wan))
            try:
                writer.write(_CONNECT)
                answer = await reader.readexactly(4)
            finally:
                writer.close()
    except (OSError, TimeoutError, EOFError, ssl.SSLError) as error:
        reason = str(error) or "no answer"
        return Finding(
            what=where, state=State.BAD, text=reason, advice="start it: sudo systemctl start mosquitto"
        )
    if answer[0] != _CONNACK:
        return Finding(
            what=where, state=State.BAD, text="is no MQTT broker", advice="see [wan] in the home file"
        )
    if answer[3]:
        text = f"refuses us: {_REASONS.get(answer[3], answer[3])}"
        return Finding(what=where, state=State.BAD, text=text, advice="see its configuration and [wan]")
    return Finding(
        what=where, state=State.OK, text="answers, with TLS" if wan.is_tls else "answers, without TLS"
    )


def _tls(wan: WanConfig) -> ssl.SSLContext | None:
    if not wan.is_tls:
        return None
    context = ssl.create_default_context(cafile=None if wan.ca_file is None else str(wan.ca_file))
    if wan.certificate_file is not None:
        context.load_cert_chain(wan.certificate_file, wan.key_file)
    return context


def _keys(wan: WanConfig) -> list[Finding]:
    found = [_certificate(path) for path in (wan.ca_file, wan.certificate_file) if path is not None]
    if wan.key_file is not None:
        found.append(_private(wan.key_file))
    return found


def _certificate(path: Path) -> Finding:
    from cryptography import x509

    what = f"certificate {path}"
    try:
        last = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        advice = "make one: smets1 keys issue"
        return Finding(what=what, state=State.BAD, text=f"cannot be read: {error}", advice=advice)
    now = datetime.now(UTC)
    text = f"valid until {last:%Y-%m-%d}"
    if last <= now:
        return Finding(
            what=what, state=State.BAD, text=f"was {text}", advice="issue a new one: smets1 keys issue"
        )
    return Finding(what=what, state=State.NOTE if last - now < _SOON else State.OK, text=text)


def _private(path: Path) -> Finding:
    what = f"key {path}"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return Finding(
            what=what, state=State.BAD, text=str(error.strerror), advice="make one: smets1 keys issue"
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding(what=what, state=State.BAD, text="others may read it", advice=f"chmod 600 {path}")
    return Finding(what=what, state=State.OK, text="only its owner may read it")


def _nvm(folder: Path | None) -> Finding:
    if folder is None:
        text = "in memory: the home forgets everything when it ends"
        return Finding(what="nvm", state=State.NOTE, text=text, advice="smets1 run --nvm DIR keeps it")
    place = folder if folder.exists() else folder.parent
    if not os.access(place, os.W_OK):
        return Finding(
            what="nvm", state=State.BAD, text=f"{folder} cannot be written", advice="choose another --nvm"
        )
    return Finding(what="nvm", state=State.OK, text=f"{folder}")
