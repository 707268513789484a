"""Figures as Markdown, each with its ratio to another."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence


def figure(value: float) -> str:
    """Three digits that count, and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def median(values: Sequence[float]) -> str:
    """As a figure; a dash where nothing was measured."""
    return figure(statistics.median(values)) if values else "–"


def ratio(values: Sequence[float], first: Sequence[float]) -> str:
    """Of the medians; a dash where there is none."""
    if not values or not first or not statistics.median(first):
        return "–"
    return f"{statistics.median(values) / statistics.median(first):.2f}"


def row(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def head(cells: Sequence[str]) -> str:
    """The first two lines of a table, with the first column to the left and the others to the right."""
    return row(cells) + "\n|---|" + "---:|" * (len(cells) - 1)
