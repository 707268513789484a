"""The `websocket` carrier: a stream of bytes in binary messages of RFC 6455, behind the upgrade (protocol 6, WS).

What comes is handed out as it comes, not when its message is whole: a large one on a slow line must not look silent.
"""

from __future__ import annotations

import struct
import threading
from contextlib import suppress

import websockets.frames
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.utils import accept_key

from ..facts import limits
from ..facts.errors import NetworkError
from ..facts.wire import Carrier
from .link import Link, LinkAbove

apply_mask = websockets.frames.apply_mask  # type: ignore[attr-defined]  # the one in C, where that was built
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_LONGER = {126: struct.Struct(">H"), 127: struct.Struct(">Q")}  # by what the short length says
_HEAD, _MASK, _HEAD_MOST = 2, 4, 14
_CONTROL_MOST = 125
_NOTHING = memoryview(b"")
_GOODBYE = Close(CloseCode.NORMAL_CLOSURE, "").serialize()


class Messages:
    """Takes the payload of binary messages out of what comes, and sees to all else. One thread's."""

    __slots__ = (
        "_control",
        "_empty",
        "_head",
        "_left",
        "_mask",
        "_masked",
        "_more",
        "_payload",
        "_size",
        "fault",
        "ping",
    )

    def __init__(self, masked: bool) -> None:
        """Whether the other side has to mask: clients must, servers must not."""
        self._masked = masked
        self._head = b""  # of the next frame, as far as it is there
        self._left = 0  # bytes of this frame that did not come
        self._mask = b""  # of this frame, turned to its next byte
        self._control: Opcode | None = None  # what this frame is, unless it carries payload
        self._payload = b""  # of that one
        self._more = False  # another fragment of this message is to come
        self._size = 0  # of this message
        self._empty = 0  # frames without a byte of payload, one after another
        self.ping: bytes | None = None  # came last, and is to be answered
        self.fault: NetworkError | None = None  # what ends the carrier, behind what was taken

    def take(self, view: memoryview) -> int:
        """Takes what came, and moves the payload in it to the front; returns how many bytes that is."""
        at = out = 0
        try:
            while at < len(view):
                if not self._left:
                    at += self._begin(view[at : at + _HEAD_MOST])
                    continue
                piece = view[at : at + self._left]
                at += len(piece)
                if self._control is None:
                    self._move(piece, view[out : out + len(piece)], out + len(piece) == at)
                    out += len(piece)
                else:
                    self._payload += self._unmasked(piece)
                self._left -= len(piece)
                if not self._left and self._control is not None:
                    self._controlled()
        except NetworkError as error:
            self.fault = error
        return out

    def _begin(self, piece: memoryview) -> int:
        """Goes on with a head; returns how many bytes of `piece` are part of it."""
        had, head = len(self._head), self._head + bytes(piece)
        if len(head) >= _HEAD and bool(head[1] & _MASKED) is not self._masked:
            raise _wrong("incorrect masking")
        longer = _LONGER.get(head[1] & _LENGTH) if len(head) >= _HEAD else None
        at = _HEAD + (longer.size if longer is not None else 0)
        size = at + (_MASK if self._masked and len(head) >= _HEAD else 0)
        if len(head) < size:
            self._head = head
            return len(piece)
        self._head = b""
        self._mask = head[at:size]
        self._left = longer.unpack_from(head, _HEAD)[0] if longer is not None else head[1] & _LENGTH
        self._judge(head[0])
        return size - had

    def _judge(self, first: int) -> None:
        """The frame that begins: `first` is its first byte, and `_left` all of its size."""
        opcode, last = first & _OPCODE, bool(first & _FIN)
        if first & _RESERVED:
            raise _wrong("an extension that was not agreed on")
        if opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG):
            self._control, self._payload = Opcode(opcode), b""
            if self._left > _CONTROL_MOST or not last:
                raise _wrong("a control frame that is too long")
        elif opcode == (Opcode.CONT if self._more else Opcode.BINARY):
            self._control, self._size = None, self._left + (self._size if self._more else 0)
            self._more = not last
            if self._size > limits.MESSAGE:
                raise _wrong("a message that is too long")
        else:
            raise _wrong("text" if opcode == Opcode.TEXT else "a frame that has no place here")
        self._empty = 0 if self._control is None and self._left else self._empty + 1
        if self._empty > limits.MESSAGES_EMPTY:
            raise _wrong("nothing but empty frames")
        if not self._left and self._control is not None:
            self._controlled()

    def _move(self, piece: memoryview, to: memoryview, there: bool) -> None:
        if self._masked:
            to[:] = self._unmasked(piece)
        elif not there:
            to[:] = piece  # they may overlap

    def _unmasked(self, piece: memoryview) -> bytes:
        if not self._masked:
            return bytes(piece)
        mask, turn = self._mask, len(piece) % _MASK
        self._mask = mask[turn:] + mask[:turn]
        return bytes(apply_mask(piece, mask))

    def _controlled(self) -> None:
        """A control frame is there whole."""
        if self._control is Opcode.PING:
            self.ping = self._payload
        elif self._control is Opcode.CLOSE:
            raise NetworkError("the connection ended")


class WebSocketLink(LinkAbove):
    """`read_some` belongs to one thread, `write_some` to one at a time; `close` to the owner, after joining both."""

    carrier = Carrier.WEBSOCKET
    __slots__ = (
        "_below",
        "_lock",
        "_masks",
        "_messages",
        "_out",
        "_owed",
        "_pong",
        "_unread",
        "dry",
        "fd",
        "read_wants",
        "write_wants",
    )

    def __init__(self, link: Link, serving: bool, unread: bytes = b"") -> None:
        """Takes over the link behind the upgrade. `unread` was read with that: a read comes before a poll then."""
        self._below, self._unread = link, unread
        self._masks = not serving
        self._messages = Messages(masked=serving)
        self._lock = threading.Lock()  # around what is written: the reading thread answers pings
        self._out = _NOTHING  # what is left of the frame that is being written
        self._owed = 0  # bytes of the caller's in it, which are not said to be written
        self._pong: bytes | None = None  # waits until that frame is out
        self.fd = link.fd
        self.read_wants, self.write_wants = link.read_wants, link.write_wants
        self.dry = link.dry and not unread

    def read_some(self, buffer: memoryview, enough: int = 1) -> int:
        """Reads until `enough` bytes are there or no more come now; 0 when there are none yet. Answers pings (`WS3`).

        Raises NetworkError at the end of the carrier: a close frame, or what must not come (`WS2`).
        """
        got, messages = 0, self._messages
        while got < enough and messages.fault is None:
            try:
                if not (n := self._read(buffer[got:], enough - got)):
                    break
                got += messages.take(buffer[got : got + n])
                if messages.ping is not None or (self._out and not self._owed):
                    self._answer()
            except NetworkError as error:
                messages.fault = error
            if self.dry:
                break
        if messages.fault is not None and not got:
            raise messages.fault
        return got

    def _read(self, buffer: memoryview, enough: int) -> int:
        if self._unread:
            n = min(len(buffer), len(self._unread))
            buffer[:n], self._unread = self._unread[:n], self._unread[n:]
            return n
        n = self._below.read_some(buffer, enough)
        self.dry, self.read_wants = self._below.dry, self._below.read_wants
        return n

    def write_some(self, data: memoryview) -> int:
        """Writes as much as is taken now, in messages of 256 KiB at most; returns how many bytes that was.

        After less than all only the rest may be written, since its message has begun. NetworkError: it is over.
        """
        at = self._owed  # so many are in the frame that is being written
        assert at <= len(data), "the rest is written, and no less"
        with self._lock:
            while self._go_on() and at < len(data):
                self._owed = min(len(data) - at, limits.MESSAGE_PIECE)
                self._out = self._frame(Opcode.BINARY, data[at : at + self._owed])
                at += self._owed
        return at - self._owed

    def _frame(self, opcode: Opcode, payload: bytes | memoryview) -> memoryview:
        return memoryview(Frame(opcode, payload).serialize(mask=self._masks))

    def _go_on(self) -> bool:
        """Writes what is left of a frame, and a pong that waited for it; True when all is out. Under the lock."""
        while self._out or self._pong is not None:
            if not self._out and self._pong is not None:
                self._out, self._pong = self._frame(Opcode.PONG, self._pong), None
            left = len(self._out) - self._below.write_some(self._out)
            self._owed = min(self._owed, left)
            self._out = self._out[-left:] if left else _NOTHING
            if left:
                self.write_wants = self._below.write_wants
                return False
        return True

    def _answer(self) -> None:
        """For the reading thread: the last ping, or what is left of an answer, unless a message is half written."""
        with self._lock:
            if self._messages.ping is not None:
                self._pong, self._messages.ping = self._messages.ping, None
            if not self._owed:
                self._go_on()

    # -- the end ----------------------------------------------------------------------------------------------------

    def say_goodbye(self, deadline: float = 0.0) -> None:
        """A close frame and the end below; then reads what is unread, until the deadline. The last call but `close`."""
        with suppress(NetworkError), self._lock:  # it is over
            if self._go_on():
                self._out = self._frame(Opcode.CLOSE, _GOODBYE)
                self._go_on()
        self._below.say_goodbye(deadline)

    def close(self, deadline: float = 0.0) -> None:
        """The owner's last call, after joining. With a deadline it says goodbye before."""
        try:
            if deadline:
                self.say_goodbye(deadline)
        finally:
            self._below.close()


def accept_of(key: str) -> str:
    """What a server answers to the key of an upgrade: the value of Sec-WebSocket-Accept."""
    return accept_key(key)


def _wrong(what: str) -> NetworkError:
    return NetworkError(f"the connection broke: not the WebSocket that is used here: {what}")
