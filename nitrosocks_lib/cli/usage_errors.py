"""What is wrong with words that docopt did not take: it says that they are wrong, and no more."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from ..facts.words import quoted
from .usage import USAGE

_OPTION: Final = re.compile(r"^  (-{1,2}[\w-]+)(?: (--[\w-]+))?(?: ([A-Z][A-Z:]*))?  ", re.MULTILINE)
_VALUES: Final = {name: value for *names, value in _OPTION.findall(USAGE) for name in names if name}  # of each option
_ARGUMENTS: Final = {"keygen": 1, "connect": 2}  # words behind a command


def wants_help(words: Iterable[str]) -> bool:
    """Whether -h or --help stands there, before a `--`."""
    for word in words:
        if word in ("--", "-h", "--help"):
            return word != "--"
    return False


def explain(words: list[str]) -> str:
    """What is wrong, in one line."""
    line = _Line(words)
    if not line.arguments:
        return line.fault or "no command"
    command, *arguments = line.arguments
    usage = _usage(command)
    if not usage:
        return f"no such command: {quoted(command)}"
    what = line.fault or next(_faults(command, arguments, line.options, usage), "")
    what = what or f"these are not words that '{command}' takes"
    return what if f"'{command}'" in what else f"'{command}': {what}"


class _Line:
    """A command line as docopt reads it, as far as its first fault."""

    def __init__(self, words: list[str]) -> None:
        self.options: list[str] = []
        self.arguments: list[str] = []
        self.fault = ""
        rest = iter(words)
        for word in rest:
            if word == "--":
                self.arguments += rest
            elif word.startswith("--"):
                self._long(word, rest)
            elif word.startswith("-") and word != "-":
                self._short(word[1:], rest)
            else:
                self.arguments.append(word)

    def _long(self, word: str, rest: Iterator[str]) -> None:
        given, equals, _ = word.partition("=")
        found = [given] if given in _VALUES else [name for name in _VALUES if name.startswith(given)]
        if len(found) != 1:
            self._say(f"{quoted(given)} is no option" if not found else f"{given} may be {' or '.join(found)}")
        elif equals and not _VALUES[found[0]]:
            self._say(f"{found[0]} takes no value")
        else:
            self._add(found[0], bool(equals), rest)

    def _short(self, letters: str, rest: Iterator[str]) -> None:
        for at, letter in enumerate(letters, 1):
            if f"-{letter}" not in _VALUES:
                self._say(f"{quoted(f'-{letter}')} is no option")
                return
            self._add(f"-{letter}", at < len(letters), rest)
            if _VALUES[f"-{letter}"]:
                return

    def _add(self, name: str, has_value: bool, rest: Iterator[str]) -> None:
        self.options.append(name)
        if _VALUES[name] and not has_value and next(rest, None) is None:
            self._say(f"{name} needs a value: {name} {_VALUES[name]}")

    def _say(self, fault: str) -> None:
        self.fault = self.fault or fault


def _faults(command: str, arguments: list[str], options: list[str], usage: str) -> Iterator[str]:
    """What the usage lines of a command do not allow, the plainest first."""
    for name, times in Counter(options).items():
        if not re.search(rf"{name}\b", usage):
            yield f"'{command}' does not take {name}"
        elif times > 1 and not re.search(rf"{name}( [A-Z:]+)?[\])]\.\.\.", usage):
            yield f"{name} is given {times} times"
    if {"-4", "-6"} <= {*options}:
        yield "-4 and -6 exclude each other"
    pair = ("--cert", "--key") if {"--cert", "--key"} & {*options} else ()
    needed = {"keygen": ("--server",) if arguments else (), "serve": pair, "forward": ("-L",)}
    for name in needed.get(command, ()):
        if name not in options:
            yield f"'{command}' needs {name} {_VALUES[name]}"
    if len(arguments) > (most := _ARGUMENTS.get(command, 0)):
        yield f"{quoted(arguments[most])} is one word too many"
    if not arguments and (command == "connect" or {*options} & {"--server", "--permit", "-o", "--force"}):
        yield f"'{command}' needs {'HOST:PORT' if command == 'connect' else 'the NAME of a client'}"


def _usage(command: str) -> str:
    """What the usage text says of one command, on one line; nothing where there is no such command."""
    section = USAGE.partition("Usage:\n")[2].partition("\n\n")[0]
    pieces = re.findall(r"^  nitrosocks (\S+)(.*(?:\n {4,}.*)*)", section, re.MULTILINE)
    return " ".join(rest for name, rest in pieces if name == command)
