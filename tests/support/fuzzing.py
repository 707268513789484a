"""Mutations of inputs, the faults that they find, and what an input costs in steps."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from parsers import Parser

CORPUS = Path(__file__).parents[1] / "lab" / "corpus"
SIZE_MAX = 16_384  # bytes of an input


def corpus(name: str) -> list[bytes]:
    """The inputs that were kept of this parser."""
    path = CORPUS / f"{name.replace(' ', '-')}.json"
    return [each.encode("latin-1") for each in json.loads(path.read_text("utf-8"))] if path.exists() else []


def keep(name: str, inputs: list[bytes]) -> None:
    """Makes these the corpus of this parser, each once."""
    CORPUS.mkdir(exist_ok=True)
    texts = sorted({each.decode("latin-1") for each in inputs}, key=lambda each: (len(each), each))
    path = CORPUS / f"{name.replace(' ', '-')}.json"
    path.write_text(json.dumps(texts, indent=0) + "\n", "utf-8")


def mutated(source: random.Random, inputs: list[bytes], tokens: tuple[bytes, ...]) -> bytes:
    """One of the inputs, changed in a few places."""
    data = bytearray(source.choice(inputs))
    for _ in range(source.choice((1, 1, 2, 4))):
        at = source.randrange(len(data) + 1)
        what = source.randrange(8)
        if what == 0 and data:
            data[at % len(data)] ^= 1 << source.randrange(8)
        elif what == 1 and data:
            data[at % len(data)] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
        elif what == 2:
            del data[at : at + source.choice((1, 1, 4, 40))]
        elif what == 3:
            data[at:at] = source.randbytes(source.choice((1, 1, 4, 40)))
        elif what == 4 and tokens:
            data[at:at] = source.choice(tokens)
        elif what == 5:
            data[at:at] = data[source.randrange(len(data) + 1) :][: source.choice((1, 8, 200))]
        elif what == 6:
            other = source.choice(inputs)
            data[at:] = other[source.randrange(len(other) + 1) :]
        elif tokens:
            data[at:at] = source.choice(tokens) * source.choice((2, 30, 1000))
    return bytes(data[:SIZE_MAX])


def outcome(parser: Parser, data: bytes) -> str:
    """What kind of answer the parser gives: which error, and where; raises what is not one of its errors."""
    try:
        parser.parse(data)
    except parser.errors as error:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        assert at is not None, "it was raised"
        return f"{type(error).__name__} in {at.tb_frame.f_code.co_name}, line {at.tb_lineno}"
    return "fine"


class Seen:
    """Inputs that were answered in a way that no input before was."""

    def __init__(self, inputs: list[bytes]) -> None:
        self.inputs, self._ways, self.new = list(inputs), set[str](), list[bytes]()

    def look(self, way: str, data: bytes) -> None:
        if way not in self._ways:
            self._ways.add(way)
            self.inputs.append(data)
            self.new.append(data)


class _Steps:
    """Counts lines that are executed in our own code and what it calls of Python's."""

    def __init__(self, most: int) -> None:
        self.count, self._most = 0, most

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        self.count += event == "line"
        if self.count > self._most:
            raise TooManySteps(f"more than {self._most} steps")
        return self


class TooManySteps(Exception):
    """An input costs more than it may."""


def steps(parser: Parser, data: bytes, most: int = 1 << 62) -> int:
    """How many lines of Python run for this input; raises TooManySteps beyond `most`."""
    counter, before = _Steps(most), sys.gettrace()
    sys.settrace(counter)
    try:
        outcome(parser, data)
    finally:
        sys.settrace(before)
    return counter.count
