"""The program through proxies: Squid with every way to log in, in TLS too, SOCKS; and the message of every mistake."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import program
import pytest
from faultproxy import FaultProxy
from in_tls import in_tls
from loopback import pem, read_exactly, unused_port
from program import Process, Site, expect_one_line
from proxied import Guard, Plain, Socks, Squid, connecting, head_of, squid
from served import fails
from targets import Target, dial, echo, exchange

site = program.site
MEGABYTES = 8 << 20
LOGIN = "alice:secret@"


@pytest.fixture(scope="module")
def echoing() -> Iterator[int]:
    with Target(echo) as target:
        yield target.port


@pytest.fixture(scope="module")
def server(site: Site) -> Process:
    return site.serve()


@pytest.fixture(scope="module")
def profile(site: Site, server: Process) -> Path:
    return site.profile("alice", server.port)


@pytest.fixture(scope="module", params=["basic", "digest"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Squid]:
    with squid(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def login(site: Site) -> Path:
    path = site.place / "login"
    path.touch(mode=0o600)
    path.write_text("alice:secret\n")
    return path


def carries(site: Site, profile: Path, echoing: int, *words: object, env: dict[str, str] | None = None) -> Process:
    """A forward that is ready and has carried megabytes both ways."""
    client = site.nitrosocks("forward", "-i", profile, "-L", f"0:127.0.0.1:{echoing}", *words, env=env)
    client.err.wait("nitrosocks: ready")
    assert client.out is not None
    client.port = program.port_of(client.out.wait("forwarding").partition(" to ")[0])
    data = os.urandom(MEGABYTES)
    with dial(client.port) as sock:
        assert hashlib.sha256(exchange(sock, data)).digest() == hashlib.sha256(data).digest()
    return client


def opened(made: Squid) -> list[str]:
    """Which CONNECTs Squid let pass; it says so at their end."""
    return [line for line in made.access if line.startswith("TCP_TUNNEL/200 CONNECT")]


# -- ways -------------------------------------------------------------------------------------------------------------


def test_forward_with_a_login_from_the_environment(
    site: Site, server: Process, profile: Path, guarded: Squid, echoing: int
) -> None:
    env = {"HTTPS_PROXY": f"http://{LOGIN}127.0.0.1:{guarded.port}"}
    client = carries(site, profile, echoing, "-v", env=env)
    assert client.signal().wait() == 0
    assert f"through the proxy 127.0.0.1:{guarded.port} (HTTPS_PROXY), unless" in str(client.err)
    assert "secret" not in str(client.err)
    wanted = f"TCP_TUNNEL/200 CONNECT 127.0.0.1:{server.port} alice"
    assert wanted in opened(guarded)


def test_connect_with_a_login_in_a_file(site: Site, profile: Path, guarded: Squid, login: Path, echoing: int) -> None:
    words = ("--proxy", f"http://127.0.0.1:{guarded.port}", "--proxy-auth", login)
    done = site.run("connect", "-i", profile, "127.0.0.1", echoing, *words, give=b"hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b"")


def test_reconnections_go_the_same_way(site: Site, profile: Path, guarded: Squid, echoing: int) -> None:
    """What cuts stands before Squid; nothing else leads to the server from there."""
    cutter = FaultProxy(("127.0.0.1", guarded.port))
    try:
        client = carries(
            site, profile, echoing, "-v", env={"NITROSOCKS_PROXY": f"http://{LOGIN}127.0.0.1:{cutter.port}"}
        )
        with dial(client.port) as sock:
            for n in range(1, 4):
                before = cutter.connections
                sock.sendall(bytes([n]))
                assert read_exactly(sock, 1) == bytes([n])
                assert cutter.cut() >= 1
                sock.sendall(b"again")
                assert read_exactly(sock, 5) == b"again"
                assert cutter.connections > before
        assert client.signal().wait() == 0
    finally:
        cutter.stop()


def test_redials_go_the_same_way(site: Site, profile: Path, echoing: int) -> None:
    with Plain(connecting) as proxy:
        words = ("--redial", "1", "--proxy", f"http://127.0.0.1:{proxy.port}")
        client = carries(site, profile, echoing, *words)
        with dial(client.port) as sock:
            before = proxy.connections
            for n in range(10_000):
                sock.sendall(bytes([n % 256]))
                assert read_exactly(sock, 1) == bytes([n % 256])
                if proxy.connections > before + 1:
                    break
        assert proxy.connections > before + 1
        assert client.signal().wait() == 0


def test_squid_in_tls(site: Site, profile: Path, guarded: Squid, login: Path, echoing: int) -> None:
    words = ("--proxy", f"https://localhost:{guarded.secure}", "--proxy-auth", login)
    client = carries(site, profile, echoing, *words, env={"SSL_CERT_FILE": str(pem("localhost")[0])})
    assert client.signal().wait() == 0
    done = site.run("connect", "-i", profile, *words, "127.0.0.1", echoing)
    line = expect_one_line(done.stderr)
    assert done.returncode == 255 and "the certificate does not verify" in line and "SSL_CERT_FILE" in line


def test_squid_with_ntlm(site: Site, server: Process, profile: Path, login: Path, echoing: int) -> None:
    """Several round trips on one connection, at a proxy that is not made of the same package."""
    with squid("ntlm") as made:
        words = ("--proxy", f"http://localhost:{made.port}", "--proxy-auth", login)
        client = carries(site, profile, echoing, *words)
        assert client.signal().wait() == 0
        (line,) = opened(made)
        assert line.startswith(f"TCP_TUNNEL/200 CONNECT 127.0.0.1:{server.port} a"), "its helper cuts names"


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_a_proxy_with_the_acceptor_of_pyspnego(
    site: Site, profile: Path, login: Path, echoing: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = site.place / "users"
    users.write_text("EXAMPLE:alice:secret\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    guard = Guard(scheme)
    with Plain(guard) as proxy:
        url = f"http://localhost:{proxy.port}"
        for words, env in (
            (("--proxy", url), {"NTLM_USER_FILE": str(users)}),
            ((), {"NITROSOCKS_PROXY": url.replace("//", "//EXAMPLE%5Calice:secret@")}),
        ):
            client = carries(site, profile, echoing, "-v", "-v", *words, env=env)
            assert client.signal().wait() == 0
            assert "TlRM" not in str(client.err), "what NTLM says is worth a guess at the password"
        assert guard.known == ["EXAMPLE\\alice"] * 2 and proxy.connections == 2
        env = {"HTTPS_PROXY": url.replace("//", "//EXAMPLE%5Calice:hunter2@")}
        told(site, profile, 69, f"rejected this user and password with {scheme} (407); it offers {scheme}", env=env)
        assert len(guard.known) == 2


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks(site: Site, server: Process, profile: Path, login: Path, echoing: int, scheme: str) -> None:
    socks = Socks("alice", "secret")
    with Plain(socks) as proxy:
        words = ("--proxy-auth", login)
        client = carries(site, profile, echoing, *words, env={"all_proxy": f"{scheme}://127.0.0.1:{proxy.port}"})
        assert client.signal().wait() == 0
    assert set(socks.asked) == {(1, "127.0.0.1", server.port)}


@pytest.mark.parametrize("carrier", ["raw", "websocket", "http"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
def test_every_carrier(site: Site, profile: Path, echoing: int, scheme: str, carrier: str) -> None:
    """What cuts stands before the proxy."""
    ways = {"http": connecting, "https": in_tls(connecting), "socks5h": Socks()}
    with Plain(ways[scheme]) as proxy:
        cutter = FaultProxy(("127.0.0.1", proxy.port))
        try:
            words = ("-v", "--carrier", carrier, "--proxy", f"{scheme}://localhost:{cutter.port}")
            client = carries(site, profile, echoing, *words, env={"SSL_CERT_FILE": str(pem("localhost")[0])})
            with dial(client.port) as sock:
                sock.sendall(b"hello")
                assert read_exactly(sock, 5) == b"hello"
                assert cutter.cut() >= 1
                sock.sendall(b"again")
                assert read_exactly(sock, 5) == b"again"
            assert client.signal().wait() == 0
        finally:
            cutter.stop()
        proxy.errors.clear()  # amid a TLS handshake of its own it may be cut


def test_no_proxy_and_none_go_directly(site: Site, profile: Path, echoing: int) -> None:
    dead = {"https_proxy": f"http://127.0.0.1:{unused_port()}"}
    for words, env in (
        (("--proxy", "none"), dead),
        ((), dead | {"no_proxy": "127.0.0.0/8"}),
        ((), dead | {"NITROSOCKS_PROXY": "none"}),
    ):
        process = site.nitrosocks("connect", "-i", profile, "127.0.0.1", echoing, *words, env=env)
        assert process.wait() == 0, str(process.err)


# -- mistakes, and their messages -------------------------------------------------------------------------------------


def told(site: Site, profile: Path, code: int, said: str, *words: object, env: dict[str, str] | None = None) -> str:
    """forward says this on one line, and connect the same with its own code."""
    lines = []
    for command, wanted in ((("forward", "-L", "0:127.0.0.1:1"), code), (("connect", "127.0.0.1", "1"), 255)):
        process = site.nitrosocks(*command, "-i", profile, *words, env=env)
        assert process.wait() == (code if code == 64 else wanted), str(process.err)
        lines.append(expect_one_line(str(process.err)))
        assert said in lines[-1]
        assert "secret" not in lines[-1] and "hunter2" not in lines[-1]
    assert lines[0] == lines[1] or code == 69
    return lines[0]


def test_a_wrong_password_and_none(site: Site, profile: Path, guarded: Squid) -> None:
    url = f"127.0.0.1:{guarded.port}"
    line = told(site, profile, 69, "rejected this user", env={"HTTPS_PROXY": f"http://alice:hunter2@{url}"})
    assert "(407)" in line and "check them" in line and "(HTTPS_PROXY)" in line
    line = told(site, profile, 69, "requires a login (407); it offers ", "--proxy", f"http://{url}")
    assert "--proxy-auth" in line and ("Basic" in line or "Digest" in line)


def test_squid_refuses(site: Site, server: Process, profile: Path) -> None:
    with squid("none", f"acl ours port {server.port}", "http_access deny ours") as made:
        line = told(site, profile, 69, "it refused: 403 Forbidden", "--proxy", f"http://127.0.0.1:{made.port}")
        assert "ask the operator of the proxy" in line and "Access Denied" in line


def test_squid_does_not_reach_it(site: Site) -> None:
    lost = site.profile("lost", unused_port())
    with squid("none") as made:
        line = told(site, lost, 69, "it refused: 503 Service Unavailable", "--proxy", f"http://127.0.0.1:{made.port}")
        assert "Connection refused" in line and "'nitrosocks serve'" in line


def test_a_proxy_that_is_not_there(site: Site, profile: Path) -> None:
    port = unused_port()
    line = told(site, profile, 69, "Connection refused", env={"ALL_PROXY": f"socks5h://127.0.0.1:{port}"})
    assert f"through the proxy 127.0.0.1:{port} (ALL_PROXY)" in line and "--proxy none" in line


def test_urls_that_are_none(site: Site, profile: Path) -> None:
    told(site, profile, 64, "'socks4' is not a scheme", "--proxy", "socks4://127.0.0.1:1")
    told(site, profile, 64, "none goes without a proxy", "--proxy", "direct")
    told(site, profile, 64, "has no port", env={"https_proxy": "http://alice:hunter2@proxy.example"})
    line = told(site, profile, 64, "can read a password", "--proxy", "http://alice:hunter2@proxy.example:1")
    assert "--proxy-auth" in line and "NITROSOCKS_PROXY" in line
    told(site, profile, 64, "--proxy is empty", "--proxy", "")
    told(site, profile, 64, "--proxy-auth is empty", "--proxy-auth", "")


def test_files_that_have_no_login(site: Site, profile: Path, login: Path) -> None:
    words = ("--proxy", "http://127.0.0.1:1", "--proxy-auth")
    for text, mode, code, said in (
        ("alice:hunter2\n", 0o644, 65, "too open"),
        ("hunter2", 0o600, 64, "not one line with user:password"),
    ):
        path = site.place / f"bad{mode}{code}"
        path.write_text(text)
        path.chmod(mode)
        fails(site, code, said, "forward", "-L", "0:127.0.0.1:1", "-i", profile, *words, path)
    fails(site, 65, "no such file", "forward", "-L", "0:127.0.0.1:1", "-i", profile, *words, site.place / "none")
    line = told(site, profile, 64, "--proxy-auth names a file, but this file does not exist", *words, "alice:hunter2")
    assert "mode 0600" in line


def test_a_login_without_a_proxy_is_told(site: Site, profile: Path, login: Path, echoing: int) -> None:
    client = site.nitrosocks("forward", "-i", profile, "-L", f"0:127.0.0.1:{echoing}", "--proxy-auth", login)
    client.err.wait("--proxy-auth is not used: neither --proxy nor the environment names a proxy")
    assert client.signal().wait() == 0


def test_retry_waits_for_a_proxy(site: Site, profile: Path, echoing: int) -> None:
    port = unused_port()
    words = ("-L", f"0:127.0.0.1:{echoing}", "--retry", "--proxy", f"http://127.0.0.1:{port}")
    client = site.nitrosocks("forward", "-i", profile, *words)
    client.err.wait("; trying again in 0.2 s")
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(30)
        with listener.accept()[0] as first:
            first.settimeout(30)
            assert head_of(first).startswith(b"CONNECT 127.0.0.1:")
    assert client.signal().wait() == 0
