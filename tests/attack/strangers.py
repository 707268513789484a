"""Strangers flood a real server; clients far away, or honest ones near by, come in all the same.

    python tests/attack/strangers.py [--attack NAME ...] [--seconds 60] [--rate 5000] [--source ADDRESS ...]

bare: TCP connects without a byte, 5,000 a second. A client with round trips of 200 ms must get 20 of 20 sessions, each
within 3 s, and an existing session whose connection is cut must be back within 3 s, each time.
mixed: 1,000 slow and 1,000 silent TLS clients, 5,000 connections a minute that say garbage, and 500 greetings a second
from one who knows the server's key. An honest client must get its session within 1 s; the server's threads stay at 320,
its memory at 256 MiB. `greetings` and `mixed-without-greetings` are parts of it, `hellos` is 5,000 a second that send
one byte of a ClientHello. Another --rate scales all of it.

Each is run from the client's own address and from another network. Linux only; exits 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "support"), str(HERE)]

import crowds  # noqa: E402
from crowds import Crowd  # noqa: E402
from program import Process, Site  # noqa: E402

from nitrosocks_lib.client.dialler import Dialler  # noqa: E402
from nitrosocks_lib.client.pool import Pool  # noqa: E402
from nitrosocks_lib.crypto.identity import ClientKey  # noqa: E402
from nitrosocks_lib.facts import limits  # noqa: E402
from nitrosocks_lib.facts.errors import NitroSocksError  # noqa: E402
from nitrosocks_lib.files.profiles import load_profile  # noqa: E402
from nitrosocks_lib.net.connect import Route  # noqa: E402
from nitrosocks_lib.protocol import greet  # noqa: E402
from nitrosocks_lib.protocol.frames import Target  # noqa: E402
from nitrosocks_lib.protocol.greet import Credentials  # noqa: E402

CLIENT = "127.0.0.1"
OTHER = "127.9.9.1"  # another network, as the server counts
FAR, NEAR = 3.0, 1.0  # seconds until a session, with round trips of 200 ms and with none
WAY = 0.1
THREADS, MEMORY = 320, 256


@dataclass
class Result:
    """What came of one attack; seconds until a session, of each try."""

    name: str
    bound: float
    sessions: list[float] = field(default_factory=list)
    resumes: list[float] = field(default_factory=list)
    attempts: int = 0
    made: int = 0
    seconds: float = 0.0
    threads: int = 0
    memory: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.made / max(self.seconds, 0.1):,.0f} connections a second for {self.seconds:.0f} s; "
            f"sessions {_told(self.sessions, self.bound)} in {self.attempts} attempts; "
            f"RESUMEs {_told(self.resumes, self.bound)}; {self.threads} threads, {self.memory:.0f} MiB at most"
        )

    @property
    def holds(self) -> bool:
        late = [each for each in [*self.sessions, *self.resumes] if each > self.bound]
        return not late and bool(self.sessions) and self.threads <= THREADS and self.memory <= MEMORY


def _told(times: list[float], bound: float) -> str:
    if not times:
        return "none"
    within = sorted(each for each in times if each <= bound)
    return f"{len(within)} of {len(times)} within {bound:g} s (longest {max(times):.2f} s)"


class Stage(ExitStack):
    """A real server with two clients authorised; `relay` is the port that leads there over a long line."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.site = self.enter_context(Site(place))
        self.server: Process = self.site.serve("--resume", "600")
        self.credentials = load_profile(self.site.profile("alice", self.server.port)).credentials
        self.port = self.server.port

    def far(self, way: float) -> Line:
        line = Line(self.port, way)
        self.callback(line.close)
        return line

    def greeting(self) -> bytes:
        """Of one who knows the server's key, and whom the server does not."""
        who = Credentials(self.credentials.server_public, _STRANGER, bytes(32))
        said = next(greet.greet(who, int(time.time()) // 3600, limits.WINDOW, os.urandom))
        assert isinstance(said, bytes)
        return said

    def look(self, result: Result) -> None:
        """Threads and memory of the server now."""
        status = Path(f"/proc/{self.server.pid}/status").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        result.threads = max(result.threads, int(fields["Threads"]))
        result.memory = max(result.memory, int(fields["VmRSS"].split()[0]) / 1024)


_STRANGER = ClientKey(os.urandom(32))


class Line:
    """A relay in a process of its own, which `cut` makes anew at the same port."""

    def __init__(self, port: int, way: float) -> None:
        self._to, self._way = port, way
        self._listener = socket.create_server((CLIENT, 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        self._start()

    def _start(self) -> None:
        self._crowd = Crowd(crowds.relay, self._listener, self._to, CLIENT, self._way)

    def cut(self) -> None:
        self._crowd.close()
        self._start()

    def close(self) -> None:
        self._crowd.close()
        self._listener.close()


class Standing:
    """A session over a line, with a stream to an echo; `cut` tells how long it is away."""

    def __init__(self, stage: Stage, line: Line) -> None:
        self._line = line
        echo = stage.enter_context(socket.create_server((CLIENT, 0)))
        threading.Thread(target=_echo, args=(echo,), daemon=True).start()
        pool = Pool(Dialler(stage.credentials, ((CLIENT, line.port),), Route(), limits.WINDOW), 1)
        stage.callback(pool.close, 1.0)
        self._near, far = socket.socketpair()
        stage.enter_context(self._near)
        pool.open(Target(1, CLIENT, echo.getsockname()[1]), far, lambda stream: None)
        self.ask(30.0)

    def ask(self, bound: float) -> float:
        """Seconds until one byte is back; infinite when it takes longer than the bound."""
        began = time.monotonic()
        self._near.settimeout(bound)
        try:
            self._near.sendall(b"x")
            return time.monotonic() - began if self._near.recv(1) else float("inf")
        except OSError:
            return float("inf")

    def cut(self) -> float:
        self._line.cut()
        return self.ask(20.0)


def _echo(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            with listener.accept()[0] as sock, suppress(ConnectionError):
                while part := sock.recv(4096):
                    sock.sendall(part)


def get_in(stage: Stage, port: int, result: Result) -> None:
    """One honest client: it tries until it has a session, or for 20 s."""
    dialler = Dialler(stage.credentials, ((CLIENT, port),), Route(), limits.WINDOW)
    began = time.monotonic()
    took = float("inf")
    while took == float("inf") and time.monotonic() < began + 20:
        result.attempts += 1
        try:
            dialler.greet().link.close()
        except NitroSocksError:
            continue
        took = time.monotonic() - began
    result.sessions.append(took)


def bare_crowds(stage: Stage, source: str, rate: float, said: bytes = b"") -> list[Crowd]:
    """The second one from the address beside it, which is the same network: one address has too few free ports."""
    beside = source[:-1] + chr(ord(source[-1]) ^ 3)
    return [Crowd(crowds.bare, stage.port, each, rate / 2, said) for each in (source, beside)]


def hello_crowds(stage: Stage, source: str, rate: float) -> list[Crowd]:
    return bare_crowds(stage, source, rate, b"\x16")


def standing_crowds(stage: Stage, source: str, rate: float) -> list[Crowd]:
    many = int(rate / 5)
    return [
        Crowd(crowds.slow_tls, stage.port, source, many),
        Crowd(crowds.silent_tls, stage.port, source, many),
        Crowd(crowds.garbage, stage.port, source, rate / 60),
    ]


def greeting_crowds(stage: Stage, source: str, rate: float) -> list[Crowd]:
    return [Crowd(crowds.greetings, stage.port, source, rate / 20, stage.greeting) for _ in range(2)]


def mixed_crowds(stage: Stage, source: str, rate: float) -> list[Crowd]:
    return [*standing_crowds(stage, source, rate), *greeting_crowds(stage, source, rate)]


Crowds = Callable[[Stage, str, float], list[Crowd]]
ATTACKS: dict[str, tuple[Crowds, float, float]] = {  # who, one way of the client's line, seconds until a session
    "bare": (bare_crowds, WAY, FAR),
    "hellos": (hello_crowds, WAY, FAR),
    "mixed-without-greetings": (standing_crowds, 0.0, NEAR),
    "greetings": (greeting_crowds, 0.0, NEAR),
    "mixed": (mixed_crowds, 0.0, NEAR),
}


def attack(name: str, source: str, seconds: float, rate: float, tries: int = 20, warm: float = 3.0) -> Result:
    """One attack on a server of its own, from one address; `tries` sessions and RESUMEs spread over its time."""
    who, way, bound = ATTACKS[name]
    result = Result(f"{name} from {source}", bound)
    with tempfile.TemporaryDirectory() as place, Stage(Path(place)) as stage:
        line = stage.far(way)
        standing = Standing(stage, stage.far(way))
        attackers = who(stage, source, rate)
        for each in attackers:
            stage.callback(each.close)
        while not all(each.made for each in attackers):  # greetings are made ahead
            time.sleep(0.1)
        time.sleep(warm)
        before, began = sum(each.made for each in attackers), time.monotonic()
        cpu = _cpu(stage.server.pid), [each.seconds for each in attackers]
        for number in range(tries):
            get_in(stage, line.port if way else stage.port, result)
            result.resumes.append(standing.cut())
            stage.look(result)
            time.sleep(max(0.0, began + (number + 1) * seconds / tries - time.monotonic()))
        result.seconds = time.monotonic() - began
        result.made = sum(each.made for each in attackers) - before
        crowd = sum(each.seconds for each in attackers) - sum(cpu[1])
        print(f"    CPU: server {(_cpu(stage.server.pid) - cpu[0]) / result.seconds:.0%}", end=", ")
        print(f"attackers {crowd / result.seconds:.0%}", flush=True)
    return result


def _cpu(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Prints each result; 1 when one did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attack", nargs="*", choices=ATTACKS, default=["bare", "mixed"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=5000.0)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--source", nargs="*", default=[CLIENT, OTHER])
    options = parser.parse_args()
    results = []
    for name in options.attack:
        for source in options.source:
            results.append(attack(name, source, options.seconds, options.rate, options.tries))
            print(results[-1], "" if results[-1].holds else "-- DOES NOT HOLD", flush=True)
    return 0 if all(each.holds for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
