"""Pairs of `Link`s on loopback, both ends of one TLS connection, and threads whose failures are seen."""

from __future__ import annotations

import contextlib
import random
import select
import selectors
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from loopback import pem

from nitrosocks_lib.net.connect import Context, client_context, dial, server_context
from nitrosocks_lib.net.incoming import Incoming
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import wait

BOUND = 60.0  # seconds until a wait is given up
TLS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
each_version = pytest.mark.parametrize("version", TLS)


def accept(raw: socket.socket, context: Context) -> Link:
    """The server's side of TLS, waited for; raises as Incoming, and has closed the connection then."""
    incoming, end = Incoming(raw), now() + BOUND
    try:
        while not incoming.has_hello():
            assert wait({incoming.fd: select.POLLIN}, end - now()), "no ClientHello came"
        incoming.begin(context)
        while events := incoming.go_on():
            interest = select.POLLIN if events == selectors.EVENT_READ else select.POLLOUT
            assert wait({incoming.fd: interest}, end - now()), "TLS does not go on"
    except BaseException:
        incoming.close()
        raise
    return incoming.link()


class Pairs(contextlib.ExitStack):
    """Makes pairs of one TLS version; `buffer` bytes are asked for as the kernel's buffers, 0: as they are."""

    def __init__(self, version: str = "TLSv1.3", buffer: int = 0) -> None:
        super().__init__()
        self._server, self._client = server_context(*pem("server")), client_context(False)
        self._client.minimum_version = self._client.maximum_version = TLS[version]
        self.listener = self.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        if buffer:  # those that are accepted inherit it
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.port: int = self.listener.getsockname()[1]
        self._threads = self.enter_context(ThreadPoolExecutor(8))

    def make(self, via: int = 0) -> tuple[Link, Link]:
        """The client's end and the server's; `via` is the port of a proxy that leads here. Both are closed at exit."""
        near = self._threads.submit(self.dial, via or self.port)
        far = self.accept()
        self.callback(far.close)
        client = near.result(BOUND)
        self.callback(client.close)
        return client, far

    def dial(self, port: int = 0) -> Link:
        return dial(("127.0.0.1", port or self.port), self._client, socket.AF_INET, BOUND)

    def accept(self) -> Link:
        return accept(self.listener.accept()[0], self._server)

    def run(self, *calls: Callable[[], Any]) -> list[Any]:
        """Runs all of them at once, at most eight, each in a thread; their results."""
        return [future.result(BOUND) for future in [self._threads.submit(call) for call in calls]]


class Threads:
    """Threads that are joined at the end; the first thing that one of them raised is raised there."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, body: Callable[..., Any], *args: Any) -> threading.Thread:
        def run() -> None:
            try:
                body(*args)
            except BaseException as error:
                self._errors.append(error)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()
        return self._threads[-1]

    def join(self) -> None:
        for thread in self._threads:
            thread.join(BOUND)
            assert not thread.is_alive(), "a thread did not end"
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.join()


def send(link: Link, data: bytes, seed: int) -> None:
    """Everything, in pieces of random sizes."""
    source, view = random.Random(seed), memoryview(data)
    while view:
        size = source.choice((1, source.randrange(1, 300), source.randrange(1, 70_000)))
        link.write_all(bytes(view[:size]), now() + BOUND)
        view = view[size:]


def receive(link: Link, size: int, seed: int) -> bytes:
    """`size` bytes, read as the pair reads: into buffers of random sizes, and polling after a 0 only."""
    source, got = random.Random(seed), bytearray()
    while len(got) < size:
        room = memoryview(bytearray(min(size - len(got), source.choice((1 + source.randrange(200), 40_000)))))
        n = link.read_some(room, source.randrange(1, len(room) + 1))
        got += room[:n]
        if not n:
            assert wait({link.fd: link.read_wants}, BOUND), f"no more than {len(got)} of {size} bytes came"
    return bytes(got)


def exchange(pairs: Pairs, near: Link, far: Link, seed: int) -> None:
    """Both directions at once, each end with a reader and a writer of its own."""
    source = random.Random(seed)
    up, down = (source.randbytes(source.choice((1, 500, 20_000, source.randrange(50_000)))) for _ in "ud")
    got = pairs.run(
        lambda: send(near, up, seed),
        lambda: send(far, down, seed + 1),
        lambda: receive(far, len(up), seed + 2),
        lambda: receive(near, len(down), seed + 3),
    )
    assert got[2:] == [up, down], f"seed {seed}"


def fill(link: Link, data: bytes) -> int:
    """Writes until the kernel takes no more; how many bytes of `data` it took."""
    view, at = memoryview(data), 0
    while n := link.write_some(view[at : at + 65_536]):
        at += n
    assert 0 < at < len(data), "the kernel's buffers hold all of it"
    return at
