"""How streams ended, as the audit trail says it."""

from __future__ import annotations

from typing import Final

from ..facts.wire import Reply
from ..net.timers import now
from ..protocol.frames import Target
from ..session.reaching import name_of, shown
from ..session.streams import LOCAL_BROKE, SILENT_LONGEST, Ending, Stream
from .audit import Value, tell

_ENDED: Final = {
    Ending.CLEAN: "clean",
    Ending.RESET_HERE: "reset by target",
    Ending.RESET_THERE: "reset by client",
    Ending.LOST: "lost",
}
_ACCEPTED: Final = _ENDED | {Ending.RESET_HERE: "reset by source", Ending.REFUSED: "refused by client"}
_NOT_REACHED, _BY_SERVER = "not reached", "refused by server"
_REFUSED: Final[dict[int, str]] = {
    Reply.NOT_PERMITTED: "refused by rule",
    Reply.CONNECTION_REFUSED: "refused by target",
    Reply.COMMAND: _BY_SERVER,
}


def tell_over(client: str, session: int, stream: Stream, began: float) -> None:
    """A stream is over; `began` in seconds of net.timers."""
    assert stream.ending is not None, "it is over"
    if stream.ending is Ending.REFUSED and stream.accepted is None:
        tell_refused(client, session, stream.target, stream.detail, stream.reason)
        return
    moved: dict[str, Value] = {
        "duration": round(now() - began, 1),
        "reason": "" if stream.reason == LOCAL_BROKE else stream.reason,  # the local side did, which `how` says
        "received": stream.credit.received if stream.credit is not None else 0,  # None: its session was over before
        "sent": stream.sent,
    }
    where = name_of(stream.target)
    how = (_ENDED if stream.accepted is None else _ACCEPTED)[stream.ending]
    if stream.ending is Ending.RESET_HERE and stream.reason == SILENT_LONGEST:
        how = "reset by server"
    if stream.accepted is not None:
        source = shown(stream.accepted.peer)
        tell("accepted-ended", client=client, session=session, where=where, source=source, how=how, **moved)
    else:
        reached = shown(stream.reached) if stream.reached is not None else ""
        tell("stream-ended", client=client, session=session, target=where, reached=reached, how=how, **moved)


def tell_refused(client: str, session: int, target: Target, code: int, reason: str) -> None:
    """A stream was refused, with a reply code of RFC 1928."""
    how = _REFUSED.get(code, _NOT_REACHED)
    tell("stream-refused", client=client, session=session, target=name_of(target), how=how, reason=reason)
