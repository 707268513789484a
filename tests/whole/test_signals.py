"""Signals to a running server and client: the first one ends it in order, the second one at once."""

import ctypes
import os
import signal
import socket
import subprocess
import time

import program
import pytest
from loopback import read_exactly, was_reset
from piped import talk
from program import NITROSOCKS, Process, Site
from targets import Ends, Target, dial, echo, exchange

site = program.own_site

each_signal = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)


class Pair:
    """A server and a client that are ready, and an echo that the client forwards to."""

    def __init__(self, site: Site, *words: str) -> None:
        self.target = site.enter_context(Target(echo))
        self.server = site.serve(*words)
        self.profile = site.profile("alice", self.server.port)
        self.client = self.forward(site)

    def forward(self, site: Site) -> Process:
        return site.forward(self.profile, f"0:127.0.0.1:{self.target.port}")


def stream(client: Process) -> socket.socket:
    """One that is known to be open."""
    sock = dial(client.port)
    sock.sendall(b"x")
    assert read_exactly(sock, 1) == b"x"
    return sock


@each_signal
def test_idle(site: Site, number: signal.Signals) -> None:
    pair = Pair(site)
    with dial(pair.client.port) as sock:
        assert exchange(sock, b"x") == b"x"
    again = pair.forward(site)
    assert again.signal(number).wait() == 0
    assert str(again.err) == "nitrosocks: ready\n"
    began = time.monotonic()
    assert pair.server.signal(number).wait() == 0  # the idle session of the other client holds nothing up
    assert time.monotonic() - began < 5
    assert pair.client.signal(number).wait() == 0


@each_signal
def test_with_a_stream(site: Site, number: signal.Signals) -> None:
    """The server waits as long as it was told to, the client not at all; both reset what is cut off."""
    pair = Pair(site, "--drain", "1")
    with stream(pair.client) as sock:
        assert pair.server.signal(number).wait() == 0
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert pair.client.signal(number).wait() == 0
    pair.server = site.serve(listen=f"127.0.0.1:{pair.server.port}")
    client = pair.forward(site)
    with stream(client) as sock:
        assert client.signal(number).wait() == 0
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


@pytest.mark.parametrize("which", ["server", "client"])
def test_what_is_cut_by_the_death_of_a_process_does_not_look_complete(site: Site, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = site.serve("--drain", "0")
        client = site.forward(site.profile("alice", server.port), f"0:127.0.0.1:{listener.getsockname()[1]}")
        with Ends(client.port, listener) as ends:
            for one, other in ((ends.near, ends.far), (ends.far, ends.near)):
                one.sendall(b"x")
                assert read_exactly(other, 1) == b"x"
            {"server": server, "client": client}[which].signal(signal.SIGKILL).popen.wait()
            assert was_reset(ends.far if which == "server" else ends.near)


@each_signal
def test_a_draining_server_serves_what_runs(site: Site, number: signal.Signals) -> None:
    pair = Pair(site, "--drain", "3600")
    with stream(pair.client) as sock:
        assert pair.server.signal(number).err.wait("stopping; running streams have 3600 s")
        assert exchange(sock, b"y" * 1_000_000) == b"y" * 1_000_000
    assert pair.server.wait() == 0


def test_a_draining_server_takes_nobody_new(site: Site) -> None:
    pair = Pair(site, "--drain", "3600")
    with stream(pair.client):
        pair.server.signal().err.wait("stopping")
        done = site.run("forward", "-i", pair.profile, "-L", "0:127.0.0.1:1")
        assert done.returncode == 69
        assert done.stderr.startswith(b"nitrosocks: ") and done.stderr.count(b"\n") == 1
    assert pair.server.wait() == 0


@each_signal
def test_a_second_signal_ends_at_once(site: Site, number: signal.Signals) -> None:
    pair = Pair(site, "--drain", "3600")
    with stream(pair.client):
        pair.server.signal().err.wait("stopping")
        assert pair.server.signal(number).wait() == 128 + number


def signal_another_thread(process: Process) -> None:
    """The kernel may give a signal to any thread of a process, as to one that is just making another."""
    others = [int(name) for name in os.listdir(f"/proc/{process.pid}/task") if int(name) != process.pid]
    assert ctypes.CDLL(None).tgkill(process.pid, others[0], int(signal.SIGTERM)) == 0


@pytest.mark.parametrize("which", ["server", "client"])
def test_it_does_not_matter_which_thread_gets_the_signal(site: Site, which: str) -> None:
    pair = Pair(site, "--drain", "0")
    process = getattr(pair, which)
    signal_another_thread(process)
    assert process.wait() == 0


def test_nor_does_it_for_the_second_signal(site: Site) -> None:
    pair = Pair(site, "--drain", "3600")
    with stream(pair.client) as sock:
        pair.server.signal().err.wait("stopping")
        for _ in range(50):  # by now its main thread waits
            sock.sendall(b"y")
            assert read_exactly(sock, 1) == b"y"
        signal_another_thread(pair.server)
        assert pair.server.wait() == 128 + signal.SIGTERM


def test_sighup_does_not_end_them(site: Site) -> None:
    """The terminal from which they were started may go."""
    pair = Pair(site, "--drain", "0")
    for process in (pair.server, pair.client):
        process.signal(signal.SIGHUP)
    with stream(pair.client) as sock:
        assert exchange(sock, b"y") == b"y"


def test_what_is_ignored_at_the_start_stays_ignored(site: Site) -> None:
    """As `nohup nitrosocks connect …`, or `nitrosocks forward … &` in a script, which ignores SIGINT for it."""
    pair, trap = Pair(site), ("/bin/sh", "-c", "trap '' HUP INT; exec \"$@\"", "sh", *NITROSOCKS)
    words = ("connect", "-i", pair.profile, "127.0.0.1", pair.target.port)
    ignoring = site.start(*trap, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for number in (signal.SIGHUP, signal.SIGINT):
        assert talk(ignoring, b"x") == b"x"
        ignoring.signal(number)
    assert talk(ignoring, b"y") == b"y"
    ignoring.popen.stdin.close()
    assert (ignoring.wait(), str(ignoring.err)) == (0, "")
