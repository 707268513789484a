"""doctor as its users see it: one line for each thing, an exit code, one object; and --require-direct."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import loopback
import program
import pytest
import served
from faultproxy import FaultProxy
from loopback import pem, unused_port
from program import Site, expect_one_line
from served import Good
from targets import Target, dial

from nitrosocks_lib.demo.interceptor import Interceptor

site, serving, good = program.site, served.serving, served.good
GOOD = [
    "clock", "name", "TCP", "TLS", "ALPN", "certificate", "carrier", "carrier", "carrier", "server key", "client",
    "interception", "clocks", "round trip", "verdict",
]  # fmt: skip


def elsewhere(good: Good, port: int) -> Path:
    return good.changed(server=f"127.0.0.1:{port}")


def examine(good: Good, profile: Path, *words: object) -> tuple[int, list[str]]:
    """The exit code and the lines."""
    done = good.site.run("doctor", "-i", profile, *words)
    assert done.stderr == b"", done.stderr
    return done.returncode, done.stdout.decode().splitlines()


def labels(lines: list[str], mark: str) -> list[str]:
    return [line[2:15].strip() for line in lines if line.startswith(mark)]


def line_of(lines: list[str], label: str) -> str:
    (found,) = [line for line in lines if line[2:15].strip() == label]
    return found


def table(good: Good, profile: Path, *words: object) -> dict[str, Any]:
    done = good.site.run("doctor", "-i", profile, "--json", *words)
    assert done.stderr == b"", done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["exit"] == done.returncode and told["complete"] is True
    return told


@contextmanager
def box(upstream: int) -> Iterator[Interceptor]:
    made = Interceptor(("127.0.0.1", upstream), *pem("box"))
    made.start()
    try:
        yield made
    finally:
        made.stop()


def test_all_is_well(good: Good) -> None:
    code, lines = examine(good, good.profile)
    assert (code, labels(lines, "✓"), len(lines)) == (0, GOOD, len(GOOD))
    assert lines[-1].endswith(" can be used, over raw")


def test_a_locale_without_ticks(good: Good) -> None:
    doctor = good.site.nitrosocks("doctor", "-i", good.profile, env={"LC_ALL": "C"})
    assert doctor.wait() == 0 and doctor.out is not None
    assert str(doctor.out).isascii() and labels(str(doctor.out).splitlines(), "+") == GOOD


def test_the_object(good: Good) -> None:
    told = table(good, good.profile, "--open", f"127.0.0.1:{good.echoing}", "--speed")
    assert {each["state"] for each in told["findings"]} == {"good"}
    checks = [each["check"] for each in told["findings"]]
    assert checks[-3:] == ["speed", "destination", "verdict"] and len(checks) == len(GOOD) + 2


def test_targets(good: Good) -> None:
    words = ["--open", f"127.0.0.1:{good.echoing}", "--open", f"127.0.0.1:{unused_port()}"]
    code, lines = examine(good, good.profile, *words)
    assert code == 69 and labels(lines, "✗") == ["destination"]
    code, lines = examine(good, good.profile, *words[:2], "--open", "192.0.2.1:22")
    assert code == 77 and "192.0.2.1:22 is not permitted for this client; ask the operator" in lines[-2]
    code, lines = examine(good, good.profile, "--open", "udp:127.0.0.1:53", "--open", "unix:/no/socket")
    assert code == 77 and [line.split()[2] for line in lines if "destination" in line] == [
        "udp:127.0.0.1:53",
        "/no/socket",
    ]
    profile = good.site.profile("datagrams", good.server.port, "udp:127.0.0.1:53")
    code, lines = examine(good, profile, "--open", "udp:127.0.0.1:53")
    assert code == 0 and labels(lines, "✓")[-2:] == ["destination", "verdict"]


def test_an_echo(good: Good) -> None:
    code, lines = examine(good, good.profile, "--echo", f"127.0.0.1:{good.echoing}")
    assert code == 0 and labels(lines, "✓").count("speed") == 2


@pytest.mark.parametrize(
    "words", [("--open", "host"), ("--idle", "0"), ("--age", "x"), ("--echo", ":7"), ("--echo", "udp:127.0.0.1:7")]
)
def test_options_that_are_none(good: Good, words: tuple[str, str]) -> None:
    done = good.site.run("doctor", "-i", good.profile, *words)
    assert (done.returncode, done.stdout) == (64, b"")
    expect_one_line(done.stderr)


def test_no_profile(good: Good) -> None:
    done = good.site.run("doctor", "-i", good.site.place / "none.profile")
    assert (done.returncode, done.stdout) == (65, b"")


def test_a_dead_port(good: Good) -> None:
    code, lines = examine(good, elsewhere(good, unused_port()))
    assert code == 69 and labels(lines, "✗") == ["TCP", "verdict"]
    assert "Connection refused" in line_of(lines, "TCP") and "is 'nitrosocks serve' running" in line_of(lines, "TCP")


def test_a_name_that_does_not_resolve(good: Good) -> None:
    code, lines = examine(good, good.changed(server="no-such-host.invalid:1"))
    assert code == 69 and labels(lines, "✗") == ["name", "verdict"]


def test_a_plain_port(good: Good) -> None:
    with Target(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as target:
        code, lines = examine(good, elsewhere(good, target.port))
    assert code == 69 and labels(lines, "✗") == ["TLS", "ALPN", "verdict"]


def test_a_web_server(good: Good) -> None:
    def serve(tls: ssl.SSLSocket) -> None:
        if tls.recv(1 << 16):
            tls.sendall(f"HTTP/1.1 400 Bad Request\r\nDate: {formatdate(usegmt=True)}\r\n\r\n".encode())

    with loopback.Server(serve) as server:
        code, lines = examine(good, elsewhere(good, server.address[1]))
    assert code == 76 and labels(lines, "✗") == ["carrier"] * 3 + ["verdict"] and labels(lines, "·") == ["server key"]
    assert "raw: refused" in lines[6] and "a web server did: 'HTTP/1.1 400 Bad Request'" in lines[6]
    assert "websocket: refused" in lines[7] and "http: refused" in lines[8]


def test_a_client_that_was_revoked(good: Good) -> None:
    other = good.site.profile("revoked", good.server.port)
    (good.site.home / "clients.d" / "revoked.toml").unlink()
    code, lines = examine(good, other)
    assert code == 77 and labels(lines, "✗") == ["client", "verdict"]
    assert "ask the operator" in line_of(lines, "client")


def test_several_servers(good: Good) -> None:
    dead = unused_port()
    servers = [f"127.0.0.1:{dead}", f"127.0.0.1:{good.server.port}"]
    code, lines = examine(good, good.changed(server=servers))
    assert code == 0 and labels(lines, "✗") == ["TCP", "verdict"]
    assert [line for line in lines if line[1] != " "] == [f"{server}:" for server in servers]


def test_a_pac_script_is_told(good: Good) -> None:
    doctor = good.site.nitrosocks("doctor", "-i", good.profile, env={"auto_proxy": "http://proxy.example/wpad.dat"})
    assert doctor.wait() == 0 and doctor.out is not None
    assert line_of(str(doctor.out).splitlines(), "PAC").startswith("· PAC          $auto_proxy names a PAC script")


def test_its_sessions_are_released(site: Site) -> None:
    with Site(site.place / "another") as another:
        another.place.mkdir()
        server = another.serve()
        profile = another.profile("alice", server.port)
        assert another.run("doctor", "-i", profile, "--open", "127.0.0.1:1").returncode == 69
        for number in (1, 2):
            assert ": released; " in server.err.wait(f"session {number} ended after")


@pytest.mark.parametrize(("words", "number"), [((), signal.SIGINT), (("--json",), signal.SIGHUP)])
def test_a_signal_ends_it_at_once(good: Good, words: tuple[str, ...], number: signal.Signals) -> None:
    greeted = threading.Event()

    def serve(tls: ssl.SSLSocket) -> None:
        if tls.recv(1):
            greeted.set()
        with suppress(OSError):
            loopback.read_all(tls)

    with loopback.Server(serve) as server:
        doctor = good.site.nitrosocks("doctor", "-i", elsewhere(good, server.address[1]), *words)
        assert greeted.wait(program.BOUND)
        assert (doctor.signal(number).wait(), str(doctor.err)) == (130, "")
    assert doctor.out is not None
    if words:
        told = json.loads(str(doctor.out))
        assert (told["complete"], told["exit"], told["findings"][-1]["check"]) == (False, 130, "certificate")
    else:
        assert labels(str(doctor.out).splitlines(), "✓") == GOOD[:6]


# -- an interceptor, and --require-direct --------------------------------------------------------------------------


def test_an_interceptor_is_named(good: Good) -> None:
    with box(good.server.port) as made:
        profile = elsewhere(good, made.port)
        code, lines = examine(good, profile)
        assert code == 0 and labels(lines, "✗") == ["interception"]
        assert 'TLS is intercepted by "box"' in line_of(lines, "interception")
        code, lines = examine(good, profile, "--require-direct")
        assert code == 76 and labels(lines, "✗") == ["interception", "verdict"]


def test_what_must_be_direct_is(good: Good) -> None:
    done = good.site.run("connect", "-i", good.profile, "--require-direct", "127.0.0.1", good.echoing, give=b"hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b"")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (76, ("forward", "-L", "0:127.0.0.1:1")), (76, ("forward", "-L", "0:127.0.0.1:1", "--retry")),
        (255, ("connect", "127.0.0.1:1")),
    ],
)  # fmt: skip
def test_an_interceptor_is_refused(good: Good, code: int, words: tuple[str, ...]) -> None:
    with box(good.server.port) as made:
        done = good.site.run(*words, "--require-direct", "-i", elsewhere(good, made.port))
        line = expect_one_line(done.stderr)
        assert (done.returncode, done.stdout) == (code, b"")
        assert 'TLS is intercepted by "box"' in line and "--require-direct" in line


def test_an_interceptor_at_a_reconnection_is_refused(good: Good) -> None:
    with box(good.server.port) as made, FaultProxy(("127.0.0.1", good.server.port)) as proxy:
        profile = elsewhere(good, proxy.port)
        forward = good.site.forward(profile, f"0:127.0.0.1:{good.echoing}", words=("--require-direct",))
        with dial(forward.port) as near:
            near.sendall(b"x")
            assert near.recv(1) == b"x"
            proxy.upstream = ("127.0.0.1", made.port)
            proxy.cut()
            assert forward.wait() == 76
            line = str(forward.err).splitlines()[-1]
            assert 'TLS is intercepted by "box"' in line
            with pytest.raises(ConnectionError):
                near.recv(1)


def test_connect_ends_where_a_reconnection_meets_an_interceptor(good: Good) -> None:
    with box(good.server.port) as made, FaultProxy(("127.0.0.1", good.server.port)) as proxy:
        words = ["--require-direct", "127.0.0.1", good.echoing]
        connect = good.site.connect(elsewhere(good, proxy.port), *words, stdin=subprocess.PIPE)
        assert connect.popen.stdin is not None and connect.out is not None
        connect.popen.stdin.write(b"hello\n")
        connect.out.wait("hello")
        proxy.upstream = ("127.0.0.1", made.port)
        proxy.cut()
        assert connect.wait() == 255
        assert 'TLS is intercepted by "box"' in str(connect.err).splitlines()[-1]


def test_authorities_of_the_user_count(site: Site) -> None:
    """They are read while it runs, when it may read hardly anything."""
    cert, key = pem("localhost")
    server = site.serve("--cert", cert, "--key", key)
    profile, moved = site.profile("verifying", server.port), site.place / "moved.profile"
    moved.touch(0o600)
    moved.write_text(profile.read_text().replace("127.0.0.1", "localhost"))
    words = ("doctor", "-i", moved, "--tls-verify")
    done = site.nitrosocks(*words, env={"SSL_CERT_FILE": str(cert)})
    assert done.wait() == 0 and 'issued by "localhost", verifies' in str(done.out)
    done = site.nitrosocks(*words)
    assert done.wait() == 69 and "does not verify (self-signed certificate)" in str(done.out)
