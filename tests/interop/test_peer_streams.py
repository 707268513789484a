"""Many streams of the second endpoint against itself: at once, and through cuts that lose frames and ACKs."""

import hashlib
import random
from collections import Counter
from threading import Thread

import peer
import pytest
from pairs import BOUND, Pairs
from peer import C2S, S2C

SIZE = 300_000


@pytest.fixture
def pairs():
    with Pairs() as made:
        yield made


def echo(server):
    """Answers OPEN with OPENED, DATA and END with themselves, until it is left."""
    while (frame := server.recv())[0] != peer.DISCONNECT:
        kind, payload = frame
        number = int.from_bytes(payload[:4])
        if kind == peer.OPEN:
            server.opened(number)
        elif kind in (peer.DATA, peer.END):
            server.grant(number)
            server.send(kind, payload)
    server.release()


@pytest.mark.parametrize("count", [1, 20, 500])
def test_many_streams_at_once(pairs, count):
    client, server = pairs.two({"client_window": 65536}, server_window=65536)
    thread = Thread(target=echo, args=(server,), daemon=True)
    thread.start()
    sent = {client.open(): random.Random(n).randbytes(SIZE // count) for n in range(count)}
    assert list(sent) == list(range(1, 2 * count, 2))
    for number, data in sent.items():
        for begin in range(0, len(data), 30_000):
            client.data(number, data[begin : begin + 30_000])
            client.read(lambda stream=client.streams[number]: stream.sent == stream.taken)
    client.end(*sent)
    client.closed(*sent)
    assert {number: bytes(stream.got) for number, stream in client.streams.items()} == sent
    client.release()
    thread.join(BOUND)
    assert server.over and not server.alive() and not client.kept


class Wild:
    """Says and reads at random; each side's frames that are under way are counted, so that no read waits."""

    def __init__(self, pairs, seed):
        self.pairs, self.random = pairs, random.Random(seed)
        small = {"client_window": 65536}
        self.sides = dict(zip((C2S, S2C), pairs.two(small, server_window=65536), strict=True))
        self.under_way, self.said, self.did = Counter(), {}, Counter()

    def say(self, d):
        """A frame that is fine, on some stream, or a new stream."""
        side = self.sides[d]
        mine = [n for n, s in side.alive().items() if d not in s.ended and (s.opener == d or s.answer[0])]
        owed = [n for n, s in side.alive().items() if s.opener != d and not s.answer[0]]
        deed = self.random.choice(["data"] * 8 + ["answer"] * 3 + ["open", "end", "reset", "ack", "grant"])
        number = self.random.choice((owed if deed == "answer" else mine) or [0])
        if deed == "open" and d == C2S:
            side.open()
        elif deed == "answer" and number:
            side.opened(number) if self.random.random() < 0.9 else side.refused(number, 5)
        elif deed == "data" and number and side.streams[number].sent + 2_000 <= side.streams[number].may:
            data = self.random.randbytes(self.random.randrange(1, 2_000))
            self.said.setdefault((d, number), hashlib.sha256()).update(data)
            side.data(number, data)
        elif deed in ("end", "reset") and number and self.random.random() < 0.3:
            getattr(side, deed)(number)
        elif deed == "ack":
            side.ack()
        elif deed == "grant" and side.streams:
            side.grant(self.random.choice(list(side.streams)))
        else:
            return
        self.did[deed] += 1
        self.under_way[d] += 1

    def hear(self, d):
        """Reads some of what is under way in this direction."""
        reader = self.sides[S2C if d == C2S else C2S]
        for _ in range(self.random.randrange(self.under_way[d] + 1)):
            reader.recv()
            self.under_way[d] -= 1

    def cut(self):
        """What is under way is lost, and sent again."""
        (client, old), lost = self.sides.values(), self.under_way.total()
        server, errors = self.pairs.reconnected(client, old)
        assert errors == ["", ""]
        self.sides[S2C] = server
        self.under_way = Counter({C2S: len(client.kept), S2C: 1 + len(server.kept)})
        self.did["lost"] += lost

    def settle(self):
        """Reads all that is under way."""
        for d, reader in ((C2S, self.sides[S2C]), (S2C, self.sides[C2S])):
            for _ in range(self.under_way[d]):
                reader.recv()
        self.under_way.clear()


@pytest.mark.parametrize("seed", range(10))
def test_cuts_lose_and_double_nothing(pairs, seed):
    wild = Wild(pairs, seed)
    for _ in range(30):
        for _ in range(wild.random.randrange(60)):
            wild.say(wild.random.choice((C2S, S2C)))
            if wild.random.random() < 0.2:
                wild.hear(wild.random.choice((C2S, S2C)))
        wild.cut()
        if wild.random.random() < 0.5:
            wild.settle()
    wild.settle()
    client, server = wild.sides.values()
    assert (client.received, server.received) == (server.sent, client.sent)
    for d, reader in ((C2S, server), (S2C, client)):
        for number, stream in reader.streams.items():
            if stream.last == (b"", b"") and stream.answer[0] != peer.REFUSED:  # else some was ignored
                said = wild.said.get((d, number), hashlib.sha256())
                assert hashlib.sha256(stream.got).digest() == said.digest()
    assert client.streams.keys() == server.streams.keys() and client.unrestated == server.unrestated == {}
    assert min(wild.did[each] for each in ("open", "answer", "data", "end", "grant", "lost")) > 0


def test_acks_that_are_lost_cost_nothing_but_room(pairs):
    client, server = pairs.two()
    number = client.open()
    for n in range(5):
        client.data(number, b"%d" % n)
    for _ in range(6):
        server.recv()
    server.lose()
    server.ack()
    server.opened(number)
    assert len(client.kept) == 6
    server, errors = pairs.reconnected(client, server)
    assert errors == ["", ""] and client.kept == [] and server.received == 6
    assert [client.recv()[0], client.recv()[0]] == [peer.ACK, peer.OPENED]
