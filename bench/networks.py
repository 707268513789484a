#!/usr/bin/env python3
"""What a real server and a real client do on networks that swallow, move, are slow or long; prints a table.

    bench/networks.py [--rounds 5] [--seconds 60] [--tcp-max MIB] [WHAT...]

Needs root, iproute2 and a kernel with network namespaces. Client, network and server are a namespace each
(tests/support/netns.py); what is done happens in the middle, and neither end is told. WHAT, all without it:

    swallowed  somebody types a key each 200 ms into an echo; the flows that are established are dropped in silence, new
               connections pass. Seconds from then until a key typed later is echoed
    moved      the same when the client's address is replaced by another
    beside     keystrokes beside a bulk upload at 64 kbit/s: the time from key to echo
    ten        ten uploads at once over 64 kbit/s: what arrived of each, and how often a connection was lost or doubted
    long       one stream each way at a round trip of 100 ms, beside plain TCP on the same line
    idle       keystrokes at 64 kbit/s with nothing beside them

Before the slow line up to 16 KiB wait, two seconds of it, as in a cheap modem. TCP's buffers are the kernel's, or with
--tcp-max may grow to that many MiB in both namespaces. A round that has not recovered after 150 s counts as that.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from keystrokes import Typist, described  # noqa: E402
from netns import SERVER, Impossible, Net, target_in  # noqa: E402
from program import Process, Site, port_of  # noqa: E402
from targets import Target, dial  # noqa: E402

LIMIT = 150.0  # seconds until a recovery is given up
SLOW = 64_000  # bits a second
RTT = 0.1  # seconds
STREAMS = 10
CHUNK = 1 << 16
BLOCK = bytes(CHUNK)
WARM_UP = 5.0  # seconds that an upload has had before keystrokes beside it count


class Sink:
    """A target that takes all, and counts what came on each connection."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        with self._lock:
            number = len(self.taken)
            self.taken.append(0)
        buffer = bytearray(4 * CHUNK)
        while n := sock.recv_into(buffer):
            self.taken[number] += n


def echo(sock: socket.socket) -> None:
    """A target that answers what comes, however long nothing does."""
    sock.settimeout(None)
    while piece := sock.recv(CHUNK):
        sock.sendall(piece)


class World(ExitStack):
    """A network, a server, targets beside it, and a client that forwards to them: a port of `dial` for each."""

    def __init__(self, *serves: Callable[[socket.socket], None], bits: int = 0, rtt: float = 0.0, tcp: int = 0) -> None:
        super().__init__()
        with ExitStack() as made:
            self.net = made.enter_context(Net())
            for side in (self.net.client, self.net.server) if tcp else ():
                side.set("tcp_rmem", f"4096 131072 {tcp << 20}")
                side.set("tcp_wmem", f"4096 16384 {tcp << 20}")
            self.shaped = self.net.shape(bits, rtt) if bits or rtt else "nothing"
            place = made.enter_context(tempfile.TemporaryDirectory())
            self.targets = [made.enter_context(target_in(self.net.server, serve)) for serve in serves]
            self.site = made.enter_context(Site(Path(place)))
            self.server, self.client = self._programs()
            self.push(made.pop_all())

    def _programs(self) -> tuple[Process, Process]:
        with self.net.server.entered():
            server = self.site.serve("--drain", "0", listen=f"{SERVER}:0")
        server.port = port_of(server.err.wait("listening on"))
        profile = self.site.place / "bench.profile"
        words = ["--server", f"{SERVER}:{server.port}", "--permit", "127.0.0.1:*", "-o", profile]
        made = self.site.run("keygen", "bench", *words, "--home", self.site.home)
        assert made.returncode == 0, made.stderr
        with self.net.client.entered():
            specs = [f"0:127.0.0.1:{target.port}" for target in self.targets]
            return server, self.site.forward(profile, *specs, words=("-v",))

    def dial(self, target: Target) -> socket.socket:
        """A connection to this target through the tunnel."""
        with self.net.client.entered():
            sock = dial(self.client.ports[self.targets.index(target)])
        sock.settimeout(None)
        return sock

    def typist(self) -> Typist:
        """One who types into the first target."""
        return Typist(self.dial(self.targets[0]))

    def losses(self, since: int = 0) -> str:
        """What the client said of its connections behind so many characters: lost, and doubted, which may be answered
        on the old connection or end on a new one."""
        said = str(self.client.err)[since:]
        return f"{said.count('connection lost')} connections lost, {said.count('in doubt about')} doubts"

    def said(self) -> int:
        """How many characters the client has said so far."""
        return len(str(self.client.err))


@contextmanager
def giving(sock: socket.socket) -> Iterator[None]:
    """Something gives this socket as much as it takes, and ends the connection in the end."""

    def give() -> None:
        with suppress(OSError):
            while True:
                sock.sendall(BLOCK)

    giver = threading.Thread(target=give, daemon=True)
    giver.start()
    try:
        yield
    finally:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        giver.join()
        sock.close()


# -- what is measured: each yields rows of what, figure ----------------------------------------------------------------

Rows = Iterator[tuple[str, str]]


def recoveries(name: str, rounds: int, damage: Callable[[World], None]) -> Rows:
    """Somebody types, then this happens, several times."""
    seconds: list[float] = []
    with World(echo) as world, world.typist() as typist:
        for _ in range(rounds):
            if not typist.settle():
                yield name, f"no steady echo before round {len(seconds) + 1}"
                break
            damage(world)
            seconds.append(typist.recovered(time.monotonic(), LIMIT) or LIMIT)
            if seconds[-1] == LIMIT:
                print(f"client:\n{world.client.err}server:\n{world.server.err}", file=sys.stderr)
        if seconds:
            figures = ", ".join(f"{each:.1f}" if each < LIMIT else "not recovered" for each in seconds)
            yield name, f"median {statistics.median(seconds):.2f} s, max {max(seconds):.2f} s ({figures})"
        yield f"{name}: what the client said", world.losses()


def swallowed(words: argparse.Namespace) -> Rows:
    """All that is established is dropped in silence."""
    return recoveries(
        "swallowed in silence while somebody types", words.rounds,
        lambda world: world.net.swallow(world.net.flows(world.server.port)),
    )  # fmt: skip


def moved(words: argparse.Namespace) -> Rows:
    """The client has another address."""
    return recoveries("address changed while somebody types", words.rounds, lambda world: world.net.move_client())


def beside(words: argparse.Namespace) -> Rows:
    """Keystrokes and an upload."""
    sink = Sink()
    with World(echo, sink, bits=SLOW) as world, world.typist() as typist:
        typist.settle(5)
        before = world.said()
        with giving(world.dial(world.targets[1])):
            time.sleep(WARM_UP)
            began = time.monotonic()
            time.sleep(words.seconds)
            yield f"keystroke beside an upload, 64 kbit/s ({world.shaped})", described(*typist.latencies(began))
        kbit = 8e-3 * sum(sink.taken) / (WARM_UP + words.seconds)
        yield "the upload beside it", f"{kbit:.0f} kbit/s, {world.losses(before)}"


def ten(words: argparse.Namespace) -> Rows:
    """Uploads that share a slow line."""
    sink = Sink()
    with World(sink, bits=SLOW) as world:
        before = world.said()
        with ExitStack() as streams:
            for _ in range(STREAMS):
                streams.enter_context(giving(world.dial(world.targets[0])))
            time.sleep(words.seconds)
            taken = sink.taken + [0] * (STREAMS - len(sink.taken))
            lost = world.losses(before)
        each = " ".join(f"{size >> 10}" for size in sorted(taken))
        yield f"ten uploads in {words.seconds} s, 64 kbit/s ({world.shaped})", f"KiB each: {each}"
        yield "together", f"{8e-3 * sum(taken) / words.seconds:.0f} kbit/s, {lost}"


def flood(giver: socket.socket, taker: socket.socket, seconds: float) -> str:
    """MB/s from one to the other: over all of the time, and over its last third."""
    buffer, size, at_two_thirds = bytearray(16 * CHUNK), 0, 0
    with taker, giving(giver):
        taker.settimeout(LIMIT)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            size += taker.recv_into(buffer)
            if left > seconds / 3:
                at_two_thirds = size
    return f"{1e-6 * size / seconds:.1f} MB/s; {3e-6 * (size - at_two_thirds) / seconds:.1f} in the last third"


def far_away(words: argparse.Namespace) -> Rows:
    """One stream over a long line, and TCP alone for comparison."""
    seconds = min(words.seconds, 20)
    accepted: list[socket.socket] = []
    came, done = threading.Semaphore(0), threading.Event()

    def hold(sock: socket.socket) -> None:
        accepted.append(sock)
        came.release()
        done.wait()

    with World(hold, rtt=RTT, tcp=words.tcp_max) as world, target_in(world.net.server, hold, SERVER) as plain:

        def direct() -> socket.socket:
            with world.net.client.entered():
                return dial(plain.port, SERVER)

        try:
            for name, way in (("TCP alone", direct), ("tunnel", lambda: world.dial(world.targets[0]))):
                for direction in ("up", "down"):
                    near = way()
                    came.acquire()
                    ends = (near, accepted[-1]) if direction == "up" else (accepted[-1], near)
                    yield f"{name}, {direction}, 100 ms ({world.shaped})", flood(*ends, seconds)
        finally:
            done.set()


def idle(words: argparse.Namespace) -> Rows:
    """Keystrokes alone on a slow line."""
    with World(echo, bits=SLOW) as world, world.typist() as typist:
        typist.settle(5)
        began = time.monotonic()
        time.sleep(min(words.seconds, 30))
        yield f"keystroke alone, 64 kbit/s ({world.shaped})", described(*typist.latencies(began))


ALL: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "swallowed": swallowed, "moved": moved, "beside": beside, "ten": ten, "long": far_away, "idle": idle,
}  # fmt: skip


def main() -> int:
    """Prints a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"some of: {', '.join(ALL)}")
    parser.add_argument("--rounds", type=int, default=5, help="how often a network is damaged; 5 by default")
    parser.add_argument("--seconds", type=int, default=60, help="how long a slow line is watched; 60 by default")
    parser.add_argument("--tcp-max", type=int, default=0, metavar="MIB", help="how large TCP's buffers may grow")
    words = parser.parse_args()
    if unknown := set(words.what) - set(ALL):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    print("| what | figures |\n|---|---|", flush=True)
    try:
        for name in words.what or ALL:
            for what, figures in ALL[name](words):
                print(f"| {what} | {figures} |", flush=True)
    except Impossible as why:
        print(f"networks.py: network namespaces {why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
