"""What people read who write something wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nitrosocks_lib.facts.errors import UsageError


def wrong(call: Callable[[], object]) -> str:
    """The text of the UsageError: one line."""
    with pytest.raises(UsageError) as failure:
        call()
    text = f"{failure.value}; {failure.value.hint}"
    assert "\n" not in text
    return text
