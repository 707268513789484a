"""What limits a client beside its rules: how many streams at once, until which day, from which networks, how fast."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from ..facts.errors import UsageError
from ..facts.sizes import shown
from ..facts.words import quoted
from .addresses import Network


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits of one client; by default there are none."""

    streams: int = 0  # at once, in all of its sessions; 0: as many as the server gives to each
    until: str = ""  # the last day, of UTC, as in 2027-01-31; "": for ever
    sources: tuple[Network, ...] = ()  # where its connections come from; none: from anywhere
    up: int = 0  # bytes a second to its targets, of all of its streams; 0: as fast as it goes
    down: int = 0  # and from them

    def over(self, today: str) -> str:
        """Why the client is not authorised any more on this day, in the form of `until`; "" where it is."""
        return f"'until' in its file is {self.until}" if self.until and today > self.until else ""

    def foreign_source(self, host: str) -> str:
        """Why no connection may come from this numeric address; "" where it may."""
        if not self.sources:
            return ""
        address = ip_address(host.partition("%")[0])
        inside = any(address in network for network in self.sources)
        return "" if inside else "its connection comes from outside of the networks in 'from'"

    def texts(self) -> list[str]:
        """For people."""
        found = [f"{self.streams} streams"] if self.streams else []
        found += [f"until {self.until}"] if self.until else []
        found += [f"from {' or '.join(map(str, self.sources))}"] if self.sources else []
        rates = ("up", self.up), ("down", self.down)
        return found + [f"{name} {shown(rate)}/s" for name, rate in rates if rate]


def sources(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks and addresses; raises UsageError, which names the one that is none."""
    found = list[Network]()
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError:
            hint = _block(text) or "as in 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
            raise UsageError(f"{quoted(text)} is no network", hint) from None
    return tuple(found)


def _block(text: str) -> str:
    """What to write for the block of an address that is not its first one; nothing for all else."""
    try:
        return f"write {ip_network(text, strict=False)}"
    except ValueError:
        return ""
