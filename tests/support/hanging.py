"""A resolver whose names hang until they are let go: what stands in for the system's, whose time nobody rules."""

from __future__ import annotations

import socket
import threading

from nitrosocks_lib.net.race import Place

BOUND = 20.0


class Hanging:
    """Every name has the address 127.0.0.1, or those in `places`, as soon as it is let go; at exit all are."""

    def __init__(self) -> None:
        self.places: dict[str, list[Place]] = {}
        self._changed = threading.Condition()
        self._begun: list[str] = []
        self._gone: set[str] = set()
        self._all = False

    def resolve(self, host: str, port: int) -> list[Place]:
        """As `Resolve` has it."""
        with self._changed:
            self._begun.append(host)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._all or host in self._gone, BOUND)
        return self.places.get(host, [(socket.AF_INET, ("127.0.0.1", port))])

    def begun(self, count: int) -> list[str]:
        """The names that were asked for, in order; waits until there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._begun) >= count, BOUND), self._begun
            return list(self._begun)

    def let_go(self, *hosts: str) -> None:
        with self._changed:
            self._gone |= set(hosts)
            self._changed.notify_all()

    def let_all_go(self) -> None:
        with self._changed:
            self._all = True
            self._changed.notify_all()

    def __enter__(self) -> Hanging:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_all_go()
