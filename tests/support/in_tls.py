"""A server of plain sockets, spoken to in TLS."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

from loopback import pem

BOUND = 30.0
CHUNK = 1 << 16


def in_tls(serve: Callable[[socket.socket], None], name: str = "localhost") -> Callable[[socket.socket], None]:
    """The same, in TLS. `serve` has a plain socket, so that its threads may read and write at once: two of them inside
    OpenSSL on one SSLSocket break it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pem(name))

    def secured(sock: socket.socket) -> None:
        near, far = socket.socketpair()
        with near, far, context.wrap_socket(sock, server_side=True) as tls:
            pump = threading.Thread(target=_pump, args=[tls, near], daemon=True)
            with far:
                far.settimeout(BOUND)
                pump.start()
                serve(far)
            pump.join(BOUND)

    return secured


class _Way:
    """One direction: what was read and is not written yet."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink, self.unsent, self.over = source, sink, b"", False

    def moves(self) -> bool:
        """Whether it got on. The end is passed on as a FIN."""
        try:
            if not self.unsent:
                self.unsent = self.source.recv(CHUNK)
                self.over = not self.unsent
            if self.over:
                socket.socket.shutdown(self.sink, socket.SHUT_WR)
            else:
                self.unsent = self.unsent[self.sink.send(self.unsent) :]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        return True


def _pump(tls: ssl.SSLSocket, near: socket.socket) -> None:
    """Alone in `tls`. Until both ways are over, or `serve` is done and all that it sent is out."""
    up, down = ways = _Way(tls, near), _Way(near, tls)
    for sock in (tls, near):
        sock.setblocking(False)
    with suppress(OSError):
        while not (up.over and down.over):
            if sum(way.moves() for way in ways if not way.over):  # each has its turn
                continue
            poll = select.poll()
            for sock, reads, writes in ((tls, up, down), (near, down, up)):
                taking = not (reads.over or reads.unsent)
                if taking or writes.unsent or reads.over:  # where it is over, for POLLHUP
                    poll.register(sock, select.POLLIN * taking | select.POLLOUT * bool(writes.unsent))
            ready = dict(poll.poll(BOUND * 1000))
            gone = [ready.get(way.source.fileno(), 0) & select.POLLHUP for way in ways if way.over]
            if not ready or any(gone):
                return
