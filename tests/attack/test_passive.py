"""A passive reader finds no simple rule that tells our HTTP from a site's, but those that the protocol causes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest
from passively import (
    AVOIDABLE,
    FEW,
    KNOWN,
    Listener,
    Message,
    Seen,
    answers_differ,
    date_is_wrong,
    heads_have_one_size,
    no_referer_twice,
    one_referer,
    polls_take_one_time,
    requests_differ,
)
from pools import begun
from world import World, echo

from nitrosocks_lib.client.carriers import Carriers
from nitrosocks_lib.client.dialler import Dialler
from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Carrier
from nitrosocks_lib.net.connect import Route

POLLS = 2 * FEW
POURED = bytes(300_000)


def heard(kind: str) -> Seen:
    """A session over that carrier: keys, then much at once, then nothing for some polls."""
    with World() as world, Listener(("127.0.0.1", world.port), *world.files) as box:
        offered = Carriers((Carrier(kind),))
        pool = Pool(Dialler(world.credentials(), (("127.0.0.1", box.port),), Route(), limits.WINDOW, offered), 1, None)
        world.callback(pool.close, 5.0)
        opened = begun(pool, world.target(echo))
        for _ in range(20):
            opened.near.sendall(b"k")
            assert opened.near.recv(1) == b"k"
        assert opened.ask(POURED) == POURED
        return box.wait(lambda seen: kind == "websocket" or len(seen.polls) >= POLLS)


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Seen]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "PARKED", 0.3)
        yield {kind: heard(kind) for kind in ("http", "websocket")}


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_no_rule_holds_that_can_be_avoided(kind: str, seen: dict[str, Seen]) -> None:
    assert len(seen[kind].requests) >= (50 if kind == "http" else 1)
    assert sum(map(len, seen[kind].messages)) > 2 * len(POURED) or kind == "http"
    held = {rule.__name__: figure for rule in AVOIDABLE[kind] for holds, figure in [rule(seen[kind])] if holds}
    assert held == {}


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_what_is_known_is_so(kind: str, seen: dict[str, Seen]) -> None:
    """Those that depend on what is done, beside: whether somebody types."""
    held = {rule.__name__ for rule in KNOWN[kind] if rule(seen[kind])[0]}
    assert {rule.__name__ for rule, clause in KNOWN[kind].items() if clause not in ("8.12", "HP5")} <= held


# Each rule does hold where it should.


def changed(old: bytes, new: bytes) -> Callable[[Message], Message]:
    return lambda said: dataclasses.replace(said, head=said.head.replace(old, new))


REFERERS = iter(range(10**6))


def elsewhere(said: Message) -> Message:
    """From a page of its own."""
    return changed(b"/?", b"/%d/?" % next(REFERERS))(said)


def alike(said: Message) -> Message:
    """Without what varies."""
    length = said.value("Content-Length").encode()
    page = said.value("Referer").encode()
    return changed(page, b"https://x/")(changed(b"Content-Length: " + length, b"Content-Length: 0")(said))


def swapped(said: Message) -> Message:
    """In another order."""
    mode, dest = b"Sec-Fetch-Mode: cors\r\n", b"Sec-Fetch-Dest: empty\r\n"
    return changed(mode + dest, dest + mode)(said)


ASKED = [
    (requests_differ, changed(b"Accept: */*\r\n", b"")),
    (requests_differ, changed(b"Accept: */*\r\n", b"Accept: */*\r\nX: y\r\n")),
    (requests_differ, changed(b"\r\nConnection: keep-alive", b"\r\nConnection: close")),
    (requests_differ, swapped),
    (heads_have_one_size, alike),
    (one_referer, alike),
    (no_referer_twice, elsewhere),
]  # fmt: skip
ANSWERED = [
    (answers_differ, changed(b"Server: nginx\r\n", b"")),
    (answers_differ, changed(b"Cache-Control: no-store", b"Cache-Control: private")),
    (date_is_wrong, changed(b" 20", b" 19")),
    (date_is_wrong, changed(b"Date: ", b"Dated: ")),
]


@pytest.mark.parametrize(("rule", "spoil"), ASKED)
def test_a_rule_about_requests_can_hold(rule, spoil, seen: dict[str, Seen]) -> None:
    spoilt = Seen([(spoil(asked), answer) for asked, answer in seen["http"].pairs])
    assert rule(spoilt)[0] and not rule(seen["http"])[0]


@pytest.mark.parametrize(("rule", "spoil"), ANSWERED)
def test_a_rule_about_answers_can_hold(rule, spoil, seen: dict[str, Seen]) -> None:
    spoilt = Seen([(asked, answer and spoil(answer)) for asked, answer in seen["http"].pairs])
    assert rule(spoilt)[0] and not rule(seen["http"])[0]


def test_polls_of_one_time_are_seen(seen: dict[str, Seen]) -> None:
    pairs = seen["http"].pairs
    spoilt = Seen([(asked, answer and dataclasses.replace(answer, at=asked.at + 20.0)) for asked, answer in pairs])
    assert polls_take_one_time(spoilt)[0]
