"""A middlebox answers one message of a client as a web server would, with a Date of its choice; then it lets all pass.

    python tests/attack/forged_date.py

`serve` and `forward` run, with the box between them. For each Date the box cuts the connection and answers the RESUME
that follows; a stream that is open must go on, in the same session. It answers a first greeting, too: the command then
ends, or asks again (--retry), and the next greeting makes a session. Prints how long each took; exits 1 when a stream
was lost, a session was not the same, or a program said more than it should. With --dates N only the first N.
"""

import argparse
import contextlib
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

from loopback import BOUND, pem  # noqa: E402
from program import Process, Site, expect_one_line  # noqa: E402
from targets import Target, echo  # noqa: E402

DATES = {
    "2000": b"Date: Sat, 01 Jan 2000 00:00:00 GMT",
    "1969": b"Date: Wed, 31 Dec 1969 23:59:59 GMT",
    "9999": b"Date: Fri, 31 Dec 9999 23:59:59 GMT",
    "2099": b"Date: Thu, 31 Dec 2099 23:59:59 GMT",  # one that is tried, once
    "garbage": b"Date: " + bytes(range(1, 10)) + b"\xff" * 100,
    "numbers": b"Date: Sat, 99999999999999999999 Jan 99999999999999999999 99:99:99 GMT",
    "no date": b"X: y",
    "10 MB header": b"Date: " + b"9" * 10_000_000,
}
PATIENCE = 60.0  # s: an hour that is tried costs one attempt, which the server leaves unanswered for 10 s


class Box:
    """Passes connections on; while `heads` has any, the next connection gets that answer inside TLS instead."""

    def __init__(self, upstream: int) -> None:
        self.heads: list[bytes] = []
        self.forged = 0
        self._upstream, self._live = upstream, set[socket.socket]()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*pem("box"))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                self._start(self._forge if self.heads else self._pass, near)

    def _forge(self, near: socket.socket) -> None:
        near.settimeout(BOUND)
        with contextlib.suppress(OSError), self._context.wrap_socket(near, server_side=True) as tls:
            if tls.recv(8192):  # a connection on which nothing is said is not the one
                head = self.heads.pop()
                self.forged += 1
                tls.sendall(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n\r\n")

    def _pass(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self._upstream), BOUND) as far:
            far.settimeout(None)
            self._live.update((near, far))
            back = threading.Thread(target=self._carry, args=(far, near), daemon=True)
            back.start()
            self._carry(near, far)
            back.join()
            self._live.difference_update((near, far))

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65_536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Ends what passes now."""
        live, self._live = self._live, set()
        for sock in live:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Returns when all of its threads have."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(BOUND)
        self._listener.close()


def say(app: socket.socket, words: bytes) -> None:
    """There and back."""
    app.sendall(words)
    got = b""
    while len(got) < len(words):
        got += (more := app.recv(len(words) - len(got)))
        assert more, "the stream ended"
    assert got == words


def resumed(box: Box, client: Process, app: socket.socket, head: bytes) -> float:
    """One RESUME is answered with this head; seconds until the stream goes on."""
    seen, began = box.forged, time.monotonic()
    box.heads.append(head)
    box.cut()
    say(app, b"once more")
    assert box.forged == seen + 1 and not box.heads, "the box was never asked"
    assert client.popen.poll() is None
    return time.monotonic() - began


def greeted(site: Site, box: Box, profile: Path, head: bytes) -> None:
    """The first greetings of two commands are answered with this head; neither is ready without a session."""
    words = ("forward", "-i", profile, "--carrier", "raw", "-L", "0:127.0.0.1:7")  # else another one takes over
    box.heads += [head, head]  # a Date that may be believed is tried at once
    ended = site.nitrosocks(*words)
    code = ended.wait()
    if box.heads:
        box.heads.clear()
    assert code == 76 and "ready" not in expect_one_line(str(ended.err)), str(ended.err)
    box.heads += [head]
    again = site.nitrosocks(*words, "--retry")
    again.err.wait("nitrosocks: ready")
    again.signal().wait()
    assert not box.heads


def attack(dates: dict[str, bytes], place: Path) -> None:
    with Target(echo) as target, Site(place) as site:
        box = Box(site.serve("-v").port)
        site.callback(box.close)
        profile = site.profile("date", box.port)
        client = site.forward(profile, f"0:127.0.0.1:{target.port}", words=("-v", "--carrier", "raw", "--sessions", 1))
        with socket.create_connection(("127.0.0.1", client.port), PATIENCE) as app:
            say(app, b"hello")
            for name, head in dates.items():
                seconds = resumed(box, client, app, head)
                print(f"{name}: the stream goes on after {seconds:.1f} s")
        assert str(client.err).count("session begins") == 1, "the session is the same"
        for name, head in dates.items():
            greeted(site, box, profile, head)
            print(f"{name}: no session, no ready; then an honest network")
        client.signal().wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dates", type=int, default=len(DATES))
    chosen = dict(list(DATES.items())[: parser.parse_args().dates])
    with tempfile.TemporaryDirectory() as place:
        try:
            attack(chosen, Path(place))
        except (AssertionError, OSError) as error:
            print(f"FAILED: {error!r}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
