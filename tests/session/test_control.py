"""Control: the order of the frames that are not numbered, and what a new connection forgets."""

from __future__ import annotations

import socket

import pytest
from roles import Roles
from world import Opened, World

from nitrosocks_lib.facts.wire import Abort, Frame, Reset
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.server.tunnel import RefreshPolicy
from nitrosocks_lib.session.control import Control


@pytest.fixture
def roles():
    made = Roles(RefreshPolicy(volume=1 << 40))
    for tunnel in made.both():  # the server looks at them to tell how worn they are
        tunnel.outbound.sealer = tunnel.inbound.opener
    yield made
    made.close()


def chosen(control: Control) -> list[bytes]:
    """What goes out, up to the farewell."""
    got = []
    while not control.last and (plain := control.next()) is not None:
        got.append(plain)
    return got


def test_the_order(roles: Roles) -> None:
    tunnel, mail, control = roles.server, roles.server.outbound.mail, roles.server.outbound.control
    mail.release, mail.ping, mail.pong = b"\x31r2", True, b"\x22pong"
    mail.goaway, mail.refresh, control.consumed = frames.goaway(7), True, 4
    got = chosen(control)
    assert [plain[0] for plain in got] == [Frame.ACK, Frame.PONG, Frame.PING, Frame.GOAWAY, Frame.REFRESH, 0x31]
    assert got[0] == frames.ack(4) and tunnel.refreshing is not None
    assert chosen(control) == []


def test_a_farewell_is_the_last_but_for_the_ack_before_it(roles: Roles) -> None:
    control = roles.client.outbound.control
    roles.client.post_abort(Abort.OTHER, "bye")
    roles.client.outbound.mail.ping, control.consumed = True, 1
    assert chosen(control) == [frames.ack(1), frames.reason(Frame.ABORT, Abort.OTHER, "bye")] and control.last


def test_a_farewell_whose_connection_broke_goes_out_on_the_next(roles: Roles) -> None:
    control = roles.client.outbound.control
    roles.client.post_abort(Abort.OTHER, "")
    assert len(chosen(control)) == 1
    control.begin()
    assert chosen(control) == [frames.reason(Frame.ABORT, Abort.OTHER)]


def test_an_ack_waits_for_a_reset_that_it_would_overtake(roles: Roles) -> None:
    control, resend = roles.client.outbound.control, roles.client.outbound.resend
    resend.append(frames.reason(Frame.RESET, Reset.LOCAL), ack_before=2)
    control.consumed = 5
    assert control.ack() == frames.ack(2) and control.ack() is None
    resend.sealed()
    assert control.ack() == frames.ack(5) and control.ack() is None


def test_a_resumed_connection_begins_with_an_ack_even_of_nothing(roles: Roles) -> None:
    control = roles.client.outbound.control
    roles.client.outbound.rewind(0)
    control.begin()
    assert [control.ack(), control.ack()] == [frames.ack(0), None]


def test_numbered_frames_are_held_behind_refreshed_until_the_connection_ends(roles: Roles) -> None:
    mail, control = roles.client.outbound.mail, roles.client.outbound.control
    mail.refreshed = b"\x25rest", roles.client.keys
    assert chosen(control) == [b"\x25rest"] and control.numbered_held and control.rekey is roles.client.keys
    control.begin()
    assert not control.numbered_held and control.rekey is None


def test_a_stream_that_only_goes_up_is_refreshed_too() -> None:
    """The server sends nothing but ACKs then, and those leave from inbound."""

    def swallow(sock: socket.socket) -> None:
        while sock.recv(1 << 16):
            pass

    with World(refresh=RefreshPolicy(volume=256 * 1024)) as world:
        opened = Opened(world.pool(), world.target(swallow))
        for _ in range(1_000):
            opened.near.sendall(bytes(512 * 1024))
            if any(hosted.tunnel.refreshes > 3 for hosted in world.registry.all()):
                break
        assert world.registry.all()[0].tunnel.refreshes > 3
        assert opened.ask(b"") == b"" and opened.end().ended_well
