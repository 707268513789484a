"""Which of the ways that a proxy offers is taken to say who we are, and what is said at each step."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ..facts.errors import NetworkError, ProxyRefused
from ..facts.words import foreign
from .proxy_auth import Challenge, Login, basic, digest, strongest

_NAMES: Final = {"negotiate": "Negotiate", "ntlm": "NTLM", "digest": "Digest", "basic": "Basic"}  # in this order
_LOG_IN: Final = "give user:password in a file with --proxy-auth FILE, or in NITROSOCKS_PROXY or HTTPS_PROXY"
_CHECK: Final = "check them (--proxy-auth, or the proxy's URL, where special characters are written as %XX)"
_HELPER: Final = "let a local proxy that can log in (px, cntlm) do it, and name that one with --proxy"
_RESTARTS: Final = 2
_STALE: Final = 2
_CNONCE: Final = 16  # bytes


class Unable(Exception):
    """A way that cannot be gone here; the text says why, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Handshake(Protocol):
    """Negotiate or NTLM, on one connection."""

    def step(self, token: bytes) -> bytes:
        """What to say to what the proxy said, nothing at first; raises Unable."""


class Answers:
    """Of one dial. Tries one way, and no other when it is refused: wrong passwords may be counted."""

    def __init__(self, login: Login | None, begin: Callable[[str], Handshake], entropy: Callable[[int], bytes]) -> None:
        """`begin(scheme)` starts Negotiate or NTLM, or raises Unable."""
        self._login, self._begin, self._entropy = login, begin, entropy
        self._scheme = ""  # the way that is gone
        self._said = ""
        self._handshake: Handshake | None = None
        self._restarts, self._stale = _RESTARTS, _STALE

    def answer(self, offered: Sequence[Challenge], target: str, kept: bool) -> str:
        """The value of Proxy-Authorization for the next request; `kept` says that it goes over the same connection.

        Raises ProxyRefused when there is none, with what to do.
        """
        if not self._scheme:
            self._said = self._first(offered, target)
        elif self._handshake is not None:
            self._said = self._go_on(self._handshake, offered, kept)
        else:
            fresh = strongest(offered) if self._scheme == "digest" else None
            if fresh is None or fresh.parameters.get("stale", "").lower() != "true" or not self._stale:
                raise self._rejected(offered)
            self._stale -= 1
            self._said = self._by("digest", offered, target)
        return self._said

    def begin_again(self) -> str:
        """The same on a new connection, as the proxy has closed the one before."""
        if self._handshake is not None:
            if not self._restarts:
                raise NetworkError(f"it closed the connection during {_NAMES[self._scheme]}")
            self._restarts -= 1
            self._said = self._started(self._scheme)
        return self._said

    def _first(self, offered: Sequence[Challenge], target: str) -> str:
        schemes = {each.scheme for each in offered}
        hints: list[str] = []
        for scheme in (name for name in _NAMES if name in schemes):
            try:
                said = self._by(scheme, offered, target)
            except Unable as error:
                hints.append(error.hint)
            else:
                self._scheme = scheme
                return said
        hint = "; or ".join(dict.fromkeys(hints)) or _HELPER
        raise ProxyRefused(f"it requires a login (407); it offers {_named(offered)}", hint)

    def _by(self, scheme: str, offered: Sequence[Challenge], target: str) -> str:
        if scheme not in ("digest", "basic"):
            return self._started(scheme)
        if self._login is None:
            raise Unable("no user and password are given", _LOG_IN)
        if scheme == "basic":
            return basic(self._login)
        challenge = strongest(offered)
        if challenge is None:
            raise Unable("its kinds of Digest are not supported", _HELPER)
        return digest(challenge, self._login, "CONNECT", target, self._entropy(_CNONCE).hex())

    def _started(self, scheme: str) -> str:
        handshake = self._begin(scheme)
        said = _token(scheme, handshake.step(b""))
        self._handshake = handshake
        return said

    def _go_on(self, handshake: Handshake, offered: Sequence[Challenge], kept: bool) -> str:
        token = next((each.token for each in offered if each.scheme == self._scheme and each.token), "")
        if not token:
            raise self._rejected(offered)
        if not kept:
            return self.begin_again()
        try:
            return _token(self._scheme, handshake.step(b64decode(token, validate=True)))
        except ValueError:
            raise NetworkError(f"its token for {_NAMES[self._scheme]} is not base64") from None
        except Unable as error:
            raise ProxyRefused(f"{_NAMES[self._scheme]} failed: {error}", error.hint) from None

    def _rejected(self, offered: Sequence[Challenge]) -> ProxyRefused:
        who = "this user and password" if self._login else "this login"
        hint = _CHECK if self._login else _LOG_IN
        return ProxyRefused(f"it rejected {who} with {_NAMES[self._scheme]} (407); it offers {_named(offered)}", hint)


def _token(scheme: str, token: bytes) -> str:
    return f"{_NAMES[scheme]} {b64encode(token).decode()}"


def _named(offered: Sequence[Challenge]) -> str:
    """The ways, once each, as people know them."""
    names = dict.fromkeys(_NAMES.get(each.scheme, foreign(each.scheme, 40)) for each in offered)
    return ", ".join(list(names)[:8]) or "no way to log in"
