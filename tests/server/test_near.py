"""Near: what a visitor gets, how that ends, and what becomes of what it sends too late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from links import BOUND, Pairs

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import ConnectionEnded
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.tls import TlsLink
from nitrosocks_lib.server.near import Near


@pytest.fixture
def pair() -> Iterator[tuple[Link, Near]]:
    """The visitor, and its end here."""
    with Pairs() as pairs:
        visitor, link = pairs.make()
        assert isinstance(link, TlsLink)
        yield visitor, Near(link)


def end_of(visitor: Link) -> ConnectionEnded:
    with pytest.raises(ConnectionEnded) as ended:
        visitor.read_exactly(1, now() + BOUND)
    return ended.value


def test_bytes_are_sent_in_order(pair: tuple[Link, Near]) -> None:
    visitor, near = pair
    near.send(b"hel")
    near.send(b"lo")
    assert near.waits and near.tell() and not near.waits
    assert visitor.read_exactly(5, now() + BOUND) == b"hello"
    assert not near.tell() and not near.ends


@pytest.mark.parametrize("notify", [True, False])
def test_it_ends_behind_what_is_to_be_sent(notify: bool, pair: tuple[Link, Near]) -> None:
    visitor, near = pair
    near.send(b"last")
    near.end(notify)
    near.end(not notify)  # the first one counts
    while not near.finished:
        near.tell()
    assert visitor.read_exactly(4, now() + BOUND) == b"last"
    assert end_of(visitor).notified is notify


def test_what_is_late_is_thrown_away(pair: tuple[Link, Near]) -> None:
    visitor, near = pair
    near.end(notify=True)
    near.tell()
    assert near.over(None) is None and near.next_at > now()
    visitor.write_all(b"late", now() + BOUND)
    while near.link.swallow() is False:
        pass
    visitor.abort()
    while not near.swallow(None):
        pass


def test_it_is_over_in_the_end(pair: tuple[Link, Near], monkeypatch: pytest.MonkeyPatch) -> None:
    _, near = pair
    monkeypatch.setattr(limits, "HELD_OPEN", 0.0)
    near.end(notify=False)
    near.tell()
    assert near.over(None) is False


def test_a_bound_is_told(pair: tuple[Link, Near]) -> None:
    _, near = pair
    near.send(bytes(limits.RELAYED))
    assert near.full
