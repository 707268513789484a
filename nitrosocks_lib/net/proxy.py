"""The way to a server through a proxy: TCP or TLS to the proxy, what is said to it, and TLS to the server behind it.

What is said is made elsewhere, as a generator without sockets: each `yield` of bytes sends them and is given what came,
nothing at the end of the connection; `yield None` asks for a new connection to the proxy.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import NetworkError, ProxyRefused, Unreachable
from .handshakes import Dial, find_places, finish, reason, reasons, wrap
from .link import Link
from .nested import NestedLink
from .race import Place, Remembered, interleaved
from .timers import now
from .tls import TlsLink

Talk = Generator[bytes | None, bytes, None]

UNVERIFIED: Final = "leave --tls-verify out, as the tunnel does not need it, or set SSL_CERT_FILE to its authority"
_SHARES: Final = 3  # with several addresses of a proxy, each has its share of the time to answer, but not less
_SERVING: Final = "is 'nitrosocks serve' running there?"
_DIRECTLY: Final = "'--proxy none' goes without it"


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """One proxy, and how it is spoken to."""

    address: tuple[str, int]
    talk: Callable[[str, int], Talk]  # what is said to get to a server; begun for each dial
    context: ssl.SSLContext | None = None  # where it is spoken to in TLS
    finds_here: bool = False  # names of servers are looked up here: it is told addresses
    origin: str = "--proxy"  # where it was named

    @property
    def where(self) -> str:
        """For people."""
        return join_host_port(*self.address)


def through(
    proxy: Proxy, server: tuple[str, int], context: ssl.SSLContext, family: int, seconds: float, remembered: Remembered
) -> Link:
    """TLS to a server behind a proxy. Blocks: `seconds` each for TCP to the proxy, TLS to it, the talk, and TLS.

    Of several addresses of the proxy the next one is tried where one fails, or answers nothing for its share of that
    time; of several of the server, where it is told addresses, the next one where it does not reach one, for twice as
    long. Raises Unreachable, ProxyRefused among them, before the way is open, and NetworkError behind it.
    """
    return _secured(proxy, lead(proxy, server, family, seconds, remembered), server, context, seconds)


def lead(
    proxy: Proxy, server: tuple[str, int], family: int, seconds: float, remembered: Remembered
) -> socket.socket | Link:
    """A connection through the proxy that leads to a server, without TLS to it; otherwise as `through`."""
    failure: Unreachable | None = None
    end = now() + 2 * seconds
    for target in _targets(proxy, server, family):
        if failure is not None and now() > end:
            break
        try:
            return _open(proxy, target, family, seconds, remembered)
        except ProxyRefused as error:
            failure = _told(proxy, server, error)
            if error.final:
                raise failure from None
        except NetworkError as error:
            raise _told(proxy, server, error) from None
        except OSError as error:  # not even a descriptor to wait with
            raise _told(proxy, server, NetworkError(reason(error))) from None
    assert failure is not None, "there is one target at least"
    raise failure from None


def _targets(proxy: Proxy, server: tuple[str, int], family: int) -> list[tuple[str, int]]:
    if not proxy.finds_here:
        return [server]
    hint = "check the name of the server in the profile, or let the proxy look it up: socks5h://"
    places = interleaved(find_places(*server, family, hint))
    return [(str(address[0]), server[1]) for _, address in places][: limits.RACING]


def _told(proxy: Proxy, server: tuple[str, int], error: NetworkError) -> Unreachable:
    """For people; all carriers would meet the same."""
    text = f"cannot reach {join_host_port(*server)} through the proxy {proxy.where} ({proxy.origin}): {error}"
    hint = error.hint or f"check the proxy; {_DIRECTLY}"
    return ProxyRefused(text, hint, error.final) if isinstance(error, ProxyRefused) else Unreachable(text, hint)


def _open(
    proxy: Proxy, target: tuple[str, int], family: int, seconds: float, remembered: Remembered
) -> socket.socket | Link:
    """A connection to the proxy that leads to `target` from here on."""
    host, port = proxy.address
    places = remembered.order(host, port, find_places(host, port, family, f"check {proxy.origin}"), now())
    with closing(Dial(places, host, proxy.context, seconds)) as dialling:
        while (won := dialling.run()) is not None:
            place, sock = won
            try:
                way = _talked(proxy, proxy.talk(*target), place, _Way(sock), seconds / min(len({*places}), _SHARES))
            except ProxyRefused:
                raise
            except NetworkError as error:
                dialling.fail(place, error)
            else:
                remembered.worked(host, port, places, place, now())
                return way
        failed = dialling.failed
    raise _unreached({place: failed[place] for place in places})


def _unreached(failed: dict[Place, Exception]) -> NetworkError:
    hints = [error.hint for error in failed.values() if isinstance(error, NetworkError) and error.hint]
    if any(isinstance(error, ssl.SSLCertVerificationError) for error in failed.values()):
        hints.append("set SSL_CERT_FILE to a file with the authority of the proxy's certificate")
    elif any(isinstance(error, ssl.SSLError) for error in failed.values()):
        hints.append("does the proxy itself use TLS? Most do not: write http://")
    return NetworkError(reasons(failed), hints[0] if hints else f"is the proxy running? {_DIRECTLY}")


def _talked(proxy: Proxy, talk: Talk, place: Place, way: _Way, seconds: float) -> socket.socket | Link:
    """Carries the talk to its end, over as many connections to this place as it asks for."""
    deadline, came = now() + seconds, b""
    try:
        said = next(talk)
        while True:
            if said is None:
                way.close()
                way, came = _Way(_again(proxy, place, deadline)), b""
            else:
                try:
                    came = way.exchange(said, deadline)
                except _Late:
                    said = talk.throw(NetworkError("no answer in time"))  # it may have enough by now
                    continue
            said = talk.send(came)
    except StopIteration:
        return way.end
    except BaseException:
        way.close()
        raise


def _again(proxy: Proxy, place: Place, deadline: float) -> socket.socket:
    with closing(Dial([place], proxy.address[0], proxy.context, max(0.0, deadline - now()))) as dialling:
        won = dialling.run()
        failed = dialling.failed
    if won is None:
        raise NetworkError(f"it closed the connection, and a new one failed ({reasons(failed)})")
    return won[1]


class _Late(Exception):
    """The deadline came first."""


class _Way:
    """A connection to a proxy, in TLS or not, while it is talked to."""

    def __init__(self, sock: socket.socket) -> None:
        self.end: socket.socket | Link = TlsLink(sock) if isinstance(sock, ssl.SSLSocket) else sock

    def close(self) -> None:
        self.end.close()

    def exchange(self, said: bytes, deadline: float) -> bytes:
        """Sends this, if it is anything, and waits for what comes; nothing at the end of the connection."""
        if isinstance(self.end, socket.socket):
            return _exchange(self.end, said, deadline)
        try:
            self.end.write_all(said, deadline)
            return self.end.read_first(deadline)
        except NetworkError:
            if now() >= deadline:
                raise _Late from None
            return b""


def _exchange(sock: socket.socket, said: bytes, deadline: float) -> bytes:
    try:
        sock.settimeout(max(0.001, deadline - now()))
        sock.sendall(said)
        sock.settimeout(max(0.001, deadline - now()))
        return sock.recv(limits.FIRST_READ)
    except TimeoutError:
        raise _Late from None
    except OSError:  # reset, which a close with unread bytes is, too
        return b""


def _secured(
    proxy: Proxy, way: socket.socket | Link, server: tuple[str, int], context: ssl.SSLContext, seconds: float
) -> Link:
    """TLS to the server."""
    where = f"cannot reach {join_host_port(*server)} through the proxy {proxy.where} ({proxy.origin})"
    try:
        if isinstance(way, socket.socket):
            way.setblocking(False)
            sock = wrap(way, context, server[0])
            finish(sock, now() + seconds)
            return TlsLink(sock)
        nested = NestedLink(way, context, server[0])
        nested.handshake(now() + seconds)
        return nested
    except ssl.SSLCertVerificationError as error:
        told = NetworkError(f"{where}: {reason(error)}", UNVERIFIED)
    except OSError as error:
        told = NetworkError(
            f"{where}: the proxy opened the connection, and then {reason(error)}",
            _SERVING,
        )
    except NetworkError as error:
        told = NetworkError(f"{where}: the proxy opened the connection, and then {error}", _SERVING)
    way.close()
    raise told
