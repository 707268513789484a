"""Whether two samples differ: the rank test of Mann and Whitney, with its normal approximation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def p_value(one: Sequence[float], other: Sequence[float]) -> float:
    """Two-sided, for samples of 20 or more: how likely ranks as uneven as these are where nothing differs."""
    n, m = len(one), len(other)
    both = sorted([*one, *other])
    ties = Counter(both)
    ranks, before = {}, 0
    for value in sorted(ties):
        ranks[value] = before + (ties[value] + 1) / 2
        before += ties[value]
    u = sum(ranks[value] for value in one) - n * (n + 1) / 2
    same = sum(count**3 - count for count in ties.values())
    variance = n * m / 12 * (n + m + 1 - same / ((n + m) * (n + m - 1)))
    if not variance:
        return 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))
