"""What the halves of a session, its timers and its owner share; each field has one writer at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from ..crypto.identity import KemPrivate, KemPublic
from ..crypto.secret import Secret
from ..facts import limits
from ..facts.errors import Violation
from ..net.timers import now
from ..protocol.credit import Credit, Promises
from ..protocol.doubt import Doubt, Unfinished
from ..protocol.handshake import Keys, Terms
from ..protocol.refresh import Started
from .mailbox import Inbox, Outbox
from .rate import FREE
from .streams import Stream, Table


class Outcome(Enum):
    """Why a pair returned."""

    LOST = auto()  # the connection ended, or was ended; the session goes on
    OVER = auto()  # the session is over: released, aborted or violated
    LEFT = auto()  # the owner asked for it, to move the session


@dataclass(slots=True, repr=False)
class Attached:
    """What a connection brings to a session: its keys, and E' (the private half at the client)."""

    keys: Keys
    ephemeral: KemPrivate | KemPublic | None


class Role(Protocol):
    """What the halves ask of the side that they work for, `client.tunnel` or `server.tunnel`."""

    def refresh_due(self) -> bool:
        """outbound: whether the keys have carried enough."""

    def start_refresh(self) -> bytes | None:
        """outbound: REFRESH."""

    def refreshed(self) -> None:
        """outbound: SWITCH is sealed."""

    def stream_over(self, stream: Stream) -> None:
        """inbound, or the owner: a stream is over and its socket closed; must not block."""

    def wrote(self, count: int) -> None:
        """outbound: numbered frames are about to be written on this connection, `count` in all; must not block."""


class State:
    """One session, over all of its connections."""

    def __init__(self, attached: Attached, terms: Terms, serving: bool, windows: tuple[int, int]) -> None:
        """`windows`: the limits that streams begin with, of what is received and of what is sent."""
        self.terms, self.serving = terms, serving
        self.receive_window, self.send_window = windows
        self.keys, self.ephemeral = attached.keys, attached.ephemeral  # the owner between connections, then inbound
        self.keyed_at = now()
        self.refreshing: Started | bytes | None = None  # server: what REFRESH carried; client: the SWITCH expected
        self.refresh_since = 0.0
        self.streams = Table(serving)
        self._promises = Promises()
        self.up = self.down = FREE  # server, before a pair runs: rates of what it receives and sends on streams
        self.doubt = Doubt()
        self.unfinished = Unfinished()
        self.waits: Callable[[], None] = lambda: None  # called when something begins to be unanswered, or unfinished
        self.hurry: Callable[[], None] | None = None  # called when numbered frames are written, while that matters
        self.ended: Callable[[], None] = lambda: None  # the owner: called once for each connection; must not block
        self.round_trip = limits.ROUND_TRIP  # the owner between connections: seconds, as the handshake took
        self.last_heard = now()  # inbound: when bytes last came, or a write made progress
        self.partial_since = 0.0  # inbound: since when the first bytes of a frame are here that is not whole; or 0
        self.partial_size = 0  # inbound: how many
        self.stuck_since = 0.0  # outbound: when a write first made no progress; 0 while none is under way
        self.releasing = 0.0  # when DISCONNECT went out or came
        self.fault: Violation | None = None  # outbound: what the peer did that ends the session; inbound raises it
        self.outcome: Outcome | None = Outcome.LOST  # `end`; None while a pair runs
        self.reason = ""  # for people: why the connection or the session ended
        self._ending = threading.Lock()
        self.outbox = Outbox()
        try:
            self.inbox = Inbox()
        except OSError:  # no descriptor is left
            self.outbox.waiter.close()
            raise

    def begin(self) -> None:
        """The owner: a pair is about to run."""
        with self._ending:
            self.outcome, self.reason = None, ""
        self.last_heard = now()

    def forget_keys(self) -> None:
        """The owner: the connection is over, and with it its keys, E', and a refresh that was cut short.

        RS is all that is left of the session's secrets: whoever resumes brings new keys.
        """
        self.keys, self.ephemeral, self.refreshing = Keys(b"", Secret()), None, None
        self.outbox.forget_refresh()

    def credit(self, datagrams: bool) -> Credit:
        """The receiving side of a new stream."""
        return Credit(self.receive_window, self._promises, now(), each=datagrams)

    def partial(self, size: int, at: float) -> None:
        """inbound: so many bytes are here of a frame that is not whole yet."""
        self.partial_size = size
        if not self.partial_since:
            self.partial_since = at
            self.waits()

    def frame_due(self, silence: float, at: float) -> float:
        """When a frame that is not whole is to be given up, after so many seconds of silence at the latest; else 0."""
        since = self.partial_since
        return self.unfinished.due(since, self.partial_size, self.last_heard, silence, at) if since else 0.0

    def end(self, outcome: Outcome, reason: str) -> None:
        """Ends this connection: both threads return. Any thread may call it; the first call decides."""
        with self._ending:  # a check followed by a set could be overtaken
            if first := self.outcome is None:
                if self.releasing and outcome is Outcome.LOST:
                    outcome = Outcome.OVER  # after DISCONNECT nothing is resumed
                self.reason = self.reason or reason
                self.outcome = outcome
        self.outbox.waiter.set()
        self.inbox.waiter.set()
        if first:
            self.ended()

    def close(self) -> None:
        """The owner's last call."""
        self.outbox.waiter.close()
        self.inbox.waiter.close()
