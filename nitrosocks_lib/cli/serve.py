"""`serve`: the server, until a signal ends it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from ..crypto.certificate import leaf_der
from ..crypto.identity import ServerKey, fingerprint
from ..facts.address import join_host_port
from ..facts.words import foreign
from ..files import profiles
from ..files.keyfiles import check_secret
from ..net.connect import authorities, server_context
from ..net.memory import tidy
from ..net.process import harden, settle
from ..net.signals import Stop
from ..net.timers import now
from ..server.authorised import Clients
from ..server.connection import Settings
from ..server.server import Server
from . import options as specs
from .options import Options
from .output import counted, note


def serve(options: Options) -> int:
    """Serves until SIGTERM or SIGINT; exit code 0 then."""
    harden()
    home, stop, began = profiles.home(options["--home"], os.environ), Stop(), now()
    addresses = [specs.listen(text) for text in options["--listen"]] or [("", 8443)]
    drain = specs.drain(options["--drain"])
    key, clients, settings, made = _prepared(home, options)
    server = Server(key, clients, settings)
    try:
        bound = [server.listen(host, port) for host, port in addresses]
        settle(_read_again(home, settings))
    finally:  # no line before, since that starts a thread
        for path in made:
            note(f"made {foreign(path)}")
    tidy()
    clients.look()  # tells at once of files that are faulty
    for at in bound:
        note(f"listening on {join_host_port(*at)}")
    server.start()
    note(f"ready, with key {fingerprint(key.public)}")
    while not stop.wait():  # SIGHUP: clients.d is looked at anew at every use anyway
        if stop.take_asked():
            entries = server.reception.registry.all()
            streams = sum(each.tunnel.load for each in entries)
            nonces = server.reception.nonces
            note(
                f"{counted(len(entries), 'session')}, {counted(streams, 'stream')}, "
                f"{counted(nonces.kept, 'nonce')} kept, {nonces.unstored} not, up {now() - began:.0f} s"
            )
    note(f"stopping; running streams have {drain} s")
    stop.see_through(lambda: server.drain(drain))
    return 0


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
    if options["--key"]:
        check_secret(Path(options["--key"]))
    profiles.check_clients(home)
    key, cert, private, made = profiles.ensure_server(home, datetime.now(UTC))
    if options["--cert"]:
        cert, private = Path(options["--cert"]), Path(options["--key"])
    context = server_context(cert, private)
    settings = Settings(context, sha256(leaf_der(cert.read_bytes())).digest(), *words)
    return key, open_clients(home), settings, made


def _read_again(home: Path, settings: Settings) -> Iterator[Path]:
    """Where clients.d is, and what in there only leads elsewhere: all of it is read whenever it changes. And what says
    whose certificates are trusted, where the decoy has one."""
    if settings.decoy is not None and settings.decoy.tls:
        yield from authorities()
    yield home
    yield (clients := home / profiles.CLIENTS)
    yield from (path.resolve().parent for path in clients.glob("*.toml") if path.is_symlink())


def open_clients(home: Path) -> Clients:
    """The live registry of the clients that this server authorises."""
    return Clients(home / profiles.CLIENTS, profiles.load_client)
