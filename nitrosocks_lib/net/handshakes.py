"""TCP and TLS at whichever place of a target is first to have both; and one TLS handshake, step by step."""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
import ssl
from contextlib import suppress
from typing import Final

from ..facts import limits
from ..facts.errors import NetworkError, Unreachable
from ..facts.words import foreign
from .race import Connected, Place, Race, find
from .timers import now
from .wake import Waiter, wait

_POLLED: Final = {selectors.EVENT_READ: select.POLLIN, selectors.EVENT_WRITE: select.POLLOUT}


class Dial:
    """One dial: a race for TCP, and TLS on each socket that connects. One thread's, which waits here alone."""

    def __init__(self, places: list[Place], host: str, context: ssl.SSLContext | None, seconds: float) -> None:
        """TCP may take `seconds` at all places together, TLS as long at each; no TLS without a context."""
        self._waiter = Waiter()
        self._host, self._context, self._seconds = host, context, seconds
        self._race = Race(places, now() + seconds, self._watch, lambda sock: self._waiter.forget(sock.fileno()))
        self._handshakes: dict[ssl.SSLSocket, tuple[Place, float]] = {}  # each with its deadline
        self._failed: dict[Place, Exception] = {}  # those whose TCP did connect

    @property
    def failed(self) -> dict[Place, Exception]:
        """Why each place failed; of all of them once `run` returned None."""
        return {**self._race.failed, **self._failed}

    def run(self) -> tuple[Place, socket.socket] | None:
        """Blocks until one place has TCP, and TLS, and returns it, or None when none is left. The others go on: `fail`
        what was returned, and a further call may return another."""
        while True:
            at = now()
            while (connected := self._race.advance(at)) is not None:
                if self._context is None:
                    return connected.place, connected.sock
                self._begin_tls(connected, self._context, at)
            for sock, (place, _) in list(self._handshakes.items()):
                if self._is_done(sock, at):
                    return place, sock
            if self._race.over and not self._handshakes:
                return None
            until = [end for _, end in self._handshakes.values()]
            if not self._race.over:
                until.append(self._race.next_at)
            self._waiter.select(max(0.0, min(until) - now()))

    def _begin_tls(self, connected: Connected, context: ssl.SSLContext, at: float) -> None:
        self._race.hold(at + limits.STAGGER_TLS)
        try:
            sock = wrap(connected.sock, context, self._host)
        except OSError as error:
            self.fail(connected.place, error)
        else:
            self._handshakes[sock] = connected.place, at + self._seconds

    def _is_done(self, sock: ssl.SSLSocket, at: float) -> bool:
        """Goes on with one handshake; one that is done, or failed, is none any more."""
        place, deadline = self._handshakes[sock]
        try:
            if events := go_on(sock):
                self._waiter.watch(sock.fileno(), events, sock)
                if at < deadline:
                    return False
                raise NetworkError("the TLS handshake timed out")
        except (OSError, NetworkError) as error:
            self._drop(sock)
            self.fail(place, error)
            return False
        self._waiter.forget(sock.fileno())
        del self._handshakes[sock]
        return True

    def fail(self, place: Place, error: Exception) -> None:
        """This place is connected and does not do; whoever was given its socket has closed it."""
        self._failed[place] = error
        self._race.hurry()

    def _watch(self, sock: socket.socket) -> None:
        self._waiter.watch(sock.fileno(), selectors.EVENT_WRITE, sock)

    def _drop(self, sock: ssl.SSLSocket) -> None:
        self._waiter.forget(sock.fileno())
        del self._handshakes[sock]
        sock.close()

    def close(self) -> None:
        """Gives up what did not win."""
        self._race.close()
        for sock in list(self._handshakes):
            self._drop(sock)
        self._waiter.close()


class WrappedSocket(ssl.SSLSocket):
    """One that is closed where it cannot be made: ssl forgets it when the peer resets the connection meanwhile."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As of any socket."""
        try:
            return super().recv(buflen, flags)
        except OSError as error:
            # It is being made, and ssl looks for what came before TLS. It goes on where there is no connection at all.
            if not hasattr(self, "_connected") and error.errno not in (errno.ENOTCONN, errno.EINVAL):
                self.close()
            raise


def wrap(raw: socket.socket, context: ssl.SSLContext, host: str | None = None) -> ssl.SSLSocket:
    """TLS on a connection, to `host`, or accepted without one; nothing of it is done yet. Closes it when it raises, if
    the context makes WrappedSockets."""
    try:
        try:
            raw.getpeername()  # whoever is gone already fails here, and not half-way through wrap_socket
        except OSError:  # "not connected" any more, which it was
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from None
        # What ends without close_notify is told apart from what ends with it: a relay passes that on.
        return context.wrap_socket(raw, host is None, False, suppress_ragged_eofs=False, server_hostname=host)
    except BaseException:
        raw.close()
        raise


def go_on(sock: ssl.SSLSocket) -> int:
    """One step of a TLS handshake; returns the event that it waits for, as in `selectors`, or 0 when it is done."""
    try:
        sock.do_handshake()
    except ssl.SSLWantReadError:
        return selectors.EVENT_READ
    except ssl.SSLWantWriteError:
        return selectors.EVENT_WRITE
    return 0


def finish(sock: ssl.SSLSocket, deadline: float) -> None:
    """Blocks until a handshake is done; raises OSError of TLS, and NetworkError at the deadline. Closes it then."""
    try:
        while events := go_on(sock):
            left = deadline - now()
            if left <= 0 or not wait({sock.fileno(): _POLLED[events]}, left):
                raise NetworkError("the TLS handshake timed out")
    except BaseException:
        sock.close()
        raise


def find_places(host: str, port: int, family: int, hint: str) -> list[Place]:
    """The places of a name, as `race.find`; Unreachable with this hint if there are none."""
    try:
        return find(host, port, family)
    except (OSError, ValueError) as error:
        raise unfound(host, port, family, error, hint) from None


def unfound(host: str, port: int, family: int, error: Exception, hint: str) -> Unreachable:
    """Why a name has no place. It may have addresses, but none of the family that was asked for. Blocks."""
    reason = error.strerror if isinstance(error, OSError) else "not a host name"
    if family != socket.AF_UNSPEC and isinstance(error, OSError):
        wanted, other = ("IPv6", "-6") if family == socket.AF_INET6 else ("IPv4", "-4")
        with suppress(OSError, ValueError):
            find(host, port)
            return Unreachable(f"{foreign(host)} has no {wanted} address", f"leave {other} out")
    return Unreachable(f"cannot find {foreign(host)}: {reason}", hint)


def reasons(failed: dict[Place, Exception]) -> str:
    """Why no place could be reached, each with its address."""
    return "; ".join(f"{address[0]!s}: {reason(error)}" for (_, address), error in failed.items())


def reason(error: Exception) -> str:
    """Why TCP or TLS failed, in a few words for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {foreign(error.verify_message)}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {foreign(error.reason or error)}"
    return (error.strerror if isinstance(error, OSError) else None) or foreign(error)
