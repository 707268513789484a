"""One rule: what is none is named, and what it is read as."""

from ipaddress import ip_address

import pytest
from wrongly import wrong

from nitrosocks_lib.facts.errors import UsageError
from nitrosocks_lib.facts.words import quoted
from nitrosocks_lib.protocol.listening import ListenRules
from nitrosocks_lib.protocol.permit import Rules
from nitrosocks_lib.protocol.rules import parse

BAD = [
    "", "host", "host:", ":80", "*", "*:", "*:0", "*:65536", "*:x", "*:80-", "*:-80", "*:90-80", "*:80-90-100", "*:٨٠",
    "*:0-10", "*:80,443", "::1:80", "2001:db8::/32:443", "[::1]", "[::1", "[::1]80", "[*]:80", "[host]:80",
    "[10.0.0.1]:80", "[10.0.0.0/8]:80", "[]:80", "10.0.0.1/8:80", "10.0.0.0/33:80", "10.0.0.0/:80", "10.0.0.0/x:80",
    "10.0.0.0/-1:80", "10.0.0.0/255.0.0.0:80", "10.0.0.0/0.255.255.255:80", "10.0.0.0/00000000099:80", "10.0.0.0/٨:80",
    "[2001:db8::1/32]:80", "[2001:db8::/129]:80", "host/24:80", "*/0:80",
    "*.*.example:80", "*.:80", "*a.example:80", "a.*.example:80", "*.10.1:80", "[*.example]:80", "!", "!!a:1",
    "!@web", "@", "@a b", "@a:1", "!a", "/run/*/../x", "udp:!a:1", "exa mple:80", "http://h:80",
    "a..b:80", ".:80", ".host:80", "-host:80", "ho\nst:80", "h" * 64 + ":80", "h." * 200 + "h:80", "127.1:80",
    "127.1.:80", "0x7f.1:80", "0X7F000001:80", "2130706433:80", "0177.0.0.1:80", "010.0.0.1:80", "127.0.0.0x1:80",
    "256.0.0.1:80", "1.2.3.4.5:80", "0x:80", "１２７.1:80", "127。0。0。1x.1:80", "[::ffff:0:0/96]:80", "[::/96]:80",
    "[::ffff:10.0.0.0/104]:80", "[64:ff9b::/96]:80", "[64:ff9b:1::/48]:80", "[2002::/16]:80", "[2002:a00::/24]:80",
    "[2001::/32]:80", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]:80", "udp:", "udp:80", "udp:host", "udp:host:0", "/a\0b",
    "/a\nb", "tcp:host:80", "10.0.0.1%foo:1", "10.0.0.1%:1", "10.0.0.1%1/32:1", "10.0.0.0%8/8:1",
    "[fe80::1%eth0]:80", "[fe80::1%eth0/128]:80", "[fe80::%1/64]:80", "0.0.0.0:80", "[::]:80", "!0.0.0.0/32:*",
]  # fmt: skip


@pytest.mark.parametrize("rule", BAD)
def test_what_is_no_rule_is_named(rule: str) -> None:
    with pytest.raises(UsageError) as caught:
        Rules.parse(["*:80", rule])
    assert quoted(rule) in str(caught.value)
    assert str(caught.value).count("rule ") == 1 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "rules", ["a.example:80,b.example:80", "a.example:80 b.example:80", "10.0.0.1:80; b.example:80"]
)
def test_several_rules_in_one_are_told(rules: str) -> None:
    with pytest.raises(UsageError, match=f"rule '{rules}': several rules in one") as caught:
        parse(rules)
    assert caught.value.hint == "write each one for itself, as in 'a.example:80' 'b.example:80'"


@pytest.mark.parametrize(
    ("block", "within", "beyond"),
    [("2000::/8", "20ff::", "2100::"), ("2001:db8::/100", "2001:db8::fff:ffff", "2001:db8::1000:0")],
)
def test_prefix_lengths_of_one_digit_and_of_three(block: str, within: str, beyond: str) -> None:
    network = parse(f"[{block}]:443").network
    assert network is not None and ip_address(within) in network and ip_address(beyond) not in network


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("udp/10.0.0.2:53", "for datagrams write udp: in front; as in udp:10.0.0.2:53"),
        ("10.0.0.2:53/udp", "for datagrams write udp: in front; "),
        ("UDP:10.0.0.2:53", "for datagrams write udp: in front; "),
        ("!UDP:10.0.0.2:53", "for datagrams write udp: in front; "),
        ("tcp:10.0.0.2:53", "no tcp here; leave it out: "),
        ("udp:!10.0.0.2:53", "! stands in front of it all; as in !udp:10.0.0.5:*"),
        ("udp:@web", "no group behind udp:; "),
        ("udp:/run/a", "no paths behind udp:; write it as udp:host:port"),
        ("unix:/run/a", "no unix: here; write the path alone, as in /run/app/db.sock"),
        ("run/a.sock", "neither host:port nor a path; a path begins with /, "),
        ("10.0.0.5:*:*", "too many colons; write it as host:port"),
        ("/run/app/", "a directory is no socket; for all sockets in it write /run/app/*"),
    ],
)
def test_what_people_write_for_a_kind(rule: str, told: str) -> None:
    assert wrong(lambda: parse(rule)).startswith(f"rule '{rule}': {told}")
    if not rule.startswith("!"):
        assert wrong(lambda: ListenRules.parse([rule])).startswith(f"rule '{rule}': {told}")
