"""How a Link comes to be: TCP and TLS, dialled within a total deadline; contexts. The carrier is `raw`."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..facts.address import join_host_port
from ..facts.errors import ConfigurationError, NetworkError, Unreachable
from ..facts.words import foreign
from .handshakes import Dial, WrappedSocket, find_places, reason, reasons
from .link import Link
from .proxy import UNVERIFIED, Proxy, through
from .race import Place, Remembered
from .sockets import MORE_DESCRIPTORS
from .timers import now
from .tls import TlsLink

Context = ssl.SSLContext
Wrapped = ssl.SSLSocket
REMEMBERED = Remembered()  # of all servers that this program dials


@dataclass(frozen=True, slots=True)
class Route:
    """How the client gets to a server: over what, and what the outer TLS must be."""

    verify: bool = False
    ipv4: bool = True
    ipv6: bool = True
    proxy: Callable[[tuple[str, int]], Proxy | None] = lambda _: None  # the proxy on the way to a server
    direct: bool = False  # nobody may end the TLS in between

    @property
    def family(self) -> int:
        """For getaddrinfo."""
        return socket.AF_UNSPEC if self.ipv4 and self.ipv6 else socket.AF_INET if self.ipv4 else socket.AF_INET6


# TLS as certbot sets up nginx, the most common web server with it, so that a server of ours is not told by its TLS.
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"
)
PROTOCOLS: Final = ("http/1.1", "http/1.0", "http/0.9")


class ServerSocket(WrappedSocket):
    """One that a server's context wraps; `refusal` is the alert that it gets in place of a ServerHello."""

    refusal: int | None = None


class ServerContext(ssl.SSLContext):
    """Of `server_context`. `unnamed` is the same but for names: it does not say that it knows one."""

    unnamed: ssl.SSLContext


def server_context(certificate: Path, key: Path) -> ServerContext:
    """TLS 1.2+ with the certificate that the server presents; raises ConfigurationError if the files cannot be used."""
    context, unnamed = ServerContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        _serve(context, certificate, key)
        _serve(unnamed, certificate, key)
    except (OSError, _Encrypted) as error:
        files = f"{foreign(certificate)} with key {foreign(key)}"
        raise ConfigurationError(
            f"the TLS certificate {files} cannot be used: {_fault(certificate, key, error)}",
            "give a PEM chain with --cert and its unencrypted PEM key with --key",
        ) from None
    context.unnamed = unnamed
    context.sni_callback = lambda sock, name, _: getattr(sock, "refusal", None)  # None: the name is known
    return context


def _serve(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # web servers answer a bare FIN with no alert
    context.options |= ssl.OP_NO_TICKET  # TLS 1.3 has tickets all the same, of one size in all servers
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = ServerSocket
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(PROTOCOLS)
    context.load_cert_chain(certificate, key, password=_no_password)


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
    context.sslsocket_class = WrappedSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if web:
        context.set_alpn_protocols(["http/1.1"])
    return context


def authorities() -> set[Path]:
    """Where OpenSSL looks for certificates that it trusts: when a context is made, and each time that it verifies one.
    Files and directories."""
    names = ssl.get_default_verify_paths()
    given = os.environ.get(names.openssl_capath_env, names.openssl_capath).split(os.pathsep)
    places = {Path(each) for each in given if each}
    if names.cafile is not None:
        places |= {Path(names.cafile), Path(os.path.realpath(names.cafile))}
    for place in list(places):
        with suppress(OSError):  # what is not there, or cannot be looked at, cannot be trusted either
            places |= {Path(os.path.realpath(each)) for each in place.iterdir()}
    return places


def dial(
    server: tuple[str, int],
    context: ssl.SSLContext,
    family: int,
    seconds: float,
    remembered: Remembered = REMEMBERED,
    proxy: Proxy | None = None,
) -> Link:
    """TCP and TLS to one server, at whichever address of its name is first to have both (RFC 8305). Blocks.

    TCP may take `seconds` at all addresses together, TLS as long at each that connected, side by side. The address
    that worked is tried first next time. Raises NetworkError with the reason of every address; Unreachable where none
    has TCP. Through a proxy all of this holds for the proxy's addresses; see `proxy.through`.
    """
    if proxy is not None:
        return through(proxy, server, context, family, seconds, remembered)
    host, port = server
    hint = "check the name of the server in the profile"
    places = remembered.order(host, port, find_places(host, port, family, hint), now())
    try:
        with closing(Dial(places, host, context, seconds)) as dialling:
            place, sock = dialling.run() or (None, None)
            failed = dialling.failed
    except OSError as error:  # not even a descriptor to wait with
        raise NetworkError(f"cannot reach {join_host_port(host, port)} ({reason(error)})") from None
    if place is None or not isinstance(sock, ssl.SSLSocket):
        raise _unreached(join_host_port(host, port), {place: failed[place] for place in places})
    remembered.worked(host, port, places, place, now())
    return TlsLink(sock)


_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")  # what OpenSSL says of it, by its version


def _unreached(where: str, failed: dict[Place, Exception]) -> NetworkError:
    hint = "is 'nitrosocks serve' running there?"
    if any(isinstance(error, ssl.SSLCertVerificationError) for error in failed.values()):
        hint = UNVERIFIED
    elif any(isinstance(error, ssl.SSLError) and error.reason in _NO_TLS for error in failed.values()):
        hint = "what answers there speaks no TLS: is the port right? Is a portal on the way? A browser shows it"
    if any(isinstance(error, OSError) and error.errno == errno.EMFILE for error in failed.values()):
        hint = MORE_DESCRIPTORS
    kind = Unreachable if all(map(_is_of_tcp, failed.values())) else NetworkError
    return kind(f"cannot reach {where} ({reasons(failed)})", hint)


def _is_of_tcp(error: Exception) -> bool:
    """Whether it did not even connect; in the middle of TLS a box may reset a connection."""
    return isinstance(error, OSError) and not isinstance(error, ssl.SSLError | ConnectionResetError | BrokenPipeError)
