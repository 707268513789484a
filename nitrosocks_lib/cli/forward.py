"""`forward`: local ports that lead to targets at the server's side, until a signal ends it."""

from __future__ import annotations

from ..client.forward import Forwarder
from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import CannotCreate
from ..net.signals import Stop
from ..net.timers import now
from . import options as specs
from .opening import first_session, open_pool
from .options import Options
from .output import announce, counted, note


def forward(options: Options) -> int:
    """Forwards until SIGTERM or SIGINT; exit code 0 then."""
    forwards, began = [specs.forward(text) for text in options["-L"]], now()
    stop = Stop()
    pool = open_pool(options, stop, specs.sessions(options["--sessions"]), forwards=True)
    forwarder = Forwarder(pool)
    bound = [forwarder.bind(each) for each in forwards]
    if not first_session(pool, stop, options["--retry"]):
        return 0
    try:
        forwarder.start()
    except CannotCreate:
        stop.see_through(lambda: pool.close(limits.RELEASE))
        raise
    targets = [join_host_port(each.target.host, each.target.port) for each in forwards]
    announce([f"forwarding {join_host_port(*at)} to {to}" for at, to in zip(bound, targets, strict=True)])
    note("ready")
    while not stop.wait():
        if stop.hurry:
            stop.hurry = False
            pool.hurry()
        if stop.take_asked():
            live = pool.sessions
            streams = sum(session.tunnel.load for session in live)
            carried = f"{counted(len(live), 'session')}, {counted(streams, 'stream')}"
            note(f"{carried}, {counted(pool.made, 'session')} made so far, up {now() - began:.0f} s")
    forwarder.stop()
    stop.see_through(lambda: pool.close(limits.RELEASE))
    if stop.failure is not None:
        raise stop.failure
    return 0
