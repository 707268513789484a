"""The kernel's news of addresses, routes and links (Linux, rtnetlink), told from its noise.

Noise is what changes no way: an IPv6 address whose lifetime is refreshed or that is still being checked, addresses and
routes of one link alone, the tables `local` and `cache`, a route that is told again, a route that leads to none of the
servers, statistics, wireless events, and links that hold no address. What is remembered for that is bounded.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

ADDRESS, ROUTE, LINK, LOST = "an address changed", "a route changed", "a link changed", "the network changed"

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst length, src length, tos, table, protocol, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")  # length, type

_ERROR, _DONE = 2, 3
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE = 24, 25
_NEWRULE, _DELRULE = 32, 33
_DUMP = 0x0301  # NLM_F_REQUEST | NLM_F_DUMP
_GROUPS = (1, 5, 9, 7, 11, 8, 19)  # link; addresses, routes of IPv4, of IPv6; rules of IPv4, of IPv6

_UP_AND_RUNNING, _LOOPBACK = 0x41, 0x08
_TENTATIVE, _OPTIMISTIC = 0x40, 0x04  # of an IPv6 address: not usable before nobody else has it
_SCOPE_LINK = 253  # and above: host, nowhere
_CLONED, _TABLE_LOCAL = 0x200, 255
_LOCAL_KINDS = (2, 3, 4, 5)  # local, broadcast, anycast, multicast
_DST, _OUT, _PRIORITY, _AGES, _TABLE, _EXPIRES = 1, 4, 6, 12, 15, 23  # RTA_…

_RECEIVE = 1 << 16  # bytes; a datagram of the kernel has 32 KiB at most
_READS = 64  # datagrams in one read, so that a flood does not keep the thread
_ROUTES_MAX = 1024  # remembered; when there are more, all are forgotten and a repeated one counts as a change
_LIST_MAX = 1 << 16  # datagrams until the end of a list
_ANSWER = 2.0  # seconds within which the kernel lists addresses; it does so at once


def none() -> Sequence[str]:
    """No servers known: every route counts."""
    return ()


class Netlink:
    """The kernel's news. Whoever made it owns it; `read` and `close` are for one thread at a time.

    The constructor raises OSError where there is no netlink: another system, or a sandbox. `towards` says the numeric
    addresses of the servers in use.
    """

    def __init__(self, towards: Callable[[], Sequence[str]] = none) -> None:
        self._towards = towards
        self._addresses: set[tuple[int, bytes]] = set()  # (link, address); usable ones
        self._links: dict[int, bool] = {}  # link: up and running
        self._routes: dict[tuple[Any, ...], tuple[Any, ...]] = {}  # which: how it leads
        if not hasattr(socket, "AF_NETLINK"):
            raise OSError(errno.EAFNOSUPPORT, "no netlink")
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        try:
            self._sock.bind((0, sum(1 << group - 1 for group in _GROUPS)))
            self._learn()
        except BaseException:
            self._sock.close()
            raise

    def fileno(self) -> int:
        """Readable when there may be news."""
        return self._sock.fileno()

    def close(self) -> None:
        """Gives the descriptor back."""
        self._sock.close()

    def read(self) -> set[str]:
        """What changed since the last time, in words for people; never waits. Raises OSError when netlink is dead."""
        news: set[str] = set()
        try:
            for _ in range(_READS):
                for kind, _, body in self._receive():
                    news |= self._take(kind, body)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            news.add(LOST)  # so much that some was dropped: who knows what it was
            self._learn()
        return news

    def _learn(self) -> None:
        """Lists links and addresses as they are now."""
        self._addresses.clear()
        self._links.clear()
        self._routes.clear()
        self._sock.settimeout(_ANSWER)
        for kind, empty in ((_GETLINK, bytes(_LINK.size)), (_GETADDR, bytes(_ADDRESS.size))):
            self._sock.sendto(_HEADER.pack(_HEADER.size + len(empty), kind, _DUMP, kind, 0) + empty, (0, 0))
            if not any(self._learnt(kind) for _ in range(_LIST_MAX)):
                raise OSError(errno.ENOBUFS, "the kernel's list of addresses has no end")
        self._sock.setblocking(False)

    def _learnt(self, asked: int) -> bool:
        """Takes one datagram; whether the list is complete with it."""
        done = False
        try:
            received = self._receive()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return False  # news was dropped; the list is not, it waits for room
        for kind, sequence, body in received:
            if kind == _ERROR:
                raise OSError(errno.EPROTO, "the kernel lists no addresses")
            done |= kind == _DONE and sequence == asked
            self._take(kind, body)
        return done

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        """Type, sequence number and body of each message in one datagram of the kernel's."""
        datagram, sender = self._sock.recvfrom(_RECEIVE)
        return messages(datagram) if sender[0] == 0 else iter(())

    def _take(self, kind: int, body: bytes) -> set[str]:
        """Updates what is remembered; what changed by this message."""
        if kind in (_NEWRULE, _DELRULE):
            return {ROUTE}
        if kind in (_NEWROUTE, _DELROUTE):
            return {ROUTE} if self._take_route(kind, body) else set()
        news = set()
        if kind in (_NEWADDR, _DELADDR) and self._take_address(kind, body):
            news.add(ADDRESS)
        elif kind in (_NEWLINK, _DELLINK) and self._take_link(kind, body):
            news.add(LINK)
        if news:
            self._routes.clear()  # what went with an address or a link is not always told
        return news

    def _take_address(self, kind: int, body: bytes) -> bool:
        _, _, flags, scope, link = _ADDRESS.unpack_from(body)
        told = attributes(body[_ADDRESS.size :])
        address = link, told.get(2) or told.get(1, b"")  # IFA_LOCAL, IFA_ADDRESS
        usable = kind == _NEWADDR and flags & (_TENTATIVE | _OPTIMISTIC) != _TENTATIVE
        if scope >= _SCOPE_LINK or usable == (address in self._addresses):
            return False
        (self._addresses.add if usable else self._addresses.discard)(address)
        return True

    def _take_link(self, kind: int, body: bytes) -> bool:
        family, _, link, flags, _ = _LINK.unpack_from(body)
        if family != socket.AF_UNSPEC or flags & _LOOPBACK:  # of AF_BRIDGE: news of a port, not of the link
            return False
        before, now = self._links.get(link), kind == _NEWLINK and flags & _UP_AND_RUNNING == _UP_AND_RUNNING
        if kind == _DELLINK:
            self._links.pop(link, None)
        else:
            self._links[link] = now
        return before not in (None, now) and any(holder == link for holder, _ in self._addresses)

    def _take_route(self, kind: int, body: bytes) -> bool:
        family, length, source, tos, table, _, _, leads, flags = _ROUTE.unpack_from(body)
        told = attributes(body[_ROUTE.size :])
        table = int.from_bytes(told.pop(_TABLE, bytes([table])), "little")
        if flags & _CLONED or table == _TABLE_LOCAL or leads in _LOCAL_KINDS:
            return False
        destination = told.pop(_DST, b"")
        if not self._concerns(family, destination, length):
            return False
        for ages in (_AGES, _EXPIRES):
            told.pop(ages, None)
        which = family, table, destination, length, source, tos, told.pop(_PRIORITY, b"")
        how = leads, *sorted(told.items())
        if kind == _NEWROUTE and self._routes.get(which) == how:
            return False
        self._remember(which, how if kind == _NEWROUTE else None)
        return True

    def _remember(self, which: tuple[Any, ...], how: tuple[Any, ...] | None) -> None:
        self._routes.pop(which, None)
        if len(self._routes) >= _ROUTES_MAX:
            self._routes.clear()
        if how is not None:
            self._routes[which] = how

    def _concerns(self, family: int, destination: bytes, length: int) -> bool:
        """Whether a server is there; where none is known, whether it is more than one link."""
        if servers := self._towards():
            return any(covers(family, destination, length, server) for server in servers)
        return family != socket.AF_INET6 or not (length and destination[:1] in (b"\xfe", b"\xff"))


def messages(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, sequence number and body of each netlink message; what is cut short is left out."""
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, _, sequence, _ = _HEADER.unpack_from(datagram, at)
        if length < _HEADER.size or at + length > len(datagram):
            return
        yield kind, sequence, datagram[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def attributes(body: bytes) -> dict[int, bytes]:
    """The attributes behind a message's fixed part, by type."""
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = body[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def covers(family: int, destination: bytes, length: int, address: str) -> bool:
    """Whether a numeric address lies in this prefix; an address of the other family does not."""
    try:
        packed = socket.inet_pton(family, address.partition("%")[0])
    except (OSError, ValueError):
        return False
    beyond = 8 * len(packed) - length
    prefix = destination.ljust(len(packed), b"\0")
    return int.from_bytes(packed) >> beyond == int.from_bytes(prefix) >> beyond
