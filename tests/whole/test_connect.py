"""`connect` behaves like `ssh -W`: what it reads, what it writes, and how it ends."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import program
import pytest
from loopback import unused_port
from piped import read, read_pipe, talk, write_all
from program import Site, expect_one_line
from targets import CHUNK, Target, drain, echo, read_all
from world import SERVER_KEY, World

from nitrosocks_lib.files import enrol, profiles
from nitrosocks_lib.files.writing import write_secret
from nitrosocks_lib.server.entry import Entry
from nitrosocks_lib.session.inbound import Inbound
from nitrosocks_lib.session.streams import Sending

site = program.site
profile = program.profile
PIPE = subprocess.PIPE
SIGNALS = [signal.SIGHUP, signal.SIGTERM, signal.SIGINT]
LARGE = os.urandom(12_000_000)


@pytest.fixture(scope="module")
def echoing() -> Iterator[Target]:
    with Target(echo) as target:
        yield target


# Ends of data


def test_the_end_of_stdin_half_closes_and_output_flows_on(site: Site, profile: Path) -> None:
    def count_then_give(sock: socket.socket) -> None:
        size, _ = drain(sock)
        sock.sendall(str(size).encode() + b"\n" + LARGE)

    with Target(count_then_give) as target:
        done = site.run("connect", "-i", profile, "127.0.0.1", target.port, give=LARGE)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == str(len(LARGE)).encode() + b"\n" + LARGE


def test_the_end_of_the_peer_ends_with_all_written_though_stdin_is_open(site: Site, profile: Path) -> None:
    with Target(lambda sock: sock.sendall(LARGE)) as target:
        process = site.connect(profile, "127.0.0.1", target.port, stdin=PIPE, stdout=PIPE)
        assert process.popen.stdout.read(1000) == LARGE[:1000]
        assert read_pipe(process) == LARGE[1000:]
        assert (process.wait(), str(process.err)) == (0, "")


def test_what_the_peer_did_not_want_to_read_is_no_failure(site: Site, profile: Path) -> None:
    """It ends without reading stdin, as `head` does."""

    def greet(sock: socket.socket) -> None:
        sock.sendall(b"bye\n")
        sock.shutdown(socket.SHUT_WR)
        drain(sock)

    with Target(greet) as target:
        process = site.connect(profile, "127.0.0.1", target.port, stdin=PIPE, stdout=PIPE)
        assert read_pipe(process) == b"bye\n"
        assert (process.wait(), str(process.err)) == (0, "")


def test_an_upload_goes_on_where_the_peer_ends_at_once(site: Site, profile: Path) -> None:
    """`nc -lN </dev/null >file` says nothing and ends; it reads on."""
    got: list[bytes] = []

    def sink(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        got.append(read_all(sock))

    with Target(sink) as target:
        done = site.run("connect", "-i", profile, "127.0.0.1", target.port, give=LARGE)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert got == [LARGE]


def test_an_upload_that_does_not_get_through_is_told(site: Site, profile: Path) -> None:
    """The peer ends well, and closes; its kernel resets what comes then."""
    with Target(lambda sock: sock.sendall(b"enough")) as target:
        done = site.run("connect", "-i", profile, "127.0.0.1", target.port, give=LARGE)
        assert (done.returncode, done.stdout) == (255, b"enough")
        assert expect_one_line(done.stderr).startswith(f"nitrosocks: 127.0.0.1:{target.port}: connection reset")


def test_a_reset_by_the_target_is_told(site: Site, profile: Path) -> None:
    def break_off(sock: socket.socket) -> None:
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with Target(break_off) as target:
        process = site.connect(profile, "127.0.0.1", target.port, stdin=PIPE, stdout=PIPE)
        process.popen.stdin.write(b"x")
        assert read_pipe(process) == b""
        assert process.wait() == 255
        assert expect_one_line(str(process.err)).startswith(f"nitrosocks: 127.0.0.1:{target.port}: connection reset")


def test_a_refused_target_is_told_in_one_line(site: Site, profile: Path) -> None:
    port = unused_port()
    reached, forbidden = (
        ": the target refused the connection; the server did reach it",
        " is not permitted for this client; ask",
    )
    targets = {
        (f"127.0.0.1:{port}",): reached,
        ("127.0.0.1", port): reached,
        ("192.0.2.1", 80): forbidden,
        ("no-such-host.invalid", 80): ": the server cannot find no-such-host.invalid: ",
    }
    for target, told in targets.items():
        done = site.run("connect", "-i", profile, *target, give=b"what nobody reads")
        assert (done.returncode, done.stdout) == (255, b"")
        line = expect_one_line(done.stderr)
        assert line.startswith(f"nitrosocks: {':'.join(map(str, target))}{told}")


# Ends from outside


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_signals_end_it_quietly(site: Site, profile: Path, echoing: Target, number: signal.Signals) -> None:
    process = site.connect(profile, "127.0.0.1", echoing.port, stdin=PIPE, stdout=PIPE)
    assert talk(process, b"x") == b"x"
    began = time.monotonic()
    assert process.signal(number).wait() == 255
    assert time.monotonic() - began < 5
    assert str(process.err) == ""


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_signals_end_it_quietly_while_it_dials(site: Site, tmp_path: Path, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(program.BOUND)
        profile = site.profile(f"early-{number.name}", silent.getsockname()[1])
        process = site.connect(profile, "127.0.0.1", 1, stdin=PIPE, stdout=PIPE)
        with silent.accept()[0]:
            assert process.signal(number).wait() == 255
        assert str(process.err) == ""


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_signals_end_it_while_its_end_is_not_acknowledged(
    site: Site, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target has ended, and then the network is gone: nobody is to wait for that."""
    size, acked, on_ack = 150_000, threading.Condition(), Inbound._on_ack

    def told(inbound: Inbound, payload: bytes) -> None:
        with acked:
            on_ack(inbound, payload)
            acked.notify_all()

    monkeypatch.setattr(Inbound, "_on_ack", told)
    with World(proxy=True) as world:
        port = world.target(lambda sock: sock.sendall(bytes(size)))
        process = site.connect(world_profile(site, world), "127.0.0.1", port, stdin=PIPE, stdout=PIPE)
        with acked:
            assert acked.wait_for(lambda: any(map(end_is_acked, world.registry.all())), program.BOUND)
        world.proxy.stall()
        assert read(process, size) == bytes(size), "until now it waited with a part of it"
        assert process.signal(number).wait() == 255
        assert str(process.err) == ""


def end_is_acked(entry: Entry) -> bool:
    """Whether the client has the end of the target."""
    ended = any(stream.sending is Sending.ENDED for stream in entry.tunnel.state.streams.all())
    return ended and entry.tunnel.acknowledged


def world_profile(site: Site, world: World) -> Path:
    address = [f"127.0.0.1:{world.proxy.port}"]
    profile, client = enrol.make_client("world", address, SERVER_KEY.public, ["127.0.0.1:*"])
    for path, text in ((site.place / "world.profile", profile), (site.place / "world.toml", client)):
        write_secret(path, text, force=True)
    loaded = profiles.load_client(site.place / "world.toml")
    world.directory.known[loaded.authorised.public.client_id] = loaded
    return site.place / "world.profile"


def test_a_status_is_not_asked_of_it(site: Site, profile: Path, echoing: Target) -> None:
    """SIGUSR1 makes others say something."""
    process = site.connect(profile, "127.0.0.1", echoing.port, stdin=PIPE, stdout=PIPE)
    assert talk(process, b"x") == b"x"
    process.signal(signal.SIGUSR1)
    assert talk(process, b"y") == b"y"
    process.popen.stdin.close()
    assert (process.wait(), str(process.err)) == (0, "")


def test_a_stdout_that_takes_no_more_is_told(site: Site, profile: Path) -> None:
    with Target(lambda sock: sock.sendall(b"lost")) as target:
        for pipes, told in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
            words = [*program.NITROSOCKS, "connect", "-i", profile, "127.0.0.1", target.port]
            done = site.call("/bin/sh", "-c", f'exec "$@" {pipes}', "sh", *words)
            line = expect_one_line(done.stderr)
            assert (done.returncode, line) == (255, f"nitrosocks: cannot write to stdout: {told}")


def test_the_reader_of_stdout_is_gone(site: Site, profile: Path) -> None:
    def flood(sock: socket.socket) -> None:
        with suppress(OSError):
            while True:
                sock.sendall(LARGE[:CHUNK])

    with Target(flood) as target:
        process = site.connect(profile, "127.0.0.1", target.port, stdin=PIPE, stdout=PIPE)
        assert process.popen.stdout.read(1)
        process.popen.stdout.close()
        assert (process.wait(), str(process.err)) == (255, "")


def test_the_server_stops(tmp_path: Path) -> None:
    """It ends, and not quietly: the data has not come to its end."""
    with Site(tmp_path) as site, Target(echo) as target:
        server = site.serve("--drain", "0")
        profile = site.profile("bob", server.port)
        process = site.connect(profile, "127.0.0.1", target.port, stdin=PIPE, stdout=PIPE)
        assert talk(process, b"x") == b"x"
        assert server.signal().wait() == 0
        assert read_pipe(process) == b""
        assert process.wait() == 255
        assert expect_one_line(str(process.err)).endswith("the server stops")


def test_many_at_once(site: Site, profile: Path, echoing: Target) -> None:
    """What ssh does with several hosts behind one server."""
    processes = [site.connect(profile, "127.0.0.1", echoing.port, stdin=PIPE, stdout=PIPE) for _ in range(6)]
    for number, process in enumerate(processes):
        assert talk(process, b"%d" % number) == b"%d" % number
    for process in processes:
        process.popen.stdin.close()
        assert read_pipe(process) == b""
        assert (process.wait(), str(process.err)) == (0, "")


def test_a_peer_that_never_reads(site: Site, profile: Path) -> None:
    """Its output comes all the same, and its end ends us, though most of stdin is not written."""
    ended = threading.Event()

    def deaf(sock: socket.socket) -> None:
        sock.sendall(LARGE)
        sock.shutdown(socket.SHUT_WR)
        ended.wait(program.BOUND)

    with Target(deaf) as target:
        process = site.connect(profile, "127.0.0.1", target.port, stdin=PIPE, stdout=PIPE)
        writing = threading.Thread(target=write_all, args=(process.popen.stdin, LARGE * 3))
        writing.start()
        assert read(process, len(LARGE)) == LARGE
        ended.set()
        code = process.wait()
        writing.join()
        assert code in (0, 255)  # as its kernel sends FIN or RST for what it did not read


def test_the_target_sees_the_end_of_connect(site: Site, profile: Path) -> None:
    """Killed without a chance to say so: the server notices, and the target's connection ends."""
    seen: list[bytes | OSError] = []
    begun = threading.Event()

    def watch(sock: socket.socket) -> None:
        assert sock.recv(10)
        begun.set()
        try:
            seen.append(read_all(sock))
        except OSError as error:
            seen.append(error)

    server = site.serve("--resume", "0")
    with Target(watch) as target:
        process = site.connect(site.profile("mortal", server.port), "127.0.0.1", target.port, stdin=PIPE, stdout=PIPE)
        process.popen.stdin.write(b"x" * 10)
        assert begun.wait(program.BOUND)
        process.popen.kill()
    assert isinstance(seen[0], ConnectionResetError), "an end of the connection is no end of data"
