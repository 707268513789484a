"""What people type for ssh, with ssh and with nitrosocks: prints docs/ssh.md with the tables as they are to be, or
writes it.

    python tests/long/ssh_page.py [--write]

The tests that compare the page with the two programs are tests/whole/test_ssh_forwards*.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

from program import Site  # noqa: E402
from ssh_lines import SECTIONS  # noqa: E402
from ssh_tables import PAGE, with_table  # noqa: E402
from ssh_world import World  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} instead of printing it")
    wanted = parser.parse_args()
    page = PAGE.read_text("utf-8")
    with tempfile.TemporaryDirectory(prefix="ns-") as place, Site(Path(place)) as site:
        world = World(site, chat=True)
        for name, lines in SECTIONS.items():
            page = with_table(page, name, list(world.rows(lines)))
    if wanted.write:
        PAGE.write_text(page, "utf-8")
    else:
        sys.stdout.write(page)


if __name__ == "__main__":
    main()
