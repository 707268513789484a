"""Everything of ours that parses what others wrote, each as a function of bytes, with inputs to begin from.

What a parser may raise is in `errors`; all else is a fault. Handshakes are in the clear here, as in plainly.py.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from dialogue import SERVER
from docopt import DocoptExit, docopt
from parsers_http import ANSWERS, FRAME_HEADS, HTTP, MESSAGES, REQUESTS, TOKEN, answer, message, request, token
from parsers_proxy import (
    DATAGRAM_WORDS,
    DATAGRAMS,
    PROXIES,
    PROXY_WORDS,
    SOCKS,
    SOCKS_WORDS,
    datagram,
    proxy,
    socks,
)
from plainly import GREETING, KNOCK, RESUME, hears, knock, plainly
from roles import Roles

from nitrosocks_lib.cli import main, options, specs, usage, usage_errors
from nitrosocks_lib.client import dialler
from nitrosocks_lib.crypto import certificate
from nitrosocks_lib.crypto.schedule import CLIENT_TO_SERVER, frame_keys
from nitrosocks_lib.crypto.seal import Opener
from nitrosocks_lib.facts import address, wire
from nitrosocks_lib.facts.errors import (
    KeyFileError,
    NetworkError,
    NitroSocksError,
    ProtocolError,
    UsageError,
    Violation,
)
from nitrosocks_lib.facts.wire import EncryptType, Frame, Kind
from nitrosocks_lib.files import enrol, profiles
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.permit import Rules, futile


@dataclass(frozen=True)
class Parser:
    """`parse` within `within`; it returns, or raises one of `errors`. `tokens` are worth putting in."""

    parse: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]
    tokens: tuple[bytes, ...] = ()
    within: Callable[[], AbstractContextManager[object]] = nullcontext


def text(data: bytes) -> str:
    """Of any bytes, as a command line or a file gives them."""
    return data.decode("utf-8", "surrogateescape")


_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\4\0", b"\4\1", b"\0\1\0\0", b"\4\0\0\1")

# Frames

_PARSE: dict[int, Callable[[bytes], object]] = {
    Frame.OPEN: partial(frames.parse_target, frame=Frame.OPEN),
    Frame.OPENED: partial(frames.parse_address, frame=Frame.OPENED),
    Frame.REFUSED: partial(frames.parse_refusal, frame=Frame.REFUSED),
    Frame.END: partial(frames.parse_bare, frame=Frame.END),
    Frame.ABORT: frames.parse_reason,
    Frame.ACK: frames.parse_ack,
    Frame.GOAWAY: frames.parse_goaway,
}
_ONE = b"\0\0\0\1"
_FRAMES = (
    bytes([Frame.OPEN]) + _ONE + b"\1\0\7host", bytes([Frame.OPEN]) + _ONE + b"\2\0\0/run/x",
    bytes([Frame.OPEN]) + _ONE + b"\3\0\7host",
    bytes([Frame.OPENED]) + _ONE + b"\0\x0710.0.0.1", bytes([Frame.REFUSED]) + _ONE + b"\5no",
    bytes([Frame.DATA]) + _ONE + b"x", bytes([Frame.END]) + _ONE, bytes([Frame.RESET]) + _ONE + b"\1gone",
    bytes([Frame.LISTEN]) + _ONE + b"\1\0\7host", bytes([Frame.UNLISTEN]) + _ONE, frames.ack(1, [(1, 65_536)]),
    bytes([Frame.PING]) + bytes(8), bytes([Frame.PONG]) + bytes(32), bytes([Frame.PAD]), bytes([Frame.DISCONNECT]),
    bytes([Frame.DISCONNECT_DONE]) + bytes(32), frames.abort(1, "why"), frames.goaway(30),
)  # fmt: skip
_SESSIONS = tuple(side + bytes([len(frame)]) + frame for frame in _FRAMES for side in (b"\0", b"\1"))
_WORDS = ("é".encode(), b"\xff", b"\xed\xa0\x80", "\u202e".encode(), b"\0", b"\r\n")


def _payload(data: bytes) -> None:
    """Type ‖ payload; a type that has no parser is taken for one that has."""
    if data:
        kinds = list(_PARSE)
        _PARSE.get(data[0], _PARSE[kinds[data[0] % len(kinds)]])(data[1:])


def _lengths(data: bytes) -> Iterator[bytes]:
    """Pieces, each behind a byte that says how long it is."""
    while data:
        yield data[1 : 1 + data[0]]
        data = data[1 + data[0] :]


def _session(data: bytes) -> None:
    """A whole half of a session: which one, then frames in the clear, each behind its length."""
    roles = Roles()
    roles.known = None  # so that nothing is dialled
    try:
        tunnel = roles.both()[data[0] & 1 if data else 0]
        for plain in _lengths(data[1:]):
            if plain[:1] == bytes([Frame.DATA]):
                tunnel.inbound._slot = bytearray(plain)
                tunnel.inbound._on_data(memoryview(tunnel.inbound._slot), len(plain), 0.0)
            elif plain:
                tunnel.inbound._on_frame(memoryview(plain), len(plain))
    finally:
        roles.close()


def _sealed(data: bytes) -> None:
    """What an Opener does with bytes that no Sealer made."""
    opener, view = Opener(frame_keys(bytes(32), CLIENT_TO_SERVER, EncryptType.AES_256_GCM)), memoryview(data)
    while len(view) >= wire.LENGTH and (size := opener.frame_size(view[: wire.LENGTH])) <= len(view):
        opener.open(view[:size], memoryview(bytearray(size)))
        view = view[size:]


# Texts: addresses, rules, options, files

_PLACES = (
    b"host:80", b"[2001:db8::1]:443", b":0", b"*:80", b"127.0.0.1:65535", b"8080:host:80", b"[::1]:8080:[::2]:80",
    b"a.example:5432", b"10.0.0.0/8:8000-8010", b"[2001:db8::/32]:*", b"udp:host:53", b"/run/x.sock", b"*:*",
    b"[64:ff9b::1]:1", b"[fe80::1%eth0]:22", b"0x7f.1:80", b"xn--bcher-kva.example:1",
)  # fmt: skip
_OPTIONS = (b"64K", b"30m,4G", b"1s", b"aes-256-gcm", b"20", b"0", b"18446744073709551616", b"30m,")

_LINES = (
    b"serve\n--listen\n:1", b"connect\nhost\n22\n-v", b"forward\n-L\n1:h:2\n-i\nx", b"keygen\nann\n--server\nh:1",
)  # fmt: skip


def _address(data: bytes) -> None:
    given, failed = text(data), []
    for parse in (
        address.split_host_port, partial(address.split_host_port, zero=True, empty=True), options.listen,
        specs.local, specs.dynamic, partial(specs.destination, port=None), partial(specs.destination, port=given[-5:]),
    ):  # fmt: skip
        try:
            parse(given)
        except UsageError as error:
            failed.append(error)
    if len(failed) == 6:
        raise failed[0]


def _rule(data: bytes) -> None:
    lines = text(data).split("\n")
    asked = lines[0].rpartition(":")[0]
    list(futile(lines))
    rules = Rules.parse(lines)
    for where in ("10.0.0.1", "::1", "64:ff9b::a00:1", lines[-1]):
        rules.permits(asked, where, 80, Kind.TCP)
    rules.may_permit(asked, 80, Kind.UDP)
    rules.permits_path(lines[0], lines[0])


def _option(data: bytes) -> None:
    given, failed = text(data), []
    for parse in (
        options.window, options.sessions, options.heartbeat, options.refresh, options.cipher,
        partial(options.size, "--x"), profiles.check_name,
    ):  # fmt: skip
        try:
            parse(given)
        except UsageError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def _command_line(data: bytes) -> None:
    """Words, one a line: what docopt does not take is explained."""
    words = [text(word) for word in data.split(b"\n")]
    usage_errors.wants_help(words)
    try:
        docopt(
            main._named(usage.usage_of(*words[:1])),
            [main._named(word) for word in main._accepted(words)],
            default_help=False,
        )
    except DocoptExit:
        assert usage_errors.explain(words)


_FILE = Path(tempfile.mkdtemp(prefix="ns-parsers-"), "x.toml")


def _file(load: Callable[[Path], object], data: bytes) -> None:
    descriptor = os.open(_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
    load(_FILE)


_PROFILE, _CLIENT = (
    each.encode() for each in enrol.make_client("ann", ["host:1", "[::1]:2"], SERVER.public, ["*:443", "/x"])
)
_SERVER = f'secret = "{profiles.b64(SERVER.seed)}"\npublic = "{profiles.b64(SERVER.public)}"\n'.encode()
_TOML = (b'"""', b"[", b"]", b"{", b"}", b"a.b", b" = ", b"\n", b"\\u0000", b"1e999", b"1979-05-27", b"''", b"#")
_DEEP = b"a." * 4_000 + b"a = 1\n" + b"[" * 4_000  # costs its size squared where nobody looks first
_DATE = b"HTTP/1.1 400 Bad Request\r\nServer: x\r\nDate: Sun, 22 Nov 2026 05:12:00 GMT\r\n\r\n"
_DATES = (b"Date:", b"\r\n", b"+9999", b"-0000", b"9" * 20, b"(", b")", b'"', b"Sun,", b"0001", b"60", b"\xff")
_DER = certificate.leaf_der(certificate.make(datetime(2026, 1, 1, tzinfo=UTC))[0])


def _certificate(data: bytes) -> None:
    name = certificate.issuer(data)
    assert name and name.isprintable() and len(name) <= 80, name
    certificate.leaf_der(data)


OURS = (NitroSocksError,)
_HANDSHAKE = {
    "greeting": ("welcome", GREETING[0], wire.KNOCK), "challenge": ("greet", GREETING[1], 0),
    "resume": ("recover", RESUME[0], wire.KNOCK), "recovered": ("resume", RESUME[1], 0),
}  # fmt: skip
PARSERS: dict[str, Parser] = {
    name: Parser(partial(hears, side), OURS, (b"".join(said)[skip:],), _NUMBERS, plainly)
    for name, (side, said, skip) in _HANDSHAKE.items()
} | {
    "knock": Parser(knock, (ProtocolError,), (KNOCK, GREETING[0][0])),
    "frames": Parser(_payload, (Violation,), _FRAMES, _WORDS + _NUMBERS),
    "session": Parser(_session, (ProtocolError,), _SESSIONS, _NUMBERS, plainly),
    "sealed": Parser(_sealed, (ProtocolError,), (bytes(60),)),
    "addresses": Parser(_address, (UsageError,), _PLACES, (b":", b"[", b"]", b"::", b"%", b"0x", *_WORDS)),
    "rules": Parser(_rule, (UsageError,), (*_PLACES, b"\n".join(_PLACES)), (b":", b"/", b"[", b"*", b"udp:", *_WORDS)),
    "options": Parser(_option, (UsageError,), _OPTIONS, (b"K", b"m", b",", b"9" * 20, *_WORDS)),
    "command line": Parser(_command_line, (), _LINES, (b"\n", b"--", b"-", b"=", b"--force", b"--permit", *_WORDS)),
    "profile": Parser(partial(_file, profiles.load_profile), (KeyFileError,), (_PROFILE, _DEEP), _TOML + _WORDS),
    "client file": Parser(partial(_file, profiles.load_client), (KeyFileError,), (_CLIENT, _DEEP), _TOML + _WORDS),
    "server key": Parser(partial(_file, profiles.load_server), (KeyFileError,), (_SERVER, _DEEP), _TOML),
    "Date": Parser(dialler._hour_of, (), (_DATE, b"Date: x", b"Date: Sun Nov 22 05:12:00 2026"), _DATES),
    "http request": Parser(request, (), REQUESTS, HTTP),
    "http answer": Parser(answer, (), ANSWERS, HTTP),
    "websocket": Parser(message, (), MESSAGES, FRAME_HEADS),
    "token": Parser(token, (), (TOKEN,), (b"=", b"+", b"/", b"-", b"_", *_WORDS)),
    "proxy answer": Parser(proxy, (NetworkError,), PROXIES, PROXY_WORDS),
    "socks answer": Parser(socks, (NetworkError,), SOCKS, SOCKS_WORDS),
    "datagram": Parser(datagram, (), DATAGRAMS, DATAGRAM_WORDS),
    "certificate": Parser(_certificate, (KeyFileError,), (_DER,), (b"-----BEGIN CERTIFICATE-----", b"0\x82")),
}  # fmt: skip
