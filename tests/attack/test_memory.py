"""A memory image of either end opens nothing that is over (protocol 8.3, 8.10)."""

from pathlib import Path

import memory
import pytest


def test_no_secret_that_is_over_is_found_in_memory(tmp_path: Path) -> None:
    """Behind the handshake, three refreshes, a reconnection; the search is seen to find what is in use."""
    try:
        faults = memory.run(tmp_path)
    except PermissionError:
        pytest.skip("the memory of a process that is not dumpable is read by root only")
    assert faults == []
