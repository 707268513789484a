"""A middlebox of our own that ends TLS and reads what is inside, for `nitrosocks demo` and the tests."""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..facts.errors import CannotCreate
from ..facts.limits import DIAL, HANDSHAKE
from ..facts.words import foreign, said

_CHUNK: Final = 64 * 1024  # bytes read at once
_FULL: Final = 64 * 1024  # nothing is read while more waits at the other side; a chunk and handshake's rest may follow
_LINGER: Final = 2.0  # seconds for one side to take what is left after the other broke


class _Cut(Exception):
    """The thread of a connection is to reset both sides."""


class _Side:
    """One TLS end between two memory buffers. As OpenSSL never touches the socket, it never wants to write, nothing
    stays pending in it, and close_notify leaves while data comes in (SSLSocket.unwrap would read and lose it)."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str | None) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self._came, self._sealed, self._unsent = sock, ssl.MemoryBIO(), ssl.MemoryBIO(), memoryview(b"")
        self.tls = context.wrap_bio(self._came, self._sealed, server_side=host is None, server_hostname=host)
        self.ended = self.done = self.broken = False  # the peer sends no more; our FIN has left; both, after an error
        self._finishing = False

    @property
    def unsent(self) -> int:
        return 0 if self.broken else len(self._unsent) + self._sealed.pending

    def shaken(self) -> bool:
        """Goes on with the handshake; whether it is done. Raises OSError where it has failed."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            if self.ended:
                raise
            return False
        finally:
            self.flush()
        return True

    def take(self) -> None:
        """Takes ciphertext from the socket."""
        with suppress(BlockingIOError):
            sealed = self.sock.recv(_CHUNK)
            self.ended = not sealed
            self._came.write(sealed)

    def receive(self) -> bytes:
        """Takes what the socket has; returns all that is now decrypted."""
        plain = []
        try:
            self.take()
            while record := self.tls.read(_CHUNK):
                plain.append(record)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except OSError:
            self.fail()
        return b"".join(plain)

    def send(self, plain: bytes) -> None:
        """Encrypts `plain` for flush, or drops it where the side is broken."""
        try:
            if not self.broken:
                self.tls.write(plain)
        except ssl.SSLError:
            self.fail()

    def finish(self) -> None:
        """Lets close_notify and FIN follow what is unsent. The peer may go on sending."""
        if not self._finishing and not self.broken:
            self._finishing = True
            with suppress(ssl.SSLError):  # SSLWantRead: the peer's own close_notify has not come
                self.tls.unwrap()

    def flush(self) -> None:
        """Sends what the socket takes."""
        try:
            while self.unsent:
                self._unsent = self._unsent or memoryview(self._sealed.read())
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
            if self._finishing and not self.done:
                self.sock.shutdown(socket.SHUT_WR)
                self.done = True
        except BlockingIOError:
            pass
        except OSError:
            self.fail()

    def fail(self) -> None:
        self.ended = self.done = self.broken = True


class _Connection(threading.Thread):
    """Serves one accepted connection; this thread alone touches its sockets and TLS objects, and waits in one poll."""

    def __init__(self, owner: Interceptor, number: int, accepted: socket.socket) -> None:
        super().__init__(name=f"interceptor-{number}", daemon=True)
        self._owner, self._number, self._sockets, self._sides = owner, number, [accepted], list[_Side]()
        self._wake, self.waker = socket.socketpair()  # a byte into the waker means _Cut

    def run(self) -> None:
        try:
            client = self._shake(self._owner.context, None)
            if not client.broken:
                self._relay(client, self._dial(client.tls.selected_alpn_protocol()))
        except _Cut:
            for sock in self._sockets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends a RST
        except OSError:
            pass  # the time is over
        finally:
            with self._owner.lock:
                self._owner.live.discard(self)
            for sock in (*self._sockets, self._wake, self.waker):
                sock.close()

    def _dial(self, alpn: str | None) -> _Side:
        try:
            self._sockets.append(socket.create_connection(self._owner.upstream, DIAL))
        except OSError:
            self._sockets.append(socket.socket())  # fails in its handshake
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([alpn] if alpn else [])
        return self._shake(context, self._owner.upstream[0])

    def _shake(self, context: ssl.SSLContext, host: str | None) -> _Side:
        """The newest socket as a side after its handshake, or as a broken one."""
        self._sides.append(side := _Side(self._sockets[-1], context, host))
        deadline = time.monotonic() + HANDSHAKE
        try:
            while not side.shaken():
                self._wait(deadline, side)
                side.take()
        except OSError:
            side.fail()
        return side

    def _relay(self, client: _Side, upstream: _Side) -> None:
        """Until both sides have ended. Where one is broken, the other gets what is buffered, and is read to its end."""
        ways, deadline = (("up", client, upstream), ("down", upstream, client)), None
        for way, _, _ in ways:
            self._owner.saw(self._number, way, b"", "wb")
        while True:
            for way, source, sink in ways:
                if not source.ended and sink.unsent <= _FULL and (plain := source.receive()):
                    sink.send(self._owner.saw(self._number, way, plain))
            for _, source, sink in ways:
                if source.ended:
                    sink.finish()
                sink.flush()
            if all(side.ended and side.done for side in self._sides):
                return
            if deadline is None and (client.broken or upstream.broken):
                deadline = time.monotonic() + _LINGER
            self._wait(deadline, *(source for _, source, sink in ways if not source.ended and sink.unsent <= _FULL))

    def _wait(self, deadline: float | None, *reading: _Side) -> None:
        """Until one of `reading` is readable, or a side with unsent bytes writable. Raises _Cut or TimeoutError."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        for side in self._sides:
            if mask := (select.POLLIN if side in reading else 0) | (select.POLLOUT if side.unsent else 0):
                poll.register(side.sock, mask)
        left = None if deadline is None else (deadline - time.monotonic()) * 1000
        if (left is not None and left <= 0) or not (ready := poll.poll(left)):
            raise TimeoutError
        if (self._wake.fileno(), select.POLLIN) in ready:
            raise _Cut


class Interceptor:
    """Ends the TLS of every connection to `port` under the certificate `cert` (PEM, as its `key`), opens another TLS,
    which verifies nothing and offers the ALPN that the client got, to `upstream`, and relays the plaintext.

    It listens from the beginning, serves from `start` to `stop`; any thread may call the methods. An end of one
    direction is passed on after what is buffered (256 KiB at most); where one side breaks or the upstream is down, the
    other gets a clean end, and 2 s to take it. Before plaintext is passed on, it is counted in `seen` ("up", "down",
    beside "connections") and written to `recording`/connection-N.up or .down (mode 0600), N from 1. Where that fails,
    `unrecorded` says why, nothing more is recorded, and data goes on as before. Raises CannotCreate where an
    address, the folder or the certificate cannot be used.
    """

    def __init__(self, upstream: tuple[str, int], cert: Path | str, key: Path | str,
                 listen: tuple[str, int] = ("127.0.0.1", 0), recording: Path | None = None) -> None:  # fmt: skip
        self.upstream, self._recording = upstream, recording
        self.unrecorded: OSError | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["http/1.1"])
        try:
            self.context.load_cert_chain(cert, key, password="")
            if recording is not None:
                recording.mkdir(parents=True, exist_ok=True)
            self._listener = socket.create_server(listen, backlog=128)
            self._listener.setblocking(False)
        except OSError as error:
            files = f"{foreign(cert)} and {foreign(key)}"
            raise CannotCreate(f"cannot intercept on {listen[0]}:{listen[1]} with {files}: {said(error)}") from error
        self.port = int(self._listener.getsockname()[1])
        self._wake, self._waker = socket.socketpair()
        self.lock, self.live = threading.Lock(), set[_Connection]()
        self.seen = {"connections": 0, "up": 0, "down": 0}
        self._thread = threading.Thread(target=self._accept, name="interceptor", daemon=True)

    def start(self) -> None:
        """Begins to serve, in threads of its own. Once only."""
        self._thread.start()

    def cut(self) -> None:
        """Resets both sides of every live connection, as a proxy does that cuts long ones. Returns when they are gone:
        at once, or when the upstream is reached or not (at most 10 s)."""
        with self.lock:
            live = list(self.live)
            for connection in live:
                connection.waker.send(b"!")
        for connection in live:
            connection.join()

    def stop(self) -> None:
        """Listens no more, cuts all connections and returns when every thread has ended. May be called again."""
        with suppress(OSError):
            self._waker.send(b"!")
        if self._thread.is_alive():
            self._thread.join()
        self.cut()
        for sock in (self._listener, self._wake, self._waker):
            sock.close()

    def saw(self, number: int, way: str, plain: bytes, mode: str = "ab") -> bytes:
        """Called by a connection before it passes on `plain`; returns what it passes on, which is the same here."""
        with self.lock:
            self.seen[way] += len(plain)
        if self._recording is None or self.unrecorded is not None:
            return plain
        try:
            with open(self._recording / f"connection-{number}.{way}", mode, opener=_private) as file:
                file.write(plain)
        except OSError as error:
            self.unrecorded = error
        return plain

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while (self._wake.fileno(), select.POLLIN) not in poll.poll():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                time.sleep(0.1)  # no descriptor left
                continue
            with self.lock:
                self.seen["connections"] += 1
                self.live.add(connection := _Connection(self, self.seen["connections"], accepted))
                connection.start()


def _private(path: str, flags: int) -> int:
    """For open: a recording may hold passwords."""
    return os.open(path, flags, 0o600)
