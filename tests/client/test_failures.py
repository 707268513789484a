"""One error of many, for people: every reason, and the class and hint of the one that somebody can act on."""

from __future__ import annotations

from nitrosocks_lib.client.failures import of_carriers, of_servers
from nitrosocks_lib.facts.errors import NetworkError, Refused, Unanswered
from nitrosocks_lib.facts.wire import Carrier, Refusal

RAW, WEBSOCKET, HTTP = Carrier
SERVER, OTHER = ("a.example", 443), ("b.example", 8443)


def test_one_alone_is_said_as_it_is() -> None:
    error = NetworkError("cannot reach it", "a hint")
    assert of_carriers(SERVER, [(RAW, error)]) is error and str(error) == "cannot reach it"
    assert of_servers([(SERVER, error)]) is error and str(error) == "cannot reach it"


def test_every_carrier_is_named_with_its_reason() -> None:
    unanswered = Unanswered("a.example:443 did not answer the greeting", "look at the clock")
    failures = [(RAW, unanswered), (WEBSOCKET, NetworkError("no answer in time")), (HTTP, NetworkError("cut"))]
    error = of_carriers(SERVER, failures)
    assert error is unanswered and error.hint == "look at the clock"
    reasons = "raw: did not answer the greeting; websocket: no answer in time; http: cut"
    assert str(error) == f"a.example:443: no carrier gets through ({reasons})"


def test_a_reason_of_several_carriers_is_said_once() -> None:
    failures = [(RAW, NetworkError("cut")), (WEBSOCKET, NetworkError("late")), (HTTP, NetworkError("cut"))]
    assert (
        str(of_carriers(SERVER, failures)) == "a.example:443: no carrier gets through (raw, http: cut; websocket: late)"
    )
    assert str(of_carriers(SERVER, [(RAW, NetworkError("cut")), (WEBSOCKET, NetworkError("cut"))])) == "cut"


def test_every_server_is_named_with_its_reason() -> None:
    refused, network = Refused(Refusal.FULL), NetworkError("cannot reach b.example:8443 (refused)")
    error = of_servers([(SERVER, refused), (OTHER, network)])
    assert error is refused
    assert str(error) == "a.example:443: the server refuses: the server is full; cannot reach b.example:8443 (refused)"
