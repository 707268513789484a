"""What the tests' tunnels lead to: TCP servers in threads of the test's own process."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from loopback import read_all

BOUND = 30.0  # seconds until a wait is given up; no test comes near
CHUNK = 1 << 16


class Target:
    """Gives every connection to `serve` in a thread of its own; what these raise is kept in `errors`.

    Only OSError is expected of `serve`: a connection may be cut by what is tested.
    """

    def __init__(self, serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=256)
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0
        self.errors: list[Exception] = []
        self._serve = serve
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._threads.append(threading.Thread(target=self._talk, args=[sock], daemon=True))
                self._threads[-1].start()

    def _talk(self, sock: socket.socket) -> None:
        sock.settimeout(BOUND)
        try:
            with sock:
                self._serve(sock)
        except OSError:
            pass
        except Exception as error:
            self.errors.append(error)

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(BOUND)
        self._listener.close()
        assert not self.errors, self.errors


class Ends(ExitStack):
    """Both ends of one connection through a tunnel: `near` is ours, `far` the target's."""

    def __init__(self, tunnel: int, listener: socket.socket) -> None:
        """`tunnel` is a port of `forward`, and leads to the listener."""
        super().__init__()
        self.near = self.enter_context(dial(tunnel))
        listener.settimeout(BOUND)
        self.far = self.enter_context(listener.accept()[0])
        self.far.settimeout(BOUND)


def dial(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A plain connection."""
    return socket.create_connection((host, port), BOUND)


def drain(sock: socket.socket) -> tuple[int, str]:
    """How many bytes came until the end, and their SHA-256."""
    digest, size = hashlib.sha256(), 0
    while piece := sock.recv(CHUNK):
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


def echo(sock: socket.socket) -> None:
    """Answers what comes, and ends when it ends."""
    while piece := sock.recv(CHUNK):
        sock.sendall(piece)


def exchange(sock: socket.socket, sent: bytes) -> bytes:
    """Sends all and then an end, and reads meanwhile, to the end."""

    def send() -> None:
        with suppress(OSError):
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    got = read_all(sock)
    sender.join(BOUND)
    return got


@contextmanager
def unanswering() -> Iterator[tuple[str, int]]:
    """An address whose queue is full, so that the kernel drops what comes: a dial gets no answer."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()
