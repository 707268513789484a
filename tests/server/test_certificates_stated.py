"""Certificates: a connection states the one that it presented, whenever it is renewed, over every carrier."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from certified import presented, sha, write
from world import BOUND, World

from nitrosocks_lib.client.carriers import Carriers
from nitrosocks_lib.client.dialler import Dialler
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Carrier
from nitrosocks_lib.net.connect import Route, client_context, dial
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol import greet
from nitrosocks_lib.server.certificates import Certificates
from nitrosocks_lib.session.conversation import Conversation


def over(world: World, carrier: Carrier) -> Dialler:
    servers = (("127.0.0.1", world.port),)
    made = Dialler(world.credentials(), servers, Route(direct=True), carriers=Carriers((carrier,)))
    world.callback(lambda: made._openers._moving and made._openers._moving.stop())  # no thread outlives the test
    return made


def stated(world: World, link: Link) -> bytes:
    """What the server states to a greeting on this link."""
    dialogue = greet.greet(world.credentials(), int(time.time()) // 3600, limits.WINDOW, os.urandom)
    greeted = Conversation(link, now() + BOUND).run(dialogue)
    world.callback(link.close)
    return greeted.certificate_hash


def test_a_connection_states_what_it_presented(tmp_path: Path) -> None:
    """Its TLS was done before the certificate was renewed, and its greeting comes after."""
    made = Certificates(*write(tmp_path, "old"))
    with World(certificates=made) as world:
        context = client_context(False)
        old = dial(("127.0.0.1", world.port), context, socket.AF_INET, BOUND)
        cert, _ = write(tmp_path, "new")
        made.look()
        assert presented(world.port) == sha(cert) != old.certificate_hash()
        new = dial(("127.0.0.1", world.port), context, socket.AF_INET, BOUND)
        for link in (old, new):
            assert stated(world, link) == link.certificate_hash()


def test_over_http_the_connection_that_begins_the_carrier_counts(tmp_path: Path) -> None:
    """Not the one that was made for it: that is mostly closed here, for a newer carrier, before anything was said."""
    made = Certificates(*write(tmp_path, "old"))
    with World(certificates=made) as world:
        dialler = over(world, Carrier.HTTP)
        first = dialler.connect(dialler.servers[0])
        assert first.certificate_hash() == made.presented.hash
        write(tmp_path, "new")
        made.look()
        second = dialler.connect(dialler.servers[0])
        for link in (first, second):
            assert stated(world, link) == link.certificate_hash()


@pytest.mark.parametrize("carrier", Carrier)
def test_nobody_is_told_of_interception(carrier: Carrier, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A greeting and a reconnection where TLS must be direct, under an old certificate and under a new one."""
    made = Certificates(*write(tmp_path, "old"))
    with World(certificates=made) as world:
        dialler = over(world, carrier)
        greeting = dialler.greet()
        assert greeting.link.carrier is carrier
        write(tmp_path, "new")
        made.look()
        greeting.link.close()
        link = dialler.connect(greeting.server)
        assert dialler.resume(link, greeting.server, greeting.greeted.terms, 1, 0).received == 0
        link.close()
        again = dialler.greet()
        assert again.link.certificate_hash() == again.greeted.certificate_hash
        again.link.close()
        assert "intercepted" not in caplog.text
