"""Addresses as rules see them: which IPv4 address an IPv6 one stands for, and which ones no name leads to."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The machine itself and its link, with the addresses that it has now (`own`): only a rule with the address leads there.
_SPECIAL: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
        "::/128", "::1/128", "fe80::/10", "ff00::/8",
    )
)  # fmt: skip

# IPv6 addresses that stand for an IPv4 address, and how many bits are to the right of it.
_WRAPPED: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # translated (RFC 2765)
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (IPv6Network("2002::/16"), 80),  # 6to4
    (IPv6Network("::/96"), 0),  # compatible; the two addresses below are no IPv4 ones
)
_PLAIN: Final = (IPv6Address("::"), IPv6Address("::1"))
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")  # RFC 8215: prefixes of 48, 56, 64 or 96 bits
_TEREDO: Final = IPv6Network("2001::/32")
# No address at all: the system then connects to loopback.
_LOOPBACK: Final[dict[Address, Address]] = {
    IPv4Address("0.0.0.0"): IPv4Address("127.0.0.1"),
    IPv6Address("::"): IPv6Address("::1"),
}
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
_BITS_32: Final = 0xFFFF_FFFF


def is_special(address: Address) -> bool:
    """Whether this is the machine itself, its link, or no single machine."""
    return any(address in network for network in _SPECIAL)


def has_special(network: Network) -> bool:
    """Whether a block has such an address."""
    return any(network.version == each.version and network.overlaps(each) for each in _SPECIAL)


def forms() -> list[IPv6Network]:
    """The blocks of IPv6 addresses that stand for IPv4 ones."""
    return [*(network for network, _ in _WRAPPED), _NAT64_LOCAL, _TEREDO]


def meant(address: Address) -> tuple[Address, ...]:
    """Where packets to this address may end: there, or at the IPv4 address it stands for; each one where it is unclear.
    Those to the unspecified address end at loopback.

    ipaddress is not asked: it misjudges mapped addresses in 3.11 and 3.12, and NAT64 and 6to4 in all.
    """
    return tuple(dict.fromkeys(_LOOPBACK.get(each, each) for each in _meant(address)))


def _meant(address: Address) -> tuple[Address, ...]:
    if isinstance(address, IPv4Address) or address in _PLAIN:
        return (address,)
    number = int(address)
    if address in _NAT64_LOCAL:
        return _meant_nat64(number)
    if address in _TEREDO:  # its server, and the client's address with all bits turned
        return IPv4Address(number >> 64 & _BITS_32), IPv4Address(~number & _BITS_32)
    for network, shift in _WRAPPED:
        if address in network:
            return (IPv4Address(number >> shift & _BITS_32),)
    return (address,)


def _meant_nat64(number: int) -> tuple[Address, ...]:
    """The readings by RFC 6052, section 2.2, whose prefix length only the network's operator knows.

    Bits 64 to 71 are not part of it; 0.0.0.0/8 is no destination, so a reading that leads there is not the right one.
    """
    joined = number >> 64 << 56 | number & ((1 << 56) - 1)
    readings = dict.fromkeys(IPv4Address(joined >> shift & _BITS_32) for shift in (40, 32, 24, 0))
    return tuple(address for address in readings if address not in _THIS_NETWORK) or (IPv4Address(0),)


class Where(NamedTuple):
    """Where a connection to an address leads."""

    ends: tuple[Address, ...]  # as `meant` says
    every: tuple[Address, ...]  # these, and all forms of them on the way: the machine may have any as its own

    @classmethod
    def of(cls, address: Address) -> Where:
        """Of a numeric address."""
        ends = meant(address)
        return cls(ends, tuple(dict.fromkeys((*ends, *_meant(address), address))))

    def is_here(self, own: Callable[[Address], bool]) -> bool:
        """Whether this may be the machine itself, its link, or no single machine. Raises what `own` does."""
        return any(map(is_special, self.every)) or any(map(own, self.every))
