"""What the program answers to mistakes: prints docs/messages.md as it is to be, or writes it.

    python tests/long/messages.py [--write]

tests/whole/test_messages.py compares the page with the answers, section by section.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

from mistakes import PAGE, SECTIONS, TITLE, World, section  # noqa: E402
from program import Site  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} instead of printing it")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, Site(Path(place)) as site:
        world = World(site)
        page = "\n".join([TITLE, *(section(world, name) for name in SECTIONS)])
    if wanted.write:
        PAGE.write_text(page, "utf-8")
    else:
        sys.stdout.write(page)


if __name__ == "__main__":
    main()
