"""forward: SIGUSR1 asks for a line, --retry waits for a server, and nobody is accepted before there is one.

What it carries is in tests/whole."""

from __future__ import annotations

import signal
import socket

import program
import pytest
from loopback import dial_tcp, unused_port
from program import Site, expect_one_line

site = program.site


def test_a_status_line(site: Site) -> None:
    server = site.serve()
    client = site.forward(site.profile("bob", server.port), "0:127.0.0.1:1")
    client.signal(signal.SIGUSR1)
    line = client.err.wait(", up ")
    assert line.startswith("nitrosocks: 1 session, 0 streams, 1 session made so far, up ")
    assert client.signal().wait() == 0


def test_a_password_that_nobody_would_be_asked_for(site: Site) -> None:
    """It would be relied upon."""
    words = ["forward", "-i", site.profile("fay", 1), "--socks-auth", file := site.place / "login"]
    file.touch(mode=0o600)
    file.write_text("user:\n")
    for listens in (["-L", "0:a:1"], ["-R", "0:a:1", "-L", "udp:0:a:1"]):
        done = site.run(*words, *listens)
        told = (
            "nitrosocks: --socks-auth is for proxies; -L, and -R with a target, ask nobody for a password; leave it out"
        )
        assert done.returncode == 64 and expect_one_line(done.stderr).startswith(told)
    for text in ("user:", f"{'u' * 256}:a", f"u:{'ü' * 128}"):
        file.write_text(f"{text}\n")
        done = site.run(*words, "-D", "0")
        assert done.returncode == 64 and "user and password have 1 to 255 bytes; " in expect_one_line(done.stderr)


def test_a_second_one_does_not_take_the_file_of_the_first(site: Site) -> None:
    file, profile = site.place / "forward.pid", site.profile("gus", site.serve().port)
    words = ["forward", "-i", profile, "--pidfile", file, "-D", "0"]
    first = site.nitrosocks(*words)
    first.err.wait("nitrosocks: ready")
    done, number = site.run(*words), file.read_text()
    assert done.returncode == 73 and number == f"{first.pid}\n"
    assert f"belongs to process {first.pid}, which still runs; end that one, or " in expect_one_line(done.stderr)
    assert file.read_text() == number
    assert first.signal().wait() == 0 and not file.exists()


def test_retry_goes_on_until_there_is_a_server(site: Site) -> None:
    port = unused_port()
    profile = site.profile("carol", port)
    assert "refused" in expect_one_line(site.run("forward", "-i", profile, "-L", "0:127.0.0.1:1").stderr)
    client = site.nitrosocks("forward", "-i", profile, "-L", "0:127.0.0.1:1", "--retry")
    client.err.wait("; trying again in 0.2 s")
    server = site.serve(listen=f"127.0.0.1:{port}")
    client.err.wait("nitrosocks: ready")
    for process in (client, server):
        assert process.signal().wait() == 0


def test_ports_are_bound_at_once_and_listen_when_there_is_a_session(site: Site) -> None:
    """A taken port is told without a server; a connection is refused rather than kept waiting for one."""
    port, local = unused_port(), unused_port()
    words = ["forward", "-i", site.profile("dave", port), "--retry", "-L"]
    with socket.create_server(("127.0.0.1", local)):
        done = site.run(*words, f"{local}:127.0.0.1:1")
        assert done.returncode == 73 and "already in use" in expect_one_line(done.stderr)
    client = site.nitrosocks(*words, f"{local}:127.0.0.1:1")
    client.err.wait("; trying again in 0.2 s")
    with pytest.raises(ConnectionRefusedError):
        dial_tcp(local)
    server = site.serve(listen=f"127.0.0.1:{port}")
    client.err.wait("nitrosocks: ready")
    dial_tcp(local).close()
    for process in (client, server):
        assert process.signal().wait() == 0


def test_a_port_that_was_taken_while_there_was_no_session(site: Site) -> None:
    """It is told as a port that was taken before, and the session does not stay behind."""
    port, local = unused_port(), unused_port()
    client = site.nitrosocks("forward", "-i", site.profile("erin", port), "--retry", "-L", f"{local}:127.0.0.1:1")
    client.err.wait("; trying again in 0.2 s")
    with socket.create_server(("127.0.0.1", local)):
        server = site.serve("-v", listen=f"127.0.0.1:{port}")
        assert client.wait() == 73
    assert f"cannot listen on 127.0.0.1:{local}: Address already in use" in client.err.end()
    server.signal(signal.SIGUSR1)
    assert "0 sessions" in server.err.wait(", up ")
    assert server.signal().wait() == 0


def test_without_a_session_no_socket_file_is_left(site: Site) -> None:
    profile, path = site.profile("frank", unused_port()), site.home / "local.sock"
    words = ["forward", "-i", profile, "-L", f"{path}:127.0.0.1:1"]
    assert site.run(*words).returncode == 69
    assert not path.exists()
    client = site.nitrosocks(*words, "--retry")
    client.err.wait("; trying again in 0.2 s")
    assert path.is_socket()
    assert client.signal().wait() == 0
    assert not path.exists()
