"""asking: targets, idle and old connections, bytes a second: what doctor is asked to find out."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator

import pytest
from doctoring import Examined
from loopback import reset, unused_port
from targets import BOUND, Target, echo, read_all
from world import World

from nitrosocks_lib.client import asking
from nitrosocks_lib.client.findings import Age, Destination, Idle, Speed, State, Verdict
from nitrosocks_lib.client.held import Held
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError, NotAuthorised
from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.protocol.frames import Target as To


def to(port: int, host: str = "127.0.0.1") -> To:
    return To(Kind.TCP, host, port)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured takes little time, and what hangs is given up soon."""
    for name in ("POURED", "ECHO_FIRST"):
        monkeypatch.setattr(limits, name, 0.2)


@contextlib.contextmanager
def box(upstream: int, seconds: float) -> Iterator[int]:
    """Resets what was silent for so long; its port."""

    def relay(near: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", upstream)) as far:
            other = {near: far, far: near}
            while ready := select.select([near, far], [], [], seconds)[0]:
                data = ready[0].recv(1 << 16)
                if not data:
                    break
                other[ready[0]].sendall(data)
            reset(far)
        reset(near)

    with Target(relay) as target:
        yield target.port


# -- targets -----------------------------------------------------------------------------------------------------------


def test_a_target_that_opens() -> None:
    with World() as world, Target(echo) as target:
        found = Examined(world, targets=(to(target.port),))[Destination]
        assert (found.state, found.target, found.reply) == (State.GOOD, f"127.0.0.1:{target.port}", 0)


def test_a_target_that_talks_and_does_not_end() -> None:
    """It is not left open."""

    def talk(sock: socket.socket) -> None:
        try:
            while True:
                sock.sendall(b"SSH-2.0-x\r\n")
                read_all(sock)
        except OSError:
            broken.set()

    broken = threading.Event()
    with World() as world, Target(talk) as target:
        assert Examined(world, targets=(to(target.port),))[Destination].state is State.GOOD
        assert broken.wait(BOUND)


def test_targets_that_do_not_open() -> None:
    with World() as world:
        found = Examined(world, targets=(to(unused_port()), to(80, "192.0.2.1"))).all(Destination)
        assert [each.state for each in found] == [State.BAD, State.BAD]
        assert [each.reply for each in found] == [Reply.CONNECTION_REFUSED, Reply.NOT_PERMITTED]
        assert isinstance(found[0].error, NetworkError) and isinstance(found[1].error, NotAuthorised)
        assert "192.0.2.1:80 is not permitted" in str(found[1].error)


def test_a_server_that_takes_no_second_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """All else is found all the same."""

    def none(*_: object) -> None:
        raise NetworkError("no more")

    monkeypatch.setattr(asking, "Held", none)
    with World() as world:
        found = Examined(world, targets=(to(1),), echo=to(2), idle=1.0, age=1.0)
        for kind in (Destination, Speed, Idle, Age):
            assert found[kind].state is State.BAD and str(found[kind].error) == "no more"


# -- speed -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("brief")
def test_how_fast_it_goes_up_and_back() -> None:
    with World() as world, Target(echo) as target:
        up, down = Examined(world, speed=True, echo=to(target.port)).all(Speed)
        assert (up.way, up.by, up.state) == ("up", "padding", State.GOOD)
        assert (down.way, down.by, down.state) == ("down", f"127.0.0.1:{target.port}", State.GOOD)
        assert up.rate > 0 and down.rate > 0


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(
    ("serve", "told"),
    [
        (lambda sock: sock.recv(1), "it does not send back what it gets"),
        (lambda sock: sock.sendall(b"220 mail.example ESMTP\r\n" * 100), "it does not send back what it gets"),
        (read_all, "it does not send back what it gets"),
        (lambda sock: sock.sendall(sock.recv(1_024)), "bytes came back"),
    ],
)
def test_a_target_that_echoes_nothing(serve, told: str) -> None:
    with World() as world, Target(serve) as target:
        (down,) = Examined(world, echo=to(target.port)).all(Speed)
        assert down.state is State.BAD and told in str(down.error)


def test_an_echo_that_is_not_permitted() -> None:
    with World() as world:
        (down,) = Examined(world, echo=to(7, "192.0.2.1")).all(Speed)
        assert isinstance(down.error, NotAuthorised)


# -- time --------------------------------------------------------------------------------------------------------------


def test_idle_and_old_connections_that_live() -> None:
    with World() as world:
        found = Examined(world, idle=1.5, age=1.5)
        idle, age = found[Idle], found[Age]
        assert (idle.state, age.state) == (State.GOOD, State.GOOD)
        assert idle.lived >= 1.5 and age.lived >= 1.5 and (idle.asked, age.asked) == (1.5, 1.5)
        assert 0.9 < idle.silence < idle.heartbeat == limits.HEARTBEAT


def test_a_box_that_cuts_what_is_idle() -> None:
    with World() as world, box(world.port, 1.5) as port:
        found = Examined(world, port, idle=30.0, age=4.0)
        idle, age = found[Idle], found[Age]
        assert idle.state is State.BAD and 0.9 < idle.silence < 1.5 < idle.lived + 2 < 6 and idle.error is not None
        assert age.state is State.GOOD
        assert found[Verdict].state is State.GOOD


def living(monkeypatch: pytest.MonkeyPatch, meanwhile) -> None:
    """`meanwhile(held)` runs in a thread beside a connection that is to live."""
    real = Held.live

    def live(self, *arguments, **more):
        thread = threading.Thread(target=meanwhile, args=(self,), daemon=True)
        thread.start()
        try:
            return real(self, *arguments, **more)
        finally:
            thread.join()

    monkeypatch.setattr(Held, "live", live)


def test_a_connection_that_is_cut_at_an_age(monkeypatch: pytest.MonkeyPatch) -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None

        def cut(held) -> None:
            with held._tunnel.came:
                assert held._tunnel.came.wait_for(lambda: held._tunnel.pongs == 2, BOUND)
            world.proxy.cut()

        living(monkeypatch, cut)
        found = Examined(world, age=60.0)[Age]
        assert found.state is State.BAD and 1.8 < found.lived < 50 and found.error is not None


def test_a_box_that_swallows_what_comes_behind_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None

        def swallow(_) -> None:
            monkeypatch.setattr(limits, "DIAL", 0.3)
            world.proxy.blackhole()

        living(monkeypatch, swallow)
        found = Examined(world, idle=60.0)[Idle]
        assert found.state is State.BAD and "nothing was heard after a silence of 1 s" in str(found.error)
