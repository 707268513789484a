"""The names of ports that this machine knows."""

from __future__ import annotations

import pytest

from nitrosocks_lib.net.services import port_of


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("http", 80),
        ("https", 443),
        ("ssh", 22),
        ("nosuchservice", None),
        ("", None),
        ("http\0", None),
        ("http\udcff", None),
    ],
)
def test_services(name: str, port: int | None) -> None:
    assert port_of(name) == port
