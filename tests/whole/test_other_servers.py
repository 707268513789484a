"""What a client says where the server is not there, not the expected one, or none of ours; a good one is served on."""

import os
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import loopback
import program
import pytest
import served
from loopback import unused_port
from program import Process, Site, expect_one_line
from served import Good, refused
from targets import Target, echo

site, serving, good = program.site, served.serving, served.good


def elsewhere(good: Good, port: int) -> Path:
    return good.changed(server=f"127.0.0.1:{port}")


def test_no_server(good: Good) -> None:
    refused(good.site, elsewhere(good, unused_port()), 69, "Connection refused", "is 'nitrosocks serve' running there?")
    refused(good.site, good.changed(server="no-such-host.invalid:1"), 69, "cannot find no-such-host.invalid")


def test_the_second_server_of_a_profile_is_tried(good: Good) -> None:
    servers = [f"127.0.0.1:{unused_port()}", f"127.0.0.1:{good.server.port}"]
    done = good.site.run("connect", "-i", good.changed(server=servers), "127.0.0.1", good.echoing, give=b"hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b"")


def test_a_server_without_tls(good: Good) -> None:
    for serve in (lambda sock: sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), echo, lambda sock: None):
        with Target(serve) as target:
            refused(good.site, elsewhere(good, target.port), 69, "cannot reach")


@pytest.mark.parametrize("answer", [b"", b"\0", b"220 mail.example ESMTP\r\n", os.urandom(4096)], ids=range(4))
def test_a_tls_server_of_another_kind(good: Good, answer: bytes) -> None:
    def serve(tls: ssl.SSLSocket) -> None:
        if tls.recv(1 << 16) and answer:
            tls.sendall(answer)

    with loopback.Server(serve) as server:
        refused(good.site, elsewhere(good, server.address[1]), 76)


@pytest.mark.parametrize("hours", [0, 5, None])
def test_a_web_server(good: Good, hours: int | None) -> None:
    """Over raw and websocket it is asked once, and once more where its clock shows another hour; two programs ask."""
    date = b"" if hours is None else format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True).encode()
    answer = b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n" + (b"Date: %s\r\n" % date if date else b"") + b"\r\n"
    asked: list[bytes] = []

    def serve(tls: ssl.SSLSocket) -> None:
        asked.append(tls.recv(1 << 16))
        tls.sendall(answer)

    with loopback.Server(serve) as server:
        refused(good.site, elsewhere(good, server.address[1]), 76, "this clock says", "keygen")
    upgrades = [each for each in asked if each.startswith(b"GET /")]
    greetings = [each for each in asked if each and not each.startswith((b"GET /", b"POST /"))]
    assert len(greetings) == len(upgrades) == (4 if hours else 2)
    assert all(len(greeting) > 2400 for greeting in greetings)


# No answer at all: 10 s are waited for it, meanwhile the tests above run


def read_on(tls: ssl.SSLSocket) -> None:
    with suppress(OSError):
        loopback.read_all(tls)


class Silent:
    """Clients of servers that say nothing, started before the other tests."""

    def __init__(self, good: Good, silent: int, another: Process) -> None:
        self.started: dict[str, Process] = {}
        for name, port in (("no NitroSocks", silent), ("another key", another.port)):
            profile = elsewhere(good, port).rename(good.site.place / f"{name}.profile")
            for code, words in ((76, ("forward", "-L", "0:127.0.0.1:1")), (255, ("connect", "127.0.0.1:1"))):
                self.started[f"{name}, {code}"] = good.site.nitrosocks(*words, "-i", profile)


@pytest.fixture(scope="module", autouse=True)
def silent(serving: Good, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silent]:
    with (
        Site(tmp_path_factory.mktemp("another")) as another,
        loopback.Server(read_on) as server,
    ):
        yield Silent(serving, server.address[1], another.serve())


@pytest.mark.parametrize("code", [76, 255])
@pytest.mark.parametrize("name", ["no NitroSocks", "another key"])
def test_a_server_that_does_not_answer(good: Good, silent: Silent, name: str, code: int) -> None:
    """The line names what it may be: a clock, or the server's key."""
    process = silent.started[f"{name}, {code}"]
    assert process.wait() == code
    line = expect_one_line(str(process.err))
    told = "this clock says", "the server's key is not SHA256:", "'nitrosocks keygen'"
    assert "did not answer the greeting" in line and all(text in line for text in told)


def test_a_signal_does_not_wait_for_an_answer(good: Good) -> None:
    greeted = threading.Event()

    def serve(tls: ssl.SSLSocket) -> None:
        if tls.recv(1):
            greeted.set()
        read_on(tls)

    with loopback.Server(serve) as server:
        client = good.site.nitrosocks("forward", "-L", "0:127.0.0.1:1", "-i", elsewhere(good, server.address[1]))
        assert greeted.wait(program.BOUND)
        began = time.monotonic()
        assert (client.signal().wait(), str(client.err)) == (0, "")
        assert time.monotonic() - began < 5
