"""Talks with a proxy that has no sockets: what our side says, against what a script answers."""

from __future__ import annotations

from collections.abc import Generator, Iterable

END = b""
NEW = None  # our side wants a new connection


def talk(talk: Generator[bytes | None, bytes, None], answers: Iterable[bytes], piece: int = 1 << 20) -> list:
    """Everything that our side says, with NEW where it wants a new connection. Answers come in pieces of that size, and
    each but END is followed by no other until it has said something again, which may be nothing at all."""
    said: list[bytes | None] = [next(talk)]
    try:
        for answer in answers:
            while said[-1] is NEW:
                said.append(talk.send(b""))
            for at in range(0, max(1, len(answer)), piece):
                now = talk.send(answer[at : at + piece])
                if now != b"":
                    said.append(now)
        raise AssertionError(f"the talk goes on: {said}")
    except StopIteration:
        return said


def answer(status: str, *headers: str, body: str = "", length: bool = True) -> bytes:
    """An HTTP answer."""
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body.encode())}"] if length else [])]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body.encode()
