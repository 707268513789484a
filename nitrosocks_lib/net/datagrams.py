"""Sockets of datagrams to a target: connected, so that they send to one address, and take from that one alone.

A name may have an address at which nobody listens, as localhost has ::1 beside 127.0.0.1. Only a datagram tells: the
kernel says so of it. Then it goes to the next address, and so on until one has answered.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Final

from .race import Connected, Place

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MOST: Final = 65_507  # bytes of the largest datagram over IPv4
ROOM: Final = 1 << 16  # bytes of a buffer: more than any datagram has
AT_ONCE: Final = 64  # datagrams that are read in one turn
_LIBC: Final = ctypes.CDLL(None)
_NOWHERE: Final = bytes(16)  # a sockaddr of AF_UNSPEC, which Python's connect cannot say
_BUFFER: Final = 1 << 20  # bytes that are asked of the kernel for those that come in bursts


class Searching(socket.socket):
    """Connected to one of these places; to the next one, when nobody listens there, until one has answered.

    One thread sends, and one receives; either may be told of it.
    """

    def __init__(self, place: Place, others: Sequence[Place]) -> None:
        """Raises OSError; so does `go_to`, which connects it first."""
        both = {socket.AF_INET, socket.AF_INET6} <= {each[0] for each in (place, *others)}
        super().__init__(socket.AF_INET6 if both else place[0], socket.SOCK_DGRAM)
        if both:
            self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self._places = [place, *others]  # the first one is where it is connected to
        self._lock = Lock()
        self._sent = b""  # the last one, while nobody has answered,
        self._left = 0  # and how many places may still get it

    def go_to(self, place: Place) -> None:
        """Connects it."""
        if self.family == socket.AF_INET6 and place[0] == socket.AF_INET:
            host, port = place[1][:2]
            self.connect(("::ffff:" + str(host), port))
        else:
            self.connect(place[1])

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """As of any socket. What it is told of an earlier one sends this one to the next place."""
        if others := len(self._places) - 1:
            self._sent, self._left = bytes(data), others
        try:
            return super().send(data, flags)
        except ConnectionRefusedError:
            if not self._goes_on():
                raise
            return len(self._sent)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """As of any socket."""
        try:
            size = super().recv_into(buffer, nbytes, flags)
        except ConnectionRefusedError:
            if not self._goes_on():
                raise
            raise BlockingIOError from None
        del self._places[1:]
        return size

    def _goes_on(self) -> bool:
        """Whether the last one went to the next place."""
        with self._lock:
            while self._left > 0 and len(self._places) > 1:
                self._left -= 1
                self._places.append(self._places.pop(0))
                with suppress(OSError):
                    _LIBC.connect(self.fileno(), _NOWHERE, len(_NOWHERE))  # its own address was for the last one
                    self.go_to(self._places[0])
                    super().send(self._sent)
                    return True
        return False


def associate(places: Iterable[Place], descriptors: int) -> Connected | list[OSError]:
    """A non-blocking socket connected to the first place to which there is a way; else why there is none. Nothing is
    sent, and nothing waits. `descriptors` as in race.Race."""
    failed, left = list[OSError](), list(places)
    while left:
        place = left.pop(0)
        try:
            return Connected(_connected(place, left, descriptors), place)
        except OSError as error:
            failed.append(error)
    return failed


def _connected(place: Place, others: Sequence[Place], descriptors: int) -> Searching:
    sock = Searching(place, others)
    try:
        if sock.fileno() >= descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        sock.setblocking(False)
        roomy(sock)
        sock.go_to(place)
        if sock.getpeername() == sock.getsockname():  # the kernel picked that very port: it would talk to itself
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except OSError:
        sock.close()
        raise
    return sock


def give(sock: socket.socket, datagram: bytes | memoryview) -> None:
    """Sends one, or drops it where the socket does not take it. What it is told of first, "nobody listens there", is of
    an earlier one, and this one is tried again."""
    with suppress(OSError):
        try:
            sock.send(datagram)
        except ConnectionRefusedError:
            sock.send(datagram)


def roomy(sock: socket.socket) -> None:
    """Asks the kernel for more room than it gives; it may give less."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
