"""Talking to a process through its stdin and stdout, which are unbuffered pipes here."""

from __future__ import annotations

from contextlib import suppress
from typing import IO

from program import Process
from targets import CHUNK


def talk(process: Process, said: bytes) -> bytes:
    """Says something to an echo, and returns as much as it is; so the stream is known to be open."""
    process.popen.stdin.write(said)
    return read(process, len(said))


def read(process: Process, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = process.popen.stdout.read(size - len(got))
        assert piece, f"ended after {got!r}"
        got += piece
    return got


def read_pipe(process: Process) -> bytes:
    return b"".join(iter(lambda: process.popen.stdout.read(CHUNK), b""))


def write_all(pipe: IO[bytes], given: bytes) -> None:
    """To a reader that may go away meanwhile."""
    with suppress(OSError):
        try:
            pipe.write(given)
        finally:
            pipe.close()
