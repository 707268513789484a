"""reach: the resolved address is judged and then used, and every failure has a reply code of RFC 1928."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import pytest
from links import Threads
from loopback import unused_port
from targets import unanswering

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Frame, Kind, Reply
from nitrosocks_lib.net.wake import Wake
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Address, Target
from nitrosocks_lib.protocol.permit import Rules
from nitrosocks_lib.server import targets as module
from nitrosocks_lib.server.targets import Unreached, reach

HERE = Rules.parse(["127.0.0.0/8:*", "[::1]:*"])
BOUND = 20.0
WAKE = Wake()  # never set


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def refused(target: Target, permit: Rules = HERE) -> tuple[int, str]:
    """Code and text of the refusal."""
    with pytest.raises(Unreached) as failure:
        reach(target, permit, WAKE)
    answer = failure.value.answer()
    assert answer[0] == Frame.REFUSED
    told = "".join(c for c in str(failure.value) if c.isprintable())
    assert frames.parse_reason(answer[1:]) == (failure.value.reply, told)
    return failure.value.reply, str(failure.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433"])
def test_what_is_reached_is_told(host: str, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    sock, answer = reach(Target(Kind.TCP, host, port), HERE, WAKE)
    with sock:
        assert answer[0] == Frame.OPENED
        assert frames.parse_address(answer[1:]) == Address("127.0.0.1", port)
        assert sock.getpeername() == ("127.0.0.1", port) and not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# -- permit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "rules"),
    [
        ("127.0.0.1", []), ("127.0.0.1", ["*:*"]), ("localhost", ["localhost:*"]), ("127.1", ["*:*"]),
        ("::ffff:127.0.0.1", ["*:*"]), ("0.0.0.0", ["*:*"]), ("127.0.0.1", ["127.0.0.1:1"]), ("127.0.0.1", ["/tmp/x"]),
    ],
)  # fmt: skip
def test_the_resolved_address_is_judged(host: str, rules: list[str], listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    code, text = refused(Target(Kind.TCP, host, port), Rules.parse(rules))
    assert code == Reply.NOT_PERMITTED and "is not permitted for this client" in text
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("rules", [[], ["*:443"], ["db.example:*"], ["127.0.0.0/8:1-79"], ["udp:*:*"], ["/tmp/x"]])
def test_what_no_rule_could_permit_is_not_resolved(rules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """So the answer does not tell whether the name exists."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("resolved"))
    for host in ("localhost", "name.invalid", "ä" * 200, "127.1"):
        code, text = refused(Target(Kind.TCP, host, 80), Rules.parse(rules))
        assert (code, text) == (Reply.NOT_PERMITTED, f"{host}:80 is not permitted for this client")


def test_the_address_that_was_judged_is_connected_to(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    """A name that means something else at the second look, or has one address that is not permitted, gains nothing."""
    port, looks = listener.getsockname()[1], []

    def getaddrinfo(host: str, port: int, **_: object):
        looks.append(host)
        last = "127.0.0.1" if len(looks) == 1 else "192.0.2.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("10.0.0.1", last)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    sock, answer = reach(Target(Kind.TCP, "rebinding.example", port), HERE, WAKE)
    with sock:
        assert sock.getpeername()[0] == "127.0.0.1" and looks == ["rebinding.example"]
        assert frames.parse_address(answer[1:]).host == "127.0.0.1"


def test_all_permitted_addresses_are_tried(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (9, 8, 1)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    sock, answer = reach(Target(Kind.TCP, "three.example", port), HERE, WAKE)
    sock.close()
    assert frames.parse_address(answer[1:]).host == "127.0.0.1"


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_nobody_listens_there() -> None:
    port = unused_port()
    assert refused(Target(Kind.TCP, "127.0.0.1", port)) == (5, f"127.0.0.1:{port}: connection refused")


REPLIES = [
    (errno.ECONNREFUSED, Reply.CONNECTION_REFUSED), (errno.ENETUNREACH, Reply.NETWORK_UNREACHABLE),
    (errno.EHOSTUNREACH, Reply.HOST_UNREACHABLE), (errno.ETIMEDOUT, Reply.EXPIRED), (errno.EPERM, Reply.GENERAL),
    (errno.ECONNRESET, Reply.GENERAL), (None, Reply.GENERAL),
]  # fmt: skip


@pytest.mark.parametrize(("code", "reply"), REPLIES, ids=str)
def test_errors_of_the_kernel(code: int | None, reply: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise OSError(code, "") if code else OSError("odd")

    monkeypatch.setattr(module, "connect", connect)
    got, text = refused(Target(Kind.TCP, "127.0.0.1", 9))
    assert got == reply and text.startswith("127.0.0.1:9: ")


def test_a_target_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue is full, so the kernel drops what comes."""
    monkeypatch.setattr(limits, "DIAL_TARGET", 0.2)
    with unanswering() as where:
        assert refused(Target(Kind.TCP, *where))[0] == Reply.EXPIRED


def test_a_target_that_nobody_wants_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIAL_TARGET", 10 * BOUND)
    given_up = Wake()
    with unanswering() as where, Threads() as threads:
        threads.start(given_up.set)
        with pytest.raises(Unreached):
            reach(Target(Kind.TCP, *where), HERE, given_up)
    given_up.close()


@pytest.mark.parametrize(
    ("target", "reply"),
    [
        (Target(Kind.TCP, "", 80), Reply.GENERAL),
        (Target(Kind.TCP, "127.0.0.1", 0), Reply.GENERAL),
        (Target(Kind.TCP, "x" * 256, 80), Reply.GENERAL),
        (Target(Kind.TCP, "ä" * 200, 80), Reply.HOST_UNREACHABLE),  # no name of DNS
        (Target(Kind.TCP, "x" * 255, 80), Reply.HOST_UNREACHABLE),
        (Target(Kind.TCP, "name.invalid", 80), Reply.HOST_UNREACHABLE),
        (Target(Kind.TCP, "a..b", 80), Reply.HOST_UNREACHABLE),
        (Target(Kind.TCP, "a\0b", 80), Reply.HOST_UNREACHABLE),
        (Target(Kind.UDP, "127.0.0.1", 80), Reply.COMMAND),
        (Target(0, "127.0.0.1", 80), Reply.COMMAND),
        (Target(255, "127.0.0.1", 80), Reply.COMMAND),
    ],
    ids=lambda value: f"{value[0]}:{value[1][:12]!r}" if isinstance(value, tuple) else "",
)
def test_targets_that_are_none(target: Target, reply: Reply) -> None:
    code, text = refused(target)
    assert code == reply and text


# -- unix sockets -----------------------------------------------------------------------------------------------------


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        sock, answer = reach(Target(Kind.UNIX, path, 0), Rules.parse([path]), WAKE)
        with sock, listener.accept()[0] as far:
            assert frames.parse_address(answer[1:]) == Address(path, 0) and not sock.getblocking()
            sock.send(b"x")
            assert far.recv(1) == b"x"
        for rules in ([], ["*:*"], [path + "x"], [os.path.dirname(path)]):
            assert refused(Target(Kind.UNIX, path, 0), Rules.parse(rules))[0] == Reply.NOT_PERMITTED


def test_a_unix_socket_that_is_busy_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, Threads() as threads:
        listener.bind(path)
        listener.listen(0)
        listener.settimeout(BOUND)
        first = reach(Target(Kind.UNIX, path, 0), Rules.parse([path]), WAKE)[0]

        def late() -> None:
            listener.accept()[0].close()

        threads.start(threading.Timer(0.2, late).run)
        with first, reach(Target(Kind.UNIX, path, 0), Rules.parse([path]), WAKE)[0]:
            threads.join()


@pytest.mark.parametrize(("name", "reply"), [("none", Reply.HOST_UNREACHABLE), ("x" * 200, Reply.GENERAL)])
def test_unix_sockets_that_cannot_be_reached(name: str, reply: Reply, tmp_path: Path) -> None:
    path = str(tmp_path / name)
    assert refused(Target(Kind.UNIX, path, 0), Rules.parse([path]))[0] == reply


def test_a_unix_socket_without_a_listener(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    assert refused(Target(Kind.UNIX, path, 0), Rules.parse([path]))[0] == Reply.CONNECTION_REFUSED
