"""A real client and a real server, and a box that ends their TLS and changes what is inside (docs/protocol.md, A1).

Offsets are those of the parts of protocol 3.3, without padding: what is flipped lies in front of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tampering import Change, Tamperer, flip, tampering
from world import BOUND, Opened, World, echo

from nitrosocks_lib.facts.errors import NitroSocksError
from nitrosocks_lib.server.entry import Entry

# where a bit is flipped: direction, and offset there
GREETING = {"the body": ("up", 1227), "the body's tag": ("up", 2486)}
CHALLENGE = {"the salt": ("down", 0), "cE": ("down", 40), "R1": ("down", 1218), "the time": ("down", 2442)}
RECOVERED = {"the salt": ("down", 0), "cE": ("down", 40), "the new key": ("down", 1218), "received": ("down", 2402)}
RESUME = {"the session id": ("up", 1227), "j": ("up", 1244), "received": ("up", 2479), "the signature": ("up", 3000)}


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        yield made


@pytest.fixture
def box(world: World) -> Tamperer:
    """It ends behind the pools that a test makes."""
    return world.enter_context(tampering(world.port))


@pytest.mark.parametrize(("way", "offset"), (GREETING | CHALLENGE).values(), ids=GREETING | CHALLENGE)
def test_a_changed_greeting_or_challenge(world: World, box: Tamperer, way: str, offset: int) -> None:
    box.changes[1, way] = flip(offset)
    dialler = world.dialler(box.port)
    with pytest.raises(NitroSocksError):
        dialler.greet()
    assert box.changed == 1 and list(world.registry.all()) == []
    greeting = dialler.greet()
    assert world.entry.tunnel.state.keys.root == greeting.greeted.keys.root
    greeting.link.close()


@pytest.mark.parametrize("message", ["RESPONSE", "SESSION"])
def test_a_changed_response_or_session(world: World, box: Tamperer, message: str) -> None:
    """The client never has a session. The server may, where it was SESSION: of this client, and nobody resumes it."""
    way = "up" if message == "RESPONSE" else "down"
    box.changes[1, way] = behind(way, box)
    dialler = world.dialler(box.port)
    with pytest.raises(NitroSocksError):
        dialler.greet()
    assert box.changed == 1
    assert message == "SESSION" or list(world.registry.all()) == []
    greeting = dialler.greet()
    roots = [entry.tunnel.state.keys.root for entry in world.registry.all()]
    assert greeting.greeted.keys.root in roots
    greeting.link.close()


def behind(way: str, box: Tamperer) -> Change:
    """Flips the first bit of a direction's second message: what comes when the other side has spoken meanwhile."""
    other = "down" if way == "up" else "up"
    spoken = 1 if way == "up" else 2
    heard = {"up": 0, "down": 0}

    def listen(at: int, plain: bytes) -> bytes:
        heard[other] += 1
        return plain

    def change(at: int, plain: bytes) -> bytes:
        if heard[other] >= spoken and not box.changed:
            return bytes([plain[0] ^ 1]) + plain[1:]
        return plain

    box.changes[1, other] = listen
    return change


@pytest.mark.parametrize(("way", "offset"), [*RESUME.values(), *RECOVERED.values()])
def test_a_changed_reconnection(world: World, box: Tamperer, way: str, offset: int) -> None:
    """The session goes on with the attempt behind it, and no byte is lost or doubled."""
    pool, port = world.pool(port=box.port), world.target(echo)
    opened = Opened(pool, port)
    asked(opened, b"before")
    entry: Entry = world.entry
    box.changes[2, way] = flip(offset)
    box.cut()
    asked(opened, b"behind")
    assert box.changed == 1 and box.seen["connections"] >= 3
    assert world.entry is entry and entry.attempt >= 2


def asked(opened: Opened, data: bytes) -> None:
    """The target echoes it, and nothing else."""
    opened.near.settimeout(BOUND)
    opened.near.sendall(data)
    got = b""
    while len(got) < len(data):
        got += opened.near.recv(100)
    assert got == data


# What is inside a session

CHANGES: dict[str, Change] = {
    "a bit of a length": lambda at, plain: bytes([plain[0] ^ 1]) + plain[1:],
    "a bit of a frame": lambda at, plain: plain[:5] + bytes([plain[5] ^ 1]) + plain[6:],
    "a bit of a tag": lambda at, plain: plain[:-1] + bytes([plain[-1] ^ 1]),
    "dropped": lambda at, plain: b"",
    "doubled": lambda at, plain: plain + plain,
    "cut short": lambda at, plain: plain[:-1],
    "a byte in front": lambda at, plain: b"x" + plain,
    "other bytes": lambda at, plain: bytes(len(plain)),
}


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_frames(world: World, box: Tamperer, way: str, change: Change) -> None:
    """The connection ends; the session and its stream go on with what was sent, each byte once."""
    pool, port = world.pool(port=box.port), world.target(echo)
    opened = Opened(pool, port)
    asked(opened, b"before")
    entry = world.entry
    armed = [change]
    box.changes[1, way] = lambda at, plain: armed.pop()(at, plain) if armed else plain
    for number in range(20):
        asked(opened, b"%d" % number)
    assert not armed and world.entry is entry
