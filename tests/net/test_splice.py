"""Two connections as one: bytes, ends and resets go on in order, in bounded room, and nothing is left behind."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from loopback import SILENCE, read_all, read_exactly, reset

from nitrosocks_lib.facts import limits
from nitrosocks_lib.net import splice as module
from nitrosocks_lib.net.sockets import tcp_pair
from nitrosocks_lib.net.splice import Changes, Splice
from nitrosocks_lib.net.turns import Turns

BOUND = 20.0
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells what is gone")


class Spliced(ExitStack):
    """One thread with splices; `near` and `far` are what the first of them joins."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()
        self.thread = threading.Thread(target=self.turns.run)
        self.thread.start()
        self.callback(self.stop)
        self.inner: list[socket.socket] = []

    def stop(self) -> None:
        self.turns.stop()
        self.thread.join(BOUND)

    def join(
        self,
        to_near: bytes = b"",
        to_far: bytes = b"",
        from_near: Changes | None = None,
        from_far: Changes | None = None,
    ) -> tuple[socket.socket, socket.socket]:
        (near, one), (other, far) = tcp_pair(), tcp_pair()
        self.inner += one, other
        for sock in (near, far):
            sock.settimeout(BOUND)
            self.callback(sock.close)
        buffer = memoryview(bytearray(limits.RELAYED))
        self.turns.call(lambda: Splice(one, other, self.turns, buffer, to_near, to_far, from_near, from_far) and None)
        return near, far

    def over(self) -> None:
        """Waits until nothing is left of any."""
        left, seen = threading.Event(), threading.Event()

        def look() -> None:
            if self.turns.live:
                threading.Timer(0.01, lambda: self.turns.call(look)).start()
            else:
                left.set()
            seen.set()

        self.turns.call(look)
        assert left.wait(BOUND) and all(each.fileno() == -1 for each in self.inner)


@pytest.fixture
def spliced() -> Iterator[Spliced]:
    with Spliced() as made:
        yield made


def test_bytes_go_both_ways_behind_what_was_first(spliced: Spliced) -> None:
    near, far = spliced.join(b"told ", b"first ")
    near.sendall(b"and more")
    assert read_exactly(far, 14) == b"first and more"
    far.sendall(b"and back")
    assert read_exactly(near, 13) == b"told and back"


def test_each_direction_ends_by_itself(spliced: Spliced) -> None:
    near, far = spliced.join()
    near.sendall(b"asks")
    near.shutdown(socket.SHUT_WR)
    assert read_all(far) == b"asks"
    far.sendall(b"answers")
    assert read_exactly(near, 7) == b"answers"
    far.close()
    assert near.recv(1) == b""
    spliced.over()


@pytest.mark.parametrize("turned", [False, True])
def test_a_reset_is_one_and_comes_behind_what_was_said(spliced: Spliced, turned: bool) -> None:
    one, other = spliced.join()[:: -1 if turned else 1]
    one.sendall(b"said")
    assert read_exactly(other, 4) == b"said"
    reset(one)
    with pytest.raises(ConnectionResetError):
        other.recv(1)
    spliced.over()


@linux
@pytest.mark.parametrize("turned", [False, True])
def test_a_reset_waits_for_what_was_said(spliced: Spliced, turned: bool) -> None:
    """More than the kernels of the other side hold: the rest is here when it comes, and is delivered first."""
    one, other = spliced.join()[:: -1 if turned else 1]
    said = fill(one)
    writer = threading.Thread(target=one.sendall, args=(bytes(1 << 20),))
    writer.start()
    got = len(read_exactly(other, said))
    writer.join(BOUND)
    reset(one)
    with suppress(ConnectionResetError):
        while part := other.recv(1 << 16):
            got += len(part)
        pytest.fail("it ended well")
    assert got > said
    spliced.over()


def fill(sock: socket.socket) -> int:
    """Sends until no more is taken anywhere on the way, as far as can be seen; how much that was."""
    sock.settimeout(4 * SILENCE)
    size = 0
    with suppress(TimeoutError):
        while True:
            size += sock.send(bytes(1 << 16))
    sock.settimeout(BOUND)
    return size


def test_what_is_not_taken_waits_in_the_kernels(spliced: Spliced, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read meanwhile, and nothing turns in a circle."""
    turns = []
    go_on = Splice.go_on
    near, far = spliced.join()
    sent = fill(near)
    monkeypatch.setattr(Splice, "go_on", lambda self: (turns.append(self), go_on(self)))
    sent += fill(near)
    assert len(turns) < 50, "it looks on and on"
    far.sendall(b"the other way is free")
    assert near.recv(100) == b"the other way is free"
    assert read_exactly(far, sent) == bytes(sent)


def test_a_large_transfer_both_ways_at_once(spliced: Spliced) -> None:
    near, far = spliced.join()
    size, got = 8 << 20, []

    def send(sock: socket.socket) -> None:
        sock.sendall(bytes(size))
        sock.shutdown(socket.SHUT_WR)

    threads = [threading.Thread(target=send, args=(sock,)) for sock in (near, far)]
    threads += [threading.Thread(target=lambda sock=sock: got.append(len(read_all(sock)))) for sock in (near, far)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert got == [size, size]
    spliced.over()


def test_what_goes_on_may_be_changed(spliced: Spliced) -> None:
    """What is left out is no end, and does not go round in a circle; and what is changed may be more."""
    left = [6]

    def six(data: bytes) -> tuple[bytes, bool]:
        size = min(left[0], len(data))
        left[0] -= size
        return data[:size], False

    near, far = spliced.join(b"", b"head ", six, lambda data: (data + b"!" * 100_000, True))
    near.sendall(b"body")
    assert read_exactly(far, 9) == b"head body"
    near.sendall(b"..the next request")
    assert read_exactly(far, 2) == b".."
    near.sendall(b"and another")
    far.sendall(b"answer")
    assert read_exactly(near, 100_006) == b"answer" + b"!" * 100_000
    far.sendall(b"as it is")
    far.close()
    assert read_all(near) == b"as it is"
    near.close()
    spliced.over()


def test_who_takes_no_more_is_read_to_the_end(spliced: Spliced) -> None:
    """It answered, and closed though more comes."""
    near, far = spliced.join()
    far.sendall(b"too much")
    far.close()
    with suppress(ConnectionResetError, BrokenPipeError):
        while True:
            near.sendall(bytes(1 << 16))
    spliced.over()


@linux
def test_an_end_that_is_gone_is_noticed_though_nothing_moves(spliced: Spliced, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had ended its direction, so it is not watched."""
    monkeypatch.setattr(module, "_LOOK", 0.02)
    near, far = spliced.join()
    near.shutdown(socket.SHUT_WR)
    assert far.recv(1) == b""
    reset(near)
    spliced.over()


@linux
def test_what_nobody_takes_is_dropped_when_the_other_end_is_gone(
    spliced: Spliced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK", 0.02)
    monkeypatch.setattr(limits, "LINGER", 0.1)
    near, _far = spliced.join()
    fill(near)
    reset(near)
    spliced.over()


def test_the_end_of_the_thread_resets_both(spliced: Spliced) -> None:
    near, far = spliced.join()
    near.sendall(b"x")
    assert far.recv(1) == b"x"
    spliced.stop()
    for sock in (near, far):
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
