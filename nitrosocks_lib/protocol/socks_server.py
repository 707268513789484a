"""The server's side of SOCKS 5 (RFC 1928), with user and password (RFC 1929): CONNECT and UDP ASSOCIATE; and CONNECT of
SOCKS 4 and 4a."""

from __future__ import annotations

from collections.abc import Generator
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..crypto.schedule import equal
from ..facts.address import is_host
from ..facts.errors import NetworkError
from ..facts.wire import U16, Kind, Reply
from . import socks
from .asked import Asked, Rejected, Talk
from .frames import Address, Target
from .proxy_auth import Login, raw
from .socks import Reader

SOCKS4: Final = 4
_GRANTED, _REJECTED = 0x5A, 0x5B
_USER_MAX: Final = 255  # bytes of SOCKS 4's user, and of its name
_NOT_CUT: Final = bytes(3)  # in front of a datagram: reserved, and no fragment
_NOWHERE: Final = Address("0.0.0.0", 0)


class Answers5:
    """As asked.Answers."""

    def opened(self, address: Address) -> bytes:
        """Reply 0, and the address as the server told it."""
        return _reply5(0, address)

    def failed(self, code: int, reason: str) -> bytes:
        """The code of REFUSED is one of SOCKS."""
        return _reply5(code if code in list(Reply) else Reply.GENERAL)


class Answers4:
    """As asked.Answers: it knows yes and no."""

    def opened(self, address: Address) -> bytes:
        """Request granted."""
        return bytes([0, _GRANTED]) + bytes(6)

    def failed(self, code: int, reason: str) -> bytes:
        """Request rejected or failed."""
        return bytes([0, _REJECTED]) + bytes(6)


def _reply5(code: int, at: Address = _NOWHERE) -> bytes:
    return bytes([socks.VERSION, code, 0]) + _where(at)


def _where(at: Address) -> bytes:
    try:
        host = socks.address(at.host)
    except NetworkError:  # of a server that tells a path, or nothing
        host = socks.address(_NOWHERE.host)
    return host + U16.pack(at.port)


def socks5(reader: Reader, login: Login | None, datagrams: bool) -> Talk:
    """One request of SOCKS 5; with `login` only for who gives it, with `datagrams` for them, too. Raises Rejected.

    Without `login` any user and password will do: some applications always give them, as in SOCKS 4 and HTTP.
    """
    methods = yield from reader.take((yield from reader.take(2))[1])
    method = socks.NO_AUTH if login is None and socks.NO_AUTH in methods else socks.PASSWORD
    if method not in methods:
        what = "it offers no way without a password" if login is None else "it gives no user and password"
        raise Rejected(what, bytes([socks.VERSION, socks.NO_METHOD]))
    reader.send(bytes([socks.VERSION, method]))
    if method == socks.PASSWORD:
        yield from _log_in(reader, login)
    version, command, _, kind = yield from reader.take(4)
    if version != socks.VERSION:
        raise Rejected("its request is not SOCKS 5", _reply5(Reply.GENERAL))
    if kind not in (*socks.SIZES, socks.NAME):
        raise Rejected(f"it names an address of kind {kind}", _reply5(Reply.ADDRESS_TYPE))
    size = (yield from reader.take(1))[0] if kind == socks.NAME else socks.SIZES[kind]
    host = _host(kind, (yield from reader.take(size)))
    (port,) = U16.unpack((yield from reader.take(2)))
    if command == socks.ASSOCIATE and datagrams:
        return Asked(Target(Kind.UDP, host, port), b"", Answers5())
    if command != socks.CONNECT:
        raise Rejected(f"it asks for command {command}, and not for CONNECT", _reply5(Reply.COMMAND))
    if not host or not port:
        raise Rejected("it names no host and port", _reply5(Reply.GENERAL))
    return Asked(Target(Kind.TCP, host, port), reader.held, Answers5())


class AnswersDatagram:
    """As asked.Answers, of a target of datagrams (RFC 1928, 7): what stands in front of each that comes from there."""

    def opened(self, address: Address) -> bytes:
        """Its header."""
        return _NOT_CUT + _where(address)

    def failed(self, code: int, reason: str) -> bytes:
        """Nobody is told."""
        return b""


def datagram(packet: bytes) -> tuple[Target, bytes] | None:
    """Where one is to go, and what goes there; None where it is a fragment, or none (RFC 1928, 7)."""
    kind = packet[3] if len(packet) > 4 else 0
    start = 5 if kind == socks.NAME else 4
    size = packet[4] if kind == socks.NAME else socks.SIZES.get(kind, 0)
    end = start + size + U16.size
    if packet[2:3] != b"\0" or not size or len(packet) < end:
        return None
    host, (port,) = _host(kind, packet[start : start + size]), U16.unpack_from(packet, start + size)
    return (Target(Kind.UDP, host, port), packet[end:]) if host and port else None


def _host(kind: int, data: bytes) -> str:
    """An address or a name; empty where it is none."""
    if kind == socks.NAME:
        return _name(data)
    return str(IPv4Address(data) if kind == socks.IPV4 else IPv6Address(data))


def _name(data: bytes) -> str:
    try:
        name = data.decode()
        if name.startswith("[") and name.endswith("]"):  # an address as it stands in a URL
            name = str(IPv6Address(name[1:-1]))
    except ValueError:
        return ""
    return name if is_host(name) else ""


def _log_in(reader: Reader, login: Login | None) -> Generator[bytes, bytes, None]:
    version, size = yield from reader.take(2)
    user = yield from reader.take(size)
    password = yield from reader.take((yield from reader.take(1))[0])
    known = login is None or equal(user, raw(login.user)) & equal(password, raw(login.password))
    if version != socks.AUTH_VERSION or not known:
        raise Rejected("its user or password is wrong", bytes([socks.AUTH_VERSION, 1]))
    reader.send(bytes([socks.AUTH_VERSION, 0]))


def socks4(reader: Reader, login: Login | None) -> Talk:
    """One request of SOCKS 4 or 4a, which know no password. Raises Rejected."""
    no = Answers4().failed(0, "")
    _, command, *rest = yield from reader.take(8)
    port, address = rest[0] << 8 | rest[1], bytes(rest[2:])
    yield from _text(reader, no)  # the user, whom nobody asked for
    if address[:3] == bytes(3) and address[3]:
        host = _name((yield from _text(reader, no)))
    else:
        host = str(IPv4Address(address))
    if login is not None:
        raise Rejected("SOCKS 4 has no password, and one is wanted", no)
    if command != socks.CONNECT:
        raise Rejected(f"it asks for command {command}, and not for CONNECT", no)
    if not host or not port:
        raise Rejected("it names no host and port", no)
    return Asked(Target(Kind.TCP, host, port), reader.held, Answers4())


def _text(reader: Reader, no: bytes) -> Generator[bytes, bytes, bytes]:
    """Bytes up to a zero, which is taken, too."""
    size = 0
    while (yield from reader.see(size + 1))[size]:
        size += 1
        if size > _USER_MAX:
            raise Rejected("its user or name is too long", no)
    return (yield from reader.take(size + 1))[:size]
