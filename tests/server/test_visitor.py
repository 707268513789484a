"""Visitor: a connection between two threads; the entrance makes a stranger of it again."""

from __future__ import annotations

from links import Pairs

from nitrosocks_lib.net.tls import TlsLink
from nitrosocks_lib.server.stranger import Stranger
from nitrosocks_lib.server.visitor import Visitor


def test_a_visitor_that_comes_back_is_a_stranger_with_what_was_read() -> None:
    with Pairs() as pairs:
        _, link = pairs.make()
        assert isinstance(link, TlsLink)
        stranger = Stranger.over(*Visitor(link, ("192.0.2.7", 4711), b"net", 12.5, b"read")[:5])
        assert (str(stranger), stranger.accepted, stranger.read_before) == ("192.0.2.7:4711", 12.5, b"read")
        assert stranger.link is link and stranger.fd == link.fd and not stranger.silent
