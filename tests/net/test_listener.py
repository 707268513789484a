"""bind and bind_all: one address, those of a name, or all of them on IPv6 and IPv4; what cannot be bound is said.

And listen, for those that were bound before."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Never

import pytest
from loopback import twofold
from world import SERVER_KEY, World

from nitrosocks_lib.facts.errors import CannotCreate
from nitrosocks_lib.net import listener as module
from nitrosocks_lib.net.listener import bind, bind_all, is_taken, listen
from nitrosocks_lib.server.connection import Settings
from nitrosocks_lib.server.server import Server


def reaches(port: int, host: str) -> bool:
    try:
        socket.create_connection((host, port), 20).close()
        return True
    except OSError:
        return False


V6 = socket.has_dualstack_ipv6()


@pytest.mark.parametrize(
    ("host", "v4", "v6"),
    [("127.0.0.1", True, False), ("", True, V6), ("::", True, V6), ("0.0.0.0", True, False), ("::1", False, True)],
)
def test_where_it_listens(host: str, v4: bool, v6: bool) -> None:
    if host == "::1" and not V6:
        pytest.skip("network namespaces: no IPv6 here")
    seen = set()
    for _ in range(5):  # another program may have the same port at the other address
        with bind(host, 0) as listener:
            port = listener.getsockname()[1]
            seen.add((reaches(port, "127.0.0.1"), reaches(port, "::1")))
    assert (v4, v6) in seen


def test_a_name() -> None:
    with bind("localhost", 0) as listener:
        assert reaches(listener.getsockname()[1], "localhost")


@pytest.mark.parametrize("host", ["127.0.0.1", "", "0.0.0.0", "localhost"])
def test_a_port_in_use(host: str) -> None:
    with bind(host, 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(CannotCreate, match="cannot listen on .*: Address already in use") as failure:
            bind(host, port)
        assert str(port) in str(failure.value) and failure.value.hint


@pytest.mark.parametrize("host", ["192.0.2.1", "name.invalid", "a..b", "x" * 70 + ".example"])
def test_addresses_that_are_not_ours(host: str) -> None:
    with pytest.raises(CannotCreate, match="cannot listen on"):
        bind(host, 0)


def test_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._bound

    def no_ipv6(family, *args, **options):
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *args, **options)

    monkeypatch.setattr(module, "_bound", no_ipv6)
    with bind("", 0) as listener:
        assert reaches(listener.getsockname()[1], "127.0.0.1")


def test_a_dual_stack_port_that_is_half_taken() -> None:
    """Never IPv4 alone, silently, because somebody else has the port on IPv6."""
    if not V6:
        pytest.skip("network namespaces: no IPv6 here")
    with socket.create_server(("::", 0), family=socket.AF_INET6) as other, pytest.raises(CannotCreate):
        bind("", other.getsockname()[1])


@pytest.mark.parametrize("bound", [bind, bind_all])
def test_a_link_local_address_keeps_its_interface(bound: Callable[[str, int], object]) -> None:
    """Without it the kernel says that the argument is invalid."""
    if not V6:
        pytest.skip("network namespaces: no IPv6 here")
    with pytest.raises(CannotCreate, match=r"cannot listen on \[fe80::1%lo\]:0: Cannot assign requested address"):
        bound("fe80::1%lo", 0)


# Bound first, listening later


@pytest.mark.parametrize("host", ["127.0.0.1", "", "0.0.0.0", "localhost"])
def test_what_is_bound_only_refuses_until_it_listens(host: str) -> None:
    with bind(host, 0, listening=False) as bound:
        port = bound.getsockname()[1]
        assert not reaches(port, "localhost")
        listen(bound)
        assert reaches(port, "localhost")


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_a_port_in_use_is_told_before_it_listens(host: str) -> None:
    with bind(host, 0) as other, pytest.raises(CannotCreate, match="already in use"):
        bind(host, other.getsockname()[1], listening=False)


def test_somebody_else_listened_meanwhile() -> None:
    bound = bind("127.0.0.1", 0, listening=False)
    port = bound.getsockname()[1]
    with bind("127.0.0.1", port):
        with pytest.raises(CannotCreate, match=f"cannot listen on 127.0.0.1:{port}: Address already in use") as failure:
            listen(bound)
        assert is_taken(failure.value) and failure.value.hint and bound.fileno() == -1


def test_a_name_is_bound_and_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    twofold(monkeypatch)
    bound = bind_all("twofold", 0, listening=False)
    addresses = [each.getsockname() for each in bound]
    assert not any(reaches(port, host) for host, port in addresses)
    for each in bound:
        listen(each)
    assert all(reaches(port, host) for host, port in addresses)
    assert len({port for _, port in names(bound)}) == 1


# All addresses of a name


def names(listeners: list[socket.socket]) -> list[tuple[str, int]]:
    found = [listener.getsockname()[:2] for listener in listeners]
    for listener in listeners:
        listener.close()
    return found


def test_all_addresses_of_a_name_at_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    twofold(monkeypatch)
    (first, port), second = names(bind_all("twofold", 0))
    assert (first, second) == ("127.0.0.1", ("127.0.0.2", port))
    assert names(bind_all("twofold", port)) == [(first, port), second]


@pytest.mark.parametrize("host", ["127.0.0.1", "", "::", "0.0.0.0"])
def test_one_address(host: str) -> None:
    assert len(names(bind_all(host, 0))) == 1


@pytest.mark.parametrize("addresses", [("192.0.2.1", "127.0.0.1"), ("127.0.0.1", "192.0.2.1")])
def test_an_address_that_the_machine_lacks_is_left_out(monkeypatch, addresses: tuple[str, ...]) -> None:
    twofold(monkeypatch, *addresses)
    assert [host for host, _ in names(bind_all("twofold", 0))] == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["192.0.2.1", "name.invalid", "a..b", "twofold"])
def test_none_of_them(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    twofold(monkeypatch, "192.0.2.1", "198.51.100.1")
    with pytest.raises(CannotCreate, match="cannot listen on") as failure:
        bind_all(host, 0)
    assert not is_taken(failure.value)


def test_a_name_is_bound_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or whoever has one of its addresses gets a part of what is meant for us."""
    twofold(monkeypatch)
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotCreate, match="already in use") as failure:
            bind_all("twofold", port)
        assert is_taken(failure.value)
        socket.create_server(("127.0.0.1", port)).close()


def test_a_port_that_is_free_on_one_address_only_is_not_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    twofold(monkeypatch)
    real, taken = module._bound, []

    def first_is_taken(family, kind, address):
        if address[0] == "127.0.0.2" and not taken:
            taken.append(address[1])
            raise OSError(98, "Address already in use")
        return real(family, kind, address)

    monkeypatch.setattr(module, "_bound", first_is_taken)
    (_, one), (_, two) = names(bind_all("twofold", 0))
    assert one == two and taken


def test_a_server_listens_on_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    twofold(monkeypatch)
    with World() as world:
        server = Server(SERVER_KEY, world.directory, Settings(**world.settings))  # type: ignore[arg-type]
        host, port = server.listen("twofold", 0)
        server.start()
        world.callback(server.stop)
        assert host == "127.0.0.1" and reaches(port, host) and reaches(port, "127.0.0.2")


@pytest.mark.parametrize(
    ("port", "code", "hint"),
    [
        (443, errno.EACCES, "choose a higher port; those that are this low take root or CAP_NET_BIND_SERVICE"),
        (8443, errno.EACCES, "choose another address or port"),
        (443, errno.EADDRINUSE, "choose another address or port"),
        (443, errno.EMFILE, "raise the limit on open files"),
    ],
)
def test_what_helps(port: int, code: int, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> Never:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(module, "_bind_first", refused)
    with pytest.raises(CannotCreate, match=f"cannot listen on 127.0.0.1:{port}: ") as caught:
        bind("127.0.0.1", port)
    assert caught.value.hint == hint
