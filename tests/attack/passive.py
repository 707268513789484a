"""Can a passive reader of the TLS plaintext tell our HTTP from a site's, by one simple rule?

    python tests/attack/passive.py [--carrier http,websocket] [--idle SECONDS] [--heartbeat SECONDS]

Client and server are the real programs; a box between them ends the TLS and keeps all that passes, while a session is
idle, somebody types, and bytes are poured. Then each rule of tests/support/passively.py is tried. Those that can be
avoided must not hold: heads that are not those of a real Chromium and a real nginx (tests/vectors/browser.json, which
tests/long/browser.py makes), requests of one size, polls of one length. Those that the protocol causes are told, with
their clause. Heartbeats come as they do by default, or as `--heartbeat` says. Exits 1 where an avoidable rule holds.
"""

import argparse
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

from passively import AVOIDABLE, IDLE, KNOWN, Listener, Seen  # noqa: E402
from program import Site  # noqa: E402
from targets import Target, echo  # noqa: E402

POURED = 8 << 20  # bytes
PIECE = 64 << 10
KEYS = 60
BEGUN = 2.0  # seconds behind which only heartbeats are left


def patient(sock: socket.socket) -> None:
    """A target that waits as long as nothing is done."""
    sock.settimeout(None)
    echo(sock)


def typed(near: socket.socket) -> None:
    """Keys, each with its echo, as somebody types who sees what he does."""
    fingers = random.Random(1)
    for _ in range(KEYS):
        key = b"k" if fingers.random() < 0.8 else b"\x1b[A"
        near.sendall(key)
        assert near.recv(len(key), socket.MSG_WAITALL) == key
        time.sleep(fingers.uniform(0.05, 0.25))


def poured(near: socket.socket) -> None:
    """Bytes both ways."""
    for _ in range(POURED // PIECE):
        near.sendall(bytes(PIECE))
        got = 0
        while got < PIECE:
            got += len(near.recv(PIECE))


def record(site: Site, carrier: str, idle: float, heartbeat: str) -> tuple[Seen, Seen]:
    """What passed in all; and while nothing was done."""
    server = site.serve(*(["--heartbeat", heartbeat] if heartbeat else []))
    cert = site.home / "tls.crt", site.home / "tls.key"
    with Listener(("127.0.0.1", server.port), *cert) as box, Target(patient) as target:
        words = ("--carrier", carrier, "--proxy", "none")
        client = site.forward(site.profile(carrier, box.port), f"0:127.0.0.1:{target.port}", words=words)
        with socket.create_connection(("127.0.0.1", client.port), 30) as near:
            near.sendall(b"a")
            assert near.recv(1) == b"a"
            time.sleep(BEGUN)
            before = box.heard()
            time.sleep(idle)
            between = box.heard()
            typed(near)
            poured(near)
        client.close()
        server.close()
        asked = {each.first[1] for each in before.requests}  # no target comes twice
        quiet = Seen([pair for pair in between.pairs if pair[0].first[1] not in asked])
        quiet.messages = list((Counter(between.messages) - Counter(before.messages)).elements())
        return box.heard(), quiet


def told(carrier: str, seen: Seen, quiet: Seen) -> list[str]:
    """Prints what was seen; returns the avoidable rules that hold."""
    print(f"{carrier}: {len(seen.requests)} requests, {len(seen.messages)} messages")
    found = []
    for rule in AVOIDABLE[carrier]:
        holds, figure = rule(seen)
        found += [rule.__name__] * holds
        print(f"  {'HOLDS' if holds else 'no   '} {rule.__name__}: {figure}")
    for rules, among, when in ((KNOWN[carrier], seen, ""), (IDLE, quiet, "idle, ")):
        for rule, clause in rules.items():
            holds, figure = rule(among)
            print(f"  {'known' if holds else 'no   '} {when}{rule.__name__}: {figure} ({clause})")
    up = [len(each.body) for each in quiet.requests if each.body]
    down = [len(each.body) for each in quiet.answers if each.body]
    messages = [len(each) for each in quiet.messages]
    print(f"  idle: {len(quiet.requests)} requests; bytes of bodies up {up}, down {down}, of messages {messages}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--carrier", default="http,websocket")
    parser.add_argument("--idle", type=float, default=240.0)
    parser.add_argument("--heartbeat", default="")
    options = parser.parse_args()
    found = []
    for carrier in options.carrier.split(","):
        with ExitStack() as stack:
            site = stack.enter_context(Site(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
            found += told(carrier, *record(site, carrier, options.idle, options.heartbeat))
    print(f"{len(found)} rules hold that could be avoided")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
