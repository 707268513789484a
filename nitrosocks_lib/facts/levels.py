"""Levels of log lines beside those that `logging` has (10 DEBUG, 20 INFO, 30 WARNING, 40 ERROR)."""

from __future__ import annotations

from typing import Final

NOTE: Final = 25  # what people are told without -v, and not with -q: between INFO, which -v shows, and WARNING
FRAMES: Final = 5  # below DEBUG: each frame of a session, with -vvv
