"""Where strangers go that are not ours: to the decoy, into the tarpit, or they are closed (protocol 3.6)."""

from __future__ import annotations

from contextlib import suppress

from ..facts import limits
from ..facts.errors import NetworkError
from ..net.ends import PlainEnd
from ..net.pipe import PipeLink
from ..net.timers import now
from ..net.tls import TlsLink
from ..protocol.judge import is_theirs
from .stranger import Stranger
from .tarpit import Tarpit
from .upstream import Upstream
from .visitor import Visitor
from .web import Web


class Exits:
    """The accept thread's."""

    def __init__(self, tarpit: Tarpit, web: Web | None) -> None:
        self._tarpit, self._web = tarpit, web
        self._ahead: dict[Stranger, Upstream] = {}  # connections to the decoy, for who is not known yet
        self._quiet: dict[Stranger, float] = {}  # behind TLS they said nothing; when the decoy has to hear of them

    @property
    def decoyed(self) -> bool:
        """Whether there is a decoy: what is not ours is to have the times of a web server then."""
        return self._web is not None and self._web.decoy is not None

    def begins(self, stranger: Stranger) -> None:
        """It was accepted, and a connection to the decoy begins, if none has: web servers count from accept on until a
        head is there. Beyond a bound the oldest is closed; whoever had it is shown to the decoy later."""
        if self._web is None or self._web.decoy is None or stranger in self._ahead:
            return
        if len(self._ahead) >= min(limits.AHEAD, self._web.most):
            self.spare(next(iter(self._ahead)))
        ahead = Upstream(self._web.decoy.begin(lambda fd, events: None, lambda fd: None))
        try:
            ahead.move(now())
        except NetworkError:  # who has something for it tries again
            ahead.close()
        else:
            self._ahead[stranger] = ahead

    def spare(self, stranger: Stranger) -> None:
        """The decoy is not to serve it."""
        ahead = self._ahead.pop(stranger, None)
        if ahead is not None:
            ahead.close()

    def close(self, stranger: Stranger) -> None:
        """Ends it."""
        self.spare(stranger)
        stranger.close()

    def see_off(self, stranger: Stranger, broken: bool) -> None:
        """One that failed, or whose connection broke; it has no place any more.

        Without TLS it is closed, as at any web server; behind a first Enc, too (D6). Else the decoy serves it, or it is
        closed late. What the `http` carrier brought is its own to see off.
        """
        link, ahead = stranger.link, self._ahead.pop(stranger, None)
        if link is None and stranger.incoming is not None:
            if stranger.plain and self._web is not None and self.decoyed:
                self._web.take(_visitor(stranger, stranger.incoming.plain(), ahead))
                return
            stranger.incoming.part()
        elif link is None or stranger.hello is not None or isinstance(link, PipeLink):
            stranger.close()
        elif self._web is None or not isinstance(link, TlsLink) or not self._web.wants(stranger.read_before):
            self._tarpit.add(stranger.accepted, link)
        elif broken and not stranger.read_before:
            link.part()  # as web servers do
        else:
            self._web.take(self._told(_visitor(stranger, link, ahead)))
            return
        if ahead is not None:
            ahead.close()

    def _told(self, visitor: Visitor) -> Visitor:
        """The decoy gets what is its own in any case at once: another thread takes a while to begin.

        Where more came behind it, both go on together: web servers see the difference.
        """
        got, ahead = visitor.got, visitor.ahead
        if self._web is None or ahead is None or not (got and is_theirs(got, self._web.door.can_begin)):
            return visitor
        if visitor.link.has_more():
            return visitor
        ahead.push(got)
        with suppress(NetworkError):  # who takes the visitor finds that, too
            ahead.move(now())
        return visitor._replace(told=True)

    def waits(self, stranger: Stranger) -> None:
        """More of it has to come."""
        if not stranger.silent:
            self.forget(stranger)
        elif self.decoyed:
            self._quiet.setdefault(stranger, now() + limits.QUIET)

    def forget(self, stranger: Stranger) -> None:
        """It is over, or has gone on."""
        self._quiet.pop(stranger, None)

    @property
    def next_at(self) -> float | None:
        """When `quiet` has the next one."""
        return next(iter(self._quiet.values()), None)

    def quiet(self, at: float) -> list[Stranger]:
        """Those that have said nothing for so long that the decoy has to hear of them: its time for them begins."""
        due = []
        while self._quiet and next(iter(self._quiet.values())) <= at:
            stranger = next(iter(self._quiet))
            del self._quiet[stranger]
            due += [stranger] if stranger.silent else []
        return due


def _visitor(stranger: Stranger, link: TlsLink | PlainEnd, ahead: Upstream | None = None) -> Visitor:
    return Visitor(link, stranger.peer, stranger.source, stranger.began, stranger.read_before, ahead)
