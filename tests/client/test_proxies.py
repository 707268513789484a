"""Which proxy is taken: the option, the variables in curl's order (curl is run beside), URLs that are none, logins."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
from pathlib import Path

import pytest
from program import environment, tool
from proxied import Plain

from nitrosocks_lib.client.proxies import Proxies, chosen, login_of
from nitrosocks_lib.facts.errors import UsageError
from nitrosocks_lib.net.connect import client_context
from nitrosocks_lib.protocol.proxy_auth import Login

SERVER = ("server.example", 443)


def proxies(option: str | None = None, login: Login | None = None, **environ: str) -> Proxies:
    return Proxies(chosen(option, environ), login, lambda: client_context(True))


@pytest.mark.parametrize(
    ("url", "scheme", "address"),
    [
        ("http://proxy.example:3128", "http", ("proxy.example", 3128)),
        ("HTTP://proxy.example:3128/", "http", ("proxy.example", 3128)),
        ("proxy.example:3128", "http", ("proxy.example", 3128)),
        ("https://proxy.example", "https", ("proxy.example", 443)),
        ("https://[2001:db8::1]:8443", "https", ("2001:db8::1", 8443)),
        ("socks5://[2001:db8::1]", "socks5", ("2001:db8::1", 1080)),
        ("socks5h://10.0.0.1:1081", "socks5h", ("10.0.0.1", 1081)),
    ],
)
def test_urls(url: str, scheme: str, address: tuple[str, int]) -> None:
    for named in (chosen(url, {}), chosen(None, {"NITROSOCKS_PROXY": url}), chosen(None, {"ALL_PROXY": url})):
        assert named is not None and (named.scheme, named.address, named.login) == (scheme, address, None)


@pytest.mark.parametrize(
    ("url", "told", "hint"),
    [
        ("http://proxy.example", "has no port", "http://proxy.example:3128"),
        ("http://:3128", "has no host", "as in http://"),
        ("http://proxy.example:0", "'0' is not a port", "as in http://"),
        ("http://proxy.example:port", "not a port", "as in http://"),
        ("http://2001:db8::1:3128", "brackets", "as in http://"),
        ("http://proxy.example:3128/proxy.pac", "nothing may follow the port", "PAC files are not read"),
        ("http://proxy.example:3128?x", "nothing may follow the port", "PAC"),
        ("socks4://proxy.example:1080", "'socks4' is not a scheme", "socks5h"),
        ("socks://proxy.example:1080", "'socks' is not a scheme", "socks5h"),
        ("pac+http://proxy.example", "'pac+http' is not a scheme", "socks5h"),
        ("://x:1", "'' is not a scheme", "socks5h"),
        ("http://a b:1", "not a host", "as in"),
        ("\x1b[31m:1", "\\x1b", "as in"),
    ],
)
def test_urls_that_are_none(url: str, told: str, hint: str) -> None:
    for origin, call in (
        ("--proxy", lambda: chosen(url, {})),
        ("HTTPS_PROXY", lambda: chosen(None, {"HTTPS_PROXY": url.replace("://", "://user:hunter2@")})),
    ):
        with pytest.raises(UsageError) as failure:
            call()
        assert str(failure.value).startswith(origin) and told in str(failure.value) and hint in failure.value.hint
        assert "hunter2" not in str(failure.value) + failure.value.hint


@pytest.mark.parametrize("given", ["", "http://", "socks5h://"])
@pytest.mark.parametrize("password", ["hunter2", "hunter2/", "/hunter2", "hunter2/x", "hunter:2", "cafe", ":hunter2"])
def test_a_login_alone_is_not_repeated(given: str, password: str) -> None:
    with pytest.raises(UsageError) as failure:
        chosen(None, {"HTTPS_PROXY": f"{given}abe:{password}"})
    told = str(failure.value) + failure.value.hint
    assert password.strip("/:x") not in told and told.startswith("HTTPS_PROXY: ")


def test_a_login_in_a_url_is_for_the_environment() -> None:
    named = chosen(None, {"https_proxy": "http://al%40ice:p%3Aw:d@proxy.example:1"})
    assert named is not None and named.login == Login("al@ice", "p:w:d") and "p:w" not in repr(named)
    with pytest.raises(UsageError, match="all users of this machine") as failure:
        chosen("http://alice:hunter2@proxy.example:1", {})
    assert "--proxy-auth" in failure.value.hint and "NITROSOCKS_PROXY" in failure.value.hint
    assert "hunter2" not in str(failure.value)
    alone = chosen("http://alice@proxy.example:1", {})
    assert alone is not None and alone.login == Login("alice", "")


def test_a_login_that_would_be_two_headers() -> None:
    for login in ("alice%0d%0aX:1", "alice:%00hunter2", "a\x7f:hunter2"):
        with pytest.raises(UsageError, match="control characters") as failure:
            chosen(None, {"https_proxy": f"http://{login}@proxy.example:1"})
        assert "hunter2" not in str(failure.value) and str(failure.value).isprintable()


def test_the_option_goes_before_ours_and_ours_before_those_of_all() -> None:
    environ = {"NITROSOCKS_PROXY": "http://ours:1", "https_proxy": "http://all:1", "no_proxy": "*"}
    taken = [chosen("http://option:1", environ), chosen(None, environ)]
    assert [named and named.address[0] for named in taken] == ["option", "ours"]
    for named in taken:
        assert Proxies(named, None, lambda: client_context(True))(SERVER) is not None, "no_proxy is not for these"
    assert chosen("none", environ) is None and chosen(None, environ | {"NITROSOCKS_PROXY": "none"}) is None
    assert proxies(https_proxy="http://all:1", no_proxy="*")(SERVER) is None
    with pytest.raises(UsageError, match="--proxy is empty"):
        chosen("", environ)


def test_no_proxy_is_looked_at_for_each_server() -> None:
    made = proxies(ALL_PROXY="http://proxy.example:1", NO_PROXY="server.example")
    assert made(SERVER) is None
    there = made(("other.example", 443))
    assert there is not None and there.where == "proxy.example:1" and there.origin == "ALL_PROXY"


NAMES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
SETS = [each for size in range(3) for each in itertools.combinations(NAMES, size)]
MORE = [{"no_proxy": "x", "NO_PROXY": "*"}, {"NO_PROXY": "server.example"}, {"no_proxy": "", "NO_PROXY": "*"}]


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("names", SETS, ids=" ".join)
def test_the_variables_are_taken_in_curls_order(names: tuple[str, ...], empty: bool) -> None:
    """The first of them is empty, or not."""
    variables_are_taken_as_curl_does(names, names[:1] if empty else (), {})


@pytest.mark.parametrize("more", MORE, ids=str)
def test_the_exceptions_are_taken_in_curls_order(more: dict[str, str]) -> None:
    variables_are_taken_as_curl_does(NAMES[:1], (), more)


def variables_are_taken_as_curl_does(names: tuple[str, ...], empty: tuple[str, ...], more: dict[str, str]) -> None:
    asked: list[int] = []

    def record(sock: socket.socket) -> None:
        asked.append(sock.getsockname()[1])
        sock.recv(4_096)

    with Plain(record) as one, Plain(record) as two:
        ports = dict(zip(names, (one.port, two.port), strict=False))
        values = {name: "" if name in empty else f"http://127.0.0.1:{port}" for name, port in ports.items()} | more
        env = environment(Path(os.devnull)) | values
        words = ["-sS", "--max-time", "10", "--connect-to", "::127.0.0.1:1", "https://server.example/"]
        subprocess.run([tool("curl"), *words], env=env, capture_output=True, timeout=30, check=False)
    there = proxies(**values)(SERVER)
    assert ([there.address[1]] if there else []) == asked


def test_how_each_scheme_is_spoken_to() -> None:
    for url, first, finds_here, secure in (
        ("http://a:1", b"CONNECT server.example:443 HTTP/1.1\r\n", False, False),
        ("https://a:1", b"CONNECT server.example:443 HTTP/1.1\r\n", False, True),
        ("socks5://a:1", b"\5\1\0", True, False),
        ("socks5h://a:1", b"\5\1\0", False, False),
    ):
        made = proxies(url)
        there = made(SERVER)
        assert there is not None
        said = next(there.talk(*SERVER))
        assert said is not None and said.startswith(first)
        assert (there.finds_here, there.context is not None, made.secure) == (finds_here, secure, secure)
        assert made.asks is url.startswith("http")
    assert not proxies().secure and not proxies().asks and not proxies().named


def test_the_login_of_a_file_goes_before_that_of_the_url() -> None:
    for login, said in ((None, b"\5\2\0\2"), (Login("x", "y"), b"\5\2\0\2")):
        there = proxies(login=login, all_proxy="socks5h://alice:secret@a:1")(SERVER)
        assert there is not None
        talk = there.talk(*SERVER)
        assert next(talk) == said
        assert talk.send(b"\5\2") == (b"\1\1x\1y" if login else b"\1\5alice\6secret")


@pytest.mark.parametrize(
    "text", ["alice:secret\n", "alice:secret", "alice:secret\r\n", "\ufeffalice:secret\r\n", "\nalice:secret\n\n"]
)
def test_a_file_with_a_login(text: str) -> None:
    assert login_of(text, "--proxy-auth", "file") == Login("alice", "secret")


def test_a_password_may_have_colons_and_spaces_and_be_empty() -> None:
    assert login_of("DOMAIN\\alice:a: b \n", "--proxy-auth", "file") == Login("DOMAIN\\alice", "a: b ")
    assert login_of("alice:\n", "--proxy-auth", "file") == Login("alice", "")


@pytest.mark.parametrize("text", ["", "\n", "hunter2", ":hunter2", "alice:hunter2\nmore:x\n", "alice:hunter2\0"])
def test_a_file_without_one(text: str) -> None:
    with pytest.raises(UsageError, match="not one line with user:password") as failure:
        login_of(text, "--proxy-auth", "fi\x1ble")
    assert "hunter2" not in str(failure.value) and str(failure.value).isprintable()
