"""NO_PROXY: which servers are reached without a proxy, as curl reads it."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_BETWEEN: Final = re.compile(r"[ \t,]+")
_DIGITS: Final = re.compile(r"[ \t]*\+?(\d{1,4})(?!\d)")  # what counts of a prefix length, whatever follows


def goes_directly(host: str, no_proxy: str) -> bool:
    """Whether this host, a name or a numeric address without brackets, is one of those in the list.

    The list has names, each also standing for all names below it, numeric addresses and CIDR blocks, or is * alone.
    Names match names only and addresses addresses only: nothing is looked up. Ports are no part of it.
    """
    if no_proxy == "*":
        return True
    entries = [entry for entry in _BETWEEN.split(no_proxy) if entry]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        name = host.lower().removesuffix(".")
        return any(_is_below(name, entry.lower()) for entry in entries)
    return any(_holds(entry, address) for entry in entries)


def _is_below(name: str, entry: str) -> bool:
    domain = entry.removesuffix(".").removeprefix(".")
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))


def _holds(entry: str, address: IPv4Address | IPv6Address) -> bool:
    """A prefix length of 0 counts as none, as in curl."""
    block, _, length = entry.partition("/")
    digits = _DIGITS.match(length)
    bits = int(digits[1]) if digits else 0
    try:
        return address in ip_network((block, bits or address.max_prefixlen), strict=False)
    except (ValueError, TypeError):  # TypeError: one is IPv4 and the other IPv6
        return False
