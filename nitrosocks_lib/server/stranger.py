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
from ..net.incoming import Incoming
from ..net.link import Link
from ..net.overlong import Overlong
from ..net.timers import now
from ..protocol import welcome
from ..protocol.handshake import Dialogue
from ..protocol.nonces import Nonces
from ..protocol.welcome import Hello
from ..session.conversation import Conversation
from .admission import Place, Rank, network


@dataclass(slots=True)
class Arrival:
    """A connection whose first message was read, on its way to a session, in a thread of its own."""

    talk: Conversation
    hello: Hello
    peer: str
    came: Callable[[Rank, bytes], None]  # it has come as far as this rank, and is of this client
    leave: Callable[[], None]  # it is authenticated, or over: it gives its place back; before its link is closed


class Stranger(Place):
    """The accept thread's, until it is handed over."""

    __slots__ = ("_dialogue", "_got", "_peer", "_wanted", "handed", "hello", "incoming", "link")

    def __init__(self, raw: socket.socket, peer: tuple[str, int]) -> None:
        super().__init__(network(peer[0]), now())
        host, port = peer[:2]
        self._peer = (host.removeprefix("::ffff:") if "." in host else host, port)  # as tools that read logs know it
        self.incoming = Incoming(raw)
        self.link: Link | None = None  # once TLS is done
        self.hello: Hello | None = None  # once the first Enc opened
        self.handed = False  # to a thread of its own
        self._dialogue: Dialogue[Hello] | None = None
        self._got, self._wanted = b"", wire.KNOCK

    def __str__(self) -> str:
        return join_host_port(self._peer[0], self._peer[1])

    def read(self, link: Link, key: ServerKey, nonces: Nonces, reads: Overlong) -> bool:
        """Reads what is there, by way of `reads`; whether all of the first message is.

        Raises NotOurs, NetworkError or ProtocolError as read_hello does; the first read decides (protocol 3.6, D2).
        """
        buffer = memoryview(bytearray(limits.FIRST_READ))
        while (whole := self.hello is not None and len(self._got) >= self._wanted) is False:
            size = reads.read_some(link, buffer)
            if not size:
                break
            self._got += buffer[:size]
            if self._dialogue is None:
                self._dialogue = welcome.read_hello(key, self._got, int(time.time()) // 3600, nonces)
                self._wanted = self._next(self._dialogue, wire.KNOCK)
            if self.hello is None and len(self._got) >= self._wanted:
                self._open(self._dialogue)
        return whole

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
            overwrite_used()  # this thread goes on, and would keep what the seal left on its stack
            self._got, self._wanted = self._got[self._wanted :], done.value.rest

    def hand_over(self, came: Callable[[Rank, bytes], None], leave: Callable[[], None]) -> Arrival:
        """What its thread needs; nothing of it stays here."""
        assert self.link is not None and self.hello is not None, "its first message was read"
        talk = Conversation(self.link, self.accepted + limits.HANDSHAKE, self._got)
        arrival = Arrival(talk, self.hello, str(self), came, leave)
        self.handed, self.hello, self._dialogue, self._got = True, None, None, b""
        return arrival
