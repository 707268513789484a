"""The tokens that are the paths of `websocket` and `http` requests (protocol 6, TK1 to TK3).

Nothing in a token is constant, two of one carrier cannot be linked, and who does not know `knock` cannot make one.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from ..facts import wire
from ..facts.wire import U64, What
from .schedule import equal, expand, hmac256
from .secret import Secret


class Token(NamedTuple):
    """What a token says: a request of the carrier `id` (10 bytes); n counts the requests of `http`, each way."""

    id: bytes
    what: What
    n: int


class _Keys(NamedTuple):
    block: Secret
    tag: Secret


class Tokens:
    """Makes and reads the tokens of one server. Any thread."""

    def __init__(self, knock: Secret) -> None:
        self._knock = knock
        self._kept: dict[int, _Keys] = {}  # of the hours that were used last; replaced, never changed

    def make(self, hour: int, token: Token) -> str:
        """The token's 43 characters; hour = unix time // 3600."""
        keys = self._keys(hour)
        plain = token.id + bytes([token.what]) + token.n.to_bytes(wire.TOKEN_N)
        encryptor = Cipher(AES(keys.block), ECB()).encryptor()
        block = encryptor.update(plain) + encryptor.finalize()
        return urlsafe_b64encode(block + _tag(keys, block)).decode().rstrip("=")

    def read(self, text: str, hour: int) -> tuple[Token, int] | None:
        """The token and the hour that it was made with: this one, the one before or the one after, in constant time.

        None where it is no token of this server, or is not written as `make` writes it.
        """
        raw = _decoded(text)
        if raw is None:
            return None
        block, tag = raw[: wire.TOKEN_BLOCK], raw[wire.TOKEN_BLOCK :]
        hours = [each for each in (hour, hour - 1, hour + 1) if each >= 0]
        fits = [each for each in hours if equal(tag, _tag(self._keys(each), block))]
        return _opened(self._keys(fits[0]), block, fits[0]) if fits else None

    def _keys(self, hour: int) -> _Keys:
        keys = self._kept.get(hour)
        if keys is None:
            names = (b"ns1 carrier", b"ns1 carrier tag")
            keys = _Keys(*(expand(self._knock, name + U64.pack(hour), 32) for name in names))
            self._kept = {each: kept for each, kept in self._kept.items() if abs(each - hour) <= 2} | {hour: keys}
        return keys


def _tag(keys: _Keys, block: bytes) -> bytes:
    return hmac256(keys.tag, block)[: wire.TAG]


def _decoded(text: str) -> bytes | None:
    """The 32 bytes, where they are written canonically (TK2)."""
    if len(text) != wire.TOKEN_TEXT or not text.isascii():
        return None
    try:
        raw = b64decode(text + "=", altchars=b"-_")
    except ValueError:
        return None
    return raw if equal(urlsafe_b64encode(raw), text.encode() + b"=") else None


def _opened(keys: _Keys, block: bytes, hour: int) -> tuple[Token, int] | None:
    decryptor = Cipher(AES(keys.block), ECB()).decryptor()
    plain = decryptor.update(block) + decryptor.finalize()
    what, n = plain[wire.CARRIER_ID], int.from_bytes(plain[-wire.TOKEN_N :])
    return (Token(plain[: wire.CARRIER_ID], What(what), n), hour) if what <= max(What) else None
