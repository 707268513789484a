"""`keygen`: the server's key and certificate, or a client's profile and its authorisation."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from ..crypto.identity import fingerprint
from ..facts.address import typed
from ..facts.words import foreign
from ..files import profiles
from ..files.writing import secrets_written
from . import options as specs
from .options import Options
from .output import hand_over, note, tell


def keygen(options: Options) -> int:
    """The server's key and certificate where missing, or a client's profile and its authorisation."""
    home = profiles.home(options["--home"], os.environ)
    if options["NAME"] is not None:
        return _client(home, options)
    key, _, _, made = profiles.ensure_server(home, datetime.now(UTC))
    for path in made:
        note(f"made {foreign(path)}")
    tell(f"{fingerprint(key.public)}\n")
    return 0


def _client(home: Path, options: Options) -> int:
    name = profiles.check_name(options["NAME"])
    authorisation = profiles.client_path(home, name)
    profiles.check_clients(home)
    key, made = profiles.ensure_server_key(home)
    for path in made:
        note(f"made {foreign(path)}")
    servers, rules = map(typed, options["--server"]), [*map(typed, options["--permit"])]
    profile, client = profiles.make_client(name, [*servers], key.public, rules)
    target = options["-o"] or f"{name}{profiles.PROFILE}"
    files = [(authorisation, client)] + ([(Path(target), profile)] if target != "-" else [])
    with secrets_written(files, options["--force"]):  # without the profile nothing is authorised
        if target == "-":
            hand_over(profile)
    yet = "" if rules else ", but nothing is permitted yet"
    note(f"{name} is authorised in {foreign(authorisation)}{yet}")
    for rule, better in specs.futile(rules):
        note(f"the rule {foreign(rule)} permits nothing, since names never reach loopback; write {foreign(better)}")
    if target != "-":
        shown = foreign(target)
        secret = f"{shown} is a secret, bring it to {name} over a way that you trust"
        note(f"{secret}; there: nitrosocks forward -i {shown} -L …")
    return 0
