"""Exits: whoever is not ours goes where it belongs, and only who really is silent is shown to the decoy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from links import Pairs

from nitrosocks_lib.facts import limits
from nitrosocks_lib.net import pipe
from nitrosocks_lib.net.pipe import Progress
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.tls import TlsLink
from nitrosocks_lib.protocol.nonces import Carried
from nitrosocks_lib.server.admission import Rank
from nitrosocks_lib.server.exits import Exits
from nitrosocks_lib.server.stranger import Stranger
from nitrosocks_lib.server.tarpit import Tarpit
from nitrosocks_lib.server.visitor import Visitor

PEER = "192.0.2.7", 4711


class Web:
    """With a decoy, or without."""

    def __init__(self, decoy: object, ours: bool = False) -> None:
        self.decoy, self.ours = decoy, ours
        self.taken: list[Visitor] = []

    def wants(self, got: bytes) -> bool:
        return self.decoy is not None or (bool(got) and self.ours)

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
