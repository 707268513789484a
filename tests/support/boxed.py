"""A server, one real box before it, and what a client behind the box is told; a relay on the way to the box can cut."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from pathlib import Path

from boxes import HOST, Box, Recipe
from faultproxy import FaultProxy
from program import Process, Site

REFRESH = 4 << 20  # bytes; so each larger transfer has some


class Boxed(ExitStack):
    """`server` behind `box`, and `profile` and `words` for a client: `relay` stands between client and box."""

    def __init__(self, site: Site, recipe: Recipe, carrier: str = "auto") -> None:
        """Raises boxes.Missing or boxes.Broken."""
        super().__init__()
        with ExitStack() as failed:
            self.site, self.carrier = site, carrier
            self.server = site.serve("--refresh", f"{REFRESH >> 20}M", "--drain", "0", "-vv")
            failed.callback(self.server.close)
            self.box = failed.enter_context(Box(recipe, self.server.port))
            self.relay = failed.enter_context(FaultProxy((HOST, self.box.port)))
            (_, port), self.proxy = self.box.behind(self.relay.port)
            self.profile = site.profile(recipe.name, port)
            self.push(failed.pop_all())

    def words(self, carrier: str = "") -> list[object]:
        """What both `forward` and `connect` are told besides the profile."""
        return ["-v", "--carrier", carrier or self.carrier, "--proxy", self.proxy or "none"]

    def forward(self, *ports: int) -> Process:
        """A client that is ready, with a local port for each of these targets."""
        return self.site.forward(self.profile, *(f"0:{HOST}:{port}" for port in ports), words=tuple(self.words()))

    def forget(self) -> None:
        """What earlier clients have found to work is not known any more."""
        shutil.rmtree(state(self.site.place), ignore_errors=True)

    def refreshes(self) -> int:
        """How many the server has completed."""
        return str(self.server.err).count("session keys refreshed")


def state(home: Path) -> Path:
    """Where a program with this HOME keeps what it remembers."""
    return home / ".local" / "state" / "nitrosocks"


def chosen(said: str) -> str:
    """The carrier that a client told of last, with -v."""
    found = re.findall(r"carrier to \S+: (raw|websocket|http)$", said, re.MULTILINE)
    assert found, f"no carrier was told:\n{said}"
    return str(found[-1])
