"""`serve`: the server, until a signal ends it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from ..crypto.certificate import leaf_der
from ..crypto.identity import fingerprint
from ..facts import limits
from ..facts.address import join_host_port
from ..facts.words import foreign
from ..files import profiles
from ..files.keyfiles import check_secret
from ..net.connect import server_context
from ..net.memory import tidy
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
    tidy()
    home, stop, began = profiles.home(options["--home"], os.environ), Stop(), now()
    addresses = [specs.listen(text) for text in options["--listen"]] or [("", 8443)]
    drain = specs.whole("--drain", options["--drain"], limits.DRAIN, 0, 86_400)
    server = _make_server(home, options)
    for host, port in addresses:
        note(f"listening on {join_host_port(*server.listen(host, port))}")
    server.start()
    note(f"ready, with key {fingerprint(profiles.ensure_server_key(home)[0].public)}")
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


def _make_server(home: Path, options: Options) -> Server:
    """Of options that are all understood before a file is made. Raises as specs, profiles and server_context do."""
    words = (
        specs.cipher(options["--cipher"]),
        specs.window(options["--window"]),
        specs.whole("--resume", options["--resume"], limits.RESUME, 0, limits.RESUME_MAX),
        specs.heartbeat(options["--heartbeat"]),
        specs.refresh(options["--refresh"]),
    )
    if options["--key"]:
        check_secret(Path(options["--key"]))
    profiles.check_clients(home)
    key, cert, private, made = profiles.ensure_server(home, datetime.now(UTC))
    for path in made:
        note(f"made {foreign(path)}")
    if options["--cert"]:
        cert, private = Path(options["--cert"]), Path(options["--key"])
    context = server_context(cert, private)
    settings = Settings(context, sha256(leaf_der(cert.read_bytes())).digest(), *words)
    clients = open_clients(home)
    clients.look()  # tells at once of files that are faulty
    return Server(key, clients, settings)


def open_clients(home: Path) -> Clients:
    """The live registry of the clients that this server authorises."""
    return Clients(home / profiles.CLIENTS, profiles.load_client)
