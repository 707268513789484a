"""Settings: what a session gets where the operator says nothing."""

from __future__ import annotations

import pytest
from loopback import pem

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Carrier
from nitrosocks_lib.server.certificates import Certificates
from nitrosocks_lib.server.connection import Settings


@pytest.mark.parametrize(
    ("given", "carrier", "seconds"),
    [(None, "raw", limits.HEARTBEAT), (None, "websocket", limits.HEARTBEAT), (None, "http", limits.HEARTBEAT_HTTP),
     (7, "raw", 7), (7, "http", 7)],
)  # fmt: skip
def test_the_heartbeat_is_the_operators_or_the_carriers(given: int | None, carrier: str, seconds: int) -> None:
    certificates = Certificates(*pem("server"))
    assert Settings(certificates, heartbeat=given).heartbeat_over(Carrier(carrier)) == seconds
