"""NTLM and Negotiate against pyspnego's own acceptor, and what is said where it is missing or does not do."""

from __future__ import annotations

import logging
import sys
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
import spnego
from logged import here
from spoken import answer

from nitrosocks_lib.client import sso
from nitrosocks_lib.facts.errors import ProxyRefused
from nitrosocks_lib.protocol.http_proxy import connect
from nitrosocks_lib.protocol.proxy_auth import Login
from nitrosocks_lib.protocol.proxy_login import Answers, Unable

LOGIN = Login("EXAMPLE\\alice", "secret")


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What pyspnego's acceptor knows, and its initiator uses when it is given no login."""
    path = tmp_path / "users"
    path.write_text("EXAMPLE:alice:secret\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(path))
    return path


def accepted(scheme: str, login: Login | None) -> tuple[str, int]:
    """Who a proxy takes us for, and after how many requests."""
    name = {"ntlm": "NTLM", "negotiate": "Negotiate"}[scheme]
    acceptor = spnego.server(hostname="localhost", service="HTTP", protocol=scheme)
    talk = connect("a", 1, Answers(login, lambda each: sso.begin(each, "localhost", login), bytes))
    next(talk)
    said, requests = talk.send(answer("407 Who", f"Proxy-Authenticate: {name}")), 2
    while not acceptor.complete:
        assert said is not None
        given = said.decode().partition(f"Proxy-Authorization: {name} ")[2].strip()
        try:
            token = acceptor.step(b64decode(given)) or b""
        except spnego.exceptions.SpnegoError:
            talk.send(answer("407 Who", f"Proxy-Authenticate: {name}"))
            raise AssertionError("the talk goes on") from None
        if not acceptor.complete:
            said = talk.send(answer("407 Who", f"Proxy-Authenticate: {name} {b64encode(token).decode()}"))
            requests += 1
    with pytest.raises(StopIteration):
        talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
    return str(acceptor.client_principal), requests


@pytest.mark.parametrize("scheme", ["ntlm", "negotiate"])
@pytest.mark.parametrize("login", [LOGIN, None], ids=["login", "user file"])
def test_several_round_trips(users: Path, scheme: str, login: Login | None) -> None:
    who, requests = accepted(scheme, login)
    assert who == "EXAMPLE\\alice" and requests == 3


def test_no_log_has_what_is_said(users: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("spnego").setLevel(logging.NOTSET)
    with caplog.at_level(logging.DEBUG):
        handshake = sso.begin("negotiate", "localhost", LOGIN)
        acceptor = spnego.server(hostname="localhost", service="HTTP", protocol="negotiate")
        handshake.step(acceptor.step(handshake.step(b"")) or b"")
        assert not here(caplog)
        logging.getLogger("spnego").setLevel(logging.NOTSET)
        spnego.client("a", "b", "localhost", "HTTP", protocol="negotiate").step()
        assert here(caplog), "it would have said something"


@pytest.mark.parametrize("scheme", ["ntlm", "negotiate"])
def test_a_wrong_password(users: Path, scheme: str) -> None:
    with pytest.raises(ProxyRefused, match=r"rejected this user and password with N\w+ \(407\)"):
        accepted(scheme, Login("EXAMPLE\\alice", "wrong"))


def test_without_a_login_and_without_tickets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NTLM_USER_FILE", raising=False)
    with pytest.raises(Unable) as failure:
        sso.begin("ntlm", "localhost", None).step(b"")
    assert "--proxy-auth" in failure.value.hint and "kinit" in failure.value.hint


def test_bytes_that_make_no_sense() -> None:
    for token in (b"x", b"NTLMSSP\0\2\0\0\0", bytes(100), b"\x60\xff"):
        for scheme in ("ntlm", "negotiate"):
            handshake = sso.begin(scheme, "localhost", LOGIN)
            handshake.step(b"")
            with pytest.raises(Unable):
                handshake.step(token)


def test_pyspnego_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spnego", None)
    with pytest.raises(Unable, match="pyspnego is missing") as failure:
        sso.begin("ntlm", "localhost", LOGIN)
    assert "nitrosocks[sso]" in failure.value.hint and "cntlm" in failure.value.hint


@pytest.mark.parametrize(
    ("environ", "tickets", "more"),
    [
        ({}, {"/tmp"}, set()),
        ({"KRB5CCNAME": "FILE:/run/user/1000/krb5cc"}, {"/run/user/1000"}, set()),
        ({"KRB5CCNAME": "/home/alice/cc"}, {"/home/alice"}, set()),
        ({"KRB5CCNAME": "DIR:/run/user/1000/krb5cc"}, {"/run/user/1000/krb5cc"}, set()),
        ({"KRB5CCNAME": "KCM:"}, set(), set()),
        ({"NTLM_USER_FILE": "/u", "KRB5_CONFIG": "/k", "KRB5CCNAME": "KEYRING:x"}, set(), {"/u", "/k"}),
    ],
)
def test_what_is_read(
    environ: dict[str, str], tickets: set[str], more: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"spnego", "gssapi"}
    monkeypatch.setattr(sso, "find_spec", lambda name: name if name in there else None)
    assert sso.readable(environ) == {Path(each) for each in tickets | more}
    there.remove("gssapi")
    assert sso.readable(environ) == {Path(each) for each in more}, "without it there are no tickets"
    there.clear()
    assert sso.readable(environ) == set()
