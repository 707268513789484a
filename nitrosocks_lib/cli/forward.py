"""`forward`: local ports that lead to targets at the server's side, until a signal ends it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..client.forward import FIRST, Forward, Forwarder
from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import NitroSocksError, UsageError
from ..facts.wire import Kind
from ..facts.words import quoted
from ..net.signals import Stop
from ..net.timers import now
from ..protocol.frames import Target
from . import later, specs
from . import options as words
from .background import into_background, pid_file
from .opening import first_session, login_in, open_pool
from .options import Options
from .output import announce, counted, note, warn_of_few_descriptors

if TYPE_CHECKING:
    from ..client.listens import Remotes
    from ..client.pool import Pool
    from ..protocol.proxy_auth import Login

_OPEN: Final = (
    "whoever reaches this port of the server reaches what this machine does; --socks-auth FILE asks them for a password"
)
_NO_PROXY: Final = "leave it out, or write -D, as in -D 1080"


def forward(options: Options) -> int:
    """Forwards until SIGTERM or SIGINT; exit code 0 then."""
    forwards, asked = _forwards(options), _asked(options)
    if options["--socks-auth"] and not any(each.target is None for each in forwards) and all(to for _, to in asked):
        raise UsageError("--socks-auth is for proxies; -L, and -R with a target, ask nobody for a password", _NO_PROXY)
    ready = into_background() if options["-f"] else lambda: None
    if not options["--pidfile"]:
        return _forward(options, forwards, asked, ready)
    with pid_file(_number(options)):
        return _forward(options, forwards, asked, ready)


def _forward(
    options: Options, forwards: list[Forward], asked: list[tuple[Target, Target | None]], ready: Callable[[], None]
) -> int:
    stop, began = Stop(), now()
    login, mode = _login(options), words.mode(options["--socket-mode"])
    pool = open_pool(
        options, stop, words.sessions(options["--sessions"]), forwards=True, sockets=_removed(options, forwards)
    )
    forwarder, remotes = Forwarder(pool, login, mode), _remotes(asked, pool, login)
    warn_of_few_descriptors()
    bound = [forwarder.bind(each) for each in forwards]
    try:
        if not first_session(pool, stop, options["--retry"]):
            forwarder.stop()
            return 0
        if remotes is not None:
            remotes.start(options["--retry"])
        forwarder.start()
    except NitroSocksError:
        _end(stop, pool, forwarder, remotes)
        raise
    lines = [_line(_places(at, forwarder), each.target) for at, each in zip(bound, forwards, strict=True)]
    listening = [each for each in remotes.remotes if each.at is not None] if remotes is not None else []
    lines += [_line(f"{each.place} at the server", each.target) for each in listening]
    announce(lines)
    note("ready")
    ready()
    _until_stopped(stop, pool, remotes, began)
    _end(stop, pool, forwarder, remotes)
    if stop.failure is not None:
        raise stop.failure
    return 0


def _until_stopped(stop: Stop, pool: Pool, remotes: Remotes | None, began: float) -> None:
    """Does what signals ask for, until one ends it."""
    ends = later.first_wait(stop, later.for_forward)
    while not ends:
        if stop.hurry:
            stop.hurry = False
            pool.hurry()
            if remotes is not None:
                remotes.hurry()
        if stop.take_asked():
            live = pool.sessions
            streams = sum(session.tunnel.load for session in live)
            carried = f"{counted(len(live), 'session')}, {counted(streams, 'stream')}"
            note(f"{carried}, {counted(pool.made, 'session')} made so far, up {now() - began:.0f} s")
        ends = stop.wait()


def _end(stop: Stop, pool: Pool, forwarder: Forwarder, remotes: Remotes | None) -> None:
    """Accepts no more, and releases all sessions; -R asks for no further one."""
    forwarder.stop()
    if remotes is not None:
        remotes.stop()
    stop.see_through(lambda: pool.close(limits.RELEASE))


def _login(options: Options) -> Login | None:
    """What applications must give; raises UsageError where SOCKS5 cannot carry it."""
    login = login_in("--socks-auth", options)
    if login and not all(0 < len(text.encode()) <= limits.SOCKS_LOGIN for text in (login.user, login.password)):
        given = f"--socks-auth {quoted(options['--socks-auth'])}"
        raise UsageError(f"{given}: user and password have 1 to {limits.SOCKS_LOGIN} bytes", "SOCKS5 carries no others")
    return login


def _forwards(options: Options) -> list[Forward]:
    """All of -L, then all of -D."""
    parsed = [specs.local(text) for text in options["-L"]] + [specs.dynamic(text) for text in options["-D"]]
    return [forward for each in parsed for forward in each]


def _asked(options: Options) -> list[tuple[Target, Target | None]]:
    """All of -R."""
    return [pair for text in options["-R"] for pair in specs.remote(text)]


def _remotes(asked: list[tuple[Target, Target | None]], pool: Pool, login: Login | None) -> Remotes | None:
    """What keeps all -R, where there are some."""
    if not asked:
        return None
    from ..client.listens import Remote, Remotes

    for where, target in asked:
        if target is None and login is None and not _loopback(where):
            note(f"-R {where._replace(host=where.host or '*')}: {_OPEN}")
    return Remotes(pool, [Remote(*pair) for pair in asked], login)


def _loopback(where: Target) -> bool:
    """Whether only the users of one machine reach it, for sure."""
    with suppress(ValueError):
        return where.kind == Kind.UNIX or where.host == "localhost" or ip_address(where.host).is_loopback
    return False


def _removed(options: Options, forwards: list[Forward]) -> set[Path]:
    """The directories in which unix sockets are made, and files removed at the end."""
    paths = {each.where.host for each in forwards if each.where.kind == Kind.UNIX}
    numbered = {_number(options).parent} if options["--pidfile"] else set()
    return numbered | {Path(path).absolute().parent for path in paths}


def _number(options: Options) -> Path:
    """The file for the number of this process, where links lead."""
    return Path(os.path.realpath(options["--pidfile"]))


def _places(at: Target, forwarder: Forwarder) -> str:
    """Where it listens: both loopback addresses, where it has both."""
    both = at.host == FIRST and at.port in forwarder.besides
    return f"{at} and {join_host_port('::1', at.port)}" if both else str(at)


def _line(where: str, target: Target | None) -> str:
    return f"proxy for SOCKS and HTTP on {where}" if target is None else f"forwarding {where} to {target}"
