"""doctor: each carrier on its own, what goes over it, and an interceptor on the way."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import loopback
import pytest
from doctoring import Examined
from loopback import Server, pem
from targets import Target
from websocket_front import WebSocketFront
from world import World

from nitrosocks_lib.client.findings import Carrier, Certificate, Interception, Speed, State, Verdict
from nitrosocks_lib.client.openers import Web
from nitrosocks_lib.crypto.certificate import leaf_der
from nitrosocks_lib.demo.interceptor import Interceptor
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import Intercepted
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.net.connect import Route
from nitrosocks_lib.protocol import frames

read_on = loopback.read_all


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up soon."""
    monkeypatch.setattr(limits, "DIAL", 0.5)


# -- an interceptor --------------------------------------------------------------------------------------------------


def intercepted(world: World, route: Route) -> Examined:
    box = Interceptor(("127.0.0.1", world.port), *pem("Example Inspection CA".replace(" ", "-")))
    box.start()
    try:
        return Examined(world, box.port, route=route)
    finally:
        box.stop()


def test_an_interceptor_is_named() -> None:
    with World() as world:
        found = intercepted(world, Route())
        told = found[Interception]
        assert (told.state, told.intercepted, told.issuer) == (State.BAD, True, "Example-Inspection-CA")
        assert told.stated == world.certificates.presented.hash.hex() != told.met
        leaf = pem("Example-Inspection-CA")[0]
        assert told.met == found[Certificate].sha256 == sha256(leaf_der(Path(leaf).read_bytes())).hexdigest()
        assert found[Verdict].state is State.GOOD


def test_an_interceptor_is_refused_where_tls_must_be_direct() -> None:
    with World() as world:
        found = intercepted(world, Route(direct=True))
        assert isinstance(found[Verdict].error, Intercepted) and "Example-Inspection-CA" in str(found[Verdict].error)


@pytest.mark.parametrize(("direct", "state"), [(False, State.GOOD), (True, State.BAD)])
def test_a_server_that_does_not_state_its_certificate(direct: bool, state: State) -> None:
    with World(certificate_hash=bytes(32)) as world:
        found = Examined(world, route=Route(direct=direct))
        assert found[Interception].intercepted is None and found[Interception].stated == ""
        assert found[Verdict].state is state


# -- carriers ------------------------------------------------------------------------------------------------------


def carriers(found: Examined) -> list[tuple[str, State, bool]]:
    return [(each.carrier, each.state, each.hangs) for each in found.all(Carrier)]


def test_each_carrier_is_tried_on_its_own() -> None:
    with World() as world:
        found = Examined(world, carriers=list(wire.Carrier))
        assert carriers(found) == [(each, State.GOOD, False) for each in wire.Carrier]
        assert found[Verdict].carrier == "raw" and found.kinds(State.BAD) == set()


@pytest.mark.parametrize("carrier", [wire.Carrier.WEBSOCKET, wire.Carrier.HTTP])
def test_all_goes_over_one_carrier(carrier: wire.Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POURED", 0.1)
    with World(prefix="/some") as world, Target(loopback.echo) as target:
        to = frames.Target(Kind.TCP, "127.0.0.1", target.port)
        web = Web("/some", "www.example")
        found = Examined(world, carriers=[carrier], web=web, targets=(to,), echo=to, speed=True, idle=1.0, age=1.0)
        assert found.kinds(State.BAD) == set() and found[Verdict].carrier == carrier
        assert found[Interception].intercepted is False and len(found.all(Speed)) == 2


def test_a_server_that_serves_one_carrier_only() -> None:
    with World(carriers=frozenset({wire.Carrier.RAW})) as world, pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "DIAL", 0.5)
        found = Examined(world, carriers=list(wire.Carrier))
        states = [state for _, state, _ in carriers(found)]
        assert states == [State.GOOD, State.BAD, State.BAD]
        hints = {each.error.hint for each in found.all(Carrier)[1:] if each.error is not None}
        (hint,) = hints
        assert re.search("--path .*'serve --carrier'", hint) and not re.search("clock|key", hint)
        assert (found[Verdict].state, found[Verdict].carrier) == (State.GOOD, "raw")


def only_web(tls) -> None:
    """A box that takes HTTP, and hangs where it gets none."""
    if tls.recv(1 << 16)[:1] in b"GP":
        tls.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    read_on(tls)


@pytest.mark.usefixtures("hasty")
def test_carriers_that_hang_and_carriers_that_are_refused() -> None:
    with World() as world, Server(only_web) as server:
        found = Examined(world, server.address[1], carriers=list(wire.Carrier))
        assert carriers(found)[:2] == [("raw", State.BAD, True), ("websocket", State.BAD, False)]
        assert "403" in str(found.all(Carrier)[1].error)
        assert "no carrier gets through" in str(found[Verdict].error)
        assert "no carrier" not in str(found.all(Carrier)[0].error)


def test_a_web_server_in_front_that_takes_upgrades_only() -> None:
    with World() as world, WebSocketFront(world.port) as front:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "DIAL", 2.0)
            found = Examined(world, front.address[1], carriers=list(wire.Carrier)[:2])
        assert [state for _, state, _ in carriers(found)] == [State.BAD, State.GOOD]
        error = found.all(Carrier)[0].error
        assert error is not None and "what is in between does not let it pass" in error.hint
        assert not re.search("clock|key|--path", error.hint), "another carrier has shown that they are right"
        assert found[Verdict].carrier == "websocket" and found[Interception].intercepted is True
