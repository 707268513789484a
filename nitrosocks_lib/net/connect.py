"""How a Link comes to be: TCP and TLS, dialled within a total deadline; contexts. The carrier is `raw`."""

from __future__ import annotations

import os
import selectors
import socket
import ssl
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import ConfigurationError, NetworkError, Unreachable
from ..facts.words import foreign
from .link import Link
from .race import Connected, Place, Race, Remembered, find
from .timers import now
from .tls import TlsLink
from .wake import Waiter

Context = ssl.SSLContext
Wrapped = ssl.SSLSocket
REMEMBERED = Remembered()  # of all servers that this program dials


@dataclass(frozen=True, slots=True)
class Route:
    """How the client gets to a server: whether the outer certificate must verify, and over what."""

    verify: bool = False
    ipv4: bool = True
    ipv6: bool = True

    @property
    def family(self) -> int:
        """For getaddrinfo."""
        return socket.AF_UNSPEC if self.ipv4 and self.ipv6 else socket.AF_INET if self.ipv4 else socket.AF_INET6


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2+ with the certificate that the server presents; raises ConfigurationError when the files do not do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # web servers answer a bare FIN with no alert
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, _Encrypted) as error:
        files = f"{foreign(certificate)} with key {foreign(key)}"
        raise ConfigurationError(
            f"the TLS certificate {files} cannot be used: {_fault(certificate, key, error)}",
            "give a PEM chain with --cert and its unencrypted PEM key with --key",
        ) from None
    return context


class _Encrypted(Exception):
    """OpenSSL asks for the passphrase of a key, and would ask at the terminal."""


def _no_password() -> str:
    raise _Encrypted


def _fault(certificate: Path, key: Path, error: Exception) -> str:
    """Which of the two files is bad. OpenSSL names neither."""
    for what, path in (("certificate", certificate), ("key", key)):
        try:
            path.open("rb").close()
        except OSError as unreadable:
            return f"the {what}: {unreadable.strerror}"
    if isinstance(error, _Encrypted):
        return "the key is encrypted"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except OSError:
        return "the certificate: none in PEM is in its file"
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return "they do not belong together"
    return "the key: none in PEM is in its file"


def client_context(verify: bool, web: bool = False) -> ssl.SSLContext:
    """TLS 1.2+. The outer certificate is not verified unless asked for: nothing in it is trusted.

    For `web`, the carriers that speak HTTP, it offers ALPN http/1.1; `raw` offers none (`CA4`).
    """
    context = ssl.create_default_context() if verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if web:
        context.set_alpn_protocols(["http/1.1"])
    return context


def authorities() -> set[Path]:
    """Where OpenSSL looks for certificates that it trusts, each time that it verifies one: files and directories."""
    names = ssl.get_default_verify_paths()
    given = os.environ.get(names.openssl_capath_env, names.openssl_capath).split(os.pathsep)
    places = {Path(each) for each in given if each}
    for place in list(places):
        with suppress(OSError):  # what is not there, or cannot be looked at, cannot be trusted either
            places |= {Path(os.path.realpath(each)) for each in place.iterdir()}
    return places


def dial(
    server: tuple[str, int], context: ssl.SSLContext, family: int, seconds: float, remembered: Remembered = REMEMBERED
) -> Link:
    """TCP and TLS to one server, at whichever address of its name is first to have both (RFC 8305). Blocks.

    TCP may take `seconds` at all addresses together, TLS as long at each that connected, side by side. The address
    that worked is tried first next time. Raises NetworkError with the reason of every address; Unreachable where none
    has TCP.
    """
    host, port = server
    places = remembered.order(host, port, _find(host, port, family), now())
    try:
        with closing(_Dial(places, host, context, seconds)) as dialling:
            place, link = dialling.run() or (None, None)
            failed = dialling.failed
    except OSError as error:  # not even a descriptor to wait with
        raise NetworkError(f"cannot reach {join_host_port(host, port)} ({reason_of(error)})") from None
    if place is None or link is None:
        raise _unreached(join_host_port(host, port), {place: failed[place] for place in places})
    remembered.worked(host, port, places, place, now())
    return link


def _find(host: str, port: int, family: int) -> list[Place]:
    try:
        return find(host, port, family)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        told = f"cannot find {foreign(host)}: {reason}"
        raise Unreachable(told, "check the name of the server in the profile") from None


def _unreached(where: str, failed: dict[Place, Exception]) -> NetworkError:
    hint = "is 'nitrosocks serve' running there?"
    if any(isinstance(error, ssl.SSLCertVerificationError) for error in failed.values()):
        hint = "the tunnel does not need it to: leave --tls-verify away, or set SSL_CERT_FILE to its authority"
    reasons = "; ".join(f"{address[0]!s}: {reason_of(error)}" for (_, address), error in failed.items())
    kind = Unreachable if all(map(_is_of_tcp, failed.values())) else NetworkError
    return kind(f"cannot reach {where} ({reasons})", hint)


def _is_of_tcp(error: Exception) -> bool:
    """Whether it did not even connect; in the middle of TLS a box may reset a connection."""
    return isinstance(error, OSError) and not isinstance(error, ssl.SSLError | ConnectionResetError | BrokenPipeError)


def reason_of(error: Exception) -> str:
    """Why a connection cannot be made, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {foreign(error.verify_message)}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {foreign(error.reason or error)}"
    return (error.strerror if isinstance(error, OSError) else None) or foreign(error)


class _Dial:
    """One dial: a race for TCP, and TLS on each socket that connects. One thread's, which waits here alone."""

    def __init__(self, places: list[Place], host: str, context: ssl.SSLContext, seconds: float) -> None:
        self._waiter = Waiter()
        self._host, self._context, self._seconds = host, context, seconds
        self._race = Race(places, now() + seconds, self._watch, lambda sock: self._waiter.forget(sock.fileno()))
        self._handshakes: dict[ssl.SSLSocket, tuple[Place, float]] = {}  # each with its deadline
        self._failed: dict[Place, Exception] = {}  # those whose TCP did connect

    @property
    def failed(self) -> dict[Place, Exception]:
        """Why each place failed; of all of them once `run` returned None."""
        return {**self._race.failed, **self._failed}

    def run(self) -> tuple[Place, Link] | None:
        """Blocks until one place has TCP and TLS, which it returns, or none is left."""
        while True:
            at = now()
            while (connected := self._race.advance(at)) is not None:
                self._begin_tls(connected, at)
            for sock, (place, _) in list(self._handshakes.items()):
                if self._is_done(sock, at):
                    return place, TlsLink(sock)
            if self._race.over and not self._handshakes:
                return None
            until = [end for _, end in self._handshakes.values()]
            if not self._race.over:
                until.append(self._race.next_at)
            self._waiter.select(max(0.0, min(until) - now()))

    def _begin_tls(self, connected: Connected, at: float) -> None:
        self._race.hold(at + limits.STAGGER_TLS)
        try:
            sock = wrap(connected.sock, self._context, self._host)
        except OSError as error:
            self._fail(connected.place, error)
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
                raise NetworkError("no TLS handshake in time")
        except (OSError, NetworkError) as error:
            self._drop(sock)
            self._fail(place, error)
            return False
        self._waiter.forget(sock.fileno())
        del self._handshakes[sock]
        return True

    def _fail(self, place: Place, error: Exception) -> None:
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


def wrap(raw: socket.socket, context: ssl.SSLContext, host: str | None = None) -> ssl.SSLSocket:
    """TLS on a connection, to `host`, or accepted without one; nothing of it is done yet. Closes it when it raises."""
    try:
        raw.getpeername()  # whoever is gone already fails here, and not half-way through wrap_socket
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
