"""docs/modules.md lists every module and no other; the check fails on a bad sample."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "modules.md").read_text("utf-8")
MODULES = {
    path.relative_to(ROOT / "nitrosocks_lib").with_suffix("").as_posix()
    for path in (ROOT / "nitrosocks_lib").rglob("*.py")
    if path.name != "__init__.py"
}


def mapped(text: str) -> set[str]:
    """The modules in the list, as "room/module"."""
    lines = text.partition("\nnitrosocks_lib/\n")[2].partition("\n```")[0].splitlines()
    found, room = set(), ""
    for line in lines:
        if match := re.match(r"  (\w+)/ ", line):
            room = match[1]
        elif match := re.match(r"    (\w+) ", line):
            found.add(f"{room}/{match[1]}")
    return found


def test_the_list_has_every_module_and_no_other() -> None:
    assert mapped(PAGE.replace("    seal ", "    sael ")) ^ MODULES == {"crypto/seal", "crypto/sael"}
    assert mapped(PAGE) == MODULES
