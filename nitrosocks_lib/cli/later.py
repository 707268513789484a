"""Modules that a command needs late, if at all. An upgrade may replace the program's files before: they are loaded when
the command is ready and what came at once is served."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from ..net.signals import Stop

log = logging.getLogger(__name__)
PAUSE: Final = 3.0  # s after a command is ready: nobody who waits for it waits for these, too


def for_forward() -> None:
    """Other carriers, interception, and HTTP at a proxy of ours."""
    from ..client import updown, upgrade
    from ..crypto import certificate
    from ..protocol import proxy_server

    assert updown and upgrade and certificate and proxy_server


def for_serve() -> None:
    """What files of clients may hold."""
    from ..files import groups, quotas
    from ..protocol import listening

    assert groups and quotas and listening


def first_wait(stop: Stop, load: Callable[[], None]) -> bool:
    """Waits for PAUSE, or until something is to be done, and loads them; True when the program is to end."""
    if stop.wait(PAUSE):
        return True
    try:
        load()
    except Exception as error:  # the files are replaced already, or there is no memory; perhaps they are never needed
        log.debug("what is needed later cannot be loaded: %s", error)
    return False
