"""Where the server may listen for a client: nothing without a rule, all interfaces and low ports only where named."""

from __future__ import annotations

import pytest
from wrongly import wrong

from nitrosocks_lib.facts.errors import UsageError
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.listening import EVERYWHERE, LOOPBACKS, ListenRules, Places

EVERYWHERES = ["", "*", "0.0.0.0", "::", "0::0", "0:0:0:0:0:0:0:0", "::%1", "::0.0.0.0", "::ffff:0.0.0.0", "::ffff:0:0"]


def places(host: str, port: int, *rules: str) -> Places | None:
    return ListenRules.parse(rules).places(Target(Kind.TCP, host, port))


@pytest.mark.parametrize(
    ("host", "port", "rules", "hosts"),
    [
        ("127.0.0.1", 8000, ["127.0.0.1:8000"], ("127.0.0.1",)),
        ("127.0.0.1", 8001, ["127.0.0.1:8000-8100"], ("127.0.0.1",)),
        ("localhost", 8000, ["localhost:8000"], LOOPBACKS),
        ("localhost", 8000, ["127.0.0.1:8000"], ("127.0.0.1",)),
        ("localhost", 8000, ["127.0.0.1:8000", "[::1]:8000"], LOOPBACKS),
        ("localhost", 8000, ["127.0.0.1:8000", "[::1]:9000"], ("127.0.0.1",)),
        ("10.1.2.3", 80, ["10.0.0.0/8:80"], ("10.1.2.3",)),
        ("::1", 8000, ["[::1]:*"], ("::1",)),
        ("", 8080, ["*:8080"], (EVERYWHERE,)),
        ("*", 8080, ["0.0.0.0:8080"], (EVERYWHERE,)),
        ("::", 8080, ["[::]:8080"], (EVERYWHERE,)),
        *((form, 8080, ["[::0]:8080"], (EVERYWHERE,)) for form in EVERYWHERES),
        ("::ffff:127.0.0.1", 8000, ["127.0.0.1:8000"], ("127.0.0.1",)),
        ("127.0.0.1", 8080, ["*:8080"], ("127.0.0.1",)),
        ("127.0.0.1", 80, ["127.0.0.1:80"], ("127.0.0.1",)),
        ("127.0.0.1", 80, ["127.0.0.1:1-1023"], ("127.0.0.1",)),
    ],
)
def test_what_is_permitted(host: str, port: int, rules: list[str], hosts: tuple[str, ...]) -> None:
    assert places(host, port, *rules) == Places(hosts, (port,))


@pytest.mark.parametrize(
    ("host", "port", "rules"),
    [
        ("127.0.0.1", 8000, []),
        ("127.0.0.1", 8001, ["127.0.0.1:8000"]),
        ("127.0.0.2", 8000, ["127.0.0.1:8000"]),
        ("", 8000, ["127.0.0.1:*", "[::1]:*", "10.0.0.0/8:*", "0.0.0.0/0:*"]),
        ("0.0.0.0", 8000, ["127.0.0.1:*", "0.0.0.0/0:*"]),
        ("127.0.0.1", 80, ["127.0.0.1:*"]),
        ("127.0.0.1", 1023, ["*:*"]),
        ("127.0.0.1", 8000, ["/run/x"]),
        ("::ffff:127.0.0.1", 8000, ["[::/0]:8000", "[::1]:8000"]),
        *((form, 8000, ["0.0.0.0/0:*", "[::/0]:*"]) for form in EVERYWHERES),
    ],
)
def test_what_is_not(host: str, port: int, rules: list[str]) -> None:
    assert places(host, port, *rules) is None


def test_any_free_port_is_one_of_the_rule() -> None:
    assert places("127.0.0.1", 0, "127.0.0.1:8000-8010") == Places(("127.0.0.1",), range(8000, 8011))
    assert places("127.0.0.1", 0, "127.0.0.1:*") == Places(("127.0.0.1",), (0,))
    assert places("127.0.0.1", 0, "10.0.0.1:*") is None


@pytest.mark.parametrize("host", ["name.example", "127.1", "0x7f.1", "2130706433", "localhost."])
def test_names_are_no_places(host: str) -> None:
    with pytest.raises(ValueError):
        places(host, 8000, "*:*")


@pytest.mark.parametrize(
    ("path", "rule", "permitted"),
    [
        ("/run/ns/a.sock", "/run/ns/*.sock", True),
        ("/run/ns/a.sock", "/run/ns/a.sock", True),
        ("/run/ns/a.sock", "/run/*/a.sock", True),
        ("/run/ns/deep/a.sock", "/run/ns/*.sock", False),
        ("/run/ns/a.sock.x", "/run/ns/*.sock", False),
        ("/run/NS/a.sock", "/run/ns/*.sock", False),
        ("/etc/passwd", "/run/ns/*", False),
        ("/run/ns/a.sock", "127.0.0.1:8000", False),
    ],
)
def test_paths(path: str, rule: str, permitted: bool) -> None:
    assert ListenRules.parse([rule]).permits_path(path) is permitted


@pytest.mark.parametrize(
    "rule",
    ["", "8000", "127.0.0.1", "name.example:80", "127.0.0.1:0", "127.0.0.1:9-8", "127.0.0.1:x", "::1:80",
     "[127.0.0.1]:80", "10.0.0.1/8:80", "10.0.0.0/33:80", "/run/../etc/x", "/run/\n", "[::ffff:0:0]:80",
     "[::ffff:10.0.0.0/104]:80", "127.0.0.1:65536"],
)  # fmt: skip
def test_rules_that_are_invalid(rule: str) -> None:
    with pytest.raises(UsageError) as failure:
        ListenRules.parse([rule])
    assert "\n" not in f"{failure.value}{failure.value.hint}"


def test_rules_are_added_and_taken_away_by_what_they_mean() -> None:
    rules = ListenRules.parse(["127.0.0.1:80", "[::1]:*", "/run/a/*"])
    now, there = rules.plus(["127.0.0.1/32:80-80", "/run/a/*", "*:8080", "0.0.0.0:8080"])
    assert there == ["127.0.0.1/32:80-80", "/run/a/*", "0.0.0.0:8080"]
    assert now.texts == ("127.0.0.1:80", "[::1]:*", "/run/a/*", "*:8080")
    assert now.like("[::]:8080") == "*:8080" and now.like("*:8081") is None
    assert now.without(["*:8080", "/run/a/*"]).texts == ("127.0.0.1:80", "[::1]:*")
    with pytest.raises(UsageError, match="neither an address nor a block"):
        rules.plus(["name.example:80"])


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("!127.0.0.1:80", "no ! in rules to listen; where no rule permits it, the server does not listen"),
        ("@web", "no @ in rules to listen; write the rules themselves"),
        ("a.example:80", "'a.example' is neither an address nor a block; rules to listen are like "),
        ("127.0.0.1:http", "'http' is not a port; a port is a number from 1 to 65535, a range such as "),
        ("127.0.0.1:9-8", "the range 9-8 is empty; write 8-9"),
    ],
)
def test_what_is_wrong_is_told(rule: str, told: str) -> None:
    assert wrong(lambda: ListenRules.parse([rule])).startswith(f"rule '{rule}': {told}")
