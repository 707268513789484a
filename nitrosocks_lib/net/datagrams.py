"""Sockets of datagrams to a target: connected, so that they send to one address, and take from that one alone."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from .race import Connected, Place

MOST: Final = 65_507  # bytes of the largest datagram over IPv4
ROOM: Final = 1 << 16  # bytes of a buffer: more than any datagram has
AT_ONCE: Final = 64  # datagrams that are read in one turn
_BUFFER: Final = 1 << 20  # bytes that are asked of the kernel for those that come in bursts


def associate(places: Iterable[Place], descriptors: int) -> Connected | list[OSError]:
    """A non-blocking socket connected to the first place to which there is a way; else why there is none. Nothing is
    sent, and nothing waits. `descriptors` as in race.Race."""
    failed = list[OSError]()
    for place in places:
        sock: socket.socket | None = None
        try:
            sock = socket.socket(place[0], socket.SOCK_DGRAM)
            if sock.fileno() >= descriptors:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            sock.setblocking(False)
            roomy(sock)
            sock.connect(place[1])
            if sock.getpeername() == sock.getsockname():  # the kernel picked that very port: it would talk to itself
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        except OSError as error:
            failed.append(error)
            if sock is not None:
                sock.close()
        else:
            return Connected(sock, place)
    return failed


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
