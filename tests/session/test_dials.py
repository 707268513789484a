"""Dials: what is reached, what is refused and why, without ever waiting for it."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from audited import told
from dialling import Session
from logged import here
from loopback import unused_port

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.net.race import Place
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.frames import Address, Target
from nitrosocks_lib.protocol.permit import Rules
from nitrosocks_lib.session.dialling import Reached, Unreached


@pytest.fixture
def session() -> Iterator[Session]:
    with Session() as made:
        yield made


# -- reached ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433"])
def test_an_address_on_this_machine_is_reached_at_once(host: str, session: Session) -> None:
    session.tcp(1, session.port, host)
    assert session.decided[1] == Reached(session.sock(1), Address("127.0.0.1", session.port))
    assert session.sock(1).getpeername() == ("127.0.0.1", session.port) and not session.sock(1).getblocking()
    assert session.idle()


def test_a_name_is_looked_up_elsewhere(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    session.tcp(1, session.port, "name.example")
    session.names.begun(1)
    session.turn()
    assert not session.decided and len(session.dials) == 1
    session.names.let_go("name.example")
    session.wait(1)
    assert session.decided[1] == Reached(session.sock(1), Address("127.0.0.1", session.port)) and session.idle()
    place = f"127.0.0.1:{session.port}"
    assert told(here(caplog), "target-reached") == [
        {"client": "a", "target": f"name.example:{session.port}", "reached": place}
    ]


def test_datagrams_have_a_socket_of_their_own_at_once_or_behind_a_look_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Session("udp:127.0.0.0/8:*") as session, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        port = target.getsockname()[1]
        session.begin(1, Target(Kind.UDP, "127.0.0.1", port))
        session.begin(2, Target(Kind.UDP, "name.example", port))
        session.tcp(3, port)
        session.names.let_go("name.example")
        session.wait(2)
        for number in (1, 2):
            assert session.decided[number] == Reached(session.sock(number), Address("127.0.0.1", port))
            session.sock(number).send(b"%d" % number)
            assert target.recvfrom(10) == (b"%d" % number, session.sock(number).getsockname())
        refused = session.decided[3]
        assert isinstance(refused, Unreached) and refused.reply == Reply.NOT_PERMITTED
        assert [each["target"] for each in told(here(caplog), "target-reached")] == [
            f"udp:127.0.0.1:{port}", f"udp:name.example:{port}",
        ]  # fmt: skip


def test_a_dead_first_address(session: Session) -> None:
    """The next is tried soon, and first by the next dial of any session."""
    with socket.create_server(("127.0.0.2", session.dead)):
        places: list[Place] = [(socket.AF_INET, (host, session.dead)) for host in ("127.0.0.1", "127.0.0.2")]
        session.names.places["both.example"] = places
        session.names.let_all_go()
        session.tcp(1, session.dead, "both.example")
        session.wait(1)
        assert session.sock(1).getpeername() == ("127.0.0.2", session.dead) and session.idle()
        assert session.reach.remembered.order("both.example", session.dead, places, now()) == places[::-1]
        with Session(reach=session.reach) as other:
            other.tcp(1, session.dead, "both.example")
            other.wait(1)
            assert other.sock(1).getpeername() == ("127.0.0.2", session.dead) and other.idle()


def test_both_families(session: Session) -> None:
    six, four = (socket.AF_INET6, ("::1", session.port, 0, 0)), (socket.AF_INET, ("127.0.0.1", session.port))
    session.names.places["both.example"] = [six, four]
    session.names.let_all_go()
    session.tcp(1, session.port, "both.example")
    session.wait(1)
    assert session.decided[1] == Reached(session.sock(1), Address("127.0.0.1", session.port))


def test_an_answer_that_comes_later(session: Session) -> None:
    """The queue there is full, and has room when the kernel asks again."""
    with ExitStack() as stack:
        slow = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        stack.enter_context(socket.create_connection(slow.getsockname()))
        session.tcp(1, slow.getsockname()[1])
        assert not session.decided
        stack.enter_context(slow.accept()[0])
        session.wait(1)
        assert session.sock(1).getpeername() == slow.getsockname() and session.idle()


def test_a_unix_socket(session: Session, tmp_path: Path) -> None:
    path = str(tmp_path / "ä")
    session.permit = Rules.parse([path])
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(path.encode())
        there.listen()
        session.unix(1, path)
        assert session.decided[1] == Reached(session.sock(1), Address(path, 0)) and session.idle()
    session.unix(3, path)
    assert session.refusal(3) == (Reply.CONNECTION_REFUSED, f"{path}: connection refused")
    session.unix(5, path + "x")
    assert session.refusal(5)[0] == Reply.NOT_PERMITTED


# -- refused ----------------------------------------------------------------------------------------------------------


def test_nobody_listens_there(session: Session) -> None:
    session.tcp(1, port := unused_port())
    assert session.refusal(1) == (Reply.CONNECTION_REFUSED, f"127.0.0.1:{port}: connection refused")
    assert session.idle()


def test_nobody_answers(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIAL_TARGET", 0.1)
    session.tcp(1, session.dead)
    assert session.refusal(1) == (Reply.EXPIRED, f"127.0.0.1:{session.dead}: no answer in time") and session.idle()


def test_a_look_up_without_an_answer(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as under way until its thread has ended."""
    monkeypatch.setattr(limits, "DIAL_TARGET", 0.1)
    session.tcp(1, 7, "dead.example")
    session.names.begun(1)
    assert session.refusal(1) == (Reply.EXPIRED, "cannot find dead.example: no answer in time")
    assert len(session.dials) == 0 and session.dials.left == 1
    session.names.let_all_go()
    while session.dials.left:
        session.turn(None)
    assert session.idle()


def test_the_time_of_the_look_up_counts(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIAL_TARGET", 5.0)
    session.tcp(1, session.dead, "slow.example")
    session.names.let_all_go()
    while len(session.waiter._selector.get_map()) == 1:
        session.turn(None)
    session.dials.due(now() + 5.0)
    session.turn()
    assert session.refusal(1) == (Reply.EXPIRED, f"slow.example:{session.dead}: no answer in time")


def test_what_no_rule_could_permit_is_not_looked_up(session: Session) -> None:
    session.permit = Rules.parse(["db.example:*", "10.0.0.0/8:443"])
    for number, host in enumerate(("name.example", "name.invalid", "127.0.0.1"), 1):
        session.tcp(number, 80, host)
        assert session.decided[number].reply == Reply.NOT_PERMITTED
    session.tcp(9, 443, "127.0.0.1")
    session.tcp(11, 443, "name.example")
    session.names.let_all_go()
    assert session.refusal(9) == (Reply.NOT_PERMITTED, "127.0.0.1:443 is not permitted for this client")
    assert session.refusal(11) == (Reply.NOT_PERMITTED, "name.example:443 is not permitted for this client")
    assert session.names.begun(1) == ["name.example"]


def test_the_rules_are_those_of_now(session: Session) -> None:
    session.tcp(1, session.port)
    session.permit = None
    session.tcp(3, session.port)
    assert session.refusal(3) == (Reply.NOT_PERMITTED, "this client is not authorised at present")
    session.permit = Rules.parse(["127.0.0.1:*"])
    session.tcp(5, session.port)
    assert session.sock(5) and session.idle()


def test_only_permitted_addresses_are_tried(session: Session) -> None:
    session.permit = Rules.parse(["127.0.0.2:*"])
    hosts = "127.0.0.1", "127.0.0.2"
    session.names.places["two.example"] = [(socket.AF_INET, (host, session.port)) for host in hosts]
    session.names.let_all_go()
    session.tcp(1, session.port, "two.example")
    assert session.refusal(1)[0] == Reply.CONNECTION_REFUSED
    session.listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        session.listener.accept()


def test_a_name_that_is_not_found(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> list[Place]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(session.reach.resolvers, "_resolve", unknown)
    session.tcp(1, 7, "name.invalid")
    assert session.refusal(1) == (Reply.HOST_UNREACHABLE, "cannot find name.invalid: Name or service not known")
    session.tcp(3, 7, "a..b")
    assert 3 in session.decided and session.refusal(3)[1] == "cannot find a..b: not a host name"
    assert session.idle()


def test_a_fault_of_ours(session: Session, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.dials, "_rule", lambda _: 1 // 0)
    session.tcp(1, 7)
    assert session.refusal(1) == (Reply.GENERAL, "an internal error") and "internal error" in caplog.text


def test_there_is_no_descriptor(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", none)
        session.tcp(1, session.port)
    assert session.refusal(1) == (Reply.GENERAL, f"127.0.0.1:{session.port}: too many files are open there")
