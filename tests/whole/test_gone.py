"""A server that is gone for good: `connect` ends when the server would have forgotten the session, and so does ssh."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faultproxy import FaultProxy
from openssh import Ssh
from program import NITROSOCKS, Process, Site, expect_one_line, tool
from targets import Target, echo

RESUME = 3  # seconds that the server keeps a session
GONE = "the server was unreachable for longer than it keeps a session"


class Behind(Site):
    """A server behind a proxy that fails as it is told, and an echo."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.faults = self.enter_context(FaultProxy(("127.0.0.1", 0)))
        self.server = self.serve("--resume", str(RESUME), "--heartbeat", "5")
        self.faults.upstream = ("127.0.0.1", self.server.port)
        self.echo = self.enter_context(Target(echo))
        self.alice = self.profile("alice", self.faults.port)

    def typing(self, **pipes: object) -> Process:
        """`connect`, over which a line went there and back."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE} | pipes
        process = self.connect(self.alice, "127.0.0.1", self.echo.port, **pipes)
        if process.popen.stdin is not None and process.popen.stdout is not None:
            process.popen.stdin.write(b"x")
            assert process.popen.stdout.read(1) == b"x"
        return process

    def kill(self) -> None:
        """The server is gone, and whoever asks is refused."""
        self.server.signal(signal.SIGKILL).wait()
        self.faults.refuse(True, listening=False)

    def swallow(self) -> None:
        """Nothing comes through any more, and nobody says so."""
        self.faults.blackhole()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Behind]:
    with Behind(tmp_path) as made:
        yield made


WAYS: dict[str, Callable[[Behind], None]] = {"refused": Behind.kill, "swallowed": Behind.swallow}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_connect_ends_and_says_why(site: Behind, way: Callable[[Behind], None]) -> None:
    """An outage is told when it lasts; then why it ended. Nothing is said on stdout, and nobody need type."""
    process = site.typing()
    way(site)
    assert process.wait() == 255
    lost, why = str(process.err).splitlines()
    assert lost.startswith("nitrosocks: connection lost 2.0 s ago (") and lost.endswith("), reconnecting")
    assert why == f"nitrosocks: 127.0.0.1:{site.echo.port}: {GONE}"


def test_ssh_ends_with_it(site: Behind) -> None:
    ssh = Ssh(site, ["-i", site.alice])
    session = site.start(tool("ssh"), *ssh.options, f"-p{ssh.port}", "127.0.0.1", "echo up; cat", stdin=subprocess.PIPE)
    assert session.out is not None
    session.out.wait("up")
    site.kill()
    assert session.wait() == 255
    assert GONE in str(session.err)


# -- on a terminal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "cooked"])
def test_lines_on_a_terminal_begin_at_its_left(site: Behind, raw: bool) -> None:
    """ssh makes its terminal raw, and `connect` speaks on it: a line feed alone would go down, not to the left."""
    screen, terminal = pty.openpty()
    if raw:
        tty.setraw(terminal)
    command = [*NITROSOCKS, "connect", "-i", str(site.alice), "127.0.0.1", str(site.echo.port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=terminal, bufsize=0)
    assert process.stdin is not None and process.stdout is not None
    os.close(terminal)
    with process, open(screen, "rb", buffering=0) as shown:
        process.stdin.write(b"x")
        assert process.stdout.read(1) == b"x"
        site.kill()
        said = b""
        while GONE.encode() not in said or not said.endswith(b"\n"):
            said += shown.read(1000)
        assert process.wait() == 255
    lines = said.split(b"\n")
    assert lines.pop() == b"" and all(line.endswith(b"\r") for line in lines)
    assert [line.startswith(b"\rnitrosocks: ") for line in lines] == [raw] * len(lines)


# -- what -v tells -----------------------------------------------------------------------------------------------------


def test_v_tells_how_the_server_is_reached(site: Behind) -> None:
    profile, where = site.alice, f"127.0.0.1:{site.faults.port}"
    process = site.nitrosocks("connect", "-v", "-i", profile, "127.0.0.1", site.echo.port, stdin=subprocess.PIPE)
    key = site.server.err.wait("ready, with key").rpartition(" ")[2]
    made = process.err.wait("session made at")
    for part in (where, "address 127.0.0.1,", "TLSv1.3", "issued by", "not intercepted", "carrier raw", key):
        assert part in made, part
    process.err.wait(f"a stream to 127.0.0.1:{site.echo.port}")
    site.faults.cut()
    resumed = process.err.wait("session resumed at")
    assert resumed.replace("resumed", "made") == made
    process.popen.stdin.close()
    assert process.wait() == 0
    assert "handshake" not in str(process.err) and "bytes" not in str(process.err)


@pytest.mark.parametrize(("option", "frames"), [("-vv", False), ("-vvv", True)])
def test_more_of_it_tells_steps_and_frames(site: Behind, option: str, frames: bool) -> None:
    words = [option, "-i", site.alice, "127.0.0.1", site.echo.port]
    process = site.nitrosocks("connect", *words, stdin=subprocess.PIPE)
    process.popen.stdin.write(b"a secret")
    process.popen.stdin.close()
    assert process.wait() == 0
    said = str(process.err)
    assert "handshake: sent" in said and "handshake: received part 1" in said and "secret" not in said
    assert [text in said for text in ("sent OPEN, ", "sent DATA, 12 bytes", "received DATA, 12 bytes")] == [frames] * 3


def test_an_error_alone_is_one_line(site: Behind) -> None:
    site.kill()
    expect_one_line(site.run("connect", "-i", site.alice, "127.0.0.1", site.echo.port).stderr)
