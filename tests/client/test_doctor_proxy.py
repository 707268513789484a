"""doctor where a proxy is on the way: whether it opens the way, and everything behind it."""

from __future__ import annotations

import socket

import pytest
from doctoring import Examined
from in_tls import in_tls
from loopback import pem, unused_port
from proxied import Plain, Socks, connecting, head_of
from world import World

from nitrosocks_lib.client.findings import Alpn, Name, Proxy, State, Tcp, Tls, Verdict
from nitrosocks_lib.client.proxies import Proxies, chosen
from nitrosocks_lib.facts.errors import NetworkError, ProxyRefused
from nitrosocks_lib.net.connect import Context, Route, client_context


def trusting() -> Context:
    """TLS to a proxy whose certificate is the tests' own."""
    context = client_context(verify=True)
    context.load_verify_locations(pem("localhost")[0])
    context.check_hostname = False
    return context


def by(url: str) -> Route:
    return Route(proxy=Proxies(chosen(url, {}), None, trusting))


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_a_proxy_that_opens_the_way(scheme: str) -> None:
    serve = {"http": connecting, "https": in_tls(connecting), "socks5": Socks(), "socks5h": Socks()}[scheme]
    with World() as world, Plain(serve) as proxy:
        found = Examined(world, route=by(f"{scheme}://127.0.0.1:{proxy.port}"))
        told = found[Proxy]
        assert (told.state, told.proxy, told.named_by) == (State.GOOD, f"127.0.0.1:{proxy.port}", "--proxy")
        assert not found.all(Name) and not found.all(Tcp)
        assert found[Tls].version == "TLSv1.3" and found[Alpn].state is State.GOOD
        assert found.kinds(State.BAD) == set() and found[Verdict].error is None


def forbidding(sock: socket.socket) -> None:
    head_of(sock)
    sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 16\r\n\r\nask the helpdesk")


def test_a_proxy_that_refuses() -> None:
    with World() as world, Plain(forbidding) as proxy:
        found = Examined(world, route=by(f"http://127.0.0.1:{proxy.port}"))
        assert isinstance(found[Proxy].error, ProxyRefused) and "403" in str(found[Proxy].error)
        assert not found.all(Tls) and found[Verdict].error is found[Proxy].error


def test_a_proxy_that_is_not_there() -> None:
    with World() as world:
        found = Examined(world, route=by(f"http://127.0.0.1:{unused_port()}"))
        assert found[Proxy].state is State.BAD and isinstance(found[Verdict].error, NetworkError)


def test_a_proxy_that_leads_to_what_is_no_tls() -> None:
    def serve(sock: socket.socket) -> None:
        head_of(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        sock.recv(1)
        sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with World() as world, Plain(serve) as proxy, Plain(in_tls(serve)) as secure:
        for url in (f"http://127.0.0.1:{proxy.port}", f"https://127.0.0.1:{secure.port}"):
            found = Examined(world, route=by(url))
            assert found[Proxy].state is State.GOOD and found[Tls].state is found[Alpn].state is State.BAD
