"""--decoy as a value, and the program with one: a browser sees the site, a client its session."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import Site as Programs
from webserver import REQUEST, Seeing, nginx

from nitrosocks_lib.cli import options as specs
from nitrosocks_lib.facts.errors import UsageError
from nitrosocks_lib.server.decoy import Site


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("127.0.0.1:8080", Site("127.0.0.1", 8080)),
        ("[::1]:80", Site("::1", 80)),
        ("http://web.example", Site("web.example", 80)),
        ("https://web.example", Site("web.example", 443, tls=True)),
        ("HTTPS://web.example:8443/", Site("web.example", 8443, tls=True)),
        ("https://[2001:db8::1]", Site("2001:db8::1", 443, tls=True)),
    ],
)
def test_a_web_server(text: str, site: Site) -> None:
    assert specs.decoy(text) == site


def test_none() -> None:
    assert specs.decoy(None) is None


@pytest.mark.parametrize("text", ["/srv/www", "./site", ".", "..", "site/"])
def test_a_directory_is_refused_with_advice(text: str) -> None:
    with pytest.raises(UsageError, match="directory") as refused:
        specs.decoy(text)
    assert "name a web server that runs" in refused.value.hint


@pytest.mark.parametrize("text", ["", "web.example", "ftp://web.example", "https://web.example/path", "web:0", "a:b:c"])
def test_what_is_no_web_server_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        specs.decoy(text)


def test_the_program_with_a_decoy(tmp_path: Path) -> None:
    with nginx() as running, Programs(tmp_path) as site:
        server = site.serve("-v", "--decoy", f"127.0.0.1:{running.plain}")
        visitor = Seeing(server.port).say(REQUEST)
        assert visitor.read(12).startswith(b"HTTP/1.1 200 OK")
        visitor.close()
        profile = site.profile("alice", server.port)
        forward = site.nitrosocks("forward", "-i", profile, "-L", "0:127.0.0.1:7", "--carrier", "http")
        forward.err.wait("nitrosocks: ready")
        assert "(http): alice: session begins" in server.err.wait("session begins")
        forward.signal().wait()
