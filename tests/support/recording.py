"""What record.py watches two independent peers with: their random bytes, keys, frames, requests; and their carriers."""

import collections
import random
import socket
import threading

import peer
from peer_http import DOWN, UP, Asked, ClientCarrier, Connection, Message
from peer_http_server import HttpServer
from peer_judge import Feed

HOUR = 498_725
NOW = HOUR * 3600 + 1234.567
BODY, BOUND = 2000, 60.0


class Drawn:
    """Random bytes, fixed for each side; the draws are kept."""

    def __init__(self) -> None:
        self.sources = {name: random.Random(name) for name in ("client", "server")}
        self.draws = collections.defaultdict(list)

    def __call__(self, size: int) -> bytes:
        side = threading.current_thread().name
        self.draws[side].append(self.sources[side].randbytes(size))
        return self.draws[side][-1]

    def below(self, bound: int) -> int:
        return self.sources[threading.current_thread().name].randrange(bound)

    def kems(self) -> list[str]:
        return [draw.hex() for draw in self.draws["client"] if len(draw) == 96]


class Steps(peer.Symmetric):
    """Keeps its operations."""

    def __init__(self, S: bytes):
        super().__init__(S)
        self.steps: list[dict] = []
        self._keep("start", S)

    def _keep(self, op: str, data: bytes, **more: str) -> None:
        self.steps.append({"op": op, "input": data.hex(), **more, "h": self.h.hex(), "ck": self.ck.hex()})

    def mix_key(self, x: bytes) -> None:
        super().mix_key(x)
        self._keep("MixKey", x)

    def mix_key_and_hash(self, x: bytes) -> None:
        super().mix_key_and_hash(x)
        self._keep("MixKeyAndHash", x)

    def crypt(self, direction: str, data: bytes) -> bytes:
        result = super().crypt(direction, data)
        plain, sealed = (data, result) if direction == "encrypt" else (result, data)
        self._keep("Enc", plain, output=sealed.hex())
        return result


class Tap:
    """Keeps what a side writes, and the frames that it reads."""

    def __init__(self, sock):
        self.sock, self.said, self.frames = sock, [], []
        self.recv, self.close = sock.recv, sock.close

    def sendall(self, data: bytes) -> None:
        self.said.append(bytes(data))
        self.sock.sendall(data)

    def messages(self, *names: str) -> dict[str, str]:
        return {name: said.hex() for name, said in zip(names, self.said, strict=False)}


class Kept:
    """A peer whose socket is a Tap: keeps the frames that it reads."""

    def recv(self):
        frame = super().recv()
        self.sock.frames.append((bytes([frame[0]]) + frame[1]).hex())
        return frame


# The two carriers


def event(asked: Asked, said: Message) -> dict:
    kind = {"method": said.line[0], "target": said.line[1]} if said.line[0] == "POST" else {"status": said.status}
    return {"what": asked.what, "n": asked.n, **kind, "headers": said.headers, "body": said.body.hex()}


class Seen(ClientCarrier):
    """Keeps its requests and answers."""

    def __init__(self, number: int, dial, S: bytes):
        super().__init__(dial, S, now=lambda: NOW, most=BODY)
        self.id, self.events, self._under_way = bytes([81 + number]) * 10, [], {}

    def ask(self, what: int, n: int, body: bytes = b"", fresh: bool = False) -> Connection:
        via = super().ask(what, n, body, fresh)
        self._under_way[via] = Asked(self.id, what, n)
        self.events.append(event(self._under_way[via], Connection(Feed(via.sock.said[-1])).read()))
        return via

    def finish(self, via: Connection) -> Message:
        asked = self._under_way[via]
        try:
            answer = super().finish(via)
        except AssertionError:
            self.events.append({"what": asked.what, "n": asked.n, "failed": True})
            raise
        self.events.append(event(asked, answer))
        return answer


class Raw:
    name = "raw"

    def __init__(self, S: bytes):
        self.pairs = [socket.socketpair() for _ in range(2)]

    def dial(self, number: int):
        return self.pairs[number][0]

    def arrive(self, number: int):
        return self.pairs[number][1]

    def idle(self) -> None: ...

    def drop(self, sock) -> None:
        sock.close()

    def end(self, sock) -> None:
        sock.shutdown(socket.SHUT_WR)

    def events(self, number: int) -> dict:
        return {}

    def stop(self) -> None:
        for sock in [each for pair in self.pairs for each in pair]:
            sock.close()


class Http:
    """Answers to up 2 and to down 1 are lost, once in each carrier; and one answer to a down is empty."""

    name = "http"

    def __init__(self, S: bytes):
        self.S, self.server, self.lost = S, HttpServer(S, now=lambda: NOW), set()
        self.server.parked, self.server.hold = 0.2, self._lose
        self.carriers: list[Seen] = []

    def _lose(self, asked: Asked | None, said: Message) -> None:
        if asked and asked[1:] in ((UP, 2), (DOWN, 1)) and asked not in self.lost:
            self.lost.add(asked)
            raise ConnectionError

    def _connection(self) -> Tap:
        near, far = socket.socketpair()
        self.server.serve(far)
        return Tap(near)

    def dial(self, number: int) -> Seen:
        self.carriers.append(Seen(number, self._connection, self.S))
        return self.carriers[-1]

    def arrive(self, number: int):
        return self.server.accept()

    def idle(self) -> None:
        """Until a down got an empty answer."""
        changed, log = self.server.changed, self.server.log
        with changed:
            empty = lambda: any(a.what == DOWN and s.line[1] == "200" and not s.body for a, s in log)  # noqa: E731
            assert changed.wait_for(empty, BOUND)

    def drop(self, sock: Seen) -> None:
        sock.drop()

    def end(self, sock: Seen) -> None:
        sock.end()

    def events(self, number: int) -> dict:
        carrier = self.carriers[number]
        with self.server.changed:
            seen = [event(asked, said) for asked, said in self.server.log if asked.id == carrier.id]
        return {"id": carrier.id.hex(), "hour": HOUR, "client": carrier.events, "server": seen}

    def stop(self) -> None:
        self.server.stop()
        for carrier in self.carriers:
            carrier.drop()
