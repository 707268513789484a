"""The comparison of a section of docs/ssh.md with what ssh and nitrosocks do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from listening import has_ipv6
from program import Site, tool
from ssh_lines import SECTIONS
from ssh_tables import PAGE, tables, version, wordless
from ssh_world import World

Compare = Callable[[str], None]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Runs all lines of a section, and fails where the page tells something else."""

    if not has_ipv6():
        pytest.skip("network namespaces: no IPv6 here")

    def run(name: str) -> None:
        page = PAGE.read_text("utf-8")
        with Site(tmp_path) as site:
            ours = version(site.call(tool("ssh"), "-V").stderr.decode()) in page
            rows = list(World(site, chat=name.startswith("-L")).rows(SECTIONS[name]))
        shown = tables(page)[name]
        if not ours:
            rows, shown = [wordless(row) for row in rows], [wordless(row) for row in shown]
        others = "\n".join(row for row in rows if row not in shown)
        assert rows == shown, f"run: python tests/long/ssh_page.py --write; not on the page:\n{others}"

    return run
