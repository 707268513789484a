"""One bit of a frame's length is changed on the way: how long until the echo of a keystroke is back?

    python tests/attack/partial_frame.py [--what idle,typing,listening,slow] [--bits 3,7,11,15] [--most SECONDS]

Client and server are the real programs; a box between them ends the TLS and flips one bit of a masked length, up or
down. The frame's receiver then waits for bytes that nobody sends. In "idle" one key is pressed and nothing follows; in
"typing" a key is pressed every 0.3 s, so bytes come all the while. In "listening" little comes down every 0.2 s and
an ACK that goes up is changed: all looks well at the client, which waits for nothing, so the server must notice; the
figure is the time until the client is on a new connection. Must hold: each is done within `--most` seconds (6: 5 s to
notice, and a reconnection), nothing is lost, and no session ends.

"slow" (some four minutes, only when it is asked for) is no attack: a client sends a full frame of 64 KiB at 7,700 bytes
a second, as a line of 64 kbit/s would, and at 600, as one of 5 kbit/s. Must hold: the server leaves the first alone,
and ends the connection of the second five times at most before it does. Exits 1 where something does not hold.
"""

import argparse
import socket
import struct
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

import peer  # noqa: E402
from enrolled import enrol, opens  # noqa: E402
from flipper import Flipper, flipping  # noqa: E402
from loopback import dial  # noqa: E402
from program import Site  # noqa: E402
from targets import Target, echo  # noqa: E402

from nitrosocks_lib.demo.interceptor import Interceptor  # noqa: E402

LONGEST = 150.0  # seconds until it is given up


def until_echo(near: socket.socket, flipper: Flipper, way: str, bit: int, typing: bool) -> float:
    """Seconds from the flipped keystroke to its echo; whatever else was typed comes back, too."""
    near.sendall(b"a")
    assert near.recv(1) == b"a"
    time.sleep(1.0)  # the ACKs of it are through
    flipper.flip(way, bit)
    began = time.monotonic()
    near.sendall(b"x")
    typed, over = 1, threading.Event()

    def type_on() -> None:
        nonlocal typed
        while not over.wait(0.3):
            near.sendall(b"y")
            typed += 1

    typist = threading.Thread(target=type_on, daemon=True)
    if typing:
        typist.start()
    got = near.recv(1)
    took = time.monotonic() - began
    over.set()
    if typing:
        typist.join()
    assert got == b"x" and flipper.flipped.is_set()
    while typed > 1:
        part = near.recv(typed - 1)
        assert part and part == b"y" * len(part), part
        typed -= len(part)
    return took


def trickle(sock: socket.socket) -> None:
    """A target that says a byte now and then."""
    while True:
        sock.sendall(b"z")
        time.sleep(0.2)


def until_moved(near: socket.socket, box: Interceptor, flipper: Flipper, bit: int) -> float:
    """Seconds until the client is on a new connection."""
    assert near.recv(1) == near.recv(1) == b"z"
    before, began = box.seen["connections"], time.monotonic()
    flipper.flip("up", bit)
    while box.seen["connections"] == before and time.monotonic() < began + LONGEST:
        assert near.recv(1) == b"z"
    took = time.monotonic() - began
    assert near.recv(1) == b"z" and flipper.flipped.is_set()
    return took


def is_left_alone(site: Site, port: int, target: int) -> bool:
    """Two sessions on slow lines, at once; whether the server ended their connections as seldom as it may."""
    ended = {7_700: 0, 600: 0}

    def crawl(rate: int) -> None:
        client = enrol(site.profile(f"slow{rate}", port), port)
        opens(client, 1, 1, target)
        while client.recv()[0] != peer.OPENED:
            pass
        frame = bytes([peer.DATA]) + struct.pack(">I", 1) + bytes(65_500)
        while not written(client, client.keys[client.mine].seal(frame), rate):
            ended[rate] += 1
            client.kept.clear()  # what is sent again is that frame
            client.sock.close()
            client.greet(resumed := dial(port))
            resumed.settimeout(LONGEST)
        client.sock.close()

    threads = [threading.Thread(target=crawl, args=(rate,), daemon=True) for rate in ended]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rate, times in ended.items():
        print(f"slow      up   {rate} bytes a second: {times} connections ended before a full frame was through")
    return ended[7_700] == 0 and ended[600] <= 5


def written(client: peer.Client, frame: bytes, rate: int) -> bool:
    """Writes that slowly; False where the connection ends amid it."""
    piece = rate // 10
    try:
        for at in range(0, len(frame), piece):
            client.sock.sendall(frame[at : at + piece])
            time.sleep(0.1)
            client.sock.settimeout(0.001)
            with suppress(TimeoutError):
                if not client.sock.recv(1 << 16):
                    return False
            client.sock.settimeout(LONGEST)
    except OSError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", default="idle,typing,listening")
    parser.add_argument("--bits", default="3,7,11,15")
    parser.add_argument("--most", type=float, default=6.0)
    options = parser.parse_args()
    bits, longest = list(map(int, options.bits.split(","))), 0.0
    with ExitStack() as stack:
        site = stack.enter_context(Site(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        server = site.serve()
        cert = site.home / "tls.crt", site.home / "tls.key"
        box, flipper = stack.enter_context(flipping(("127.0.0.1", server.port), *cert))
        echoing, trickling = stack.enter_context(Target(echo)), stack.enter_context(Target(trickle))
        wanted = options.what.split(",")
        both = [(what, way) for what in wanted for way in ("up", "down")]
        ways = [each for each in both if each[0] != "slow" and each != ("listening", "down")]
        for what, way, bit in [(*each, bit) for each in ways for bit in bits]:
            port = (trickling if what == "listening" else echoing).port
            client = site.forward(site.profile(f"{what}-{way}-{bit}", box.port), f"0:127.0.0.1:{port}")
            with socket.create_connection(("127.0.0.1", client.port), LONGEST) as near:
                if what == "listening":
                    took = until_moved(near, box, flipper, bit)
                else:
                    took = until_echo(near, flipper, way, bit, what == "typing")
            client.close()
            longest = max(longest, took)
            print(f"{what:9} {way:4} bit {bit:2}: {took:6.2f} s", flush=True)
        slow = "slow" not in wanted or is_left_alone(site, server.port, echoing.port)
    print(f"longest: {longest:.2f} s, must be below {options.most:.0f} s")
    return int(longest > options.most or not slow)


if __name__ == "__main__":
    sys.exit(main())
