"""Dials: the order of OPENs, what is given up, bounds; and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dialling import BOUND, Session, busy

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.frames import Target

SHARE = limits.RESOLVERS // 2  # of the threads that look names up, of one client alone


@pytest.fixture
def session() -> Iterator[Session]:
    with Session() as made:
        yield made


# -- order ------------------------------------------------------------------------------------------------------------


def test_addresses_are_reached_in_the_order_of_their_opens(session: Session) -> None:
    numbers = range(1, 101, 2)
    for number in numbers:
        session.tcp(number, session.port)
    assert session.reached(*numbers) == list(numbers) == session.order


def test_names_are_reached_in_the_order_of_their_opens(session: Session) -> None:
    """While the name is looked up, what asks for it again joins."""
    for number in (1, 5, 9):
        session.tcp(number, session.port, "name.example")
    session.tcp(3, session.port)
    session.tcp(7, session.port, "other.example")
    assert session.order == [3] and len(session.names.begun(2)) == 2
    session.names.let_go("name.example")
    session.wait(1)
    session.tcp(11, session.port)
    session.names.let_go("other.example")
    session.wait(7)
    assert session.reached(*session.order) == session.order == [3, 1, 5, 9, 11, 7]
    assert sorted(session.names.begun(2)) == ["name.example", "other.example"] and session.idle()


def test_an_answer_that_nobody_took_yet_is_joined(session: Session) -> None:
    """Else a second look-up might overtake."""
    session.names.let_all_go()
    session.tcp(1, session.port, "name.example")
    assert session.waiter.wait({}, BOUND) == {} and session.waiter.pending
    session.tcp(3, session.port, "name.example")
    session.wait(1, 3)
    assert session.reached(1, 3) == [1, 3] and session.names.begun(1) == ["name.example"]


def test_a_unix_socket_that_is_busy_is_waited_for(session: Session, tmp_path: Path) -> None:
    """In order, also by who comes when there is room again."""
    with busy(session, tmp_path) as (path, listener):
        for number in (1, 3, 5):
            session.unix(number, path)
        session.turn()
        assert not session.decided and len(session.dials) == 3
        listener.accept()[0].close()
        session.unix(7, path)
        for number in (1, 3, 5, 7):
            session.wait(number)
            listener.accept()[0].close()
        assert session.order == [1, 3, 5, 7] and session.idle()


def test_a_unix_socket_that_stays_busy(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIAL_TARGET", 0.2)
    with busy(session, tmp_path) as (path, listener):
        for number in (1, 3):
            session.unix(number, path)
        for number in (1, 3):
            assert session.refusal(number) == (Reply.EXPIRED, f"{path}: no answer in time")
    assert session.idle()


# -- given up ---------------------------------------------------------------------------------------------------------


def test_a_dial_that_is_given_up(session: Session) -> None:
    session.tcp(1, session.dead)
    assert len(session.dials) == 1
    session.dials.stop(1)
    session.dials.stop(1)
    session.dials.fired(1, now())  # what the same wait told
    session.turn()
    assert session.idle() and not session.decided


def test_one_that_is_decided_and_not_taken(session: Session) -> None:
    session.dials.begin(1, Target(Kind.TCP, "127.0.0.1", session.port))
    session.dials.stop(1)
    with session.listener.accept()[0] as far:
        assert far.recv(1) == b"" and session.dials.take() == []


def test_a_look_up_that_is_given_up(session: Session) -> None:
    """One that waits is forgotten; one that runs counts until it ends, and is joined by who comes again."""
    for number in range(SHARE + 1):
        session.tcp(number, session.port, f"dead{number}.example")
    session.names.begun(SHARE)
    for number in range(SHARE + 1):
        session.dials.stop(number)
    assert session.dials.left == SHARE == len(session.reach.resolvers) and not len(session.dials)
    session.tcp(101, session.port, "dead1.example")
    assert session.dials.left == SHARE - 1 and len(session.dials) == 1
    session.names.let_all_go()
    session.wait(101)
    while session.dials.left:
        session.turn(None)
    assert session.order == [101] and session.idle()
    assert len(session.names.begun(1)) == SHARE


def test_one_of_those_that_joined(session: Session) -> None:
    for number in (1, 3, 5):
        session.tcp(number, session.port, "name.example")
    session.dials.stop(3)
    session.names.let_all_go()
    session.wait(1, 5)
    assert session.order == [1, 5] and session.idle()


def test_the_first_of_those_that_wait_for_a_unix_socket(session: Session, tmp_path: Path) -> None:
    with busy(session, tmp_path) as (path, listener):
        for number in (1, 3):
            session.unix(number, path)
        session.dials.stop(1)
        listener.accept()[0].close()
        session.wait(3)
        assert session.order == [3] and session.idle()


def test_close_gives_up_all(session: Session, tmp_path: Path) -> None:
    """And what a resolver thread still finds is for nobody."""
    with busy(session, tmp_path, "127.0.0.1:*") as (path, _):
        session.tcp(3, session.dead)
        session.unix(5, path)
        session.tcp(7, session.port, "name.example")
        session.names.begun(1)
        session.dials.begin(1, Target(Kind.TCP, "127.0.0.1", session.port))
        session.dials.close()
    assert session.dials.take() == []
    assert len(session.waiter._selector.get_map()) == 1
    session.names.let_all_go()
    while session.dials.left:
        session.turn(None)
    session.listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        while True:
            session.listener.accept()[0].close()
    assert session.idle()


# -- bounds -----------------------------------------------------------------------------------------------------------

TOO_MANY = (Reply.GENERAL, "too many names are being looked up")


def test_the_look_ups_of_one_session(session: Session) -> None:
    for number in range(limits.LOOKUPS_PER_SESSION):
        session.tcp(number, session.port, f"name{number}.example")
    session.tcp(101, session.port, "more.example")
    assert session.refusal(101) == TOO_MANY
    session.tcp(103, session.port, "name1.example")  # joins
    session.tcp(105, session.port)  # needs none
    assert 105 in session.decided
    session.names.let_all_go()
    session.wait(103, *range(limits.LOOKUPS_PER_SESSION))
    session.tcp(107, session.port, "more.example")
    session.wait(107)
    assert session.idle()


def test_the_look_ups_of_all_sessions(session: Session) -> None:
    session.reach.resolvers._asked.most = 2
    with Session(reach=session.reach) as same, Session(reach=session.reach, client_id=b"B") as other:
        session.tcp(1, session.port, "one.example")
        same.tcp(1, session.port, "two.example")
        assert same.refusal(1) == TOO_MANY, "it is the same client's"
        other.tcp(1, session.port, "one.example")
        other.tcp(3, session.port, "two.example")
        assert other.refusal(3) == TOO_MANY
        session.names.let_all_go()
        other.wait(1)
    session.wait(1)


def test_due_is_never_too_late(session: Session) -> None:
    assert session.dials.due(now()) is None
    began = now()
    session.tcp(1, session.dead)
    session.tcp(3, session.port)
    due = session.dials.due(now())
    assert due is not None and began + limits.DIAL_TARGET <= due <= now() + limits.DIAL_TARGET
    session.tcp(5, session.port, "name.example")
    due = session.dials.due(now())
    assert due is not None and due <= now() + limits.DIAL_TARGET
    session.dials.stop(1)
    session.dials.stop(5)
    session.names.let_all_go()
    while session.dials.left:
        session.turn(None)
    session.dials.due(now() + 2 * limits.DIAL_TARGET)
    assert session.idle()
