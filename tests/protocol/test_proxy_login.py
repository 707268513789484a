"""Which way is taken of those that a proxy offers, what is said when none can be, and how often one is tried."""

from __future__ import annotations

import pytest

from nitrosocks_lib.facts.errors import NetworkError, ProxyRefused
from nitrosocks_lib.protocol.proxy_auth import Login, challenges, digest
from nitrosocks_lib.protocol.proxy_login import Answers, Unable

LOGIN = Login("user", "password")
TARGET = "server.example:443"
ALL = ["Basic realm=x", "Digest realm=x, nonce=n", "NTLM", "Negotiate"]


class Steps:
    """A handshake of two steps, which says what it is told."""

    def __init__(self, scheme: str) -> None:
        self.scheme, self.heard = scheme, []

    def step(self, token: bytes) -> bytes:
        self.heard.append(token)
        if token == b"bad":
            raise Unable("it makes no sense", "do something")
        return b"first" if not token else b"second"


def none(scheme: str):
    raise Unable(f"no {scheme}", "install it")


def answers(login: Login | None = LOGIN, begin=Steps) -> Answers:
    return Answers(login, begin, bytes)


def ask(answers: Answers, *offered: str, kept: bool = True) -> str:
    return answers.answer(challenges(offered), TARGET, kept)


@pytest.mark.parametrize(
    ("offered", "begin", "taken"),
    [
        (ALL, Steps, "Negotiate Zmlyc3Q="),
        (ALL[:3], Steps, "NTLM Zmlyc3Q="),
        (ALL, none, "Digest "),
        (ALL[:1], none, "Basic dXNlcjpwYXNzd29yZA=="),
        (["Digest realm=x, nonce=n, algorithm=SHA-512", "Basic"], none, "Basic "),
        (["Bearer", "Basic"], none, "Basic "),
    ],
)
def test_the_first_that_is_possible_is_taken(offered: list[str], begin, taken: str) -> None:
    assert ask(answers(begin=begin), *offered).startswith(taken)


@pytest.mark.parametrize(
    ("offered", "login", "takes", "hint"),
    [
        (["Basic", "Basic"], None, "offers Basic", "give user:password in a file with --proxy-auth FILE"),
        (["NTLM", "Digest nonce=n"], None, "offers NTLM, Digest", "install it; or give user:password"),
        (["NTLM", "Negotiate"], LOGIN, "offers NTLM, Negotiate", "install it"),
        (["Bearer", "Be\x1barer"], LOGIN, "offers bearer", "px, cntlm"),
        (["x" * 50], LOGIN, f"offers {'x' * 39}…", "px, cntlm"),
        (["Digest nonce=n, algorithm=SHA-512"], LOGIN, "offers Digest", "px, cntlm"),
        ([], LOGIN, "no way to log in", "px, cntlm"),
    ],
)
def test_none_is_possible(offered: list[str], login: Login | None, takes: str, hint: str) -> None:
    with pytest.raises(ProxyRefused) as failure:
        ask(answers(login, none), *offered)
    assert takes in str(failure.value) and "(407)" in str(failure.value) and hint in failure.value.hint
    assert "password" not in str(failure.value)


@pytest.mark.parametrize("offered", ALL)
def test_what_is_refused_is_not_tried_again_nor_is_another(offered: str) -> None:
    made = answers()
    name = ask(made, offered).partition(" ")[0]
    with pytest.raises(ProxyRefused, match=f"rejected this user and password with {name}") as failure:
        ask(made, *ALL)
    assert "check them" in failure.value.hint


def test_digest_is_for_connect_to_the_target() -> None:
    offered = "Digest realm=x, nonce=n, qop=auth"
    said = ask(Answers(LOGIN, none, lambda size: bytes(range(size))), offered)
    assert said == digest(challenges([offered])[0], LOGIN, "CONNECT", TARGET, bytes(range(16)).hex())
    assert f'uri="{TARGET}"' in said and 'cnonce="000102030405060708090a0b0c0d0e0f"' in said


def test_a_nonce_that_is_stale_is_not_a_wrong_password_but_twice_is_enough() -> None:
    made = answers()
    for nonce, stale in (("1", ""), ("2", ", stale=TRUE"), ("3", ", stale=true")):
        assert f'nonce="{nonce}"' in ask(made, f"Digest realm=x, nonce={nonce}{stale}")
    with pytest.raises(ProxyRefused, match="rejected"):
        ask(made, "Digest realm=x, nonce=4, stale=true")


def test_a_handshake_goes_on_with_what_the_proxy_says() -> None:
    begun: list[Steps] = []

    def begin(scheme: str) -> Steps:
        begun.append(Steps(scheme))
        return begun[-1]

    made = answers(begin=begin)
    ask(made, "NTLM", "Basic")
    assert ask(made, "NTLM Y2hhbGxlbmdl", "Basic") == "NTLM c2Vjb25k"
    assert [each.heard for each in begun] == [[b"", b"challenge"]]
    with pytest.raises(ProxyRefused, match="rejected this user and password with NTLM"):
        ask(made, "NTLM", "Basic")


def test_a_handshake_whose_connection_is_closed_begins_again_but_not_for_ever() -> None:
    made = answers()
    ask(made, "NTLM")
    assert ask(made, "NTLM Y2hhbGxlbmdl", kept=False) == "NTLM Zmlyc3Q="
    assert made.begin_again() == "NTLM Zmlyc3Q="
    with pytest.raises(NetworkError, match="closed the connection during NTLM"):
        made.begin_again()


def test_others_are_said_again_on_a_new_connection() -> None:
    made = answers()
    assert made.begin_again() == ""
    said = ask(made, "Basic")
    assert [made.begin_again() for _ in range(9)] == [said] * 9


def test_tokens_that_make_no_sense() -> None:
    bad = ("!", NetworkError, "not base64"), ("YmFk", ProxyRefused, "NTLM failed: it makes no sense")
    for token, kind, told in bad:
        made = answers()
        ask(made, "NTLM")
        with pytest.raises(kind, match=told):
            ask(made, f"NTLM {token}")
