"""The home directory and what lies there: the server's key and certificate, clients.d, profiles (protocol 7)."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Final

import tomli_w

from ..crypto.identity import ClientKey, ClientPublic, KemPublic, ServerKey
from ..facts import wire
from ..facts.address import split_host_port
from ..facts.errors import ConfigurationError, KeyFileError, NitroSocksError, ProtocolError, UsageError
from ..facts.words import foreign, quoted
from ..protocol.greet import Credentials
from .keyfiles import Table, b64, check_there, read_secret
from .places import below_home, check_place, ending_in
from .writing import locked, write_secret

if TYPE_CHECKING:  # what only a server needs is imported when it is needed: a client is to begin soon
    from ..protocol.permit import Client

SERVER_KEY: Final = "server.key"
TLS_CERT: Final = "tls.crt"
TLS_KEY: Final = "tls.key"
CLIENTS: Final = "clients.d"
PROFILE: Final = ".profile"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_NAME_HINT: Final = "a name has 1 to 64 of A-Z a-z 0-9 . _ - and does not begin with a dot or a dash"
_OURS_HINT: Final = "what begins with _ there is no client, such as _groups.toml"
_MAKE_SERVER: Final = "make it with: nitrosocks keygen"
RESTORE_SERVER: Final = "restore it from a backup; a new one would need new profiles for all clients"
RESTORE_TLS: Final = "restore it, or remove both tls.crt and tls.key: then new ones are made"
RENEW_TLS: Final = "for a new one, remove {} and {}; then run: nitrosocks keygen"
_ASK_AGAIN: Final = "ask the operator of the server for it again"
_MEND: Final = "mend it; the keys can stay as they are"
_NEW_KEYS: Final = "restore the file from a backup, or make new keys and a new profile: nitrosocks keygen {} --force …"
_MAKE_CLIENT: Final = "the operator of the server makes one with: nitrosocks keygen NAME --server HOST:PORT"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a client needs to reach its server; nothing secret in its repr."""

    name: str
    servers: tuple[tuple[str, int], ...]
    credentials: Credentials = field(repr=False)


def home(option: str | None, environ: Mapping[str, str]) -> Path:
    """Our directory: --home, else $NITROSOCKS_HOME, else nitrosocks in $XDG_CONFIG_HOME, else in ~/.config.

    It is not made here, but with mode 0700 when something is first written to it. Raises ConfigurationError where there
    is none to be found.
    """
    if chosen := option or environ.get("NITROSOCKS_HOME"):
        return Path(os.path.expanduser(chosen))  # in a file of variables no shell does it
    found = below_home(environ, "XDG_CONFIG_HOME", ".config")
    if found is None:
        raise ConfigurationError("this user has no home directory", "say with --home DIR where keys and profiles are")
    return found


def check_name(name: str) -> str:
    """The name of a client, which is part of file names; raises UsageError for what is none."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{quoted(name)} is not a name for a client", _NAME_HINT)
    return name


# The server


def load_server(path: Path) -> ServerKey:
    """The server's key; raises KeyFileError, also where `public` is not the key that `secret` makes."""
    check_there(path, _MAKE_SERVER)
    table = Table(path, RESTORE_SERVER)
    table.only("secret public")
    key = ServerKey(table.base64("secret", wire.SECRET))
    if table.base64("public", wire.KEM_PUBLIC) != key.public:
        raise table.fault("'public' does not belong to 'secret'", "restore the file: one of the two was changed")
    return key


def ensure_server_key(home: Path) -> tuple[ServerKey, list[str]]:
    """The server's key, made if there is none, and the files made; raises KeyFileError, CannotCreate.

    Nothing is made or read where somebody else could put another file.
    """
    path = home / SERVER_KEY
    check_place(path)
    with locked(home):
        made = [] if os.path.lexists(path) else [str(path)]
        if made:
            seed = secrets.token_bytes(wire.SECRET)
            write_secret(path, tomli_w.dumps({"secret": b64(seed), "public": b64(ServerKey(seed).public)}))
    return load_server(path), made


def ensure_server(home: Path, now: datetime) -> tuple[ServerKey, Path, Path, list[str]]:
    """The server's key, TLS certificate and TLS key, and the files made because they were missing.

    Several processes may call this at once: one makes them, all get the same. Raises KeyFileError, CannotCreate.
    """
    key, made = ensure_server_key(home)
    cert, private = home / TLS_CERT, home / TLS_KEY
    with locked(home):
        if not has_pair(cert, private):
            from ..crypto import certificate  # slow to import, and no client makes one

            cert_pem, key_pem = certificate.make(now)
            write_secret(private, key_pem.decode())
            write_secret(cert, cert_pem.decode())
            made += [str(cert), str(private)]
    check_tls_key(private)
    return key, cert, private, made


def has_pair(cert: Path, private: Path) -> bool:
    """Whether the TLS certificate and its key are there; raises KeyFileError where it is one of them."""
    there = [path for path in (cert, private) if os.path.lexists(path)]
    if len(there) == 1:
        other = private if there == [cert] else cert
        one = foreign(there[0])
        raise KeyFileError(f"{one} is there without {other.name}", f"restore it, or remove {one}")
    return bool(there)


def check_tls_key(private: Path) -> None:
    """Raises KeyFileError where somebody else could read the key, or put another one there."""
    check_place(private)
    read_secret(private, RESTORE_TLS)


# Authorised clients, at the server


def client_path(home: Path, name: str) -> Path:
    """Where the server keeps an authorised client; raises UsageError for a bad name."""
    if name.startswith("_"):
        raise UsageError(f"{quoted(name)} is not a name for a client at a server", _OURS_HINT)
    return home / CLIENTS / f"{check_name(name)}.toml"


def load_client(path: Path) -> Client:
    """An authorised client; raises KeyFileError, also where somebody else could have written the file."""
    return read_client(path)[0]


def read_client(path: Path, place: bool = True) -> tuple[Client, Table]:
    """As load_client, with what stands in the file; without `place`, whoever could have written it."""
    if place:
        check_place(path)
    from .quotas import KEYS, quota

    table = Table(path, _MEND)
    table.only("name public token", f"permit listen created {KEYS}")
    name, known = _name(table), path.stem if _NAME.fullmatch(path.stem) else "NAME"
    anew = _NEW_KEYS.format(known)
    raw = table.base64("public", wire.CLIENT_PUBLIC, anew)
    with _usable(table, "public", anew):
        public = ClientPublic(raw)
    from ..protocol.listening import ListenRules
    from ..protocol.permit import Client, Rules
    from ..protocol.welcome import Authorised
    from .groups import needed

    authorised = Authorised(name, public, table.base32("token", wire.SECRET, anew))
    if "created" in table:
        table.text("created")
    groups = needed(path.parent, table.texts("permit"), place)
    permit = table.parsed("permit", lambda texts: Rules.parse(texts, groups))
    listen = table.parsed("listen", ListenRules.parse)
    return Client(name, authorised, permit, listen, quota(table)), table


def socket_places(home: Path) -> Iterator[Path]:
    """The directories that files without a fault name for unix sockets, with or without wildcards, and that exist."""
    for path in (home / CLIENTS / name for name in glob("*.toml", root_dir=home / CLIENTS)):
        with suppress(NitroSocksError, OSError):
            if "listen" in read_secret(path):
                texts = [text for text in load_client(path).listen.texts if text.startswith("/")]
                yield from (Path(found) for text in texts for found in glob(os.path.dirname(text), include_hidden=True))


def check_clients(home: Path) -> None:
    """Raises KeyFileError where somebody else could authorise a client, by a file in `clients.d`."""
    check_place(home / CLIENTS)


def has_clients(home: Path) -> bool:
    """Whether there are files of clients, with faults or not; also where that cannot be seen."""
    try:
        names = os.listdir(home / CLIENTS)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    from ..protocol.permit import is_client

    return any(map(is_client, names))


# Profiles, at the client


def profile_path(home: Path, name: str) -> Path:
    """Where the profile of this name lies; raises UsageError for a bad name."""
    return home / f"{check_name(name)}{PROFILE}"


def load_profile(path: Path) -> Profile:
    """A client's profile; raises KeyFileError.

    One that is ours nobody else can have written, wherever it is. root reads those of others: then the directories are
    judged, too.
    """
    check_there(path, _MAKE_CLIENT)
    if others := os.geteuid() == 0 and not _is_ours(path):
        check_place(path, owner_too=True)
    table = Table(path, _ASK_AGAIN, others)
    if "sealed" in table:
        raise table.fault(
            "this version cannot open passphrase-protected profiles ('sealed')",
            "ask the operator of the server for a profile without a passphrase",
        )
    if "public" in table and "token" in table:
        hint = f"the profile is a file that 'nitrosocks keygen {path.stem}' made with it: {path.stem}{PROFILE}"
        raise table.fault("this is the server's file of a client, not its profile", foreign(hint))
    table.only("name server server_public secret token")
    server_public = table.base64("server_public", wire.KEM_PUBLIC)
    with _usable(table, "server_public"):
        KemPublic(server_public).check_usable()
    key, token = ClientKey(table.base64("secret", wire.SECRET)), table.base32("token", wire.SECRET)
    return Profile(_name(table), _servers(table), Credentials(server_public, key, token))


def default_profile(home: Path, environ: Mapping[str, str]) -> Path:
    """The profile to use where none was named: $NITROSOCKS_PROFILE, else default.profile, else the only one there is.

    Raises KeyFileError, which names the choices.
    """
    if chosen := environ.get("NITROSOCKS_PROFILE"):
        return Path(os.path.expanduser(chosen))
    here = foreign(home)
    found = ending_in(home, PROFILE, "name the profile with -i FILE")
    default = home / f"default{PROFILE}"
    if default in found or len(found) == 1:
        return default if default in found else found[0]
    if not found:
        raise KeyFileError(f"there is no profile in {here}", f"name one with -i FILE; {_MAKE_CLIENT}")
    names = foreign(", ".join(path.name for path in found))
    raise KeyFileError(f"several profiles are in {here}: {names}", "choose one with -i FILE or $NITROSOCKS_PROFILE")


@contextmanager
def _usable(table: Table, key: str, hint: str = "") -> Iterator[None]:
    """Tells which key of the file it is that is no public key."""
    try:
        yield
    except ProtocolError as error:
        raise table.fault(f"{key!r}: {error}", hint, key) from None


def _is_ours(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.geteuid()
    except OSError:  # whoever reads it will tell
        return False


def _name(table: Table) -> str:
    try:
        return check_name(table.text("name"))
    except UsageError as error:
        raise table.fault(f"'name': {error}", error.hint, "name") from None


def _servers(table: Table) -> tuple[tuple[str, int], ...]:
    """`server` is one address or a list of them."""
    try:
        servers = tuple(map(split_host_port, table.texts("server", one=True)))
    except UsageError as error:
        raise table.fault(f"'server': {error}", error.hint, "server") from None
    if not servers:
        raise table.fault("'server' names no address", key="server")
    return servers
