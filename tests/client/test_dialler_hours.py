"""Dialler: the hour that somebody on the way told, who need not have known it."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
from loopback import Server, unused_port
from world import World

from nitrosocks_lib.client import dialler as module
from nitrosocks_lib.client.dialler import Dialler, Greeting
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import DecoyAnswer, NetworkError, Unanswered
from nitrosocks_lib.session.conversation import Conversation


def portal(tls) -> None:
    """One whose clock is off."""
    tls.recv(8_192)
    then = formatdate(time.time() + 5 * 3_600, usegmt=True)
    tls.sendall(f"HTTP/1.1 302 Found\r\nDate: {then}\r\n\r\n".encode())


def misled(made: Dialler, front: Server, greeting: Greeting) -> None:
    link = made.connect(front.address)
    with pytest.raises(DecoyAnswer):
        made.resume(link, greeting.server, greeting.greeted.terms, 1, 0)
    link.close()


def test_an_hour_that_was_told_gets_no_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A portal's clock may be off; then nobody answers it, and the next attempt has the right hour."""
    firsts: list[float | None] = []

    class Watched(Conversation):
        def __init__(self, *arguments: Any, first: float | None = None) -> None:
            super().__init__(*arguments, first=first)
            firsts.append(first)

    with World() as world, Server(portal) as front:
        made = world.dialler()
        greeting = made.greet()
        greeting.link.close()
        misled(made, front, greeting)
        monkeypatch.setattr(module, "Conversation", Watched)
        monkeypatch.setattr(limits, "CARRIER_PATIENCE", 0.2)
        for attempt in (2, 3):
            link = made.connect(greeting.server)
            if attempt == 2:
                with pytest.raises(Unanswered):
                    made.resume(link, greeting.server, greeting.greeted.terms, attempt, 0)
            else:
                assert made.resume(link, greeting.server, greeting.greeted.terms, attempt, 0).received == 0
            link.close()
        assert firsts[0] is not None and firsts[1] is None


def test_an_hour_that_was_told_is_forgotten_where_nothing_can_be_reached() -> None:
    with World() as world, Server(portal) as front:
        made = world.dialler()
        greeting = made.greet()
        greeting.link.close()
        misled(made, front, greeting)
        with pytest.raises(NetworkError):
            made.connect(("127.0.0.1", unused_port()))
        link = made.connect(greeting.server)
        assert made.resume(link, greeting.server, greeting.greeted.terms, 2, 0).received == 0
        link.close()
