"""`keygen`: the server's key and certificate, or a client's profile and its authorisation."""

from __future__ import annotations

import logging
import os
import stat
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..crypto.identity import ServerKey, fingerprint
from ..facts.address import typed
from ..facts.words import foreign
from ..files import enrol, profiles
from ..files.groups import needed
from ..files.owner import as_owner
from ..files.writing import secrets_written
from ..net.signals import ended_by_exception
from .output import hand_over, note, tell
from .permit import tell_futile

if TYPE_CHECKING:
    from .options import Options

log = logging.getLogger(__name__)
_RESTORE: Final = (
    "restore server.key from a backup, or make each profile anew: nitrosocks keygen NAME --force --server HOST:PORT"
)


def keygen(options: Options) -> int:
    """The server's key and certificate where missing, or a client's profile and its authorisation."""
    ended_by_exception()
    home = profiles.home(options["--home"], os.environ)
    if options["NAME"] is not None:
        return _client(home, options)
    with as_owner(home, home):
        key, _, _, made = profiles.ensure_server(home, datetime.now(UTC))
    tell_made(home, made)
    tell(f"{fingerprint(key.public)}\n")
    return 0


def tell_made(home: Path, made: list[str]) -> None:
    """What was made for the server; and that a new key is one too many where there are clients already."""
    for path in made:
        note(f"made {foreign(path)}")
    if str(home / profiles.SERVER_KEY) in made and profiles.has_clients(home):
        there = foreign(home / profiles.CLIENTS)
        log.error("this key is new, and no profile of the clients in %s accepts it; %s", there, _RESTORE)


def _client(home: Path, options: Options) -> int:
    name = profiles.check_name(options["NAME"])
    key = _server_key(home)
    servers, rules = map(typed, options["--server"]), [*map(typed, options["--permit"])]
    listen = [*map(typed, options["--listen"])]
    with as_owner(home, home / profiles.CLIENTS):
        groups = needed(home / profiles.CLIENTS, rules)
    texts = enrol.make_client(name, [*servers], key.public, rules, listen, datetime.now(UTC), groups)
    target = options["-o"] or f"{name}{profiles.PROFILE}"
    authorisation = _write(home, name, target, texts, options["--force"])
    yet = "" if rules or listen else f", but nothing is permitted yet: run nitrosocks permit {name} RULE"
    note(f"{name} is authorised in {foreign(authorisation)}{yet}")
    tell_futile(rules)
    if target != "-":
        shown = foreign(target)
        secret = f"{shown} is a secret: take it to {name} over a secure channel"
        note(f"{secret}; then run there: nitrosocks forward -i {shown} -L …")
    return 0


def _server_key(home: Path) -> ServerKey:
    with as_owner(home, home / profiles.CLIENTS):
        profiles.check_clients(home)
        key, made = profiles.ensure_server_key(home)
    tell_made(home, made)
    return key


def _write(home: Path, name: str, target: str, texts: tuple[str, str], force: bool) -> Path:
    """Both files or none: without the profile nothing is authorised. The profile belongs to who runs this."""
    authorisation = profiles.client_path(home, name)
    with ExitStack() as stack:
        if target != "-":
            stack.enter_context(secrets_written([(Path(target), texts[0])], force, directories=False))
        stack.enter_context(as_owner(home, home / profiles.CLIENTS))
        stack.enter_context(secrets_written([(authorisation, texts[1])], force))
        if target == "-":
            hand_over(texts[0])
            _look_at_stdout()
    return authorisation


def _look_at_stdout() -> None:
    """A shell makes a file of 0644 where it is told to write there; its mode is not ours to change."""
    status = os.fstat(1)
    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        note(f"the profile went into a file with mode {mode}, and is refused with it: run chmod 600, or use -o FILE")
