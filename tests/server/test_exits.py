"""Exits: whoever is not ours goes where it belongs, and only who really is silent is shown to the decoy."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from links import BOUND, Pairs
from loopback import unused_port
from ready import readable

from nitrosocks_lib.facts import limits
from nitrosocks_lib.net import pipe
from nitrosocks_lib.net.pipe import Progress
from nitrosocks_lib.net.race import find
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.tls import TlsLink
from nitrosocks_lib.protocol.nonces import Carried
from nitrosocks_lib.server.admission import Rank
from nitrosocks_lib.server.decoy import Decoy, Site
from nitrosocks_lib.server.exits import Exits
from nitrosocks_lib.server.stranger import Stranger
from nitrosocks_lib.server.tarpit import Tarpit
from nitrosocks_lib.server.visitor import Visitor

PEER = "192.0.2.7", 4711


class Web:
    """With a decoy, or without."""

    def __init__(self, decoy: object, ours: bool = False, most: int = 9) -> None:
        self.decoy, self.ours, self.most, self.door = decoy, ours, most, self
        self.taken: list[Visitor] = []

    def wants(self, got: bytes) -> bool:
        return self.decoy is not None or (bool(got) and self.ours)

    def can_begin(self, got: bytes) -> bool:
        return got.startswith(b"P")

    def take(self, visitor: Visitor) -> None:
        self.taken.append(visitor)


class Kept(Tarpit):
    """Keeps them, and has no thread."""

    def __init__(self) -> None:
        super().__init__(30)
        self.kept: list[object] = []

    def add(self, accepted: float, link: object) -> None:
        self.kept.append(link)


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    with Pairs() as made:
        yield made


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where the decoy is."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def decoy_at(listener: socket.socket) -> Decoy:
    made = Decoy(Site(*listener.getsockname()))
    made._places = find(*listener.getsockname())
    return made


def is_waiting(listener: socket.socket) -> bool:
    """Whether somebody is to be accepted."""
    return readable(listener)


def stranger(pairs: Pairs, got: bytes = b"") -> Stranger:
    _, link = pairs.make()
    assert isinstance(link, TlsLink)
    made = Stranger.over(link, PEER, b"net", now(), got)
    made.rank = Rank.UNPROVEN
    return made


@pytest.mark.parametrize(
    ("web", "got", "to"),
    [
        (None, b"GET", "tarpit"),
        (Web(None), b"GET", "tarpit"),
        (Web(None, ours=True), b"POST", "web"),
        (Web(None, ours=True), b"", "tarpit"),
        (Web("decoy"), b"\x80", "web"),
        (Web("decoy"), b"", "web"),
    ],
)
def test_where_one_goes(web: Web | None, got: bytes, to: str, pairs: Pairs) -> None:
    tarpit, each = Kept(), stranger(pairs, got)
    Exits(tarpit, web).see_off(each, broken=False)
    assert tarpit.kept == ([each.link] if to == "tarpit" else [])
    assert [visitor.got for visitor in (web.taken if web else [])] == ([got] if to == "web" else [])


def test_one_that_broke_is_closed_where_a_web_server_would(pairs: Pairs) -> None:
    tarpit, web, each = Kept(), Web("decoy"), stranger(pairs)
    Exits(tarpit, web).see_off(each, broken=True)
    assert not tarpit.kept and not web.taken and each.link._sock.fileno() == -1


def test_what_came_in_a_pipe_is_closed(pairs: Pairs) -> None:
    link, far = pipe.pair(Progress())
    each = Stranger.over(link, PEER, b"net", now()).by("http", Carried(bytes(10), 0))
    Exits(Kept(), Web("decoy")).see_off(each, broken=False)
    assert far.recv(1) == b""
    far.close()


def test_who_is_silent_is_shown_after_a_while(pairs: Pairs) -> None:
    exits, each = Exits(Kept(), Web("decoy")), stranger(pairs)
    exits.waits(each)
    assert exits.next_at is not None and exits.quiet(now()) == []
    assert exits.quiet(now() + limits.QUIET) == [each] and exits.next_at is None


@pytest.mark.parametrize("change", ["said", "handed", "left", "carried"])
def test_who_has_gone_on_is_not_shown(change: str, pairs: Pairs) -> None:
    """A session that runs would be taken by two threads."""
    exits, each = Exits(Kept(), Web("decoy")), stranger(pairs)
    exits.waits(each)
    if change == "said":
        each.read_before = b"x"
    elif change == "handed":
        each.handed = True
    elif change == "left":
        each.rank = None
    else:
        each.carrier = "websocket"
    assert exits.quiet(now() + limits.QUIET) == []


def test_without_a_decoy_nobody_is_shown(pairs: Pairs) -> None:
    exits, each = Exits(Kept(), Web(None)), stranger(pairs)
    exits.waits(each)
    assert exits.next_at is None


def test_a_connection_to_the_decoy_begins_with_tls_and_goes_with_the_visitor(
    pairs: Pairs, listener: socket.socket
) -> None:
    web, each = Web(decoy_at(listener)), stranger(pairs)
    exits = Exits(Kept(), web)
    exits.begins(each)
    exits.begins(each)  # it has one
    with listener.accept()[0] as far:
        exits.see_off(each, broken=False)
        (visitor,) = web.taken
        assert visitor.ahead is not None and len(web.taken) == 1 and not is_waiting(listener)
        visitor.ahead.push(b"x")
        visitor.ahead.move(now())
        assert far.recv(1) == b"x"
        visitor.ahead.close()


@pytest.mark.parametrize("got", [b"GET / HTTP/1.1\r\n\r\n", b"POST /to", b"GET / HTTP/1.1\r\n\r\nPOST"])
def test_the_decoy_gets_at_once_what_is_its_own_in_any_case(got: bytes, pairs: Pairs, listener: socket.socket) -> None:
    web, each = Web(decoy_at(listener)), stranger(pairs, got)
    exits = Exits(Kept(), web)
    exits.begins(each)
    with listener.accept()[0] as far:
        exits.see_off(each, broken=False)
        (visitor,) = web.taken
        assert visitor.got == got and visitor.told is (b"POST" not in got)
        assert visitor.ahead is not None
        visitor.ahead.close()
        assert far.recv(100) == (got if visitor.told else b"")


@pytest.mark.parametrize("how", ["spared", "broken"])
def test_it_is_closed_where_the_decoy_serves_nobody(how: str, pairs: Pairs, listener: socket.socket) -> None:
    exits, each = Exits(Kept(), Web(decoy_at(listener))), stranger(pairs)
    exits.begins(each)
    with listener.accept()[0] as far:
        if how == "spared":
            exits.spare(each)
        else:
            exits.see_off(each, broken=True)
        assert far.recv(1) == b""


def test_there_are_not_more_of_them_than_a_bound(pairs: Pairs, listener: socket.socket) -> None:
    web = Web(decoy_at(listener), most=2)
    exits, some = Exits(Kept(), web), [stranger(pairs) for _ in range(3)]
    for each in some:
        exits.begins(each)
    with listener.accept()[0] as first, listener.accept()[0], listener.accept()[0]:
        assert first.recv(1) == b""
        for each in some:
            exits.see_off(each, broken=False)
        aheads = [visitor.ahead for visitor in web.taken]
        assert [ahead is not None for ahead in aheads] == [False, True, True]
        for ahead in filter(None, aheads):
            ahead.close()


def test_a_decoy_that_refuses_is_tried_again_when_there_is_something_for_it(pairs: Pairs) -> None:
    decoy = Decoy(Site("127.0.0.1", port := unused_port()))
    decoy._places = find("127.0.0.1", port)
    web, each = Web(decoy), stranger(pairs)
    exits = Exits(Kept(), web)
    exits.begins(each)
    exits.see_off(each, broken=False)
    assert [visitor.ahead for visitor in web.taken] == [None]


def test_what_came_together_goes_on_together(pairs: Pairs, listener: socket.socket) -> None:
    """A web server sees whether a request came with another one."""
    visitor, link = pairs.make()
    assert isinstance(link, TlsLink) and not link.has_more()
    web, each = Web(decoy_at(listener)), Stranger.over(link, PEER, b"net", now(), b"GET / HTTP/1.1\r\n\r\n")
    exits = Exits(Kept(), web)
    exits.begins(each)
    visitor.write_all(b"GET /more", now() + BOUND)
    while not link.has_more():
        pass
    exits.see_off(each, broken=False)
    (taken,) = web.taken
    assert taken.ahead is not None and not taken.told
    taken.ahead.close()
