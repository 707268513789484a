"""docs/box.svg and bench/box.py, which draws it from what a box has recorded."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.dom import minidom

from nitrosocks_lib.demo.findings import PASSWORD, SENTENCES

ROOT = Path(__file__).resolve().parents[2]


def recorded(place: Path, random: bytes) -> Path:
    """Two recordings as the demo leaves them, in small."""
    plain = f"GET / HTTP/1.1\r\nX-Password: {PASSWORD}\r\n\r\n".encode(), "\n".join(SENTENCES).encode() * 9
    for folder, (up, down) in {"without": plain, "with-nitrosocks": (random, random * 2)}.items():
        (place / folder).mkdir(parents=True)
        (place / folder / "connection-1.up").write_bytes(up)
        (place / folder / "connection-1.down").write_bytes(down)
    return place


def drawn(recordings: Path) -> str:
    argv = [sys.executable, str(ROOT / "bench" / "box.py"), str(recordings)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


def texts(svg: str) -> list[str]:
    return [node.firstChild.data for node in minidom.parseString(svg).getElementsByTagName("text")]


def form(svg: str) -> list[str]:
    """The words that do not depend on a recording."""
    nodes = minidom.parseString(svg).getElementsByTagName("text")
    named = [node.firstChild.data for node in nodes if node.getAttribute("class") in ("title", "label")]
    return [re.sub(r"[\d.,]+|none$", "N", text) for text in named]


def test_the_same_recording_gives_the_same_picture(tmp_path: Path) -> None:
    random = os.urandom(4000)
    first, again = (drawn(recorded(tmp_path / name, random)) for name in ("first", "again"))
    assert first == again != drawn(recorded(tmp_path / "other", os.urandom(4000)))


def test_what_the_box_could_read_is_shown(tmp_path: Path) -> None:
    shown = texts(drawn(recorded(tmp_path, os.urandom(4000))))
    assert "".join(shown).count("GET") == 1 and "passwords and sentences found: 28" in shown
    assert shown.index("With NitroSocks") < shown.index("passwords and sentences found: none")


def test_the_picture_of_the_page_is_one_of_these(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "box.svg").read_text("utf-8")
    assert form(page) == form(drawn(recorded(tmp_path, os.urandom(4000)))) and len(form(page)) > 6
    assert "prefers-color-scheme: dark" in page and "docs/box.svg" in (ROOT / "README.md").read_text("utf-8")
