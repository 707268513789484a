"""mitmproxy between client and server: a box that ends the TLS and writes down what is inside."""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import install_mitmproxy
import loopback
import program
import pytest
from program import Process, Site, expect_one_line
from targets import Target, dial, echo, exchange, read_all

site = program.site
NOTICE = 'nitrosocks: TLS is intercepted by "mitmproxy"; your data stays end-to-end encrypted\n'
WORDS = b"the words that nobody between the two ends may read "
SIGNS = [WORDS[at : at + 12] for at in range(0, 36, 4)]  # of them, wherever a frame or a line is broken
LARGE = os.urandom(2_000_000)


class Box:
    """A mitmdump in front of a port, its certificates and what it keeps."""

    def __init__(self, site: Site, upstream: int) -> None:
        self._site, self._upstream = site, upstream
        self.place = Path(tempfile.mkdtemp(dir=site.place))
        self.port = 0
        self.start()

    def start(self) -> None:
        """Also once more, at the same port."""
        options = {"confdir": self.place, "ssl_insecure": "true", "flow_detail": 0, "save_stream_file": self.flows}
        self.dump: Process = self._site.start(
            install_mitmproxy.mitmdump_path(), "--mode", f"reverse:tls://127.0.0.1:{self._upstream}",
            "--listen-host", "127.0.0.1", "--listen-port", self.port,
            *(word for name, value in options.items() for word in ("--set", f"{name}={value}")),
            env={"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert self.dump.out is not None
        self.port = program.port_of(self.dump.out.wait("listening at").rstrip("."))

    @property
    def flows(self) -> Path:
        return self.place / "flows"

    def saw(self) -> bytes:
        """All that it wrote; it is ended for that."""
        self.dump.signal().wait()
        return self.flows.read_bytes() + str(self.dump.out).encode() + str(self.dump.err).encode()


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if not install_mitmproxy.works(install_mitmproxy.mitmdump_path()):
        pytest.skip("mitmproxy is not installed: run tests/install_mitmproxy.py")


@pytest.fixture(scope="module")
def server(site: Site) -> Process:
    return site.serve()


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with Target(echo) as made:
        yield made


@pytest.fixture(scope="module")
def box(site: Site, server: Process) -> Box:
    return Box(site, server.port)


@pytest.fixture(scope="module")
def inside(site: Site, box: Box) -> Path:
    """The profile of a client that finds the box where the server should be."""
    return site.profile("inside", box.port, "localhost:*", "127.0.0.1:*")


def read_by(seen: bytes) -> list[bytes]:
    return [sign for sign in SIGNS if sign in seen]


def test_traffic_passes_and_the_box_reads_none_of_it(site: Site, server: Process, target: Target) -> None:
    box = Box(site, server.port)
    profile = site.profile("inside-too", box.port, "localhost:*", "127.0.0.1:*")
    done = site.run("connect", "-i", profile, "localhost", target.port, give=WORDS * 100)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (0, WORDS * 100, NOTICE)
    seen = box.saw()
    assert len(seen) > 3 * len(WORDS * 100), "the box has seen nothing"
    assert read_by(seen) == []
    for told in (b"localhost", b"inside-too", b"NitroSocks", b"ns1 "):
        assert told not in seen


def test_the_box_would_read_what_is_not_ours(site: Site) -> None:
    with plain_tls() as port:
        other = Box(site, port)
        with loopback.dial(other.port) as tls:
            tls.sendall(WORDS)
            assert loopback.read_exactly(tls, len(WORDS)) == WORDS
        assert read_by(other.saw()) == SIGNS


@contextmanager
def plain_tls() -> Iterator[int]:
    """TLS with an echo in it."""
    with loopback.Server(loopback.echo) as server:
        yield server.address[1]


def test_the_notice_comes_once_however_many_sessions(site: Site, box: Box, inside: Path, target: Target) -> None:
    client = site.forward(inside, f"0:127.0.0.1:{target.port}", words=("--sessions", 3))
    with dial(client.port) as one, dial(client.port) as two, dial(client.port) as three:
        for sock in (three, one, two):
            assert exchange(sock, LARGE) == LARGE
    assert client.signal().wait() == 0
    assert str(client.err) == f"{NOTICE}nitrosocks: ready\n"


def test_nothing_is_said_where_nobody_is_in_between(site: Site, server: Process, target: Target) -> None:
    outside = site.profile("outside", server.port)
    done = site.run("connect", "-i", outside, "127.0.0.1", target.port, give=WORDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, WORDS, b"")


def test_tls_verify_refuses_the_box(site: Site, inside: Path) -> None:
    done = site.run("forward", "-i", inside, "-L", "0:127.0.0.1:1", "--tls-verify")
    assert done.returncode == 69
    assert "the certificate does not verify" in expect_one_line(done.stderr)
    done = site.run("connect", "-i", inside, "--tls-verify", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (255, b"")
    assert "the certificate does not verify" in expect_one_line(done.stderr)


def test_tls_verify_takes_the_box_where_its_authority_is_trusted(
    site: Site, box: Box, inside: Path, target: Target
) -> None:
    """Nothing breaks for whoever wants it: a box of one's own company verifies, and is still told of."""
    trusted = {"SSL_CERT_FILE": str(box.place / "mitmproxy-ca-cert.pem")}
    assert ssl.create_default_context(cafile=trusted["SSL_CERT_FILE"])
    words = ("connect", "-i", inside, "--tls-verify", "127.0.0.1", target.port)
    client = site.nitrosocks(*words, env=trusted, stdin=-1, stdout=-1)
    client.popen.stdin.write(WORDS)
    client.popen.stdin.close()
    assert client.popen.stdout.read() == WORDS
    assert client.wait() == 0
    assert str(client.err) == NOTICE


def test_an_upstream_that_is_gone_is_told_in_one_line(site: Site, server: Process, target: Target) -> None:
    box = Box(site, loopback.unused_port())
    profile = site.profile("lost", box.port)
    done = site.run("connect", "-i", profile, "127.0.0.1", target.port, give=WORDS)
    assert (done.returncode, done.stdout) == (255, b"")
    expect_one_line(done.stderr)


def test_the_end_of_the_box_is_not_an_end_of_data(site: Site, box: Box, inside: Path) -> None:
    """The box dies in the middle of a download; the client goes on where it was with the next box at that port."""
    with Target(lambda sock: sock.sendall(LARGE)) as target:
        client = site.forward(inside, f"0:127.0.0.1:{target.port}", words=("-v",))
        with dial(client.port) as sock:
            first = sock.recv(1000)
            box.dump.popen.kill()
            client.err.wait("connection lost")
            box.start()
            client.err.wait("connection restored")
            assert first + read_all(sock) == LARGE
