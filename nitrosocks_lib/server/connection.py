"""What becomes of a connection whose first Enc opened: handshake, then its session (protocol 3). One thread each."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from ..crypto.identity import ServerKey
from ..crypto.seal import Opener
from ..crypto.secret import Secret
from ..facts import limits, wire
from ..facts.errors import NetworkError, NitroSocksError, NotAuthorised, ProtocolError, Refused
from ..facts.wire import Carrier, EncryptType, Refusal
from ..net.link import Link
from ..net.sockets import descriptors
from ..net.timers import now
from ..protocol import frames, welcome
from ..protocol.frames import Target
from ..protocol.handshake import Keys, Terms
from ..protocol.nonces import Carried, Nonces
from ..protocol.permit import Client
from ..protocol.welcome import Authorised, Challenge, Welcomed
from ..session.conversation import Conversation
from ..session.dialling import Ruling, Unreached
from ..session.dials import Dials, Reach
from ..session.liveness import Liveness
from ..session.shares import Shares
from ..session.state import Attached, Outcome
from .admission import Rank
from .authorised import Clients
from .certificates import Certificates
from .decoy import Site
from .entry import Entry
from .failures import Failures
from .listens import Listens
from .rates import Rates
from .registry import Registry
from .stranger import Arrival
from .targets import ruled
from .tarpit import Tarpit
from .tunnel import RefreshPolicy, ServerTunnel

log = logging.getLogger(__name__)
_EACH = 20  # descriptors for each session: it has five, and all together a quarter of what the process may have


@dataclass(slots=True)
class Settings:
    """What the operator may set: seconds and bytes."""

    certificates: Certificates
    encrypt_type: EncryptType = EncryptType.AES_256_GCM
    window: int = limits.WINDOW
    resume: int = limits.RESUME
    heartbeat: int | None = None  # None: what is best for the carrier
    refresh: RefreshPolicy = field(default_factory=RefreshPolicy)
    carriers: frozenset[Carrier] = frozenset(Carrier)  # that are served
    prefix: str = ""  # of the paths of requests: "" or "/some/path" (TK1)
    decoy: Site | None = None

    def heartbeat_over(self, carrier: Carrier) -> int:
        """Seconds of silence before a PING, of a session that begins on this carrier."""
        if self.heartbeat is not None:
            return self.heartbeat
        return limits.HEARTBEAT_HTTP if carrier is Carrier.HTTP else limits.HEARTBEAT


class SharedNonces(Nonces):
    """The set of nonces of all connections; each step under a lock."""

    def __init__(self) -> None:
        super().__init__(os.urandom(32))
        self._lock = threading.Lock()
        self._said_full = -limits.FULL_SAID

    def seen(self, hour: int, nonce: bytes) -> bool:
        """As in Nonces."""
        with self._lock:
            return super().seen(hour, nonce)

    def may_begin(self, carried: Carried) -> bool:
        """As in Nonces."""
        with self._lock:
            return super().may_begin(carried)

    def put(self, hour: int, nonce: bytes, now_hour: int, carried: Carried | None = None) -> bool:
        """As in Nonces."""
        with self._lock:
            return super().put(hour, nonce, now_hour, carried)

    def say_full(self) -> None:
        """One line a minute: a replay gains nothing, but it is answered, so the server may be found out (Q7)."""
        with self._lock:
            due = now() >= self._said_full + limits.FULL_SAID
            self._said_full = now() if due else self._said_full
        if due:
            log.warning("this hour's set of nonces is full; until it ends, a replayed greeting is answered")


class Reception:
    """Shared by all connections of a server."""

    def __init__(self, key: ServerKey, clients: Clients, settings: Settings, tarpit: Tarpit) -> None:
        self.registry = Registry(sessions=Shares(min(limits.SESSIONS_IN_ALL, descriptors() // _EACH)))
        self.draining = 0.0  # when a draining server ends what still runs
        self._key, self._clients, self._settings = key, clients, settings
        self._tarpit = tarpit
        self.nonces = SharedNonces()
        self.failures = Failures(clients.near)
        self._reach = Reach()
        self.listens = Listens()
        self.rates = Rates(clients)

    def receive(self, arrival: Arrival) -> None:
        """The body of a connection's thread, from its first Enc to the end of its session."""
        talk = arrival.talk
        try:
            if not arrival.hello.fresh:
                self.nonces.say_full()
            entry, first, opener = self._begin(arrival)
        except Refused as error:
            self.failures.refused(arrival, error)
            arrival.leave()
            self._refuse(talk, arrival.hello.refusal(error.reason))
        except (NitroSocksError, OSError) as error:
            self.failures.broken(arrival, error)
            arrival.leave()
            talk.link.close()
        except Exception:
            log.exception("internal error; the connection is over")
            arrival.leave()
            talk.link.close()
        else:
            arrival.leave()
            self._serve(talk.link, entry, first, opener)

    def _refuse(self, talk: Conversation, answer: bytes) -> None:
        """One who does not read it costs no thread."""
        with suppress(NetworkError):
            talk.link.write_all(answer, talk.deadline)
        self._tarpit.linger(talk.link)

    def _begin(self, arrival: Arrival) -> tuple[Entry, bytes, Opener | None]:
        if arrival.hello.kind == wire.KIND_GREETING:
            return self._welcome(arrival), b"", None
        return self._resume(arrival)

    def _serve(self, link: Link, entry: Entry, first: bytes, opener: Opener | None) -> None:
        if self.draining:  # looked at after the session is in the registry, so that none is left without
            entry.tunnel.outbox.post(goaway=frames.goaway(max(0, int(self.draining - now()))))
        outcome = Outcome.LOST
        try:
            outcome = entry.tunnel.run(link, first, opener)
        except BaseException:
            link.close()
            raise
        finally:
            self.registry.leave(entry, outcome)

    # -- GREETING ---------------------------------------------------------------------------------------------------

    def _welcome(self, arrival: Arrival) -> Entry:
        talk, settings, reserved = arrival.talk, self._settings, list[bytes]()
        session_id, times = os.urandom(wire.SESSION_ID), (settings.resume, settings.heartbeat_over(talk.link.carrier))
        terms = Terms(settings.encrypt_type, session_id, Secret(), settings.window, *times)

        def lookup(client_id: bytes) -> Authorised | None:
            client, arrival.client_id = self._clients.lookup(client_id), client_id
            if client is None:
                return None
            arrival.name = client.name
            if self._comes_from_elsewhere(arrival, client):
                return None
            arrival.came(Rank.NAMED, client_id)
            if self.draining:
                raise Refused(Refusal.DRAINING)
            self.registry.reserve(client_id)
            reserved.append(client_id)
            terms.window = min(terms.window, self.rates.of(client_id)[0].window)
            return client.authorised

        challenge = Challenge(talk.link.presented_hash(), lambda: time.time_ns() // 1_000_000)
        try:
            welcomed = talk.run(welcome.welcome(arrival.hello, lookup, challenge, terms, os.urandom))
            entry = self._host(welcomed)
            entry.tunnel.state.round_trip = max(talk.round_trip, limits.ROUND_TRIP)
            self.registry.add(entry, talk.link)  # before SESSION leaves: the client may resume as soon as it has it
        except BaseException as error:
            for client_id in reserved:
                self.registry.give_back(client_id)
                if isinstance(error, NetworkError | ProtocolError):
                    raise NotAuthorised(_blame(error, now() >= talk.deadline)) from None
            raise
        entry.started(arrival.peer, talk.link.carrier)
        try:
            talk.link.write_all(welcomed.session, talk.deadline)
        except NetworkError:
            self.registry.leave(entry, Outcome.LOST)
            raise
        return entry

    @staticmethod
    def _comes_from_elsewhere(arrival: Arrival, client: Client) -> bool:
        """The client is told that it is unknown: a refusal tells no more, and the log does."""
        arrival.denied = client.quota.foreign_source(arrival.peer[0])
        return bool(arrival.denied)

    def _host(self, welcomed: Welcomed) -> Entry:
        client_id, policy, reach = welcomed.client.public.client_id, self._settings.refresh, self._reach

        def rule(target: Target) -> Ruling | Unreached:
            return ruled(target, lambda: self._clients.lookup(client_id))

        tunnel = ServerTunnel(
            self._key,
            welcomed,
            lambda waiter: Dials(client_id, rule, reach, waiter),
            policy,
            reach.streams,
            (self.listens, lambda: self._clients.lookup(client_id)),
        )
        tunnel.state.up, tunnel.state.down = self.rates.of(client_id)
        try:
            return Entry(tunnel, Liveness(tunnel.state, policy.every))
        except BaseException:
            tunnel.dispose("it could not begin")
            raise

    # -- RESUME -----------------------------------------------------------------------------------------------------

    def _resume(self, arrival: Arrival) -> tuple[Entry, bytes, Opener]:
        talk, found = arrival.talk, list[Entry]()

        def lookup(session_id: bytes) -> tuple[Authorised | None, Secret, int] | None:
            entry = self.registry.find(session_id)
            if entry is None:
                return None
            arrival.client_id, arrival.name = entry.client_id, entry.name
            client = self._clients.standing(entry.client_id)
            if client is not None and self._comes_from_elsewhere(arrival, client):
                return None, entry.tunnel.state.terms.resume_secret, entry.attempt  # the session stays for its client
            arrival.came(Rank.RESUMING, entry.client_id)
            found.append(entry)
            return client.authorised if client else None, entry.tunnel.state.terms.resume_secret, entry.attempt

        try:
            _, attempt, request = talk.run(welcome.read_resume(arrival.hello, lookup))
        except Refused as error:
            if error.reason is Refusal.UNKNOWN_CLIENT and found:
                self.registry.forget(found[0], "the client was revoked")
            raise
        entry = found[0]
        self.registry.claim(entry, attempt, talk.link)
        try:
            keys, first, opener = self._recover(talk, entry.tunnel, request)
        except Refused:
            self.registry.leave(entry, Outcome.OVER)
            raise
        except BaseException:
            self.registry.leave(entry, Outcome.LOST)
            raise
        entry.tunnel.attach(Attached(keys, request.ephemeral), request.received)
        self.registry.moved(entry)
        entry.resumed(arrival.peer, talk.link.carrier)
        return entry, first, opener

    def _recover(self, talk: Conversation, tunnel: ServerTunnel, request: welcome.Resume) -> tuple[Keys, bytes, Opener]:
        """RECOVERED, and the first frame behind it, which moves the session (protocol 3.5)."""
        if not tunnel.may_have_received(request.received):
            raise Refused(Refusal.UNKNOWN_SESSION)
        received = tunnel.inbound.received
        link = talk.link
        dialogue = welcome.recover(request, tunnel.client, received, link.presented_hash(), os.urandom)
        keys, asked = talk.run(dialogue), now()
        opener, late = tunnel.opener(keys), asked + limits.FIRST_FRAME
        head = link.read_exactly(wire.LENGTH, late)
        tunnel.state.round_trip = max(now() - asked, limits.ROUND_TRIP)
        frame = head + link.read_exactly(opener.frame_size(head) - wire.LENGTH, late)
        plain = bytearray(len(frame))
        size = opener.open(memoryview(frame), memoryview(plain))
        return keys, bytes(plain[:size]), opener


def _blame(error: NitroSocksError, late: bool) -> str:
    """For the log: why a client that is known did not get its session. One with another Token hangs up at CHALLENGE."""
    if not isinstance(error, NetworkError):
        return str(error)
    if late:
        return "it did not answer CHALLENGE in time"
    return "its key is known, and it ended the handshake after CHALLENGE: its Token differs, or bytes were changed"
