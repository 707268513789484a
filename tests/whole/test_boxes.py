"""Through every real box with `--carrier auto`: first byte, bulk both ways, ssh, many streams, cuts, refreshes.

The box's own relay is cut, and the box itself killed and started again, in the middle of transfers.
"""

import hashlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from socket import socket
from typing import IO

import boxes
import pytest
from boxed import REFRESH, Boxed, chosen
from fronts import PAGE
from loopback import read_exactly
from openssh import Ssh
from program import Process, Site
from targets import Target, dial, echo, exchange

CHOSEN = {
    "haproxy": "websocket",
    "mitmproxy": "raw",
    "mitmproxy-reverse": "websocket",
    "nginx": "http",
    "privoxy": "websocket",
    "squid": "http",
    "sslsplit-https": "http",
    "sslsplit-ssl": "raw",
}
FIRST = 20.0  # seconds until the first byte at the latest, whatever hangs on the way, and on a busy machine
SIZE = 50_000_000
STREAMS = 20
WORDS = os.urandom(1000)


class Behind:
    """One box, and a `forward` through it that leads to an echo."""

    def __init__(self, site: Site, name: str, target: Target) -> None:
        self.boxed = site.enter_context(Boxed(site, boxes.recipes()[name]))
        self.target, self.name = target, name
        self._client: Process | None = None

    @property
    def client(self) -> Process:
        """Started when it is first needed."""
        self._client = self._client or self.boxed.forward(self.target.port)
        return self._client


@pytest.fixture(scope="module", params=CHOSEN)
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    with Target(echo) as target, Site(tmp_path_factory.mktemp("site")) as site:
        try:
            yield Behind(site, request.param, target)
        except boxes.Missing as why:
            pytest.skip(str(why))


@pytest.fixture(scope="module")
def large() -> bytes:
    return os.urandom(SIZE)


def test_all_boxes_are_here_and_the_page_says_the_same_of_them() -> None:
    recipes = boxes.recipes()
    assert set(recipes) == set(CHOSEN)
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \| [^|]+ \| (raw|websocket|http) \|", PAGE, re.MULTILINE)
    assert dict(rows) == {recipes[name].what: carrier for name, carrier in CHOSEN.items()}


def test_connect_has_its_first_byte_soon_and_then_bulk_both_ways(behind: Behind, large: bytes) -> None:
    """Nothing is remembered yet: all that hangs before is waited for."""
    began = time.monotonic()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    words = [*behind.boxed.words(), "127.0.0.1", behind.target.port]
    client = behind.boxed.site.connect(behind.boxed.profile, *words, **pipes)
    client.popen.stdin.write(b"!")
    assert client.popen.stdout.read(1) == b"!", str(client.err)
    took = time.monotonic() - began
    assert through(client.popen.stdin, client.popen.stdout, large) == hashlib.sha256(large).hexdigest()
    assert client.wait() == 0
    assert chosen(str(client.err)) == CHOSEN[behind.name]
    assert took < FIRST
    print(f"{behind.name}: {CHOSEN[behind.name]}, {took:.1f} s")


def through(give: IO[bytes], take: IO[bytes], data: bytes) -> str:
    """The SHA-256 of what comes back of it, to the end."""

    def write() -> None:
        at = 0
        while at < len(data):
            at += give.write(memoryview(data)[at : at + (1 << 20)])
        give.close()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    digest = hashlib.sha256()
    while piece := take.read(1 << 20):
        digest.update(piece)
    writer.join(boxes.BOUND)
    return digest.hexdigest()


def test_forward_has_its_first_byte_soon_and_then_bulk_both_ways(behind: Behind, large: bytes) -> None:
    began = time.monotonic()
    with dial(behind.client.port) as sock:
        sock.sendall(b"!")
        assert read_exactly(sock, 1) == b"!"
        assert time.monotonic() - began < FIRST
        assert hashlib.sha256(exchange(sock, large)).digest() == hashlib.sha256(large).digest()
    assert chosen(str(behind.client.err)) == CHOSEN[behind.name]


def test_keys_are_refreshed_on_the_way(behind: Behind, large: bytes) -> None:
    before, turns = behind.boxed.refreshes(), 0
    while behind.boxed.refreshes() < before + 2:  # lines of the log may come late
        with dial(behind.client.port) as sock:
            assert exchange(sock, large[: 4 * REFRESH]) == large[: 4 * REFRESH]
        assert (turns := turns + 1) < 20, "the keys stay"


def test_the_interception_is_told_of(behind: Behind) -> None:
    issuer = "mitmproxy" if behind.boxed.box.recipe.python else "Box Test CA"
    assert f'TLS is intercepted by "{issuer}"' in str(behind.client.err)


def test_an_ssh_session(behind: Behind) -> None:
    ssh = Ssh(behind.boxed.site, ["-i", behind.boxed.profile, *behind.boxed.words()])
    done = ssh.run("sha256sum; exit 42", give=WORDS * 1000)
    assert (done.returncode, done.stdout.split()[:1]) == (42, [hashlib.sha256(WORDS * 1000).hexdigest().encode()])
    assert chosen(done.stderr.decode()) == CHOSEN[behind.name]


def test_many_streams_at_once(behind: Behind) -> None:
    sent = [os.urandom(100_000) for _ in range(STREAMS)]
    got: dict[int, bytes] = {}

    def one(number: int) -> None:
        with dial(behind.client.port) as sock:
            got[number] = exchange(sock, sent[number])

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(boxes.BOUND)
    assert [got.get(number) for number in range(STREAMS)] == sent


def test_connections_cut_on_the_way_lose_nothing(behind: Behind, large: bytes) -> None:
    relay = behind.boxed.relay
    with dial(behind.client.port) as sock:
        before = relay.bytes_up
        receiver = Receiver(sock, large)
        for part in (1, 2):
            relay.wait(lambda part=part: relay.bytes_up - before > part * SIZE // 4, boxes.BOUND)
            assert relay.cut() > 0
        assert receiver.all() == hashlib.sha256(large).digest()


def test_a_box_that_is_started_again_loses_nothing(behind: Behind, large: bytes) -> None:
    relay, box = behind.boxed.relay, behind.boxed.box
    with dial(behind.client.port) as sock:
        before = relay.bytes_up
        receiver = Receiver(sock, large)
        relay.wait(lambda: relay.bytes_up - before > SIZE // 4, boxes.BOUND)
        box.kill()
        box.start()
        assert receiver.all() == hashlib.sha256(large).digest()


class Receiver:
    """An exchange that runs in a thread."""

    def __init__(self, sock: socket, data: bytes) -> None:
        self._digest = b""
        self._thread = threading.Thread(target=self._run, args=(sock, data), daemon=True)
        self._thread.start()

    def _run(self, sock: socket, data: bytes) -> None:
        self._digest = hashlib.sha256(exchange(sock, data)).digest()

    def all(self) -> bytes:
        self._thread.join(2 * boxes.BOUND)
        return self._digest
