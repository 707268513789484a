"""The nonces of greetings that were seen: compact, and as good as exact (protocol 3.2, Q5 to Q7)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from ..facts import limits, wire
from ..facts.errors import NotOurs

_BUCKETS: Final = 1 << 13  # a full one holds 128 hashes, 1.5 KiB, in which bytes.find takes a microsecond or two
_HASH: Final = 12  # bytes kept: a set of Python objects would take 120 for each nonce


class _Hour:
    """The nonces of one hour, as 12 bytes each of a keyed hash: who chooses nonces cannot choose where they go.

    A new nonce is taken for one that was seen with a probability below 2^-84, since a bucket has 2^12 places at most.
    """

    __slots__ = ("_buckets", "_key", "count")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._buckets: dict[int, bytearray] = {}
        self.count = 0

    def _place(self, nonce: bytes) -> tuple[int, bytes]:
        digest = blake2b(nonce, digest_size=wire.U16.size + _HASH, key=self._key).digest()
        return wire.U16.unpack_from(digest)[0] % _BUCKETS, digest[wire.U16.size :]

    def __contains__(self, nonce: bytes) -> bool:
        bucket, kept = self._place(nonce)
        return kept in self._buckets.get(bucket, b"")

    def add(self, nonce: bytes) -> None:
        bucket, kept = self._place(nonce)
        self._buckets.setdefault(bucket, bytearray()).extend(kept)
        self.count += 1


class Nonces:
    """The nonces seen, per hour, dropped with the hour (protocol 3.2). Not for two threads at once."""

    def __init__(self, key: bytes) -> None:
        """`key` is 32 random bytes of this process."""
        self._key = key
        self._hours: dict[int, _Hour] = {}
        self.unstored = 0  # greetings since the beginning that found their hour's set full

    @property
    def kept(self) -> int:
        """How many are kept, of all hours; any thread."""
        return sum(hour.count for hour in list(self._hours.values()))

    def seen(self, hour: int, nonce: bytes) -> bool:
        """Whether this nonce was put in for that hour."""
        return hour in self._hours and nonce in self._hours[hour]

    def put(self, hour: int, nonce: bytes, now_hour: int) -> bool:
        """Puts a nonce in; False when the hour's set is full. Raises NotOurs when it was there already."""
        for old in [h for h in self._hours if abs(h - now_hour) > 1]:
            del self._hours[old]
        nonces = self._hours.setdefault(hour, _Hour(self._key))
        if nonce in nonces:
            raise NotOurs("a greeting was replayed")
        if nonces.count >= limits.NONCES_PER_HOUR:
            self.unstored += 1
            return False
        nonces.add(nonce)
        return True
