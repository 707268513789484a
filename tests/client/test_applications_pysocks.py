"""-D as a client sees it that is not ours: PySocks, by each protocol, with the code of each refusal."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import socks
from loopback import BOUND, read_exactly, unused_port
from targets import unanswering
from world import World, echo

from nitrosocks_lib.client.forward import Forward, Forwarder
from nitrosocks_lib.facts import limits
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.proxy_auth import Login

LOGIN = Login("user", "pa:ss")
RIGHT, WRONG, NONE = (LOGIN.user, LOGIN.password), (LOGIN.user, "wrong"), (None, None)
KINDS = {"SOCKS 4": socks.SOCKS4, "SOCKS 5": socks.SOCKS5, "HTTP": socks.HTTP}


@pytest.fixture(scope="module")
def world():
    with World() as made:
        yield made


@pytest.fixture(scope="module")
def ports(world: World) -> dict[bool, int]:
    """Of two -D, by whether it wants a login."""
    made = {}
    for guarded in (False, True):
        forwarder = Forwarder(world.pool(), LOGIN if guarded else None)
        world.callback(forwarder.stop)
        made[guarded] = forwarder.bind(Forward(Target(1, "127.0.0.1", 0), None)).port
        forwarder.start()
    return made


def dial(
    kind: str, proxy: int, host: str, port: int, rdns: bool = True, login: tuple[str | None, str | None] = NONE
) -> socks.socksocket:
    """A connection by PySocks, which raises a ProxyError."""
    with ExitStack() as stack:
        sock = stack.enter_context(socks.socksocket())
        sock.settimeout(BOUND)
        sock.set_proxy(KINDS[kind], "127.0.0.1", proxy, rdns, *login)
        sock.connect((host, port))
        stack.pop_all()
    return sock


def echoes(sock: socks.socksocket) -> bool:
    with sock:
        sock.sendall(b"hello")
        return read_exactly(sock, 5) == b"hello"


@pytest.mark.parametrize(("host", "rdns"), [("127.0.0.1", False), ("127.0.0.1", True), ("localhost", True)])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_reached(world: World, ports: dict[bool, int], kind: str, host: str, rdns: bool) -> None:
    """With `rdns` the server looks a name up, and SOCKS 4 is 4a."""
    sock = dial(kind, ports[False], host, target := world.target(echo), rdns)
    if kind == "SOCKS 5":
        assert sock.get_proxy_sockname() == ("127.0.0.1", target)
    assert echoes(sock)


@pytest.mark.parametrize("kind", ["SOCKS 5", "HTTP"])
def test_a_login(world: World, ports: dict[bool, int], kind: str) -> None:
    target = world.target(echo)
    assert echoes(dial(kind, ports[True], "127.0.0.1", target, login=RIGHT))
    assert echoes(dial(kind, ports[False], "127.0.0.1", target, login=RIGHT)), "nobody asked"
    told = {
        "SOCKS 5": ["SOCKS5 authentication failed", "All offered SOCKS5 authentication methods were rejected"],
        "HTTP": ["407: Proxy Authentication Required"] * 2,
    }
    for login, text in zip((WRONG, NONE), told[kind], strict=True):
        with pytest.raises(socks.ProxyError, match=text):
            dial(kind, ports[True], "127.0.0.1", target, login=login)


@pytest.mark.parametrize("login", [RIGHT, NONE])
def test_socks4_has_no_login(world: World, ports: dict[bool, int], login: tuple[str | None, str | None]) -> None:
    with pytest.raises(socks.ProxyError, match="0x5b: Request rejected or failed"):
        dial("SOCKS 4", ports[True], "127.0.0.1", world.target(echo), login=login)


CAUSES = {  # by cause: what SOCKS 5 and HTTP tell
    "refused": ("0x05: Connection refused", "502: Bad Gateway"),
    "not permitted": ("0x02: Connection not allowed by ruleset", "403: Forbidden"),
    "unknown": ("0x04: Host unreachable", "502: Bad Gateway"),
    "no answer": ("0x06: TTL expired", "504: Gateway Timeout"),
}


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("kind", KINDS)
def test_why_not(ports: dict[bool, int], monkeypatch: pytest.MonkeyPatch, kind: str, cause: str) -> None:
    monkeypatch.setattr(limits, "DIAL_TARGET", 0.3 if cause == "no answer" else BOUND)
    told = dict(zip(("SOCKS 5", "HTTP"), CAUSES[cause], strict=True)) | {"SOCKS 4": "0x5b: Request rejected or failed"}
    with unanswering() as silent:
        host, port = {
            "refused": ("127.0.0.1", unused_port()),
            "not permitted": ("192.0.2.1", 80),
            "unknown": ("nowhere.invalid", 80),
            "no answer": silent,
        }[cause]
        with pytest.raises(socks.ProxyError, match=told[kind]):
            dial(kind, ports[False], host, port)


def test_without_a_session() -> None:
    with World() as world:
        forwarder = Forwarder(world.pool())
        world.callback(forwarder.stop)
        port = forwarder.bind(Forward(Target(1, "127.0.0.1", 0), None)).port
        forwarder.start()
        world.server.stop()
        for kind, text in (
            ("SOCKS 4", "0x5b: Request rejected or failed"),
            ("SOCKS 5", "0x01: General SOCKS server failure"),
            ("HTTP", "503: Service Unavailable"),
        ):
            with pytest.raises(socks.ProxyError, match=text):
                dial(kind, port, "127.0.0.1", 1)
