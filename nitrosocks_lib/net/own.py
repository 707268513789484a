"""Whether an address is one of this machine's own, at this moment: the kernel is asked where packets to it would go.

So addresses count that came a moment ago, those of every interface, and whole blocks that are routed here (AnyIP).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

Address = IPv4Address | IPv6Address

_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst length, src length, tos, table, protocol, scope, type
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_CODE: Final = struct.Struct("=i")  # of nlmsgerr
_REQUEST, _ERROR, _NEWROUTE, _GETROUTE, _DST, _GATEWAY = 1, 2, 24, 26, 1, 5
_HERE: Final = (2, 3, 4, 5)  # rtm_type: local, broadcast, anycast, multicast
_RECEIVE: Final = 1 << 14  # bytes; the answer is one message
_ANSWER: Final = 1.0  # seconds; it is there when the question was sent
_NO_NETLINK: Final = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP)
_NO_WAY: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.EADDRNOTAVAIL)


def is_own(address: Address) -> bool:
    """Whether a connection there would end here. Raises OSError where that cannot be found out, as with no descriptor.

    What is turned back only on the way is not known here: a rule of a firewall, a router that sends it back.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    if hasattr(socket, "AF_NETLINK"):
        try:
            return _asked(family, address.packed)
        except OSError as error:
            if error.errno not in _NO_NETLINK:  # a sandbox without it
                raise
    return _is_source(family, str(address))


def gateway(address: Address) -> str:
    """The numeric address of the router that packets to this address go to; nothing where none is, or none is known.

    Raises OSError as `is_own` does.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    if not hasattr(socket, "AF_NETLINK"):
        return ""
    try:
        kind, body = _answered(family, address.packed)
    except OSError as error:
        if error.errno not in _NO_NETLINK:
            raise
        return ""
    at = _ROUTE.size
    while kind == _NEWROUTE and at + _ATTRIBUTE.size <= len(body):
        size, attribute = _ATTRIBUTE.unpack_from(body, at)
        if attribute == _GATEWAY:
            return str(ip_address(body[at + _ATTRIBUTE.size : at + size]))
        at += max(_ATTRIBUTE.size, size + 3 & ~3)
    return ""


def _asked(family: int, packed: bytes) -> bool:
    """Linux: what kind of route leads there."""
    kind, body = _answered(family, packed)
    if kind == _NEWROUTE:
        return _ROUTE.unpack_from(body)[7] in _HERE
    code = -_CODE.unpack_from(body)[0] if kind == _ERROR else errno.EPROTO
    if code in _NO_WAY:
        return False  # nothing leads there
    raise OSError(code, os.strerror(code))


def _answered(family: int, packed: bytes) -> tuple[int, bytes]:
    """Linux: the type of the kernel's answer about the route to an address, and what stands behind its head."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.settimeout(_ANSWER)
        body = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
        body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _DST) + packed
        sock.sendto(_HEADER.pack(_HEADER.size + len(body), _GETROUTE, _REQUEST, 0, 0) + body, (0, 0))
        answer = sock.recv(_RECEIVE)
    _, kind, *_ = _HEADER.unpack_from(answer)
    return kind, answer[_HEADER.size :]


def _is_source(family: int, address: str) -> bool:
    """Elsewhere: to an address of its own a machine speaks from this very address. Nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((address, 9))
        except OSError as error:
            if error.errno in _NO_WAY:
                return False
            raise
        return bool(sock.getsockname()[0] == address)
