"""usage_errors: each line that docopt does not take is told by what is wrong with it."""

from __future__ import annotations

import pytest
from docopt import DocoptExit, docopt

from nitrosocks_lib.cli import usage_errors
from nitrosocks_lib.cli.usage import USAGE

LINES = {
    "": "no command",
    "-v": "no command",
    "--home D": "no command",
    "--bogus": "'--bogus' is no option",
    "fly": "no such command: 'fly'",
    "--home D fly": "no such command: 'fly'",
    "--home D serve --bogus": "'serve': '--bogus' is no option",
    "serve -Z": "'serve': '-Z' is no option",
    "serve -vvZ": "'serve': '-Z' is no option",
    "serve --home": "'serve': --home needs a value: --home DIR",
    "forward -L": "'forward': -L needs a value: -L SPEC",
    "keygen alice --server": "'keygen': --server needs a value: --server HOST:PORT",
    "forward -L 1:a:2 --retry=3": "'forward': --retry takes no value",
    "serve --c x": "'serve': --c may be --cert or --cipher or --carrier",
    "serve --retry": "'serve' does not take --retry",
    "serve -L 1:a:2": "'serve' does not take -L",
    "demo -q": "'demo' does not take -q",
    "forward": "'forward' needs -L SPEC",
    "forward -i -L": "'forward' needs -L SPEC",
    "forward -L1:a:2 -Nq -Nq": "'forward': -N is given 2 times",
    "serve --home a --home b": "'serve': --home is given 2 times",
    "serve --cert x": "'serve' needs --key FILE",
    "serve --key x": "'serve' needs --cert FILE",
    "serve x": "'serve': 'x' is one word too many",
    "serve -- -x": "'serve': '-x' is one word too many",
    "connect": "'connect' needs HOST:PORT",
    "connect -i x": "'connect' needs HOST:PORT",
    "connect a 1 2": "'connect': '2' is one word too many",
    "connect -4 -6 x:1": "'connect': -4 and -6 exclude each other",
    "keygen alice": "'keygen' needs --server HOST:PORT",
    "keygen --server a:1": "'keygen' needs the NAME of a client",
    "keygen -o -": "'keygen' needs the NAME of a client",
    "keygen a b --server a:1": "'keygen': 'b' is one word too many",
}


@pytest.mark.parametrize(("line", "told"), LINES.items())
def test_what_is_wrong(line: str, told: str) -> None:
    with pytest.raises(DocoptExit):
        docopt(USAGE, line.split(), default_help=False)
    assert usage_errors.explain(line.split()) == told


def test_what_it_does_not_understand_is_told_all_the_same() -> None:
    assert usage_errors.explain(["connect", "-4q", "a:1"]) == "these are not words that 'connect' takes"


def test_a_long_word_is_not_said_again_as_a_whole() -> None:
    for words in (["x" * 1000], ["serve", "x" * 1000], ["serve", "--" + "x" * 1000]):
        assert len(usage_errors.explain(words)) < 130


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("-h", True), ("--help", True), ("serve -h", True), ("forward --help", True), ("connect -h x:1", True),
        ("serve --bogus --help", True), ("", False), ("serve", False), ("connect -- -h", False),
    ],
)  # fmt: skip
def test_help_may_stand_anywhere(line: str, wanted: bool) -> None:
    assert usage_errors.wants_help(line.split()) is wanted
