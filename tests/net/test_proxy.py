"""The way through a proxy, over real sockets: HTTP, TLS in TLS and SOCKS 5."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from links import BOUND, Pairs, Threads, exchange
from loopback import Server, echo, twofold
from program import environment, tool
from proxied import Plain, Socks, connecting, head_of, lead
from ways import LOGIN, SHORT, WAYS, at, fails, goes, through

from nitrosocks_lib.facts.errors import ProxyRefused, Unreachable
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.proxy_auth import Login


@pytest.mark.parametrize("scheme", WAYS)
def test_a_way(scheme: str) -> None:
    with Server(echo) as server, Plain(WAYS[scheme]) as proxy:
        link = through(at(f"{scheme}://localhost:{proxy.port}"), server.address)
        assert link.certificate_hash() != bytes(32) and link.remote() == "127.0.0.1"
        goes(link)
        assert proxy.connections == 1


@pytest.mark.parametrize("scheme", WAYS)
def test_a_session_on_it(scheme: str) -> None:
    """Megabytes each way at once, in many sizes."""
    with Pairs() as pairs, Plain(WAYS[scheme]) as proxy:
        near = pairs._threads.submit(through, at(f"{scheme}://localhost:{proxy.port}"), ("127.0.0.1", pairs.port))
        far = pairs.accept()
        link = near.result(BOUND)
        for seed in range(5):
            exchange(pairs, link, far, seed)
        link.close(now() + 1.0)
        far.close()


@pytest.mark.parametrize("words", [["--socks5"], ["--socks5-hostname"], ["--proxytunnel", "--proxy"]], ids=" ".join)
def test_the_proxies_of_the_tests_are_proxies_to_curl_too(words: list[str]) -> None:
    def serve(sock: socket.socket) -> None:
        head_of(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    with Plain(serve) as server, Plain(connecting if "--proxy" in words else Socks()) as proxy:
        command = [tool("curl"), "-sS", *words, f"127.0.0.1:{proxy.port}", f"http://127.0.0.1:{server.port}/"]
        env = environment(Path(os.devnull))
        assert subprocess.run(command, env=env, capture_output=True, timeout=30, check=True).stdout == b"hello"
        assert proxy.connections == 1


@pytest.mark.parametrize(("scheme", "asked"), [("socks5h", (3, "localhost")), ("socks5", (1, "127.0.0.1"))])
def test_who_looks_names_up(scheme: str, asked: tuple[int, str]) -> None:
    socks = Socks()
    with Server(echo) as server, Plain(socks) as proxy:
        goes(through(at(f"{scheme}://localhost:{proxy.port}"), ("localhost", server.address[1])))
    assert socks.asked == [(*asked, server.address[1])]


def test_all_addresses_that_were_found_here_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    twofold(monkeypatch, "127.0.0.2", "127.0.0.1")
    socks = Socks(reply=lambda host: 5 if host == "127.0.0.2" else 0)
    with Server(echo) as server, Plain(socks) as proxy:
        goes(through(at(f"socks5://localhost:{proxy.port}"), ("twofold", server.address[1])))
        assert [host for _, host, _ in socks.asked] == ["127.0.0.2", "127.0.0.1"]
        socks.reply = lambda _: 2
        fails(f"socks5://localhost:{proxy.port}", ProxyRefused, "rules do not allow", server=("twofold", 1))
        assert len(socks.asked) == 3, "its rules are the same for all"
        socks.reply = lambda _: 5
        fails(f"socks5://localhost:{proxy.port}", ProxyRefused, "refused the conn", "serve", server=("twofold", 1))
        assert len(socks.asked) == 5


def test_a_login_at_a_socks_proxy() -> None:
    with Server(echo) as server, Plain(Socks("alice", "secret")) as proxy:
        url = f"socks5h://localhost:{proxy.port}"
        goes(through(at(url, LOGIN), server.address))
        fails(url, ProxyRefused, "rejected this user and password", "check", login=Login("alice", "wrong"))
        fails(url, ProxyRefused, "requires a user and a password", "--proxy-auth")


@pytest.mark.parametrize("hangs", [True, False])
def test_the_next_address_of_a_proxy_is_taken(hangs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both accept; the first one says nothing, or ends the connection."""
    twofold(monkeypatch, "127.0.0.2", "127.0.0.1")
    with Server(echo) as server, Plain(connecting) as good, Threads() as threads:
        bad = socket.create_server(("127.0.0.2", good.port))

        def fails() -> None:
            with bad, bad.accept()[0] as sock:
                while hangs and sock.recv(4_096):
                    pass

        threads.start(fails)
        goes(through(at(f"http://twofold:{good.port}"), server.address, 2 * SHORT if hangs else BOUND))


# -- who we are, over several connections ------------------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [True, False])
def test_a_proxy_that_asks_who_we_are(keeps: bool) -> None:
    heads: list[bytes] = []

    def asks(sock: socket.socket) -> None:
        while True:
            heads.append(head_of(sock))
            if b"Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n" in heads[-1]:
                return lead(sock, *server.address)
            sock.sendall(b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nWho")
            if not keeps:
                return None

    with Server(echo) as server, Plain(asks) as proxy:
        goes(through(at(f"http://localhost:{proxy.port}", LOGIN), server.address))
        assert proxy.connections == (1 if keeps else 2)
    assert len([head for head in heads if head]) == 2


def test_a_proxy_that_is_gone_when_it_is_asked_again() -> None:
    def asks(sock: socket.socket) -> None:
        head_of(sock)
        proxy._listener.shutdown(socket.SHUT_RDWR)
        proxy._listener.close()
        sock.sendall(b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nConnection: close\r\n\r\n")

    proxy = Plain(asks)
    fails(f"http://localhost:{proxy.port}", Unreachable, "a new one failed (127.0.0.1: Conn", login=LOGIN)
