"""The nonces of greetings that were seen, and the ids of carriers (protocol 3.2, Q5 to Q7; 6, TK4).

The sets are compact, and as good as exact.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

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


class Carried(NamedTuple):
    """What brought a knock: a carrier's id, and the hour that its token was made with."""

    id: bytes
    hour: int


class Nonces:
    """The nonces and ids seen, per hour, dropped with the hour (protocol 3.2). Not for two threads at once."""

    def __init__(self, key: bytes) -> None:
        """`key` is 32 random bytes of this process."""
        self._key = key
        self._hours: dict[int, _Hour] = {}
        self._ids: dict[int, _Hour] = {}
        self.unstored = 0  # greetings since the beginning that found their hour's set full

    @property
    def kept(self) -> int:
        """How many are kept, of all hours; any thread."""
        return sum(hour.count for hour in list(self._hours.values()))

    def seen(self, hour: int, nonce: bytes) -> bool:
        """Whether this nonce was put in for that hour."""
        return hour in self._hours and nonce in self._hours[hour]

    def may_begin(self, carried: Carried) -> bool:
        """Whether an id may begin a carrier: it was put in for no hour, and the set of its hour is not full (TK4)."""
        return self._may_begin(carried)

    def _may_begin(self, carried: Carried) -> bool:
        known = self._ids.get(carried.hour)
        full = known is not None and known.count >= limits.NONCES_PER_HOUR
        return not full and not any(carried.id in ids for ids in self._ids.values())

    def put(self, hour: int, nonce: bytes, now_hour: int, carried: Carried | None = None) -> bool:
        """Puts a nonce in, and the id of what carried it; False when the nonce's set is full, and it is not stored.

        Raises NotOurs when the nonce was there already or the id may not begin a carrier; nothing is put in then.
        """
        for hours in (self._hours, self._ids):
            for old in [h for h in hours if abs(h - now_hour) > 1]:
                del hours[old]
        nonces = self._hours.setdefault(hour, _Hour(self._key))
        if nonce in nonces:
            raise NotOurs("a greeting was replayed")
        if carried is not None:
            if not self._may_begin(carried):
                raise NotOurs("the id of a carrier was seen, or there are too many in this hour")
            self._ids.setdefault(carried.hour, _Hour(self._key)).add(carried.id)
        if nonces.count >= limits.NONCES_PER_HOUR:
            self.unstored += 1
            return False
        nonces.add(nonce)
        return True
