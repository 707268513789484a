"""One stranger on one connection, and all that it can see: TLS messages, alerts, bytes, FIN and RST, and when.

TLS runs over memory, so that what the server says in TLS and what its kernel says in TCP are seen apart. A `Probe` is a
list of steps; the same steps are done at two servers, and what came is compared.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ready import broken, readable

HOST = "www.example.org"  # the SNI, and the Host of requests
HOLD = 9.0  # seconds until what is still open counts as held open
ANSWER = 4.0  # seconds that an answer in the middle of a probe is waited for
AFTER = 0.4  # seconds after a FIN in which a byte more is answered by RST where the server has let go
_ALERT, _HANDSHAKE, _DATA, _HEADER, _INNER = 21, 22, 23, 256, 257  # the last two are OpenSSL's own
_SIGNED = (12, 15)  # server_key_exchange, certificate_verify
_SIGNED_SIZES = (98, 120)  # at most, of their records
_CLOSE_NOTIFY = 0
_OPEN = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.I)
_VARIES = (  # in answers: when, and a number that counts
    (re.compile(rb"\r\nDate: [^\r]{29}\r\n"), b"\r\nDate: ...\r\n"),
    (re.compile(rb"(boundary=|\r\n--)\d{20}"), rb"\1..."),
)
_RECORDS = (b"\x15", b"\x16")  # begin TLS
Step = tuple[str, object]


@dataclass(frozen=True, slots=True)
class Probe:
    """`steps` are ("raw", bytes): as they are, under any TLS; ("tls", options): a handshake; ("say", bytes): in TLS, a
    call; ("answer", n): wait for an answer; ("notify", 0): close_notify; ("fin", 0); ("pause", seconds).
    """

    kind: str
    name: str
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Seen:
    """What came of one probe. `events` is in order, `said` the bytes with TLS off, without what differs each time."""

    events: list[str] = field(default_factory=list)
    handshake: list[str] = field(default_factory=list)  # the server's TLS messages
    said: bytes = b""
    records: list[int] = field(default_factory=list)  # bytes of data in each TLS record
    first: float = 0.0  # seconds from the last step to the first byte, or the end where none came
    ended: float = 0.0  # the same to the end
    reused: bool = False

    @property
    def end(self) -> str:
        """How it ended, in one word for each step."""
        return " ".join(event for event in self.events if not event.startswith("bytes"))


def prober(port: int, probe: Probe, hold: float = HOLD, first: bool = False, behind: bool = True) -> Seen:
    """Does one probe; blocks until the server ended it, or `hold` seconds, or with `first` until the first byte."""
    run = _Run(port, behind)
    try:
        for verb, value in probe.steps:
            if run.over:
                break
            getattr(run, f"do_{verb}")(value)
        run.last, run.seen.first = time.perf_counter(), run.seen.ended
        run.watch(time.monotonic() + hold, lambda: first and run.seen.first > 0)
        return run.result()
    finally:
        run.sock.close()


@dataclass(slots=True)
class Options:
    """Of a TLS handshake; the defaults are those of a common client."""

    sni: str | None = HOST
    alpn: tuple[str, ...] = ()
    least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str = ""
    group: str = ""
    no_ticket: bool = False
    session: object = None  # of a run before, to be resumed


def context_of(options: Options, watch: Callable[..., None] | None = None) -> ssl.SSLContext:
    """A client that trusts all, and tells each message to `watch`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # a FIN without close_notify is to be seen
    context.minimum_version, context.maximum_version = options.least, options.most
    if options.ciphers:
        context.set_ciphers(options.ciphers)
    if options.alpn:
        context.set_alpn_protocols(list(options.alpn))
    if options.group:
        context.set_ecdh_curve(options.group)
    if options.no_ticket:
        context.options |= ssl.OP_NO_TICKET
    if watch is not None:
        context._msg_callback = watch  # type: ignore[attr-defined]
    return context


def hello(options: Options | None = None) -> bytes:
    """A ClientHello."""
    out = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context_of(options or Options()).wrap_bio(ssl.MemoryBIO(), out, server_hostname=HOST).do_handshake()
    return out.read()


class _Run:
    """One connection under way; one thread's."""

    def __init__(self, port: int, behind: bool) -> None:
        self._behind = behind
        self.sock = socket.create_connection(("127.0.0.1", port), HOLD)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.seen = Seen()
        self.last = time.perf_counter()
        self.over = False  # the server has ended what it sends, or all
        self._came, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._ready = self._told = False
        self._size = 0  # of the record that comes

    # -- steps ---------------------------------------------------------------------------------------------------------

    def do_raw(self, data: bytes) -> None:
        end = time.monotonic() + HOLD
        while data and not self.over:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                if time.monotonic() > end:
                    self.seen.events.append("takes no more")
                    return
                self._take(0.05)
            except OSError:
                return  # an RST came: to be read

    def do_tls(self, options: Options | None) -> None:
        options = options or Options()
        context = context_of(options, self._message)
        self._tls = context.wrap_bio(self._came, self._out, server_hostname=options.sni, session=options.session)
        self._advance()
        self.watch(time.monotonic() + HOLD, lambda: self._ready)

    def do_say(self, data: bytes) -> None:
        if self._ready and self._tls is not None:
            self._tls.write(data)
            self._flush()

    def do_answer(self, number: int) -> None:
        self.watch(time.monotonic() + ANSWER, lambda: _answers(self.seen.said) >= number)

    def do_notify(self, _: object) -> None:
        if self._ready and self._tls is not None:
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()

    def do_fin(self, _: object) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def do_pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.watch(end, lambda: False)

    # -- what comes ----------------------------------------------------------------------------------------------------

    def watch(self, end: float, enough: Callable[[], bool]) -> None:
        """Takes what comes until it is enough, the server ended, or the time is over."""
        while not self.over and not enough() and (left := end - time.monotonic()) > 0:
            self._take(left)

    def _take(self, seconds: float) -> None:
        if not readable(self.sock, seconds):
            return
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            self._end("RST")
            return
        if not data:
            self._end("FIN")
            if self._behind:
                self._look_behind()
        elif self._tls is None:
            self._bytes(data)
        else:
            self._came.write(data)
            self._advance()

    def _advance(self) -> None:
        """OpenSSL goes on; `_message` is told of what comes."""
        assert self._tls is not None
        try:
            if not self._ready:
                self._tls.do_handshake()
                self._ready = True
                tls = self._tls
                self.seen.events.append(f"TLS {tls.version()} {tls.cipher()[0]} {tls.selected_alpn_protocol()}")
            while data := self._tls.read(1 << 16):
                self._bytes(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:  # alerts were told already
            if not self._told:
                self.seen.events.append(f"TLS broken: {error.reason}")
        self._flush()

    def _flush(self) -> None:
        if data := self._out.read():
            self.do_raw(data)

    def _message(self, _: object, direction: str, __: object, content: int, kind: int, data: bytes) -> None:
        if direction != "read":
            return
        if content == _ALERT and len(data) == 2:
            self._told = True
            self.seen.events.append("close_notify" if data[1] == _CLOSE_NOTIFY else f"alert {data[1]}")
        elif content == _HANDSHAKE:
            varies = kind in _SIGNED  # signatures of ECDSA are of 70 to 72 bytes
            self.seen.handshake.append(kind.name.lower() + (f" {len(data)}" if not varies else ""))  # type: ignore[attr-defined]
        elif content == _HEADER:
            self._size = int.from_bytes(data[3:5])
            if data[0] == _DATA and self._tls is not None and self._tls.version() != "TLSv1.3":
                self.seen.records.append(self._size)
        elif content == _INNER and data[0] == _DATA:  # TLS 1.3 calls everything data outside
            self.seen.records.append(self._size)

    def _bytes(self, data: bytes) -> None:
        self.seen.said += data
        self.seen.first = self.seen.first or time.perf_counter()
        if not (self.seen.events and self.seen.events[-1] == "bytes"):
            self.seen.events.append("bytes")

    def _end(self, how: str) -> None:
        self.seen.ended = time.perf_counter()
        self.seen.first = self.seen.first or self.seen.ended
        self.over = True
        self.seen.events.append(how)

    def _look_behind(self) -> None:
        """Whether the server has let go, or still reads."""
        with suppress(OSError):  # this side has ended what it sends, too
            self.sock.send(b"\x00")
            self.seen.events.append("gone" if broken(self.sock, AFTER) else "reads on")

    def result(self) -> Seen:
        if not self.over:
            self.seen.events.append("held open")
            self.seen.ended = time.perf_counter()
        self.seen.first = (self.seen.first or self.seen.ended) - self.last
        self.seen.ended -= self.last
        if self._tls is not None:
            self.seen.reused = bool(self._tls.session_reused)
        if self._tls is None and self.seen.said[:1] in _RECORDS:
            self.seen.said = _records(self.seen.said)
        for pattern, instead in _VARIES:
            self.seen.said = pattern.sub(instead, self.seen.said)
        return self.seen


def _answers(said: bytes) -> int:
    """How many whole answers of known length stand there."""
    count = 0
    while (end := said.find(b"\r\n\r\n")) >= 0:
        length = _OPEN.search(said[: end + 2])
        said, there = said[end + 4 :], len(said) - end - 4
        if there < (size := int(length[1]) if length else 0):
            break
        said, count = said[size:], count + 1
    return count


def _records(said: bytes) -> bytes:
    """TLS that nobody decrypts: the heads of its records, and alerts whole. What is signed varies by some bytes."""
    told = b""
    while said:
        size = int.from_bytes(said[3:5])
        near = next((most for most in _SIGNED_SIZES if most - 8 < size <= most), size)
        told += said[:3] + (said[3 : 5 + size] if said[0] == _ALERT else near.to_bytes(2))
        said = said[5 + size :]
    return told
