"""The tree of errors. The class says who must act, `hint` says what to do; only `cli.main` maps them to exit codes.

NitroSocksError
├── UsageError          you: the command line                                 64
├── KeyFileError        you: a key file, profile or client file               65
├── NetworkError        the network: unreachable, refused, cut                69
│   ├── ConnectionEnded the other side says that it sends no more
│   ├── Unreachable     not even a TCP connection: no other carrier does better
│   │   └── ProxyRefused    a proxy on the way does not let us, or not before it knows who we are
│   └── CarrierLost     requests of an http carrier fail, or its peer breaks its rules
├── CannotCreate        you: a file or an address that cannot be made         73
├── ProtocolError       the peer broke the protocol or is not NitroSocks      76
│   ├── NotOurs         the first bytes are no valid knock (protocol 3.6)
│   ├── Unanswered      the greeting got no answer
│   ├── DecoyAnswer     a web server answered it
│   ├── CutShort        the handshake began, and the connection ended amid it
│   ├── Intercepted     somebody ends the TLS in between, and that was ruled out
│   ├── Overtaken       a RESUME that a later one was quicker than
│   ├── Violation       a frame that is not allowed; carries the ABORT code
│   └── BadFrame        a frame that does not open; ends the connection only
├── NotAuthorised       the operator: client unknown, revoked, wrong Token    77
├── Refused             the server says why not (full, draining, …)           69, or 76 where versions differ
├── SessionLost         the session cannot be resumed                         69
└── ConfigurationError  you: settings that contradict each other              78
"""

from __future__ import annotations

from .wire import Abort, Refusal


class NitroSocksError(Exception):
    """Base of all; `hint` is one line that says what to do, or empty."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def in_full(self) -> str:
        """What went wrong and what to do about it, in one line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class UsageError(NitroSocksError):
    """The command line cannot be understood."""


class KeyFileError(NitroSocksError):
    """A key file, profile or client file is missing, malformed or readable by others."""


class NetworkError(NitroSocksError):
    """The peer cannot be reached, or the connection ended."""


class Unreachable(NetworkError):
    """There is no TCP connection to the server, so no other carrier would do better."""


class CarrierLost(NetworkError):
    """A carrier of HTTP requests is over, as a TCP connection is (protocol 6): RESUME follows."""


class ConnectionEnded(NetworkError):
    """The other side says that it sends no more: TLS does (`notified`), or only TCP."""

    def __init__(self, notified: bool) -> None:
        super().__init__("the connection ended")
        self.notified = notified


class ProxyRefused(Unreachable):
    """A proxy on the way answered, and does not let us pass; where `final`, not to another address of the name, too."""

    def __init__(self, message: str, hint: str = "", final: bool = True) -> None:
        super().__init__(message, hint)
        self.final = final


class CannotCreate(NitroSocksError):
    """A file or a listening address cannot be made, or stdout cannot be written."""


class ProtocolError(NitroSocksError):
    """The peer does not follow NitroSocks/1, or bytes were changed on the way."""


class NotOurs(ProtocolError):
    """The first bytes are no valid knock, or its first Enc does not open (protocol 3.6)."""


class Unanswered(ProtocolError):
    """The server did not answer the greeting; the clock and the server's key are to be looked at first."""


class DecoyAnswer(ProtocolError):
    """A web server answered the greeting: the knock did not fit, perhaps because a clock is off (protocol 3.2)."""

    def __init__(self, head: bytes) -> None:
        super().__init__("a web server answered the greeting")
        self.head = head


class CutShort(ProtocolError):
    """The connection ended amid the handshake: cut on the way, or by a peer that found something wrong."""


class Intercepted(ProtocolError):
    """Somebody ends the TLS between client and server, and the client was told to refuse that."""


class Overtaken(ProtocolError):
    """A RESUME whose j is not above the last one accepted: a later attempt was quicker (protocol 3.5)."""

    def __init__(self, message: str = "a RESUME is older than the last one accepted") -> None:
        super().__init__(message)


class Violation(ProtocolError):
    """A frame that opens but must not stand here (protocol 4); the session is over."""

    def __init__(self, message: str, reason: Abort = Abort.VIOLATION) -> None:
        super().__init__(message)
        self.reason = reason


class BadFrame(ProtocolError):
    """A frame whose length or tag is wrong (protocol 4); the connection is over, the session is not."""


class NotAuthorised(NitroSocksError):
    """The server does not know this client, or their Tokens differ."""


class Refused(NitroSocksError):
    """The server refused the handshake with a reason (protocol 3.6)."""

    def __init__(self, reason: Refusal, hint: str = "") -> None:
        super().__init__(f"the server refuses: {REFUSAL_TEXT[reason]}", hint)
        self.reason = reason


class SessionLost(NitroSocksError):
    """The session cannot be resumed; its stream is reset."""


class ConfigurationError(NitroSocksError):
    """Settings that contradict each other."""


REFUSAL_TEXT = {
    Refusal.UNKNOWN_CLIENT: "this client is unknown or revoked",
    Refusal.UNKNOWN_SESSION: "the session is unknown or has expired",
    Refusal.FULL: "the server is full",
    Refusal.NO_COMMON: "no common version or encryptType",
    Refusal.DRAINING: "the server is about to stop",
}
