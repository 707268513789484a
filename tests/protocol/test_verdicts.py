"""Targets against lists of rules: the whole table of verdicts, + for permitted."""

import pytest

from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.protocol.addresses import Address
from nitrosocks_lib.protocol.permit import Rules

# As it was asked for, where it leads, port, kind
TARGETS = [
    ("a.example", "203.0.113.5", 443, Kind.TCP),
    ("b.a.example", "203.0.113.6", 443, Kind.TCP),
    ("example", "203.0.113.7", 443, Kind.TCP),
    ("A.EXAMPLE.", "10.1.2.3", 443, Kind.TCP),
    ("10.1.2.3", "10.1.2.3", 22, Kind.TCP),
    ("10.9.9.9", "10.9.9.9", 22, Kind.TCP),  # the server's own machine
    ("127.1", "127.0.0.1", 22, Kind.TCP),
    ("a.example", "127.0.0.1", 443, Kind.TCP),
    ("x.test", "::ffff:10.1.2.3", 443, Kind.TCP),
    ("x.test", "169.254.169.254", 80, Kind.TCP),
    ("dns.test", "203.0.113.9", 53, Kind.UDP),
    ("x.test", "64:ff9b:1:a00:0:100:808:808", 443, Kind.TCP),  # 10.0.0.1, or 8.8.8.8
]
VERDICTS = [
    ([], "------------"),
    (["*:443"], "++++----+--+"),
    (["*:*"], "+++++---+--+"),
    (["a.example:443"], "+--+--------"),
    (["*.example:443"], "++-+--------"),
    (["*.a.example:*"], "-+----------"),
    (["10.0.0.0/8:*"], "---+++--+---"),
    (["0.0.0.0/0:*"], "++++++++++-+"),
    (["127.0.0.1:22", "*:443"], "++++--+-+--+"),
    (["!10.0.0.0/8:*", "*:*"], "+++---------"),
    (["10.1.2.3:22", "!10.0.0.0/8:*", "0.0.0.0/0:*"], "+++-+-++-+--"),
    (["!a.example:*", "*.example:*"], "-+----------"),
    (["*.example:*", "!a.example:*", "*:22"], "++-++-------"),
    (["!*:443", "0.0.0.0/0:*", "udp:*:53"], "----+++--++-"),
    (["udp:*:*"], "----------+-"),
    (["udp:dns.test:53", "!udp:*:*", "udp:0.0.0.0/0:*"], "----------+-"),
    (["!udp:*:*", "udp:*:*", "x.test:*"], "--------+--+"),
    (["/run/x.sock", "!/run/x.sock"], "------------"),
]


def this(address: Address) -> bool:
    return str(address) == "10.9.9.9"


@pytest.mark.parametrize(
    ("rules", "verdicts"), VERDICTS, ids=lambda each: " ".join(each) if isinstance(each, list) else ""
)
def test_verdicts(rules: list[str], verdicts: str) -> None:
    parsed = Rules.parse(rules)
    assert "".join("-+"[parsed.permits(*target, this)] for target in TARGETS) == verdicts
    for (asked, _, port, kind), verdict in zip(TARGETS, verdicts, strict=True):
        assert verdict == "-" or parsed.may_permit(asked, port, kind)
