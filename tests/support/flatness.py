"""Whether a quantity stays as it is: the judge of what is sampled over a long run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def growth(values: Sequence[float]) -> float:
    """By how much the last third of the values is above the second, as means. The first is the time to settle.

    Means and not medians: what comes and goes makes the values jump between two levels, and a median with them.
    """
    third = len(values) // 3
    if third == 0:
        raise ValueError(f"{len(values)} values cannot be judged")
    return statistics.mean(values[-third:]) - statistics.mean(values[-2 * third : -third])
