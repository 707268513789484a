"""Openers: the table of carriers, what their requests say, and the ALPN that each one offers (CA4)."""

from __future__ import annotations

import time

import pytest
from loopback import Server, unused_port
from spoiling import BOUND, Spoil, Spoiling
from websocket_front import WebSocketFront
from world import SERVER_KEY, World

from nitrosocks_lib.client.carriers import Carriers
from nitrosocks_lib.client.openers import Openers, Web
from nitrosocks_lib.crypto.schedule import knock_key
from nitrosocks_lib.crypto.token import Tokens
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError, Unreachable
from nitrosocks_lib.facts.wire import Carrier, What
from nitrosocks_lib.net.connect import Route
from nitrosocks_lib.net.timers import now

RAW, WEBSOCKET = Carrier.RAW, Carrier.WEBSOCKET
HOUR = int(time.time()) // 3600


def openers(web: Web | None = None) -> Openers:
    return Openers(SERVER_KEY.public, Route(), web or Web())


def test_raw_offers_no_alpn() -> None:
    offered: list[str | None] = []
    with Server(lambda tls: offered.append(tls.selected_alpn_protocol())) as server:
        link = openers().open(RAW, server.address, HOUR, hurried=False)
        assert link.carrier is RAW
        link.close()
    assert offered == [None]


@pytest.mark.parametrize("hurried", [False, True])
def test_websocket_asks_with_a_token_of_its_own(hurried: bool) -> None:
    with World() as world, WebSocketFront(world.port) as front:
        made = openers(Web("/some/path", "cdn.example"))
        for _ in range(2):
            link = made.open(WEBSOCKET, front.address, HOUR, hurried)
            assert link.carrier is WEBSOCKET
            link.close()
        assert front.alpn == ["http/1.1"] * 2
        assert [request.headers["Host"] for request in front.requests] == ["cdn.example"] * 2
        tokens = [Tokens(knock_key(SERVER_KEY.public)).read(r.path.rpartition("/")[2], HOUR) for r in front.requests]
        assert all(request.path.startswith("/some/path/") for request in front.requests)
        first, second = (token[0] for token in tokens if token is not None)
        assert (first.what, first.n) == (second.what, second.n) == (What.WEBSOCKET, 0) and first.id != second.id


HOSTS = {
    ("a.example", 443): "a.example",
    ("a.example", 8443): "a.example:8443",
    ("2001:db8::1", 443): "[2001:db8::1]",
    ("2001:db8::1", 8443): "[2001:db8::1]:8443",
}


@pytest.mark.parametrize("server", HOSTS)
def test_the_host_header_is_as_a_browser_writes_it(server: tuple[str, int]) -> None:
    assert Web().host_of(server) == HOSTS[server]
    assert Web(host="front.example").host_of(server) == "front.example"


def test_without_tcp_no_carrier_does() -> None:
    port = unused_port()
    for carrier in (RAW, WEBSOCKET):
        with pytest.raises(Unreachable):
            openers().open(carrier, ("127.0.0.1", port), HOUR, hurried=True)


def test_http_asks_with_tokens_of_that_hour_and_learns_how_large_bodies_may_be() -> None:
    with Spoiling(Spoil(most=50_000)) as server:
        server.knock = bytes(knock_key(SERVER_KEY.public))
        carriers = Carriers(tuple(Carrier))
        made = Openers(SERVER_KEY.public, Route(), Web("/some/path", "cdn.example"), carriers)
        link = made.open(Carrier.HTTP, server.address, HOUR + 1, hurried=False)
        assert link.carrier is Carrier.HTTP
        link.write_all(bytes(2_000), now() + BOUND)
        server.carrier().wait(lambda: len(server.carrier().received) == 2_000)
        link.write_all(bytes(100_000), now() + BOUND)
        with pytest.raises(NetworkError):
            link.read_exactly(1, now() + BOUND)
        link.close()
        assert limits.BODY_LEAST <= carriers.most(server.address) <= 50_000
        link = made.open(Carrier.HTTP, server.address, HOUR + 1, hurried=False)
        link.write_all(bytes(100_000), now() + BOUND)
        server.carrier(1).wait(lambda: len(server.carrier(1).received) == 100_000)
        link.close()
        heads = [head.split(b"\n") for head in server.heads]
        tokens = [Tokens(knock_key(SERVER_KEY.public)).read(head[0][16:59].decode(), HOUR) for head in heads]
        assert {token and token[1] for token in tokens} == {HOUR + 1}
        assert {head[1] for head in heads} == {b"Host: cdn.example"}
    assert server.faults == []
