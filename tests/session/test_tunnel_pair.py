"""Tunnel: the pair of threads of one connection, and the hand-over to the next."""

from __future__ import annotations

import threading

import pytest
from half import Half
from links import BOUND, Threads
from loopback import read_exactly
from plains import DATA, END, OPEN, PING
from scarce import no_threads

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import BadFrame, NetworkError
from nitrosocks_lib.facts.wire import Abort, Frame
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.tls import TlsLink
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import abort_text
from nitrosocks_lib.session.state import Outcome

each_side = pytest.mark.parametrize("serving", [True, False])


@each_side
def test_both_threads_return_when_the_link_ends(serving: bool) -> None:
    with Half(serving) as half:
        half.leave()
        assert half.outcomes == [Outcome.LOST] and half.tunnel.state.reason and not half.tunnel.connected
        assert not [thread for thread in threading.enumerate() if thread.name == "outbound"]
        assert half.tunnel.link is None and half._far._sock.fileno() == -1


@each_side
@pytest.mark.parametrize("outcome", Outcome)
def test_both_return_when_somebody_ends_it(outcome: Outcome, serving: bool) -> None:
    with Half(serving) as half:
        assert half.seen() == []
        half.tunnel.state.end(outcome, "for a test")
        assert half.over() is outcome and half.tunnel.state.reason == "for a test"
        with pytest.raises(NetworkError):
            half.link.read_exactly(1, now() + BOUND)


@each_side
def test_a_read_that_does_not_come_back_ends_all_the_same(serving: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenSSL does while records without data come. It holds the lock of the link, so outbound waits, too."""
    reads, read = threading.Event(), TlsLink.read_some

    def endless(link: TlsLink, *words) -> int:
        if link is not half._far:
            return read(link, *words)
        with link._lock:
            reads.set()
            assert broken.wait(BOUND)
        raise NetworkError("the connection ended")

    def break_off(link: TlsLink) -> None:
        if link is half._far:
            broken.set()

    broken = threading.Event()
    monkeypatch.setattr(limits, "RELEASE", 0.1)
    monkeypatch.setattr(TlsLink, "break_off", break_off)
    with Half(serving) as half:
        assert half.seen() == []
        monkeypatch.setattr(TlsLink, "read_some", endless)
        half.send(PING())
        assert reads.wait(BOUND)
        half.tunnel.state.end(Outcome.LOST, "for a test")
        assert half.over() is Outcome.LOST and broken.is_set()


@each_side
@pytest.mark.parametrize(
    ("error", "outcome"), [(BadFrame("worn out"), Outcome.LOST), (ValueError("a fault"), Outcome.OVER)]
)
def test_a_fatal_error_of_outbound_ends_inbound_too(
    error: Exception, outcome: Outcome, serving: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise error

    with Half(serving) as half:
        assert half.seen() == []
        monkeypatch.setattr(half.tunnel.outbound, "_take_mail", fails)
        half.send(PING())
        assert half.over() is outcome


def test_without_a_second_thread_the_connection_is_lost() -> None:
    with Half(True) as half:
        half.leave()
        with no_threads("outbound"):
            half.again()
            assert half.over() is Outcome.LOST and half.tunnel.state.reason == "can't start new thread"
        half.again()
        assert half.read() == frames.ack(0)


def test_ping_is_answered_with_its_hash() -> None:
    with Half(True) as half:
        for r3 in (b"12345678", bytes(32)):
            half.send(PING(r3))
            assert half.until(Frame.PONG) == schedule.hash256(r3)
        half.send(bytes([Frame.PONG]) + bytes(32), bytes([Frame.PAD]) + b"anything", bytes([Frame.PAD]))
        assert half.seen() == []


def test_what_is_posted_without_a_connection_goes_out_on_the_next() -> None:
    with Half(True, held=True) as half:
        half.send(OPEN(1))
        assert half.seen() == []
        half.leave()
        half.reach(1)
        half.tunnel.outbox.post(goaway=frames.goaway(9))
        half.again()
        assert half.read() == frames.ack(1) and half.read() == frames.goaway(9) and half.until(Frame.OPENED)


@each_side
def test_counts_that_a_peer_may_state(serving: bool) -> None:
    """No less than it has acknowledged, no more than it was sent."""
    with Half(serving, held=True) as half:
        if serving:
            far, number = half.reached(1), 1
        else:
            far, number = half.opened()[0], 1
        half.ack()
        far.sendall(b"x")
        assert half.gather(number, 1) == b"x" and half.seen() == []
        assert [half.tunnel.may_have_received(count) for count in range(4)] == [False, True, True, False]
        half.again(received=1)
        assert half.pass_to(Frame.DATA)
        assert [half.tunnel.may_have_received(count) for count in range(4)] == [False, True, True, False]


@each_side
def test_keys_and_numbers_begin_anew_and_the_session_goes_on(serving: bool) -> None:
    with Half(serving, held=True) as half:
        far = half.reached(1) if serving else half.opened()[0]
        for n in range(5):
            half.again()
            half.send(DATA(1, b"%d" % n))
            assert read_exactly(far, 1) == b"%d" % n
            far.sendall(b"%d" % n)
            assert half.gather(1, 1) == b"%d" % n
        half.send(END(1))
        far.close()
        assert half.until(Frame.END) and half.gone().number == 1


def test_many_connections_one_after_another_under_load() -> None:
    """Bytes flow both ways all the time; each connection ends wherever it happens to be."""
    size = 3 << 20
    with Half(True, held=True, window=16 << 20) as half, Threads() as threads:
        far = half.reached(1)
        half.ack((1, 1 << 40))
        up, down = bytes(range(256)) * (size // 256), bytes(range(255, -1, -1)) * (size // 256)
        threads.start(far.sendall, down)
        heard: list[bytes] = []
        threads.start(lambda: heard.append(read_exactly(far, size)))
        got, sent = b"", 0
        while len(got) < size or sent < size:
            for _ in range(8):
                if sent < size:
                    half.send(DATA(1, up[sent : sent + 60_000]))
                    sent = min(sent + 60_000, size)
                if len(got) < size:
                    got += half.until(Frame.DATA)[4:]
            half.again()
            half.resend()
        half.until_acked()
        threads.join()
        assert got == down and heard == [up]


def test_texts_of_abort() -> None:
    assert {reason: abort_text(reason) for reason in (*Abort, 99)} == {
        Abort.OTHER: "no reason given",
        Abort.VIOLATION: "protocol violation",
        Abort.SERVER_STOPS: "the server stops",
        Abort.REVOKED: "the client was revoked",
        Abort.NO_ANSWER: "no answer",
        Abort.LIMIT: "a limit was reached",
        99: "no reason given",
    }


@pytest.mark.parametrize(("text", "told"), [("why\n\x1b[1m", r"why\n\x1b[1m"), ("", "the client was revoked")])
def test_an_abort_is_told_to_people(text: str, told: str) -> None:
    with Half(False) as half:
        half.send(frames.abort(Abort.REVOKED, text))
        assert half.over() is Outcome.OVER
        assert half.tunnel.state.reason == f"the other side ended the session: {told}"
