"""What a TLS ClientHello offers, as far as a server's answer depends on it and OpenSSL does not ask us in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_RECORD_HEAD: Final = 5
_RANDOM: Final = 4 + 2 + 32  # type, length and version before it
_NAME: Final = 0  # extensions
_PROTOCOLS: Final = 16
_HOST_NAME: Final = b"\x00"


@dataclass(frozen=True, slots=True)
class Offer:
    """The host name, empty for none, and the protocols of ALPN in order."""

    name: bytes = b""
    protocols: tuple[bytes, ...] = ()


def offered(record: bytes) -> Offer:
    """Of the first record that a client sends. What is cut, or no ClientHello, offers nothing; nothing is raised."""
    body = record[_RECORD_HEAD:]
    if record[:1] != b"\x16" or body[:1] != b"\x01":
        return Offer()
    rest = _behind(_behind(_behind(body[_RANDOM:], 1), 2), 1)  # session id, ciphers, compressions
    name, protocols = b"", list[bytes]()
    for kind, extension in _extensions(_taken(rest, 2)):
        if kind == _NAME and extension[2:3] == _HOST_NAME:
            name = _taken(extension[3:], 2)
        elif kind == _PROTOCOLS:
            protocols = list(_names(_taken(extension, 2)))
    return Offer(name, tuple(protocols))


def _taken(data: bytes, width: int) -> bytes:
    """What stands behind a length of so many bytes, as long as that says."""
    return data[width : width + int.from_bytes(data[:width])]


def _behind(data: bytes, width: int) -> bytes:
    """What stands behind that."""
    return data[width + int.from_bytes(data[:width]) :]


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        yield int.from_bytes(data[:2]), _taken(data[2:], 2)
        data = _behind(data[2:], 2)


def _names(data: bytes) -> Iterator[bytes]:
    while data:
        yield _taken(data, 1)
        data = _behind(data, 1)
