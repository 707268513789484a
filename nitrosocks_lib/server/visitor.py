"""A connection that is HTTP, as the entrance hands it over, and as those know it who answer requests of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..crypto.token import Token
from ..net.ends import PlainEnd
from ..net.tls import TlsLink
from ..protocol.http1 import Head
from ..protocol.judge import Ours, Piece
from .upstream import Upstream

Found = tuple[Token, int]  # what a token says, and the hour that it was made with


class Visitor(NamedTuple):
    """A connection on its way between two threads; `got` was read of it. Its time runs from `accepted`.

    `ahead` is one to the decoy, where that was made already: who takes the visitor has it, too. `told`: all of `got`
    went there.
    """

    link: TlsLink | PlainEnd
    peer: tuple[str, int]
    source: bytes
    accepted: float
    got: bytes = b""
    ahead: Upstream | None = None
    told: bool = False

    @property
    def tls(self) -> TlsLink:
        """Its link, where it may be one of ours."""
        assert isinstance(self.link, TlsLink), "what is plain is the decoy's"
        return self.link


class Exchange(Protocol):
    """What answers one request of ours; the web thread's. It calls `Visit.answer` when it has the answer."""

    reads: bool  # whether it takes of the body now

    def begin(self) -> None:
        """The first call: the connection has it by now."""

    def body(self, piece: Piece) -> None:
        """A piece of the body."""

    def whole(self) -> None:
        """The body is whole."""

    def broken(self, raw: bytes) -> None:
        """The body is ambiguous; `raw` is what is left of it."""

    def gone(self) -> None:
        """The connection has ended, or gave way."""


class Asked(Protocol):
    """The connection of a request of ours, as who answers it has it; the web thread's. `Visit` is it."""

    link: TlsLink | PlainEnd
    peer: tuple[str, int]
    source: bytes
    accepted: float

    @property
    def tls(self) -> TlsLink:
        """As in Visitor."""

    def send(self, data: bytes) -> None:
        """Goes to the visitor, and is not all of the answer."""

    def answer(self, data: bytes, close: bool = False) -> None:
        """The answer to the request of ours that is whole; with `close`, the connection ends behind it."""

    def refuse(self, head: Head, raw: bytes) -> None:
        """The request of ours that was told last is the decoy's; `raw` is all that came of it."""

    def resume(self) -> None:
        """The exchange reads again."""

    def give(self, exchange: Exchange) -> None:
        """Another one answers the request from here on."""

    def upgrade(self, head: bytes) -> Visitor | None:
        """Answers the request with a head behind which there is no HTTP, and gives the connection away as `release`
        does; None where that cannot be done at once: it is closed then."""

    def release(self, got: bytes = b"") -> Visitor:
        """Gives the connection away; what was read and not told stands behind `got`, for its next owner."""

    def unseat(self) -> None:
        """It is one of a client's, and takes no stranger's place any more."""

    def seat(self) -> None:
        """It takes a stranger's place again."""


@dataclass(frozen=True, slots=True)
class Door:
    """What a visit asks of those who know what is ours."""

    find: Callable[[Head], Found | None]
    can_begin: Callable[[bytes], bool]
    knocks: Callable[[bytes], bool]  # the first read is a valid knock
    back: Callable[[Visitor], None]  # so it is the entrance's
    begin: Callable[[Asked, Ours[Found]], Exchange | None]  # None: it is not ours after all
