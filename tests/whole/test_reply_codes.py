"""Reply codes of SOCKS 5 that come of a network: real routes, in a namespace where server, client and curl are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import netns
import pytest
from netns import Net
from program import Process, Site, tool

pytestmark = pytest.mark.netns
net = netns.net


class Inside(Site):
    """All that it starts is in the namespace."""

    def __init__(self, place: Path, net: Net) -> None:
        super().__init__(place)
        self._net = net

    def start(self, *argv: object, **more: Any) -> Process:
        return super().start(*self._net.server.exec(*argv), **more)

    def call(self, *argv: object, **more: Any) -> CompletedProcess[bytes]:
        return super().call(*self._net.server.exec(*argv), **more)


@pytest.fixture
def inside(tmp_path: Path, net: Net) -> Iterator[Inside]:
    with Inside(tmp_path, net) as made:
        yield made


ROUTES = {  # by what `ip route` is told of 192.0.2.0/24: the code, and what HTTP tells
    "throw": (3, "network unreachable"),
    "unreachable": (4, "host unreachable"),
    "prohibit": (1, "permission denied"),
}


def test_each_route(inside: Inside, net: Net) -> None:
    profile = inside.profile("alice", inside.serve().port, "192.0.2.0/24:*")
    proxy = inside.proxy(profile).port
    net.server.ip("route", "del", "default")
    for kind, (code, text) in ROUTES.items():
        net.server.ip("route", "replace", kind, "192.0.2.0/24")
        curl = [tool("curl"), "-sS", "--max-time", "60"]
        done = inside.call(*curl, "-x", f"socks5h://127.0.0.1:{proxy}", "http://192.0.2.1/")
        assert (done.returncode, done.stderr.decode()[-4:]) == (97, f"({code})\n"), kind
        done = inside.call(*curl, "-x", f"http://127.0.0.1:{proxy}", "http://192.0.2.1/")
        assert done.stdout.decode() == f"nitrosocks: 192.0.2.1:80: {text}\n"
