"""Fixtures of modules that need a server with an nginx behind it: `decoy, world = decoyed.fixtures()`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import nginx
import pytest
from nginx import Nginx
from world import World

from nitrosocks_lib.server.decoy import Site


def fixtures(*, lasts: Literal["function", "module"] = "function", **times: int) -> tuple[Any, Any]:
    """`decoy`, an nginx of the module with `times` as in `nginx.running`; `world`, a server whose decoy it is, for each
    test or for as long as said."""

    @pytest.fixture(scope="module")
    def decoy() -> Iterator[Nginx]:
        with nginx.running(**times) as made:
            yield made

    @pytest.fixture(scope=lasts)
    def world(decoy: Nginx) -> Iterator[World]:
        with before(decoy) as made:
            yield made

    return decoy, world


def before(decoy: Nginx, **settings: Any) -> World:
    """A server whose decoy it is."""
    return World(decoy=Site("127.0.0.1", decoy.plain), **settings)
