"""A few seconds of each flood on a real server: who knocks gets in, and threads and memory stay where they must."""

from __future__ import annotations

import pytest
import strangers


@pytest.mark.parametrize("name", strangers.ATTACKS)
def test_who_knocks_gets_in(name: str) -> None:
    """How soon is for the script to print: here only that it comes, at a twentieth of the rate."""
    result = strangers.attack(name, strangers.CLIENT, 0.0, 250.0, tries=2, warm=0.5)
    assert max(*result.sessions, *result.resumes) < float("inf"), result
    assert result.made and result.threads <= strangers.THREADS and result.memory <= strangers.MEMORY, result
