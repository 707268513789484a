"""probe: each address of a name and each TLS handshake, bounded, with what it came to."""

from __future__ import annotations

import errno
import socket
import threading

import loopback
import pytest
from loopback import BOUND, Server, unused_port
from targets import Target, unanswering

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net import probe
from nitrosocks_lib.net.connect import client_context
from nitrosocks_lib.net.race import Place
from nitrosocks_lib.net.timers import now


def place(port: int, host: str = "127.0.0.1") -> Place:
    return socket.AF_INET, (host, port)


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_name_is_found() -> None:
    assert probe.look_up("127.0.0.1", 80, socket.AF_UNSPEC, BOUND) == [place(80)]


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a\0b", "x" * 70])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(NetworkError):
        probe.look_up(name, 80, socket.AF_UNSPEC, BOUND)


def test_a_resolver_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    back = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [] if back.wait(BOUND) else [])
    with pytest.raises(NetworkError, match="no answer after 0 s"):
        probe.look_up("slow", 80, socket.AF_UNSPEC, 0.05)
    back.set()


# -- TCP ---------------------------------------------------------------------------------------------------------------


def test_the_first_connection_is_given_back_and_all_are_told() -> None:
    with Target(lambda sock: None) as target:
        places = [place(unused_port()), place(target.port), place(target.port, "127.0.0.2")]
        answers, sock = probe.reach(places, BOUND)
        assert sock is not None and sock.getpeername() == ("127.0.0.1", target.port)
        sock.close()
        assert [at for at, _ in answers] == places
        assert [bool(answer.error) for _, answer in answers] == [True, False, True]
        assert not any(answer.hangs for _, answer in answers)


def test_what_hangs_is_given_up() -> None:
    with unanswering() as (_, port):
        ((_, answer),), sock = probe.reach([place(port)], 0.1)
        assert answer.hangs and answer.seconds >= 0.1 and sock is None


def test_nobody_waits_long_for_an_address_beside_one_that_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COMPANY", 0.05)
    with unanswering() as (_, silent), Target(lambda sock: None) as target:
        began = now()
        answers, sock = probe.reach([place(silent), place(target.port)], 10 * BOUND)
        assert sock is not None
        sock.close()
        assert [answer.hangs for _, answer in answers] == [True, False] and now() - began < BOUND


def test_without_a_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none)
    ((_, answer),), sock = probe.reach([place(1)], BOUND)
    assert (answer.error, sock) == ("Too many open files", None)


# -- TLS ---------------------------------------------------------------------------------------------------------------


def shaken(port: int, seconds: float = BOUND, alpn: str = "", verify: bool = False) -> probe.Shaken:
    context = client_context(verify)
    if alpn:
        context.set_alpn_protocols([alpn])
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setblocking(False)
    return probe.shake(sock, "localhost", context, seconds)


def test_what_was_agreed_on() -> None:
    with Server(loopback.echo) as server:
        one, two = shaken(server.address[1]), shaken(server.address[1], alpn="http/1.1")
    assert (one.version, one.error, one.alpn, two.alpn) == ("TLSv1.3", "", "", "http/1.1")
    assert one.certificate == two.certificate != b"" and one.cipher


def test_a_certificate_that_does_not_verify() -> None:
    with Server(loopback.echo) as server:
        told = shaken(server.address[1], verify=True)
        server.errors.clear()
    assert told.error == "self-signed certificate" and told.certificate == b""


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_what_is_no_tls(answer: bytes) -> None:
    with Target(lambda sock: sock.sendall(answer)) as target:
        told = shaken(target.port)
    assert told.error and not told.hangs


def test_a_handshake_that_hangs() -> None:
    with Target(loopback.read_all) as target:
        told = shaken(target.port, seconds=0.1)
    assert told.hangs and told.seconds >= 0.1


def test_who_is_gone_already() -> None:
    with Target(loopback.reset) as target:
        sock = socket.create_connection(("127.0.0.1", target.port))
        assert loopback.was_reset(sock)
        assert probe.shake(sock, "localhost", client_context(False), BOUND).error
