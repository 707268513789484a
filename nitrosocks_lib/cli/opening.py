"""How `forward` and `connect` begin: the pool of a profile, and its first session."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from ..client.carriers import Carriers
from ..client.dialler import Dialler
from ..client.openers import Web
from ..client.pool import Pool
from ..client.proxies import Proxies, chosen, login_of
from ..facts import limits
from ..facts.errors import CannotCreate, KeyFileError, NitroSocksError, UsageError
from ..facts.words import foreign, said
from ..files import profiles
from ..files.keyfiles import read_secret
from ..files.profiles import Profile
from ..files.remembered import Remembered, state
from ..net.connect import Route, authorities, client_context
from ..net.memory import tidy
from ..net.netwatch import NetWatch
from ..net.process import harden, settle
from ..net.signals import Stop
from . import options as specs
from .options import Options
from .output import lack, note

if TYPE_CHECKING:
    from ..protocol.proxy_auth import Login

log = logging.getLogger(__name__)
_LOGIN = "write user:password into a file with mode 0600, and give its name"


def open_pool(
    options: Options, stop: Stop, sessions: int, forwards: bool = False, sockets: Iterable[Path] = ()
) -> Pool:
    """The pool of the profile that the options name or that lies in the home directory; dials nothing yet.

    It has so many sessions at most. `stop` hears when TLS must be direct and is not. For `forward` it may bind ports
    still, and unix sockets in the directories `sockets`, and gives memory back that it used.
    """
    harden()
    profile = load_profile(options)
    route, readable = way(options)
    offered, web = specs.carriers(options["--carrier"]), web_of(options)
    memory = state(os.environ) if len(offered) > 1 else None
    carriers = Carriers(offered, Remembered(memory) if memory is not None else None, forced=len(offered) == 1)
    dialler = Dialler(profile.credentials, profile.servers, route, specs.window(options["--window"]), carriers, web)
    dialler.notices.on_intercepted = stop.fail
    redial = specs.redial(options["--redial"])
    settle(readable, listens=forwards, replaced=memory, sockets=sockets)
    if isinstance(route.proxy, Proxies) and route.proxy.named:  # not before: lines have a thread
        log.info("the server is reached through the proxy %s, unless it is excepted", route.proxy.named)
    if forwards:
        tidy()
    return Pool(dialler, sessions, redial)


def _proxies(options: Options) -> Proxies:
    """The proxy that the options or the environment name, with the login of --proxy-auth."""
    login = login_in("--proxy-auth", options)
    named = chosen(options["--proxy"], os.environ)
    if login is not None and named is None:
        log.warning("--proxy-auth is not used: neither --proxy nor the environment names a proxy")
    return Proxies(named, login, lambda: client_context(verify=True))


def login_in(option: str, options: Options) -> Login | None:
    """User and password from the file that the option names, if it does."""
    file = options[option]
    if file and ":" in file and not os.path.exists(file):  # a password, it seems: not to be repeated
        raise UsageError(f"{option} names a file, but this file does not exist", _LOGIN)
    return login_of(read_secret(Path(file), _LOGIN), option, file) if file else None


def load_profile(options: Options) -> Profile:
    """The profile that the options name, or that lies in the home directory; raises KeyFileError."""
    home, named = profiles.home(options["--home"], os.environ), options["-i"]
    if not named:
        return profiles.load_profile(profiles.default_profile(home, os.environ))
    if not os.path.lexists(named) and "/" not in named:
        for near in (home / named, home / f"{named}{profiles.PROFILE}"):
            if os.path.isfile(near):
                raise KeyFileError(
                    f"{foreign(named)}: there is no such file here", f"write -i {foreign(quote(str(near)))}"
                )
    return profiles.load_profile(Path(named))


def way(options: Options) -> tuple[Route, set[Path]]:
    """The way to the server that the options ask for, and the files that are read on it at any time."""
    proxies, verify = _proxies(options), options["--tls-verify"]
    readable = authorities() if verify or proxies.secure else set()
    if proxies.asks:
        from ..client import sso

        readable |= sso.readable(os.environ)
    return Route(verify, not options["-6"], not options["-4"], proxies, options["--require-direct"]), readable


def web_of(options: Options) -> Web:
    """How the requests of carriers look that speak HTTP."""
    return Web(specs.prefix(options["--path"]), specs.host_header(options["--host-header"]))


def first_session(pool: Pool, stop: Stop, retry: bool) -> bool:
    """Makes the first session; False when a signal came first. Without --retry its error ends the command."""
    pause, explained = limits.BACKOFF_FIRST, set[type]()
    while True:
        failure = _start(pool, stop)
        if failure is None and not stop.came:
            watch_network(pool)
        if stop.came or failure is None:
            return not stop.came
        if not retry or stop.failure is not None:
            raise failure
        hint = f"; {failure.hint}" if failure.hint and type(failure) not in explained else ""
        explained.add(type(failure))  # the clock, or the key: once is enough
        note(f"{failure}{hint}; trying again in {pause:.1f} s")
        if stop.wait(pause):
            return False
        pause = min(pause * 2, limits.BACKOFF_MAX)


def watch_network(pool: Pool) -> None:
    """From here on a change of network, or a machine that slept, makes the sessions look whether they still live."""

    def towards() -> list[str]:
        links = [session.tunnel.link for session in pool.sessions]
        return [remote for link in links if link is not None and (remote := link.remote())]

    try:
        NetWatch(pool.doubt, towards).start()
    except (OSError, RuntimeError) as error:  # a silence tells, too, only later
        log.info("changes of the network are not noticed: %s", error)


def _start(pool: Pool, stop: Stop) -> NitroSocksError | None:
    """Dials in a thread, so that a signal is not kept waiting; returns why there is no session, None for a signal, too.

    Whatever is raised there is a failure: who reads "ready" relies on a session.
    """
    ended: list[NitroSocksError | None] = []

    def start() -> None:
        try:
            pool.start()
            ended.append(None)
        except BaseException as error:
            ended.append(_failure(error))
        finally:
            stop.tell()

    try:
        threading.Thread(target=start, name="first session", daemon=True).start()
    except RuntimeError as error:  # no thread is left
        return _failure(error)
    while not stop.wait() and not ended:
        pass
    return ended[0] if ended else stop.failure


def _failure(error: BaseException) -> NitroSocksError:
    if lacking := lack(error.__cause__ or error):
        return CannotCreate(f"cannot make a session: {lacking[0]}", lacking[1])
    if isinstance(error, NitroSocksError):
        return error
    log.info("no session can be made", exc_info=error)
    return NitroSocksError(f"cannot make a session: {said(error)}")
