"""One side of a session without a connection: frames come as if they had been opened, and what it sends is read."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from roles import Roles, receive

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import Frame, Kind, Reply
from nitrosocks_lib.net.buffers import SLOTS
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Address, Target
from nitrosocks_lib.session.dialling import NoDialling, Reached, Unreached
from nitrosocks_lib.session.streams import Stream

BOUND = 20.0  # seconds until a wait is given up
TARGET, AT = Target(Kind.TCP, "127.0.0.1", 7), Address("127.0.0.1", 7)
RST = struct.pack("ii", 1, 0)
PAYLOADS: dict[Frame, bytes] = {
    Frame.OPENED: frames.address(Frame.OPENED, 0, AT)[5:],
    Frame.REFUSED: bytes([Reply.CONNECTION_REFUSED]) + b"no",
    Frame.DATA: b"data",
    Frame.END: b"",
    Frame.RESET: b"\1gone",
}


class Asked(NoDialling):
    """Targets that the test answers for."""

    def begin(self, number: int, target: Target) -> None:
        assert target == TARGET


class Alone(contextlib.ExitStack):
    """The client's side, which opens, or the server's, at which the other side opens; `near` is its application."""

    def __init__(self, opens: bool) -> None:
        super().__init__()
        self.opens = opens
        roles = Roles()
        self.callback(self._close, roles)
        self.near, self.local = self._connection()
        self.tunnel = roles.client if opens else roles.server
        self.tunnel.inbound.dialling, self.tunnel.inbound._slot = Asked(), bytearray()
        self.ended: list[Stream] = []
        self.number = 1

    def _connection(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = self.enter_context(socket.create_connection(listener.getsockname(), BOUND))
            local = listener.accept()[0]
        local.setblocking(False)
        return near, local

    def _close(self, roles: Roles) -> None:
        """Both sides' last words; `near` is closed by then, so that nothing is delivered any more."""
        roles.close()
        for thread in threading.enumerate():
            if thread.name == "delivery":
                thread.join(BOUND)
        self.local.close()

    # -- the two threads, one after the other --------------------------------------------------------------------------

    def turn(self) -> None:
        """Lets both do all that they can do now."""
        outbound, inbound = self.tunnel.outbound, self.tunnel.inbound
        for _ in range(3):
            outbound._take_mail()
            outbound._reading.look(0)
            while outbound._reading.read_next(limits.DATA_SIZE):
                pass
            inbound._take_mail()
            inbound._waiter.clear()
            inbound._look(None, 0.0)  # type: ignore[arg-type]  # no link is watched

    def settle(self) -> None:
        """Waits until nothing is left of the stream: TCP may take a moment to say that its last byte arrived."""
        until = now() + BOUND
        while self.number in self.tunnel.state.streams.by_number and now() < until:
            self.tunnel.inbound.delivery.due(now())
            self.tunnel.inbound._waiter.select(0.005)
        assert self.number not in self.tunnel.state.streams.by_number, "something of the stream is left"

    @property
    def sent(self) -> list[Frame]:
        """What this side has sent of the stream."""
        plains = [bytes(plain) for plain, _ in self.tunnel.outbound.resend._kept]
        return [Frame(plain[0]) for plain in plains if wire.STREAM.unpack_from(plain, 1)[0] == self.number]

    # -- what the other side does --------------------------------------------------------------------------------------

    def come(self, frame: Frame, payload: bytes | None = None, number: int | None = None) -> None:
        """A frame of the stream, with what belongs into it; raises Violation."""
        rest = PAYLOADS[frame] if payload is None else payload
        self.come_plain(bytes([frame]) + wire.STREAM.pack(self.number if number is None else number) + rest)

    def come_plain(self, plain: bytes) -> None:
        inbound = self.tunnel.inbound
        if plain[0] != Frame.DATA:
            receive(self.tunnel, Frame(plain[0]), plain[1:])
            return
        inbound._slot = inbound._slot or SLOTS.take()
        inbound._slot[: len(plain)] = plain
        inbound._on_data(memoryview(inbound._slot), len(plain), now())

    # -- what this side does -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The stream is opened."""
        if self.opens:
            self.tunnel.outbox.open(Stream(TARGET, self.local, self.ended.append))
        else:
            self.come_plain(frames.open_(self.number, TARGET))
        self.turn()

    def do(self, frame: Frame) -> None:
        """Makes this side send that, by what its application or its target does."""
        acts: dict[Frame, Callable[[], object]] = {
            Frame.OPENED: lambda: self.tunnel.inbound.answers.answer(self.number, Reached(self.local, AT)),
            Frame.REFUSED: lambda: self.tunnel.inbound.answers.answer(
                self.number, Unreached(Reply.CONNECTION_REFUSED, "no")
            ),
            Frame.DATA: lambda: self.near.send(b"data"),
            Frame.END: lambda: self.near.shutdown(socket.SHUT_WR),
            Frame.RESET: self._break,
        }
        acts[frame]()
        self.turn()

    def _break(self) -> None:
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
        self.near.close()
        if Frame.END in self.sent:  # it is not read any more, so that only DATA for it tells
            self.come(Frame.DATA)

    def heard(self) -> bytes | type[Exception]:
        """What the application reads next, or how that fails."""
        try:
            return self.near.recv(100)
        except OSError as error:
            return type(error)
