"""What the rules of a client permit, told once more from docs/rules.md, and from nothing of the product."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

TCP, UDP = "", "udp:"
_SPECIAL = [
    ip_network(block)
    for block in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255", "::", "::1",
                  "fe80::/10", "ff00::/8")
]  # fmt: skip
_PREFIXES = [bytes(10) + b"\xff\xff", bytes(8) + b"\xff\xff\0\0", bytes.fromhex("0064ff9b") + bytes(8), bytes(12)]
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class Said:
    """One rule. `host` is an address or a block without brackets, a name, `*`, or `*.` and a name."""

    forbids: bool
    kind: str
    host: str
    low: int
    high: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        ports = "*" if (self.low, self.high) == (0, 65_535) else f"{self.low}-{self.high}"
        return f"{'!' * self.forbids}{self.kind}{host}:{ports}"

    def decides(self, kind: str, asked: str, address: str, port: int, own: Collection[str]) -> bool:
        """Whether it is about this address of what was asked for."""
        if kind != self.kind or not self.low <= port <= self.high:
            return False
        ends, forms = [*meanings(address)], [*spellings(address)]
        if self.host[0] == "*" or self.host[0].isalpha() and ":" not in self.host:
            name = asked.lower().removesuffix(".")
            if not (self.host in ("*", name) or (self.host[:2] == "*." and name.endswith(self.host[1:]))):
                return False
            special = any(ip_address(each) in block for each in forms for block in _SPECIAL)
            return self.forbids or not special and not any(each in own for each in forms)
        block = ip_network(self.host)
        inside = [ip_address(each) in block for each in (forms if self.forbids else ends)]
        return any(inside) if self.forbids else all(inside)


def permitted(rules: list[Said], kind: str, asked: str, address: str, port: int, own: Collection[str]) -> bool:
    """Whether the first rule that is about it permits it."""
    first = next((rule for rule in rules if rule.decides(kind, asked, address, port, own)), None)
    return first is not None and not first.forbids


def meanings(address: str) -> Iterator[str]:
    """The addresses at which a connection to this one may end."""
    for each in _unwrapped(address):
        yield _LOOPBACK.get(each, each)


def spellings(address: str) -> Iterator[str]:
    """These, and all that stand for them."""
    yield str(ip_address(address))
    yield from _unwrapped(address)
    yield from meanings(address)


def _unwrapped(address: str) -> list[str]:
    six = ip_address(address)
    if isinstance(six, IPv4Address) or str(six) in ("::", "::1"):
        return [str(six)]
    raw = six.packed
    if raw[:12] in _PREFIXES:
        return [_four(raw[12:])]
    if raw[:2] == b"\x20\x02":
        return [_four(raw[2:6])]
    if raw[:4] == b"\x20\x01\0\0":
        return [_four(raw[4:8]), _four(bytes(255 - each for each in raw[12:]))]
    if raw[:6] == bytes.fromhex("0064ff9b0001"):
        readings = raw[6:8] + raw[9:11], raw[7:8] + raw[9:12], raw[9:13], raw[12:]
        return [_four(each) for each in readings if each[0]] or ["0.0.0.0"]
    return [str(six)]


def _four(raw: bytes) -> str:
    return str(IPv4Address(raw))


def is_loopback(address: str) -> bool:
    """Whether the system connects to this very machine's loopback for it."""
    six = ip_address(address)
    if isinstance(six, IPv6Address) and six.packed[:12] == _PREFIXES[0]:
        address = _four(six.packed[12:])
    return ip_address(_LOOPBACK.get(address, address)).is_loopback
