#!/usr/bin/env python3
"""Both ends of what bench measures. The far one is a process, so that its threads take nothing of the near one's.

    bench/ends.py FD        the far end, at a listening socket

The first byte of a connection says what becomes of it: `e` what comes is echoed; `t` it is taken, and at its end the
number of bytes answered; `g` and a float: zeros are given for so many seconds; `i` it stays idle until it is closed.
"""

from __future__ import annotations

import json
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

LOOPBACK = "127.0.0.1"
BLOCK = bytes(128 * 1024)
PATIENCE = 10.0  # seconds beyond what was asked for, until a measurement is called stuck
SECONDS = struct.Struct("!f")
_BUSY = "the server is busy"


class Stuck(Exception):
    """A measurement did not end, or not well."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What one slice moved."""

    size: int  # bytes that arrived
    seconds: float

    @property
    def speed(self) -> float:
        """MB/s."""
        return 1e-6 * self.size / self.seconds


# -- the far end ------------------------------------------------------------------------------------------------------


def _echo(sock: socket.socket) -> None:
    while piece := sock.recv(1 << 16):
        sock.sendall(piece)


def _take(sock: socket.socket) -> None:
    sock.sendall(b"%d\n" % _count(sock))


def _give(sock: socket.socket) -> None:
    (seconds,) = SECONDS.unpack(sock.recv(SECONDS.size, socket.MSG_WAITALL))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sock.sendall(BLOCK)


def _stay_idle(sock: socket.socket) -> None:
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    poll.poll()


def _count(sock: socket.socket) -> int:
    """How many bytes come until the end."""
    buffer, size = bytearray(1 << 19), 0
    while n := sock.recv_into(buffer):
        size += n
    return size


WAYS = {b"e": _echo, b"t": _take, b"g": _give, b"i": _stay_idle}


def _serve(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock, suppress(OSError):
        if way := WAYS.get(sock.recv(1)):
            way(sock)


def _accept(listener: socket.socket) -> NoReturn:
    while True:
        threading.Thread(target=_serve, args=[listener.accept()[0]], daemon=True).start()


class Far:
    """The far end, running; it is killed at the end."""

    def __init__(self) -> None:
        with socket.create_server((LOOPBACK, 0), backlog=1024) as listener:
            self.port = int(listener.getsockname()[1])
            argv = [sys.executable, __file__, str(listener.fileno())]
            self._process = subprocess.Popen(argv, pass_fds=[listener.fileno()])

    def __enter__(self) -> Far:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


# -- the near end -----------------------------------------------------------------------------------------------------


def dial(port: int, first: bytes = b"") -> socket.socket:
    """A connection that leads to the far end, and its first bytes."""
    sock = socket.create_connection((LOOPBACK, port), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(first)
    return sock


def ask(port: int, question: bytes = b"x") -> None:
    """Opens a connection, has a few bytes echoed, and ends it."""
    with dial(port, b"e" + question) as sock:
        if sock.recv(len(question), socket.MSG_WAITALL) != question:
            raise Stuck("a connection ended before its echo")


def ping(sock: socket.socket, seconds: float) -> int:
    """How many single bytes are echoed one after another on a connection to an echo."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        sock.sendall(b"x")
        if not sock.recv(1):
            raise Stuck("a connection to an echo ended")
        count += 1
    return count


def up(port: int, seconds: float) -> Carried:
    """Sends for so long; the time is that until all was taken."""
    with dial(port, b"t") as sock:
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            sock.sendall(BLOCK)
        sock.shutdown(socket.SHUT_WR)
        return Carried(int(sock.recv(64)), time.monotonic() - began)


def down(port: int, seconds: float) -> Carried:
    """Reads what is given for so long."""
    with dial(port, b"g" + SECONDS.pack(seconds)) as sock:
        began = time.monotonic()
        return Carried(_count(sock), time.monotonic() - began)


class Iperf:
    """An iperf3 server, and runs of its client. `Iperf.here` tells whether it is installed."""

    here = shutil.which("iperf3") is not None

    def __init__(self) -> None:
        with socket.socket() as sock:
            sock.bind((LOOPBACK, 0))
            self.port = int(sock.getsockname()[1])
        self._start()

    def _start(self) -> None:
        argv = ["iperf3", "-s", "-B", LOOPBACK, "-p", str(self.port), "--forceflush"]
        self._server = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._server.stdout is not None
        for line in self._server.stdout:
            if b"Server listening" in line:
                break
        threading.Thread(target=self._server.stdout.read, daemon=True).start()  # or its pipe would fill up

    def __enter__(self) -> Iperf:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()
        self._server.wait()

    def again(self) -> None:
        """A new server at the same port: one whose client was killed may wait for it."""
        self.__exit__()
        self._start()

    def run(self, port: int, seconds: int, *words: str) -> Carried:
        """One run through `port`; all that arrived, in all directions. Raises Stuck."""
        argv = ["iperf3", "-c", LOOPBACK, "-p", str(port), "-t", str(seconds), "-l", "128K", "-J", *words]
        end = time.monotonic() + PATIENCE
        while _BUSY in (told := _told(argv, seconds + PATIENCE)).get("error", "") and time.monotonic() < end:
            time.sleep(0.1)  # the end of the run before has not come to the server
        if "error" in told:
            raise Stuck(told["error"])
        sums = [told["end"][name] for name in ("sum_received", "sum_received_bidir_reverse") if name in told["end"]]
        return Carried(sum(each["bytes"] for each in sums), max(each["seconds"] for each in sums))


def _told(argv: list[str], limit: float) -> dict[str, Any]:
    """What iperf3 tells of a run; `error` is there when it failed."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"error": f"no end {PATIENCE:.0f} s after it was due"}
    told: dict[str, Any] = json.loads(done.stdout or "{}")
    return told if done.returncode == 0 else {"error": done.stderr.strip() or f"exit code {done.returncode}"} | told


def cpu_seconds(*pids: int) -> float:
    """What processes have used so far, in all their threads, to the nanosecond (Linux: make_process_cpuclock)."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


if __name__ == "__main__":
    _accept(socket.socket(fileno=int(sys.argv[1])))
