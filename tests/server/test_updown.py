"""UpRequest and DownRequest: each asks its carrier, and answers on its own connection."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.downs import Answer
from nitrosocks_lib.protocol.http1 import Head
from nitrosocks_lib.protocol.judge import Piece
from nitrosocks_lib.protocol.ups import Up
from nitrosocks_lib.server.updown import DownRequest, UpRequest


@dataclass
class Visit:
    """What its connection is told."""

    answers: list[tuple[bytes, bool]] = field(default_factory=list)
    sent: bytes = b""

    def send(self, data: bytes) -> None:
        self.sent += data

    def answer(self, data: bytes, close: bool = False) -> None:
        self.answers.append((data, close))


@dataclass
class Carrier:
    """What it is asked."""

    verdict: Up
    held: int = 0
    lives: bool = True
    takes: bool = True
    begin: set = field(default_factory=set)
    bodies: dict[int, bytes] = field(default_factory=dict)
    downs: list = field(default_factory=list)

    def begun(self, request: UpRequest) -> None:
        self.begin.add(request)

    def over(self, request: UpRequest) -> None:
        self.begin.discard(request)

    def judge(self, n: int, size: int) -> Up:
        return self.verdict

    def hold(self, size: int) -> None:
        self.held += size

    def put(self, n: int, body: bytearray) -> None:
        self.bodies[n] = bytes(body)

    def moved(self) -> None:
        """Nothing waits."""

    def said(self, given: Answer) -> bytes:
        return b"%d" % given.status

    def failure(self, status: int) -> bytes:
        return b"%d" % status

    def came(self, request: DownRequest) -> bool:
        return self.takes

    def asked(self, request: DownRequest, m: int) -> None:
        self.downs.append((request, m))

    def gone(self, request: DownRequest) -> None:
        self.downs.append((request, None))


def up(carrier: Carrier, expects: bool = False, length: int | None = 4) -> UpRequest:
    request = UpRequest(carrier, Visit(), 7, Head(b"POST", b"/", [], b"", length, expects, False, False))
    request.begin()
    return request


def test_a_body_is_put_and_answered_when_it_is_done() -> None:
    request = up(carrier := Carrier(Up.READ))
    assert request.reads and request in carrier.begin
    for piece in (b"bo", b"dy"):
        request.body(Piece(piece, piece))
    assert carrier.held == 4
    request.whole()
    assert carrier.bodies == {7: b"body"} and not request.visit.answers
    request.done()
    assert request.visit.answers == [(b"200", False)] and not carrier.begin


def test_a_repeated_body_is_read_and_not_put() -> None:
    request = up(carrier := Carrier(Up.REPEATED))
    request.body(Piece(b"body", b"body"))
    request.whole()
    assert request.is_whole and not carrier.bodies and not carrier.held


@pytest.mark.parametrize(("verdict", "status"), [(Up.REFUSED, b"403"), (Up.TOO_LARGE, b"413")])
def test_what_is_refused_ends_its_connection(verdict: Up, status: bytes) -> None:
    request = up(carrier := Carrier(verdict))
    assert request.visit.answers == [(status, True)] and not request.reads and not carrier.begin


def test_what_waits_is_judged_again() -> None:
    request = up(carrier := Carrier(Up.WAITS), expects=True)
    assert not request.reads and request.visit.sent == b""
    carrier.verdict = Up.READ
    request.judge()
    assert request.reads and request.visit.sent == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("verdict", [Up.READ, Up.REPEATED])
def test_chunks_are_bounded_too(verdict: Up) -> None:
    request = up(carrier := Carrier(verdict), length=None)
    request.body(Piece(bytes(limits.BODY), b""))
    request.body(Piece(b"x", b""))
    assert request.visit.answers == [(b"413", True)] and carrier.held == 0


def test_a_connection_that_ends_gives_back_what_was_held() -> None:
    request = up(carrier := Carrier(Up.READ))
    request.body(Piece(b"bo", b"bo"))
    request.gone()
    assert carrier.held == 0 and not carrier.begin and not request.visit.answers


def test_a_down_is_asked_when_it_is_whole() -> None:
    carrier = Carrier(Up.READ)
    request = DownRequest(carrier, Visit(), 3)
    request.begin()
    request.body(Piece(b"", b""))
    assert request.reads and not carrier.downs
    request.whole()
    request.gone()
    assert carrier.downs == [(request, 3), (request, None)]


def test_behind_the_end_only_whether_a_body_is_empty_counts() -> None:
    carrier = Carrier(Up.READ)
    request = up(carrier)
    request.body(Piece(b"bod", b"bod"))
    carrier.lives = False
    request.shorten()
    request.body(Piece(b"y", b"y"))
    assert carrier.held == 1
    request.whole()
    assert carrier.bodies == {7: b"b"}


def test_what_is_ambiguous_is_nobody_elses() -> None:
    carrier = Carrier(Up.READ)
    request = up(carrier)
    request.body(Piece(b"bo", b"bo"))
    request.broken(b"1\n")
    assert request.visit.answers == [(b"400", True)]
    assert not carrier.held and not carrier.begin
    down = DownRequest(carrier, Visit(), 3)
    down.broken(b"1\n")
    assert down.visit.answers == [(b"400", True)]


def test_downs_are_bounded() -> None:
    carrier = Carrier(Up.READ, takes=False)
    request = DownRequest(carrier, Visit(), 3)
    request.begin()
    assert request.visit.answers == [(b"403", True)] and not request.reads
    request = DownRequest(Carrier(Up.READ), Visit(), 3)
    request.begin()
    request.body(Piece(bytes(limits.BODY + 1), b""))
    assert request.visit.answers == [(b"413", True)] and not request.reads
