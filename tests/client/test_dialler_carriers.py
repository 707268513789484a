"""Dialler with several carriers: `auto` goes on until one brings an answer, and a session is resumed over what worked.

What lets WebSocket through and nothing else is the library's own server, behind which the real server is.
"""

from __future__ import annotations

import logging
import re
import ssl
import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest
from kept import Kept
from loopback import Server, read_exactly, unused_port
from websocket_front import WebSocketFront
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response
from world import SERVER_KEY, Opened, World, echo

from nitrosocks_lib.client import dialler as module
from nitrosocks_lib.client.carriers import Carriers
from nitrosocks_lib.client.dialler import Dialler, Greeting
from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.crypto.identity import ClientKey
from nitrosocks_lib.crypto.schedule import knock_key
from nitrosocks_lib.crypto.token import Tokens
from nitrosocks_lib.facts.errors import DecoyAnswer, NetworkError, NotAuthorised, Unanswered, Unreachable
from nitrosocks_lib.facts.wire import Carrier
from nitrosocks_lib.net.connect import Route
from nitrosocks_lib.protocol import carriers as policy
from nitrosocks_lib.protocol.greet import Credentials

RAW, WEBSOCKET = Carrier.RAW, Carrier.WEBSOCKET
AUTO = (RAW, WEBSOCKET)
HERE = "0123456789abcdef"


def dialler(world: World, server: tuple[str, int], *offered: Carrier, kept: Kept | None = None) -> Dialler:
    carriers = Carriers(offered or AUTO, kept, lambda: HERE)
    return Dialler(world.credentials(), (server,), Route(), carriers=carriers)


def resumed(made: Dialler, greeting: Greeting, attempt: int) -> Carrier:
    """Over which carrier this attempt succeeds; raises what it failed with."""
    link = made.connect(greeting.server)
    try:
        made.resume(link, greeting.server, greeting.greeted.terms, attempt, 0)
        return link.carrier
    finally:
        link.close()


def test_raw_is_first_where_all_work() -> None:
    with World() as world:
        greeting = dialler(world, ("127.0.0.1", world.port)).greet()
        assert greeting.link.carrier is RAW
        greeting.link.close()


def test_what_refuses_raw_is_passed_through_by_websocket(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    with World() as world, WebSocketFront(world.port) as front, caplog.at_level(logging.INFO):
        made = dialler(world, front.address, kept=kept)
        greeting = made.greet()
        assert greeting.link.carrier is WEBSOCKET
        greeting.link.close()
        where = f"127.0.0.1:{front.address[1]}"
        said = [line for line in caplog.messages if line.startswith((where, "carrier"))]
        assert said[-1] == f"carrier to {where}: websocket" and re.match(f"{where} over raw: {where} ", said[0])
        assert kept.known[where, HERE].carrier is WEBSOCKET
        assert [resumed(made, greeting, attempt) for attempt in (1, 2)] == [WEBSOCKET] * 2


def test_what_worked_is_first_in_the_next_program() -> None:
    kept = Kept()
    with World() as world, WebSocketFront(world.port) as front:
        dialler(world, front.address, kept=kept).greet().link.close()
        made = dialler(world, front.address, kept=kept)
        opened = opened_by(made)
        made.greet().link.close()
        assert opened == [WEBSOCKET]


def opened_by(made: Dialler) -> list[Carrier]:
    """Grows with each carrier that it opens."""
    opened, real = [], made._openers.open

    def open_(carrier: Carrier, *how: object, **more: object) -> object:
        opened.append(carrier)
        return real(carrier, *how, **more)  # type: ignore[arg-type]

    made._openers.open = open_  # type: ignore[assignment,method-assign]
    return opened


def hang(tls: ssl.SSLSocket) -> None:
    """Takes everything, and says nothing, as some boxes do."""
    while tls.recv(8_192):
        pass


def test_what_hangs_is_given_up_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy.limits, "CARRIER_PATIENCE", 0.1)
    with World() as world, Server(hang) as box, WebSocketFront(world.port) as front:
        made = dialler(world, box.address)
        real = made._openers.open
        ways = {RAW: box.address, WEBSOCKET: front.address}
        made._openers.open = lambda carrier, _, *how, **more: real(carrier, ways[carrier], *how, **more)
        greeting = made.greet()
        assert greeting.link.carrier is WEBSOCKET
        greeting.link.close()


def test_all_fail_and_each_says_why() -> None:
    def page(tls: ssl.SSLSocket) -> None:
        if b"Upgrade: websocket" in tls.recv(8_192):
            tls.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with World() as world, Server(page) as server, pytest.raises(Unanswered) as raised:
        dialler(world, server.address).greet()
    where = f"127.0.0.1:{server.address[1]}"
    reasons = "raw: did not answer the greeting; websocket: answered as a web server: 'HTTP/1.1 404 Not Found'"
    assert str(raised.value) == f"{where}: no carrier gets through ({reasons})"
    assert "this clock says" in raised.value.hint


def test_without_tcp_no_other_carrier_is_tried() -> None:
    with World() as world:
        made = dialler(world, ("127.0.0.1", unused_port()))
        opened = opened_by(made)
        with pytest.raises(Unreachable, match="^cannot reach"):
            made.greet()
        with pytest.raises(Unreachable):
            made.connect(made.servers[0])
        with pytest.raises(Unreachable):
            made.connect(made.servers[0])
        assert opened == [RAW] * 3


def test_a_refusal_of_who_has_verified_is_final() -> None:
    with World() as world, WebSocketFront(world.port) as front:
        made = dialler(world, ("127.0.0.1", world.port))
        opened = opened_by(made)
        made.credentials = Credentials(SERVER_KEY.public, ClientKey(bytes(32)), bytes(32))
        with pytest.raises(NotAuthorised):
            made.greet()
        made.servers = (front.address,)
        with pytest.raises(NotAuthorised):
            made.greet()
        assert opened == [RAW, RAW, WEBSOCKET]


def test_one_carrier_alone_is_tried_alone() -> None:
    with World() as world, WebSocketFront(world.port) as front:
        greeting = dialler(world, front.address, WEBSOCKET).greet()
        assert greeting.link.carrier is WEBSOCKET
        greeting.link.close()
        with pytest.raises(Unanswered, match="did not answer the greeting$"):
            dialler(world, front.address, RAW).greet()


# -- resuming ----------------------------------------------------------------------------------------------------------


def test_the_next_attempt_to_resume_takes_the_next_carrier() -> None:
    """The network begins to inspect amid a session: raw worked, and works no more."""
    with World() as world, WebSocketFront(world.port) as front:
        made = dialler(world, ("127.0.0.1", world.port))
        greeting = made.greet()
        greeting.link.close()
        greeting.server = front.address
        with pytest.raises(Unanswered):
            resumed(made, greeting, 1)
        assert [resumed(made, greeting, attempt) for attempt in (2, 3)] == [WEBSOCKET] * 2
        greeting.server = ("127.0.0.1", world.port)
        assert resumed(made, greeting, 4) is RAW, "another server is another way"


def test_an_upgrade_that_is_refused_is_a_failed_attempt() -> None:
    def judge(connection: ServerConnection, _: Request) -> Response:
        return connection.respond(403, "not here")

    with World() as world, WebSocketFront(world.port, judge) as front:
        made = dialler(world, front.address)
        made._carriers.failed(front.address, RAW)
        with pytest.raises(DecoyAnswer):
            made.connect(front.address)
        link = made.connect(front.address)
        assert link.carrier is RAW
        link.close()


def test_a_session_over_websocket_goes_on_over_the_next_connection() -> None:
    """A whole pool: streams, a connection that is cut, and the same streams over the next one."""
    with World() as world, WebSocketFront(world.port) as front:
        port, data = world.target(echo), bytes(range(256)) * 4_000
        pool = Pool(dialler(world, front.address), 1)
        world.callback(pool.close, 5.0)
        pool.start()
        opened = Opened(pool, port)
        opened.near.sendall(b"before")
        assert read_exactly(opened.near, 6) == b"before"
        (session,) = pool.sessions
        link = session.tunnel.link
        assert link is not None and link.carrier is WEBSOCKET
        link.abort()
        assert opened.ask(data) == data and opened.clean
        assert session.tunnel.link is not link and len(front.requests) >= 2


# -- the hour ----------------------------------------------------------------------------------------------------------


def clock_ahead(seconds: int) -> SimpleNamespace:
    """The module `time` of a machine whose clock is off."""
    return SimpleNamespace(time=lambda: time.time() + seconds, strftime=time.strftime, gmtime=time.gmtime)


def told(connection: ServerConnection, request: Request) -> Response | None:
    """As a server of ours does: a token of another hour is the decoy's."""
    if Tokens(knock_key(SERVER_KEY.public)).read(request.path[1:], int(time.time()) // 3600) is not None:
        return None
    response = connection.respond(404, "none")
    response.headers["Date"] = formatdate(usegmt=True)
    return response


def test_the_hour_that_the_decoy_tells_is_taken_for_one_more_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", clock_ahead(5 * 3_600))
    with World() as world, WebSocketFront(world.port, told) as front:
        made = dialler(world, front.address, WEBSOCKET)
        greeting = made.greet()
        greeting.link.close()
        assert len(front.requests) == 2
        assert resumed(made, greeting, 1) is WEBSOCKET and len(front.requests) == 3, "and it was learnt"


def test_a_clock_that_was_set_meanwhile_costs_one_attempt_and_not_the_carrier(monkeypatch: pytest.MonkeyPatch) -> None:
    with World() as world, WebSocketFront(world.port, told) as front:
        made = dialler(world, front.address)
        greeting = made.greet()
        greeting.link.close()
        assert greeting.link.carrier is WEBSOCKET
        monkeypatch.setattr(module, "time", clock_ahead(-30 * 3_600))
        with pytest.raises(DecoyAnswer):
            made.connect(greeting.server)
        assert resumed(made, greeting, 1) is WEBSOCKET


def test_a_carrier_that_is_strangled_is_not_the_next_one() -> None:
    with World() as world:
        made = dialler(world, ("127.0.0.1", world.port))
        greeting = made.greet()
        greeting.link.close()
        assert greeting.link.carrier is RAW
        made.strangled(greeting.server, RAW)
        assert resumed(made, greeting, 1) is WEBSOCKET
        assert resumed(made, greeting, 2) is WEBSOCKET


def test_a_network_that_is_away_moves_no_carrier() -> None:
    """While nothing can be reached, attempts fail; when it is back, the best carrier is still the first."""
    with World() as world:
        made = dialler(world, ("127.0.0.1", world.port))
        greeting = made.greet()
        greeting.link.close()
        port = world.port
        world.server.stop()
        for _ in range(3):
            with pytest.raises(NetworkError):
                made.connect(greeting.server)
        world.start(port)
        link = made.connect(greeting.server)
        assert link.carrier is RAW
        link.close()
