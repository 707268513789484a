"""The name of the network that this machine is on: the same while it is the same, another one elsewhere."""

from __future__ import annotations

import errno
import os
import re
from ipaddress import ip_address

import netns
import pytest
from netns import Net

from nitrosocks_lib.net import network as module
from nitrosocks_lib.net import own
from nitrosocks_lib.net.network import network

net = netns.net


def name_in(net: Net) -> str:
    with net.client.entered():
        return network()


def test_here_it_says_nothing_of_the_network() -> None:
    assert re.fullmatch(r"([0-9a-f]{16})?", network()) and network() == network()


@pytest.mark.netns
def test_another_address_of_the_same_network_is_no_other_network(net: Net) -> None:
    before = name_in(net)
    assert before
    net.move_client()
    assert name_in(net) == before


@pytest.mark.netns
def test_another_gateway_or_prefix_is_another_network(net: Net) -> None:
    names = {name_in(net)}
    net.client.ip("route", "replace", "default", "via", "10.203.18.77")
    names.add(name_in(net))
    net.client.ip("address", "add", "10.203.99.2/24", "dev", "wire")
    net.client.ip("route", "replace", "default", "via", "10.203.18.77", "src", "10.203.99.2")
    names.add(name_in(net))
    net.client.ip("route", "delete", "default")
    assert name_in(net) == ""
    assert len(names) == 3


@pytest.mark.netns
def test_the_gateway_as_the_kernel_knows_it(net: Net) -> None:
    with net.client.entered():
        assert own.gateway(ip_address("198.51.100.1")) == "10.203.18.1"
        assert own.gateway(ip_address("10.203.18.77")) == "" == own.gateway(ip_address("127.0.0.1"))
        assert own.gateway(ip_address("2001:db8::1")) == "", "nothing leads there"


def test_without_netlink_it_is_told_by_our_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> tuple[int, bytes]:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(module, "_BEYOND", (ip_address("127.0.0.1"),))  # a way that there is everywhere
    with_netlink = network()
    monkeypatch.setattr(own, "_answered", refused)
    assert own.gateway(ip_address("127.0.0.1")) == ""
    assert network() == with_netlink != ""
