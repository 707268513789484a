"""A memory of ways to servers, in memory."""

from __future__ import annotations

from nitrosocks_lib.protocol.carriers import Known


class Kept:
    """A memory of the test's."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Known] = {}
        self.looks = self.writes = 0

    def look(self, server: str, network: str) -> Known | None:
        self.looks += 1
        return self.known.get((server, network))

    def keep(self, server: str, network: str, known: Known) -> None:
        self.writes += 1
        self.known[server, network] = known
