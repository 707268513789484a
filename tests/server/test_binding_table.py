"""Where a client may listen: a table of places against rules, and what is bound there."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from loopback import unused_port

from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.net.paths import Named
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.listening import ListenRules, Places
from nitrosocks_lib.server.binding import bound, permitted
from nitrosocks_lib.session.dialling import Unreached

DENIED, NO_ADDRESS = Reply.NOT_PERMITTED, Reply.ADDRESS_TYPE

# A host and a port, the rules, and at which hosts and ports the server may listen for it, or why not. A host of "" is
# all interfaces, a port of 0 any free one.
TABLE: list[tuple[str, int, str, tuple[str, str] | Reply]] = [
    ("127.0.0.1", 8080, "", DENIED),
    ("127.0.0.1", 8080, "127.0.0.1:8080", ("127.0.0.1", "8080")),
    ("127.0.0.1", 8081, "127.0.0.1:8080", DENIED),
    ("127.0.0.1", 8000, "127.0.0.1:8000-8100", ("127.0.0.1", "8000")),
    ("127.0.0.1", 8100, "127.0.0.1:8000-8100", ("127.0.0.1", "8100")),
    ("127.0.0.1", 7999, "127.0.0.1:8000-8100", DENIED),
    ("127.0.0.1", 8101, "127.0.0.1:8000-8100", DENIED),
    ("127.0.0.1", 0, "127.0.0.1:8000-8002", ("127.0.0.1", "8000 8001 8002")),
    ("127.0.0.1", 0, "127.0.0.1:*", ("127.0.0.1", "0")),
    ("127.0.0.1", 0, "10.0.0.1:*", DENIED),
    ("127.0.0.1", 1024, "127.0.0.1:*", ("127.0.0.1", "1024")),
    ("127.0.0.1", 1023, "127.0.0.1:*", DENIED),
    ("127.0.0.1", 80, "127.0.0.0/8:* *:*", DENIED),
    ("127.0.0.1", 80, "127.0.0.1:80", ("127.0.0.1", "80")),
    ("127.0.0.1", 80, "127.0.0.1:1-65535", ("127.0.0.1", "80")),
    ("127.0.0.2", 8080, "127.0.0.1:*", DENIED),
    ("127.0.0.2", 8080, "127.0.0.0/8:*", ("127.0.0.2", "8080")),
    ("::ffff:127.0.0.2", 8080, "127.0.0.0/8:*", ("127.0.0.2", "8080")),
    ("::ffff:127.0.0.2", 8080, "[::/0]:*", DENIED),
    ("::1", 8080, "127.0.0.1:* 0.0.0.0/0:*", DENIED),
    ("::1", 8080, "[::1]:*", ("::1", "8080")),
    ("0:0:0:0:0:0:0:1", 8080, "[::1]:*", ("::1", "8080")),
    ("::1", 8080, "*:8080", ("::1", "8080")),
    ("localhost", 8080, "localhost:8080", ("127.0.0.1 ::1", "8080")),
    ("localhost", 8080, "127.0.0.0/8:8080", ("127.0.0.1", "8080")),
    ("localhost", 8080, "*:8080", ("127.0.0.1 ::1", "8080")),
    ("localhost", 80, "localhost:*", DENIED),
    ("LOCALHOST", 8080, "localhost:8080 *:8080", NO_ADDRESS),
    ("name.example", 8080, "*:8080", NO_ADDRESS),
    ("127.1", 8080, "127.0.0.1:8080", NO_ADDRESS),
    ("2130706433", 8080, "127.0.0.1:8080", NO_ADDRESS),
    ("0177.0.0.1", 8080, "127.0.0.1:8080", NO_ADDRESS),
    ("127.0.0.1\0", 8080, "127.0.0.1:8080", NO_ADDRESS),
    ("", 8080, "0.0.0.0/0:* [::/0]:* 127.0.0.1:* localhost:*", DENIED),
    *((form, 8080, "0.0.0.0/0:* [::/0]:*", DENIED) for form in ("*", "0.0.0.0", "::", "0::0", "::ffff:0:0", "::%1")),
    ("", 8080, "*:8080", ("", "8080")),
    ("*", 8080, "0.0.0.0:8080", ("", "8080")),
    ("0.0.0.0", 8080, "[::]:8080", ("", "8080")),
    ("0::0", 8080, "0.0.0.0/32:8080", ("", "8080")),
    ("", 80, "*:*", DENIED),
    ("", 80, "*:80", ("", "80")),
    ("192.0.2.9", 8080, "*:8080", ("192.0.2.9", "8080")),
    ("10.1.2.3", 8080, "10.1.2.0/24:8080", ("10.1.2.3", "8080")),
    ("10.1.3.3", 8080, "10.1.2.0/24:8080", DENIED),
    ("127.0.0.1", 8080, "/run/app/* 127.0.0.1:8081 127.0.0.1:8080", ("127.0.0.1", "8080")),
    ("/run/app/x", 8080, "/run/app/*", NO_ADDRESS),
]


@pytest.mark.parametrize(("host", "port", "rules", "where"), TABLE)
def test_places(host: str, port: int, rules: str, where: tuple[str, str] | Reply) -> None:
    """Each kind by its own rules alone."""
    streams = ListenRules.parse(rules.split())
    datagrams = ListenRules.parse(f"udp:{rule}" for rule in rules.split() if rule[0] != "/")
    for kind, listen, other in (Kind.TCP, streams, datagrams), (Kind.UDP, datagrams, streams):
        found = permitted(Target(kind, host, port), listen)
        if isinstance(where, tuple):
            assert isinstance(found, Places)
            assert found.hosts == tuple(where[0].split() or [""]) and [*found.ports] == [*map(int, where[1].split())]
        else:
            assert isinstance(found, Unreached) and found.reply == where
        assert isinstance(permitted(Target(kind, host, port), other), Unreached)
        assert host.startswith("/") or isinstance(permitted(Target(Kind.UNIX, host, 0), listen), Unreached)


@pytest.mark.parametrize(
    ("asked", "rule", "at"),
    [
        ("127.0.0.1", "127.0.0.1", {"127.0.0.1"}), ("::ffff:127.0.0.1", "127.0.0.0/8", {"127.0.0.1"}),
        ("localhost", "localhost", {"127.0.0.1", "::1"}), ("localhost", "[::1]", {"::1"}), ("::1", "*", {"::1"}),
    ],
)  # fmt: skip
def test_what_is_bound_is_no_more_than_what_is_permitted(asked: str, rule: str, at: set[str]) -> None:
    port = unused_port()
    places = permitted(Target(Kind.TCP, asked, port), ListenRules.parse([f"{rule}:{port}"]))
    assert isinstance(places, Places)
    with ExitStack() as stack:
        socks = [each for each in bound(places, Kind.TCP) if isinstance(each, socket.socket)]
        names = [stack.enter_context(sock).getsockname() for sock in socks]
    assert {name[0] for name in names} == at and {name[1] for name in names} == {port}


# As it is asked for, the rules, and the path that may be made; ~ is a directory with `app`, `secret`, and links: `way`
# to `app`, `app/out` to `secret`, `app/a.link` to `secret/s.sock`.
PATHS: list[tuple[str, str, str]] = [
    ("~/app/a.sock", "~/app/*.sock", "~/app/a.sock"),
    ("~/app/a.sock", "~/app/a.sock", "~/app/a.sock"),
    ("~/app/a.sock", "~/app/?.sock", "~/app/a.sock"),
    ("~/app/a.sock", "~/*", ""),
    ("~/app/a.sock", "~/app", ""),
    ("~/app/a.sock", "127.0.0.1:*", ""),
    ("~/app/a.sock", "", ""),
    ("~/app/A.SOCK", "~/app/*.sock", ""),
    ("~/app//a.sock", "~/app/*.sock", "~/app/a.sock"),
    ("~/app/../app/a.sock", "~/app/*.sock", "~/app/a.sock"),
    ("~/app/../secret/a.sock", "~/app/* ~/app/*/secret/*", ""),
    ("~/way/a.sock", "~/app/*.sock", "~/app/a.sock"),
    ("~/way/a.sock", "~/way/*.sock", ""),
    ("~/app/out/a.sock", "~/app/* ~/app/*/*", ""),
    ("~/app/out/a.sock", "~/secret/a.sock", "~/secret/a.sock"),
    ("~/app/a.link", "~/app/*", "~/app/a.link"),
    ("~/none/a.sock", "~/none/*", "~/none/a.sock"),
    ("~/app/", "~/app/*", ""),
    ("~/app/.", "~/app/*", ""),
    ("~/app/..", "~/app/*", ""),
    ("~/app/a\0.sock", "~/app/*", ""),
    ("~/ap\0p/a.sock", "~/app/*", ""),
    ("app/a.sock", "~/app/*", ""),
    ("a.sock", "~/app/* /*", ""),
    ("\0abstract", "~/app/* /*", ""),
    ("", "~/app/* /*", ""),
]


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("listen").resolve()
    for folder in "app", "secret":
        (top / folder).mkdir()
    for link, leads in ("way", "app"), ("app/out", "secret"), ("app/a.link", "secret/s.sock"):
        (top / link).symlink_to(top / leads)
    return top


@pytest.mark.parametrize(("asked", "rules", "path"), PATHS)
def test_paths(asked: str, rules: str, path: str, top: Path) -> None:
    asked, rules, path = (each.replace("~", str(top)) for each in (asked, rules, path))
    found = permitted(Target(Kind.UNIX, asked, 0), ListenRules.parse(rules.split()))
    assert found == path if path else isinstance(found, Unreached) and found.reply == DENIED


def test_a_link_is_not_followed_to_make_a_socket(top: Path) -> None:
    """What is made is at the path that was judged, or nothing is."""
    with pytest.raises(Exception, match="Address already in use"):
        bound(str(top / "app" / "a.link"), Kind.UNIX)
    assert not os.path.lexists(top / "secret" / "s.sock")
    (named,) = bound(str(top / "app" / "a.sock"), Kind.UNIX)
    assert isinstance(named, Named) and (top / "app" / "a.sock").is_socket()
    named.sock.close()
    named.remove()
