"""The carrier `http` for a server of peer.py; written from docs/protocol.md alone, too.

There is no decoy: what is not ours gets 404, and so do the requests of a carrier that is not known any more.
"""

import contextlib
import random
import threading
import time
from queue import Queue

from peer_http import DOWN, FAILURES, MOST, UP, Asked, Connection, Message, Tokens, message

FIRST = 40 + 3 + 1168 + 16  # bytes of the knock and the first Enc
REASONS = {200: "OK", 204: "No Content", 403: "Forbidden", 404: "Not Found"}


class ServerCarrier:
    """The server's end of one carrier. `answers` are those to downs, which every request of theirs gets."""

    def __init__(self, server: "HttpServer", carrier_id: bytes):
        self.server, self.id, self.changed = server, carrier_id, server.changed
        self.missing, self.held, self.inbox, self.taken = 0, {}, bytearray(), 0
        self.asked, self.answers, self.outbox = set(), {}, bytearray()
        self.opened = self.gone = self.ended = self.over = False

    @property
    def next(self) -> int:
        return len(self.answers)

    def _wait(self, condition) -> None:
        assert self.changed.wait_for(condition, self.server.bound), "the carrier is idle"

    def up(self, n: int, body: bytes) -> tuple[int, bytes]:
        if n > self.missing + 3:
            return 403, b""
        if n >= self.missing:
            self.held.setdefault(n, body)
        while self.missing in self.held and not self.ended:
            body = self.held.pop(self.missing)
            self.inbox += body
            self.missing, self.ended = self.missing + 1, not body
        self.changed.notify_all()
        self._wait(lambda: self.opened or self.gone)
        self._wait(lambda: len(self.inbox) < 2 * MOST or self.over or self.gone)
        return (404 if self.gone else 200), b""

    def down(self, m: int) -> tuple[int, bytes]:
        self._wait(lambda: self.opened or self.gone)
        self.over |= m not in self.asked and m - 2 >= self.next
        self.asked.add(m)
        if m - 2 in self.answers:
            self.answers[m - 2] = 200, b""
        late = time.monotonic() + self.server.parked * random.uniform(0.7, 1.3)
        while m not in self.answers and not self.gone:
            is_late = time.monotonic() >= late
            if m == self.next and (self.outbox or self.over or is_late):
                ends = self.over and not self.outbox
                self.answers[m] = (204, b"") if ends else (200, bytes(self.outbox[:MOST]))
                del self.outbox[:MOST]
                self.changed.notify_all()
            else:
                self.changed.wait(max(0.0, late - time.monotonic()) if m == self.next else self.server.bound)
        return self.answers.get(m, (404, b""))

    def recv(self, n: int) -> bytes:
        with self.changed:
            self.opened |= self.taken >= FIRST  # who reads on has opened the first Enc
            self.changed.notify_all()
            self._wait(lambda: self.inbox or self.ended or self.over)
            data = bytes(self.inbox[:n])
            del self.inbox[:n]
            self.taken += len(data)
            return data

    def sendall(self, data: bytes) -> None:
        with self.changed:
            self._wait(lambda: len(self.outbox) < 2 * MOST or self.over)
            if self.over:
                raise OSError("the carrier is over")
            self.outbox += data
            self.changed.notify_all()

    def close(self) -> None:
        """What was sent still goes out, then 204. Before the knock was valid: it never was."""
        with self.changed:
            self.over, self.gone = True, self.gone or not self.opened
            self.changed.notify_all()

    def drop(self) -> None:
        """As a server that was started anew: it knows nothing of it."""
        with self.changed:
            self.over = self.gone = True
            self.changed.notify_all()


class HttpServer:
    """All connections to one server, a thread each. `log` has each request, and each answer, in order.

    `spoil` may give other bytes to answer a request with, or end the connection by an OSError, and the request counts
    as if it had not come. `hold` returns when an answer may go.
    """

    prefix, bound, parked, cookie, stopped = "", 60.0, 20.0, "", False

    def __init__(self, S: bytes, now=time.time):
        self.tokens, self.now, self.changed = Tokens(S), now, threading.Condition()
        self.carriers: dict[bytes, ServerCarrier] = {}
        self.new, self.log, self.connections = Queue(), [], []
        self.spoil = self.hold = lambda asked, said: None

    def serve(self, sock) -> None:
        """Requests of this connection, in a thread of their own."""
        via = Connection(sock)
        with self.changed:
            self.connections.append(via)
            stopped = self.stopped
        if stopped:
            via.close()
        else:
            threading.Thread(target=self._run, args=(via,), daemon=True).start()

    def accept(self) -> ServerCarrier:
        """The next carrier. Whether its knock is valid is for the caller to find."""
        return self.new.get(timeout=self.bound)

    def stop(self) -> None:
        with self.changed:
            self.stopped = True
        for carrier in self.carriers.values():
            carrier.drop()
        for via in self.connections:
            via.close()

    def judge(self, asked: Message) -> Asked | None:
        """TK1, also in the absolute form, and HP1."""
        path = asked.line[1].removeprefix("https://").removeprefix("http://")
        path = path[path.index("/") :]
        ours = asked.line[0] == "POST" and path.startswith(f"{self.prefix}/")
        return self.tokens.read(path.removeprefix(f"{self.prefix}/"), int(self.now() // 3600)) if ours else None

    def _run(self, via: Connection) -> None:
        with contextlib.suppress(*FAILURES), contextlib.closing(via):
            while True:
                request = via.read()
                asked = self.judge(request)
                if spoilt := self.spoil(asked, request):
                    via.sock.sendall(spoilt)
                    continue
                self.note(asked, request)
                answer = self.answer(asked, request)
                self.hold(asked, answer)
                self.note(asked, answer)
                via.write(answer)

    def note(self, asked: Asked | None, said: Message) -> None:
        with self.changed:
            self.log.append((asked, said))
            self.changed.notify_all()

    def answer(self, asked: Asked | None, request: Message) -> Message:
        """Waits until there is one."""
        with self.changed:
            status, body = self._answer(asked, request)
        cookie = [("set-cookie", f"{self.cookie}; Path=/")] if self.cookie else []
        return message(f"HTTP/1.1 {status} {REASONS[status]}", cookie, body)

    def _answer(self, asked: Asked | None, request: Message) -> tuple[int, bytes]:
        if asked is None or asked.what not in (UP, DOWN):
            return 404, b""
        if asked.id not in self.carriers and asked[1:] == (UP, 0) and request.body:
            self.carriers[asked.id] = ServerCarrier(self, asked.id)
            self.new.put(self.carriers[asked.id])
            self.changed.notify_all()
        if not self.changed.wait_for(lambda: asked.id in self.carriers, 10):
            return 404, b""
        carrier = self.carriers[asked.id]
        return carrier.up(asked.n, request.body) if asked.what == UP else carrier.down(asked.n)
