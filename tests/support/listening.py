"""What listens on this machine, read from /proc, and what answers there."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from loopback import read_all, read_exactly
from targets import BOUND, dial

_LISTENS: Final = "0A"  # in /proc/net/tcp
_PICKED: Final = 20_000, 32_000  # ports below those that the kernel picks
_TO_DIAL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_SOCKS5: Final = b"\5\1\0", b"\5\1\0\3\x09localhost"


class Saying:
    """Says one thing to all who connect; with `both`, the port behind its own is free when it starts."""

    def __init__(self, says: bytes, at: tuple[str, int] | str = ("127.0.0.1", 0), *, next_free: bool = False) -> None:
        self._says = says
        self._listener = _bound(at)
        while next_free and not is_free(self._listener.getsockname()[1] + 1):
            self._listener.close()
            self._listener = _bound(at)
        self.port = 0 if isinstance(at, str) else int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with suppress(OSError), sock:
                    sock.sendall(self._says)

    def __enter__(self) -> Saying:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


def _bound(at: tuple[str, int] | str) -> socket.socket:
    if isinstance(at, tuple):
        return socket.create_server(at, family=socket.AF_INET6 if ":" in at[0] else socket.AF_INET)
    made = socket.socket(socket.AF_UNIX)
    made.bind(at)
    made.listen()
    return made


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        _bound(("::1", 0)).close()
    except OSError:
        return False
    return True


def is_free(port: int) -> bool:
    """Whether both loopback addresses are free there."""
    try:
        for host in ("127.0.0.1", "::1"):
            _bound((host, port)).close()
    except (OSError, OverflowError):
        return False
    return True


def pair_of_free(taken: set[int]) -> tuple[int, int]:
    """Two ports, one behind the other, in no earlier pair; who asks the kernel for any port gets another one."""
    while True:
        port = random.randrange(*_PICKED, 2)
        if port not in taken and is_free(port) and is_free(port + 1):
            taken.add(port)
            return port, port + 1


def addresses(port: int) -> dict[str, int]:
    """Where something listens at this port, IPv4 first, and the inode of the socket."""
    found = {}
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            host, _, at = local.partition(":")
            if state == _LISTENS and int(at, 16) == port:
                words = [int(host[i : i + 8], 16) for i in range(0, len(host), 8)]
                found[socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))] = int(rest[5])
    return found


def holder(inode: int) -> int:
    """The process that has this socket."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(link) == f"socket:[{inode}]":
                return int(link.parts[2])
    raise AssertionError("no process has it")


def answer(where: tuple[str, int] | str, asks: tuple[str, int] | None = None) -> str:
    """What comes to somebody who connects: words, or how it ends. `asks`: SOCKS or HTTP, and the port at localhost."""
    try:
        with _dialled(where) as sock:
            if asks is None:
                got = read_all(sock)
            elif asks[0] == "http":
                sock.sendall(b"CONNECT localhost:%d HTTP/1.0\r\n\r\n" % asks[1])
                got = read_all(sock).partition(b"\r\n\r\n")[2]
            else:
                sock.sendall(_SOCKS5[0])
                read_exactly(sock, 2)
                sock.sendall(_SOCKS5[1] + struct.pack(">H", asks[1]))
                read_exactly(sock, 10)
                got = read_all(sock)
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "silent"
    return got.decode() or "closed"


def _dialled(where: tuple[str, int] | str) -> socket.socket:
    if isinstance(where, tuple):
        return dial(where[1], _TO_DIAL.get(where[0], where[0]))
    with ExitStack() as failed:
        sock = failed.enter_context(socket.socket(socket.AF_UNIX))
        sock.settimeout(BOUND)
        sock.connect(where)
        failed.pop_all()
    return sock
