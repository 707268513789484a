"""The carrier `http` for a client of peer.py, and what client and server share; from docs/protocol.md alone, too.

A carrier is to a peer what a socket is: recv(n), sendall(b), close(). Blocking, over TLS connections that others make;
a time-out is that of the connection. What a test wants to go wrong it does with the parts. peer_http_server.py is the
server's side.
"""

import base64
import contextlib
import hmac
import struct
import time
from os import urandom
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from peer import expand, hkdf

WEBSOCKET, UP, DOWN = range(3)
MOST, LEAST = 1 << 19, 4096  # bytes of a body: at most, and at least behind a 413
WIDE, UNDER_WAY = 4, 2  # ups, and downs, at once
BINARY = "application/octet-stream"
FAILURES = OSError, AssertionError, ValueError, KeyError


class Asked(NamedTuple):
    """What a token says."""

    id: bytes
    what: int
    n: int


class Message(NamedTuple):
    """A request or an answer. The first line, in three words; names of headers are in lower case."""

    line: list[str]
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def status(self) -> int:
        return int(self.line[1])


def message(line: str, headers: list[tuple[str, str]], body: bytes) -> Message:
    """HP1: besides these headers the kind of body, no-store, and its length."""
    kind = [("content-type", BINARY), ("cache-control", "no-store"), ("content-length", str(len(body)))]
    return Message(line.split(" ", 2), [*headers, *kind], body)


class Tokens:
    """TK2: the paths of who knows S."""

    def __init__(self, S: bytes):
        self.knock = hkdf(b"", S, b"ns1 knock")

    def _keys(self, hour: int) -> tuple:
        keys = (expand(self.knock, label + struct.pack(">Q", hour)) for label in (b"ns1 carrier", b"ns1 carrier tag"))
        return Cipher(algorithms.AES(next(keys)), modes.ECB()), next(keys)

    def make(self, hour: int, asked: Asked) -> str:
        cipher, key = self._keys(hour)
        block = cipher.encryptor().update(asked.id + bytes([asked.what]) + asked.n.to_bytes(5))
        return base64.urlsafe_b64encode(block + hmac.digest(key, block, "sha256")[:16]).decode().rstrip("=")

    def read(self, text: str, hour: int) -> Asked | None:
        raw = base64.b64decode(text + "=", b"-_") if len(text) == 43 else b""
        if len(raw) != 32 or base64.urlsafe_b64encode(raw).decode().rstrip("=") != text:
            return None
        for near in (hour, hour - 1, hour + 1):
            cipher, key = self._keys(near)
            if hmac.compare_digest(hmac.digest(key, raw[:16], "sha256")[:16], raw[16:]):
                plain = cipher.decryptor().update(raw[:16])
                return Asked(plain[:10], plain[10], int.from_bytes(plain[11:]))
        return None


class Connection:
    """One TLS connection, and whole messages on it."""

    def __init__(self, sock):
        self.sock, self._got = sock, b""

    def _more(self) -> None:
        data = self.sock.recv(1 << 16)
        assert data, "the connection ended"
        self._got += data

    def _line(self) -> str:
        while b"\r\n" not in self._got:
            self._more()
        line, _, self._got = self._got.partition(b"\r\n")
        return line.decode("latin-1")

    def _exactly(self, n: int) -> bytes:
        while len(self._got) < n:
            self._more()
        data, self._got = self._got[:n], self._got[n:]
        return data

    def read(self) -> Message:
        """The next request or answer, with its body."""
        line, headers = self._line().split(" ", 2), []
        while text := self._line():
            name, _, value = text.partition(":")
            headers.append((name.lower(), value.strip()))
        said = Message(line, headers, b"")
        if said.all("transfer-encoding"):
            return said._replace(body=self._chunks())
        length = int((said.all("content-length") or ["0"])[0])
        return said._replace(body=self._exactly(length))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._line(), 16):
            body += self._exactly(size + 2)[:-2]
        assert self._line() == "", "trailers"
        return body

    def write(self, said: Message) -> None:
        head = "".join(f"{name}: {value}\r\n" for name, value in said.headers)
        self.sock.sendall(f"{' '.join(said.line)}\r\n{head}\r\n".encode() + said.body)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()


class ClientCarrier:
    """`dial` makes a TLS connection to the server, which offers ALPN http/1.1 (CA4). One thread's."""

    def __init__(self, dial, S: bytes, prefix: str = "", now=time.time, most: int = MOST):
        self.dial, self.tokens, self.prefix, self.now, self.most = dial, Tokens(S), prefix, now, most
        self.id, self.cookies, self.over = urandom(10), {}, False
        self.free: list[Connection] = []
        self.n = self.m = 0  # of the next up and the next down
        self.ups: dict[int, tuple[Connection, bytes]] = {}  # under way
        self.downs: dict[int, Connection] = {}
        self.got = bytearray()

    def target(self, what: int, n: int) -> str:
        return f"{self.prefix}/{self.tokens.make(int(self.now() // 3600), Asked(self.id, what, n))}"

    def ask(self, what: int, n: int, body: bytes = b"", fresh: bool = False) -> Connection:
        """Puts a request on a connection, and no other while it is not answered."""
        via = self.free.pop() if self.free and not fresh else Connection(self.dial())
        cookies = [("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))]
        headers = [("host", "x"), *cookies[: len(self.cookies)]]
        with contextlib.suppress(OSError):  # a connection that has ended is noticed by who reads the answer
            via.write(message(f"POST {self.target(what, n)} HTTP/1.1", headers, body))
        return via

    def finish(self, via: Connection) -> Message:
        """The answer; then the connection is free again."""
        answer = via.read()
        pairs = [each.partition(";")[0].partition("=") for each in answer.all("set-cookie")]
        self.cookies |= {name.strip(): value.strip() for name, _, value in pairs}
        via.close() if "close" in answer.all("connection") else self.free.append(via)
        return answer

    def _answer(self, via: Connection, what: int, n: int, body: bytes = b"") -> Message:
        """HP7: what fails is repeated three times on fresh connections."""
        for _ in range(4):
            with contextlib.suppress(*FAILURES):
                answer = self.finish(via)
                if answer.status == 413:
                    self.most = max(LEAST, self.most // 2)
                    break
                good = answer.status == 200 and answer.all("content-type") == [BINARY]
                if good or (what == DOWN and answer.status == 204):
                    return answer
            via.close()
            via = self.ask(what, n, body, fresh=True)
        self.drop()
        raise OSError("the carrier is lost")

    def _up(self, body: bytes) -> None:
        while len(self.ups) >= WIDE:
            self.finish_up()
        self.ups[self.n] = self.ask(UP, self.n, body), body
        self.n += 1

    def finish_up(self) -> None:
        """Waits for the answer to the first of those that are under way."""
        n = min(self.ups)
        via, body = self.ups.pop(n)
        self._answer(via, UP, n, body)

    def sendall(self, data: bytes) -> None:
        """HP3. The first of these are the knock and the first Enc."""
        if self.over:
            raise OSError("the carrier is over")
        for begin in range(0, len(data), self.most):
            self._up(data[begin : begin + self.most])
        if self.n == 1:
            self.finish_up()

    def recv(self, n: int) -> bytes:
        """HP5 and HP6; nothing behind the end."""
        while not self.got and not self.over:
            held = min(self.downs, default=self.m)  # the answers below it are held
            while self.m < held + UNDER_WAY:
                self.downs[self.m] = self.ask(DOWN, self.m)
                self.m += 1
            answer = self._answer(self.downs.pop(held), DOWN, held)
            self.got += answer.body
            self.over |= answer.status == 204
        data = bytes(self.got[:n])
        del self.got[:n]
        return data

    def end(self) -> None:
        """HP4: an empty body ends this direction."""
        self._up(b"")
        while self.ups:
            self.finish_up()

    def close(self) -> None:
        with contextlib.suppress(*FAILURES):
            if self.n and not self.over:
                self.end()
        self.drop()

    def drop(self) -> None:
        """As a box that loses it does: nothing more is asked, and nothing is said."""
        self.over = True
        for via in [*self.free, *self.downs.values(), *(via for via, _ in self.ups.values())]:
            via.close()
