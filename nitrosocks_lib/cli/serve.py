"""`serve`: the server, until a signal ends it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from glob import glob
from pathlib import Path
from shlex import quote
from typing import Final

from ..crypto.identity import ServerKey, fingerprint
from ..facts.address import join_host_port
from ..facts.errors import ConfigurationError
from ..facts.wire import Carrier
from ..facts.words import foreign
from ..files import profiles, seen
from ..files.keyfiles import check_secret
from ..net.connect import authorities
from ..net.memory import tidy
from ..net.process import harden, settle
from ..net.signals import Stop
from ..net.timers import now
from ..server.authorised import Clients
from ..server.certificates import Certificates
from ..server.connection import Settings
from ..server.server import Server
from . import later
from . import options as specs
from .keygen import tell_made
from .options import Options
from .output import counted, note, warn_of_few_descriptors

log = logging.getLogger(__name__)
_MAKE_CLIENT: Final = "nitrosocks keygen NAME --server HOST:PORT --permit RULE"


def serve(options: Options) -> int:
    """Serves until SIGTERM or SIGINT; exit code 0 then."""
    harden()
    home, stop, began = profiles.home(options["--home"], os.environ), Stop(), now()
    addresses = [specs.listen(text) for text in options["--listen"]] or [("", 8443)]
    drain = specs.drain(options["--drain"])
    key, clients, settings, made = _prepared(home, options)
    learnt = seen.prepare(home)
    server = Server(key, clients, settings, partial(seen.note, learnt) if learnt is not None else lambda _: None)
    try:
        bound = [server.listen(host, port) for host, port in addresses]
        places = profiles.socket_places(home)
        settle(_read_again(home, settings), listens=True, replaced=learnt, sockets=places)
    finally:  # no line before, since that starts a thread
        tell_made(home, made)
        warn_of_few_descriptors()
    tidy()
    clients.look()  # tells at once of files that are faulty
    if not profiles.has_clients(home):
        log.warning("no client is authorised yet; make one: %s", _MAKE_CLIENT)
    for at in bound:
        note(f"listening on {join_host_port(*at)}")
    note(_serving(settings))
    settings.certificates.look()  # warns of one that expires
    server.start()
    note(f"ready, with key {fingerprint(key.public)}")
    ends = later.first_wait(stop, later.for_serve)
    while not ends:
        if stop.hurry:
            stop.hurry = False
            clients.look()
            settings.certificates.look(asked=True)
            note(f"read again: {counted(len(clients), 'client')} authorised; {settings.certificates.presented}")
        if stop.take_asked():
            _tell_load(server, now() - began)
        ends = stop.wait()
    note(f"stopping; running streams have {drain} s")
    stop.see_through(lambda: server.drain(drain))
    return 0


def _tell_load(server: Server, up: float) -> None:
    entries = server.reception.registry.all()
    streams = sum(each.tunnel.load for each in entries)
    nonces = server.reception.nonces
    note(
        f"{counted(len(entries), 'session')}, {counted(streams, 'stream')}, "
        f"{counted(nonces.kept, 'nonce')} kept, {nonces.unstored} not, up {up:.0f} s"
    )


def _serving(settings: Settings) -> str:
    """What is served and presented, on one line."""
    carriers = ", ".join(each for each in Carrier if each in settings.carriers)
    path = f"; path {settings.prefix}" if settings.prefix else ""
    site = settings.decoy
    decoy = f"; decoy {'https://' if site.tls else ''}{foreign(site)}" if site is not None else ""
    return f"serving {carriers}{path}{decoy}; {settings.certificates.presented}"


def _prepared(home: Path, options: Options) -> tuple[ServerKey, Clients, Settings, list[str]]:
    """What a server is made of, and the files made for it.

    Options are all understood before a file is made. Raises as specs, profiles and server_context do.
    """
    words = (
        specs.cipher(options["--cipher"]),
        specs.window(options["--window"]),
        specs.resume(options["--resume"]),
        specs.heartbeat(options["--heartbeat"]),
        specs.refresh(options["--refresh"]),
        frozenset(specs.carriers(options["--carrier"])),
        specs.prefix(options["--path"]),
        specs.decoy(options["--decoy"]),
    )
    given = (Path(options["--cert"]), Path(options["--key"])) if options["--cert"] else None
    certificates = Certificates(*given, check_secret) if given else None
    profiles.check_clients(home)
    key, cert, private, made = profiles.ensure_server(home, datetime.now(UTC))
    at = f" --home {foreign(quote(options['--home']))}" if options["--home"] else ""
    renew = profiles.RENEW_TLS.format(foreign(cert), foreign(private)) + at
    certificates = certificates or _own(cert, private, renew)
    return key, open_clients(home), Settings(certificates, *words), made


def _own(cert: Path, private: Path, renew: str) -> Certificates:
    """The pair of files that the server made for itself."""
    try:
        return Certificates(cert, private, check_secret, renew)
    except ConfigurationError as error:  # its hint is for --cert and --key
        raise ConfigurationError(str(error), profiles.RESTORE_TLS) from None


def _read_again(home: Path, settings: Settings) -> Iterator[Path]:
    """Where clients.d is, and what in there only leads elsewhere, and the server's own certificate: all of it is read
    whenever it changes. And what says whose certificates are trusted, where the decoy has one."""
    if settings.decoy is not None and settings.decoy.tls:
        yield from authorities()
    yield from settings.certificates.places()
    yield home
    yield (clients := home / profiles.CLIENTS)
    links = filter(os.path.islink, (clients / name for name in glob("*.toml", root_dir=clients)))
    yield from (Path(os.path.realpath(path)).parent for path in links)


def open_clients(home: Path) -> Clients:
    """The live registry of the clients that this server authorises."""
    return Clients(home / profiles.CLIENTS, profiles.load_client)
