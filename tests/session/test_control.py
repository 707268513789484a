"""Control: the order of the frames that are not numbered, what a new connection forgets, and what release allows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from plains import END, OPEN, OPENED, REFUSED
from roles import Roles, receive

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import Abort, Frame, Kind
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.server.tunnel import RefreshPolicy
from nitrosocks_lib.session.control import CONTROL_MAX, Control
from nitrosocks_lib.session.mailbox import Outbox
from nitrosocks_lib.session.streams import Stream
from nitrosocks_lib.session.tunnel import Tunnel

SPACE = 65_536
DISCONNECT = bytes([Frame.DISCONNECT])


@pytest.fixture
def roles() -> Iterator[Roles]:
    made = Roles(RefreshPolicy(volume=1 << 40))
    for tunnel in made.both():  # the server looks at them to tell how worn they are
        tunnel.outbound.sealer = tunnel.inbound.opener  # type: ignore[assignment]
    yield made
    made.close()


@pytest.fixture
def client(roles: Roles) -> Control:
    return roles.client.outbound.control


def chosen(control: Control, space: int = SPACE) -> list[bytes]:
    """What goes out now."""
    got = []
    while (plain := control.next(space)) is not None:
        got.append(plain)
    return got


# -- the order --------------------------------------------------------------------------------------------------------


def test_the_order(roles: Roles) -> None:
    tunnel, outbox, control = roles.server, roles.server.outbox, roles.server.outbound.control
    outbox.post(ping=True, pong=b"\x22pong", goaway=frames.goaway(7))
    outbox.refresh, outbox.received, outbox.limits[1] = True, 4, 500
    got = chosen(control)
    assert [plain[0] for plain in got] == [Frame.ACK, Frame.PONG, Frame.PING, Frame.GOAWAY, Frame.REFRESH]
    assert got[0] == frames.ack(4, [(1, 500)]) and got[3] == frames.goaway(7)
    assert tunnel.state.refreshing is not None and chosen(control) == [] and outbox.acknowledged == 4


def test_an_ack_rides_where_much_was_received_or_one_is_due(client: Control, roles: Roles) -> None:
    outbox = roles.client.outbox
    for received, due, rides in ((15, False, False), (16, False, True), (17, False, False), (17, True, True)):
        outbox.received, outbox.ack_due = received, due
        assert chosen(client) == ([frames.ack(received)] if rides else [])


def test_an_ack_that_becomes_due_meanwhile_is_not_forgotten(client: Control, roles: Roles) -> None:
    """outbound has looked at what was received; then inbound receives one more frame, and wants it acknowledged."""

    class Meanwhile(Outbox):
        arrives = False

        @property
        def received(self) -> int:  # type: ignore[override]
            seen = self._received
            if self.arrives:
                self.arrives, self._received, self.ack_due = False, seen + 1, True
            return seen

        @received.setter
        def received(self, value: int) -> None:
            self._received = value

    client._outbox = outbox = Meanwhile()
    outbox.received, outbox.ack_due, outbox.arrives = 3, True, True
    assert chosen(client) == [frames.ack(3), frames.ack(4)]
    outbox.waiter.close()


def test_pings_differ(client: Control, roles: Roles) -> None:
    pings = set()
    for _ in range(100):
        roles.client.outbox.post(ping=True)
        pings |= set(chosen(client))
    assert len(pings) == 100 and len({len(plain) for plain in pings}) > 10  # in size, too


def test_every_frame_but_ack_fits_where_control_frames_may_begin(roles: Roles) -> None:
    started = roles.server.start_refresh()
    assert started is not None
    receive(roles.client, Frame.REFRESH, started[1:])
    refreshed, _ = roles.client.outbox.refreshed or (b"", None)
    assert max(len(started), len(refreshed)) + wire.FRAME_OVERHEAD <= CONTROL_MAX
    assert len(frames.abort(Abort.OTHER, "x" * 9_999)) + wire.FRAME_OVERHEAD <= CONTROL_MAX


def test_limits_that_do_not_fit_one_ack_go_out_in_more(client: Control, roles: Roles) -> None:
    rows = {number: number for number in range(1, 2 * limits.ACK_ROWS + 2)}
    roles.client.outbox.limits |= rows
    room = wire.FRAME_OVERHEAD + 1 + 8 + 12 * 10
    first, said = client.next(room), {}
    assert first is not None and len(frames.parse_ack(first[1:])[1]) == 10
    acks = [first, *chosen(client)]
    for plain in acks:
        said |= dict(frames.parse_ack(plain[1:])[1])
        assert len(plain) <= wire.PLAIN_MAX
    assert said == rows and len(acks) == 3


# -- a new connection -------------------------------------------------------------------------------------------------


def test_a_resumed_connection_begins_with_an_ack_even_of_nothing(client: Control, roles: Roles) -> None:
    roles.client.outbound.rewind(0)
    client.begin()
    assert chosen(client) == [frames.ack(0)]


def test_it_restates_every_limit_that_was_raised_of_streams_that_are_not_over(client: Control, roles: Roles) -> None:
    tunnel = roles.client
    for number, given in ((1, limits.WINDOW), (3, limits.WINDOW + 1), (5, limits.WINDOW * 9), (7, limits.WINDOW * 2)):
        tunnel.outbound._reading._watch = lambda _: None  # type: ignore[method-assign]
        stream = Stream(Target(Kind.TCP, "host", 7), None)
        tunnel.outbound._reading.open(stream)
        receive(tunnel, Frame.OPENED, OPENED(number)[1:])
        assert stream.number == number and stream.credit is not None
        stream.credit.given = given
    receive(tunnel, Frame.RESET, frames.refusal(Frame.RESET, 7, 0)[1:])  # type: ignore[arg-type]
    tunnel.outbound.rewind(0)
    tunnel.outbox.limits[5] = limits.WINDOW * 10
    client.begin()
    (plain,) = chosen(client)
    received, rows = frames.parse_ack(plain[1:])
    assert received == 5 and rows == [(3, limits.WINDOW + 1), (5, limits.WINDOW * 9), (5, limits.WINDOW * 10)]


def test_a_farewell_is_the_last_but_for_the_ack_before_it(client: Control, roles: Roles) -> None:
    roles.client.post_abort(Abort.OTHER, "bye")
    roles.client.outbox.post(ping=True)
    roles.client.outbox.received, roles.client.outbox.ack_due = 1, True
    assert chosen(client) == [frames.ack(1), frames.abort(Abort.OTHER, "bye")] and client.last


def test_a_farewell_whose_connection_broke_goes_out_on_the_next(client: Control, roles: Roles) -> None:
    roles.client.post_abort(Abort.OTHER, "")
    assert len(chosen(client)) == 1
    client.begin()
    assert chosen(client) == [frames.abort(Abort.OTHER)]


# -- refresh ----------------------------------------------------------------------------------------------------------


def test_numbered_frames_are_held_behind_refreshed_until_the_connection_ends(client: Control, roles: Roles) -> None:
    keys = roles.client.state.keys
    roles.client.outbox.refreshed = b"\x25rest", keys
    assert chosen(client) == [b"\x25rest"] and client.numbered_held and client.rekey is keys
    client.begin()
    assert not client.numbered_held and client.rekey is None


def test_one_refresh_at_a_time(roles: Roles) -> None:
    control = roles.server.outbound.control
    roles.server.outbox.refresh = True
    assert len(chosen(control)) == 1
    roles.server.outbox.refresh = True
    assert chosen(control) == []
    roles.server.refreshed()
    assert len(chosen(control)) == 1


# -- release ----------------------------------------------------------------------------------------------------------


def test_disconnect_leaves_behind_every_numbered_frame_and_nothing_behind_it(client: Control, roles: Roles) -> None:
    outbox, resend = roles.client.outbox, roles.client.outbound.resend
    resend.append(END(1))
    outbox.post(release=DISCONNECT)
    assert chosen(client) == []
    resend.sealed()
    assert chosen(client) == [], "what is under way may be lost, and behind DISCONNECT nothing is resumed"
    resend.acknowledge(resend.sent)
    assert chosen(client) == [DISCONNECT] and client.released
    outbox.post(ping=True, pong=b"\x22pong")
    outbox.received, outbox.limits[1] = 9, 9
    assert chosen(client) == []
    outbox.post(farewell=b"\x32done")
    assert chosen(client) == [b"\x32done"] and client.last


def test_disconnect_waits_for_switch(client: Control, roles: Roles) -> None:
    roles.client.outbox.refreshed = b"\x25rest", roles.client.state.keys
    roles.client.outbox.post(release=DISCONNECT)
    assert chosen(client) == [b"\x25rest"]
    client.numbered_held = False
    assert chosen(client) == [DISCONNECT]


@pytest.mark.parametrize("opened", [True, False])
def test_a_stream_that_comes_at_the_same_moment_goes_first(opened: bool, client: Control, roles: Roles) -> None:
    tunnel = roles.client
    tunnel.outbox.open(Stream(Target(Kind.TCP, "host", 7), None))
    tunnel.disconnect()
    if opened:
        tunnel.outbound._reading._watch = lambda _: None  # type: ignore[method-assign]
        tunnel.outbound._take_mail()
        tunnel.outbound.resend.sealed()
    assert chosen(client) == [] and not client.released
    if opened:
        receive(tunnel, Frame.REFUSED, REFUSED(1)[1:])
        tunnel.outbox.waiter.clear()
        tunnel.outbound._take_mail()
        tunnel.inbound._take_mail()
        assert tunnel.outbox.waiter.pending, "outbound is told that DISCONNECT may leave"
        tunnel.outbound.resend.acknowledge(tunnel.outbound.resend.sent)
        assert chosen(client) == [DISCONNECT]


def test_a_stream_that_comes_behind_disconnect_stays_for_another_session(client: Control, roles: Roles) -> None:
    tunnel: Tunnel = roles.client
    roles.client.disconnect()
    assert chosen(client) == [DISCONNECT]
    tunnel.outbox.open(Stream(Target(Kind.TCP, "host", 7), None))
    tunnel.outbound._take_mail()
    assert len(tunnel.outbox.opening) == 1 and not tunnel.outbound.resend.waits


def test_a_server_holds_its_numbered_frames_behind_disconnect(roles: Roles) -> None:
    control = roles.server.outbound.control
    receive(roles.server, Frame.OPEN, OPEN(1, port=0)[1:])
    receive(roles.server, Frame.DISCONNECT)
    assert [plain[0] for plain in chosen(control)] == [Frame.DISCONNECT_ACK] and control.numbered_held
