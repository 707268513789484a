"""One connection from accept until its first message was read whole, and what its thread is given then."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..crypto.identity import ServerKey
from ..crypto.seal import overwrite_used
from ..facts import limits, wire
from ..facts.address import join_host_port
from ..facts.errors import NotOurs
from ..net.incoming import Incoming
from ..net.link import Link
from ..net.overlong import Overlong
from ..net.timers import now
from ..net.tls import TlsLink
from ..protocol import welcome
from ..protocol.handshake import Dialogue
from ..protocol.nonces import Carried, Nonces
from ..protocol.welcome import Hello
from ..session.conversation import Conversation
from .admission import Place, Rank, network
from .certificates import Presented


@dataclass(slots=True)
class Arrival:
    """A connection whose first message was read, on its way to a session, in a thread of its own."""

    talk: Conversation
    hello: Hello
    peer: tuple[str, int]
    came: Callable[[Rank, bytes], None]  # it has come as far as this rank, and is of this client
    leave: Callable[[], None]  # it is authenticated, or over: it gives its place back; before its link is closed
    client_id: bytes = b""  # what it says of itself, once that was read; of a RESUME, whose session it is
    name: str = ""  # of this client, where it is known
    denied: str = ""  # why this client is told that it is unknown, though it is not


def _nothing() -> None:
    pass


class Stranger(Place):
    """The accept thread's, until it is handed over."""

    __slots__ = (
        "_admitted", "_dialogue", "_got", "_patient", "_verdict", "_wanted", "carried", "carrier", "handed", "hello",
        "incoming", "link", "peer", "plain", "read_before", "refused",
    )  # fmt: skip

    def __init__(self, way: socket.socket | Link, peer: tuple[str, int], accepted: float | None = None) -> None:
        """A connection that was accepted just now, or one that comes from a carrier, whose time began at `accepted`."""
        super().__init__(network(peer[0]), now() if accepted is None else accepted)
        host, port = peer[:2]
        self.peer = (host.removeprefix("::ffff:") if "." in host else host, port)  # as tools that read logs know it
        self.incoming = Incoming(way) if isinstance(way, socket.socket) else None  # before TLS is done
        self.link = None if isinstance(way, socket.socket) else way
        self.hello: Hello | None = None  # once the first Enc opened
        self.handed = False  # to a thread of its own
        self.carrier = ""  # other than raw
        self.carried: Carried | None = None  # by a carrier with this id
        self.read_before = b""  # all that was read, until the first Enc opened
        self.refused = False  # whatever it says
        self.plain = False  # it began something else than TLS
        self._dialogue: Dialogue[Hello] | None = None
        self._got, self._wanted = b"", wire.KNOCK
        self._patient = False
        self._verdict: Callable[[bool], None] | None = None
        self._admitted: Callable[[], None] = _nothing

    @classmethod
    def over(cls, link: Link, peer: tuple[str, int], source: bytes, accepted: float, got: bytes = b"") -> Stranger:
        """One whose TLS is done, from that network; `got` was read of it."""
        stranger = cls(link, peer, accepted)
        stranger._got = stranger.read_before = got
        return stranger

    def by(
        self,
        carrier: str,
        carried: Carried,
        verdict: Callable[[bool], None] | None = None,
        admitted: Callable[[], None] = _nothing,
    ) -> Stranger:
        """It comes by a carrier other than raw: the knock may come in pieces.

        Where there is a `verdict`, it is called once, by whatever thread, as soon as it is known whether the first Enc
        opens; and `admitted` when it is authenticated, or over.
        """
        self.carrier, self.carried, self._verdict, self._patient = carrier, carried, verdict, True
        self._admitted = admitted
        return self

    def __str__(self) -> str:
        return join_host_port(*self.peer) + (f" ({self.carrier})" if self.carrier else "")

    @property
    def fd(self) -> int:
        """What to watch."""
        if self.link is not None:
            return self.link.fd
        assert self.incoming is not None, "it is one of the two"
        return self.incoming.fd

    @property
    def silent(self) -> bool:
        """Whether TLS is done, and nothing came behind it: it is still this thread's."""
        unheard = self._dialogue is None and not self.read_before and self.hello is None
        return unheard and not self.handed and not self.carrier and self.rank is not None and self.link is not None

    @property
    def greets(self) -> bool:
        """Whether its first message, whose first Enc has opened, is a GREETING, and no RESUME."""
        return self.hello is not None and self.hello.kind == wire.KIND_GREETING

    def has_begun(self) -> bool:
        """As Incoming.has_hello; says whether it is `plain` then."""
        assert self.incoming is not None, "it has no TLS yet"
        begun = self.incoming.has_hello()
        self.plain = begun and self.incoming.is_plain()
        return begun

    @property
    def begun(self) -> bool:
        """Whether its TLS has."""
        return self.incoming is None or self.incoming.begun

    def go_on(self, presented: Presented) -> int:
        """Begins TLS and goes on with it, as Incoming.go_on; what is `presented` stays with the link, so that it states
        what it has shown."""
        assert self.incoming is not None, "it has no TLS yet"
        self.incoming.begin(presented.context, presented.hash)
        return self.incoming.go_on()

    def secured(self, anew: bool) -> TlsLink:
        """TLS is done; `anew`: the time of the handshake begins now."""
        if anew:
            self.began = now()
        assert self.incoming is not None, "it was accepted"
        self.link = link = self.incoming.link()
        self.incoming = None
        return link

    def close(self) -> None:
        """Ends it."""
        if self.link is not None:
            self.link.close()
        elif self.incoming is not None:
            self.incoming.close()

    def judged(self, ours: bool) -> None:
        """It is known by now, or at an end."""
        verdict, self._verdict = self._verdict, None
        if verdict is not None:
            verdict(ours)

    def read(self, link: Link, key: ServerKey, nonces: Nonces, reads: Overlong) -> bool:
        """Reads what is there, by way of `reads`; whether all of the first message is.

        Raises NotOurs, NetworkError or ProtocolError as read_hello does; the first read decides (protocol 3.6, D2).
        """
        buffer = memoryview(bytearray(limits.FIRST_READ))
        while not self._take(key, nonces):
            size = reads.read_some(link, buffer)
            if not size:
                return False
            self._got += buffer[:size]
            if self.hello is None:
                self.read_before += buffer[:size]
        return True

    def _take(self, key: ServerKey, nonces: Nonces) -> bool:
        """Goes as far as what was read goes; whether all of the first message is there."""
        if self._dialogue is None:
            if not self._got or (self._patient and len(self._got) < wire.KNOCK):
                return False
            if self.refused:
                raise NotOurs("raw is not served")
            self._dialogue = welcome.read_hello(key, self._got, int(time.time()) // 3600, nonces, self.carried)
            self._wanted = self._next(self._dialogue, wire.KNOCK)
        if self.hello is None and len(self._got) >= self._wanted:
            self._open(self._dialogue)
        return self.hello is not None and len(self._got) >= self._wanted

    def _next(self, dialogue: Dialogue[Hello], taken: int) -> int:
        wanted = next(dialogue)
        assert isinstance(wanted, int), "it asks before it answers"
        self._got = self._got[taken:]
        return wanted

    def _open(self, dialogue: Dialogue[Hello]) -> None:
        try:
            dialogue.send(self._got[: self._wanted])
        except StopIteration as done:
            self.hello = done.value
            self.read_before = b""
            overwrite_used()  # this thread goes on, and would keep what the seal left on its stack
            self._got, self._wanted = self._got[self._wanted :], done.value.rest

    def hand_over(self, came: Callable[[Rank, bytes], None], leave: Callable[[], None]) -> Arrival:
        """What its thread needs; nothing of it stays here."""
        assert self.link is not None and self.hello is not None, "its first message was read"
        talk = Conversation(self.link, self.began + limits.HANDSHAKE, self._got)
        admitted, self._admitted = self._admitted, _nothing

        def left() -> None:
            leave()
            admitted()

        arrival = Arrival(talk, self.hello, self.peer, came, left)
        self.handed, self.hello, self._dialogue, self._got = True, None, None, b""
        return arrival
