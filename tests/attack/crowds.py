"""Crowds of strangers, each a process of its own: non-blocking sockets, few system calls a connection.

A crowd ends when its process is terminated; `Crowd.made` is how many connections it has made so far.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close sends RST, so that no port rests
HOLD = 4_500  # bare connections that one process keeps open, the oldest goes: with more, free ports are slow to find
_TICK = 0.004
_BATCH = 200
_AHEAD = 10  # seconds of greetings made ahead: they cost the attacker more than to send them
_FORK = multiprocessing.get_context("fork")


class Crowd:
    """One process that does `body(made, *args)`, where `made.value` counts."""

    def __init__(self, body: Callable[..., None], *args: Any) -> None:
        self._made = _FORK.Value("q", 0, lock=False)
        self._process = _FORK.Process(target=_run, args=(body, self._made, *args), daemon=True)
        self._process.start()

    @property
    def made(self) -> int:
        return int(self._made.value)

    @property
    def seconds(self) -> float:
        """Of CPU, until now."""
        with open(f"/proc/{self._process.pid}/stat", encoding="ascii") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _run(body: Callable[..., None], made: Any, *args: Any) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(KeyboardInterrupt):
        body(made, *args)


def dialled(port: int, source: str) -> socket.socket:
    """A connection under way, from this address."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.setsockopt(socket.SOL_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    sock.bind((source, 0))
    try:
        sock.connect_ex(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


def paced(rate: float) -> Iterator[int]:
    """How many are due now, again and again; what could not be done in time is not made up for."""
    last = time.monotonic()
    owed = 0.0
    while True:
        time.sleep(_TICK)
        at = time.monotonic()
        owed = min(owed + (at - last) * rate, rate * 0.1 + 1)
        last = at
        yield int(owed)
        owed -= int(owed)


def bare(made: Any, port: int, source: str, rate: float, said: bytes = b"") -> None:
    """TCP connects, so many a second, and at most `said` on each: no TLS byte, or no whole ClientHello."""
    held: deque[socket.socket] = deque()
    for due in paced(rate):
        for _ in range(due):
            if len(held) >= HOLD:
                held.popleft().close()
            with contextlib.suppress(OSError):
                held.append(dialled(port, source))
                made.value += 1
        for sock in list(held)[-due:] if said and due else ():
            with contextlib.suppress(OSError):
                sock.send(said)


class Caller:
    """One TLS client that says `said` once TLS is done, and waits for the end."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, said: bytes) -> None:
        self._raw, self._context, self._said = sock, context, said
        self._tls: ssl.SSLSocket | None = None
        self.fd = sock.fileno()

    def step(self) -> int:
        """Goes on; the events to wait for, 0 when it is over."""
        try:
            if self._tls is None:
                self._tls = self._context.wrap_socket(self._raw, do_handshake_on_connect=False)
            if self._said:
                self._tls.do_handshake()
                self._tls.write(self._said)
                self._said = b""
            else:
                self._tls.do_handshake()
            while self._tls.read(4096):
                pass
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLOUT
        except (OSError, ValueError):
            pass
        return 0

    def close(self) -> None:
        (self._tls or self._raw).close()


def client_tls() -> ssl.SSLContext:
    """Trusts all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def callers(made: Any, port: int, source: str, rate: float, most: int, says: Callable[[], bytes]) -> None:
    """TLS clients: so many a second, and so many at a time at most; each says what `says` gives."""
    context, epoll, calls = client_tls(), select.epoll(), {}
    for due in paced(rate):
        for _ in range(min(due, most - len(calls), _BATCH)):
            with contextlib.suppress(OSError):
                caller = Caller(dialled(port, source), context, says())
                calls[caller.fd] = caller
                epoll.register(caller.fd, select.EPOLLOUT)
                made.value += 1
        for fd, _ in epoll.poll(0, max(1, len(calls))):
            if events := calls[fd].step():
                epoll.modify(fd, events)
            else:
                epoll.unregister(fd)
                calls.pop(fd).close()


def silent_tls(made: Any, port: int, source: str, most: int) -> None:
    """So many TLS clients that say nothing; who is closed comes again."""
    callers(made, port, source, most / 2, most, lambda: b"")


def slow_tls(made: Any, port: int, source: str, most: int) -> None:
    """So many clients that send a ClientHello a byte a second; who is closed comes again."""
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_tls().wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    hello = out.read()
    drips: dict[socket.socket, int] = {}
    for due in paced(float(most)):
        for _ in range(min(due, most - len(drips))):
            with contextlib.suppress(OSError):
                drips[dialled(port, source)] = 0
                made.value += 1
        for sock in list(drips)[:due]:
            at = drips.pop(sock)
            try:
                sock.send(hello[at : at + 1])
            except BlockingIOError:
                pass
            except OSError:
                sock.close()
                continue
            drips[sock] = at + 1


def garbage(made: Any, port: int, source: str, rate: float) -> None:
    """TLS clients that say what is no greeting."""
    callers(made, port, source, rate, 20_000, lambda: os.urandom(300))


def greetings(made: Any, port: int, source: str, rate: float, make: Callable[[], bytes]) -> None:
    """Clients that know the server's key, and greet as one whom it does not know."""
    ready = deque(make() for _ in range(int(rate * _AHEAD)))
    callers(made, port, source, rate, 2_000, lambda: ready.popleft() if ready else make())


def relay(made: Any, listener: socket.socket, port: int, source: str, way: float) -> None:
    """Carries each connection to the port, each byte `way` seconds later; like a line of that length, it takes three
    ways until the server has a connection and the client's first bytes. The process is the line: ending it cuts all.
    """
    import asyncio

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while part := await reader.read(1 << 16):
                loop.call_later(way, writer.write, part)
        loop.call_later(way, writer.close)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.value += 1
        await asyncio.sleep(3 * way)
        try:
            far = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump_now(reader, far[1]), pump(far[0], writer))

    async def pump_now(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The first bytes have waited already."""
        writer.write(await reader.read(1 << 16))
        await pump(reader, writer)

    async def serve() -> None:
        server = await asyncio.start_server(carry, sock=listener, backlog=256)
        await server.serve_forever()

    asyncio.run(serve())
