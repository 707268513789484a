"""What `doctor` finds, as values; `cli.diagnosis` makes words of them. Fields are those of `--json` (docs/doctor.md).

A finding is GOOD, BAD (it needs somebody who acts) or NOTED (neither: nothing was asked, or nothing can be told).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..facts.errors import NitroSocksError


class State(Enum):
    """How a line begins."""

    GOOD = "good"
    BAD = "bad"
    NOTED = "noted"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`server` is host:port, or nothing for what concerns all; `error` says why it is not good."""

    server: str = ""
    state: State = State.GOOD
    error: NitroSocksError | None = None


@dataclass(frozen=True, kw_only=True)
class Clock(Finding):
    """What this clock says, unix seconds. BAD where that cannot be."""

    unix: float


@dataclass(frozen=True, kw_only=True)
class Pac(Finding):
    """A script that chooses proxies for browsers, and where it is named. It is told, and not run: NOTED."""

    url: str
    named_by: str


@dataclass(frozen=True, kw_only=True)
class Proxy(Finding):
    """The proxy on the way, host:port, and where it was named: seconds until it opened the way, or did not."""

    proxy: str
    named_by: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Name(Finding):
    """The addresses of the server's name. `literal`: it is an address itself."""

    host: str
    v4: tuple[str, ...] = ()
    v6: tuple[str, ...] = ()
    seconds: float = 0.0
    literal: bool = False


@dataclass(frozen=True, kw_only=True)
class Tcp(Finding):
    """One address: seconds until it connected, or until it failed."""

    address: str
    seconds: float
    hangs: bool = False


@dataclass(frozen=True, kw_only=True)
class Tls(Finding):
    """A handshake that offers no ALPN, as the carrier raw makes it."""

    seconds: float
    version: str = ""
    cipher: str = ""
    hangs: bool = False


@dataclass(frozen=True, kw_only=True)
class Alpn(Finding):
    """A handshake that offers `offered`; `chosen` is what was agreed on, or nothing."""

    offered: str
    chosen: str = ""
    seconds: float = 0.0
    hangs: bool = False


@dataclass(frozen=True, kw_only=True)
class Certificate(Finding):
    """The leaf that was met: issuer, SHA-256 in hex, and whether it verifies as browsers have it."""

    issuer: str
    sha256: str
    verifies: bool
    flaw: str = ""  # why it does not


@dataclass(frozen=True, kw_only=True)
class Carrier(Finding):
    """One greeting over one carrier. `hangs`: nothing was said until the time was over. Also GOOD where the server
    itself refused: then the carrier carried."""

    carrier: str
    seconds: float
    hangs: bool = False


@dataclass(frozen=True, kw_only=True)
class Key(Finding):
    """The server's key in the profile; GOOD when the server proved to have it."""

    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Client(Finding):
    """Whether the server takes this client."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Interception(Finding):
    """Which certificate was met, and which one the server says that it presented; SHA-256 in hex, or nothing."""

    intercepted: bool | None  # None where the server does not say
    issuer: str
    met: str
    stated: str


@dataclass(frozen=True, kw_only=True)
class RoundTrip(Finding):
    """The shortest of a few questions through the session, seconds."""

    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Difference(Finding):
    """By how many seconds this clock is ahead of the server's."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Destination(Finding):
    """One target of --open. `reply` is the code of the refusal (protocol 5), 0 where there is none."""

    target: str
    seconds: float = 0.0
    reply: int = 0


@dataclass(frozen=True, kw_only=True)
class Idle(Finding):
    """A session that was left alone: for how long its connection lived, and the longest silence in it; seconds.

    No silence is longer than the heartbeat, of which the server decides.
    """

    asked: float
    lived: float
    silence: float
    heartbeat: float


@dataclass(frozen=True, kw_only=True)
class Age(Finding):
    """A session with a question each second: for how many seconds its connection lived."""

    asked: float
    lived: float


@dataclass(frozen=True, kw_only=True)
class Speed(Finding):
    """Bytes a second to the server (PAD frames) or through a target that echoes."""

    way: str  # up, down
    by: str  # pad, or the target
    rate: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Verdict(Finding):
    """What `forward` would do with the same options: GOOD where there is a session."""

    carrier: str = ""
