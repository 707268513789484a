"""The home of a service: it belongs to another user, who can come to it. For tests that root runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from program import Site

NOBODY = 65_534


@pytest.fixture
def home_of_a_service() -> Iterator[Site]:
    """Not in pytest's own folder, which every other run of pytest closes to others."""
    if os.geteuid() != 0:
        pytest.skip("only root works in the homes of others")
    with TemporaryDirectory() as place, Site(Path(place)) as site:
        site.place.chmod(0o711)
        site.home.mkdir()
        os.chown(site.home, NOBODY, NOBODY)
        yield site
