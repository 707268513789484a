"""Enrolled clients drive a server to its bounds, and an honest one is served beside them.

    python tests/attack/bounds.py [--what names,refused,streams,sessions,nonces] [--clients N] [--seconds N]

names     `--clients` clients, 4 sessions each, ask for 64 names in each that no name server answers (needs root: the
          server gets a resolv.conf of its own). Must hold: the honest client's name is looked up in 2 s.
refused   One client opens what it may not reach, acknowledges nothing, and comes back whenever it is thrown out, for
          `--seconds`. Must hold: the server grows by less than 64 MiB, however long.
streams   A server with 2,048 descriptors; the clients open all the streams they can. Must hold: it goes on accepting,
          and the honest client gets a session and ten streams.
sessions  The same server; the clients greet until they are refused. Must hold: the same.
nonces    Three hours' sets of nonces, full. Must hold: 64 MiB; a nonce takes 100 microseconds in the mean.

The server is the real program, the misbehaving clients are the second endpoint (tests/support/peer.py), the honest one
is `forward`. Prints threads, descriptors and memory of the server; exits 1 where something does not hold.
"""

import argparse
import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

import peer  # noqa: E402
from enrolled import answers, enrol, opens, swallow  # noqa: E402
from program import NITROSOCKS, Process, Site, port_of  # noqa: E402
from targets import Target, echo  # noqa: E402

from nitrosocks_lib.facts import limits  # noqa: E402

MIB = 1 << 20
FEW = 2_048  # descriptors
SESSIONS = 4  # of each client


class Attack(ExitStack):
    """A server, begun by these words in front of it, a target, and what did not hold."""

    def __init__(self, *wrapped: object) -> None:
        super().__init__()
        self.site = self.enter_context(Site(Path(self.enter_context(tempfile.TemporaryDirectory()))))
        self.target = self.enter_context(Target(echo))
        words = (*NITROSOCKS, "serve", "--listen", "127.0.0.1:0", "--home", self.site.home)
        self.server = self._started(*wrapped, *words)
        self.wrong: list[str] = []
        self._honest = 0

    def _started(self, *words: object) -> Process:
        server = self.site.start(*words)
        server.port = port_of(server.err.wait("listening on"))
        server.err.wait("nitrosocks: ready")
        self.callback(server.popen.kill)  # it would wait for the streams of those who are gone
        return server

    def figures(self) -> str:
        lines = Path(f"/proc/{self.server.pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        files = len(os.listdir(f"/proc/{self.server.pid}/fd"))
        return f"{int(status['Threads'])} threads, {files} descriptors, {int(status['VmRSS'].split()[0]) >> 10} MiB"

    def memory(self) -> float:
        return int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB

    def honest(self, host: str = "127.0.0.1", streams: int = 1) -> None:
        """One more client: how long until it has a session, and each stream its echo."""
        self._honest += 1
        began = time.monotonic()
        try:
            profile = self.site.profile(f"honest{self._honest}", self.server.port)
            client = self.site.forward(profile, f"0:{host}:{self.target.port}")
            session, longest = time.monotonic() - began, 0.0
            for _ in range(streams):
                began = time.monotonic()
                with socket.create_connection(("127.0.0.1", client.port), 30.0) as near:
                    near.sendall(b"x")
                    if near.recv(1) != b"x":
                        raise ConnectionError("no echo")
                longest = max(longest, time.monotonic() - began)
            print(
                f"  honest, {host}: keys and session in {session:.2f} s, longest of {streams} streams {longest:.3f} s"
            )
            self.hold(longest < 2.0, "the honest client's streams take long")
            client.close()
        except (AssertionError, OSError) as error:
            print(f"  honest, {host}: not served: {str(error).strip().splitlines()[-1]}")
            self.hold(False, "the honest client is not served")

    def hold(self, good: bool, what: str) -> None:
        if not good:
            self.wrong.append(what)

    def greedy(self, count: int, *permit: str) -> list[Path]:
        return [self.site.profile(f"greedy{n}", self.server.port, *permit) for n in range(count)]

    def enrol(self, profile: Path) -> peer.Client | None:
        """One more session; None where that is refused."""
        try:
            client = enrol(profile, self.server.port)
        except (AssertionError, OSError):
            return None
        self.callback(client.sock.close)
        return client


def names(options: argparse.Namespace) -> list[str]:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "resolv.conf"
        place.write_text("nameserver 127.77.7.7\noptions timeout:15 attempts:2\n")
        silent = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        silent.bind(("127.77.7.7", 53))
        script = f'mount --bind {place} /etc/resolv.conf && exec "$@"'
        attack = stack.enter_context(Attack("unshare", "-m", "sh", "-c", script, "sh"))
        print(f"  before: {attack.figures()}")
        for profile in attack.greedy(options.clients, "*:*"):
            for number in range(SESSIONS):
                client = attack.enrol(profile)
                assert client is not None
                opens(client, 1, limits.LOOKUPS_PER_SESSION, 80, f"dead{{}}.s{number}.{profile.stem}.example")
        print(f"  {options.clients} clients ask for dead names: {attack.figures()}")
        attack.honest()
        attack.honest("localhost")
        return attack.wrong


def refused(options: argparse.Namespace) -> list[str]:
    with Attack() as attack:
        (profile,) = attack.greedy(1, "127.0.0.1:1")
        before, began, count, sessions, most = attack.memory(), time.monotonic(), 0, 0, 0.0
        while time.monotonic() - began < options.seconds and (client := attack.enrol(profile)) is not None:
            sessions += 1
            threading.Thread(target=swallow, args=(client,), daemon=True).start()
            with contextlib.suppress(OSError):
                for first in range(1, 1 << 20, 2_000):
                    opens(client, first, 1_000, 9, "192.0.2.1")
                    count += 1_000
                    most = max(most, attack.memory() - before)
                    if time.monotonic() - began > options.seconds:
                        break
        took = time.monotonic() - began
        print(
            f"  {count} OPENs in {took:.0f} s, {sessions} sessions: grew by {most:.0f} MiB at most; {attack.figures()}"
        )
        attack.hold(most < 64, "it grows")
        attack.honest()
        return attack.wrong


def few() -> Attack:
    return Attack("sh", "-c", f'ulimit -n {FEW} && exec "$@"', "sh")


def streams(options: argparse.Namespace) -> list[str]:
    with few() as attack:
        got = []
        for profile in attack.greedy(options.clients):
            opened = 0
            for _ in range(2):
                client = attack.enrol(profile)
                if client is None:
                    continue
                opens(client, 1, FEW // 4, attack.target.port)
                with contextlib.suppress(AssertionError, OSError):
                    opened += answers(client, FEW // 4)[peer.OPENED]
            got.append(opened)
        print(f"  streams of each: {got}; {attack.figures()} of {FEW}")
        attack.honest(streams=10)
        return attack.wrong


def sessions(options: argparse.Namespace) -> list[str]:
    with few() as attack:
        got = []
        for profile in attack.greedy(options.clients):
            made = [attack.enrol(profile) for _ in range(limits.SESSIONS_PER_CLIENT)]
            got.append(sum(each is not None for each in made))
        print(f"  sessions of each: {got}; {attack.figures()} of {FEW}")
        attack.honest(streams=10)
        return attack.wrong


def nonces(_: argparse.Namespace) -> list[str]:
    from nitrosocks_lib.protocol.nonces import Nonces

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB

    made, before, began, longest = Nonces(os.urandom(32)), resident(), time.monotonic(), 0.0
    for hour in (6, 7, 8):
        for _ in range(limits.NONCES_PER_HOUR):
            nonce, at = os.urandom(24), time.perf_counter()
            made.put(hour, nonce, 7)
            longest = max(longest, time.perf_counter() - at)
    each = (time.monotonic() - began) / made.kept * 1e6
    grew = resident() - before
    print(f"  {made.kept} nonces: {grew:.1f} MiB, {each:.1f} us each, longest {longest * 1e3:.1f} ms")
    return [] if grew <= 64 and each < 100 else ["the set of nonces is large or slow"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    attacks = {each.__name__: each for each in (names, refused, streams, sessions, nonces)}
    parser.add_argument("--what", default=",".join(attacks))
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0)
    options, wrong = parser.parse_args(), list[str]()
    for name in options.what.split(","):
        print(f"{name}:", flush=True)
        wrong += [f"{name}: {what}" for what in attacks[name](options)]
    print("\n".join(wrong) or "all held")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
