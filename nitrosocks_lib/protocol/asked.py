"""What an application asks a local proxy for (`-D`), and what it is answered, in whichever protocol."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, Protocol, TypeAlias

from .frames import Address, Target


class Answers(Protocol):
    """The words of one way to ask."""

    def opened(self, address: Address) -> bytes:
        """The target is connected, at this address."""

    def failed(self, code: int, reason: str) -> bytes:
        """It is not: a reply code of RFC 1928, or 0 where none was told, and why, for people."""


class Asked(NamedTuple):
    """A target, what comes behind the request and is for it, and how to answer."""

    target: Target
    early: bytes
    answers: Answers
    belongs: Callable[[bytes], int] | None = None  # as session.streams.Request has it
    told: Callable[[bytes], tuple[bytes, bool]] | None = None  # the same


class Rejected(Exception):
    """A request that leads to no target; `answer` is to be sent, and the connection is over."""

    def __init__(self, reason: str, answer: bytes = b"") -> None:
        super().__init__(reason)
        self.answer = answer


Talk: TypeAlias = Generator[
    bytes, bytes, Asked
]  # each `yield` sends bytes, if any, and is given what came, if anything
