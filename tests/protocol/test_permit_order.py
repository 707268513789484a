"""The first rule that matches decides; without rules that forbid, their order is nothing, as it always was."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.permit import Rules

HOSTS = [
    "*",
    "a.example",
    "*.example",
    "*.a.example",
    "10.0.0.0/8",
    "10.1.2.3",
    "127.0.0.1",
    "0.0.0.0/0",
    "[::/0]",
    "[::1]",
]
NAMES = ["a.example", "b.a.example", "example", "A.EXAMPLE.", "10.1.2.3", "x.test", ""]
PORTS = ["*", "80", "1-100", "443"]
plain = st.builds("{}{}:{}".format, st.sampled_from(["", "udp:"]), st.sampled_from(HOSTS), st.sampled_from(PORTS))
addresses = st.one_of(
    st.sampled_from(
        ["10.1.2.3", "10.9.9.9", "127.0.0.1", "::1", "8.8.8.8", "::ffff:10.1.2.3", "64:ff9b:1:a00:0:100:808:808"]
    ),
    st.integers(0, 2**32 - 1).map(lambda number: str(IPv4Address(number))),
    st.integers(0, 2**128 - 1).map(lambda number: str(IPv6Address(number))),
)
targets = st.tuples(
    st.sampled_from(NAMES), addresses, st.sampled_from([22, 80, 443]), st.sampled_from([Kind.TCP, Kind.UDP])
)


def this(address: IPv4Address | IPv6Address) -> bool:
    return str(address) == "10.9.9.9"


@given(st.lists(plain, max_size=6), targets)
def test_without_rules_that_forbid_any_rule_is_enough(rules: list[str], target: tuple[str, str, int, Kind]) -> None:
    enough = any(Rules.parse([rule]).permits(*target, this) for rule in rules)
    for order in (rules, rules[::-1]):
        assert Rules.parse(order).permits(*target, this) is enough


@given(st.lists(st.builds("{}{}".format, st.sampled_from(["", "!"]), plain), max_size=6), targets)
def test_the_first_that_matches_decides(rules: list[str], target: tuple[str, str, int, Kind]) -> None:
    """And what nothing permits is not looked up for nothing, nor is anything that may be permitted left out."""
    each = [(rule, Rules.parse([rule]).deciding(*target, this)) for rule in rules]
    first = next((rule for rule, decided in each if decided is not None), "!")
    parsed = Rules.parse(rules)
    assert parsed.permits(*target, this) is not first.startswith("!")
    name, _, port, kind = target
    assert parsed.may_permit(name, port, kind) or not parsed.permits(*target, this)


@given(st.lists(plain, max_size=5), st.integers(0, 5), plain, targets)
def test_a_rule_that_forbids_never_lets_more_through(
    rules: list[str], at: int, rule: str, target: tuple[str, str, int, Kind]
) -> None:
    fewer = Rules.parse([*rules[:at], f"!{rule}", *rules[at:]])
    assert Rules.parse(rules).permits(*target, this) or not fewer.permits(*target, this)
    if Rules.parse([rule]).permits(*target, this):  # all that it would permit it forbids, if it comes first
        assert not Rules.parse([f"!{rule}", *rules]).permits(*target, this)


@pytest.mark.parametrize(
    ("rules", "asked", "possible"),
    [
        (["!a.example:*", "*:80"], "a.example", False), (["*:80", "!a.example:*"], "a.example", True),
        (["!10.0.0.0/8:*", "*:80"], "a.example", True), (["!*:*", "*:80"], "a.example", False),
        (["!*:443", "*:80"], "a.example", True), (["!*.example:80", "*:80"], "example", True),
        (["!*.example:80", "*:80"], "a.b.example", False), (["*.example:80"], "a.example", True),
        (["*.example:80"], "example", False), (["*.example:80"], "aexample", False), (["!a.example:80"], "b", False),
    ],
)  # fmt: skip
def test_what_need_not_be_looked_up(rules: list[str], asked: str, possible: bool) -> None:
    assert Rules.parse(rules).may_permit(asked, 80, Kind.TCP) is possible


@pytest.mark.parametrize(
    ("rules", "asked", "resolved", "permitted"),
    [
        (["/run/app/*.sock"], "/run/app/a.sock", "/run/app/a.sock", True),
        (["/run/app/*.sock"], "/run/app/a.sock", "/run/docker.sock", False),
        (["/run/app/*.sock"], "/tmp/x", "/run/app/a.sock", True),
        (["/run/app/*.sock"], "/run/app/b/a.sock", "/run/app/b/a.sock", False),
        (["/run/app/*"], "/run/app/../x", "/run/x", False), (["/run/*/s"], "/run/a/s", "/run/a/s", True),
        (["/run/link"], "/run/link", "/srv/x", True), (["/run/link"], "/run/other", "/srv/x", False),
        (["!/run/app/x.sock", "/run/app/*"], "/run/app/x.sock", "/run/app/x.sock", False),
        (["!/run/app/x.sock", "/run/app/*"], "/run/app/y", "/run/app/x.sock", False),
        (["!/run/app/x*", "/run/app/*"], "/run/app/xy", "/run/app/y", False),
        (["/run/app/*", "!/run/app/x.sock"], "/run/app/x.sock", "/run/app/x.sock", True),
        (["!/run/app/x", "*:*"], "/run/app/y", "/run/app/y", False), (["!*:*", "/run/y"], "/run/y", "/run/y", True),
    ],
)  # fmt: skip
def test_paths(rules: list[str], asked: str, resolved: str, permitted: bool) -> None:
    assert Rules.parse(rules).permits_path(asked, resolved) is permitted


def test_the_rule_that_decides_is_told_with_its_group() -> None:
    rules = Rules.parse(["@web", "*:80"], {"web": ["!a.example:80"]})
    decided = rules.deciding("a.example", "8.8.8.8", 80, Kind.TCP)
    assert decided is not None and (decided.text, decided.group, decided.permits) == ("!a.example:80", "@web", False)
    assert rules.deciding("a.example", "8.8.8.8", 81, Kind.TCP) is None
    assert rules.certain("a.example", 80, Kind.TCP) == decided
