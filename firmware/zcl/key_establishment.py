"""The Key Establishment cluster: CBKE between two devices, as initiator and as responder. A value machine.

    initiator (client)                                responder (server)
    initiate request: suite, times, certificate  -->
                                                 <--  initiate response: the same of its own
    ephemeral data request                       -->
                                                 <--  ephemeral data response
    confirm key data request: MACU               -->
                                                 <--  confirm key data response: MACV

Each side tells how long it needs at most for its ephemeral and its confirm message; the other waits so
long, and a margin for the air, then gives up. What is wrong is told by Terminate; a Terminate is never
answered. The key is in force when `KeyEstablished` comes out; the shell gives it to the HAN port.

Source: SE 1.2 07-5356-19, annex C.3.1 (commands, terminate status), C.4.2 (exchange).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, unique
from random import Random
from typing import Any, Final, TypeAlias

from smets1.errors import DecodeError, MisuseError, SecurityError
from smets1.eui64 import Eui64
from smets1.firmware.crypto.cbke import (
    CbkeSide,
    CbkeSuite,
    Certificate,
    DeviceIdentity,
    EphemeralKey,
    EstablishedKeys,
    Suite2Certificate,
    decode_certificate,
)
from smets1.firmware.zcl.clusters.key_establishment import TerminateStatus
from smets1.firmware.zcl.fields import Values
from smets1.firmware.zcl.status import Side

__all__ = [
    "KeyEstablished",
    "KeyEstablishment",
    "KeyEstablishmentEvent",
    "KeyEstablishmentFailed",
    "KeyMessage",
    "KeyTimes",
]

_US: Final = 1_000_000
_KEY_AGREEMENT: Final = 0x08  # bit of a suite 2 certificate's key usage


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTimes:
    """How long we need, and how long we wait."""

    ephemeral_data_s: int = 3  # 1..0xFE; we tell it to the other side
    confirm_key_s: int = 3
    margin_s: int = 10  # for the air, and for a sleepy device to poll
    wait_s: int = 60  # told with Terminate: do not begin again before


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMessage:
    """A command of the cluster to send, sent by `sender`'s side, to a short address."""

    peer: int
    sender: Side
    command: str
    values: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEstablished:
    """Both sides have proved that they have the key."""

    peer: int
    peer_eui64: Eui64
    key: bytes = field(repr=False)  # 16 octets
    suite: CbkeSuite
    is_initiator: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEstablishmentFailed:
    """`status` None: no answer in time."""

    peer: int
    peer_eui64: Eui64 | None
    status: int | None  # a TerminateStatus, or what the peer sent in its place
    by_peer: bool  # the other side ended it
    wait_s: int  # do not begin again before
    is_initiator: bool


KeyEstablishmentEvent: TypeAlias = KeyEstablished | KeyEstablishmentFailed


@unique
class _State(IntEnum):
    """What the session waits for."""

    INITIATE = 0
    EPHEMERAL = 1
    CONFIRM = 2


@dataclass(slots=True)
class _Session:
    peer: int
    peer_eui64: Eui64 | None
    suite: CbkeSuite
    is_initiator: bool
    state: _State
    until_us: int
    certificate: Certificate | None = None
    peer_ephemeral_s: int = 0
    peer_confirm_s: int = 0
    ephemeral: EphemeralKey | None = None
    keys: EstablishedKeys | None = None


class _TerminateError(Exception):
    """Ends a session with this status; never leaves this module."""

    def __init__(self, status: TerminateStatus) -> None:
        super().__init__(status.name)
        self.status = status


class KeyEstablishment:
    """All key establishments of one device.

    `identities`: certificate and private key for each suite it has. `rng` draws ephemeral keys.
    `session_limit`: how many others may establish a key with us at a time.
    """

    def __init__(
        self,
        identities: Mapping[CbkeSuite, DeviceIdentity],
        rng: Random,
        *,
        times: KeyTimes | None = None,
        session_limit: int = 1,
    ) -> None:
        self._identities = dict(identities)
        self._rng = rng
        self._times = times or KeyTimes()
        self._session_limit = session_limit
        self._sessions: dict[tuple[int, bool], _Session] = {}  # (peer, we are the initiator)
        self._messages: list[KeyMessage] = []
        self._events: list[KeyEstablishmentEvent] = []

    @property
    def suites(self) -> int:
        """Value of the KeyEstablishmentSuite attribute."""
        return sum(suite.value for suite in self._identities)

    # --- verbs ----------------------------------------------------------------------------------------

    def start(self, peer: int, *, suite: CbkeSuite, peer_eui64: Eui64 | None = None, now_us: int) -> None:
        """Begin as initiator with the device at that short address, replacing an attempt under way.

        `peer_eui64`: whose certificate it must be, if known. Raises MisuseError for a suite we have not.
        """
        if suite not in self._identities:
            raise MisuseError(f"no identity for {suite.name}")
        session = _Session(peer, peer_eui64, suite, True, _State.INITIATE, 0)
        self._sessions[peer, True] = session
        self._send(session, "initiate_key_establishment_request", self._own_part(suite))
        self._wait(session, _State.INITIATE, self._times.ephemeral_data_s, now_us)

    def receive(
        self,
        peer: int,
        sender: Side,
        command: str,
        values: Values,
        *,
        peer_eui64: Eui64 | None = None,
        now_us: int,
    ) -> None:
        """A decoded command of the cluster, off the air. `peer_eui64`: as the network knows the sender."""
        is_initiator = sender is Side.SERVER
        session = self._sessions.get((peer, is_initiator))
        if command == "terminate_key_establishment":
            if session is not None:
                self._fail(session, int(values["status"]), by_peer=True, wait_s=int(values["wait_time"]))
            return
        if command == "initiate_key_establishment_request":
            session = self._admit(peer, peer_eui64, values, now_us)
            if session is None:
                return
        if session is None:
            # an answer to nothing is dropped; a request without a beginning is told so
            if not is_initiator:
                self._terminate(peer, Side.SERVER, TerminateStatus.BAD_MESSAGE, self._default_suite())
            return
        try:
            self._step(session, command, values, now_us)
        except _TerminateError as error:
            self._abandon(session, error.status)
        except (DecodeError, SecurityError):
            self._abandon(session, TerminateStatus.BAD_MESSAGE)

    def on_timer(self, *, now_us: int) -> None:
        for session in [s for s in self._sessions.values() if s.until_us <= now_us]:
            self._fail(session, None, by_peer=False, wait_s=0)

    def next_timer_us(self) -> int | None:
        return min((session.until_us for session in self._sessions.values()), default=None)

    def take_messages(self) -> list[KeyMessage]:
        messages, self._messages = self._messages, []
        return messages

    def take_events(self) -> list[KeyEstablishmentEvent]:
        events, self._events = self._events, []
        return events

    def forget(self, peer: int) -> None:
        """Drop sessions with a peer that has left, without a word."""
        self._sessions.pop((peer, True), None)
        self._sessions.pop((peer, False), None)

    # --- steps ----------------------------------------------------------------------------------------

    def _admit(self, peer: int, peer_eui64: Eui64 | None, values: Values, now_us: int) -> _Session | None:
        """A new session as responder, or a Terminate. A peer that begins again replaces its old session."""
        others = [key for key in self._sessions if not key[1] and key[0] != peer]
        suite = next((own for own in self._identities if own.value == values["suite"]), None)
        if suite is None:
            self._terminate(peer, Side.SERVER, TerminateStatus.UNSUPPORTED_SUITE, int(values["suite"]))
            return None
        if len(others) >= self._session_limit:
            self._terminate(peer, Side.SERVER, TerminateStatus.NO_RESOURCES, suite.value)
            return None
        session = _Session(peer, peer_eui64, suite, False, _State.INITIATE, now_us)
        self._sessions[peer, False] = session
        return session

    def _step(self, session: _Session, command: str, values: Values, now_us: int) -> None:
        """Raises _TerminateError, DecodeError, SecurityError for what the peer did wrong."""
        steps = {
            (_State.INITIATE, "initiate_key_establishment_request"): self._on_initiate,
            (_State.INITIATE, "initiate_key_establishment_response"): self._on_initiate,
            (_State.EPHEMERAL, "ephemeral_data_request"): self._on_ephemeral,
            (_State.EPHEMERAL, "ephemeral_data_response"): self._on_ephemeral,
            (_State.CONFIRM, "confirm_key_data_request"): self._on_confirm,
            (_State.CONFIRM, "confirm_key_data_response"): self._on_confirm,
        }
        step = steps.get((session.state, command))
        if step is None:
            raise _TerminateError(TerminateStatus.BAD_MESSAGE)
        step(session, values, now_us)

    def _on_initiate(self, session: _Session, values: Values, now_us: int) -> None:
        if values["suite"] != session.suite.value:
            raise _TerminateError(TerminateStatus.UNSUPPORTED_SUITE)
        session.certificate = self._checked_certificate(session, values["identity"])
        session.peer_ephemeral_s = int(values["ephemeral_data_generate_time"])
        session.peer_confirm_s = int(values["confirm_key_generate_time"])
        if session.is_initiator:
            self._send(session, "ephemeral_data_request", {"ephemeral_data": self._ephemeral(session)})
        else:
            self._send(session, "initiate_key_establishment_response", self._own_part(session.suite))
        self._wait(session, _State.EPHEMERAL, session.peer_ephemeral_s, now_us)

    def _on_ephemeral(self, session: _Session, values: Values, now_us: int) -> None:
        own = self._ephemeral(session)
        assert session.certificate is not None
        assert session.ephemeral is not None
        side = CbkeSide(
            identity=self._identities[session.suite],
            ephemeral=session.ephemeral,
            is_initiator=session.is_initiator,
        )
        session.keys = side.establish(session.certificate, bytes(values["ephemeral_data"]))
        if session.is_initiator:
            self._send(session, "confirm_key_data_request", {"mac": session.keys.own_mac})
        else:
            self._send(session, "ephemeral_data_response", {"ephemeral_data": own})
        self._wait(session, _State.CONFIRM, session.peer_confirm_s, now_us)

    def _on_confirm(self, session: _Session, values: Values, now_us: int) -> None:
        keys = session.keys
        assert keys is not None
        if not keys.accepts(bytes(values["mac"])):
            raise _TerminateError(TerminateStatus.BAD_KEY_CONFIRM)
        if not session.is_initiator:
            self._send(session, "confirm_key_data_response", {"mac": keys.own_mac})
        self._drop(session)
        self._events.append(
            KeyEstablished(
                peer=session.peer,
                peer_eui64=keys.peer,
                key=keys.key_data,
                suite=session.suite,
                is_initiator=session.is_initiator,
            )
        )

    def _checked_certificate(self, session: _Session, octets: bytes) -> Certificate:
        """Raises DecodeError, _TerminateError."""
        certificate = decode_certificate(session.suite, bytes(octets))
        if certificate.issuer != self._identities[session.suite].certificate.issuer:
            raise _TerminateError(TerminateStatus.UNKNOWN_ISSUER)
        if session.peer_eui64 is not None and certificate.subject != session.peer_eui64:
            raise _TerminateError(TerminateStatus.BAD_MESSAGE)  # somebody else's certificate
        if isinstance(certificate, Suite2Certificate) and not certificate.key_usage & _KEY_AGREEMENT:
            raise _TerminateError(TerminateStatus.INVALID_KEY_USAGE)
        return certificate

    # --- small help -------------------------------------------------------------------------------------

    def _own_part(self, suite: CbkeSuite) -> dict[str, int | bytes]:
        return {
            "suite": suite.value,
            "ephemeral_data_generate_time": self._times.ephemeral_data_s,
            "confirm_key_generate_time": self._times.confirm_key_s,
            "identity": self._identities[suite].certificate.encode(),
        }

    def _ephemeral(self, session: _Session) -> bytes:
        if session.ephemeral is None:
            session.ephemeral = EphemeralKey.generate(session.suite, self._rng)
        return session.ephemeral.octets

    def _default_suite(self) -> int:
        return min((suite.value for suite in self._identities), default=0)

    def _wait(self, session: _Session, state: _State, peer_needs_s: int, now_us: int) -> None:
        session.state = state
        session.until_us = now_us + (peer_needs_s + self._times.margin_s) * _US

    def _send(self, session: _Session, command: str, values: Mapping[str, int | bytes]) -> None:
        sender = Side.CLIENT if session.is_initiator else Side.SERVER
        self._messages.append(KeyMessage(peer=session.peer, sender=sender, command=command, values=values))

    def _terminate(self, peer: int, sender: Side, status: TerminateStatus, suite: int) -> None:
        values: dict[str, int | bytes] = {"status": status, "wait_time": self._times.wait_s, "suite": suite}
        self._messages.append(
            KeyMessage(peer=peer, sender=sender, command="terminate_key_establishment", values=values)
        )

    def _abandon(self, session: _Session, status: TerminateStatus) -> None:
        sender = Side.CLIENT if session.is_initiator else Side.SERVER
        self._terminate(session.peer, sender, status, session.suite.value)
        self._fail(session, status, by_peer=False, wait_s=0)

    def _drop(self, session: _Session) -> None:
        self._sessions.pop((session.peer, session.is_initiator), None)

    def _fail(self, session: _Session, status: int | None, *, by_peer: bool, wait_s: int) -> None:
        self._drop(session)
        self._events.append(
            KeyEstablishmentFailed(
                peer=session.peer,
                peer_eui64=session.peer_eui64,
                status=status,
                by_peer=by_peer,
                wait_s=wait_s,
                is_initiator=session.is_initiator,
            )
        )
