"""Rules beside each other: which mean the same, which permit what another one does, and which permit nothing."""

import pytest

from nitrosocks_lib.facts.errors import UsageError
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.permit import Rules, futile

HAS = Rules.parse(["Db.example:5432", "*:443", "10.0.0.0/8:20-30", "[2001:db8::/32]:1-9", "udp:a:53", "/run/x"])


@pytest.mark.parametrize(
    ("rule", "own"),
    [
        ("db.EXAMPLE.:5432", "Db.example:5432"), ("*:443-443", "*:443"),
        ("[2001:DB8:0::/32]:1-9", "[2001:db8::/32]:1-9"),
        ("/run/x", "/run/x"), ("/run", None), ("a:53", None), ("*:44", None), ("10.0.0.0/8:20-31", None),
    ],
)  # fmt: skip
def test_a_rule_that_means_the_same(rule: str, own: str | None) -> None:
    assert HAS.like(rule) == own


@pytest.mark.parametrize(
    ("rule", "covering"),
    [
        ("a.example:443", ["*:443"]), ("10.1.0.0/16:22-23", ["10.0.0.0/8:20-30"]), ("10.0.0.1:443", ["*:443"]),
        ("10.0.0.0/8:20-30", []), ("10.0.0.0/7:22", []), ("10.0.0.1:30-31", []), ("db.example:5432", []),
        ("x.example:22", ["10.0.0.0/8:20-30"]), ("*:22", []), ("[2001:db8::1]:1", ["[2001:db8::/32]:1-9"]),
        ("127.0.0.1:443", []), ("[::1]:443", []), ("0.0.0.0/0:443", []),
        ("udp:b:53", []), ("/run/x", []), ("!*:443", []), ("*.example:443", ["*:443"]),
    ],
)  # fmt: skip
def test_rules_that_permit_it_as_well(rule: str, covering: list[str]) -> None:
    assert HAS.covering(rule) == covering


def test_what_is_no_rule() -> None:
    for compare in (HAS.like, HAS.covering):
        with pytest.raises(UsageError):
            compare("x")


@pytest.mark.parametrize(
    ("rule", "better"),
    [("localhost:22", "127.0.0.1:22"), ("LocalHost.:*", "127.0.0.1:*"), ("a.localhost:1-2", "127.0.0.1:1-2"),
     ("udp:localhost:53", "udp:127.0.0.1:53"), ("localhost.localdomain:1", "127.0.0.1:1"), ("mylocalhost:1", None),
     ("127.0.0.1:22", None), ("[::1]:22", None), ("*:22", None), ("/localhost:1", None)],
)  # fmt: skip
def test_rules_that_permit_nothing(rule: str, better: str | None) -> None:
    assert list(futile([rule, "a.example:1"])) == ([(rule, better)] if better else [])


def test_rules_that_forbid_come_first_and_say_what_does_nothing() -> None:
    rules, there = HAS.plus(["!10.0.0.5:*", "!*.secret.example:443", "!10.0.0.5:*", "a:1"])
    assert rules.texts == ("!10.0.0.5:*", "!*.secret.example:443", *HAS.texts, "a:1") and there == ["!10.0.0.5:*"]
    more, _ = rules.plus(["a.secret.example:443", "10.0.0.5:22", "secret.example:443"])
    assert more.precluding("a.secret.example:443") == "!*.secret.example:443"
    assert more.precluding("10.0.0.5:22") == "!10.0.0.5:*"
    assert more.precluding("secret.example:443") is more.precluding("!10.0.0.5:*") is more.precluding("*:443") is None
    assert more.covering("a.secret.example:443") == [] and more.covering("secret.example:443") == ["*:443"]
    assert more.minus(["!10.0.0.5:*"]).precluding("10.0.0.5:22") is None


def test_groups_stand_in_the_place_of_their_rules() -> None:
    groups = {"web": ["!a.example:80", "*:80"], "ssh": ["10.0.0.0/8:22"]}
    rules = Rules.parse(["@web", "b.example:1", "@ssh", "@web"], groups)
    assert rules.grouped and not HAS.grouped and rules.texts == ("@web", "b.example:1", "@ssh", "@web")
    assert not rules.permits("a.example", "8.8.8.8", 80, Kind.TCP)
    assert rules.permits("c.example", "8.8.8.8", 80, Kind.TCP) and rules.permits("x", "10.1.1.1", 22, Kind.TCP)
    assert rules.covering("x.example:80") == ["@web"] and rules.precluding("a.example:80") == "@web"
    left = rules.minus(["@web"])
    assert left == Rules.parse(["b.example:1", "@ssh"], groups)
    assert rules.like("@ssh") == "@ssh" and rules.plus(["@ssh"], groups) == (rules, ["@ssh"])
    with pytest.raises(UsageError, match="rule '@none': there is no such group in _groups.toml") as caught:
        rules.plus(["@none"], groups)
    assert "@web, @ssh" in caught.value.hint
