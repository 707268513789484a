"""Every parser of ours meets inputs that nobody thought of. Millions of them: tests/long/fuzz.py.

Steps are lines of Python that run, and memory is what Python allocates: both are the same on a machine that is busy.
"""

from __future__ import annotations

import random
import tracemalloc
import warnings
from collections.abc import Iterator
from zlib import crc32

import pytest
from dialogue import World, alter_seal, put
from fuzzing import SIZE_MAX, TooManySteps, corpus, mutated, outcome, steps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parsers import PARSERS, Parser

from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import ProtocolError

COUNT = 300
STEPS = 4_000  # of any input: a handshake, or docopt over our usage text
STEPS_PER_BYTE = 60
MEMORY = 2 << 20
MEMORY_PER_BYTE = 400
DEAR = {"command line": 60, "session": 100, "profile": 60, "client file": 60, "server key": 60, "certificate": 60}
TABLES = 2_000_000  # steps of docopt, which reads the usage text for each command line

each_parser = pytest.mark.parametrize("name", PARSERS)


@pytest.fixture
def parser(name: str) -> Iterator[Parser]:
    with PARSERS[name].within(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a parser that is not ours thinks of its input
        yield PARSERS[name]


def inputs(name: str) -> list[bytes]:
    return [*PARSERS[name].seeds, *corpus(name)]


def most(name: str, data: bytes) -> int:
    """Steps that this input may cost."""
    return STEPS + STEPS_PER_BYTE * len(data) + (TABLES if name == "command line" else 0)


@each_parser
def test_what_was_found_before(name: str, parser: Parser) -> None:
    for data in inputs(name):
        outcome(parser, data)


@each_parser
def test_changed_inputs(name: str, parser: Parser) -> None:
    source, known = random.Random(crc32(name.encode())), inputs(name)
    for _ in range(DEAR.get(name, COUNT)):
        outcome(parser, mutated(source, known, parser.tokens))


@each_parser
@settings(max_examples=40, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_made_inputs(name: str, data: st.DataObject) -> None:
    """Any bytes, any text, and an input that is good but for what hypothesis puts in."""
    parser = PARSERS[name]
    good = st.sampled_from(parser.seeds)
    token = st.sampled_from(parser.tokens or (b"\0",)) | st.binary(max_size=8)
    drawn = data.draw(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode()) | good)
    for at, piece in data.draw(st.lists(st.tuples(st.integers(0, SIZE_MAX), token), max_size=4)):
        at %= len(drawn) + 1
        drawn = drawn[:at] + piece + drawn[at + len(piece) // 2 :]
    with parser.within(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome(parser, drawn)


@each_parser
def test_no_input_costs_more_than_its_size_allows(name: str, parser: Parser) -> None:
    source, known = random.Random(7), inputs(name)
    long = [(token * SIZE_MAX)[: SIZE_MAX // 4] for token in parser.tokens if name != "command line"]
    for data in [*parser.seeds, *long, *(mutated(source, known, parser.tokens) for _ in range(20))]:
        steps(parser, data, most(name, data))


@each_parser
def test_no_input_takes_much_memory(name: str, parser: Parser) -> None:
    source, known = random.Random(8), inputs(name)
    outcome(parser, known[0])  # what is made once
    for data in [*parser.seeds, *(mutated(source, known, parser.tokens) for _ in range(20))]:
        tracemalloc.start()
        outcome(parser, data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY + MEMORY_PER_BYTE * len(data), f"{peak} bytes for {data[:100]!r}"


def test_a_choice_that_does_not_exist_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 << encryptType is computed for those that exist alone: of the largest it would be 512 MiB."""
    alter_seal(monkeypatch, b"challenge", put(64, wire.U32.pack(2**32 - 1)))
    tracemalloc.start()
    client, _ = World().new_session()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert type(client.error) is ProtocolError and peak < 1 << 20


def test_the_fuzzer_sees_a_fault_and_what_costs_too_much() -> None:
    """What cannot fail shows nothing."""

    def squares(data: bytes) -> None:
        for _ in data:
            for _ in data:
                if data == b"\xff":
                    raise KeyError("not ours")

    parser = Parser(squares, (ValueError,), (b"x",))
    with pytest.raises(KeyError):
        outcome(parser, b"\xff")
    assert steps(parser, bytes(10)) < most("", bytes(10))
    with pytest.raises(TooManySteps):
        steps(parser, bytes(1000), most("", bytes(1000)))
