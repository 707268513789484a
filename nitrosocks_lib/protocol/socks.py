"""What both sides of SOCKS share (RFC 1928, 1929): numbers, addresses, and a reader for generators that talk."""

from __future__ import annotations

from collections.abc import Generator
from ipaddress import IPv4Address, ip_address
from typing import Final

from ..facts.errors import NetworkError

VERSION, AUTH_VERSION, CONNECT, ASSOCIATE = 5, 1, 1, 3
NO_AUTH, PASSWORD, NO_METHOD = 0, 2, 0xFF
IPV4, NAME, IPV6 = 1, 3, 4
SIZES: Final = {IPV4: 4, IPV6: 16}  # bytes of an address; a name tells its own


def address(host: str) -> bytes:
    """Kind and bytes of an address, or of a name; raises NetworkError where it is neither."""
    try:
        found = ip_address(host)
    except ValueError:
        name = ascii_name(host)
        return bytes([NAME, len(name)]) + name
    return bytes([IPV4 if isinstance(found, IPv4Address) else IPV6]) + found.packed


def ascii_name(host: str) -> bytes:
    """A name as the proxy is to look it up; raises NetworkError where it is none."""
    try:
        name = host.encode("ascii") if host.isascii() else host.encode("idna")
    except UnicodeError:
        name = b""
    if not 0 < len(name) < 256:
        raise NetworkError("the server's name is not a host name", "check the name of the server in the profile")
    return name


class Reader:
    """Of a generator whose `yield` sends bytes and is given what came: nothing at the end of the connection, or, where
    `early`, also where there is nothing new: what is asked for may have come before the answer that it waits for."""

    def __init__(self, early: bool = False) -> None:
        self._early = early
        self.held = b""  # what came and is not taken yet
        self._out = b""

    def send(self, data: bytes) -> None:
        """Sends it with the next `yield`."""
        self._out += data

    def take(self, size: int) -> Generator[bytes, bytes, bytes]:
        """The next `size` bytes; raises NetworkError at the end of the connection."""
        yield from self.see(size)
        taken, self.held = self.held[:size], self.held[size:]
        return taken

    def see(self, size: int) -> Generator[bytes, bytes, bytes]:
        """As `take`, and they stay in `held`."""
        while len(self.held) < size or self._out:
            out, self._out = self._out, b""
            came = yield out
            if not came and not self._early:
                raise NetworkError("it closed the connection without an answer")
            self.held += came
        return self.held[:size]
