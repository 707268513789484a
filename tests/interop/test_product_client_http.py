"""The independent peer as the server of `forward` over the carrier `http`, and what a server must not do there."""

import collections
import contextlib
import hashlib
import os
import random
import threading
from collections.abc import Iterator

import pytest
from carrying_peers import HttpHost
from hosts import ends
from peer_http import DOWN, MOST, UP, Asked, Message
from peer_judge import PeerError, Server
from program import Site
from visits import BOUND, exactly, pour, rest, until_acked


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpHost]:
    """A client of the test's own."""
    with Site(tmp_path_factory.mktemp("alone")) as site, HttpHost(site) as host:
        host.forward()
        yield host


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpHost]:
    """The same, to be started by the test."""
    with Site(tmp_path_factory.mktemp("host")) as site, HttpHost(site) as host:
        yield host


def bulk(host: HttpHost, size: int) -> Server:
    """So many bytes each way through a stream of its own; check sums are equal."""
    server, number, app = host.opened()
    up, down = random.randbytes(size), random.randbytes(size)
    got: list[bytes] = []
    threads = [
        threading.Thread(target=app.sendall, args=(up,), daemon=True),
        threading.Thread(target=lambda: got.append(exactly(app, size)), daemon=True),
    ]
    for thread in threads:
        thread.start()
    pour(server, number, down)
    came = server.gather(number, size)
    for thread in threads:
        thread.join(BOUND)
    assert hashlib.sha256(came).digest() == hashlib.sha256(up).digest()
    assert hashlib.sha256(got[0]).digest() == hashlib.sha256(down).digest()
    ends(server, number, app)
    return server


def is_as_the_page_says(host: HttpHost) -> None:
    """What `requests` says of all that the client asked: HP1, HP3, HP6, TK3."""
    requests = host.requests()
    targets = [said.line[1] for _, said in requests]
    first: dict[Asked, bytes] = {}
    for asked, said in requests:
        assert said.all("content-type") == ["application/octet-stream"] and said.all("cache-control") == ["no-store"]
        assert len(said.all("content-length")) == 1 and not said.all("transfer-encoding") and len(said.body) <= MOST
        assert not said.body or asked.what == UP
        assert first.setdefault(asked, said.body) == said.body
    assert len({*targets}) == len(first), "a token is told by what it says, and the hour"
    for carrier in {asked.id for asked, _ in requests}:
        in_order(host, carrier)


def in_order(host: HttpHost, carrier: bytes) -> None:
    """Each n when 0 … n − 4 are answered, each m when 0 … m − 2 are; by what the server had written by then."""
    answered: dict[int, set[int]] = collections.defaultdict(set)
    with host.http.changed:
        log = [(asked, said) for asked, said in host.http.log if asked and asked.id == carrier]
    for asked, said in log:
        if said.line[0] == "POST":
            wide = 4 if asked.what == UP else 2
            assert {*range(asked.n - wide + 1)} <= answered[asked.what], asked
        else:
            answered[asked.what].add(asked.n)


# A session


@pytest.mark.parametrize("encrypt_type", [1, 2])
def test_bytes_both_ways(tmp_path_factory: pytest.TempPathFactory, encrypt_type: int) -> None:
    with Site(tmp_path_factory.mktemp("bulk")) as site, HttpHost(site, encrypt_type=encrypt_type) as host:
        host.forward()
        bulk(host, 3_000_000)
        is_as_the_page_says(host)


def test_each_direction_ends_by_itself(alone: HttpHost) -> None:
    server, number, app = alone.opened()
    server.end(number)
    assert rest(app) == b""
    app.sendall(b"late")
    assert server.gather(number, 4) == b"late"
    app.close()
    server.closed(number)
    assert server.streams[number].last == (b"", b"")


def test_refreshes_amid_data(alone: HttpHost) -> None:
    server, number, app = alone.opened()
    for _ in range(3):
        epoch = server.epoch
        server.refresh()
        up, down = os.urandom(40_000), os.urandom(40_000)
        app.sendall(up)
        pour(server, number, down)
        assert exactly(app, 40_000) == down and server.gather(number, 40_000) == up
        server.read(lambda before=epoch: server.epoch == before + 1)
    ends(server, number, app)


def lost(host: HttpHost, server: Server) -> Server:
    """The carrier is gone, and the client comes back."""
    server.sock.drop()
    again = host.accept()
    assert again.session_id == server.session_id and again.sock.id != server.sock.id
    return again


def test_carriers_are_dropped_and_the_session_goes_on(alone: HttpHost) -> None:
    server, number, app = alone.opened()
    ups = downs = b""
    for lose in (False, True, False):
        ups, downs = ups + (up := os.urandom(40_000)), downs + (down := os.urandom(40_000))
        app.sendall(up)
        if lose:
            server.lose()
        pour(server, number, down)
        server = lost(alone, server)
    assert exactly(app, len(downs)) == downs and server.gather(number, len(ups)) == ups
    assert server.j == 3 and server.unrestated == {}
    ends(server, number, app)


def test_the_release(alone: HttpHost) -> None:
    server = bulk(alone, 1000)
    until_acked(server)
    assert alone.process is not None
    alone.process.signal()
    server.read(lambda: server.over)
    server.sock.close()
    assert alone.process.wait() == 0
    is_as_the_page_says(alone)


def test_204_ends_the_carrier(alone: HttpHost) -> None:
    """And the session is resumed."""
    server, number, app = alone.opened()
    server.sock.close()
    again = alone.accept()
    assert again.session_id == server.session_id
    ends(again, number, app)


# What a server may do, and what it must not


def test_cookies_are_given_back(host: HttpHost) -> None:
    host.http.cookie = "node=n1"
    host.forward()
    host.http.cookie = "node=n2"
    bulk(host, 100_000)
    cookies = [said.all("cookie") for _, said in host.requests()]
    assert cookies[0] == [] and cookies[-1] == ["node=n2"] and ["node=n1"] in cookies


@pytest.mark.parametrize("what", [UP, DOWN])
def test_answers_in_another_order(host: HttpHost, what: int) -> None:
    """The answer of an even number is written when that of the next one is, unless there is no next one in time."""
    http = host.http

    def answered(asked: Asked) -> bool:
        return any(a == asked and said.line[0] != "POST" for a, said in http.log)

    def hold(asked: Asked | None, message: Message) -> None:
        if asked and asked.what == what and asked.n and asked.n % 2 == 0:
            with http.changed:
                http.changed.wait_for(lambda: answered(asked._replace(n=asked.n + 1)), 0.1)

    http.hold = hold
    host.forward()
    bulk(host, 1_000_000)
    order = [asked.n for asked, said in http.log if asked and asked.what == what and said.line[0] != "POST"]
    assert order != sorted(order)
    is_as_the_page_says(host)


ANSWERS = {
    "a page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello",
    "403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "502": b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/octet-stream\r\nContent-Length: 1\r\n\r\nx",
    "302": b"HTTP/1.1 302 Found\r\nLocation: https://portal.example/\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"220 smtp.example ESMTP\r\n\r\n\r\n",
    "a cut": b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 50\r\n\r\nhe",
}


class Spoils:
    """Gives a wrong answer to the first `times` of each request of a kind, of the first carrier that comes."""

    def __init__(self, what: int, answer: bytes, times: int) -> None:
        self.what, self.answer, self.times, self.id = what, answer, times, b""
        self.counts: collections.Counter[Asked] = collections.Counter()

    def __call__(self, asked: Asked | None, message: Message) -> bytes | None:
        self.id = self.id or (asked.id if asked else b"")
        if asked is None or asked.what != self.what or asked.id != self.id:
            return None
        self.counts[asked] += 1
        if self.counts[asked] > self.times:
            return None
        if b"Content-Length: 50" in self.answer:
            raise ConnectionError
        return self.answer


@pytest.mark.parametrize("what", [UP, DOWN])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_request_that_fails_is_repeated_three_times(host: HttpHost, what: int, answer: str) -> None:
    host.http.spoil = spoils = Spoils(what, ANSWERS[answer], 3)
    server = host.forward()
    bulk(host, 10_000)
    assert {*spoils.counts.values()} <= {1, 2, 3, 4} and max(spoils.counts.values()) == 4
    assert server.sock.id == next(iter(spoils.counts)).id and len(host.http.carriers) == 1


@pytest.mark.parametrize("what", [UP, DOWN])
@pytest.mark.parametrize("answer", ["a page", "403", "502", "a cut"])
def test_then_the_carrier_is_lost(alone: HttpHost, what: int, answer: str) -> None:
    server, number, app = alone.opened()
    alone.http.spoil = spoils = Spoils(what, ANSWERS[answer], 4)
    app.sendall(b"up")
    server.data(number, b"down")
    again = alone.accept()
    assert again.session_id == server.session_id and max(spoils.counts.values()) == 4
    assert again.gather(number, 2) == b"up" and exactly(app, 4) == b"down"
    ends(again, number, app)


def test_413_makes_the_bodies_of_later_carriers_smaller(alone: HttpHost) -> None:
    """A 413 ends its carrier, and the next ones send at most half as much as was too much."""
    server, number, app = alone.opened()
    limit, losses = 5_000, dict[bytes, int]()

    def small(asked: Asked | None, message: Message) -> bytes | None:
        if asked is None or len(message.body) <= limit:
            return None
        losses.setdefault(asked.id, len(message.body))
        with contextlib.suppress(KeyError):  # it was up 0
            alone.http.carriers[asked.id].drop()
        return b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"

    alone.http.spoil = small
    data = random.randbytes(60_000)
    app.sendall(data)
    while len(server.streams[number].got) < len(data):
        with contextlib.suppress(PeerError):
            server.read(lambda now=server: len(now.streams[number].got) >= len(data))
            break
        with contextlib.suppress(PeerError):
            server = alone.accept()
    assert server.gather(number, len(data)) == data
    assert losses
    carriers = list(dict.fromkeys(asked.id for asked, _ in alone.requests()))
    for lost_id, size in losses.items():
        later = carriers[carriers.index(lost_id) + 1 :]
        sizes = [len(said.body) for asked, said in alone.requests() if asked.id in later]
        assert max(sizes) <= max(4096, size // 2)
    ends(server, number, app)


def chunked(body: bytes) -> bytes:
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    said = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + said


def test_chunked_answers_are_accepted(host: HttpHost) -> None:
    """As a box between may make them."""
    http = host.http

    def spoil(asked: Asked | None, message: Message) -> bytes | None:
        if asked is None or asked.what != DOWN:
            return None
        answer = http.answer(asked, message)
        return chunked(answer.body) if answer.status == 200 else None

    http.spoil = spoil
    host.forward()
    bulk(host, 300_000)
