"""`connect` with whatever may stand behind its stdin and stdout, and both ways to name the target."""

import fcntl
import os
import pty
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import program
import pytest
from piped import read, read_pipe, talk, write_all
from program import Process, Site
from targets import Target, echo, read_all

site = program.site
PIPE = subprocess.PIPE
LARGE = os.urandom(4_000_000)


@pytest.fixture(scope="module")
def server(site: Site) -> Process:
    return site.serve("-v")


@pytest.fixture(scope="module")
def profile(site: Site, server: Process) -> Path:
    return site.profile("alice", server.port)


@pytest.fixture(scope="module")
def echoing() -> Iterator[Target]:
    with Target(echo) as target:
        yield target


@pytest.mark.parametrize("form", ["HOST PORT", "HOST:PORT", "[HOST] PORT", "[HOST]:PORT"])
def test_both_forms_of_the_target(site: Site, profile: Path, form: str) -> None:
    host = "::1" if "[" in form else "127.0.0.1"
    with Target(echo, host) as target:
        words = form.replace("HOST", host).replace("PORT", str(target.port)).split()
        done = site.run("connect", "-i", profile, *words, give=b"hello")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b"")


def test_the_options_of_a_profile_by_environment(site: Site, profile: Path, echoing: Target) -> None:
    words = ("connect", f"127.0.0.1:{echoing.port}")
    process = site.nitrosocks(*words, env={"NITROSOCKS_PROFILE": str(profile)}, stdin=PIPE, stdout=PIPE)
    assert talk(process, b"hello") == b"hello"
    process.popen.stdin.close()
    assert (process.wait(), str(process.err)) == (0, "")


def test_stdin_from_a_file(site: Site, profile: Path, echoing: Target) -> None:
    path, copy = site.place / "file", site.place / "copy"
    path.write_bytes(LARGE)
    with open(path, "rb") as source, open(copy, "wb") as sink:
        process = site.connect(profile, "127.0.0.1", echoing.port, stdin=source, stdout=sink)
        assert (process.wait(), str(process.err)) == (0, "")
    assert copy.read_bytes() == LARGE


def test_stdin_from_nowhere(site: Site, profile: Path, echoing: Target) -> None:
    done = site.run("connect", "-i", profile, "127.0.0.1", echoing.port)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_one_socket_for_both_is_told_the_end(site: Site, profile: Path) -> None:
    """As rsync and inetd give it: it stays open for what the other end still sends."""
    got: list[bytes] = []

    def sink(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        got.append(read_all(sock))

    near, far = socket.socketpair()
    with Target(sink) as target, near, far:
        process = site.connect(profile, "127.0.0.1", target.port, stdin=far, stdout=far)
        far.close()
        near.settimeout(0.05)
        sent, ended = b"", False
        while not ended and len(sent) < 200:
            sent += b"x"
            near.send(b"x")  # so stdin is never silent for long
            with suppress(TimeoutError):
                ended = not near.recv(1)
        assert ended
        near.shutdown(socket.SHUT_WR)
        assert (process.wait(), str(process.err)) == (0, "")
    assert got == [sent]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_descriptors_do_not_become_sockets(site: Site, server: Process, profile: Path, closed: str) -> None:
    """Some supervisors start programs without them. What is written to a socket of ours there leaves unencrypted."""
    begun, looked = threading.Event(), threading.Event()

    def serve(sock: socket.socket) -> None:
        begun.set()
        looked.wait(program.BOUND)
        sock.sendall(b"hello")

    with Target(serve) as target:
        words = [*program.NITROSOCKS, "connect", "-i", profile, "127.0.0.1", target.port]
        process = site.start("/bin/sh", "-c", f'exec "$@" {closed}', "sh", *words, stdin=PIPE)
        assert begun.wait(program.BOUND)
        behind = [behind_descriptor(process.pid, fd) for fd in (0, 1, 2)]
        looked.set()
        process.wait()
    assert not [name for name in behind if "socket:" in name], behind
    assert "broke" not in str(process.err) + str(server.err)


def behind_descriptor(pid: int, fd: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except FileNotFoundError:
        return ""


def test_a_terminal(site: Site, profile: Path, echoing: Target) -> None:
    ours, theirs = pty.openpty()
    with open(ours, "r+b", buffering=0) as terminal:
        process = site.connect(profile, "127.0.0.1", echoing.port, stdin=theirs, stdout=PIPE, start_new_session=True)
        os.close(theirs)
        terminal.write(b"a line\n")
        assert read(process, 7) == b"a line\n"
        terminal.write(b"\x04")  # ^D
        assert read_pipe(process) == b""
        assert (process.wait(), str(process.err)) == (0, "")


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_the_flags_of_what_is_inherited_stay(site: Site, profile: Path, echoing: Target, blocking: bool) -> None:
    """stdin and stdout are shared with others; and where these had made them non-blocking, it works all the same."""
    (in_read, in_write), (out_read, out_write) = os.pipe(), os.pipe()
    for fd in (in_read, out_write):
        os.set_blocking(fd, blocking)
    given, got = LARGE[:1_000_000], list[bytes]()
    before = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (in_read, out_write)]
    process = site.connect(profile, "127.0.0.1", echoing.port, stdin=in_read, stdout=out_write)
    threads = [
        threading.Thread(target=write_all, args=(os.fdopen(in_write, "wb"), given)),
        threading.Thread(target=lambda: got.append(read_slowly(out_read))),
    ]
    for thread in threads:
        thread.start()
    code = process.wait()
    assert [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (in_read, out_write)] == before
    for fd in (in_read, out_write):
        os.close(fd)
    for thread in threads:
        thread.join()
    assert (code, str(process.err), len(got[0]), got == [given]) == (0, "", len(given), True)


def read_slowly(fd: int) -> bytes:
    """To the end, in pieces smaller than those in which it is written, so that the pipe is full at times."""
    with open(fd, "rb", buffering=0) as pipe:
        return b"".join(iter(lambda: pipe.read(5000), b""))
