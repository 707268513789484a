"""What a kernel tells of a socket that is not TLS."""

from __future__ import annotations

import socket
import sys
from fcntl import ioctl

_SIOCOUTQ = 0x5411


def unread(sock: socket.socket) -> int:
    """Bytes that the other end's kernel has not taken; a reset would lose them. 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    try:
        return int.from_bytes(ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0
