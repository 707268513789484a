"""Settings: what a session gets where the operator says nothing."""

from __future__ import annotations

import ssl

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Carrier
from nitrosocks_lib.net.connect import Context
from nitrosocks_lib.server.connection import Settings


@pytest.mark.parametrize(
    ("given", "carrier", "seconds"),
    [(None, "raw", limits.HEARTBEAT), (None, "websocket", limits.HEARTBEAT), (None, "http", limits.HEARTBEAT_HTTP),
     (7, "raw", 7), (7, "http", 7)],
)  # fmt: skip
def test_the_heartbeat_is_the_operators_or_the_carriers(given: int | None, carrier: str, seconds: int) -> None:
    context, certificate_hash = Context(ssl.PROTOCOL_TLS_SERVER), bytes(32)
    assert Settings(context, certificate_hash, heartbeat=given).heartbeat_over(Carrier(carrier)) == seconds
