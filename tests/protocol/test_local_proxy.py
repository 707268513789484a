"""One port for SOCKS 5, 4, 4a and HTTP: the first byte tells which."""

from __future__ import annotations

import pytest
from asking_proxy import asked, rejected

from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.proxy_server import AnswersConnect, AnswersRequest
from nitrosocks_lib.protocol.socks_server import Answers4, Answers5


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("data", "answers"),
    [
        (b"\5\1\0\5\1\0\3\1a\0\x50", Answers5),
        (b"\4\1\0\x50\0\0\0\1\0a\0", Answers4),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", AnswersConnect),
        (b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", AnswersRequest),
    ],
)
def test_all_lead_to_the_same_target(data: bytes, answers: type, size: int) -> None:
    _, found = asked(data, size=size)
    assert found.target == Target(1, "a", 80)
    assert type(found.answers) is answers


def test_tls_is_not_answered() -> None:
    assert rejected(b"\x16\3\1\2\0\1") == (b"", "it speaks neither SOCKS nor HTTP")
