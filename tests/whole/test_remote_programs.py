"""-R with real programs behind it: sshd, and nginx; the session's connection is cut in the middle of what they send."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import nginx
import pytest
import remote
from loopback import dial_tcp, read_exactly
from openssh import Ssh
from program import BOUND, tool
from remote import Remote, echoes
from targets import Target

site = remote.site
SIZE = 20_000_000
SOME = 100_000  # bytes of each of many answers
MANY = 200
LONG = (60, 60, 60)  # seconds: nginx ends no connection of ours


def written(path: Path, size: int) -> tuple[Path, str]:
    """A file of random bytes, and their SHA-256."""
    data = os.urandom(size)
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def cut_at(site: Remote, *amounts: int) -> Thread:
    """Cuts the session's connection whenever so many bytes have gone up since now; over when all is cut."""
    begun, left = site.faults.bytes_up, list(amounts)

    def cut() -> None:
        for number, amount in enumerate(left):
            site.faults.wait(lambda enough=begun + amount: site.faults.bytes_up >= enough, BOUND)
            site.faults.cut(rst=number % 2 == 0)

    thread = Thread(target=cut, daemon=True)
    thread.start()
    return thread


def test_ssh_to_a_machine_that_is_behind_the_client(site: Remote) -> None:
    ssh = Ssh(site, bare=True)
    port = site.remote(f"0:127.0.0.1:{ssh.port}").port
    file, digest = written(site.place / "file", SIZE)
    done = ssh.run("echo out; echo err >&2; cat; exit 42", give=b"what is given\n", port=port)
    assert (done.returncode, done.stdout, done.stderr) == (42, b"out\nwhat is given\n", b"err\n")
    cuts = cut_at(site, SIZE // 8, SIZE // 2, SIZE * 3 // 4)
    done = ssh.run(f"cat {file}", port=port)
    assert (done.returncode, done.stderr) == (0, b"")
    assert hashlib.sha256(done.stdout).hexdigest() == digest
    cuts.join(BOUND)
    assert not cuts.is_alive() and str(site.server.err).count("lost its connection") >= 3  # more where in doubt
    copy, back = site.place / "copy", site.place / "back"
    for source, sink in ((file, f"127.0.0.1:{copy}"), (f"127.0.0.1:{copy}", back)):
        done = ssh.copy(str(source), str(sink), port)
        assert (done.returncode, done.stderr) == (0, b"")
    assert hashlib.sha256(back.read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("how", ["--http1.0", "--http1.1"])
def test_a_download_through_cuts_is_complete(site: Remote, how: str) -> None:
    """The end of HTTP/1.0 is the end of the connection; that of HTTP/1.1 is told in its head."""
    web = nginx.start(site, times=LONG)
    port = site.remote(f"0:127.0.0.1:{web.plain}").port
    _, digest = written(web.place / "site" / "random", SIZE)
    cuts = cut_at(site, SIZE // 16, SIZE // 4, SIZE // 2, SIZE * 7 // 8)
    done = site.call(tool("curl"), "-sS", how, "--noproxy", "*", f"http://127.0.0.1:{port}/random")
    assert (done.returncode, done.stderr, len(done.stdout)) == (0, b"", SIZE)
    assert hashlib.sha256(done.stdout).hexdigest() == digest
    cuts.join(BOUND)
    assert not cuts.is_alive()


def test_200_connections_at_once_and_200_in_sequence(site: Remote) -> None:
    web = nginx.start(site, times=LONG)
    port = site.remote(f"0:127.0.0.1:{web.plain}").port
    _, digest = written(web.place / "site" / "random", SOME)

    def right(connection: HTTPConnection, keep: bool) -> bool:
        connection.request("GET", "/random", headers={} if keep else {"Connection": "close"})
        answer = connection.getresponse()
        good = answer.status == 200 and hashlib.sha256(answer.read()).hexdigest() == digest
        return good and answer.will_close is not keep

    with ExitStack() as stack, ThreadPoolExecutor(MANY) as threads:
        kept = [HTTPConnection("127.0.0.1", port, timeout=BOUND) for _ in range(MANY)]
        for connection in kept:
            stack.callback(connection.close)
            connection.connect()
        for _ in range(2):  # the second time on the same connections
            assert all(threads.map(lambda each: right(each, True), kept))
    for _ in range(MANY):
        connection = HTTPConnection("127.0.0.1", port, timeout=BOUND)
        assert right(connection, False)
        connection.close()


def test_a_port_that_is_taken_over_leaves_all_else_of_its_client(site: Remote) -> None:
    """Of two clients with one profile; the first one does not ask for the port again, not even of the next server."""
    first = site.remote(
        f"0:127.0.0.1:{site.echo.port}", f"0:127.0.0.1:{site.echo.port}", words=("-L", f"0:127.0.0.1:{site.echo.port}")
    )
    taken, other = first.ports
    assert first.out is not None
    near = int(first.out.wait("forwarding 127.0.0.1:").split(" and ")[0].rpartition(":")[2])
    with ExitStack() as stack:
        streams = [stack.enter_context(dial_tcp(port)) for port in (taken, other, near)]
        live(streams)
        second_echo = site.enter_context(Target(lambda sock: sock.sendall(b"second")))
        second = site.remote(f"{taken}:127.0.0.1:{second_echo.port}")
        first.err.wait("another client with this profile does, or the rules changed")
        with dial_tcp(taken) as sock:
            assert read_exactly(sock, 6) == b"second"
        live(streams)
        site.faults.cut()
        live(streams)
        for port in (other, near):
            echoes(port)
    site.server.signal(signal.SIGKILL).wait()
    site.begin()
    for port in (taken, other):
        site.server.err.wait(f"listening on localhost:{port}")
    echoes(other)
    with dial_tcp(taken) as sock:
        assert read_exactly(sock, 6) == b"second"
    assert str(site.server.err).count(f"listening on localhost:{taken}") == 1
    assert str(first.err).count("no longer listens") == 1 and "no longer" not in str(second.err)


def live(streams: list[socket.socket]) -> None:
    """Each of them echoes."""
    for number, stream in enumerate(streams):
        stream.sendall(b"%d" % number)
        assert read_exactly(stream, 1) == b"%d" % number
