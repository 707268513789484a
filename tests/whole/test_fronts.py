"""nginx and HAProxy before `serve` as docs/networks.md shows it: our name or path gets to us, all else to the site."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import boxes
import fronts
import loopback
import pytest
import shapes
from authority import write_authority
from boxed import chosen
from boxes import Box
from program import Site
from targets import Target, echo

WORDS = os.urandom(300_000)
CARRIERS = {
    "nginx-tcp": "raw",
    "haproxy-tcp": "raw",
    "nginx-http": "websocket",
    "haproxy-http": "websocket",
}


class Front:
    """A server behind one of them, a web site beside it, and a client's profile."""

    def __init__(self, site: Site, name: str, web: int, place: Path) -> None:
        self.site, self.name = site, name
        authority = place / "authority"
        authority.mkdir()
        write_authority(authority)
        path = ["--path", "/app"] if name.endswith("-http") else []
        own = ["--cert", authority / "leaf.crt", "--key", authority / "leaf.key"]
        server = site.serve(*own, *path, "--drain", "0")
        self.box = site.enter_context(Box(fronts.recipe(name, web, place), server.port, authority))
        self.profile = place / "alice.profile"
        self.words = ["-v", "-i", self.profile, "--proxy", "none", *path]
        words = ["--server", f"{fronts.NAME}:{self.box.port}", "--permit", "127.0.0.1:*", "-o", self.profile]
        assert site.run("keygen", "alice", *words, "--home", site.home).returncode == 0


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    with shapes.answering() as port:
        yield port


@pytest.fixture(scope="module", params=fronts.FRONTS)
def front(request: pytest.FixtureRequest, web: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    place = tmp_path_factory.mktemp("front")
    with Site(tmp_path_factory.mktemp("site")) as site:
        try:
            yield Front(site, request.param, web, place)
        except boxes.Missing as why:
            pytest.skip(str(why))


def connect(front: Front, target: Target, *words: object) -> tuple[int, bytes, str]:
    done = front.site.run("connect", *front.words, *words, "127.0.0.1", target.port, give=WORDS)
    return done.returncode, done.stdout, done.stderr.decode()


def test_auto_gets_through_and_nothing_is_told_of_it(front: Front) -> None:
    """One certificate at both: nobody is between client and server whom the operator did not put there."""
    with Target(echo) as target:
        code, got, said = connect(front, target)
    assert (code, got) == (0, WORDS), said
    assert chosen(said) == CARRIERS[front.name]
    assert "TLS is intercepted" not in said and ", not intercepted, " in said


def test_http_gets_through_too(front: Front) -> None:
    with Target(echo) as target:
        code, got, said = connect(front, target, "--carrier", "http")
    assert (code, got) == (0, WORDS), said


def test_what_is_not_ours_gets_to_the_web_site(front: Front) -> None:
    """By another name, or by another path."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    name = "www.example" if front.name.endswith("-tcp") else fronts.NAME
    with (
        loopback.dial_tcp(front.box.port) as sock,
        context.wrap_socket(sock, server_hostname=name) as tls,
    ):
        tls.sendall(b"POST /known HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
        head = shapes.Head(tls)
        assert head.first[1] == b"200"
        assert loopback.read_exactly(tls, head.length) == b"hello"


def test_a_block_that_is_not_there_is_found() -> None:
    page = "```nginx\n# one\nx\n```\n"
    assert fronts.shown("one", page) == "x\n"
    with pytest.raises(ValueError):
        fronts.shown("two", page)
