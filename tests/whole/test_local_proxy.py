"""`forward -D` and unix sockets, with curl in each way that it knows to speak to a proxy."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

import program
import pytest
from loopback import unused_port
from program import Process, Site, tool
from webs import HASH, LARGE, Web, serving

site = program.site
profile = program.profile
web = serving
WAYS = ("socks5h", "socks5", "socks4a", "socks4", "http")
REFUSED = {"socks5h": "(5)", "socks5": "(5)", "socks4a": "(91)", "socks4": "(91)", "http": "502"}


@pytest.fixture(scope="module")
def port(site: Site, profile: Path) -> int:
    return site.proxy(profile).port


def curl(site: Site, *words: object) -> subprocess.CompletedProcess[bytes]:
    return site.call(tool("curl"), "-sS", "--max-time", "60", "--noproxy", "", *words)


@pytest.mark.parametrize("tunnel", [(), ("--proxytunnel",)], ids=["", "CONNECT"])
@pytest.mark.parametrize("way", WAYS)
def test_each_way(site: Site, port: int, web: Web, way: str, tunnel: tuple[str, ...]) -> None:
    done = curl(site, *tunnel, "-x", f"{way}://127.0.0.1:{port}", f"http://127.0.0.1:{web.server_port}/small")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"/small", b"")


@pytest.mark.parametrize("way", ["socks5h", "http"])
def test_an_upload_and_a_download(site: Site, port: int, web: Web, way: str) -> None:
    path, url = site.place / "large", f"http://127.0.0.1:{web.server_port}"
    path.write_bytes(LARGE)
    done = curl(site, "-x", f"{way}://127.0.0.1:{port}", "-T", path, f"{url}/upload")
    assert done.stdout.decode() == HASH, done.stderr
    done = curl(site, "-x", f"{way}://127.0.0.1:{port}", f"{url}/large")
    assert done.stdout == LARGE, done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_curl_tells_why_not(site: Site, port: int, way: str) -> None:
    done = curl(site, "--proxytunnel", "-x", f"{way}://127.0.0.1:{port}", f"http://127.0.0.1:{unused_port()}/")
    assert done.returncode in (7, 56, 97)
    assert REFUSED[way] in done.stderr.decode()


def test_a_target_that_is_not_permitted(site: Site, port: int) -> None:
    done = curl(site, "-x", f"http://127.0.0.1:{port}", "http://192.0.2.1/")
    assert done.stdout.decode() == "nitrosocks: 192.0.2.1:80 is not permitted for this client\n"


@pytest.mark.parametrize("way", ["socks5h", "http"])
def test_a_login(site: Site, profile: Path, web: Web, way: str) -> None:
    file = site.place / "login"
    file.write_text("user:pa:ss\n")
    file.chmod(0o600)
    port, url = site.proxy(profile, "--socks-auth", file).port, f"http://127.0.0.1:{web.server_port}/small"
    good = curl(site, "-x", f"{way}://127.0.0.1:{port}", "--proxy-user", "user:pa:ss", url)
    assert (good.returncode, good.stdout) == (0, b"/small"), good.stderr
    for words in (["--proxy-user", "user:wrong"], []):
        bad = curl(site, "--fail", "-x", f"{way}://127.0.0.1:{port}", *words, url)
        assert bad.returncode in (22, 97)
        assert bad.stdout == b""


def test_unix_sockets(site: Site, profile: Path, web: Web) -> None:
    at, there = site.place / "proxy.sock", site.place / "web.sock"
    local: Process = site.proxy(profile, "-L", f"{there}:127.0.0.1:{web.server_port}", "--socket-mode", "660", where=at)
    assert [path.stat().st_mode & 0o777 for path in (at, there)] == [0o660, 0o660]
    done = curl(site, "--unix-socket", there, "http://any/small")
    assert (done.returncode, done.stdout) == (0, b"/small"), done.stderr
    done = curl(site, "-x", f"socks5h://localhost{at}", f"http://127.0.0.1:{web.server_port}/small")
    assert (done.returncode, done.stdout) == (0, b"/small"), done.stderr
    local.signal()
    assert local.wait() == 0
    assert not at.exists() and not there.exists()


def test_a_socket_that_a_killed_client_left_is_replaced(site: Site, profile: Path) -> None:
    at = site.place / "again.sock"
    killed = site.proxy(profile, where=at)
    killed.popen.kill()
    killed.popen.wait()
    assert at.is_socket()
    site.proxy(profile, where=at)


def test_in_the_background(site: Site, profile: Path, web: Web) -> None:
    file, at = site.place / "pid", unused_port()
    first = site.nitrosocks("forward", "-i", profile, "-f", "--pidfile", file, "-D", at)
    first.err.wait("ready")
    assert first.popen.wait(60) == 0
    try:
        got = curl(site, "-x", f"socks5h://127.0.0.1:{at}", f"http://127.0.0.1:{web.server_port}/small")
        assert (got.returncode, got.stdout) == (0, b"/small"), got.stderr
        again = site.run("forward", "-i", profile, "-f", "-D", at)
        assert again.returncode == 73 and b"Address already in use" in again.stderr
    finally:
        process = os.pidfd_open(int(file.read_text()))
        signal.pidfd_send_signal(process, signal.SIGTERM)
        assert select.select([process], [], [], 60)[0]
        os.close(process)
    assert not file.exists() and first.wait() == 0
