"""The server's way to a target: resolve, judge the resolved address, connect to that very one (protocol 5, OPEN)."""

from __future__ import annotations

import errno
import logging
import socket
import struct

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.wire import Frame, Kind, Reply
from ..net.connect import connect
from ..net.timers import now
from ..net.wake import Wake
from ..protocol import frames
from ..protocol.frames import Address, Target
from ..protocol.permit import Rules

log = logging.getLogger(__name__)


class Unreached(Exception):
    """Why a target was not reached: a reply code of RFC 1928, and a text for the client's user."""

    def __init__(self, reply: Reply, text: str) -> None:
        super().__init__(text)
        self.reply = reply

    def answer(self) -> bytes:
        """REFUSED."""
        return frames.reason(Frame.REFUSED, self.reply, str(self))


def reach(target: Target, permit: Rules, given_up: Wake) -> tuple[socket.socket, bytes]:
    """Connects to a target within 10 s; returns the non-blocking socket and OPENED. Blocks; raises Unreached.

    Whoever does not want it any more sets `given_up`; that ends the wait for TCP, not the one for the name.

    A name that no rule could permit is not resolved: the answer does not tell whether it exists.
    """
    if target.kind == Kind.UNIX:
        return _reach_path(target.host, permit)
    if target.kind != Kind.TCP:
        raise Unreached(Reply.COMMAND, "this server does not carry that kind of stream")
    where = join_host_port(target.host, target.port)
    if not 0 < len(target.host) <= limits.NAME_MAX or not target.port:
        raise Unreached(Reply.GENERAL, "not a host and port")
    found = _resolve(target) if permit.may_permit(target.host, target.port, Kind.TCP) else []
    permitted = [a for a in found if permit.permits(target.host, str(a[1][0]), target.port, Kind.TCP)]
    if not permitted:
        raise Unreached(Reply.NOT_PERMITTED, f"{where} is not permitted for this client")
    deadline, failure = now() + limits.DIAL_TARGET, Unreached(Reply.GENERAL, "no address")
    for family, address in permitted:
        try:
            sock = connect(family, address, deadline, given_up)
        except OSError as error:
            failure = _unreached(where, error)
            if given_up.pending:
                break
            continue
        return sock, frames.address(Frame.OPENED, Address(str(address[0]), target.port))
    raise failure


def _resolve(target: Target) -> list[tuple[int, tuple[str | int, ...]]]:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise Unreached(Reply.HOST_UNREACHABLE, f"cannot find {target.host}: {reason}") from None
    return [(int(family), (str(address[0]), *address[1:])) for family, _, _, _, address in found]


def _unreached(where: str, error: OSError) -> Unreached:
    reply, text = _REPLIES.get(error.errno or 0, (Reply.GENERAL, "cannot be reached"))
    return Unreached(reply, f"{where}: {text}")


_REPLIES = {
    errno.ECONNREFUSED: (Reply.CONNECTION_REFUSED, "connection refused"),
    errno.ENETUNREACH: (Reply.NETWORK_UNREACHABLE, "network unreachable"),
    errno.EHOSTUNREACH: (Reply.HOST_UNREACHABLE, "host unreachable"),
    errno.ETIMEDOUT: (Reply.EXPIRED, "no answer in time"),
    errno.EAGAIN: (Reply.EXPIRED, "no answer in time"),
    errno.ENOENT: (Reply.HOST_UNREACHABLE, "no such socket"),
    errno.EACCES: (Reply.GENERAL, "the server may not open it"),
}


def _reach_path(path: str, permit: Rules) -> tuple[socket.socket, bytes]:
    if not permit.permits_path(path):
        raise Unreached(Reply.NOT_PERMITTED, f"{path} is not permitted for this client")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A full backlog is waited for; without blocking, connect would say EAGAIN at once.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(limits.DIAL_TARGET), 0))
        sock.connect(path)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise _unreached(path, error) from None
    return sock, frames.address(Frame.OPENED, Address(path, 0))
