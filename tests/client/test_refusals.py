"""refusals: what people read when a server does not open a stream, for each code."""

from __future__ import annotations

import pytest

from nitrosocks_lib.client.refusals import listening, refusal
from nitrosocks_lib.facts.errors import NetworkError, NotAuthorised
from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.listening import ListenRules

TARGET = Target(Kind.TCP, "db.example", 5432)
PATH = Target(Kind.UNIX, "/run/db.sock", 0)
CANNOT = "db.example:5432: the server cannot open it: "
SAMPLES = [
    (Reply.GENERAL, "db.example:5432: cannot be reached", CANNOT + "cannot be reached", ""),
    (
        Reply.NOT_PERMITTED,
        "db.example:5432 is not permitted for this client",
        "",
        "nitrosocks permit NAME db.example:5432",
    ),
    (Reply.NOT_PERMITTED, "not today", "db.example:5432: not today", "ask the operator"),
    (Reply.CONNECTION_REFUSED, "x", "db.example:5432: the target refused the connection", "the server did reach it"),
    (
        Reply.HOST_UNREACHABLE,
        "cannot find db.example: no",
        "db.example:5432: the server cannot find db.example: no",
        "looks names up",
    ),
    (Reply.EXPIRED, "db.example:5432: no answer in time", CANNOT + "no answer in time", "check the address"),
    (99, "a word of tomorrow", CANNOT + "a word of tomorrow", ""),
]


@pytest.mark.parametrize(("code", "reason", "told", "hint"), SAMPLES)
def test_each_code(code: int, reason: str, told: str, hint: str) -> None:
    error = refusal(TARGET, code, reason)
    assert str(error) == (told or reason) and hint in error.hint and bool(hint) == bool(error.hint)
    assert type(error) is (NotAuthorised if code == Reply.NOT_PERMITTED else NetworkError)


@pytest.mark.parametrize(
    ("code", "reason", "told", "hint"),
    [
        (Reply.HOST_UNREACHABLE, "no such socket", "the server cannot open it: no such socket", "check the path"),
        (Reply.CONNECTION_REFUSED, "connection refused", "the target refused the connection", "the service still run"),
        (Reply.GENERAL, "permission denied", "the server cannot open it: permission denied", ""),
    ],
)
def test_a_unix_socket_has_neither_a_name_nor_a_port(code: int, reason: str, told: str, hint: str) -> None:
    error = refusal(PATH, code, f"/run/db.sock: {reason}")
    assert str(error) == f"/run/db.sock: {told}" and hint in error.hint and bool(hint) == bool(error.hint)
    assert "name" not in error.hint and "port" not in error.hint


@pytest.mark.parametrize(
    ("places", "rules"),
    [
        ([("127.0.0.1", port) for port in range(8000, 8011)], ["127.0.0.1:8000-8010"]),
        ([("::1", 8000), ("::1", 8001), ("", 8002), ("", 8004)], ["[::1]:8000-8001", "*:8002", "*:8004"]),
        ([("", 0), ("", 1), ("", 0)], ["*:*", "*:1", "*:*"]),
        ([("/run/a", 0), ("/run/b", 0)], ["/run/a", "/run/b"]),
    ],
)
def test_one_command_permits_all_that_a_client_asked_for(places: list[tuple[str, int]], rules: list[str]) -> None:
    kinds = {True: Kind.UNIX, False: Kind.TCP}
    hint = listening(Target(kinds[host.startswith("/")], host, port) for host, port in places)
    command, *given = hint.split(" --listen ")
    assert command == "the operator permits it: nitrosocks permit NAME" and given == [f"'{rule}'" for rule in rules]
    for rule in rules:
        ListenRules.parse([rule])
