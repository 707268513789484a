"""docs/ssh.md: the rows of its tables, made of what came of a line, and found in the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from program import ROOT
from ssh_lines import SECTIONS, How, Line

PAGE: Final = ROOT / "docs" / "ssh.md"
HEAD: Final = "| what is typed | what `ssh` does | what `nitrosocks` does | |\n|---|---|---|---|\n"
_HOW: Final = {How.STRICT: ", which is not permitted", How.UNPRIVILEGED: ", which only root may have"}
_TABLE: Final = re.compile(r"(?:\|.*\n)*")


def row_of(line: Line, ssh: str, ours: str) -> str:
    """`ssh` and `ours` are what came of it."""
    typed = f"`{line.words}`" + (f" – `{line.ours}`" if line.ours else "") + _HOW.get(line.how, ", HTTP" * line.http)
    cells = [typed, ssh, ours, "same" if is_same(ssh, ours) else line.differs]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def is_same(ssh: str, ours: str) -> bool:
    """Whether the effect is the same; each has words of its own for what is wrong."""
    failed = [cell.startswith("exit ") and not cell.startswith("exit 0") for cell in (ssh, ours)]
    return all(failed) or ssh == ours


def tables(page: str) -> dict[str, list[str]]:
    """The rows of each table of the page, by the headings of SECTIONS."""
    return {name: _TABLE.match(_behind_head(page, name))[0].splitlines(keepends=True) for name in SECTIONS}  # type: ignore[index]


def _behind_head(page: str, name: str) -> str:
    _, head, rest = page.partition(f"\n## {name}\n")[2].partition(HEAD)
    assert head, f"the page has no table for {name!r}"
    return rest


def with_table(page: str, name: str, rows: Sequence[str]) -> str:
    """The page with this table in the place of the one that it has."""
    rest = _behind_head(page, name)
    return page.removesuffix(rest) + "".join(rows) + _TABLE.sub("", rest, count=1)


def wordless(row: str) -> str:
    """A row without the words of ssh, which change with its versions."""
    typed, ssh, *rest = row.split(" | ")
    return " | ".join([typed, re.sub("exit 255: `.*`|says `.*`, and goes on", "has words of its own", ssh), *rest])


def version(words: str) -> str:
    """Which OpenSSH it is, of what `ssh -V` says."""
    return re.match(r"OpenSSH_[^ ,]+", words)[0].replace("_", " ")  # type: ignore[index]
