"""Stranger: its first message is read as it comes, by a thread that waits for none, and handed over whole."""

from __future__ import annotations

import os
import time

import pytest
from links import BOUND, Pairs
from loopback import dial_tcp
from world import SERVER_KEY

from nitrosocks_lib.crypto.identity import ClientKey
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import NetworkError, NotOurs
from nitrosocks_lib.facts.wire import EncryptType
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.overlong import Overlong
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import wait
from nitrosocks_lib.protocol import greet
from nitrosocks_lib.protocol.greet import Credentials
from nitrosocks_lib.protocol.handshake import Terms
from nitrosocks_lib.protocol.nonces import Nonces
from nitrosocks_lib.server.admission import Rank
from nitrosocks_lib.server.stranger import Stranger

HOUR = int(time.time()) // 3600


def credentials() -> Credentials:
    return Credentials(SERVER_KEY.public, ClientKey(os.urandom(32)), bytes(32))


def greeting() -> bytes:
    said = next(greet.greet(credentials(), HOUR, limits.WINDOW, os.urandom))
    assert isinstance(said, bytes)
    return said


def resume() -> bytes:
    terms = Terms(EncryptType.AES_256_GCM, bytes(16), bytes(32), limits.WINDOW, 120, 20)
    said = next(greet.resume(credentials(), terms, 1, 0, HOUR, os.urandom))
    assert isinstance(said, bytes)
    return said


@pytest.fixture
def pair():
    """A client's link, the server's, and a stranger to read from the latter."""
    with Pairs() as pairs:
        near, far = pairs.make()
        raw = dial_tcp(pairs.port)
        stranger = Stranger(raw, ("192.0.2.7", 4711))
        stranger.link = far
        yield near, far, stranger
        stranger.incoming.close()


def read(stranger: Stranger, link: Link, nonces: Nonces | None = None) -> bool:
    """What comes next is read, once it is there."""
    assert wait({link.fd: 1}, BOUND)
    return stranger.read(link, SERVER_KEY, nonces or Nonces(bytes(16)), Overlong())


def read_all(stranger: Stranger, link: Link) -> None:
    while not read(stranger, link):
        pass


@pytest.mark.parametrize(("message", "kind"), [(greeting, wire.KIND_GREETING), (resume, wire.KIND_RESUME)])
def test_a_message_is_handed_over_whole(message, kind: int, pair) -> None:
    near, far, stranger = pair
    said = message() + b"and more"
    near.write_all(said, now() + BOUND)
    read_all(stranger, far)
    arrival = stranger.hand_over(lambda rank, client: None, lambda: None)
    assert arrival.hello.kind == kind and arrival.peer == ("192.0.2.7", 4711)
    assert arrival.talk._read(arrival.hello.rest) == said[wire.KNOCK + wire.HELLO :][: arrival.hello.rest]
    assert arrival.hello.rest == len(said) - len(b"and more") - wire.KNOCK - wire.HELLO
    assert stranger.hello is None and not stranger._got, "nothing of it stays"


def test_parts_are_waited_for(pair) -> None:
    near, far, stranger = pair
    said = greeting()
    ends = [wire.KNOCK, wire.KNOCK + 1, wire.KNOCK + wire.HELLO - 1, wire.KNOCK + wire.HELLO, len(said) - 1, len(said)]
    for begin, end in zip([0, *ends], ends, strict=False):
        near.write_all(said[begin:end], now() + BOUND)
        while (whole := read(stranger, far)) is False and wait({far.fd: 1}, 0.01):
            pass
        assert (stranger.hello is not None) == (end >= wire.KNOCK + wire.HELLO)
        assert whole == (end == len(said))


def test_nothing_there_is_no_end(pair) -> None:
    _, far, stranger = pair
    assert not stranger.read(far, SERVER_KEY, Nonces(bytes(16)), Overlong()) and stranger.hello is None


@pytest.mark.parametrize("said", [b"x", bytes(40), b"GET / HTTP/1.1\r\n\r\n", b"\x16" * 5000])
def test_the_first_read_decides(said: bytes, pair) -> None:
    near, far, stranger = pair
    near.write_all(said, now() + BOUND)
    with pytest.raises(NotOurs):
        read_all(stranger, far)


def test_who_hangs_up_has_ended(pair) -> None:
    near, far, stranger = pair
    near.write_all(greeting()[:100], now() + BOUND)
    near.close(now() + 0.1)
    with pytest.raises(NetworkError, match="the connection"):
        read_all(stranger, far)


def test_where_it_comes_from(pair) -> None:
    stranger = pair[2]
    assert str(stranger) == "192.0.2.7:4711" and stranger.source == bytes([192, 0, 2])
    assert stranger.rank is None and Rank.SILENT < Rank.TLS
