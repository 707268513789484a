"""Listeners of clients, with real clients: what is accepted, taken over, given up and refused."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from links import Threads
from loopback import dial_tcp, read_exactly, unused_port
from remotely import Watched, gone, permit, port_of, remotes, tcp
from world import BOUND, World, echo, read_all

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError, NotAuthorised
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.server import listens
from nitrosocks_lib.session.shares import Shares


@pytest.fixture
def world():
    with World(proxy=True) as made:
        permit(made, "127.0.0.1:*", "[::1]:*")
        yield made


def test_connections_reach_the_target(world: World) -> None:
    made, _ = remotes(world, (tcp(0), tcp(world.target(echo))), (tcp(0, "localhost"), tcp(world.target(echo))))
    for remote in made.remotes:
        assert remote.at is not None
        socks = [dial_tcp(remote.at.port) for _ in range(20)]
        for number, sock in enumerate(socks):
            sock.sendall(b"%03d" % number)
        for number, sock in enumerate(socks):
            assert read_exactly(sock, 3) == b"%03d" % number
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b""
            sock.close()


@pytest.mark.parametrize("rules", [[], ["127.0.0.2:*"], ["10.0.0.0/8:*"]])
def test_what_is_not_permitted(world: World, rules: list[str]) -> None:
    permit(world, *rules)
    with pytest.raises(NotAuthorised, match="is not permitted for this client"):
        remotes(world, (tcp(0), tcp(1)))


def test_another_session_of_the_client_takes_it_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    at = tcp(unused_port())
    first, _ = remotes(world, (at, tcp(world.target(lambda sock: sock.sendall(b"first")))))
    with dial_tcp(at.port) as sock:
        assert read_all(sock) == b"first"
    remotes(world, (at, tcp(world.target(lambda sock: sock.sendall(b"second")))))
    with dial_tcp(at.port) as sock:
        assert read_all(sock) == b"second"
    gone(first)
    assert first.remotes[0].given_up and first.remotes[0].at is None
    assert "another client with this profile does" in caplog.text


def test_a_release_frees_the_port(world: World) -> None:
    at = tcp(unused_port())
    _, pool = remotes(world, (at, tcp(1)))
    pool.close(5.0)
    world.server.reception.listens.stop()  # has done all that it was asked for
    with pytest.raises(ConnectionRefusedError):
        dial_tcp(at.port)


def test_a_unix_socket(world: World, tmp_path: Path) -> None:
    permit(world, f"{tmp_path}/*.sock")
    path = tmp_path / "a.sock"
    _, pool = remotes(world, (Target(Kind.UNIX, str(path), 0), tcp(world.target(echo))))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(BOUND)
        sock.connect(str(path))
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    pool.close(5.0)
    world.server.reception.listens.stop()
    assert not path.exists()


def test_a_link_does_not_lead_out_of_what_is_permitted(world: World, tmp_path: Path) -> None:
    (tmp_path / "yes").mkdir()
    (tmp_path / "no").mkdir()
    (tmp_path / "yes" / "link").symlink_to(tmp_path / "no")
    permit(world, f"{tmp_path}/yes/*/*", f"{tmp_path}/yes/*")
    with pytest.raises(NotAuthorised):
        remotes(world, (Target(Kind.UNIX, f"{tmp_path}/yes/link/a.sock", 0), tcp(1)))


def test_listeners_of_a_session_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LISTENERS", 3)
    with pytest.raises(NetworkError, match="3 listeners are open"):
        remotes(world, *[(tcp(0), tcp(1))] * 4)


def test_listeners_of_all_clients_are_bounded(world: World) -> None:
    """A client alone gets half, and gives all back."""
    ours = world.server.reception.listens
    ours.shares = Shares(8)
    with pytest.raises(NetworkError, match="at as many places as it can"):
        remotes(world, *[(tcp(0), tcp(1))] * 5)
    assert ours.shares.taken == 4
    for entry in world.registry.all():
        world.registry.forget(entry, "for a test")
    ours.stop()
    assert ours.shares.taken == 0


def test_one_session_does_not_listen_twice_at_one_place(world: World) -> None:
    at = tcp(unused_port())
    with pytest.raises(NetworkError, match="this session listens on .* already"):
        remotes(world, (at, tcp(1)), (at, tcp(2)))


def test_a_rule_that_is_taken_away_ends_it(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing comes: the rules are looked at all the time."""
    monkeypatch.setattr(listens, "_JUDGED", 0.05)
    made, _ = remotes(world, (tcp(0), tcp(1)))
    port = port_of(made)
    permit(world)
    gone(made)
    assert made.remotes[0].given_up and "or the rules changed" in caplog.text
    world.server.reception.listens.stop()  # UNLISTEN left a moment before
    with pytest.raises(ConnectionRefusedError):
        dial_tcp(port)


def test_a_server_that_drains_ends_all_and_begins_none(world: World) -> None:
    made, pool = remotes(world, (tcp(0), tcp(world.target(echo))))
    with dial_tcp(port_of(made)) as sock:
        sock.sendall(b"before")
        assert read_exactly(sock, 6) == b"before"
        with Threads() as threads:
            threads.start(lambda: world.server.drain(BOUND))  # returns once the client has left
            gone(made)
            assert not made.remotes[0].given_up
            sock.sendall(b"behind")
            assert read_exactly(sock, 6) == b"behind"
            pool.sessions[0].tunnel.listen(again := Watched(tcp(0), tcp(1)))
            assert again.told.wait(BOUND) and again.refused is not None
            assert again.refused.text == "the server is about to stop"
            sock.close()
    while pool.sessions:  # the client is not done before the server
        pass
