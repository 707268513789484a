"""`-R udp:`: datagrams that come to a port of the server's go to a target near the client."""

from __future__ import annotations

from dataclasses import replace

import datagramming
import pytest
from datagramming import Echo, ask, sender
from remotely import gone, permit, remotes, tcp
from world import World

from nitrosocks_lib.facts.errors import NotAuthorised
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.quota import Quota

echo = datagramming.echo


@pytest.fixture
def world():
    with World(proxy=True) as made:
        permit(made, "udp:localhost:*")
        yield made


def udp(port: int, host: str = "127.0.0.1") -> Target:
    return Target(Kind.UDP, host, port)


def test_each_sender_is_another_one_at_the_target(world: World, echo: Echo) -> None:
    made, _ = remotes(world, (udp(0, "localhost"), udp(echo.port)))
    at = made.remotes[0].at
    assert at is not None and str(made.remotes[0].place) == f"udp:localhost:{at.port}"
    senders = [sender(at.port, host) for host in ("127.0.0.1", "::1") for _ in range(5)]
    for n, each in enumerate(senders * 2):
        assert ask(each, b"abc %d" % n) == b"ABC %d" % n
    assert ask(senders[0], b"x" * 60_000) == b"X" * 60_000
    assert len(echo.senders) == 10
    for each in senders:
        each.close()


def test_the_one_silent_longest_makes_room_at_the_bound_of_a_client(world: World, echo: Echo) -> None:
    made, _ = remotes(world, (udp(0), udp(echo.port)))
    at = made.remotes[0].at
    known = world.directory.known
    known[world.key.client_id] = replace(known[world.key.client_id], quota=Quota(streams=3))
    assert at is not None
    for n in range(1, 8):
        with sender(at.port) as near:
            near.settimeout(0.2)
            for _ in range(300):  # what comes before there is room is dropped
                try:
                    assert ask(near, b"abc") == b"ABC"
                    break
                except TimeoutError:
                    continue
        assert len(echo.senders) == n


def test_another_session_of_the_client_takes_it_over(world: World, echo: Echo) -> None:
    first, _ = remotes(world, (udp(0), udp(echo.port)))
    assert first.remotes[0].at is not None
    at = udp(first.remotes[0].at.port)
    with Echo() as other, sender(at.port) as near, sender(at.port) as later:
        assert ask(near, b"a") == b"A"
        remotes(world, (at, udp(other.port)))
        gone(first)
        assert ask(later, b"b") == b"B" and len(other.senders) == 1
        assert ask(near, b"a") == b"A" and len(echo.senders) == 1  # its stream lives


def test_a_port_comes_back_with_the_next_session(world: World, echo: Echo) -> None:
    made, _ = remotes(world, (udp(0), udp(echo.port)))
    assert made.remotes[0].at is not None and world.proxy is not None
    with sender(made.remotes[0].at.port) as near:
        assert ask(near, b"a") == b"A"
        world.proxy.cut()
        near.settimeout(0.2)
        for _ in range(300):
            try:
                assert ask(near, b"b") == b"B"
                break
            except (TimeoutError, ConnectionRefusedError):
                continue
        assert len(echo.senders) == 1


def test_a_rule_for_tcp_permits_no_datagrams_and_the_other_way_round(world: World) -> None:
    with pytest.raises(NotAuthorised, match="is not permitted for this client") as refused:
        remotes(world, (tcp(0), tcp(1)))
    assert "nitrosocks permit NAME --listen '127.0.0.1:*'" in refused.value.hint
    permit(world, "127.0.0.1:*")
    with pytest.raises(NotAuthorised, match="is not permitted for this client") as refused:
        remotes(world, (udp(0), udp(1)))
    assert "nitrosocks permit NAME --listen 'udp:127.0.0.1:*'" in refused.value.hint
