"""Dialler: servers in their order, the hour of a web server's answer, and what it tells people once."""

from __future__ import annotations

import logging
import socket
import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest
from loopback import Server, unused_port
from world import SERVER_KEY, World

from nitrosocks_lib.client import dialler as module
from nitrosocks_lib.client.dialler import Dialler, _hour_of
from nitrosocks_lib.crypto.identity import ClientKey
from nitrosocks_lib.facts.errors import (
    CutShort,
    DecoyAnswer,
    NetworkError,
    NotAuthorised,
    ProtocolError,
    Refused,
    Unanswered,
)
from nitrosocks_lib.facts.wire import Refusal
from nitrosocks_lib.net.connect import Route
from nitrosocks_lib.protocol.greet import Credentials


def dialler(*ports: int) -> Dialler:
    credentials = Credentials(SERVER_KEY.public, ClientKey(bytes(32)), bytes(32))
    return Dialler(credentials, tuple(("127.0.0.1", port) for port in ports), Route())


def test_the_first_server_that_answers_is_taken() -> None:
    with World() as world:
        made = world.dialler()
        made.servers = (("127.0.0.1", unused_port()), ("name.invalid", 1), ("127.0.0.1", world.port))
        greeting = made.greet()
        assert greeting.server == ("127.0.0.1", world.port)
        greeting.link.close()


def test_the_last_ones_error_is_told() -> None:
    last = unused_port()
    with pytest.raises(NetworkError, match=f"cannot reach 127.0.0.1:{last}"):
        dialler(unused_port(), last).greet()


def refusing(reason: Refusal) -> World:
    world = World()
    if reason is Refusal.DRAINING:
        world.server.reception.draining = 1.0
    else:
        world.registry._shared.most = 0
    return world


@pytest.mark.parametrize("reason", [Refusal.FULL, Refusal.DRAINING])
def test_a_server_that_takes_no_session_now_is_passed_by(reason: Refusal) -> None:
    with World() as world, refusing(reason) as other, Server(lambda tls: tls.recv(4_096)) as stranger:
        other.directory.known = world.directory.known
        made = world.dialler()
        made.servers = (stranger.address, ("127.0.0.1", other.port), ("127.0.0.1", world.port))
        greeting = made.greet()
        assert greeting.server == ("127.0.0.1", world.port)
        greeting.link.close()


def test_when_all_fail_each_one_says_why() -> None:
    with refusing(Refusal.FULL) as world, Server(lambda tls: tls.recv(4_096)) as stranger:
        made = world.dialler()
        dead, full = unused_port(), f"127.0.0.1:{world.port}: the server refuses: the server is full"
        made.servers = (("127.0.0.1", world.port), ("127.0.0.1", dead))
        with pytest.raises(Refused, match=f"^{full}; cannot reach 127.0.0.1:{dead}"):
            made.greet()
        made.servers = (stranger.address, *made.servers)
        unanswered = f"127.0.0.1:{stranger.address[1]} did not answer the greeting"
        with pytest.raises(Unanswered, match=f"^{unanswered}; {full}; cannot reach 127.0.0.1:{dead}"):
            made.greet()


def test_who_is_not_authorised_at_one_server_is_not_sent_to_the_next() -> None:
    with World() as world, World(proxy=True) as other:
        assert other.proxy is not None
        made = world.dialler()
        made.credentials = Credentials(SERVER_KEY.public, ClientKey(bytes(32)), bytes(32))
        made.servers = (("127.0.0.1", world.port), ("127.0.0.1", other.proxy.port))
        with pytest.raises(NotAuthorised):
            made.greet()
        assert other.proxy.connections == 0


def test_an_address_in_session_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.greet.greet

    def stating(*arguments):
        greeted = yield from real(*arguments)
        greeted.terms.address = "host:http"
        return greeted

    monkeypatch.setattr(module.greet, "greet", stating)
    with World(proxy=True) as world:
        assert world.proxy is not None
        with pytest.raises(ProtocolError, match="invalid reconnect address: 'host:http'"):
            world.dialler().greet()
        world.proxy.wait(lambda: world.proxy.live == 0)


def clock_ahead(seconds: int) -> SimpleNamespace:
    """The module `time` of a machine whose clock is off."""
    return SimpleNamespace(time=lambda: time.time() + seconds, strftime=time.strftime, gmtime=time.gmtime)


def decoy(tls) -> None:
    tls.recv(8_192)
    tls.sendall(f"HTTP/1.1 400 Bad Request\r\nDate: {formatdate(usegmt=True)}\r\n\r\n".encode())


def test_sessions_are_resumed_in_the_hour_that_the_greeting_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", clock_ahead(5 * 3_600))
    with World() as world, Server(decoy) as front:
        made = world.dialler()
        real, ways = made._openers.open, [front.address]
        made._openers.open = lambda carrier, at, *how, **more: real(carrier, ways.pop() if ways else at, *how, **more)
        greeting = made.greet()
        greeting.link.close()
        for attempt in (1, 2):
            link = made.connect(greeting.server)
            assert made.resume(link, greeting.server, greeting.greeted.terms, attempt, 0).received == 0
            link.close()


def test_a_clock_that_was_set_meanwhile_costs_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    with World() as world, Server(decoy) as front:
        made = world.dialler()
        greeting = made.greet()
        greeting.link.close()
        monkeypatch.setattr(module, "time", clock_ahead(-30 * 3_600))
        link = made.connect(front.address)
        with pytest.raises(DecoyAnswer):
            made.resume(link, greeting.server, greeting.greeted.terms, 1, 0)
        link.close()
        link = made.connect(greeting.server)
        assert made.resume(link, greeting.server, greeting.greeted.terms, 2, 0).received == 0
        link.close()


def test_a_server_that_ends_without_an_answer() -> None:
    with Server(lambda tls: tls.recv(4_096)) as server, pytest.raises(Unanswered) as failure:
        dialler(server.address[1]).greet()
    assert "this clock says" in failure.value.hint and "keygen" in failure.value.hint


@pytest.mark.parametrize("date", ["", "Date: now\r\n", "Date: never\r\n"])
def test_a_web_server_of_the_same_hour_is_no_nitrosocks(date: str) -> None:
    date = date.replace("now", formatdate(usegmt=True))
    asked: list[bytes] = []

    def serve(tls) -> None:
        asked.append(tls.recv(8_192))
        tls.sendall(f"HTTP/1.1 400 Bad Request\r\n{date}\r\n".encode())

    with Server(serve) as server, pytest.raises(Unanswered):
        dialler(server.address[1]).greet()
    assert len(asked) == 1


def test_the_hour_of_a_web_server_is_tried_once() -> None:
    asked: list[bytes] = []

    def serve(tls) -> None:
        asked.append(tls.recv(8_192))
        then = formatdate(time.time() - 5 * 3_600, usegmt=True)
        tls.sendall(f"HTTP/1.1 400 Bad Request\r\nServer: x\r\nDATE: {then}\r\n\r\n".encode())

    with Server(serve) as server, pytest.raises(Unanswered):
        dialler(server.address[1]).greet()
    assert len(asked) == 2 and asked[0][:24] != asked[1][:24]


@pytest.mark.parametrize(
    ("head", "hour"),
    [
        (b"HTTP/1.1 200 OK\r\nDate: Wed, 01 Jan 2020 05:30:00 GMT\r\n\r\n", 438_293),
        (b"HTTP/1.1 200 OK\r\ndate:Wed, 01 Jan 2020 05:30:00 GMT", 438_293),
        (b"HTTP/1.1 200 OK\r\nDate: Tue, 31 Dec 2019 23:59:59 GMT\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nDate: Fri, 01 Jan 0001 05:30:00 GMT\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nDate: Thu, 31 Dec 2099 23:59:59 GMT\r\n\r\n", 1_139_567),
        (b"HTTP/1.1 200 OK\r\nDate: Fri, 01 Jan 2100 00:00:00 GMT\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nDate: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nDate: Wed, 31 Dec 1969 23:59:59 GMT\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nDate: Wed, 01 Jan 2020 05:30:00 +0100\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nDate: " + b" " * 16_000 + b"\r\n", None),
        (b"HTTP/1.1 200 OK\r\nDate: " + b"9" * 16_000 + b"\r\n", None),
        (b"HTTP/1.1 200 OK\r\nX-Date: Thu, 01 Jan 1970 05:30:00 GMT\r\n", None),
        (b"HTTP/1.1 200 OK\r\nDate: Thu, 99 Jan 1970\r\n", None),
        (b"HTTP/1.1 200 OK\r\nDate: \xff\xfe\r\n", None),
        (b"HTTP/1.1 200 OK\r\nDate:\r\n", None),
        (b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 99999999999 05:30:00 GMT\r\n", None),
        (b"", None),
    ],
)
def test_the_hour_in_a_date(head: bytes, hour: int | None) -> None:
    assert _hour_of(head) == hour


def test_a_handshake_that_ends_amid_it() -> None:
    def serve(tls) -> None:
        tls.recv(8_192)
        tls.sendall(b"\0" * 100)

    with Server(serve) as server, pytest.raises(CutShort):
        dialler(server.address[1]).greet()


@pytest.mark.parametrize(("stated", "told"), [("other", True), ("none", False), ("same", False)])
def test_an_intercepted_tls_is_told_once(stated: str, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    other = {} if stated == "same" else {"certificate_hash": bytes(32) if stated == "none" else b"x" * 32}
    with World(**other) as world, caplog.at_level(logging.WARNING):
        made = world.dialler()
        for _ in range(3):
            made.greet().link.close()
    lines = [each.getMessage() for each in caplog.records if each.name.endswith("notices")]
    assert len(lines) == told and all("TLS is intercepted by" in line for line in lines)


@pytest.mark.parametrize(("ahead", "told"), [(40, "40 s ahead of"), (-3_000, "s behind"), (5, "")])
def test_a_clock_that_is_off_is_told_once(
    ahead: int, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with World() as world, caplog.at_level(logging.WARNING):
        made = world.dialler()
        server_time = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: server_time() - ahead * 10**9)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("nitrosocks_lib.crypto.identity.proof_holds", lambda *_: True)
            for _ in range(2):
                try:
                    made.greet().link.close()
                except ProtocolError:
                    assert abs(ahead) > 30, "only a TOTP of another step is refused"
    lines = [each.getMessage() for each in caplog.records if each.name.endswith("notices")]
    assert len(lines) == bool(told) and all(told in line for line in lines)


def test_a_name_is_asked_for_in_its_family(monkeypatch: pytest.MonkeyPatch) -> None:
    families: list[int] = []

    def getaddrinfo(host: str, port: int, family: int, *_: object):
        families.append(family)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for route in (Route(), Route(ipv6=False), Route(ipv4=False)):
        with pytest.raises(NetworkError, match="cannot find host: "):
            Dialler(dialler(1).credentials, (("host", 1),), route).greet()
    assert families == [socket.AF_UNSPEC, socket.AF_INET, socket.AF_UNSPEC, socket.AF_INET6, socket.AF_UNSPEC]
