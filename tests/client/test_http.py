"""The carrier http of a client, against a server that spoils what it can: nothing is lost, and an end is an end."""

from __future__ import annotations

import logging
import os
from itertools import pairwise

import pytest
from carrying import end_of, exchange, world
from links import Threads, send
from spoiling import PORTAL, Spoil

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.protocol.ups import FIRST_LEAST

SIZE = 3 << 20


def third(number: int) -> bool:
    return number % 3 == 0


# -- nothing is lost --------------------------------------------------------------------------------------------------

SPOILS = {
    "nothing": Spoil(),
    "answers are lost": Spoil(third, "lost"),
    "requests are cut": Spoil(third, "cut"),
    "answers are torn": Spoil(third, "torn"),
    "requests are doubled": Spoil(third, "doubled"),
    "all requests are doubled": Spoil(lambda _: True, "doubled"),
    "requests are reordered": Spoil(shuffle=5),
    "a portal answers some": Spoil(third, answer=PORTAL),
    "some are forbidden": Spoil(third, answer=b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
    "some find no gateway": Spoil(third, answer=b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\nno gateway"),
    "some get no HTTP": Spoil(third, answer=b"\0" * 100 + b"\r\n\r\n"),
    "one request a connection": Spoil(close=True),
    "idle connections are closed": Spoil(idle=0.01),
    "answers are chunked": Spoil(chunked=True),
    "a balancer sticks by cookies": Spoil(cookies=True),
    "downs are answered empty": Spoil(park=0.01),
    "most of it at once": Spoil(third, "lost", close=True, chunked=True, cookies=True, shuffle=6, park=0.05),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_nothing_is_lost(spoil: Spoil) -> None:
    with world(spoil) as here:
        link, carrier = here.begin()
        for seed in range(3):
            exchange(link, carrier, SIZE // 3, seed)
        for _ in range(30):
            exchange(link, carrier, 1)
        link.close()


def test_answers_that_are_held_for_a_second() -> None:
    with world(Spoil(hold=1.0)) as here:
        link, carrier = here.begin()
        exchange(link, carrier, 1 << 20)
        link.close()


def test_a_body_that_is_too_large_is_learnt_from_413() -> None:
    with world(Spoil(most=64 * 1024)) as here:
        data = os.urandom(4 << 20)
        while not here.mosts or here.mosts[-1] > 64 * 1024:
            link, _ = here.begin()
            with Threads() as threads, pytest.raises(NetworkError):
                threads.start(end_of, link)
                send(link, data, 1)
            link.close()
        assert all(limits.BODY_LEAST <= after <= before // 2 for before, after in pairwise(here.mosts))
        link, carrier = here.begin()
        exchange(link, carrier, SIZE)
        assert max(carrier.sizes) <= here.mosts[-1]
        link.close()


def test_carriers_share_few_connections() -> None:
    with world() as here, Threads() as threads:
        carriers = [here.begin() for _ in range(3)]
        for link, carrier in carriers:
            threads.start(exchange, link, carrier, SIZE)
        threads.join()
        opened = 3  # each of which leaves no idle one
        assert here.server.connections <= opened * 2 + limits.EXCHANGES + 3 * limits.DOWNS + 1
        for link, _ in carriers:
            link.close()


# -- what is sent -----------------------------------------------------------------------------------------------------


def test_up_0_waits_for_the_whole_first_enc() -> None:
    with world() as here:
        link, first = here.open(), os.urandom(FIRST_LEAST)
        for at in range(0, FIRST_LEAST, 100):
            send(link, first[at : at + 100], at)
        carrier = here.server.carrier()
        carrier.wait(lambda: bytes(carrier.received) == first)
        assert carrier.sizes == [FIRST_LEAST]
        link.close()


def test_requests_name_the_host_and_the_prefix() -> None:
    with world(prefix="/api/v1") as here:
        link, _ = here.begin()
        link.close()
        assert here.server.heads[0].startswith(b"POST /api/v1/")
        assert b"\nHost: web.example\n" in here.server.heads[0]


def test_a_new_carrier_returns_the_cookies_of_the_last_one() -> None:
    with world(Spoil(cookies=True)) as here:
        came = []
        for _ in range(2):
            came.append(len(here.server.heads))
            link, carrier = here.begin()
            exchange(link, carrier, 100)
            link.close()
        assert b"Cookie: " not in here.server.heads[0], "the very first request has none"
        assert all(b"Cookie: " in head for head in here.server.heads[came[1] :])


def test_no_token_stands_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), world(Spoil(third, "lost")) as here:
        link, carrier = here.begin()
        exchange(link, carrier, SIZE)
        link.close()
    assert "up 0" in caplog.text
    assert not [head for head in here.server.heads if head.split(b" ")[1].decode().strip("/") in caplog.text]
