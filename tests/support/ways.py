"""Ways through a proxy that is on this machine, and the errors of those that are none."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from in_tls import in_tls
from links import BOUND
from loopback import pem
from proxied import Socks, connecting

from nitrosocks_lib.client.proxies import Proxies, chosen
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.connect import Context, client_context, dial
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.proxy import Proxy
from nitrosocks_lib.net.race import Remembered
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.protocol.proxy_auth import Login

WAYS: dict[str, Callable[[socket.socket], None]] = {
    "http": connecting,
    "https": in_tls(connecting),
    "socks5": Socks(),
    "socks5h": Socks(),
}

SHORT = 0.3  # seconds that a test waits to be told that nothing came
LOGIN = Login("alice", "secret")


def trusting() -> Context:
    """As SSL_CERT_FILE makes one that trusts our proxy, whose name is localhost."""
    context = client_context(True)
    context.load_verify_locations(pem("localhost")[0])
    return context


def at(url: str, login: Login | None = None, context: Callable[[], Context] = trusting) -> Proxy:
    proxy = Proxies(chosen(url, {}), login, context)(("x", 1))
    assert proxy is not None
    return proxy


def through(proxy: Proxy, server: tuple[str, int], seconds: float = BOUND, verify: bool = False) -> Link:
    return dial(server, client_context(verify), socket.AF_INET, seconds, Remembered(), proxy)


def goes(link: Link) -> None:
    """Bytes go there and back, and then it is closed."""
    link.write_all(b"hello", now() + BOUND)
    assert link.read_exactly(5, now() + BOUND) == b"hello"
    link.close(now() + 1.0)


def fails(url: str, kind: type[NetworkError], told: str, hint: str = "", **more: object) -> None:
    login = more.pop("login", None)
    server = more.pop("server", ("127.0.0.1", 1))
    with pytest.raises(NetworkError) as failure:
        through(at(url, login), server, **more)  # type: ignore[arg-type]
    where = url.rpartition("/")[2]
    begin = f"cannot reach {server[0]}:{server[1]} through the proxy {where} (--proxy): "  # type: ignore[index]
    assert type(failure.value) is kind and str(failure.value).startswith(begin)
    assert told in str(failure.value).removeprefix(begin) and hint in failure.value.hint and failure.value.hint
    assert str(failure.value).isprintable()
