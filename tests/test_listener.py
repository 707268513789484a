"""bind: one address, or all of them on IPv6 and IPv4; what cannot be bound is said."""

from __future__ import annotations

import socket

import pytest

from nitrosocks_lib.facts.errors import CannotCreate
from nitrosocks_lib.runtime.listener import bind


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
    with bind(host, 0) as listener:
        port = listener.getsockname()[1]
        assert port and (reaches(port, "127.0.0.1"), reaches(port, "::1")) == (v4, v6)


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
    create = socket.create_server

    def no_ipv6(*args, **options):
        if options.get("family") == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return create(*args, **options)

    monkeypatch.setattr(socket, "create_server", no_ipv6)
    with bind("", 0) as listener:
        assert reaches(listener.getsockname()[1], "127.0.0.1")


def test_a_dual_stack_port_that_is_half_taken() -> None:
    """Never IPv4 alone, silently, because somebody else has the port on IPv6."""
    if not V6:
        pytest.skip("network namespaces: no IPv6 here")
    with socket.create_server(("::", 0), family=socket.AF_INET6) as other, pytest.raises(CannotCreate):
        bind("", other.getsockname()[1])
