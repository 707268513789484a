"""Draws what a box in the middle has recorded of the demo, with NitroSocks and without, as an SVG.

    nitrosocks demo --keep DIR && bench/box.py DIR > docs/box.svg

The same recording gives the same picture.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from nitrosocks_lib.demo.findings import Seen, look  # noqa: E402

FOLDERS = {"without": "Without NitroSocks", "with-nitrosocks": "With NitroSocks"}
ROW = 12  # bytes in a row of a dump
UP, DOWN = 10, 8  # rows of each direction
SKIPPED = 120  # bytes of the answer before the dump: without NitroSocks about its head
WIDTH, LINE, TOP, MARGIN = 408, 15, 46, 14  # pixels: a panel, a line, what is above the first line, the edges
OFFSET, HEX, TEXT = 0, 40, 290  # where columns begin in a panel
BARS = 64  # height of the highest bar
STYLE = """\
.card { fill: #ffffff; stroke: #d0d7de } text { font: 11px monospace; fill: #57606a }
.title { font: bold 15px sans-serif; fill: #1f2328 } .label { font: 12px sans-serif; fill: #1f2328 }
.read { fill: #b35900 } .bar { stroke: #0969da }
@media (prefers-color-scheme: dark) {
  .card { fill: #0d1117; stroke: #3d444d } text { fill: #9198a1 }
  .title, .label { fill: #f0f6fc } .read { fill: #f0a050 } .bar { stroke: #4493f8 }
}"""


def svg(recordings: Path) -> str:
    """Two panels side by side; the bars of both have one scale."""
    ends = {folder: _ends(recordings / folder) for folder in FOLDERS}
    counts = {folder: Counter(down) for folder, (_, down) in ends.items()}
    top = max(max(count.values()) / count.total() for count in counts.values())
    height = TOP + LINE * (UP + DOWN + 3) + BARS + 4 * LINE
    width = 2 * WIDTH + 3 * MARGIN
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    title = "What the box in the middle sees: readable text without NitroSocks, random bytes with it"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{title}</title>",
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6"/>',
    ]
    for number, (folder, name) in enumerate(FOLDERS.items()):
        seen = look(recordings / folder)
        parts.append(f'<g transform="translate({MARGIN + number * (WIDTH + MARGIN)} 0)">')
        parts += _panel(name, *ends[folder], counts[folder], top, seen)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>\n"])


def _ends(folder: Path) -> tuple[bytes, bytes]:
    """What the first connection's recording holds of each direction."""
    up, down = ((folder / f"connection-1.{way}").read_bytes() for way in ("up", "down"))
    return up, down


def _panel(name: str, up: bytes, down: bytes, count: Counter[int], top: float, seen: Seen) -> Iterator[str]:
    yield f'<text class="title" x="0" y="24">{name}</text>'
    y = TOP
    yield f'<text class="label" x="0" y="{y}">from the client</text>'
    yield from _dump(up, 0, UP, y)
    y += LINE * (UP + 1) + 8
    yield f'<text class="label" x="0" y="{y}">to the client</text>'
    yield from _dump(down, SKIPPED, DOWN, y)
    y += LINE * (DOWN + 1) + 8
    yield f'<text class="label" x="0" y="{y}">how often each byte value occurs, from 0 to 255</text>'
    y += BARS + 6
    yield from _bars(count, top, y)
    found = f"{sum(seen.found):,}" if any(seen.found) else "none"
    yield f'<text class="label" x="0" y="{y + 20}">{seen.entropy:.5f} bits of entropy per byte</text>'
    yield f'<text class="label" x="0" y="{y + 36}">passwords and sentences found: {found}</text>'


def _dump(data: bytes, begin: int, rows: int, y: int) -> Iterator[str]:
    """Rows of hexadecimal and of text; what is not printable is a dot. Each column has its width in every font."""
    for row in range(rows):
        at = begin + row * ROW
        if piece := data[at : at + ROW]:
            y += LINE
            text = "".join(chr(byte) if 32 < byte < 127 else "\u00b7" for byte in piece)
            yield _column(OFFSET, y, f"{at:04x}", 28)
            yield _column(HEX, y, piece.hex(" "), (len(piece) * 3 - 1) * 6.7)
            yield _column(TEXT, y, text, len(piece) * 9, "read")


def _column(x: int, y: int, text: str, length: float, look: str = "") -> str:
    kind = f' class="{look}"' if look else ""
    return f'<text{kind} x="{x}" y="{y}" textLength="{length:g}">{escape(text)}</text>'


def _bars(count: Counter[int], top: float, y: int) -> Iterator[str]:
    step, total = (WIDTH - 8) / 256, count.total()
    heights = ((value, BARS * count[value] / total / top) for value in range(256))
    path = "".join(f"M{value * step:.1f} {y}v-{height:.1f}" for value, height in heights if height >= 0.05)
    yield f'<path class="bar" d="{path}" fill="none" style="stroke-width: {step:.2f}"/>'


def main() -> int:
    """Prints the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", type=Path, metavar="DIR")
    sys.stdout.write(svg(parser.parse_args().recordings))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
