"""WebSocketLink: what ends the carrier, and how it is ended."""

from __future__ import annotations

import pytest
from links import BOUND, Pairs, Threads
from websockets_links import BINARY, CLOSE, CONT, PING, PONG, TEXT, WebSocketPairs, frame

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.websocket import Messages, WebSocketLink

both_sides = pytest.mark.parametrize("serving", [False, True], ids=["client", "server"])


def begun(size: int, serving: bool) -> bytes:
    """The head of a message of this size."""
    return bytes([0x82, 127 | (0x80 if serving else 0)]) + size.to_bytes(8, "big") + bytes(4 if serving else 0)


BAD = {
    "text": lambda mask: frame(b"text", mask, TEXT),
    "a wrong mask": lambda mask: frame(b"binary", not mask),
    "a wrong mask of a ping": lambda mask: frame(b"", not mask, PING),
    "a reserved bit": lambda mask: frame(b"binary", mask, rsv1=True),
    "a reserved opcode": lambda mask: bytes([0x83, 0x80 if mask else 0]) + bytes(4 if mask else 0),
    "no beginning": lambda mask: frame(b"rest", mask, CONT),
    "a beginning amid a message": lambda mask: frame(b"a", mask, BINARY, False) + frame(b"b", mask),
    "text amid a message": lambda mask: frame(b"a", mask, BINARY, False) + frame(b"b", mask, TEXT),
    "a long ping": lambda mask: frame(bytes(126), mask, PING),
    "a fragmented ping": lambda mask: frame(b"", mask, PING, False),
    "a message over 1 MiB": lambda mask: begun((1 << 20) + 1, mask),
    "fragments over 1 MiB": lambda mask: frame(b"a", mask, BINARY, False) + frame(bytes(1 << 20), mask, CONT),
    "a size beyond all": lambda mask: begun((1 << 64) - 1, mask),
    "empty frames only": lambda mask: frame(b"", mask, PONG) * (limits.MESSAGES_EMPTY + 1),
    "empty fragments only": lambda mask: (
        frame(b"", mask, BINARY, False) + frame(b"", mask, CONT, False) * limits.MESSAGES_EMPTY
    ),
    "a close frame": lambda mask: frame(b"\x03\xe8", mask, CLOSE),
    "a bare close frame": lambda mask: frame(b"", mask, CLOSE),
}


def taken(messages: Messages, data: bytes, piece: int) -> bytes:
    """What comes out, when it comes in pieces of this size; up to the fault, if there is one."""
    got = bytearray()
    for at in range(0, len(data), piece):
        if messages.fault is None:
            room = memoryview(bytearray(data[at : at + piece]))
            got += room[: messages.take(room)]
    return bytes(got)


@both_sides
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("piece", [1, 1 << 22])
def test_it_ends_behind_what_came_before(bad, serving: bool, piece: int) -> None:
    messages = Messages(serving)
    got = taken(messages, frame(b"before", serving) + bad(serving) + frame(b"behind", serving), piece)
    assert messages.fault is not None and got in (b"before", b"beforea", b"beforea" + bytes(1 << 20))
    assert b"behind" not in got


@both_sides
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20], ids=lambda size: f"{size} bytes")
def test_every_size_up_to_1_mib_is_taken(size: int, serving: bool) -> None:
    messages = Messages(serving)
    assert taken(messages, frame(bytes(size), serving) + frame(b"x", serving), 100_000) == bytes(size) + b"x"
    assert messages.fault is None


def test_fragments_of_1_mib_together_are_taken_and_counted_anew() -> None:
    messages = Messages(True)
    for _ in range(2):
        data = frame(bytes(1 << 19), True, BINARY, False) + frame(bytes(1 << 19), True, CONT)
        assert taken(messages, data, 1 << 22) == bytes(1 << 20)
    assert messages.fault is None


def test_pings_between_messages_are_never_too_many() -> None:
    messages = Messages(True)
    for _ in range(3):
        data = frame(b"", True, PING) * limits.MESSAGES_EMPTY + frame(b"x", True)
        assert taken(messages, data, 1 << 22) == b"x" and messages.fault is None


@both_sides
def test_what_came_before_is_read_and_then_the_end_is_told(serving: bool) -> None:
    with Pairs() as pairs:
        client, server = pairs.make()
        link = WebSocketLink(server if serving else client, serving)
        far = client if serving else server
        far.write_all(frame(b"before", serving) + frame(b"text", serving, TEXT), now() + BOUND)
        assert link.read_exactly(6, now() + BOUND) == b"before"
        for _ in range(2):
            with pytest.raises(NetworkError, match="the connection broke: not the WebSocket that is used here: text"):
                link.read_exactly(1, now() + BOUND)


# -- goodbye -----------------------------------------------------------------------------------------------------------


@both_sides
def test_a_goodbye_says_a_close_frame_behind_the_last_message(serving: bool) -> None:
    with Pairs() as pairs, Threads() as threads:
        client, server = pairs.make()
        link = WebSocketLink(server if serving else client, serving)
        far = client if serving else server
        link.write_all(b"last", now() + BOUND)
        threads.start(link.close, now() + BOUND)
        other = WebSocketLink(far, not serving)
        assert other.read_exactly(4, now() + BOUND) == b"last"
        with pytest.raises(NetworkError, match="^the connection ended$"):
            other.read_exactly(1, now() + BOUND)
        other.close(now() + BOUND)


def test_a_goodbye_does_not_tear_a_message_that_is_half_written() -> None:
    with WebSocketPairs() as pairs:
        near, far = pairs.make()
        sent = 0
        while n := near.write_some(memoryview(bytes(65_536))):
            sent += n
        near.say_goodbye()
        got, room = 0, memoryview(bytearray(1 << 20))
        with pytest.raises(NetworkError, match="connection (ended|broke)"):
            while True:
                got += (n := far.read_some(room))
                assert not any(room[:n])
        assert got >= sent


@pytest.mark.parametrize("end", ["abort", "break_off"])
def test_an_end_by_another_thread_wakes_who_waits(end: str) -> None:
    with WebSocketPairs() as pairs, Threads() as threads:
        near, _ = pairs.make()

        def read() -> None:
            with pytest.raises(NetworkError):
                near.read_exactly(1, now() + BOUND)

        threads.start(read)
        getattr(near, end)()
        threads.join()
        near.close()
        getattr(near, end)()
