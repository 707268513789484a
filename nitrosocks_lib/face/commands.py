"""`keygen` and `serve`: the operator's side. `cli` maps what they raise to exit codes."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..crypto.certificate import leaf_der
from ..crypto.identity import fingerprint
from ..facts import limits
from ..facts.address import join_host_port
from ..runtime.carriers import server_context
from ..runtime.reception import Settings
from ..runtime.server import Server
from ..runtime.stop import Stop
from . import profiles, specs
from .keyfiles import write_secret
from .notes import note

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
    print(fingerprint(key.public))
    return 0


def _keygen_client(home: Path, options: Options) -> int:
    name = profiles.check_name(options["NAME"])
    authorisation = profiles.client_path(home, name)
    key, made = profiles.ensure_server_key(home)
    for path in made:
        note(f"made {path}")
    profile, client = profiles.make_client(name, options["--server"], key.public, options["--permit"])
    force, target = options["--force"], options["-o"] or f"{name}{profiles.PROFILE}"
    write_secret(authorisation, client, force)
    try:
        if target == "-":
            sys.stdout.write(profile)
            sys.stdout.flush()
        else:
            write_secret(Path(target), profile, force)
    except BaseException:
        if not force:
            authorisation.unlink(missing_ok=True)  # nobody has the profile that it would authorise
        raise
    note(f"{name} is authorised in {authorisation}" + ("" if options["--permit"] else ", but nothing is permitted yet"))
    if target != "-":
        note(f"give {target} to {name} on a safe way, it is a secret; there: nitrosocks forward -i {target} -L …")
    return 0


# -- serve ------------------------------------------------------------------------------------------------------------


def serve(options: Options) -> int:
    """Serves until SIGTERM or SIGINT; exit code 0 then."""
    home, stop = home_of(options), Stop()
    server = _make_server(home, options)
    addresses = [specs.listen(text) for text in options["--listen"]] or [("", 8443)]
    for host, port in addresses:
        note(f"listening on {join_host_port(*server.listen(host, port))}")
    server.start()
    note(f"ready, with key {fingerprint(profiles.ensure_server_key(home)[0].public)}")
    while not stop.wait():
        pass  # SIGHUP: clients.d is looked at anew at every use anyway
    drain = specs.whole("--drain", options["--drain"], limits.DRAIN, 0, 86_400)
    note(f"stopping; running streams have {drain} s")
    stop.see_through(lambda: server.drain(drain))
    return 0


def _make_server(home: Path, options: Options) -> Server:
    specs.whole("--drain", options["--drain"], limits.DRAIN, 0, 86_400)
    key, cert, private, made = profiles.ensure_server(home, datetime.now(UTC))
    for path in made:
        note(f"made {path}")
    if options["--cert"]:
        cert, private = Path(options["--cert"]), Path(options["--key"])
    context = server_context(cert, private)
    settings = Settings(
        context,
        sha256(leaf_der(cert.read_bytes())).digest(),
        specs.cipher(options["--cipher"]),
        specs.window(options["--window"]),
        specs.whole("--resume", options["--resume"], limits.RESUME, 0, limits.RESUME_MAX),
        specs.heartbeat(options["--heartbeat"]),
        specs.refresh(options["--refresh"]),
    )
    return Server(key, profiles.open_clients(home), settings)
