"""One side's half of a session, served over a real link; the test is its peer, frame by frame."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from typing import Any

from held import Held, pair
from links import BOUND, Pairs, Threads
from plains import DATA, OPEN, OPENED
from roles import Roles
from talk import Talk

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.seal import Opener, Sealer
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.facts.wire import Frame, Kind
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.handshake import Keys
from nitrosocks_lib.session.dialling import Reached
from nitrosocks_lib.session.state import Attached, Outcome
from nitrosocks_lib.session.streams import Request, Stream
from nitrosocks_lib.session.tunnel import Tunnel


class Half(Talk):
    """`tunnel` is what is tested, a server's or a client's."""

    def __init__(self, serving: bool, held: bool = False, buffer: int = 0, **roles: Any) -> None:
        """With `held` a server's dials are `self.dials`, decided by the test; `buffer` is the kernel's of the link."""
        super().__init__()
        self.roles = Roles(**roles)
        self.tunnel: Tunnel = self.roles.server if serving else self.roles.client
        other = self.roles.client if serving else self.roles.server
        kept = other.state.keys, other.state.ephemeral
        other.dispose("not needed")
        other.state.keys, other.state.ephemeral = kept  # it makes refreshes
        self.dials = Held(self.tunnel.state.inbox.waiter)
        if held:
            self.tunnel.inbound.dialling = self.dials
        self._poured: dict[int, int] = {}
        self._gone: queue.SimpleQueue[Stream] = queue.SimpleQueue()
        over = self.tunnel.stream_over

        def stream_over(stream: Stream) -> None:
            over(stream)
            self._gone.put(stream)

        self.tunnel.stream_over = stream_over  # type: ignore[method-assign]
        self.threads = Threads()
        self.outcomes: list[Outcome] = []
        self.pairs = self.enter_context(Pairs(buffer=buffer))
        self._disposed = False
        self.callback(self._end)
        self._attach(self.tunnel.state.keys)
        self._serve()

    def _end(self) -> None:
        self.leave()
        self.dispose("the test is over")
        for thread in threading.enumerate():
            if thread.name == "delivery":  # the other ends of all local sockets are closed by now
                thread.join(BOUND)
                assert not thread.is_alive(), "what is left to be delivered is not given up"
        assert self.backlog == self.tunnel.load == 0

    def dispose(self, reason: str) -> None:
        """The session is over."""
        if not self._disposed:
            self._disposed = True
            self.tunnel.dispose(reason)

    # -- connections ---------------------------------------------------------------------------------------------------

    def _attach(self, keys: Keys) -> None:
        """New keys for the peer, and a new link."""
        encrypt_type, tunnel = self.tunnel.state.terms.encrypt_type, self.tunnel
        self.sealer = Sealer(schedule.frame_keys(keys.root, tunnel.receives, encrypt_type))
        self.opener = Opener(schedule.frame_keys(keys.root, tunnel.sends, encrypt_type))
        self.link, self._far = self.pairs.make()

    def _serve(self, first: bytes = b"", opener: Opener | None = None) -> None:
        def serve() -> None:
            self.outcomes.append(self.tunnel.run(self._far, first, opener))

        self.thread = self.threads.start(serve)

    def leave(self) -> None:
        """Ends the connection, if there is one, and waits until the tunnel has seen it."""
        self.link.abort()
        self.thread.join(BOUND)
        assert not self.thread.is_alive(), "the pair did not end"

    def over(self) -> Outcome:
        """Reads until the tunnel has left the connection of its own accord; why it did."""
        with contextlib.suppress(NetworkError):
            while True:
                self.read()
        self.link.abort()
        self.thread.join(BOUND)
        assert not self.thread.is_alive(), "the pair did not end"
        return self.outcomes[-1]

    def again(self, received: int | None = None, first: bytes = b"") -> None:
        """The session goes on, on a new connection: both sides have new keys, and know what the other has received.

        The peer's first frame is an ACK, unless the test says otherwise.
        """
        self.leave()
        keys = Keys(os.urandom(32), os.urandom(32), 0)
        self.got = self.got[:received]
        self.tunnel.attach(Attached(keys, self.tunnel.state.ephemeral), len(self.got))
        self._attach(keys)
        first = first or frames.ack(len(self.got))
        if not self.tunnel.serving:
            self._serve()
            self.send(first)
            return
        opener, sealed = self.tunnel.opener(keys), self.seal(first)  # a server's connection reads it, and then moves
        plain = bytearray(len(sealed))
        size = opener.open(memoryview(sealed), memoryview(plain))
        self._serve(bytes(plain[:size]), opener)

    def rekey(self, keys: Keys, opener: bool = False, sealer: bool = False) -> None:
        """A refresh: from here on the peer opens, or seals, with these."""
        encrypt_type, tunnel = self.tunnel.state.terms.encrypt_type, self.tunnel
        if sealer:
            self.sealer.rekey(schedule.frame_keys(keys.root, tunnel.receives, encrypt_type))
        if opener:
            self.opener.rekey(schedule.frame_keys(keys.root, tunnel.sends, encrypt_type))

    # -- frames --------------------------------------------------------------------------------------------------------

    def resend(self) -> None:
        """On a new connection: what the tunnel has not received."""
        self.link.write_all(self.seal(*self.said[self.tunnel.inbound.received :]), now() + BOUND)

    def pour(self, number: int, payload: bytes) -> None:
        """Sends DATA, waiting for the limit where it must: somebody has to read it at the other end."""
        at, view = self._poured.get(number, 0), memoryview(payload)
        while view:
            limit = self.limits.get(number, self.tunnel.state.receive_window)
            if limit == at:
                self.read()
                continue
            part = view[: min(limit - at, limits.DATA_SIZE)]
            self.send(DATA(number, bytes(part)))
            at, view = at + len(part), view[len(part) :]
        self._poured[number] = at

    def aborted(self) -> int:
        """Reads to ABORT, which is the last frame; its reason."""
        reason = frames.parse_reason(self.pass_to(Frame.ABORT)).code
        assert self.over() is Outcome.OVER
        return reason

    # -- streams -------------------------------------------------------------------------------------------------------

    def target(self, backlog: int = 128) -> socket.socket:
        """A listener on loopback that the server's half may dial."""
        listener = self.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
        listener.settimeout(BOUND)
        return listener

    def accept(self, listener: socket.socket) -> socket.socket:
        sock = self.enter_context(listener.accept()[0])
        sock.settimeout(BOUND)
        return sock

    def open(self, number: int, listener: socket.socket) -> socket.socket:
        """For a server's half: a stream to this listener; the target's end."""
        self.send(OPEN(number, listener.getsockname()[1], "127.0.0.1"))
        assert wire.STREAM.unpack_from(self.until(Frame.OPENED)) == (number,)
        return self.accept(listener)

    @property
    def backlog(self) -> int:
        """Bytes that local sockets have not taken."""
        return self.tunnel.inbound.delivery.held

    def gone(self) -> Stream:
        """Waits until the next stream is over and its local socket closed."""
        return self._gone.get(timeout=BOUND)

    def reach(self, number: int, tcp: bool = True, buffer: int = 0) -> socket.socket:
        """For a server's half with held dials: this one has reached its target, whose end is returned.

        `buffer` bytes are asked for as the kernel's, on both ends.
        """
        far, near = self.pair(tcp, buffer)
        near.setblocking(False)
        self.dials.decide(number, Reached(near, frames.Address("10.0.0.1", 7)))
        return far

    def reached(self, number: int, tcp: bool = True, buffer: int = 0) -> socket.socket:
        """OPEN, and the dial has reached its target: the target's end."""
        self.send(OPEN(number))
        far = self.reach(number, tcp, buffer)
        assert wire.STREAM.unpack_from(self.until(Frame.OPENED)) == (number,)
        return far

    def stream(self, local: socket.socket, port: int = 7, request: Request | None = None) -> Stream:
        """For a client's half: a new stream for this local socket."""
        local.setblocking(False)
        stream = Stream(Target(Kind.TCP, "host", port), local, request=request)
        self.tunnel.outbox.open(stream)
        return stream

    def opened(self, tcp: bool = True, buffer: int = 0) -> tuple[socket.socket, Stream]:
        """For a client's half: a stream that is open, and the near end of its local socket."""
        near, far = self.pair(tcp, buffer)
        stream = self.stream(far)
        number = wire.STREAM.unpack_from(self.until(Frame.OPEN))[0]
        self.send(OPENED(number))
        return near, stream

    def pair(self, tcp: bool = True, buffer: int = 0) -> tuple[socket.socket, socket.socket]:
        """The application's end, and the one that a stream will own."""
        near, far = pair(tcp, buffer)
        near.settimeout(BOUND)
        return self.enter_context(near), far
