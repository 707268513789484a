"""How a Link comes to be: TCP and TLS, dialled or accepted, each within a total deadline. The carrier is `raw`."""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..facts.address import join_host_port
from ..facts.errors import ConfigurationError, NetworkError
from .link import Link
from .timers import now
from .wake import Wake, wait

Context = ssl.SSLContext
KEEPALIVE_IDLE = 60  # seconds; our own heartbeat is quicker, this one frees sockets whose process hangs


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
        raise ConfigurationError(
            f"the TLS certificate {certificate} with key {key} cannot be used: {_fault(certificate, key, error)}",
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


def client_context(verify: bool) -> ssl.SSLContext:
    """TLS 1.2+. The outer certificate is not verified unless asked for: nothing in it is trusted."""
    context = ssl.create_default_context() if verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def dial(server: tuple[str, int], context: ssl.SSLContext, family: int, seconds: float) -> Link:
    """Connects to one server, trying all addresses of its name in their order, each within `seconds`.

    Raises NetworkError with the reason of every address.
    """
    host, port = server
    where = join_host_port(host, port)
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise NetworkError(f"cannot find {host}: {reason}", "check the name of the server in the profile") from None
    failures, hint = [], "is 'nitrosocks serve' running there?"
    for kind, _, _, _, address in found:
        try:
            return _dial_address(kind, address, host, context, now() + seconds)
        except (OSError, NetworkError) as error:
            failures.append(f"{address[0]}: {_reason(error)}")
            if isinstance(error, ssl.SSLCertVerificationError):
                hint = "the tunnel does not need it to: leave --tls-verify away, or set SSL_CERT_FILE to its authority"
    raise NetworkError(f"cannot reach {where} ({'; '.join(failures)})", hint)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def connect(
    family: int, address: tuple[object, ...], deadline: float, given_up: Wake | None = None
) -> socket.socket:
    """A tuned, non-blocking TCP connection to one address; raises OSError, as TimeoutError at the deadline.

    Another thread may end it before by setting `given_up`.
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with suppress(BlockingIOError):
            sock.connect(address)
        waiting = wait if given_up is None else given_up.wait
        if not waiting({sock.fileno(): select.POLLOUT}, max(0.0, deadline - now())):
            raise TimeoutError(errno.ETIMEDOUT, "no answer in time")
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
        tune(sock)
        return sock
    except BaseException:
        sock.close()
        raise


def _dial_address(
    family: int, address: tuple[object, ...], host: str, context: ssl.SSLContext, deadline: float
) -> Link:
    raw = connect(family, address, deadline)
    try:
        raw.getpeername()  # whoever is gone already fails here, and not half-way through wrap_socket
        return Link(_handshake(context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False), deadline))
    except BaseException:
        raw.close()
        raise


def accept(raw: socket.socket, context: ssl.SSLContext, deadline: float) -> Link:
    """The server's side of TLS on an accepted socket; raises OSError or NetworkError, and has closed it then."""
    try:
        raw.setblocking(False)
        raw.getpeername()  # whoever is gone already fails here, and not half-way through wrap_socket
        tune(raw)
        return Link(_handshake(context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), deadline))
    except BaseException:
        raw.close()
        raise


def _handshake(sock: ssl.SSLSocket, deadline: float) -> ssl.SSLSocket:
    """TLS within a total deadline: a peer that sends a byte at a time does not extend it."""
    try:
        while True:
            try:
                sock.do_handshake()
                return sock
            except ssl.SSLWantReadError:
                events = select.POLLIN
            except ssl.SSLWantWriteError:
                events = select.POLLOUT
            if (left := deadline - now()) <= 0 or not wait({sock.fileno(): events}, left):
                raise NetworkError("no TLS handshake in time")
    except BaseException:
        sock.close()
        raise


def tune(sock: socket.socket) -> None:
    """Small frames leave at once, and the kernel notices a dead peer in the end. Unix sockets have no such options."""
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
