"""The judge knows what the page says: which frames may come, of which form, and how much."""

import json
import struct
from pathlib import Path

import peer
import pytest
from pairs import Pairs, passed
from peer_judge import PeerError, Violation, together
from peer_streams import at
from stream_table import FINE, ROWS, WRONG

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ns1.json").read_text())
KINDS = dict(zip("afder", (peer.OPENED, peer.REFUSED, peer.DATA, peer.END, peer.RESET), strict=True))
RESTS = dict(zip("afder", (at()[1:], b"\5no", b"data", b"", b"\1"), strict=True))
b, SMALL = bytes.fromhex, {"client_window": 65536}


@pytest.fixture
def pairs():
    with Pairs() as made:
        yield made


def violated(sender, receiver, reason):
    """What was sent last is answered by ABORT, and both have it behind them."""
    with pytest.raises(Violation) as wrong:
        receiver.recv()
    assert wrong.value.reason == reason and receiver.over
    while (frame := sender.recv())[0] != peer.ABORT:
        pass
    assert frame[1][0] == reason and sender.over


class Play:
    """One stream, opened by the client or by the server."""

    def __init__(self, pairs, opener):
        client, server = pairs.two()
        self.opener, self.answerer = (client, server) if opener == "client" else (server, client)
        self.number = {"client": 1, "server": 2}[opener]
        if opener == "server":
            passed(client, server, peer.LISTEN, struct.pack(">I", 1) + at())
            passed(server, client, peer.LISTENING, struct.pack(">IB", 1, 0) + at()[1:])

    def say(self, letter):
        """Sends it; returns who has, and who is to read it."""
        sides = (self.opener, self.answerer) if letter.islower() else (self.answerer, self.opener)
        if letter == "o":
            number = self.opener.open() if self.number == 1 else self.opener.accepted(1)
            assert number == self.number
        else:
            sides[0].tell(KINDS[letter.lower()], self.number, RESTS[letter.lower()])
        return sides


def leads_to(way, letter):
    """The state behind a frame that is fine."""
    if letter in "dD":
        return leads_to(way[:-1], way[-1])
    if letter in "fFrR" or (letter in "eE" and letter.swapcase() in way):
        return "over"
    if letter == "o" or (letter == "e" and "A" not in way):
        return "opening"
    return "half" if letter in "eE" or "e" in way else "open"


@pytest.mark.parametrize("opener", ["client", "server"])
@pytest.mark.parametrize(("way", "letter", "verdict"), ROWS)
def test_every_state_and_every_frame(pairs, opener, way, letter, verdict):
    play = Play(pairs, opener)
    for step in way:
        _, reader = play.say(step)
        reader.recv()
    _, reader = sides = play.say(letter)
    if verdict == WRONG:
        violated(sides[0], sides[1], 1)
        return
    received, before = reader.received, reader.streams[play.number].state
    reader.recv()
    assert reader.received == received + 1
    assert reader.streams[play.number].state == (leads_to(way, letter) if verdict == FINE else "over")
    assert before == "over" or verdict == FINE


def test_each_limit_is_for_one_stream(pairs):
    client, server = pairs.two(SMALL, server_window=65536)
    one, two = client.open(), client.open()
    for _ in range(2):
        server.recv()
    for number in (one, two):
        for size in (65532, 4):
            passed(client, server, peer.DATA, struct.pack(">I", number) + bytes(size))
    server.grant(two)
    client.recv()
    assert [client.streams[n].may for n in (one, two)] == [65536, 131072]
    passed(client, server, peer.DATA, struct.pack(">I", two) + b"x")
    client.data(one, b"x")
    violated(client, server, 5)


def test_data_that_is_ignored_has_no_limit(pairs):
    client, server = pairs.two(SMALL, server_window=65536)
    number = client.open()
    server.recv()
    server.refused(number, 5)  # it crosses what follows
    for _ in range(3):
        passed(client, server, peer.DATA, struct.pack(">I", number) + bytes(65532))
    assert server.received == 4 and server.streams[number].taken == 0


def test_the_rows_of_violations(pairs):
    """Each is a session of its own."""
    rows = VECTORS["violations"]["rows"]
    assert len(rows) == 19
    for row in rows:
        client, server = pairs.two()
        for frame in map(b, row["frames"]):
            client.send(frame[0], frame[1:])
        for _ in row["frames"][1:]:
            server.recv()
        violated(client, server, 1)


N = struct.pack(">I", 1)
OPENED = [(peer.OPEN, N + at())]


@pytest.mark.parametrize(
    ("before", "kind", "payload"),
    [  # before: frames that are fine
        ([], 0x16, b""),
        ([], 0x1C, b""),
        ([], peer.ABORT, b""),
        ([], peer.OPEN, N + at(kind=4)),
        ([], peer.OPEN, N + at() + b"\xff"),
        ([], peer.OPEN, N + at(host="h" * 256)),
        ([], peer.OPEN, N + at(1, "/x", 2)),
        ([], peer.OPEN, N + at(0, "/" * 108, 2)),
        ([], peer.LISTEN, N + at(kind=0)),
        ([], peer.UNLISTEN, N),
        ([], peer.LISTENING, N + b"\1"),
        ([], peer.REFRESH, bytes(2336)),
        ([], peer.SWITCH, bytes(32)),
        ([], peer.GOAWAY, bytes(4)),
        ([], peer.DISCONNECT_ACK, bytes(32)),
        ([], peer.DISCONNECT_DONE, bytes(32)),
        ([], peer.PING, bytes(7)),
        ([], peer.PONG, bytes(33)),
        ([], peer.ACK, bytes(7)),
        ([], peer.ACK, bytes(19)),
        (OPENED, peer.RESET, N),
        (OPENED, peer.RESET, N + b"\1\xff"),
        (OPENED, peer.RESET, N + b"\1" + b"x" * 1025),
        (OPENED, peer.DISCONNECT, b""),
        (OPENED, peer.OPEN, b"\0\0\0\5" + at()),
        ([(peer.LISTEN, N + at()), (peer.UNLISTEN, N)], peer.LISTEN, N + at()),
        ([(peer.DISCONNECT, b"")], peer.ACK, bytes(8)),
        ([(peer.DISCONNECT, b"")], peer.PING, bytes(8)),
    ],
)
def test_frames_that_a_client_may_not_send(pairs, before, kind, payload):
    client, server = pairs.two()
    for frame in before:
        passed(client, server, *frame)
    client.send(kind, payload)
    violated(client, server, 1)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (peer.OPEN, b"\0\0\0\2" + at()),
        (peer.ACCEPTED, b"\0\0\0\2" + N + at()[1:]),
        (peer.LISTENING, N + b"\1"),
        (peer.REFUSED, N + b"\1" + b"x" * 1025),
        (peer.OPENED, N + b"\0"),
        (peer.OPENED, N + at(host="h" * 256)[1:]),
        (peer.UNLISTEN, N),
        (peer.ACK, struct.pack(">QIQ", 0, 3, 1)),
        (peer.SWITCH, bytes(32)),
        (peer.DISCONNECT, b""),
        (peer.DISCONNECT_ACK, bytes(32)),
        (peer.REFRESHED, bytes(2384)),
        (peer.GOAWAY, bytes(3)),
        (peer.REFRESH, b""),
    ],
)
def test_frames_that_a_server_may_not_send(pairs, kind, payload):
    client, server = pairs.two()
    client.open()
    server.recv()
    server.send(kind, payload)
    violated(server, client, 1)


# Listeners. Steps: the client's L listens, u unlistens; the server's y and n say yes and no, U unlistens, A accepts


@pytest.mark.parametrize(
    ("steps", "verdict"),
    [
        ("LyA", "."),
        ("LyAA", "."),
        ("LA", "x"),
        ("LnA", "x"),
        ("LyUA", "x"),
        ("LyuA", "."),
        ("LuyA", "."),
        ("LunA", "x"),
        ("Luy", "."),
        ("Lyy", "x"),
        ("Lny", "."),
        ("LyUy", "."),
        ("Lyu", "."),
        ("LyuU", "."),
        ("LyUu", "."),
        ("LyUU", "."),
        ("A", "x"),
        ("y", "x"),
        ("U", "x"),
        ("u", "x"),
        ("LL", "."),
        ("LuA", "x"),
    ],
)
def test_listeners(pairs, steps, verdict):
    client, server = pairs.two()
    says = {
        "L": client.listen, "u": lambda: client.tell(peer.UNLISTEN, 1), "U": lambda: server.tell(peer.UNLISTEN, 1),
        "y": lambda: server.tell(peer.LISTENING, 1, b"\0" + at()[1:]), "A": lambda: server.accepted(1),
        "n": lambda: server.tell(peer.LISTENING, 1, b"\2not permitted"),
    }  # fmt: skip
    for number, step in enumerate(steps, 1):
        says[step]()
        sides = (client, server) if step in "Lu" else (server, client)
        if number == len(steps) and verdict == "x":
            violated(*sides, 1)
        else:
            sides[1].recv()


# Sessions


def test_no_numbered_frame_before_switch(pairs):
    client, server = pairs.two()
    server.refresh()
    client.answer(*client.recv())
    assert server.recv()[0] == peer.REFRESHED
    client.send(*OPENED[0])
    violated(client, server, 1)


@pytest.mark.parametrize("kind", [peer.PAD, peer.PING, peer.DATA])
@pytest.mark.parametrize("speaker", [0, 1])
def test_the_first_frame_of_a_resumption_is_an_ack(pairs, monkeypatch, kind, speaker):
    client, server = pairs.two()
    passed(client, server, *OPENED[0])
    monkeypatch.setattr([type(client), type(server)][speaker], "ack", lambda side: side.send(kind, bytes(9)))
    again, errors = pairs.reconnected(client, server)
    if speaker == 0:
        assert "first frame" in errors[1]
    else:
        violated(again, client, 1)


def test_limits_above_the_window_are_stated_again(pairs):
    client, server = pairs.two(SMALL, server_window=65536)
    numbers = [client.open() for _ in range(4)]
    for number in numbers:
        server.recv()
        server.opened(number)
        client.recv()
    one, two, three, four = numbers
    server.grant(one, two, three, four, w=1 << 20)
    client.recv()
    client.end(two)
    server.recv()
    server.reset(three)  # this is lost
    server, errors = pairs.reconnected(client, server)
    assert errors == ["", ""]
    assert client.recv() == (peer.ACK, struct.pack(">QIQIQIQ", 5, one, 1 << 20, two, 1 << 20, four, 1 << 20))
    assert client.unrestated == {three: 1 << 20}
    assert client.recv()[0] == peer.RESET and client.unrestated == {}
    server.streams[one].granted = 0  # it forgets that one
    server, errors = pairs.reconnected(client, server)
    assert client.recv()[0] == peer.ACK and client.unrestated == {one: 1 << 20}
    server.grant(one, w=1 << 20)
    assert client.recv()[0] == peer.ACK and client.unrestated == {}


def test_a_peer_error_is_no_violation(pairs):
    client, server = pairs.two()
    client.sock.sendall(bytes(40))
    with pytest.raises(PeerError) as wrong:
        server.recv()
    assert not isinstance(wrong.value, Violation) and not server.over
    assert together(client.recv) != [""] and not client.heard
