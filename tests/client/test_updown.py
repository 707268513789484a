"""One carrier http: what counts as an answer of ours, what a session hears of its progress, and how patient it is."""

from __future__ import annotations

import os

import pytest
from carrying import BOUND, FIRST, exchange, world
from links import receive, send

from nitrosocks_lib.client import updown as module
from nitrosocks_lib.client.exchange import Answered
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import What
from nitrosocks_lib.net.pipe import PipeLink

OURS = [(b"content-type", b"application/octet-stream")]
LETTERS = [(b"content-type", b"Application/Octet-Stream; charset=binary")]
PAGE = [(b"content-type", b"text/html")]
ZIPPED = [*OURS, (b"content-encoding", b"gzip")]


@pytest.mark.parametrize(
    ("what", "status", "headers", "body", "ours"),
    [
        (What.UP, 200, OURS, b"", True),
        (What.UP, 200, LETTERS, b"", True),
        (What.UP, 200, [], b"", True),
        (What.UP, 200, OURS, b"x", False),
        (What.UP, 200, PAGE, b"", False),
        (What.UP, 204, [], b"", False),
        (What.UP, 403, OURS, b"", False),
        (What.UP, 502, OURS, b"", False),
        (What.DOWN, 200, OURS, b"", True),
        (What.DOWN, 200, OURS, b"x", True),
        (What.DOWN, 200, LETTERS, b"x", True),
        (What.DOWN, 200, [], b"", True),
        (What.DOWN, 200, [], b"x", False),
        (What.DOWN, 200, PAGE, b"x", False),
        (What.DOWN, 200, ZIPPED, b"x", False),
        (What.DOWN, 204, [], b"", True),
        (What.DOWN, 206, OURS, b"x", False),
        (What.DOWN, 302, OURS, b"", False),
    ],
)
def test_what_counts_as_an_answer_of_ours(what, status, headers, body, ours) -> None:
    assert Answered(status, headers, b"", body).is_ours(what) is ours


def test_a_session_hears_what_has_left_and_what_has_arrived() -> None:
    with world() as here:
        link, carrier = here.begin()
        exchange(link, carrier, 1 << 20)
        for _ in range(10):  # the answers to all of it have come when a later one has
            exchange(link, carrier, 10)
        assert link.queued()[0] <= 10 * limits.UPS
        assert link.unacknowledged() <= 10 * limits.UPS
        assert 0 < link.queued()[2] < BOUND
        link.close()


def test_what_is_not_taken_counts_as_under_way() -> None:
    with world() as here:
        link = here.open()
        send(link, b"x" * 100, 1)  # no up 0 yet
        assert link.queued()[:2] == (100, 100)
        send(link, b"x" * (FIRST - 100), 1)
        here.server.carrier().wait(lambda: len(here.server.carrier().received) == FIRST)
        link.close()


def test_the_link_tells_where_it_leads() -> None:
    with world() as here:
        link = here.open()
        assert isinstance(link, PipeLink)
        assert link.remote() == "127.0.0.1"
        assert any(link.certificate_hash())
        link.close()


def test_patience_is_four_times_what_the_slowest_of_a_minute_took() -> None:
    carrier = module.HttpCarrier.__new__(module.HttpCarrier)
    carrier._took = []
    assert carrier._patience(100.0) == limits.UP_ANSWER
    carrier._took = [(50.0, 10.0), (90.0, 2.0)]
    assert carrier._patience(100.0) == 40.0
    assert carrier._patience(111.0) == 8.0
    carrier._took = [(90.0, 100.0)]
    assert carrier._patience(100.0) == limits.DOUBT_MOST


def test_keys_go_out_one_by_one() -> None:
    with world() as here:
        link, carrier = here.begin()
        for key in os.urandom(20):
            send(link, bytes([key]), 1)
            carrier.wait(lambda: len(carrier.received) == 1)
            carrier.received.clear()
            carrier.send(bytes([key]))
            assert receive(link, 1, 1) == bytes([key])
        assert carrier.sizes[1:] == [1] * 20
        link.close()


@pytest.mark.parametrize(("seconds", "size", "most"), [(0.0, 10, 1), (BOUND, 10, 2), (0.0, limits.LIVELY_BYTES, 1)])
def test_downs_under_way(seconds: float, size: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One where little moves, as with heartbeats; two where much does, or often."""
    monkeypatch.setattr(limits, "LIVELY", seconds)
    with world() as here:
        link, carrier = here.begin()
        for count in range(20):
            carrier.wait(lambda: carrier.parked > 0)
            carrier.send(bytes(size))
            receive(link, size, count)
            if count == 3:  # two are asked at the beginning
                carrier.most_parked = 0
        assert carrier.most_parked == most
        link.close()
