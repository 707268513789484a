"""A plot of what was sampled over a run: an SVG of panels under one another, with the minutes on the x axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 150  # of a panel, pixels
LEFT, RIGHT, ABOVE, BELOW = 52, 12, 26, 12  # of the plot in its panel
AXIS = 30  # height of what stands under the last panel
COLOURS = ("#1f6fb4", "#c8501a", "#3a7d34", "#7a4fa3")
POINTS = 240  # of a line at most: two or three pixels each

Lines = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Panel:
    """`lines` are values by name, taken at even distances over the whole run."""

    title: str
    lines: Lines


def svg(panels: Sequence[Panel], minutes: float) -> str:
    """The whole plot. Its y axes begin at 0, so that what looks flat is flat."""
    height = HEIGHT * len(panels) + AXIS
    look = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {look}>',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate(0 {number * HEIGHT})">', *_panel(panel), "</g>"]
    parts += [*_minutes(minutes, height), "</svg>\n"]
    return "\n".join(parts)


def ceiling(value: float) -> float:
    """The next of 1, 2, 4, 5 or 8 times a power of ten, which halves well on an axis."""
    power = 10.0 ** math.floor(math.log10(max(value, 1.0)))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)


def thinned(values: Sequence[float]) -> list[float]:
    """At most POINTS of them, each the mean of as many neighbours as there are too many."""
    step = -(-len(values) // POINTS) or 1
    groups = [values[at : at + step] for at in range(0, len(values), step)]
    return [sum(group) / len(group) for group in groups]


def _panel(panel: Panel) -> Iterator[str]:
    top = ceiling(max((max(values) for values in panel.lines.values()), default=0))
    yield f'<text x="{LEFT}" y="16" font-weight="bold">{panel.title}</text>'
    for value in (0, top / 2, top):
        y = _y(value, top)
        yield f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end" fill="#555">{value:g}</text>'
    for number, (name, values) in enumerate(panel.lines.items()):
        colour = COLOURS[number]
        yield f'<text x="{WIDTH - RIGHT - 70 * number}" y="16" text-anchor="end" fill="{colour}">{name}</text>'
        yield f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{_points(values, top)}"/>'


def _points(values: Sequence[float], top: float) -> str:
    shown = thinned(values)
    across = (WIDTH - LEFT - RIGHT) / max(1, len(shown) - 1)
    return " ".join(f"{round(LEFT + across * at)},{_y(value, top)}" for at, value in enumerate(shown))


def _y(value: float, top: float) -> float:
    return round(HEIGHT - BELOW - (HEIGHT - ABOVE - BELOW) * value / top, 1)


def _minutes(minutes: float, height: int) -> Iterator[str]:
    look = 'text-anchor="middle" fill="#555"'
    for part in range(7):
        x = LEFT + (WIDTH - LEFT - RIGHT) * part / 6
        yield f'<text x="{x:g}" y="{height - AXIS + 6}" {look}>{minutes * part / 6:.3g}</text>'
    yield f'<text x="{WIDTH / 2:g}" y="{height - 6}" {look}>minutes</text>'
