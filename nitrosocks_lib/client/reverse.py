"""`-R` without a target: who connects at the server asks for one, by SOCKS or HTTP, and it is reached from here.

The session knows such a connection as a stream whose target is reached at once: one end of a connection of this process
with itself. At the other end is what the applications of `-D` have, too.
"""

from __future__ import annotations

import os
from errno import EMFILE
from typing import TYPE_CHECKING

from ..facts.wire import Reply
from ..facts.words import said
from ..net.sockets import tcp_pair
from ..net.wake import Waiter
from ..protocol.frames import Address, Target
from ..session.dialling import Reached, Unreached
from ..session.dials import Dials, Reach
from .applications import Applications
from .direct import ASKED, Anywhere, Direct

if TYPE_CHECKING:
    from ..protocol.proxy_auth import Login


class Reverse:
    """Of all -R of a program that name no target; any thread."""

    def __init__(self, reach: Reach, login: Login | None) -> None:
        """With `login` only applications that give it are served."""
        self._reach = reach
        self._direct = Direct(reach)
        self._applications = Applications(self._direct.open, login, resets=True)

    def take(self) -> Reached | Unreached:
        """A connection to an application that has not asked; the other end has it."""
        try:
            near, far = tcp_pair()
        except OSError as error:
            return Unreached(Reply.GENERAL, "the client cannot take it", f": {said(error)}")
        if max(near.fileno(), far.fileno()) >= self._reach.descriptors:
            near.close()
            far.close()
            return Unreached(Reply.GENERAL, "the client cannot take it", f": {os.strerror(EMFILE)}")
        self._applications.take(far)
        return Reached(near, Address("", 0))

    def stop(self) -> None:
        """Closes all of them."""
        self._applications.stop()
        self._direct.stop()


class Leading(Dials):
    """All dials of one session: those to ASKED lead to `reverse`."""

    def __init__(self, reverse: Reverse, reach: Reach, waiter: Waiter) -> None:
        super().__init__(b"", Anywhere, reach, waiter)
        self._reverse = reverse

    def begin(self, number: int, target: Target) -> None:
        """As Dials."""
        if target == ASKED:
            self._decide(number, self._reverse.take())
        else:
            super().begin(number, target)
