"""Clients and servers on loopback, for tests of what stands between them. Under TLS only close_notify is an end."""

import atexit
import contextlib
import functools
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nitrosocks_lib.demo.interceptor import Interceptor

BOUND = 20.0  # seconds; no test comes near
SILENCE = 0.05  # seconds to see that nothing comes, where nothing may come


@functools.cache
def pem(name: str) -> tuple[Path, Path]:
    """A certificate of that name and its key; the folder goes when the process ends."""
    cert, key = Path(_folder.name, f"{name}.crt"), Path(_folder.name, f"{name}.key")
    words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name}".split()
    subprocess.run(["openssl", *words, "-out", cert, "-keyout", key], check=True, capture_output=True)
    return cert, key


_folder = tempfile.TemporaryDirectory()
atexit.register(_folder.cleanup)


class Server:
    """Gives every TLS connection to `serve` in a thread of its own; what these raise is kept in `errors`."""

    def __init__(self, serve: Callable[[ssl.SSLSocket], object]) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*pem("server"))
        self.context.set_alpn_protocols(["http/1.1"])
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = ("127.0.0.1", self.listener.getsockname()[1])
        self.serve, self.errors, self.stopping = serve, [], False
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self) -> None:
        while True:
            sock, _ = self.listener.accept()
            if self.stopping:
                return sock.close()
            self.threads.append(threading.Thread(target=self.talk, args=[sock], daemon=True))
            self.threads[-1].start()

    def talk(self, sock: socket.socket) -> None:
        try:
            sock.settimeout(BOUND)
            with self.context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False) as tls:
                self.serve(tls)
        except Exception as error:
            self.errors.append(error)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Returns when all connections are served."""
        if not self.stopping:
            self.stopping = True
            socket.create_connection(self.address, BOUND).close()
            for thread in self.threads:
                thread.join(BOUND)
            self.listener.close()


@contextlib.contextmanager
def through(
    serve: Callable[[ssl.SSLSocket], object], recording: Path | None = None
) -> Iterator[tuple[Interceptor, Server]]:
    """A server, and an interceptor in front of it."""
    with Server(serve) as server:
        interceptor = Interceptor(server.address, *pem("proxy"), recording=recording)
        interceptor.start()
        try:
            yield interceptor, server
        finally:
            interceptor.stop()


def dial(port: int, alpn: str = "") -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([alpn] if alpn else [])
    sock = socket.create_connection(("127.0.0.1", port), BOUND)
    try:
        return context.wrap_socket(sock, suppress_ragged_eofs=False)  # so that only close_notify is an end
    except BaseException:
        sock.close()
        raise


def read_all(sock: socket.socket) -> bytes:
    """To the end."""
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def read_exactly(tls: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        piece = tls.recv(size - len(got))
        assert piece, f"ended after {len(got)} of {size} bytes"
        got += piece
    return bytes(got)


def echo(tls: ssl.SSLSocket) -> None:
    with contextlib.suppress(OSError):
        while piece := tls.recv(1 << 20):
            tls.sendall(piece)


def exchange(tls: ssl.SSLSocket, data: bytes, size: int) -> bytes:
    """Sends `data` and reads `size` bytes, a piece of each in turn: one thread, so OpenSSL is never entered twice."""
    got, at = bytearray(), 0
    while at < len(data) or len(got) < size:
        if at < len(data):
            at += tls.send(data[at : at + 16384])
        if len(got) < size:
            got += tls.recv(min(16384, size - len(got)))
    return bytes(got)


class Bare:
    """A TLS client that can end its own direction and read on, which SSLSocket cannot."""

    def __init__(self, port: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock = socket.create_connection(("127.0.0.1", port), BOUND)
        self.came, self.sealed = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.came, self.sealed)
        self.do(self.tls.do_handshake)

    def do(self, call: Callable, *args):
        while True:
            try:
                return call(*args)
            except ssl.SSLWantReadError:
                self.sock.sendall(self.sealed.read())
                data = self.sock.recv(65536)
                assert data, "FIN without close_notify"
                self.came.write(data)
            finally:
                self.sock.sendall(self.sealed.read())

    def end(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.sock.sendall(self.sealed.read())

    def read_all(self) -> bytes:
        got = b""
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while piece := self.do(self.tls.read, 65536):
                got += piece
        return got


def reset(sock: socket.socket) -> None:
    """Closes with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def was_reset(sock: socket.socket) -> bool:
    """Whether a RST is the next thing there, under any TLS: SSLSocket tells it as an EOF before CPython 3.11.9."""
    try:
        return socket.socket.recv(sock, 1) is None
    except ConnectionResetError:
        return True


def unused_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def dial_tcp(port: int) -> socket.socket:
    """A plain connection."""
    return socket.create_connection(("127.0.0.1", port), BOUND)


class Ends(contextlib.ExitStack):
    """Both ends of a connection through a proxy."""

    def __init__(self, port: int, listener: socket.socket) -> None:
        super().__init__()
        self.client = self.enter_context(dial_tcp(port))
        self.server = self.enter_context(listener.accept()[0])
        self.server.settimeout(BOUND)

    def both(self) -> tuple[socket.socket, socket.socket]:
        return self.client, self.server


def is_silent(sock: socket.socket) -> bool:
    """Whether neither bytes nor an end come."""
    sock.settimeout(SILENCE)
    try:
        return sock.recv(1) is None
    except TimeoutError:
        return True
    finally:
        sock.settimeout(BOUND)


def goes_through(ends: Ends) -> bool:
    """Whether something passes up and down."""
    for source, sink in (ends.both(), ends.both()[::-1]):
        source.sendall(b"ping")
        assert read_exactly(sink, 4) == b"ping"
    return True


def twofold(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """The name "twofold" has these addresses, or two of IPv4, which every machine has."""
    real = socket.getaddrinfo

    def resolve(host, port, *args, **options):
        if host != "twofold":
            return real(host, port, *args, **options)
        found = addresses or ("127.0.0.1", "127.0.0.2", "127.0.0.1")
        return [entry for each in found for entry in real(each, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
