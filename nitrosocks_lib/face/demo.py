"""`demo`."""

from __future__ import annotations

from typing import Any


def demo(options: dict[str, Any]) -> int:
    """Placeholder until written."""
    raise NotImplementedError
