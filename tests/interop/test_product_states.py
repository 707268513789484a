"""Every state of a stream meets every frame of the other side, in `serve` and `forward`; the table: stream_table.py."""

import socket

import hosts
import peer
import pytest
import visits
from hosts import TARGET, Host
from peer_judge import Judge
from peer_streams import at
from stream_table import IGNORED, ROWS, WRONG
from visits import Visit, aborted, reset, synced, until_acked

served, visit, nowhere, hosting = visits.served, visits.visit, visits.nowhere, hosts.hosting
KINDS = dict(zip("afder", (peer.OPENED, peer.REFUSED, peer.DATA, peer.END, peer.RESET), strict=True))
RESTS = dict(zip("afder", (at()[1:], b"\5no", b"data", b"", b"\1"), strict=True))
MANY = 100  # frames after which a reset of the local side must have shown


def judged(side: Judge, number: int, letter: str, verdict: str) -> None:
    """Sends the frame, and sees what comes of it."""
    side.tell(KINDS[letter.lower()], number, RESTS[letter.lower()])
    if verdict == WRONG:
        assert aborted(side) == 1
        return
    until_acked(side)  # it is counted as received, also when it is ignored
    came = [(kind, payload) for kind, payload in synced(side) if int.from_bytes(payload[:4]) == number]
    assert not side.over and (verdict != IGNORED or came == [])


def provoked(side: Judge, number: int) -> None:
    """Sends DATA until the local side's reset shows, of a socket that is not read any more."""
    for _ in range(MANY):
        if side.streams[number].over:
            return
        side.data(number, b"x")
        synced(side)
    side.closed(number)


# The product answers


class Opener:
    """The peer opens, and the target does what the answerer does."""

    def __init__(self, visit: Visit, way: str, nowhere: int) -> None:
        self.peer = visit.visitor()
        self.tap = visit.tap() if "A" in way else visit.held()
        self.port = nowhere if "F" in way else self.tap.port
        self.number = 1

    def step(self, letter: str) -> None:
        if letter == "o":
            assert self.peer.open(self.port) == self.number
        elif letter.islower():
            self.peer.tell(KINDS[letter], self.number, RESTS[letter])
        elif letter in "AF":
            self.peer.answered(self.number)
            assert self.peer.streams[self.number].answer[0] == KINDS[letter.lower()]
            if letter == "A":
                self.target = self.tap.accept()
        elif letter == "E":
            self.target.shutdown(socket.SHUT_WR)
            self.peer.read(lambda: peer.S2C in self.peer.streams[self.number].ended)
        elif letter == "R":
            reset(self.target)
            if peer.S2C in self.peer.streams[self.number].ended:
                provoked(self.peer, self.number)
            self.peer.closed(self.number)
            assert self.peer.streams[self.number].last[0] == peer.S2C


@pytest.mark.parametrize(("way", "letter", "verdict"), [row for row in ROWS if row[1].islower()])
def test_frames_of_a_client(visit: Visit, nowhere: int, way: str, letter: str, verdict: str) -> None:
    opener = Opener(visit, way, nowhere)
    for step in way:
        opener.step(step)
    judged(opener.peer, opener.number, letter, verdict)


# The product opens


class Answerer:
    """An application opens, and the peer answers."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.server, self.number, self.app = host.asked()

    def step(self, letter: str) -> None:
        if letter == "A":
            self.server.opened(self.number, *TARGET)
        elif letter == "e":
            self.app.shutdown(socket.SHUT_WR)
            self.server.read(lambda: peer.C2S in self.server.streams[self.number].ended)
        elif letter == "r":
            reset(self.app)
            if peer.C2S in self.server.streams[self.number].ended:
                provoked(self.server, self.number)
            self.server.closed(self.number)
            assert self.server.streams[self.number].last[0] == peer.C2S
        elif letter != "o":
            self.server.tell(KINDS[letter.lower()], self.number, RESTS[letter.lower()])


# An application that has ended its direction, and gets nothing, can go unnoticed
UNSEEN = ("oer", "oAEer")


@pytest.mark.parametrize(("way", "letter", "verdict"), [r for r in ROWS if r[1].isupper() and r[0] not in UNSEEN])
def test_frames_of_a_server(hosting: Host, way: str, letter: str, verdict: str) -> None:
    if not way:  # never opened: a number behind those that were
        server, number, _ = hosting.opened()
        judged(server, number + 2, letter, verdict)
        return
    answerer = Answerer(hosting)
    for step in way:
        answerer.step(step)
    judged(answerer.server, answerer.number, letter, verdict)
    answerer.app.close()
