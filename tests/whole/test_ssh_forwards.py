"""docs/ssh.md: what people type behind ssh -L does the same with nitrosocks, or differs as the page says."""

from __future__ import annotations

import pytest
import ssh_compared
from ssh_compared import Compare
from ssh_lines import SECTIONS
from ssh_tables import PAGE, is_same, tables, version, with_table, wordless

compare = ssh_compared.compare
L = "-L, line by line"


def test_local_forwards(compare: Compare) -> None:
    compare(L)


@pytest.mark.parametrize("name", SECTIONS)
def test_each_difference_and_no_other_line_has_its_reason(name: str) -> None:
    for line, row in zip(SECTIONS[name], tables(PAGE.read_text("utf-8"))[name], strict=True):
        assert row.startswith(f"| `{line.words}`") and row.endswith(f" | {line.differs or 'same'} |\n")


def test_there_are_enough_lines() -> None:
    words = [(line.words, line.how, line.http) for lines in SECTIONS.values() for line in lines]
    assert len(words) == len(set(words)) >= 100


@pytest.mark.parametrize(
    ("ssh", "ours", "same"),
    [
        ("at `127.0.0.1:80` to web", "at `127.0.0.1:80` to web", True),
        ("at `127.0.0.1:80` to web", "at `*:80` to web", False),
        ("at `127.0.0.1:80` to web", "at `127.0.0.1:80` to db", False),
        ("exit 255: `Bad`", "exit 64: `not a port`", True),
        ("exit 255: `Bad`", "exit 0: `web`", False),
        ("exit 0: `web`", "exit 0: `db`", False),
        ("says `bind`, and goes on", "exit 73: `cannot listen`", False),
    ],
)
def test_what_is_the_same(ssh: str, ours: str, same: bool) -> None:
    assert is_same(ssh, ours) is same


def test_another_table_is_noticed() -> None:
    page = PAGE.read_text("utf-8")
    rows = tables(page)[L]
    assert with_table(page, L, rows) == page
    other = with_table(page, L, rows[1:])
    assert tables(other) == tables(page) | {L: rows[1:]} and other != page
    with pytest.raises(AssertionError, match="no table"):
        tables(page.replace("## -L,", "## -l,"))


def test_another_ssh_may_have_other_words() -> None:
    row = "| `-L 1` | exit 255: `{}` | exit 64: `not a port` | same |\n"
    assert wordless(row.format("Bad")) == wordless(row.format("Wrong"))
    assert wordless(row.format("Bad")) != wordless(row.format("Bad").replace("64", "65"))
    assert version("OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.22\n") == "OpenSSH 9.2p1"
