"""No address that is forbidden is ever connected to, whatever a name resolves to: real listeners say who came."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from dialling import Session
from hypothesis import given, settings
from hypothesis import strategies as st

from nitrosocks_lib.session.dialling import Reached

NAME = "name.example"
OCTETS = range(1, 8)  # of 127.0.0.x
BLOCKS = {
    **{f"127.0.0.{octet}": {octet} for octet in OCTETS},
    "127.0.0.0/30": {1, 2, 3}, "127.0.0.4/30": {4, 5, 6, 7}, "127.0.0.0/8": {*OCTETS}, "10.0.0.0/8": set[int](),
}  # fmt: skip
Listeners = dict[int, socket.socket]


@pytest.fixture(scope="module")
def listeners() -> Iterator[Listeners]:
    """One at each address, all at the same port."""
    with ExitStack() as stack:
        made = {1: stack.enter_context(socket.create_server(("127.0.0.1", 0)))}
        for octet in OCTETS[1:]:
            made[octet] = stack.enter_context(socket.create_server((f"127.0.0.{octet}", made[1].getsockname()[1])))
        for each in made.values():
            each.setblocking(False)
        yield made


def came(listeners: Listeners) -> set[int]:
    """At which addresses somebody connected since the last call."""
    found = set[int]()
    for octet, listener in listeners.items():
        try:
            while True:
                listener.accept()[0].close()
                found.add(octet)
        except BlockingIOError:
            continue
    return found


def permitted(rules: list[tuple[bool, str]], octet: int) -> bool:
    """The first rule that matches decides; names and stars forbid any address, and permit none of loopback."""
    for forbids, host in rules:
        if octet in BLOCKS[host] if host in BLOCKS else forbids:
            return not forbids
    return False


hosts = st.sampled_from([*BLOCKS, "*", NAME, "*.example"])


@settings(max_examples=150, deadline=None)
@given(
    rules=st.lists(st.tuples(st.booleans(), hosts), min_size=1, max_size=5),
    octets=st.lists(st.sampled_from(OCTETS), min_size=1, max_size=4, unique=True),
)
def test_only_what_is_permitted_is_connected_to(
    listeners: Listeners, rules: list[tuple[bool, str]], octets: list[int]
) -> None:
    port = listeners[1].getsockname()[1]
    assert came(listeners) == set()
    with Session(*(f"{'!' * forbids}{host}:{port}" for forbids, host in rules)) as session:
        session.names.places[NAME] = [(socket.AF_INET, (f"127.0.0.{octet}", port)) for octet in octets]
        session.names.let_all_go()
        session.tcp(1, port, NAME)
        session.wait(1)
        reached = session.decided[1]
    allowed = {octet for octet in octets if permitted(rules, octet)}
    connected = came(listeners)
    assert connected <= allowed and isinstance(reached, Reached) is bool(allowed) is bool(connected)
