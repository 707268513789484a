"""PlainEnd: TCP as one end of a relay; who ends how is told, and done."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from loopback import BOUND, read_all, reset, was_reset

from nitrosocks_lib.facts.errors import ConnectionEnded, NetworkError
from nitrosocks_lib.net.ends import PlainEnd
from nitrosocks_lib.net.wake import wait


@pytest.fixture
def pair() -> Iterator[tuple[PlainEnd, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), BOUND)
        far, _ = listener.accept()
    far.settimeout(BOUND)
    end = PlainEnd(near)
    yield end, far
    end.close()
    far.close()


def read(end: PlainEnd) -> bytes:
    buffer = memoryview(bytearray(100))
    while not (size := end.read_some(buffer)):
        assert end.dry and wait({end.fd: end.read_wants}, BOUND)
    return bytes(buffer[:size])


def test_bytes_pass_both_ways(pair: tuple[PlainEnd, socket.socket]) -> None:
    end, far = pair
    assert end.read_some(memoryview(bytearray(10))) == 0 and end.dry
    far.sendall(b"hello")
    assert read(end) == b"hello"
    assert end.write_some(memoryview(b"back")) == 4 and far.recv(10) == b"back"


def test_a_full_kernel_takes_a_part(pair: tuple[PlainEnd, socket.socket]) -> None:
    end, far = pair
    sent = 0
    while size := end.write_some(memoryview(bytes(1 << 20))):
        sent += size
    end.finish(True)
    far.settimeout(BOUND)
    assert len(read_all(far)) == sent


def test_an_end_is_told_and_the_other_direction_stays(pair: tuple[PlainEnd, socket.socket]) -> None:
    end, far = pair
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionEnded) as ended:
        read(end)
    assert not ended.value.notified
    assert end.write_some(memoryview(b"still")) == 5 and far.recv(10) == b"still"
    assert not end.gone()
    end.finish(False)
    assert far.recv(1) == b""


def test_a_reset_is_told(pair: tuple[PlainEnd, socket.socket]) -> None:
    end, far = pair
    reset(far)
    with pytest.raises(NetworkError, match="broke") as broken:
        read(end)
    assert not isinstance(broken.value, ConnectionEnded) and end.gone()
    with pytest.raises(NetworkError):
        end.write_some(memoryview(b"x"))


def test_a_reset_is_done(pair: tuple[PlainEnd, socket.socket]) -> None:
    end, far = pair
    end.reset()
    assert was_reset(far)


def test_what_is_late_is_swallowed(pair: tuple[PlainEnd, socket.socket]) -> None:
    end, far = pair
    end.finish(True)
    assert not end.swallow()
    far.sendall(b"late")
    assert wait({end.fd: end.read_wants}, BOUND) and end.swallow()
    far.shutdown(socket.SHUT_WR)
    assert wait({end.fd: end.read_wants}, BOUND)
    with pytest.raises(ConnectionEnded):
        end.swallow()


def test_a_byte_behind_a_closed_end_is_answered_by_a_reset(pair: tuple[PlainEnd, socket.socket]) -> None:
    end, far = pair
    far.close()
    with pytest.raises(ConnectionEnded):
        read(end)
    end.write_some(memoryview(b"x"))
    while not end.gone():
        pass
