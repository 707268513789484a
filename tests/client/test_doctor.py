"""doctor: every finding on the real thing, good and bad; those that are asked for are in test_asking.py."""

from __future__ import annotations

import os
import socket
import ssl
import time
from email.utils import formatdate
from types import SimpleNamespace

import loopback
import pytest
from doctoring import Examined
from loopback import Server, pem, unused_port
from targets import Target, unanswering
from world import SERVER_KEY, World

from nitrosocks_lib.client import dialler, doctor
from nitrosocks_lib.client.findings import (
    Alpn,
    Carrier,
    Certificate,
    Client,
    Clock,
    Difference,
    Interception,
    Key,
    Name,
    RoundTrip,
    State,
    Tcp,
    Tls,
    Verdict,
)
from nitrosocks_lib.crypto.identity import ServerKey, fingerprint
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError, NotAuthorised, Unanswered
from nitrosocks_lib.net.connect import Route


def read_on(tls: object) -> None:
    loopback.read_all(tls)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up soon."""
    monkeypatch.setattr(limits, "DIAL", 0.3)


def clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """This machine's clock is so far ahead."""
    ahead = SimpleNamespace(time=lambda: time.time() + seconds, strftime=time.strftime, gmtime=time.gmtime)
    for module in (dialler, doctor):
        monkeypatch.setattr(module, "time", ahead)


# -- what is good --------------------------------------------------------------------------------------------------


def test_all_is_well() -> None:
    with World() as world:
        found = Examined(world)
        assert found.kinds(State.BAD) == set()
        assert found[Name].literal and found[Name].v4 == ("127.0.0.1",)
        assert found[Tcp].address == "127.0.0.1" and found[Tcp].seconds < 5
        assert found[Tls].version.startswith("TLSv1.") and found[Tls].cipher
        assert (found[Alpn].offered, found[Alpn].chosen) == ("http/1.1", "http/1.1")
        leaf = world.certificates.presented.hash.hex()
        assert (found[Certificate].sha256, found[Certificate].verifies) == (leaf, False)
        assert found[Certificate].flaw == "self-signed certificate"
        assert (found[Carrier].carrier, found[Carrier].hangs) == ("raw", False)
        assert found[Key].fingerprint == fingerprint(SERVER_KEY.public)
        assert found[Client].name == "alice"
        assert (found[Interception].intercepted, found[Interception].met) == (False, leaf)
        assert 0 < found[RoundTrip].seconds < 5
        assert abs(found[Difference].seconds) < 5
        assert (found[Verdict].error, found[Verdict].carrier) == (None, "raw")


def test_a_server_that_takes_no_alpn() -> None:
    with World() as world, Server(decoy) as server:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(*pem("server"))
        found = Examined(world, server.address[1])[Alpn]
        assert (found.state, found.chosen) == (State.GOOD, "")


def test_a_name_has_both_kinds_of_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    loopback.twofold(monkeypatch, "127.0.0.1", "::1")
    with World() as world:
        found = Examined(world, host="twofold")
        assert (found[Name].v4, found[Name].v6, found[Name].literal) == (("127.0.0.1",), ("::1",), False)
        assert [(each.address, each.state) for each in found.all(Tcp)] == [
            ("127.0.0.1", State.GOOD), ("::1", State.BAD),
        ]  # fmt: skip
        assert found[Verdict].state is State.GOOD


# -- what is bad, from below upwards ----------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0.0, 5e9])
def test_a_clock_that_cannot_be_right(monkeypatch: pytest.MonkeyPatch, at: float) -> None:
    clock(monkeypatch, at - time.time())
    with World() as world, Server(read_on):
        assert Examined(world, unused_port())[Clock].state is State.BAD


def test_a_name_that_does_not_resolve() -> None:
    with World() as world:
        found = Examined(world, host="no-such-host.invalid")
        assert found[Name].state is State.BAD and "cannot find no-such-host.invalid" in str(found[Name].error)
        assert not found.all(Tcp) and isinstance(found[Verdict].error, NetworkError)


def test_a_server_without_addresses_of_the_family_that_was_asked_for() -> None:
    with World() as world:
        found = Examined(world, route=Route(ipv4=False))
        assert "127.0.0.1 has no IPv6 address" in str(found[Verdict].error)


@pytest.mark.usefixtures("hasty")
def test_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    late, real = [], socket.getaddrinfo

    def resolve(host, *rest, **more):
        if host == "slow":
            late.append(host)
            time.sleep(3)
        return real("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with World() as world:
        assert "no answer after" in str(Examined(world, host="slow")[Name].error)


def test_a_dead_port() -> None:
    with World() as world:
        found = Examined(world, unused_port())
        assert "Connection refused" in str(found[Tcp].error) and not found[Tcp].hangs
        assert not found.all(Tls) and "Connection refused" in str(found[Verdict].error)


@pytest.mark.usefixtures("hasty")
def test_a_port_that_does_not_answer() -> None:
    with World() as world, unanswering() as (_, port):
        found = Examined(world, port)
        assert found[Tcp].hangs and found[Tcp].state is State.BAD
        assert isinstance(found[Verdict].error, NetworkError)


@pytest.mark.usefixtures("hasty")
def test_a_port_that_accepts_and_hangs() -> None:
    with World() as world, Target(read_on) as target:
        found = Examined(world, target.port)
        assert found[Tcp].state is State.GOOD
        assert found[Tls].hangs and found[Alpn].hangs
        assert not found.all(Carrier) and "TLS failed: no answer" in str(found[Verdict].error)


def test_a_plain_http_port() -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(1 << 16)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with World() as world, Target(serve) as target:
        found = Examined(world, target.port)
        assert found[Tls].state is found[Alpn].state is State.BAD and not found[Tls].hangs
        assert not found.all(Carrier)


def decoy(tls, hours: int = 0) -> None:
    if tls.recv(1 << 16):
        date = formatdate(time.time() + hours * 3600, usegmt=True)
        tls.sendall(f"HTTP/1.1 400 Bad Request\r\nDate: {date}\r\n\r\n".encode())


def test_a_web_server() -> None:
    with World() as world, Server(decoy) as server:
        found = Examined(world, server.address[1])
        assert found[Tls].state is found[Certificate].state is State.GOOD
        assert found[Carrier].state is State.BAD and "a web server did" in str(found[Carrier].error)
        assert "--path differs from that of 'serve'" in found[Carrier].error.hint
        assert found[Key].state is State.NOTED and not found.all(Client)
        assert isinstance(found[Verdict].error, Unanswered)


@pytest.mark.usefixtures("hasty")
def test_another_key() -> None:
    with World() as world:
        real = world.credentials()
        other = type(real)(ServerKey(os.urandom(32)).public, real.key, real.token)
        world.credentials = lambda: other  # type: ignore[method-assign]
        found = Examined(world)
        assert found[Carrier].hangs and "did not answer the greeting" in str(found[Carrier].error)
        assert (found[Key].state, found[Key].fingerprint) == (State.NOTED, fingerprint(other.server_public))


def test_a_client_that_was_revoked() -> None:
    with World() as world:
        world.directory.known.clear()
        found = Examined(world)
        assert found[Carrier].state is found[Key].state is State.GOOD
        assert found[Client].state is State.BAD and isinstance(found[Verdict].error, NotAuthorised)
        assert not found.all(RoundTrip)


def test_a_clock_that_is_an_hour_off(monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 3_600)
    with World() as world:
        found = Examined(world)
        assert found[Difference].state is State.BAD and abs(found[Difference].seconds - 3_600) < 5
        assert found[Verdict].state is State.GOOD


@pytest.mark.usefixtures("hasty")
def test_a_clock_that_is_hours_off(monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, -5 * 3_600)
    with World() as world:
        found = Examined(world)
        assert found[Carrier].hangs and "this clock says" in found[Carrier].error.hint
