"""-R at the client: what comes at the server reaches its target, or is reset; an outage loses nothing."""

from __future__ import annotations

import socket

import pytest
from loopback import dial_tcp, read_exactly, unused_port
from remotely import permit, remotes, tcp
from world import BOUND, World, echo, read_all

from nitrosocks_lib.client import listens
from nitrosocks_lib.client.listens import Remote, Remotes
from nitrosocks_lib.facts.errors import NetworkError, NitroSocksError


@pytest.fixture
def world():
    with World(proxy=True) as made:
        permit(made, "127.0.0.1:*")
        yield made


def test_a_target_that_refuses_resets_the_connection(world: World) -> None:
    made, _ = remotes(world, (tcp(0), tcp(unused_port())))
    assert made.remotes[0].at is not None
    with dial_tcp(made.remotes[0].at.port) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)


def test_a_cut_loses_nothing(world: World) -> None:
    assert world.proxy is not None
    made, _ = remotes(world, (tcp(0), tcp(world.target(echo))))
    assert made.remotes[0].at is not None
    with dial_tcp(made.remotes[0].at.port) as sock:
        sock.sendall(b"before")
        assert read_exactly(sock, 6) == b"before"
        world.proxy.cut()
        with dial_tcp(made.remotes[0].at.port) as other:
            other.sendall(b"meanwhile")
            sock.sendall(b"behind")
            assert read_exactly(sock, 6) == b"behind"
            assert read_exactly(other, 9) == b"meanwhile"


def test_what_is_in_use_or_a_name(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(NetworkError, match="Address already in use"):
        remotes(world, (tcp(other.getsockname()[1]), tcp(1)))
    with pytest.raises(NitroSocksError, match="is not an address"):
        remotes(world, (tcp(8000, "name.example"), tcp(1)))


def test_what_is_in_use_is_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listens, "_AGAIN", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as other:
        remote, pool = Remote(tcp(other.getsockname()[1]), tcp(world.target(echo))), world.pool()
        made = Remotes(pool, [remote])
        world.callback(made.stop)
        pool.start()
        made.start(retry=True)
        assert remote.at is None
    while remote.told.clear() or remote.at is None:
        assert remote.told.wait(BOUND)
    with dial_tcp(remote.wanted.port) as sock:
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"


def test_it_is_asked_for_again_on_the_next_session(world: World) -> None:
    at = tcp(unused_port())
    made, pool = remotes(world, (at, tcp(world.target(lambda sock: sock.sendall(b"x")))))
    (session,) = pool.sessions
    made.remotes[0].told.clear()
    session.give_up("for a test")
    assert made.remotes[0].told.wait(60)
    assert pool.sessions != [session]
    with dial_tcp(at.port) as sock:
        assert read_all(sock) == b"x"


def test_its_session_is_kept_though_it_is_idle(world: World) -> None:
    made, pool = remotes(world, (tcp(0), tcp(1)))
    (session,) = pool.sessions
    assert made.holds(session) and not made.holds(object())
    made.gone(object())
    assert made.holds(session)


def test_a_pause_goes_on_while_there_is_no_session(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a client that is revoked would dial without end."""
    made, pool = Remotes(world.pool(), []), world.pool()
    pool.start()
    (holder,) = pool.sessions
    ends: list[bool] = []
    monkeypatch.setattr(made._changed, "wait_for", lambda end, _: ends.append(end()))
    made._wait(60, None)
    made._wait(60, holder)  # it was over before the wait began
    made.hurry()
    made._wait(60, None)
    made._wait(60, None)
    made.stop()
    made._wait(60, None)
    assert ends == [False, True, True, False, True]
