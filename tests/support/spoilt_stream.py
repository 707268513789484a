"""One carrier `http` at the server of spoiling.py, and its tokens, written from docs/protocol.md 6 alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import threading
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

BODY = 512 * 1024
BOUND = 60.0


class Carrier:
    """One id: what came, in order, and what is to go."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.received = bytearray()
        self.ended = False  # an empty up came, in its turn
        self.sizes: list[int] = []  # of the bodies of ups, in the order in which they were applied
        self._early: dict[int, bytes] = {}
        self._next_up = 0
        self._waiting = bytearray()
        self._last = False  # `finish` was called
        self._answers: dict[int, bytes | None] = {}  # of downs; None: 204
        self.next_down = 0
        self.parked = self.most_parked = 0  # downs that wait for their answer
        self.written: set[int] = set()  # downs whose answer went out whole

    def up(self, n: int, body: bytes) -> bool:
        """False: too far ahead (403)."""
        with self.changed:
            if n > self._next_up + 3:
                return False
            if n >= self._next_up and n not in self._early:
                self._early[n] = body
                self.sizes.append(len(body))
            while self._next_up in self._early:
                piece = self._early.pop(self._next_up)
                self._next_up += 1
                self.ended |= not piece
                self.received += piece
            self.changed.notify_all()
        return True

    def send(self, data: bytes) -> None:
        with self.changed:
            self._waiting += data
            self.changed.notify_all()

    def finish(self) -> None:
        """204 behind what is to go."""
        with self.changed:
            self._last = True
            self.changed.notify_all()

    def down(self, m: int, park: float, faults: list[str]) -> bytes | None:
        with self.changed:
            if m not in self._answers and m >= 2 and m - 2 not in self.written:
                faults.append(f"down {m} came before the answer to {m - 2} was out")
            until = time.monotonic() + park
            self.parked += 1
            self.most_parked = max(self.parked, self.most_parked)
            self.changed.notify_all()
            while m not in self._answers:
                left = until - time.monotonic()
                if self.next_down == m and (self._waiting or self._last or left <= 0):
                    self._answer(m)
                else:
                    self.changed.wait(max(0.01, left))
            self.parked -= 1
            return self._answers[m]

    def _answer(self, m: int) -> None:
        body = bytes(self._waiting[:BODY])
        del self._waiting[:BODY]
        self._answers[m] = body if body or not self._last else None
        self._answers.pop(m - 4, None)
        self.next_down = m + 1
        self.changed.notify_all()

    def wait(self, until: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(until, BOUND), "it did not come"


def read_token(token: bytes, knock: bytes, hour: int) -> tuple[bytes, int, int] | None:
    """TK2: id, what and n."""
    try:
        raw = base64.urlsafe_b64decode(token + b"=")
    except ValueError:
        return None
    for each in (hour, hour - 1, hour + 1):
        tag = hmac.digest(_expand(knock, b"ns1 carrier tag", each), raw[:16], hashlib.sha256)[:16]
        if hmac.compare_digest(tag, raw[16:]):
            key = _expand(knock, b"ns1 carrier", each)
            plain = Cipher(algorithms.AES256(key), modes.ECB()).decryptor().update(raw[:16])  # noqa: S305
            return plain[:10], plain[10], int.from_bytes(plain[11:], "big")
    return None


def _expand(knock: bytes, label: bytes, hour: int) -> bytes:
    return HKDFExpand(hashes.SHA256(), 32, label + struct.pack(">Q", hour)).derive(knock)
