"""The server's audit trail: which events there are, and the sentence of each. docs/logging.md lists their fields."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from string import Formatter
from typing import Final

from ..facts import limits
from ..facts.levels import NOTE
from ..facts.words import foreign

log = logging.getLogger(__name__)
Value = str | int | float
_OURS: Final = ("reason", "fault")  # sentences of ours, which hold words of others already cut
_OPTIONAL: Final = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True)
class Event:
    """One kind of event. `sentence` names its fields; a part in brackets is left out where a field in it is empty."""

    level: int
    sentence: str
    more: tuple[str, ...] = ()  # fields that the sentence does not show

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """All of them, in the order in which they are given."""
        return *dict.fromkeys(_named(self.sentence)), *self.more

    def said(self, values: Mapping[str, Value]) -> str:
        """The sentence with these values."""

        def kept(part: re.Match[str]) -> str:
            return part[1] if all(values[name] != "" for name in _named(part[1])) else ""

        return _OPTIONAL.sub(kept, self.sentence).format_map(values)


def _named(sentence: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(sentence) if name]


EVENTS: Final[dict[str, Event]] = {
    "session-started": Event(
        NOTE, "{client}: session {session} started from {source} over {carrier}, key {fingerprint}"
    ),
    "session-lost": Event(
        logging.INFO,
        "{client}: session {session} lost its connection from {source} over {carrier}[: {reason}]; "
        "it is kept for {kept} s",
    ),
    "session-resumed": Event(logging.INFO, "{client}: session {session} resumed from {source} over {carrier}"),
    "session-moved": Event(
        NOTE, "{client}: session {session} resumed from {source} over {carrier}; before, it came from {before}"
    ),
    "session-ended": Event(
        NOTE,
        "{client}: session {session} ended after {duration} s: {reason}; streams: {streams}, bytes received: "
        "{received}, sent: {sent}; from {source} over {carrier}, key {fingerprint}",
    ),
    "target-reached": Event(logging.INFO, "{client}: {target} reached at {reached}"),
    "stream-refused": Event(NOTE, "{client}: session {session}: {target}: {how}: {reason}"),
    "stream-ended": Event(
        NOTE,
        "{client}: session {session}: {target}[ at {reached}] ended after {duration} s: {how}[: {reason}]; "
        "bytes received: {received}, sent: {sent}",
    ),
    "accepted-ended": Event(
        NOTE,
        "{client}: session {session}: connection[ from {source}] to {where} ended after {duration} s: {how}"
        "[: {reason}]; bytes received: {received}, sent: {sent}",
    ),
    "listening-started": Event(NOTE, "{client}: session {session}: listening on {where}", ("reason",)),
    "listening-ended": Event(NOTE, "{client}: session {session}: no longer listening on {where}[: {reason}]"),
    "listening-refused": Event(NOTE, "{client}: session {session}: cannot listen on {where}: {reason}"),
    "login-failed": Event(
        logging.WARNING,
        "{source}: login failed over {carrier}[, client {client}][, key {fingerprint}][, file {file}]: {reason}",
    ),
    "logins-failed": Event(logging.WARNING, "more failed logins from {source} in {seconds} s: {count}"),
    "login-refused": Event(logging.INFO, "{source}: login refused over {carrier}[, client {client}]: {reason}"),
    "handshake-failed": Event(logging.INFO, "{source}: the handshake failed over {carrier}: {reason}"),
    "client-faulty": Event(logging.ERROR, "{fault}", ("file",)),
    "client-revoked": Event(
        logging.WARNING, "{client} was revoked[ ({reason})]: its session {session} ends", ("source", "fingerprint")
    ),
    "certificate-reloaded": Event(NOTE, "reloaded: certificate {subject}[, expires {expires}]"),
    "certificate-expires": Event(logging.WARNING, "the TLS certificate of {subject} {reason}", ("expires",)),
    "certificate-faulty": Event(logging.WARNING, "{fault}"),
    "client-held": Event(logging.INFO, "{client} is held to its rate {direction}: {rate} bytes a second"),
    "client-holds-too-much": Event(
        logging.WARNING, "{client}: all sessions together hold too much; its largest ends, session {session}"
    ),
}


def tell(name: str, **values: Value) -> None:
    """One event, with a value for each of its fields; "" where there is none. Texts are made harmless here."""
    event = EVENTS[name]
    if not log.isEnabledFor(event.level):
        return
    assert values.keys() == set(event.fields), f"{name} has the fields {event.fields}"
    fields = {field: _harmless(field, values[field]) for field in event.fields}
    log.log(event.level, "%s", event.said(fields), extra={"event": name, "fields": fields})


def _harmless(field: str, value: Value) -> Value:
    if isinstance(value, str):
        return foreign(value, limits.LINE if field in _OURS else limits.WORDS)
    return value
