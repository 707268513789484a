"""Permit rules: what they permit, and all the disguises of an address that they see through."""

import pytest

from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.permit import Rules

SPECIAL = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "239.255.255.255",
    "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "febf::1", "ff02::1", "ff0e::1",
]  # fmt: skip
ORDINARY = ["8.8.8.8", "10.0.0.1", "192.168.1.1", "100.64.0.1", "198.51.100.7", "1.0.0.0", "128.0.0.1", "169.253.0.1",
            "223.255.255.255", "2001:db8::1", "fd00::1", "fec0::1", "2a00:1450::1"]  # fmt: skip


def disguises(ipv4: str) -> list[str]:
    """The IPv6 forms of an IPv4 address."""
    a, b, c, d = (int(part) for part in ipv4.split("."))
    high, low = f"{a << 8 | b:x}", f"{c << 8 | d:x}"
    return [
        f"::ffff:{ipv4}", f"::ffff:{high}:{low}", f"::ffff:{ipv4}%eth0", f"::FFFF:{ipv4}", f"::ffff:0:{ipv4}",
        f"64:ff9b::{ipv4}", f"64:ff9b:1::{ipv4}", f"2002:{high}:{low}::1", f"2002:{high}:{low}::", f"::{ipv4}",
    ]  # fmt: skip


def permits(rules: list[str], address: str, port: int = 443, asked: str = "", kind: Kind = Kind.TCP) -> bool:
    return Rules.parse(rules).permits(asked or address, address, port, kind)


def test_without_a_rule_nothing_is_permitted() -> None:
    for address in SPECIAL + ORDINARY:
        assert not permits([], address)
    assert not Rules().permits("host", "10.0.0.1", 443, Kind.TCP)
    assert not Rules().permits_path("/run/x.sock", "/run/x.sock")


@pytest.mark.parametrize("address", ORDINARY)
def test_a_star_reaches_ordinary_addresses(address: str) -> None:
    assert permits(["*:443"], address)
    assert permits(["*:*"], address, asked="any.example")
    assert not permits(["*:444"], address)


@pytest.mark.parametrize("address", [*SPECIAL, *(form for a in SPECIAL if "." in a for form in disguises(a))])
def test_a_star_and_a_name_never_reach_special_addresses(address: str) -> None:
    assert not permits(["*:*"], address)
    assert not permits(["host.example:*", "*:443"], address, asked="host.example")


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:db8::1"])
def test_a_star_and_a_name_never_reach_what_is_this_machines(address: str) -> None:
    for form in disguises(address) if "." in address else [address]:
        for rule, permitted in (("*:*", False), ("host.example:*", False), (f"[{address}]:*", True)):
            rules = Rules.parse([rule.replace("[8.8.8.8]", "8.8.8.8")])
            assert rules.permits("host.example", form, 9, Kind.TCP, lambda each: str(each) == address) is permitted


@pytest.mark.parametrize("address", ["8.8.8.8", "10.0.0.1"])
def test_a_star_reaches_ordinary_addresses_in_any_form(address: str) -> None:
    for form in disguises(address):
        assert permits(["*:443"], form), form


@pytest.mark.parametrize("address", ["127.0.0.1", "255.255.255.255", "169.254.169.254", "224.0.0.1", "10.0.0.1"])
def test_an_address_rule_matches_every_form_of_its_address(address: str) -> None:
    for form in [address, *disguises(address)]:
        assert permits([f"{address}:443"], form, asked="whatever.example"), form
        assert permits([f"{address}/32:443"], form), form
        assert not permits([f"{address}:443"], form, port=444)
        assert not permits(["203.0.113.5:443"], form), form


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1"])
def test_a_rule_may_be_written_in_any_form(address: str) -> None:
    for form in (form.partition("%")[0] for form in disguises(address)):
        assert permits([f"[{form}]:443"], address), form
        assert permits([f"[{form}/128]:443"], address), form


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        ("127.0.0.0/8:*", "127.1.2.3", "128.0.0.1"),
        ("10.0.0.0/8:*", "10.255.255.255", "11.0.0.0"),
        ("169.254.0.0/16:*", "169.254.169.254", "169.255.0.0"),
        ("0.0.0.0/0:*", "127.0.0.1", "::1"),
        ("0.0.0.0/0:*", "203.0.113.1", "2001:db8::1"),
        ("[::/0]:*", "::1", "127.0.0.1"),
        ("[::/0]:*", "2001:db8::1", "::ffff:10.0.0.1"),
        ("[2001:db8::/32]:*", "2001:db8:ffff::1", "2001:db9::1"),
        ("[2000::/3]:*", "2a00::1", "2002:7f00:1::1"),
        ("[::1]:*", "::1", "::2"),
        ("[::1/128]:*", "::1", "0.0.0.1"),
        ("[fe80::1]:*", "fe80::1%eth1", "fe80::2%eth0"),
        ("[fe80::/10]:*", "fe80::2%3", "fec0::1"),
        ("[ff02::fb]:*", "ff02::fb", "ff02::fc"),
        ("192.0.2.7:*", "192.0.2.7", "192.0.2.8"),
    ],
)
def test_blocks(rule: str, inside: str, outside: str) -> None:
    assert permits([rule], inside, asked="some.name.example")
    assert not permits([rule], outside, asked=inside)


def test_the_unspecified_address_is_loopback_to_which_the_system_connects_for_it() -> None:
    for rules in (["!127.0.0.0/8:*", "0.0.0.0/0:*"], ["!0.0.0.0/8:*", "0.0.0.0/0:*"], ["0.0.0.0/8:*"]):
        for form in ["0.0.0.0", *disguises("0.0.0.0")]:
            assert not permits(rules, form), (rules, form)
    assert not permits(["![::1]:*", "[::/0]:*"], "::")
    assert permits(["127.0.0.1:*"], "0.0.0.0") and permits(["[::1]:*"], "::")


def test_a_form_of_an_ipv4_address_may_be_this_machines_by_itself() -> None:
    """As where a router before it has the IPv4 address of a 6to4 block; and a block of IPv6 forbids it, too."""
    ours = "2002:808:808::5"
    assert permits(["*:*"], ours) and permits(["8.8.8.8:*"], ours) and not permits(["![2002::/15]:*", "*:*"], ours)
    assert not Rules.parse(["*:*"]).permits(ours, ours, 9, Kind.TCP, lambda each: str(each) == ours)


@pytest.mark.parametrize(
    ("rule", "asked", "permitted"),
    [
        ("db.example:443", "db.example", True),
        ("db.example:443", "DB.Example", True),
        ("DB.EXAMPLE:443", "db.example", True),
        ("db.example:443", "db.example.", True),
        ("db.example.:443", "db.example", True),
        ("db.example:443", "db.example..", False),
        ("db.example:443", "xdb.example", False),
        ("db.example:443", "a.db.example", False),
        ("db.example:443", "db.example.net", False),
        ("db.example:443", "db_example", False),
        ("db.example:443", "", False),
        ("db.example:443", "db.example\0", False),
        ("db.example:443", "db.example" * 30, False),
        ("db.example:443", "10.0.0.9", False),
        ("bücher.example:443", "xn--bcher-kva.example", True),
        ("xn--bcher-kva.example:443", "BÜCHER.example", True),
        ("my_host:443", "my_host", True),
        ("3com.example:443", "3com.example", True),
        ("0x.example:443", "0x.example", True),
        ("udp:443", "udp", False),
    ],
)
def test_names(rule: str, asked: str, permitted: bool) -> None:
    if rule == "udp:443":
        rule = "udp:udp:443"
    assert permits([rule], "10.0.0.9", asked=asked or "\0") is permitted


def test_an_address_that_was_asked_for_counts_as_resolved_only() -> None:
    for asked in ("127.1", "0x7f.1", "2130706433", "localhost", "0"):
        assert not permits(["*:*", "localhost:*", "10.0.0.0/8:*"], "127.0.0.1", asked=asked)
        assert permits(["127.0.0.1:*"], "127.0.0.1", asked=asked)
        assert not permits(["127.0.0.1:*"], "10.0.0.1", asked="127.0.0.1")


@pytest.mark.parametrize("address", ["", "host", "127.1", "2130706433", "0x7f.1", "010.0.0.1", "[::1]", "1.2.3.4/32"])
def test_what_is_no_numeric_address_is_never_permitted(address: str) -> None:
    assert not permits(["*:*", "0.0.0.0/0:*", "[::/0]:*", "host:*"], address, asked="host")


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        ("*:80", [80], [79, 81, 0, 65_535]),
        ("*:8000-8010", [8000, 8005, 8010], [7999, 8011]),
        ("*:7-7", [7], [6, 8]),
        ("*:*", [0, 1, 65_535], [-1, 65_536]),
        ("*:1-65535", [1, 65_535], [0]),
    ],
)
def test_ports(rule: str, inside: list[int], outside: list[int]) -> None:
    for port in inside:
        assert permits([rule], "10.0.0.1", port)
    for port in outside:
        assert not permits([rule], "10.0.0.1", port)


def test_datagram_rules_are_apart() -> None:
    assert permits(["udp:*:53"], "10.0.0.1", 53, kind=Kind.UDP)
    assert permits(["udp:[::1]:53"], "::1", 53, kind=Kind.UDP)
    assert permits(["udp:dns.example:53"], "10.0.0.1", 53, "dns.example", Kind.UDP)
    assert not permits(["udp:*:53"], "10.0.0.1", 53, kind=Kind.TCP)
    assert not permits(["*:53"], "10.0.0.1", 53, kind=Kind.UDP)
    assert not permits(["udp:*:53"], "127.0.0.1", 53, kind=Kind.UDP)
    assert not permits(["*:53", "udp:*:53"], "10.0.0.1", 53, kind=Kind.UNIX)


def test_paths_match_exactly() -> None:
    rules = Rules.parse(["/run/my app.sock", "/tmp/a:22", "udp:host:1", "host:1"])
    assert rules.permits_path("/run/my app.sock", "/run/my app.sock") and rules.permits_path("/tmp/a:22", "/tmp/a:22")
    near = ["/run/my app.sock/", "/run//my app.sock", "/RUN/my app.sock", "/run/x/../my app.sock"]
    for path in [*near, "run", "", "udp:host:1", "host:1", "/"]:
        assert not rules.permits_path(path, path), path
    assert not rules.permits("/tmp/a", "10.0.0.1", 22, Kind.TCP)


def test_any_of_several_rules_is_enough_and_their_texts_are_kept() -> None:
    texts = ["db.example:5432", "127.0.0.1:22", "/run/x.sock"]
    rules = Rules.parse(texts)
    assert rules.texts == tuple(texts)
    assert rules.permits("x", "127.0.0.1", 22, Kind.TCP)
    assert rules.permits("db.example", "10.0.0.1", 5432, Kind.TCP)
    assert not rules.permits("db.example", "10.0.0.1", 22, Kind.TCP)
    assert rules == Rules.parse(iter(texts)) != Rules.parse(texts[:2])


@pytest.mark.parametrize(
    ("rules", "asked", "port", "kind", "possible"),
    [
        ([], "host.example", 443, Kind.TCP, False),
        (["/run/x.sock"], "host.example", 443, Kind.TCP, False),
        (["db.example:443"], "host.example", 443, Kind.TCP, False),
        (["host.example:443"], "HOST.example.", 443, Kind.TCP, True),
        (["host.example:443"], "host.example", 444, Kind.TCP, False),
        (["*:443"], "host.example", 443, Kind.TCP, True),
        (["*:443"], "host.example", 80, Kind.TCP, False),
        (["10.0.0.0/8:443"], "host.example", 443, Kind.TCP, True),  # it may turn out to be there
        (["10.0.0.0/8:443"], "host.example", 80, Kind.TCP, False),
        (["udp:*:443"], "host.example", 443, Kind.TCP, False),
        (["db.example:443", "[::1]:1-500"], "host.example", 443, Kind.TCP, True),
    ],
)
def test_what_no_address_could_make_permitted(
    rules: list[str], asked: str, port: int, kind: Kind, possible: bool
) -> None:
    assert Rules.parse(rules).may_permit(asked, port, kind) is possible


TEREDO = [  # server, client with all bits turned, whether a star leads there
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", True),  # 65.54.227.120, 192.0.2.45
    ("2001:0:4136:e378:8000:63bf:80ff:fffe", False),  # 127.0.0.1
    ("2001:0:7f00:1:8000:63bf:3fff:fdd2", False),
]
NAT64_LOCAL = [
    ("64:ff9b:1::808:808", True),
    ("64:ff9b:1:abcd::808:808", True),  # the network's own /96
    ("64:ff9b:1:808:8:800::", True),  # /48 of 8.8.8.8
    ("64:ff9b:1:7f00:0:100::", False),  # /48 of 127.0.0.1
    ("64:ff9b:1:7f:0:1::", False),  # /56
    ("64:ff9b:1:0:7f:0:100:0", False),  # /64
    ("64:ff9b:1:a9fe:a9:fe00::", False),  # /48 of 169.254.169.254
    ("64:ff9b:1:abcd::7f00:1", False),
    ("64:ff9b:1::", False),
]


@pytest.mark.parametrize(("address", "permitted"), TEREDO + NAT64_LOCAL)
def test_addresses_of_several_meanings_are_judged_by_the_worst(address: str, permitted: bool) -> None:
    assert permits(["*:*"], address) is permitted


def test_an_address_rule_needs_every_meaning() -> None:
    teredo, nat64 = TEREDO[0][0], "64:ff9b:1:a00:0:100:808:808"  # /48 of 10.0.0.1, /96 of 8.8.8.8
    assert not permits(["192.0.2.45:*"], teredo)
    assert permits(["0.0.0.0/0:*"], teredo)
    assert not permits(["10.0.0.1:*"], nat64) and not permits(["8.8.8.8:*"], nat64)
