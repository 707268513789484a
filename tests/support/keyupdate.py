"""A TLS 1.3 client that floods a server with KeyUpdate: Python's ssl cannot, so the library beneath it is called."""

from __future__ import annotations

import _ssl
import ctypes
import socket

_BATCH = 100


def library() -> ctypes.CDLL | None:
    """The OpenSSL that Python uses; None where it is built in, and cannot be called."""
    try:
        found = ctypes.CDLL(_ssl.__file__)
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(found, name).restype = ctypes.c_void_p
    except (AttributeError, OSError):
        return None
    return found


class Flood:
    """One connection, with TLS when it is made."""

    def __init__(self, port: int) -> None:
        openssl = library()
        assert openssl is not None, "see library"
        self._openssl = openssl
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._context = ctypes.c_void_p(openssl.SSL_CTX_new(ctypes.c_void_p(openssl.TLS_client_method())))
        self._tls = ctypes.c_void_p(openssl.SSL_new(self._context))
        openssl.SSL_set_fd(self._tls, self._sock.fileno())
        if openssl.SSL_connect(self._tls) != 1:
            self.__exit__()
            raise OSError("no TLS")

    def send(self) -> bool:
        """Some more; False when the connection has ended."""
        for _ in range(_BATCH):
            if self._openssl.SSL_key_update(self._tls, 0) != 1 or self._openssl.SSL_do_handshake(self._tls) != 1:
                return False
        return True

    def __enter__(self) -> Flood:
        return self

    def __exit__(self, *_: object) -> None:
        """The thread that sends has ended."""
        self._openssl.SSL_free(self._tls)
        self._openssl.SSL_CTX_free(self._context)
        self._sock.close()
