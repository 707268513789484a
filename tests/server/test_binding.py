"""Where a client may listen, and what is bound there."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from loopback import unused_port

from nitrosocks_lib.facts.errors import CannotCreate
from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.net.paths import Named
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.listening import ListenRules, Places
from nitrosocks_lib.server.binding import bound, permitted
from nitrosocks_lib.session.dialling import Unreached


def ports_of(places: Places, stack: ExitStack) -> list[int]:
    made = [each.sock if isinstance(each, Named) else each for each in bound(places, Kind.TCP)]
    for sock in made:
        stack.enter_context(sock)
    return [sock.getsockname()[1] for sock in made]


def test_both_loopback_addresses_have_one_port() -> None:
    with ExitStack() as stack:
        for _ in range(50):
            ports = ports_of(Places(("127.0.0.1", "::1"), (0,)), stack)
            assert len(ports) == 2 and len(set(ports)) == 1


@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
def test_the_first_port_that_is_free_at_all_of_them(taken: str) -> None:
    port = unused_port()
    with ExitStack() as stack:
        family = socket.AF_INET6 if ":" in taken else socket.AF_INET
        stack.enter_context(socket.create_server((taken, port), family=family))
        places = Places(("127.0.0.1", "::1"), range(port, port + 20))
        ports = ports_of(places, stack)
        assert len(ports) == 2 and len(set(ports)) == 1 and ports[0] > port
        with pytest.raises(CannotCreate, match="Address already in use"):
            bound(Places(("127.0.0.1", "::1"), (port,)), Kind.TCP)


def test_an_address_that_this_machine_lacks() -> None:
    with pytest.raises(CannotCreate, match="Cannot assign"):
        bound(Places(("192.0.2.1",), range(1024, 65_536)), Kind.TCP)


def test_a_path(tmp_path: Path) -> None:
    (named,) = bound(str(tmp_path / "a.sock"), Kind.UNIX)
    assert isinstance(named, Named) and (tmp_path / "a.sock").is_socket()
    named.sock.close()
    named.remove()


@pytest.mark.parametrize("asked", ["/a.sock", "//a.sock", "/tmp/../a.sock"])
def test_a_path_in_the_highest_directory(asked: str) -> None:
    assert permitted(Target(Kind.UNIX, asked, 0), ListenRules.parse(["/*.sock"])) == "/a.sock"


@pytest.mark.parametrize(
    ("where", "reply"),
    [
        (Target(Kind.TCP, "127.0.0.2", 8080), Reply.NOT_PERMITTED),
        (Target(Kind.TCP, "", 8080), Reply.NOT_PERMITTED),
        (Target(Kind.TCP, "name.example", 8080), Reply.ADDRESS_TYPE),
        (Target(Kind.UDP, "127.0.0.1", 8080), Reply.NOT_PERMITTED),
        (Target(Kind.UNIX, "", 0), Reply.NOT_PERMITTED),
        (Target(Kind.UNIX, "a.sock", 0), Reply.NOT_PERMITTED),
        (Target(Kind.UNIX, "/run/app/", 0), Reply.NOT_PERMITTED),
        *((Target(Kind.UNIX, f"/run/app/{name}", 0), Reply.NOT_PERMITTED) for name in (".", "..", "a\0b", "\0/a")),
    ],
)
def test_what_is_refused(where: Target, reply: Reply) -> None:
    why = permitted(where, ListenRules.parse(["127.0.0.1:8080", "/run/app/*"]))
    assert isinstance(why, Unreached) and why.reply == reply
