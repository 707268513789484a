"""All ways to ask a local proxy keep the same contract: a target, what is early, and an answer to all outcomes."""

from __future__ import annotations

import pytest
from asking_proxy import asked

from nitrosocks_lib.protocol.asked import Rejected
from nitrosocks_lib.protocol.frames import Address

WAYS = [
    b"\5\1\0\5\1\0\3\1a\0\x50",
    b"\4\1\0\x50\0\0\0\1\0a\0",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
]


@pytest.mark.parametrize("way", WAYS)
def test_each_answer_tells_yes_from_no(way: bytes) -> None:
    _, found = asked(way + b"early")
    assert found.early == b"early"
    noes = {found.answers.failed(code, "why") for code in range(256)}
    assert b"" not in noes
    for host in ("10.0.0.1", "::1", "a.example", "/run/a.sock", ""):
        assert found.answers.opened(Address(host, 0)) not in noes | {b""}


def test_a_rejection_says_why_and_what_is_to_be_sent() -> None:
    error = Rejected("because", b"no")
    assert (str(error), error.answer, Rejected("because").answer) == ("because", b"no", b"")
