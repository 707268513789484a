"""A link in TLS over another link: everything that a link promises, and the ends of both."""

from __future__ import annotations

import contextlib
import os
import random
import select
import ssl
import threading
from collections.abc import Iterator

import pytest
from links import BOUND, TLS, Pairs, Threads, fill, receive
from loopback import pem

from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.connect import client_context
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.nested import NestedLink
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import wait


class Far:
    """The server's end of the inner TLS, over the server's end of the outer one: OpenSSL's server on two buffers."""

    def __init__(self, below: Link, version: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pem("inner"))
        context.minimum_version = context.maximum_version = TLS[version]
        self.below, self.came, self.sealed = below, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.came, self.sealed, server_side=True)

    def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
                return self.flush()
            except ssl.SSLWantReadError:
                self.flush()
                self.came.write(self.below.read_first(now() + BOUND))

    def flush(self) -> None:
        self.below.write_all(self.sealed.read(), now() + BOUND)

    def write(self, data: bytes) -> None:
        self.tls.write(data)
        self.flush()

    def read(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            try:
                piece = self.tls.read(size - len(got))
                if not piece:
                    raise EOFError("close_notify")
                got += piece
            except ssl.SSLWantReadError:
                self.came.write(self.below.read_first(now() + BOUND))
        return got


@contextlib.contextmanager
def nested(version: str = "TLSv1.3", buffer: int = 0) -> Iterator[tuple[NestedLink, Far]]:
    with Pairs("TLSv1.3", buffer) as pairs:
        near, below = pairs.make()
        link, far = NestedLink(near, client_context(False), "server.example"), Far(below, version)
        pairs.run(lambda: link.handshake(now() + BOUND), far.handshake)
        yield link, far


each_version = pytest.mark.parametrize("version", TLS)


@each_version
def test_there_and_back(version: str) -> None:
    with nested(version) as (link, far):
        link.write_all(b"hello", now() + BOUND)
        assert far.read(5) == b"hello"
        far.write(b"world")
        assert link.read_exactly(5, now() + BOUND) == b"world"


@each_version
@pytest.mark.parametrize("buffer", [0, 4_096])
def test_both_directions_at_once(version: str, buffer: int) -> None:
    """Each side reads and writes in threads of their own."""
    size = 3 << 20
    up, down = os.urandom(size), os.urandom(size)
    with nested(version, buffer) as (link, far), Threads() as threads:
        got: dict[str, bytes] = {}
        lock = threading.Lock()

        def write_far() -> None:
            view = memoryview(down)
            while view:
                with lock:
                    far.tls.write(view[:30_000])
                    sealed = far.sealed.read()
                far.below.write_all(sealed, now() + BOUND)
                view = view[30_000:]

        def read_far() -> None:
            out = bytearray()
            while len(out) < size:
                sealed = far.below.read_first(now() + BOUND)
                with lock, contextlib.suppress(ssl.SSLWantReadError):
                    far.came.write(sealed)
                    while True:
                        out.extend(far.tls.read(1 << 16))
            got["up"] = bytes(out)

        threads.start(write_far)
        threads.start(read_far)
        threads.start(lambda: got.update(down=receive(link, size, 1)))
        send(link, up)
        threads.join()
        assert got == {"up": up, "down": down}


def send(link: Link, data: bytes) -> None:
    source, view = random.Random(2), memoryview(data)
    while view:
        size = source.choice((1, source.randrange(1, 300), source.randrange(1, 200_000)))
        link.write_all(bytes(view[:size]), now() + BOUND)
        view = view[size:]


def test_what_is_not_all_out_is_not_counted() -> None:
    data = os.urandom(8 << 20)
    with nested(buffer=4_096) as (link, far), Threads() as threads:
        sent = fill(link, data)
        assert sent % 65_536 == 0 and not link.write_some(memoryview(data)[sent:])
        assert link.write_wants == select.POLLOUT and link.unacknowledged() > 0
        threads.start(lambda: link.write_all(data[sent:], now() + BOUND))
        assert far.read(len(data)) == data


def test_a_read_takes_all_that_is_there_and_polls_before_the_next() -> None:
    with nested() as (link, far):
        room = memoryview(bytearray(100_000))
        assert link.read_some(room) == 0 and link.dry and link.read_wants == select.POLLIN
        far.write(bytes(50_000))
        got = 0
        while got < 50_000:
            assert wait({link.fd: link.read_wants}, BOUND)
            got += link.read_some(room[got:], 50_000 - got)
        assert got == 50_000


def test_what_it_knows_is_of_the_right_connection() -> None:
    with nested() as (link, far):
        der = ssl.PEM_cert_to_DER_cert(pem("inner")[0].read_text())
        assert link.certificate() == der, "the server's, and not the proxy's"
        assert link.remote() == "127.0.0.1" and link.silent() < BOUND
        assert link.queued()[:2] == (0, link.unacknowledged())
        assert link.fd == link._below.fd


def test_what_came_before_an_end_is_not_lost() -> None:
    with nested() as (link, far):
        far.write(b"last words")
        far.below.close(now() + 1.0)
        room, got = memoryview(bytearray(100)), 0
        with pytest.raises(NetworkError, match="ended"):
            for _ in range(100):
                got += link.read_some(room[got:], 100 - got)
                assert wait({link.fd: link.read_wants}, BOUND)
        assert room[:got] == b"last words"


def test_what_came_with_an_end_is_not_lost() -> None:
    with nested() as (link, far):
        far.tls.write(b"last words")
        with contextlib.suppress(ssl.SSLWantReadError):
            far.tls.unwrap()
        far.flush()
        room, got = memoryview(bytearray(100)), 0
        while got < 10:  # a read that wants more than comes
            assert wait({link.fd: link.read_wants}, BOUND)
            got += link.read_some(room[got:], 100 - got)
        assert room[:got] == b"last words"
        with pytest.raises(NetworkError, match="the connection ended"):
            link.read_exactly(1, now() + BOUND)
        far.below.close()


def test_an_end_of_the_inner_tls_is_an_end() -> None:
    with nested() as (link, far):
        with contextlib.suppress(ssl.SSLWantReadError):
            far.tls.unwrap()
        far.flush()
        with pytest.raises(NetworkError, match="the connection ended"):
            link.read_first(now() + BOUND)


def test_bytes_that_were_changed_break_it() -> None:
    with nested() as (link, far):
        far.below.write_all(b"\x17\x03\x03\x00\x20" + bytes(32), now() + BOUND)
        with pytest.raises(NetworkError, match="the connection broke: .*(MAC|DECRYPT)"):
            link.read_first(now() + BOUND)
        with pytest.raises(NetworkError):
            link.write_all(bytes(100), now() + BOUND)
            link.read_first(now() + BOUND)


def test_it_says_goodbye_in_both() -> None:
    with nested() as (link, far), Threads() as threads:
        link.write_all(b"bye", now() + BOUND)
        threads.start(lambda: link.close(now() + 2.0))
        assert far.read(3) == b"bye"
        with pytest.raises(EOFError, match="close_notify"):
            far.read(1)
        with pytest.raises(NetworkError, match="ended"):
            far.below.read_first(now() + BOUND)
        far.below.close()


def test_say_goodbye_leaves_it_to_be_closed() -> None:
    with nested() as (link, far):
        far.below.abort()
        link.say_goodbye()
        link.close()
        link.break_off()


@pytest.mark.parametrize("end", ["abort", "break_off"])
def test_another_thread_ends_it(end: str) -> None:
    with nested() as (link, _), Threads() as threads:

        def reads() -> None:
            with pytest.raises(NetworkError):
                link.read_exactly(1, now() + BOUND)

        threads.start(reads)
        getattr(link, end)()


def test_a_handshake_that_is_not_answered() -> None:
    with Pairs() as pairs:
        near, _ = pairs.make()
        link = NestedLink(near, client_context(False), "server.example")
        with pytest.raises(NetworkError, match="no answer in time"):
            link.handshake(now() + 0.05)


def test_a_handshake_that_fails() -> None:
    with Pairs() as pairs, Threads() as threads:
        near, far = pairs.make()
        link = NestedLink(near, client_context(False), "server.example")

        def answers() -> None:
            far.read_first(now() + BOUND)
            far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n", now() + BOUND)

        threads.start(answers)
        with pytest.raises(ssl.SSLError):
            link.handshake(now() + BOUND)


def test_many_short_ones() -> None:
    """Two threads at once on each; what two threads inside OpenSSL would break breaks soon."""
    for seed in range(30):
        with nested() as (link, far), Threads() as threads:
            threads.start(lambda link=link: send(link, bytes(20_000)))
            far.write(bytes(10_000))
            assert receive(link, 10_000, seed) == bytes(10_000)
            assert far.read(20_000) == bytes(20_000)
