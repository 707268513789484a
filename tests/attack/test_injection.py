"""What injection.py does, in short: nothing that others say writes on a terminal, or passes for a line of ours."""

from __future__ import annotations

from pathlib import Path

import injection
import pytest
from injection import WORDS, at_the_client, at_the_command_line, at_the_handshake, at_the_server, judge
from program import Site


@pytest.mark.parametrize("line", ["nitrosocks: a\x1b", "fake", "nitrosocks: " + "x" * 5000, "nitrosocks: \u202e"])
def test_a_bad_line_is_found(line: str) -> None:
    assert judge("field", f"nitrosocks: good\n{line}\n")
    assert judge("field", "nitrosocks: good\n") == "" and judge("field", "nitrosocks: good\n", "bad")


@pytest.mark.parametrize("level", [("-v",), ("-vv",)])
def test_a_client_that_is_enrolled(tmp_path: Path, level: tuple[str, ...]) -> None:
    with Site(tmp_path) as site:
        assert "".join(at_the_server(site, level)) == ""


@pytest.mark.parametrize("field", [at_the_client, at_the_handshake])
@pytest.mark.parametrize("words", [WORDS[0], WORDS[-1]], ids=["controls", "long"])
def test_a_server_and_a_box(tmp_path: Path, field, words: str) -> None:
    with Site(tmp_path) as site:
        assert "".join(field(site, ("-vv",), words)) == ""


def test_a_command_line(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        assert "".join(at_the_command_line(site, (), WORDS[0])) == ""


def test_words_are_bad_ones() -> None:
    assert all(not each.isprintable() or len(each) > injection.limits.LINE for each in WORDS)
