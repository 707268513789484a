"""`forward` and `connect`: the client's side. `cli` maps what they raise to exit codes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from ..client.dialler import Dialler
from ..client.forward import Forwarder
from ..client.pool import Pool
from ..client.stdio import Pipe
from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import NetworkError, NitroSocksError
from ..files import profiles
from ..net.connect import Route
from ..net.signals import Stop
from ..net.timers import now
from . import options as specs
from .operator import Options, home_of
from .output import note, tell


def _pool(options: Options, warm: int) -> Pool:
    path = Path(options["-i"]) if options["-i"] else profiles.default_profile(home_of(options), os.environ)
    profile = profiles.load_profile(path)
    route = Route(options["--tls-verify"], ipv4=not options["-6"], ipv6=not options["-4"])
    dialler = Dialler(profile.credentials, profile.servers, route, specs.window(options["--window"]))
    redial = specs.whole("--redial", options["--redial"], 0, 1, 86_400)
    return Pool(dialler, warm, float(redial) or None)


def forward(options: Options) -> int:
    """Forwards until SIGTERM or SIGINT; exit code 0 then."""
    forwards, began = [specs.forward(text) for text in options["-L"]], now()
    pool = _pool(options, specs.whole("--warm", options["--warm"], limits.WARM, 0, limits.WARM_MAX))
    forwarder, stop = Forwarder(pool), Stop()
    bound = [forwarder.listen(each) for each in forwards]
    if not _first_session(pool, stop, options["--retry"]):
        return 0
    forwarder.start()
    for each, at in zip(forwards, bound, strict=True):
        target = join_host_port(each.target.host, each.target.port)
        tell(f"forwarding {join_host_port(*at)} to {target}\n")
    note("ready")
    while not stop.wait():
        if stop.hurry:
            stop.hurry = False
            pool.hurry()
        if stop.take_asked():
            note(f"{pool.made} sessions made so far, up {now() - began:.0f} s")
    forwarder.stop()
    stop.see_through(lambda: pool.close(limits.RELEASE))
    return 0


def _first_session(pool: Pool, stop: Stop, retry: bool) -> bool:
    """Makes the first session; False when a signal came first. Without --retry its error ends the command."""
    pause = limits.BACKOFF_FIRST
    while True:
        failure = _start(pool, stop)
        if stop.came or failure is None:
            return not stop.came
        if not retry:
            raise failure
        note(f"{failure}; trying again in {pause:.1f} s")
        if stop.wait(pause):
            return False
        pause = min(pause * 2, limits.BACKOFF_MAX)


def _start(pool: Pool, stop: Stop) -> NitroSocksError | None:
    """Dials in a thread, so that a signal is not kept waiting; returns why there is no session."""
    failures: list[NitroSocksError] = []
    made = threading.Event()

    def start() -> None:
        try:
            pool.start()
        except NitroSocksError as error:
            failures.append(error)
        finally:
            made.set()
            stop.tell()

    threading.Thread(target=start, name="first session", daemon=True).start()
    while not stop.wait() and not made.is_set():
        pass
    return failures[0] if failures else None


def connect(options: Options) -> int:
    """Carries stdin and stdout; 0 when the target has ended and all of it is written."""
    target = specs.destination(options["HOST"], options["PORT"])
    pool, stop = _pool(options, 0), Stop(hangup_ends=True)
    if not _first_session(pool, stop, retry=False):
        return 255
    pipe = Pipe(pool, stop)
    try:
        quiet = pipe.run(target)
    except NetworkError as error:
        raise NetworkError(f"{join_host_port(target.host, target.port)}: {error}") from None
    finally:
        stop.see_through(lambda: pool.close(1.0 if stop.came else limits.RELEASE))
    return 255 if quiet else 0
