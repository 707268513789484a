"""Datagrams that come to bound sockets: who sends them begins a flow, with a socket pair, of which a stream carries the
far end (protocol 5, UD). The pair keeps borders, and tells both sides an end."""

from __future__ import annotations

import logging
import selectors
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Final, NamedTuple

from ..facts import limits
from .datagrams import AT_ONCE, ROOM, roomy
from .timers import now
from .turns import Turns

log = logging.getLogger(__name__)
_PKTINFO: Final = 8 if sys.platform == "linux" else 26  # IP_PKTINFO, which `socket` does not name
_CONTROL: Final = socket.CMSG_SPACE(40)


class Flows:
    """All flows of one thread, which calls everything here."""

    def __init__(self, turns: Turns, most: int = limits.FLOWS) -> None:
        """Beyond `most` the one that was silent longest ends; while many end, what new senders send is dropped: their
        streams would only wait behind those, and be ended before an answer comes."""
        self.turns, self._most, self._most_ending = turns, most, max(1, most // 8)
        self.live: OrderedDict[Hashable, Flow] = OrderedDict()  # the one that was silent longest is the first
        self.ending: dict[Flow, None] = {}  # their streams are not over yet
        self._warned_at = 0.0  # that there are no descriptors

    def pass_on(
        self, key: Hashable, datagram: bytes, begin: Callable[[socket.socket], None], answer: Callable[[bytes], None]
    ) -> None:
        """One came, of the flow `key`. Where there is none yet, or its stream ended, `begin(far)` has a new stream
        carry the far end, and `answer` gets each datagram that comes back."""
        flow = self.live.get(key)
        if flow is None or not flow.give(datagram):
            if flow is not None:
                flow.close()
            if (flow := self._begin(key, begin, answer)) is None:
                return
            flow.give(datagram)
        self.live.move_to_end(key)

    def _begin(
        self, key: Hashable, begin: Callable[[socket.socket], None], answer: Callable[[bytes], None]
    ) -> Flow | None:
        if len(self.live) >= self._most:
            if len(self.ending) >= self._most_ending:
                return None
            next(iter(self.live.values())).end()
        try:
            near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            self._warn(error)
            return None
        for end in near, far:
            end.setblocking(False)
            roomy(end)
        flow = self.live[key] = Flow(self, key, near, answer)
        begin(far)
        return flow

    def _warn(self, error: OSError) -> None:
        if not self._warned_at or now() - self._warned_at >= limits.SAID:
            self._warned_at = now()
            log.warning("datagrams of new senders are dropped: %s", error.strerror)

    def close(self, of: object) -> None:
        """Ends those with a key that begins with this."""
        for flow in [*self.live.values(), *self.ending]:
            if flow.is_of(of):
                flow.close()


class Flow:
    """One of them; of the thread."""

    def __init__(self, owner: Flows, key: Hashable, near: socket.socket, answer: Callable[[bytes], None]) -> None:
        self._owner, self._key, self._near, self._answer = owner, key, near, answer
        owner.turns.join(self)
        owner.turns.watch(near.fileno(), selectors.EVENT_READ, self)

    def is_of(self, what: object) -> bool:
        """Whether its key begins with this."""
        return isinstance(self._key, tuple) and self._key[0] is what

    def give(self, datagram: bytes) -> bool:
        """Passes one on, or drops it where too many wait; False where the stream takes none any more."""
        try:
            self._near.send(datagram)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def go_on(self) -> None:
        """As Turning: what came back."""
        for _ in range(AT_ONCE):
            try:
                came = self._near.recv(ROOM)
            except BlockingIOError:
                return
            except OSError:
                came = b""
            if not came:
                self.close()
                return
            if self not in self._owner.ending:
                self._owner.live.move_to_end(self._key)
            self._answer(came)
        self._owner.turns.again(self)

    def end(self) -> None:
        """To make room: its stream is to end, and takes no more; what still comes back is answered."""
        del self._owner.live[self._key]
        self._owner.ending[self] = None
        self._near.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """As Turning: its stream ends. A second time it does nothing."""
        self._owner.turns.forget(self._near.fileno())
        self._owner.turns.part(self)
        self._near.close()
        self._owner.ending.pop(self, None)
        if self._owner.live.get(self._key) is self:
            del self._owner.live[self._key]


class Sender(NamedTuple):
    """Who sent a datagram, and the address of this machine that it was sent to: the answer comes from there."""

    address: tuple[str | int, ...]
    info: tuple[tuple[int, int, bytes], ...]


class Entry:
    """A bound socket, each sender of which is a flow; of the thread of `flows`."""

    def __init__(
        self, flows: Flows, sock: socket.socket, begin: Callable[[socket.socket, Sender], None],
        open_: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        """Takes `sock` over. `begin` as in Flows; while not `open_()` what comes is dropped."""
        self._flows, self._sock, self._begin, self._open = flows, sock, begin, open_
        sock.setblocking(False)
        roomy(sock)
        inet6 = sock.family == socket.AF_INET6
        level, option = (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO) if inet6 else (socket.IPPROTO_IP, _PKTINFO)
        sock.setsockopt(level, option, 1)
        flows.turns.join(self)
        flows.turns.watch(sock.fileno(), selectors.EVENT_READ, self)

    def go_on(self) -> None:
        """As Turning: passes on what came."""
        for _ in range(AT_ONCE):
            try:
                datagram, info, _, address = self._sock.recvmsg(ROOM, _CONTROL)
            except OSError:  # most often there is no more
                return
            if datagram and self._open():
                self._take(datagram, Sender(address, tuple(map(_anywhere, info))))
        self._flows.turns.again(self)

    def _take(self, datagram: bytes, sender: Sender) -> None:
        self._flows.pass_on(
            (self, sender), datagram, lambda far: self._begin(far, sender), lambda came: self._answer(came, sender)
        )

    def _answer(self, datagram: bytes, sender: Sender) -> None:
        with suppress(OSError):  # what the socket refuses is lost, as on any network
            self._sock.sendmsg([datagram], sender.info, 0, sender.address)

    def close(self) -> None:
        """As Turning: its flows end, too."""
        self._flows.close(self)
        self._flows.turns.forget(self._sock.fileno())
        self._flows.turns.part(self)
        self._sock.close()


def _anywhere(info: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    """Without the interface that it came by: routes decide by which one the answer goes. What came before a socket was
    asked for its own address has none for IPv4, and the one in the datagram's head stands for it."""
    level, kind, data = info
    nothing = bytes(4)  # in front for IPv4 (ip(7)), in the end for IPv6 (RFC 3542)
    if level != socket.IPPROTO_IP:
        return level, kind, data[:16] + nothing
    own, head = data[4:8], data[8:]
    return level, kind, nothing + (head if own == nothing else own) + head
