"""Talks with a local proxy that has no sockets: what it says to what an application sends."""

from __future__ import annotations

from collections.abc import Iterable

from nitrosocks_lib.protocol.asked import Asked, Rejected
from nitrosocks_lib.protocol.local_proxy import asks
from nitrosocks_lib.protocol.proxy_auth import Login


def ask(pieces: Iterable[bytes], login: Login | None = None) -> tuple[bytes, Asked | Rejected | None]:
    """All that the proxy says, and what comes of it; None while it waits for more."""
    talk, said = asks(login), b""
    said += next(talk)
    for piece in pieces:
        try:
            while answer := talk.send(piece):
                said, piece = said + answer, b""
        except StopIteration as ended:
            assert isinstance(ended.value, Asked)
            return said, ended.value
        except Rejected as error:
            return said + error.answer, error
    return said, None


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def rejected(data: bytes, login: Login | None = None) -> tuple[bytes, str]:
    """What is said to a request that leads to no target, and why."""
    said, outcome = ask([data], login)
    assert isinstance(outcome, Rejected), outcome
    return said, str(outcome)


def asked(data: bytes, login: Login | None = None, size: int = 1 << 20) -> tuple[bytes, Asked]:
    """What is said before the answer, and what is asked for."""
    said, outcome = ask(in_pieces(data, size), login)
    assert isinstance(outcome, Asked), outcome
    return said, outcome
