"""How clients share what a server has in all, so that those who take all they can get keep no other from its own."""

from __future__ import annotations

import threading
from collections import Counter


class Shares:
    """So many places for all clients; any thread may call it.

    A client may take one more as long as it holds less than what is free. So one alone gets half of them, and of five
    that take what they can each gets a sixth, and a sixth is free: who holds most is refused first.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._held: Counter[bytes] = Counter()
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many places are taken; any thread."""
        return self._taken

    def holds(self, client_id: bytes) -> int:
        """How many places this client has taken; any thread."""
        return self._held.get(client_id, 0)

    def take(self, client_id: bytes, most: int = 0) -> bool:
        """Takes a place for this client, unless it holds its share already, or as many as `most` of its own."""
        with self._lock:
            held = self._held.get(client_id, 0)
            if held >= self.most - self._taken or (most and held >= most):
                return False
            self._held[client_id] += 1
            self._taken += 1
            return True

    def give_back(self, client_id: bytes) -> None:
        """A place that it took is free again."""
        with self._lock:
            self._taken -= 1
            self._held[client_id] -= 1
            if not self._held[client_id]:
                del self._held[client_id]
