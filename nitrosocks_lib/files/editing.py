"""Where keys stand in the text of a key file, and one of them changed with all else as the operator has written it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import tomli_w

from . import toml

_ITEM: Final = re.compile(r"""[ \t]*(?:"([^"\\]*)"|'([^']*)')[ \t]*(,?)[ \t]*(#[^\n]*)?\r?""")
_COMMENT: Final = re.compile(r"[ \t]*(?:#[^\n]*)?\r?")
_LIST: Final = re.compile(r"\[([ \t]*(?:#[^\n]*)?\r?)\n(?:(.*)\n)?[ \t]*\]", re.DOTALL)
_TOP: Final = re.compile(r"\ufeff?(?:[ \t]*\r?\n)*")


def line_of(text: str, key: str, item: str = "") -> int:
    """The line, from 1 on, where a key stands, or an item of its list; 0 where it is not seen."""
    where = _where(text, key)
    if where is None:
        return 0
    start, end = where
    found = next((at for quote in "\"'" if (at := text.find(f"{quote}{item}{quote}", start, end)) >= 0), start)
    return text.count("\n", 0, found if item else start) + 1


def changed(text: str, key: str, value: str | Sequence[str]) -> str:
    """The text of a key file that toml.loads takes, with another value for a key, a text or a list of texts.

    Comments, blank lines and the order of keys stay; of a list those lines that have an item each. Where that is not to
    be done, as with a key in quotes, all is written anew from the values.
    """
    wanted: dict[str, Any] = toml.loads(text) | {key: value if isinstance(value, str) else list(value)}
    where = _where(text, key)
    if where is not None:
        start, end = where
        shown = _quoted(value) if isinstance(value, str) else _list(text[start:end], value)
        made = text[:start] + shown + text[end:]
    else:
        found = _TOP.match(text)
        at = found.end() if found else 0
        made = f"{text[:at]}{key} = {_quoted(value) if isinstance(value, str) else _list('', value)}\n{text[at:]}"
    if "\r\n" in text:
        made = re.sub(r"(?<!\r)\n", "\r\n", made)
    try:
        if toml.loads(made) == wanted:
            return made
    except ValueError:
        pass
    return tomli_w.dumps(wanted)


def _where(text: str, key: str) -> tuple[int, int] | None:
    """From where to where the value of a key stands: a list, or a text on one line."""
    form = rf"""^\ufeff?[ \t]*{re.escape(key)}[ \t]*=[ \t]*(\[[^\]]*\]|"+|[^\s]+)"""
    found = re.search(form, toml.masked(text), re.MULTILINE)
    return found.span(1) if found else None


def _list(old: str, values: Sequence[str]) -> str:
    kept = list(_kept(old, values)) if old else []
    there = {item for item, _ in kept}
    first = next((at for at, value in enumerate(values) if value in there), 0)  # of those that were there
    before, behind = (
        [f"    {_quoted(value)}," for value in some if value not in there] for some in (values[:first], values[first:])
    )
    lines = [*before, *(line for _, line in kept), *behind]
    if not lines:
        return "[]"
    opening = _LIST.fullmatch(old)
    return "\n".join([f"[{opening[1].rstrip() if opening and kept else ''}", *lines, "]"])


def _kept(old: str, values: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Lines of a list as they are, each with its item; nothing where not each item has a line of its own."""
    found = _LIST.fullmatch(old)
    lines = found[2].split("\n") if found and found[2] else []
    if not all(_ITEM.fullmatch(line) or _COMMENT.fullmatch(line) for line in lines):
        return
    there = set[str]()
    for line in lines:
        item = _ITEM.fullmatch(line)
        if item is None:
            yield "", line.rstrip("\r")
            continue
        value = item[1] if item[1] is not None else item[2]
        if value in values and value not in there:
            there.add(value)
            yield value, line.rstrip("\r") if item[3] else f"    {_quoted(value)}," + f" {item[4] or ''}".rstrip()


def _quoted(value: str) -> str:
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")
