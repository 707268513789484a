"""Unix sockets at each end of -L, -R and `connect`, with nginx, curl and ssh; whose files they are, and what stays."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import nginx
import pytest
from loopback import read_exactly, unused_port
from openssh import Ssh
from program import BOUND, NITROSOCKS, Process, expect_one_line, port_of, tool
from remote import Remote

from nitrosocks_lib.net import landlock

SIZE = 5_000_000
PUT = "listen unix:{}; client_max_body_size 0; location /put/ {{ dav_methods PUT; }}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with Remote(tmp_path_factory.mktemp("sockets")) as made:
        yield made


@pytest.fixture(scope="module")
def web(site: Remote) -> nginx.Nginx:
    """It listens at app.sock, too, and takes files."""
    web = nginx.start(site, more=PUT.format(site.place / "app.sock"), times=(60, 60, 60))
    (web.place / "site" / "put").mkdir()
    (web.place / "site" / "random").write_bytes(os.urandom(SIZE))
    return web


def forward(site: Remote, option: str, spec: str, **how: int) -> Process:
    """A client with this -L or -R, that is ready; `port` is where, 0 for a path. `how` is for Popen."""
    client = site.nitrosocks("forward", "-i", site.alice, option, spec, **how)
    assert client.out is not None
    client.err.wait("nitrosocks: ready")
    place = client.out.wait("forwarding ").removeprefix("forwarding ").split(" ")[0]
    client.port = 0 if place.startswith("/") else port_of(place)
    return client


def curl(site: Remote, *words: object) -> bytes:
    done = site.call(tool("curl"), "-sS", "--fail", "--noproxy", "*", "--max-time", BOUND, *words)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def talks(path: Path) -> bool:
    """Whether an echo answers there."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(BOUND)
        sock.connect(str(path))
        sock.sendall(b"hello")
        return read_exactly(sock, 5) == b"hello"


@pytest.mark.parametrize("option", ["-L", "-R"])
@pytest.mark.parametrize("spec", ["{}/x.sock:{}/app.sock", "{}/x.sock:127.0.0.1:{port}", "0:{}/app.sock"])
def test_http_over_each_pair_of_ends(site: Remote, web: nginx.Nginx, option: str, spec: str) -> None:
    """As docker speaks to its daemon; the file of a socket goes with the client."""
    made, random = site.place / "x.sock", web.place / "site" / "random"
    client = forward(site, option, spec.replace("{}", str(site.place)).replace("{port}", str(web.plain)))
    at = ["--unix-socket", str(made), "http://localhost"] if not client.port else [f"http://127.0.0.1:{client.port}"]
    assert made.is_socket() is not bool(client.port)
    *way, url = at
    assert curl(site, *way, f"{url}/", f"{url}/") == web.page * 2  # one connection
    assert hashlib.sha256(curl(site, *way, f"{url}/random")).digest() == hashlib.sha256(random.read_bytes()).digest()
    curl(site, *way, "-T", random, f"{url}/put/{option}{len(spec)}")
    assert (web.place / "site" / "put" / f"{option}{len(spec)}").read_bytes() == random.read_bytes()
    assert client.signal().wait() == 0
    site.server.err.wait(f"no longer listening on {made}") if option == "-R" and not client.port else None
    assert not made.exists()


def test_connect_to_a_unix_socket(site: Remote, web: nginx.Nginx) -> None:
    there = f"unix:{site.place}/app.sock"
    done = site.run("connect", "-i", site.alice, there, give=b"GET / HTTP/1.0\r\n\r\n")
    assert done.returncode == 0 and done.stdout.endswith(web.page) and done.stderr == b""
    gone, over = site.place / "gone.sock", site.place / "over.sock"
    stale(over)
    for path, why in ((gone, "no such socket; check the path"), (over, "refused the connection; the server found it")):
        done = site.run("connect", "-i", site.alice, f"unix:{path}", give=b"")
        assert done.returncode == 255 and why in expect_one_line(done.stderr)


def test_ssh_from_one_client_to_another_by_a_unix_socket(site: Remote) -> None:
    """The one has its sshd at a socket of the server's, which no port leads to; the other one connects there."""
    ssh, path = Ssh(site, bare=True), site.place / "sshd.sock"
    forward(site, "-R", f"{path}:127.0.0.1:{ssh.port}")
    bob = site.profile("bob", site.faults.port, str(path))
    ssh.options.append(f"-oProxyCommand={shlex.join([*NITROSOCKS, 'connect', '-i', str(bob), f'unix:{path}'])}")
    data = os.urandom(SIZE)
    done = ssh.run("cat", give=data)
    assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0, 0o777])
@pytest.mark.parametrize("words", [(), ("--socket-mode", "660")])
def test_the_mode_of_a_local_socket(site: Remote, words: tuple[str, ...], umask: int) -> None:
    path = site.place / "mode.sock"
    spec = f"{path}:127.0.0.1:{site.echo.port}"
    client = site.nitrosocks("forward", "-i", site.alice, "-L", spec, *words, umask=umask)
    client.err.wait("nitrosocks: ready")
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o660 if words else 0o600, os.geteuid())
    assert talks(path)
    client.signal(signal.SIGINT).wait()
    assert not path.exists()


@pytest.mark.parametrize("option", ["-L", "-R"])
def test_what_nobody_listens_at_is_replaced(site: Remote, option: str) -> None:
    path = site.place / "stale.sock"
    stale(path)
    path.chmod(0o666)
    client = forward(site, option, f"{path}:127.0.0.1:{site.echo.port}")
    assert talks(path) and mode(path) == 0o600
    client.signal(signal.SIGKILL).wait()
    assert path.is_socket()  # and now it is a client's that was killed
    client = forward(site, option, f"{path}:127.0.0.1:{site.echo.port}")
    assert talks(path)
    assert client.signal().wait() == 0


@pytest.mark.parametrize("option", ["-L", "-R"])
def test_what_is_not_ours_stays(site: Remote, option: str) -> None:
    """A socket at which another process listens, here this one, and a file."""
    taken, file = site.place / f"taken{option}.sock", site.place / "file.sock"
    file.write_text("mine")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as near:
        listener.bind(str(taken))
        listener.listen()
        for path in (taken, file):
            done = site.run("forward", "-i", site.alice, option, f"{path}:127.0.0.1:{site.echo.port}")
            assert done.returncode == (73 if option == "-L" else 69)
            assert "Address already in use" in expect_one_line(done.stderr)
        near.connect(str(taken))
    assert file.read_text() == "mine"


def test_a_client_that_waits_for_its_server_keeps_its_socket(site: Remote) -> None:
    path = site.place / "waits.sock"
    spec = f"{path}:127.0.0.1:{site.echo.port}"
    nowhere = site.profile("carol", unused_port())
    first = site.nitrosocks("forward", "-i", nowhere, "--retry", "-L", spec)
    first.err.wait("trying again")
    done = site.run("forward", "-i", site.alice, "-L", spec)
    assert done.returncode == 73 and "Address already in use" in expect_one_line(done.stderr)
    assert path.is_socket()
    first.close()
    assert not path.exists()


def test_a_server_that_was_killed_leaves_what_the_next_one_replaces(site: Remote) -> None:
    path = site.place / "killed.sock"
    client = forward(site, "-R", f"{path}:127.0.0.1:{site.echo.port}")
    site.server.signal(signal.SIGKILL).wait()
    assert path.is_socket()
    site.begin()
    site.server.err.wait(f"listening on {path}")
    assert talks(path)
    assert client.signal().wait() == 0


@pytest.mark.skipif(not landlock.version(), reason="no Landlock")
def test_a_directory_that_no_rule_named_when_the_server_started(site: Remote, tmp_path: Path) -> None:
    path = tmp_path / "new.sock"
    site.permit(f"{tmp_path}/*.sock")
    done = site.run("forward", "-i", site.alice, "-R", f"{path}:127.0.0.1:{site.echo.port}")
    why = "Permission denied; a rule for a new directory counts when 'nitrosocks serve' is started again"
    assert (done.returncode, expect_one_line(done.stderr)) == (69, f"nitrosocks: -R {path}: {why}")
    assert not path.exists()
    assert site.server.signal().wait() == 0
    site.begin()
    client = forward(site, "-R", f"{path}:127.0.0.1:{site.echo.port}")
    assert talks(path)
    client.signal().wait()
