"""`forward -D` and unix sockets, with curl in each way that it knows to speak to a proxy."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import program
import pytest
from loopback import unused_port
from program import Process, Site, tool
from ready import readable
from webs import HASH, LARGE, Web, serving

site = program.site
profile = program.profile
web = serving
WAYS = ("socks5h", "socks5", "socks4a", "socks4", "http")


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


SOCKS4 = "(91), request rejected or failed."
REFUSED, UNPERMITTED, UNKNOWN = "127.0.0.1", "192.0.2.1", "nowhere.invalid"
TOLD = {  # by way and host: curl's exit code, and the end of its line, or of what it was given in place of the page
    ("socks5h", REFUSED): (97, "(5)"),
    ("socks5h", UNPERMITTED): (97, "(2)"),
    ("socks5h", UNKNOWN): (97, "(4)"),
    ("socks5", REFUSED): (97, "(5)"),
    ("socks5", UNPERMITTED): (97, "(2)"),
    ("socks4a", REFUSED): (97, SOCKS4),
    ("socks4a", UNPERMITTED): (97, SOCKS4),
    ("socks4a", UNKNOWN): (97, SOCKS4),
    ("socks4", REFUSED): (97, SOCKS4),
    ("socks4", UNPERMITTED): (97, SOCKS4),
    ("CONNECT", REFUSED): (56, "CONNECT tunnel failed, response 502"),
    ("CONNECT", UNPERMITTED): (56, "CONNECT tunnel failed, response 403"),
    ("CONNECT", UNKNOWN): (56, "CONNECT tunnel failed, response 502"),
    ("http", REFUSED): (0, "connection refused 502"),
    ("http", UNPERMITTED): (0, "is not permitted for this client 403"),
    ("http", UNKNOWN): (0, "cannot find nowhere.invalid: Name or service not known 502"),
}


def proxied(way: str, port: int) -> tuple[str, ...]:
    """curl's words for a way, where CONNECT is one too."""
    return ("-p", "-x", f"http://127.0.0.1:{port}") if way == "CONNECT" else ("-x", f"{way}://127.0.0.1:{port}")


def outcome(done: subprocess.CompletedProcess[bytes]) -> tuple[int, str]:
    """Its exit code and all that it said, the status of an answer behind its text."""
    return done.returncode, (done.stdout + done.stderr).decode().replace("\n", "").strip()


@pytest.mark.parametrize(("way", "host"), TOLD)
def test_curl_tells_why_not(site: Site, port: int, way: str, host: str) -> None:
    status = ("-w", " %{http_code}") if way == "http" else ()
    code, said = outcome(curl(site, *status, *proxied(way, port), f"http://{host}:{unused_port()}/"))
    assert (code, said.endswith(TOLD[way, host][1])) == (TOLD[way, host][0], True), said


@pytest.fixture(scope="module")
def guarded(site: Site, profile: Path) -> int:
    """The port of one that wants a login."""
    file = site.place / "login"
    file.write_text("user:pa:ss\n")
    file.chmod(0o600)
    return site.proxy(profile, "--socks-auth", file).port


LOGINS = {  # as TOLD; by the way, with a wrong login and without one
    "socks5h": (
        (97, "User was rejected by the SOCKS5 server (1 1)."),
        (97, "No authentication method was acceptable."),
    ),
    "socks5": ((97, "User was rejected by the SOCKS5 server (1 1)."), (97, "No authentication method was acceptable.")),
    "CONNECT": ((56, "CONNECT tunnel failed, response 407"),) * 2,
    "http": ((0, "nitrosocks: user and password are wanted 407"),) * 2,
}


@pytest.mark.parametrize("way", LOGINS)
def test_a_login(site: Site, port: int, guarded: int, web: Web, way: str) -> None:
    status = ("-w", " %{http_code}") if way == "http" else ()
    words = (*status, f"http://127.0.0.1:{web.server_port}/small")
    good = (0, "/small 200" if way == "http" else "/small")
    assert outcome(curl(site, *proxied(way, guarded), "--proxy-user", "user:pa:ss", *words)) == good
    assert outcome(curl(site, *proxied(way, port), "--proxy-user", "user:pa:ss", *words)) == good, "nobody asked"
    for login, (code, told) in zip((("--proxy-user", "user:wrong"), ()), LOGINS[way], strict=True):
        came, said = outcome(curl(site, *proxied(way, guarded), *login, *words))
        assert (came, said.endswith(told)) == (code, True), said
    if way in ("CONNECT", "http"):  # it waits to be asked
        asked = ("--proxy-anyauth", "--proxy-user", "user:pa:ss")
        assert outcome(curl(site, *proxied(way, guarded), *asked, *words)) == good


@pytest.mark.parametrize("way", ["socks4", "socks4a"])
def test_socks4_has_no_login(site: Site, guarded: int, web: Web, way: str) -> None:
    words = (*proxied(way, guarded), f"http://127.0.0.1:{web.server_port}/small")
    for login in ((), ("--proxy-user", "user:pa:ss"), ("--proxy-user", "user")):
        code, said = outcome(curl(site, *login, *words))
        assert (code, said.endswith(SOCKS4)) == (97, True), said


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
        assert readable(process, 60)
        os.close(process)
    assert not file.exists() and first.wait() == 0
