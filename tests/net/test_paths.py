"""Unix sockets that listen at a path: the mode of their file, what may be replaced, and what stays."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from nitrosocks_lib.facts.errors import CannotCreate
from nitrosocks_lib.net.listener import listen
from nitrosocks_lib.net.paths import bind_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
@pytest.mark.parametrize("wanted", [0o600, 0o660, 0o666])
def test_the_mode_whatever_the_umask(tmp_path: Path, umask: int, wanted: int) -> None:
    before = os.umask(umask)
    try:
        named = bind_path(str(tmp_path / "s"), wanted)
    finally:
        os.umask(before)
    with named.sock, socket.socket(socket.AF_UNIX) as near:
        assert mode(tmp_path / "s") == wanted
        near.connect(str(tmp_path / "s"))


def test_connections_are_refused_until_it_listens(tmp_path: Path) -> None:
    named = bind_path(str(tmp_path / "s"), 0o600, listening=False)
    with named.sock, socket.socket(socket.AF_UNIX) as near:
        with pytest.raises(ConnectionRefusedError):
            near.connect(str(tmp_path / "s"))
        listen(named.sock)
        near.connect(str(tmp_path / "s"))


def test_a_socket_that_nobody_listens_at_is_replaced(tmp_path: Path) -> None:
    bind_path(str(tmp_path / "s"), 0o600).sock.close()
    assert (tmp_path / "s").is_socket()
    with bind_path(str(tmp_path / "s"), 0o600).sock:
        assert (tmp_path / "s").is_socket()


def test_a_socket_that_does_not_listen_yet_stays(tmp_path: Path) -> None:
    """`forward --retry` has one until there is a session."""
    named = bind_path(str(tmp_path / "s"), 0o600, listening=False)
    with named.sock:
        with pytest.raises(CannotCreate, match="Address already in use"):
            bind_path(str(tmp_path / "s"), 0o600)
        listen(named.sock)
        with socket.socket(socket.AF_UNIX) as near:
            near.connect(str(tmp_path / "s"))


def directory(path: Path, stack: ExitStack) -> None:
    path.mkdir()


def link(path: Path, stack: ExitStack) -> None:
    """It leads to what would be replaced itself."""
    bind_path(str(path.with_name("stale")), 0o600).sock.close()
    path.symlink_to("stale")


def listener(path: Path, stack: ExitStack) -> None:
    stack.enter_context(bind_path(str(path), 0o600).sock)


def full(path: Path, stack: ExitStack) -> None:
    """A listener whose queue is full."""
    sock, waiting = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
    sock.bind(str(path))
    sock.listen(0)
    waiting.connect(str(path))


def datagrams(path: Path, stack: ExitStack) -> None:
    stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)).bind(str(path))


@pytest.mark.parametrize("make", [directory, link, listener, full, datagrams])
def test_what_is_in_use_or_no_socket_stays(tmp_path: Path, make: Callable[[Path, ExitStack], None]) -> None:
    with ExitStack() as stack:
        make(tmp_path / "s", stack)
        there = (tmp_path / "s").lstat()
        with pytest.raises(CannotCreate, match="Address already in use"):
            bind_path(str(tmp_path / "s"), 0o600)
        assert (tmp_path / "s").lstat() == there
        assert make is not link or (tmp_path / "stale").is_socket()


def test_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    with pytest.raises(CannotCreate, match="Address already in use"):
        bind_path(str(tmp_path / "f"), 0o600)
    assert (tmp_path / "f").read_text() == "mine"


@pytest.mark.parametrize("path", ["no/such/directory/s", "s" * 200])
def test_paths_that_cannot_be(tmp_path: Path, path: str) -> None:
    with pytest.raises(CannotCreate, match="cannot listen on"):
        bind_path(str(tmp_path / path), 0o600)


def test_only_its_own_file_is_removed(tmp_path: Path) -> None:
    named = bind_path(str(tmp_path / "s"), 0o600)
    (tmp_path / "s").unlink()
    (tmp_path / "s").write_text("another's")
    named.remove()
    named.sock.close()
    assert (tmp_path / "s").exists()
    mine = bind_path(str(tmp_path / "t"), 0o600)
    mine.remove()
    mine.remove()
    mine.sock.close()
    assert not (tmp_path / "t").exists()
