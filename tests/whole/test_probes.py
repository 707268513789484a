"""Strangers at the server's door: whatever they say is never answered, and everybody else is served on.

What they send goes inside TLS, as scanners do it; the answer of a web server that may stand behind is not tested here.
"""

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import loopback
import program
import pytest
import served
from loopback import Bare
from program import Process
from served import Good
from targets import BOUND

from nitrosocks_lib.facts import wire

site, serving, good = program.site, served.serving, served.good
FIRST_ENC = wire.KNOCK + wire.HELLO  # bytes of a greeting up to where its first Enc ends
LENGTHS = [*range(1, 51), 221]


class Probes(ExitStack):
    """Connections to a server that are to get nothing."""

    def __init__(self, server: Process) -> None:
        super().__init__()
        self.port = server.port
        self.socks: list[ssl.SSLSocket] = []

    def dial(self) -> ssl.SSLSocket:
        self.socks.append(self.enter_context(loopback.dial(self.port)))
        return self.socks[-1]

    def say(self, *pieces: bytes) -> None:
        """A connection of its own, a TLS record for each piece."""
        sock = self.dial()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)

    def expect_silence(self, good: Good) -> None:
        """Nothing came for any of them, not even an end, while a good client was served."""
        good.is_served()
        for number, sock in enumerate(self.socks):
            sock.setblocking(False)
            with pytest.raises(ssl.SSLWantReadError):
                print(number, sock.recv(1))


@pytest.fixture
def probes(good: Good) -> Iterator[Probes]:
    with Probes(good.server) as made:
        yield made


class Greetings:
    """Takes greetings of a real client, which nobody has answered yet."""

    def __init__(self, good: Good) -> None:
        self._good = good

    def take(self) -> bytes:
        came: list[bytes] = []
        whole = threading.Event()

        def serve(tls: ssl.SSLSocket) -> None:
            came.append(tls.recv(1 << 16))
            whole.set()

        with loopback.Server(serve) as server:
            text = self._good.profile.read_text().replace(f":{self._good.server.port}", f":{server.address[1]}")
            client = self._good.site.connect(self._good.write(text), "127.0.0.1", 1)
            assert whole.wait(BOUND)
            client.popen.kill()
        assert len(came[0]) >= FIRST_ENC
        return came[0]


@pytest.fixture(scope="module")
def greetings(serving: Good) -> Greetings:
    return Greetings(serving)


def answer(port: int, said: bytes) -> bytes:
    """What comes first; nothing when an end comes, of TLS or without it."""
    with loopback.dial(port) as sock:
        sock.sendall(said)
        with suppress(ssl.SSLEOFError, ConnectionResetError):
            return sock.recv(1 << 16)
        return b""


def changed(greeting: bytes, at: int) -> bytes:
    return greeting[:at] + bytes([greeting[at] ^ 1]) + greeting[at + 1 :]


def test_random_bytes(good: Good, probes: Probes) -> None:
    for length in LENGTHS:
        probes.say(os.urandom(length))
    probes.expect_silence(good)


def test_what_others_speak(good: Good, probes: Probes) -> None:
    probes.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    probes.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    probes.say(b"SSH-2.0-OpenSSH_9.2\r\n")
    probes.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(512))
    probes.say(bytes(2487))
    probes.say(*[os.urandom(16384)] * 64)
    probes.expect_silence(good)


def test_silence_and_a_byte_at_a_time(good: Good, probes: Probes, greetings: Greetings) -> None:
    for _ in range(5):
        probes.dial()
    probes.say(*(os.urandom(1) for _ in range(300)))
    fresh = greetings.take()
    probes.say(*(fresh[at : at + 1] for at in range(len(fresh))))  # the first read decides
    probes.say(fresh[:39], fresh[39:])
    probes.expect_silence(good)


def test_a_recorded_greeting(good: Good, probes: Probes, greetings: Greetings) -> None:
    greeting = greetings.take()
    assert len(answer(good.server.port, greeting)) >= 1250, "it is a greeting: the first time it is answered"
    for _ in range(3):
        probes.say(greeting)
    probes.say(greeting[:FIRST_ENC])
    probes.say(greeting[:FIRST_ENC], greeting[FIRST_ENC:])
    probes.say(greeting[: wire.KNOCK])
    probes.say(greeting + greeting)
    for at in {*range(0, 48), *range(48, len(greeting), 97), FIRST_ENC - 1, FIRST_ENC, len(greeting) - 1}:
        probes.say(changed(greeting, at))
    probes.expect_silence(good)


def test_a_greeting_that_was_changed_on_its_way(good: Good, probes: Probes, greetings: Greetings) -> None:
    """It is still good for once: only a first Enc that opened makes it known."""
    greeting = greetings.take()
    for at in (0, 23, 24, 39, 40, 41, 100, FIRST_ENC - 17, FIRST_ENC - 1):
        probes.say(changed(greeting, at))
    probes.say(greeting[: FIRST_ENC - 1])
    probes.expect_silence(good)
    assert len(answer(good.server.port, greeting)) >= 1250


def test_a_change_behind_the_first_enc_ends_the_connection_without_an_answer(good: Good, greetings: Greetings) -> None:
    for at in (FIRST_ENC, -1):
        greeting = greetings.take()
        assert answer(good.server.port, changed(greeting, at % len(greeting))) == b""


def test_half_closes(good: Good, greetings: Greetings) -> None:
    """An end of TLS, or of TCP alone, behind each kind of probe: an end may come, but no bytes."""
    greeting = greetings.take()
    assert answer(good.server.port, greeting)
    for said in (b"", os.urandom(1), os.urandom(221), greeting, greeting[:FIRST_ENC], greeting[: wire.KNOCK]):
        client = Bare(good.server.port)
        with client.sock:
            if said:
                client.do(client.tls.write, said)
            client.end()
            good.is_served()
            client.sock.setblocking(False)
            assert nothing(client)
        with loopback.dial(good.server.port) as sock:
            if said:
                sock.sendall(said)
            socket.socket.shutdown(sock, socket.SHUT_WR)
            good.is_served()
            sock.setblocking(False)
            with suppress(ssl.SSLError, ConnectionResetError):  # OpenSSL may call a bare FIN an error
                assert sock.recv(1) == b""


def nothing(client: Bare) -> bool:
    """Whether no bytes came inside the TLS of a non-blocking client."""
    try:
        while piece := client.sock.recv(1 << 16):
            client.came.write(piece)
    except BlockingIOError:
        pass
    try:
        return client.tls.read(1) == b""
    except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
        return True


def test_no_tls(good: Good) -> None:
    """What TLS itself answers to is its own affair; here nobody is kept from being served."""
    with ExitStack() as stack:
        for said in (b"", b"\0", b"GET / HTTP/1.0\r\n\r\n", os.urandom(221), b"\x16\x03\x01\x02\x00"):
            for _ in range(20):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", good.server.port), BOUND))
                sock.sendall(said)
        good.is_served()


def test_more_strangers_than_there_are_places(good: Good, probes: Probes) -> None:
    """The oldest of them go; a good client is served while they are there."""
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", good.server.port), BOUND))
        good.is_served()
    for _ in range(300):
        probes.dial()
    good.is_served()


def test_nothing_of_it_is_worth_a_line_in_the_log(good: Good) -> None:
    lines = str(good.server.err).splitlines()
    served = ("good: session ", "login failed", "more failed logins")  # the latter of probes made of what a client said
    ours = [line for line in lines if not any(text in line for text in served)]
    assert ours[-1].startswith("nitrosocks: ready")
