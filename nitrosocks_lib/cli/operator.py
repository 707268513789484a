"""`keygen` and `serve`: the operator's side. `cli` maps what they raise to exit codes."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..crypto.certificate import leaf_der
from ..crypto.identity import fingerprint
from ..facts import limits
from ..facts.address import join_host_port
from ..files import profiles
from ..files.keyfiles import check_secret, secrets_written
from ..net.connect import server_context
from ..net.signals import Stop
from ..net.timers import now
from ..server.connection import Settings
from ..server.server import Server
from . import options as specs
from .output import hand_over, note, tell

Options = dict[str, Any]


def home_of(options: Options) -> Path:
    """The home directory that this command uses."""
    return profiles.home(options["--home"], os.environ)


# -- keygen -----------------------------------------------------------------------------------------------------------


def keygen(options: Options) -> int:
    """The server's key and certificate where missing, or a client's profile and its authorisation."""
    home = home_of(options)
    if options["NAME"]:
        return _keygen_client(home, options)
    key, _, _, made = profiles.ensure_server(home, datetime.now(UTC))
    for path in made:
        note(f"made {path}")
    tell(f"{fingerprint(key.public)}\n")
    return 0


def _keygen_client(home: Path, options: Options) -> int:
    name = profiles.check_name(options["NAME"])
    authorisation = profiles.client_path(home, name)
    key, made = profiles.ensure_server_key(home)
    for path in made:
        note(f"made {path}")
    profile, client = profiles.make_client(name, options["--server"], key.public, options["--permit"])
    target = options["-o"] or f"{name}{profiles.PROFILE}"
    files = [(authorisation, client)] + ([(Path(target), profile)] if target != "-" else [])
    with secrets_written(files, options["--force"]):  # without the profile nothing is authorised
        if target == "-":
            hand_over(profile)
    note(f"{name} is authorised in {authorisation}" + ("" if options["--permit"] else ", but nothing is permitted yet"))
    for rule, better in specs.futile(options["--permit"]):
        note(f"the rule {rule} permits nothing, since names never reach loopback; write {better}")
    if target != "-":
        note(f"give {target} to {name} on a safe way, it is a secret; there: nitrosocks forward -i {target} -L …")
    return 0


# -- serve ------------------------------------------------------------------------------------------------------------


def serve(options: Options) -> int:
    """Serves until SIGTERM or SIGINT; exit code 0 then."""
    home, stop, began = home_of(options), Stop(), now()
    addresses = [specs.listen(text) for text in options["--listen"]] or [("", 8443)]
    drain = specs.whole("--drain", options["--drain"], limits.DRAIN, 0, 86_400)
    server = _make_server(home, options)
    for host, port in addresses:
        note(f"listening on {join_host_port(*server.listen(host, port))}")
    server.start()
    note(f"ready, with key {fingerprint(profiles.ensure_server_key(home)[0].public)}")
    while not stop.wait():  # SIGHUP: clients.d is looked at anew at every use anyway
        if stop.take_asked():
            hosted = server.reception.registry.all()
            streams = sum(each.tunnel.stream is not None for each in hosted)
            note(f"{len(hosted)} sessions, {streams} streams, up {now() - began:.0f} s")
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
    key, cert, private, made = profiles.ensure_server(home, datetime.now(UTC))
    for path in made:
        note(f"made {path}")
    if options["--cert"]:
        cert, private = Path(options["--cert"]), Path(options["--key"])
    context = server_context(cert, private)
    settings = Settings(context, sha256(leaf_der(cert.read_bytes())).digest(), *words)
    clients = profiles.open_clients(home)
    clients.current()  # tells at once of files that are faulty
    return Server(key, clients, settings)
