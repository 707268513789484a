"""Which IPv4 address an IPv6 one stands for."""

from ipaddress import IPv6Network, ip_address, ip_network

import pytest

from nitrosocks_lib.protocol.addresses import Where, forms, has_special, is_special, meant


@pytest.mark.parametrize(
    ("address", "ends"),
    [
        ("10.0.0.1", ["10.0.0.1"]), ("2001:db8::1", ["2001:db8::1"]), ("::", ["::1"]), ("::1", ["::1"]),
        ("0.0.0.0", ["127.0.0.1"]), ("::ffff:0.0.0.0", ["127.0.0.1"]), ("0.0.0.1", ["0.0.0.1"]),
        ("::ffff:10.0.0.1", ["10.0.0.1"]), ("2002:a00:1::", ["10.0.0.1"]), ("64:ff9b::a00:1", ["10.0.0.1"]),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", ["65.54.227.120", "192.0.2.45"]),
        ("64:ff9b:1:a00:0:100:808:808", ["10.0.0.1", "8.8.8.8"]),
    ],
)  # fmt: skip
def test_where_packets_may_end(address: str, ends: list[str]) -> None:
    assert {*ends} <= {*map(str, meant(ip_address(address)))}


def test_blocks_of_such_addresses() -> None:
    assert IPv6Network("64:ff9b:1::/48") in forms() and IPv6Network("::ffff:0:0/96") in forms()


@pytest.mark.parametrize(("address", "special"), [("127.0.0.1", True), ("fe80::1", True), ("10.0.0.1", False)])
def test_addresses_that_no_name_leads_to(address: str, special: bool) -> None:
    assert is_special(ip_address(address)) is special


@pytest.mark.parametrize(("block", "special"), [("0.0.0.0/0", True), ("10.0.0.0/8", False), ("::/0", True)])
def test_blocks_with_such_addresses(block: str, special: bool) -> None:
    assert has_special(ip_network(block)) is special


def test_an_address_may_be_here_by_itself_and_by_what_it_stands_for() -> None:
    where = Where.of(ip_address("2002:a00:1::5"))
    assert [*map(str, where.ends)] == ["10.0.0.1"] and [*map(str, where.every)] == ["10.0.0.1", "2002:a00:1::5"]
    for own, here in ("10.0.0.1", True), ("2002:a00:1::5", True), ("10.0.0.2", False):
        assert where.is_here(lambda each, own=own: str(each) == own) is here
