"""What a kernel tells of a socket that is not TLS, and of how many there may be."""

from __future__ import annotations

import resource
import socket
import struct
import sys
from contextlib import suppress
from fcntl import ioctl
from typing import Final

MORE_DESCRIPTORS: Final = "raise the limit on open files"  # where there is no descriptor left
_SIOCOUTQ = 0x5411
_TCP_CLOSE = 7
_AT_ONCE, _IN_ORDER = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)  # struct linger
_GUARDS = sys.platform == "linux"  # macOS cannot take SO_LINGER back once both directions have ended
_PAIRED = 1.0  # seconds: on one machine it takes none, unless somebody floods the port
_MANY = 1 << 20  # what Linux allows at most, unless it is told otherwise


def unread(sock: socket.socket) -> int:
    """Bytes that the other end's kernel has not taken; a reset would lose them. 0 where the system does not tell.

    And 0 where the other end has reset the connection: what it did not take then is lost, though the kernel counts it.
    """
    if sys.platform != "linux" or closed(sock):
        return 0
    try:
        return int.from_bytes(ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def closed(sock: socket.socket) -> bool:
    """Whether TCP is over: the other end has reset the connection, or both ends are done. A read gives no more than an
    end then, if somebody else was told of the reset. False where the system does not tell."""
    if sys.platform != "linux" or sock.family == socket.AF_UNIX:
        return False
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
    except OSError:
        return False


def reset(sock: socket.socket) -> None:
    """Closes it so that the other end sees a reset, and loses what it has not read."""
    end_with_reset(sock, True)
    sock.close()


def end_with_reset(sock: socket.socket, resets: bool) -> None:
    """What closes it resets it, or does not."""
    with suppress(OSError, ValueError):  # it is over already
        socket.socket.setsockopt(sock, socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE if resets else _IN_ORDER)


def guarded(sock: socket.socket) -> socket.socket:
    """Whatever closes it, a killed process too, resets it, until `end_with_reset` says otherwise: what was cut must not
    look complete."""
    if _GUARDS:
        end_with_reset(sock, True)
    return sock


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection of this process with itself: a reset goes through it, as through no socket pair.

    Nobody else gets an end of it. Raises OSError.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        listener.settimeout(_PAIRED)
        near = socket.create_connection(listener.getsockname(), _PAIRED)
        try:
            while (accepted := listener.accept())[1] != near.getsockname():
                accepted[0].close()
        except BaseException:
            near.close()
            raise
    for end in (near, accepted[0]):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setblocking(False)
    return near, accepted[0]


def descriptors() -> int:
    """How many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MANY if soft == resource.RLIM_INFINITY else soft


def has_more(sock: socket.socket) -> bool:
    """Whether something can be read, be it an end; nothing is taken, and nothing of TLS looked at."""
    try:
        socket.socket.recv(sock, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
