"""An address is this machine's own, or is not: by what the kernel says, with netlink and without."""

from __future__ import annotations

import errno
import os
import socket
import struct
from ipaddress import ip_address

import netns
import pytest
from netns import SERVER, Net

from nitrosocks_lib.net import own

net = netns.net
ELSEWHERE = ["192.0.2.77", "203.0.113.9", "2001:db8::1"]


def test_loopback_and_elsewhere() -> None:
    assert own.is_own(ip_address("127.0.0.1"))
    for address in ELSEWHERE:
        assert not own.is_own(ip_address(address)), address


def test_without_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> tuple[int, bytes]:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(own, "_answered", refused)
    test_loopback_and_elsewhere()
    monkeypatch.delattr(socket, "AF_NETLINK", raising=False)
    test_loopback_and_elsewhere()


def test_what_cannot_be_found_out_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> tuple[int, bytes]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(own, "_answered", none_left)
    monkeypatch.setattr(socket, "AF_NETLINK", 16, raising=False)
    with pytest.raises(OSError, match="open files"):
        own.is_own(ip_address("192.0.2.77"))
    with pytest.raises(OSError, match="open files"):
        own.gateway(ip_address("192.0.2.77"))


class Kernel:
    """Answers with one message."""

    def __init__(self, kind: int, body: bytes) -> None:
        self._answer = struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def settimeout(self, _: float) -> None:
        pass

    def sendto(self, *_: object) -> None:
        pass

    def recv(self, _: int) -> bytes:
        return self._answer


@pytest.mark.parametrize(("code", "told"), [(errno.ENETUNREACH, False), (errno.ENOMEM, None)])
def test_an_error_of_the_kernel(code: int, told: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "AF_NETLINK", 16, raising=False)
    monkeypatch.setattr(socket, "NETLINK_ROUTE", 0, raising=False)
    monkeypatch.setattr(socket, "socket", lambda *_: Kernel(2, struct.pack("=i", -code)))
    if told is None:
        with pytest.raises(OSError) as raised:
            own.is_own(ip_address("192.0.2.77"))
        assert raised.value.errno == code
    else:
        assert own.is_own(ip_address("192.0.2.77")) is told


ATTRIBUTE = struct.Struct("=HH")
ROUTE = bytes(12)
GATEWAY = ATTRIBUTE.pack(8, 5) + bytes([192, 0, 2, 1])
ANSWERS = {
    "a gateway": (ROUTE + ATTRIBUTE.pack(7, 9) + b"odd " + GATEWAY, "192.0.2.1"),
    "none": (ROUTE + ATTRIBUTE.pack(8, 9) + bytes(4), ""),
    "nothing": (ROUTE, ""),
    "sizes that are none": (ROUTE + ATTRIBUTE.pack(0, 9) * 3 + GATEWAY, "192.0.2.1"),
}


@pytest.mark.parametrize(("body", "told"), ANSWERS.values(), ids=ANSWERS)
def test_the_gateway_in_an_answer(body: bytes, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "AF_NETLINK", 16, raising=False)
    monkeypatch.setattr(socket, "NETLINK_ROUTE", 0, raising=False)
    monkeypatch.setattr(socket, "socket", lambda *_: Kernel(24, body))
    assert own.gateway(ip_address("198.51.100.1")) == told


@pytest.mark.netns
def test_addresses_of_every_interface_and_of_just_now(net: Net) -> None:
    server = net.server
    with server.entered():
        assert own.is_own(ip_address(SERVER)) and not own.is_own(ip_address(net.address))
        assert not own.is_own(ip_address("10.203.77.1"))
    server.ip("address", "add", "10.203.77.1/24", "dev", "wire")
    server.ip("route", "add", "local", "10.203.88.0/24", "dev", "lo")
    server.set("ip_nonlocal_bind", 1)
    with server.entered():
        for address in ("10.203.77.1", "10.203.77.255", "10.203.88.9"):
            assert own.is_own(ip_address(address)), address
        assert not own.is_own(ip_address("10.203.77.2"))
    server.ip("address", "delete", "10.203.77.1/24", "dev", "wire")
    with server.entered():
        assert not own.is_own(ip_address("10.203.77.1"))
