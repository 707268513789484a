"""The programs over their carriers: what is chosen, what is remembered, and what is said where none gets through.

What lets WebSocket through and nothing else is the library's own server, in front of the real one.
"""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import program
import pytest
from loopback import Server
from program import Site, expect_one_line
from targets import Target, echo
from websocket_front import WebSocketFront

site = program.site
DATA = bytes(range(256)) * 4_000


@pytest.fixture(scope="module")
def port(site: Site) -> int:
    return int(site.serve().port)


@pytest.fixture(scope="module")
def profile(site: Site, port: int) -> Path:
    return site.profile("alice", port)


def run(site: Site, profile: Path, *words: object) -> list[str]:
    """`connect` carries DATA to an echo and back; the lines on stderr."""
    with Target(echo) as target:
        done = site.run("connect", "-v", "-i", profile, "127.0.0.1", target.port, *words, give=DATA)
    assert (done.returncode, done.stdout) == (0, DATA), done.stderr
    return done.stderr.decode().splitlines()


@pytest.mark.parametrize("carrier", ["raw", "websocket", "http"])
def test_the_one_that_is_named_is_taken(carrier: str, site: Site, profile: Path) -> None:
    lines = run(site, profile, "--carrier", carrier)
    assert not any("over" in line for line in lines)


def test_auto_finds_the_one_that_gets_through_and_remembers_it(site: Site, port: int) -> None:
    """Also where Landlock closes all other files."""
    with WebSocketFront(port) as front:
        where = f"127.0.0.1:{front.address[1]}"
        profile = site.profile("auto", front.address[1])
        first = run(site, profile, "--path", "/some/path", "--host-header", "www.example")
        assert any(f"{where} over raw: {where} did not answer the greeting" in line for line in first)
        assert any(f"carrier to {where}: websocket" in line for line in first)
        assert front.requests[0].path.startswith("/some/path/") and front.requests[0].headers["Host"] == "www.example"
        file = site.place / ".local" / "state" / "nitrosocks" / "carriers"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600 and f'"{where} ' in file.read_text(encoding="utf-8")
        again = run(site, profile)
        assert any(f"carrier to {where}: websocket" in line for line in again)
        assert not any("over raw" in line or "not remembered" in line for line in again)
        file.write_text("faulty", encoding="utf-8")
        faulty = [line for line in run(site, profile) if "which carriers work is not remembered" in line]
        assert len(faulty) == 1


def test_where_none_gets_through_one_line_says_why(site: Site) -> None:
    def page(tls: ssl.SSLSocket) -> None:
        if tls.recv(8_192).startswith(b"GET"):
            tls.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with Server(page) as server:
        done = site.run("forward", "-i", site.profile("none", server.address[1]), "-L", "0:127.0.0.1:1")
    where = f"127.0.0.1:{server.address[1]}"
    line = expect_one_line(done.stderr)
    assert done.returncode == 76
    assert f"{where}: no carrier gets through (raw, http: did not answer the greeting; " in line
    assert "websocket: answered as a web server: 'HTTP/1.1 403 Forbidden'" in line


@pytest.mark.parametrize(
    "words", [("--carrier", "pigeon"), ("--path", "some/path"), ("--path", "/a b"), ("--host-header", "a b")]
)
def test_options_that_are_wrong(words: tuple[str, str], site: Site, profile: Path) -> None:
    done = site.run("forward", "-i", profile, "-L", "0:127.0.0.1:1", *words)
    assert done.returncode == 64 and words[0] in expect_one_line(done.stderr)
