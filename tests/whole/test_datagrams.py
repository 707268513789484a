"""Datagrams by all four forms: dig and named, PySocks, a shell; and as large as they may be.

None may be lost here, though UDP may lose any: few are under way at once, so that each buffer on the way has room for
all of them, and a loopback drops nothing else.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import naming
import program
import pytest
import remote
import socks
from datagramming import Echo, ask, sender
from naming import BOUND, ask_all
from program import NITROSOCKS, Process, Site, tool
from ready import readable
from remote import Remote

site = program.site
remotely = remote.site
COUNT, WINDOW = 200, 50
LARGE = 60_000
PATIENT = ("+tries=1", "+time=30", "+nocookie")  # one datagram a question: a lost one is seen


@pytest.fixture(scope="module")
def server(site: Site) -> Process:
    return site.serve()


@pytest.fixture(scope="module")
def profile(site: Site, server: Process) -> Path:
    return site.profile("alice", server.port, "udp:127.0.0.1:*", "udp:localhost:*")


@pytest.fixture(scope="module")
def named(site: Site) -> int:
    return naming.start(site)


@pytest.fixture(scope="module")
def proxy(site: Site, profile: Path) -> int:
    return site.proxy(profile).port


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as made:
        yield made


def through(site: Site, profile: Path, port: int) -> int:
    return site.forward(profile, f"udp:0:127.0.0.1:{port}").port


def dig(site: Site, port: int, *words: object) -> str:
    done = site.call(tool("dig"), "-r", "@127.0.0.1", "-p", port, *PATIENT, *words)
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


def associated(proxy: int) -> socks.socksocket:
    sock = socks.socksocket(type=socket.SOCK_DGRAM)
    sock.settimeout(BOUND)
    sock.set_proxy(socks.SOCKS5, "127.0.0.1", proxy)
    return sock


def test_dig_gets_the_answers_that_it_gets_without(site: Site, profile: Path, named: int) -> None:
    port = through(site, profile, named)
    questions = [("a.beds.garden.test", "A"), ("none.garden.test", "A"), ("long.garden.test", "TXT", "+bufsize=4096")]
    for words in questions:
        answers = [dig(site, at, "+ignore", "+noall", "+answer", "+comments", *words) for at in (named, port)]
        first, second = ([line for line in answer.splitlines() if "id:" not in line] for answer in answers)
        assert first == second and len(first) > 2
    assert "\n".join(second).count(naming.LONG) == 14  # one datagram of 3,500 bytes


def test_dig_asks_200_times_each_from_a_port_of_its_own(site: Site, profile: Path, named: int) -> None:
    file = site.place / "questions"
    file.write_text("".join(f"rose{number}.beds.garden.test A\n" for number in range(COUNT)))
    answers = dig(site, through(site, profile, named), "+short", "-f", file)
    assert answers.splitlines() == ["192.0.2.2"] * COUNT


def test_200_questions_from_one_port_and_50_at_once(site: Site, profile: Path, named: int) -> None:
    with naming.client(through(site, profile, named)) as sock:
        assert ask_all(sock.send, lambda: sock.recv(4096), COUNT, WINDOW) == COUNT


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_pysocks_asks_200_times_by_udp_associate(proxy: int, named: int, host: str) -> None:
    with associated(proxy) as sock:
        answered = ask_all(lambda q: sock.sendto(q, (host, named)), lambda: sock.recvfrom(4096)[0], COUNT, WINDOW)
        assert answered == COUNT


def test_dig_to_a_server_that_is_behind_the_client(remotely: Remote) -> None:
    remotely.permit("udp:127.0.0.1:*")
    port = remotely.remote(f"udp:0:127.0.0.1:{naming.start(remotely)}").port
    assert dig(remotely, port, "+short", "a.beds.garden.test", "A") == "192.0.2.2\n"
    with naming.client(port) as sock:
        assert ask_all(sock.send, lambda: sock.recv(4096), COUNT, WINDOW) == COUNT


# -- as large as they may be ------------------------------------------------------------------------------------------


def test_large_ones_by_forward(site: Site, profile: Path, echo: Echo) -> None:
    with sender(through(site, profile, echo.port)) as near:
        assert ask(near, b"l" * LARGE) == b"L" * LARGE


def test_large_ones_by_udp_associate(proxy: int, echo: Echo) -> None:
    with associated(proxy) as sock:
        sock.sendto(b"d" * LARGE, ("127.0.0.1", echo.port))
        assert sock.recvfrom(1 << 16) == (b"D" * LARGE, ("127.0.0.1", echo.port))


def test_large_ones_by_a_remote_forward(remotely: Remote, echo: Echo) -> None:
    remotely.permit("udp:127.0.0.1:*")
    with sender(remotely.remote(f"udp:0:127.0.0.1:{echo.port}").port) as near:
        assert ask(near, b"r" * LARGE) == b"R" * LARGE


def test_large_ones_by_connect(site: Site, profile: Path, echo: Echo) -> None:
    """What is written to a pipe at once, and fits, is read at once: it is one datagram."""
    command = site.connect(profile, f"udp:127.0.0.1:{echo.port}", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert command.popen.stdin is not None and command.popen.stdout is not None
    assert os.write(command.popen.stdin.fileno(), b"c" * LARGE) == LARGE
    back = b""
    while len(back) < LARGE and readable(command.popen.stdout, BOUND):
        back += os.read(command.popen.stdout.fileno(), LARGE)
    assert back == b"C" * LARGE
    command.signal(signal.SIGTERM).wait()


def test_connect_in_a_shell(site: Site, profile: Path, echo: Echo) -> None:
    words = " ".join([*NITROSOCKS, "connect", "-i", str(profile), f"udp:127.0.0.1:{echo.port}"])
    done = site.call("sh", "-c", f"printf 'what is the time' | {words} | tr ' ' _")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"WHAT_IS_THE_TIME", b"")
