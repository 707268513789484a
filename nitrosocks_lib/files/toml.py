"""TOML as key files have it, flat and small: what is not is refused before tomllib, which can take seconds for it."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

from ..facts.limits import FILE_NESTED

# Strings and comments, in the order in which TOML takes them.
_OPAQUE: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'|\#[^\n]*", re.DOTALL
)
_QUOTES: Final = re.compile("[\"']")
_TEXT: Final = r'"([^"\\\x00-\x1f\x7f]*)"'
_PLAIN: Final = re.compile(rf"([A-Za-z0-9_-]+) = (?:{_TEXT}|\[(\]|\n(?:    {_TEXT},\n)+\]))\n")
_ITEM: Final = re.compile(_TEXT)
_NOTHING: Final = re.compile(r"(?:#[^\x00-\x08\x0a-\x1f\x7f]*)?\n")  # a line that says nothing


def loads(text: str) -> dict[str, Any]:
    """What stands in a key file; raises ValueError with what is wrong, which may show keys and characters of it.

    Dots outside of quotes, which dotted keys have, and braces are refused, and more brackets in brackets than key files
    have: 64 KB of dotted keys took tomllib 18 s.
    """
    text = text.removeprefix("\ufeff")  # some editors begin a file so
    values = _plain(text)
    if values is None:
        _check_flat(text)
        values = tomllib.loads(text)
    return values


def _plain(text: str) -> dict[str, Any] | None:
    """A file as keygen writes it, else None: lines `key = "text"`, lists of texts, one a line, and comments.

    tomllib goes through a text in quotes character by character; a server reads thousands of these files as it starts.
    """
    values: dict[str, Any] = {}
    at = 0
    while at < len(text):
        if nothing := _NOTHING.match(text, at):
            at = nothing.end()
            continue
        line = _PLAIN.match(text, at)
        if line is None or line[1] in values:
            return None
        values[line[1]] = line[2] if line[3] is None else _ITEM.findall(line[3])
        at = line.end()
    return values


def _check_flat(text: str) -> None:
    """Looks at what stands outside of strings and comments, as far as tomllib will come: a quote there opens no string.

    Raises ValueError.
    """
    depth = 0
    bare = _QUOTES.split(_OPAQUE.sub(_same_lines, text), 1)[0]
    for at, character in enumerate(bare):
        if character in ".{}":
            raise ValueError(f"{character!r} outside of quotes (at line {bare.count(chr(10), 0, at) + 1})")
        depth += (character == "[") - (character == "]")
        if depth > FILE_NESTED:
            raise ValueError("nested too deep")


def masked(text: str) -> str:
    """As long as the text: quotes for each character of strings, blanks for those of comments; line ends stay."""
    return _OPAQUE.sub(lambda found: re.sub(r"[^\r\n]", " " if found[0][0] == "#" else '"', found[0]), text)


def _same_lines(opaque: re.Match[str]) -> str:
    return "\n" * opaque[0].count("\n")
