"""Proxies for tests: plain servers by script, a SOCKS 5 server of the tests' own, and Squid."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import spnego
from loopback import pem, unused_port
from program import Process, environment, tool
from targets import Target

BOUND = 30.0
CHUNK = 1 << 16
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Plain(Target):
    """A server; nothing that it meets is an error."""

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port


def head_of(sock: socket.socket) -> bytes:
    """An HTTP head, and no byte behind it; what came of one where the connection ended."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            break
        head += byte
    return head


def exactly(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = sock.recv(size - len(got))
        if not piece:
            raise ConnectionError("it ended")
        got += piece
    return got


def relay(one: socket.socket, other: socket.socket) -> None:
    """Both ways, to both ends. None of the two may be TLS: two threads are in each."""

    def move(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while piece := source.recv(CHUNK):
                sink.sendall(piece)
        with suppress(OSError, ValueError):
            sink.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=move, args=[other, one], daemon=True)
    back.start()
    move(one, other)
    back.join(BOUND)


def lead(sock: socket.socket, host: str, port: int, opened: bytes = OPEN) -> None:
    """Opens the way and relays."""
    with socket.create_connection((host, port), BOUND) as there:
        sock.sendall(opened)
        relay(sock, there)


def connecting(sock: socket.socket) -> None:
    """An HTTP proxy that lets all pass."""
    host, _, port = head_of(sock).split(b" ")[1].decode().rpartition(":")
    lead(sock, host.strip("[]"), int(port))


class Socks:
    """A SOCKS 5 server, written from RFC 1928 and 1929; `asked` has what it was asked for, as it was written."""

    def __init__(self, user: str = "", password: str = "", reply: Callable[[str], int] = lambda _: 0) -> None:
        self.user, self.password, self.reply = user, password, reply
        self.asked: list[tuple[int, str, int]] = []

    def __call__(self, sock: socket.socket) -> None:
        version, methods = exactly(sock, 2)
        offered = exactly(sock, methods)
        wanted = 2 if self.user else 0
        assert version == 5
        if wanted not in offered:
            return sock.sendall(b"\5\xff")
        sock.sendall(bytes([5, wanted]))
        if wanted and not self.is_known(sock):
            return None
        _, command, _, kind = exactly(sock, 4)
        assert command == 1
        host = self.host(sock, kind)
        port = int.from_bytes(exactly(sock, 2), "big")
        self.asked.append((kind, host, port))
        if reply := self.reply(host):
            return sock.sendall(bytes([5, reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        return lead(sock, host, port, bytes([5, 0, 0, 1, 127, 0, 0, 1, 0, 1]))

    def is_known(self, sock: socket.socket) -> bool:
        assert exactly(sock, 1) == b"\1"
        user = exactly(sock, exactly(sock, 1)[0]).decode()
        password = exactly(sock, exactly(sock, 1)[0]).decode()
        known = (user, password) == (self.user, self.password)
        sock.sendall(bytes([1, 0 if known else 1]))
        return known

    def host(self, sock: socket.socket, kind: int) -> str:
        if kind == 3:
            return exactly(sock, exactly(sock, 1)[0]).decode()
        family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
        return socket.inet_ntop(family, exactly(sock, size))


class Guard:
    """An HTTP proxy with NTLM or Negotiate, by pyspnego's acceptor; `known` are those whom it let pass."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.known: list[str] = []

    def __call__(self, sock: socket.socket) -> None:
        acceptor = spnego.server(hostname="localhost", service="HTTP", protocol=self.scheme.lower())
        said = ""
        while head := head_of(sock).decode():
            given = head.partition(f"Proxy-Authorization: {self.scheme} ")[2].partition("\r\n")[0]
            try:
                said = b64encode(acceptor.step(b64decode(given)) or b"").decode() if given else ""
            except spnego.exceptions.SpnegoError:
                said = ""
            if acceptor.complete:
                self.known.append(str(acceptor.client_principal))
                host, _, port = head.split(" ")[1].rpartition(":")
                return lead(sock, host, int(port))
            offer = f"Proxy-Authenticate: {self.scheme} {said}".rstrip()
            sock.sendall(f"HTTP/1.1 407 Who\r\n{offer}\r\nContent-Length: 4\r\n\r\nWho?".encode())


class Squid:
    """A Squid of the test's own: `port` speaks HTTP, `secure` in TLS. Its login is alice, secret."""

    def __init__(self, place: Path, auth: str, *rules: str) -> None:
        self.place, self.port, self.secure = place, unused_port(), unused_port()
        cert, key = (shutil.copy(path, place) for path in pem("localhost"))
        lines = [
            f"http_port 127.0.0.1:{self.port}",
            f"https_port 127.0.0.1:{self.secure} tls-cert={cert} tls-key={key}",
            *_AUTH[auth](place),
            *rules,
            "http_access allow all" if auth == "none" else "acl known proxy_auth REQUIRED\nhttp_access allow known",
            "http_access deny all",
            "pid_filename none",
            "cache deny all",
            f"access_log stdio:{place}/access",
            f"cache_log {place}/log",
            "shutdown_lifetime 0 seconds",
            "visible_hostname squid.example",
            "pinger_enable off",
        ]
        (place / "conf").write_text("\n".join(lines) + "\n")
        os.chmod(place, 0o755)
        for path in place.iterdir():
            path.chmod(0o644)
        if os.geteuid() == 0:  # then it runs as its own user
            for path in (place, *place.iterdir()):
                shutil.chown(path, "proxy", "proxy")
        words = [tool("squid"), "-N", "-d1", "-n", f"t{os.getpid()}x{self.port}", "-f", str(place / "conf")]
        self.process = Process(words, environment(place))
        for kind in ("HTTP Socket", "HTTPS Socket"):
            self.process.err.wait(f"Accepting {kind}")

    @property
    def access(self) -> list[str]:
        """What it was asked for, a line each: the method, the target, and the user."""
        fields = [line.split() for line in (self.place / "access").read_text().splitlines()]
        return [f"{each[3]} {each[5]} {each[6]} {each[7]}" for each in fields]


def _basic(place: Path) -> list[str]:
    done = subprocess.run([tool("openssl"), "passwd", "-apr1", "secret"], capture_output=True, check=True, text=True)
    (place / "users").write_text(f"alice:{done.stdout}")
    return [f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {place}/users"]


def _digest(place: Path) -> list[str]:
    (place / "users").write_text("alice:secret\n")
    program = f"auth_param digest program /usr/lib/squid/digest_file_auth {place}/users"
    return [program, "auth_param digest realm squid", "auth_param digest nonce_max_count 1"]


def _ntlm(_: Path) -> list[str]:
    """Squid's own helper for trials: it takes every user."""
    return ["auth_param ntlm program /usr/lib/squid/ntlm_fake_auth", "auth_param ntlm keep_alive on"]


_AUTH = {"none": lambda _: [], "basic": _basic, "digest": _digest, "ntlm": _ntlm}


@contextmanager
def squid(auth: str, *rules: str) -> Iterator[Squid]:
    """Runs one, in a folder that its own user may read, too."""
    with tempfile.TemporaryDirectory(prefix="squid") as folder:
        made = Squid(Path(folder), auth, *rules)
        try:
            yield made
        finally:
            made.process.close()
