"""`forward -R port` alone: applications at the server's side, curl in each way that it knows among them, ask for what
this side reaches; and with ssh's it is the same."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faultproxy import FaultProxy
from loopback import dial_tcp, read_exactly, unused_port
from openssh import Ssh
from program import BOUND, Process, Site, expect_one_line, port_of, tool
from targets import Target
from webs import HASH, LARGE, Web, serving

web = serving
WAYS = ("socks5h", "socks5", "socks4a", "socks4", "http")
REFUSED = {"socks5h": "(5)", "socks5": "(5)", "socks4a": "(91)", "socks4": "(91)", "http": "502"}
UNKNOWN = {"socks5h": "(4)", "socks4a": "(91)", "http": "502"}


class Reverse(Site):
    """A server behind a proxy that fails as it is told, and alice, who reaches nothing through it, and may have it
    listen on loopback."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.faults = self.enter_context(FaultProxy(("127.0.0.1", 0)))
        self.alice = self.profile("alice", self.faults.port, "192.0.2.1:1")
        rules = ["--listen", "127.0.0.1:*", "--listen", "[::1]:*", "--listen", f"{place}/*.sock"]
        assert self.run("permit", "alice", *rules, "--home", self.home).returncode == 0
        self.server = self.serve("--heartbeat", "5", "--drain", "1")
        self.faults.upstream = ("127.0.0.1", self.server.port)

    def reverse(self, *words: object, where: object = 0) -> Process:
        """A client that is ready; `port` is where the server listens, unless that is a path."""
        client = self.nitrosocks("forward", "-i", self.alice, "-R", where, *words)
        assert client.out is not None
        line = client.out.wait("proxy for SOCKS and HTTP on ").removesuffix(" at the server")
        client.err.wait("nitrosocks: ready")
        client.port = 0 if "/" in str(where) else port_of(line)
        return client


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reverse]:
    with Reverse(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def client(site: Reverse) -> Process:
    return site.reverse()


def curl(site: Site, *words: object) -> subprocess.CompletedProcess[bytes]:
    return site.call(tool("curl"), "-sS", "--max-time", "60", "--noproxy", "", *words)


@pytest.mark.parametrize("way", WAYS)
def test_each_way(site: Reverse, client: Process, web: Web, way: str) -> None:
    """Names are looked up at this side, but for socks5 and socks4, where curl does."""
    for tunnel in ((), ("--proxytunnel",)):
        at = f"http://localhost:{web.server_port}/small"
        done = curl(site, *tunnel, "-4", "-x", f"{way}://127.0.0.1:{client.port}", at)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"/small", b"")


@pytest.mark.parametrize("way", WAYS)
def test_curl_tells_why_not(site: Reverse, client: Process, way: str) -> None:
    proxy = ("--proxytunnel", "-x", f"{way}://127.0.0.1:{client.port}")
    done = curl(site, *proxy, f"http://127.0.0.1:{unused_port()}/")
    assert done.returncode in (7, 56, 97) and REFUSED[way] in done.stderr.decode()
    if way not in ("socks5", "socks4"):
        done = curl(site, *proxy, "http://nowhere.invalid/")
        assert done.returncode in (56, 97) and UNKNOWN[way] in done.stderr.decode()
        client.err.wait("an application at the server's side: cannot find nowhere.invalid: ")


@pytest.mark.parametrize("way", ["socks5h", "http"])
def test_cuts_amid_uploads_and_downloads(site: Reverse, client: Process, web: Web, way: str) -> None:
    """Streams outlive their connection, and what is at either side of it."""
    path, url = site.place / "large", f"http://127.0.0.1:{web.server_port}"
    path.write_bytes(LARGE)
    proxy, before = ("-x", f"{way}://127.0.0.1:{client.port}"), site.faults.bytes_up + site.faults.bytes_down
    with ThreadPoolExecutor(4) as threads:
        ups = [threads.submit(curl, site, *proxy, "-T", path, f"{url}/upload") for _ in range(2)]
        downs = [threads.submit(curl, site, *proxy, f"{url}/large") for _ in range(2)]
        for megabytes in (10, 40):
            enough = before + (megabytes << 20)
            site.faults.wait(lambda enough=enough: site.faults.bytes_up + site.faults.bytes_down > enough, BOUND)
            assert site.faults.cut() >= 1
        assert [each.result().stdout.decode() for each in ups] == [HASH, HASH]
        assert all(each.result().stdout == LARGE for each in downs)


@pytest.mark.parametrize("way", ["socks5h", "http"])
def test_a_login(site: Reverse, web: Web, way: str) -> None:
    file = site.place / "login"
    file.write_text("user:pa:ss\n")
    file.chmod(0o600)
    client, url = site.reverse("--socks-auth", file), f"http://127.0.0.1:{web.server_port}/small"
    proxy = ("-x", f"{way}://127.0.0.1:{client.port}")
    good = curl(site, *proxy, "--proxy-user", "user:pa:ss", url)
    assert (good.returncode, good.stdout) == (0, b"/small"), good.stderr
    for words in (["--proxy-user", "user:wrong"], []):
        bad = curl(site, "--fail", *proxy, *words, url)
        assert bad.returncode in (22, 97) and bad.stdout == b""
    assert client.signal().wait() == 0


def test_a_unix_socket_at_the_server(site: Reverse, web: Web) -> None:
    at = site.place / "proxy.sock"
    client = site.reverse(where=at)
    done = curl(site, "-x", f"socks5h://localhost{at}", f"http://127.0.0.1:{web.server_port}/small")
    assert (done.returncode, done.stdout) == (0, b"/small"), done.stderr
    assert client.signal().wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_its_end_resets_what_was_under_way(site: Reverse, number: int) -> None:
    """At the target, too: what was cut does not look complete."""
    ends: list[type[Exception] | bytes] = []

    def serve(sock: socket.socket) -> None:
        try:
            ends.append(sock.recv(1) + sock.recv(1))
        except ConnectionResetError as error:
            ends.append(type(error))

    client = site.reverse()
    with Target(serve) as target, dial_tcp(client.port) as sock:
        sock.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: a\r\n\r\nx" % target.port)
        assert read_exactly(sock, 12) == b"HTTP/1.1 200"
        assert client.signal(number).wait() == (0 if number == signal.SIGTERM else -number)
    assert ends == [ConnectionResetError]
    if number == signal.SIGTERM:
        site.server.err.wait(f"no longer listening on localhost:{client.port}")
        with pytest.raises(ConnectionRefusedError):
            dial_tcp(client.port)


def test_with_ssh_it_is_the_same(site: Reverse, client: Process, web: Web) -> None:
    ssh, port = Ssh(site, ["-i", site.alice]), unused_port()
    words = [word for word in ssh.options if "ProxyCommand" not in word]
    site.start(tool("ssh"), *words, "-v", "-N", "-R", port, f"-p{ssh.port}", "127.0.0.1").err.wait(
        "remote forward success"
    )
    refused = f"http://127.0.0.1:{unused_port()}/"
    for way in ("socks5h", "socks4a"):
        for url, code in ((f"http://localhost:{web.server_port}/small", 0), (refused, 97)):
            ours, other = (curl(site, "-x", f"{way}://127.0.0.1:{at}", url) for at in (client.port, port))
            assert (ours.returncode, ours.stdout) == (code, other.stdout), ours.stderr
            assert (other.returncode == 0) == (code == 0), other.stderr


@pytest.mark.parametrize(
    ("where", "code", "says"),
    [
        ("1080-1090", 64, "no target for a range; one port is enough for a proxy, as in -R 1080"),
        ("*:1080", 77, "nitrosocks permit NAME --listen '*:1080'"),
    ],
)
def test_what_is_refused(site: Reverse, where: str, code: int, says: str) -> None:
    done = site.run("forward", "-q", "-i", site.alice, "-R", where)
    assert done.returncode == code and says in expect_one_line(done.stderr)


def test_who_offers_it_to_all_without_a_login_is_told(site: Reverse) -> None:
    rules = ("--listen", "*:*")
    assert site.run("permit", "alice", *rules, "--home", site.home).returncode == 0
    told = "whoever reaches this port of the server reaches what this machine does; --socks-auth FILE asks them"
    client = site.reverse(where="*:0")
    client.err.wait(f"nitrosocks: -R *:0: {told}")
    assert client.signal().wait() == 0
    assert site.run("forbid", "alice", *rules, "--home", site.home).returncode == 0
