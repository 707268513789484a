"""The authorised clients of a home: listed, and one of them changed, removed or renamed (protocol 7).

Each change is of one file, whole or not at all; a server that runs sees it at the client's next stream. Callers hold
the rights of the home's owner (`owner.as_owner`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from ..crypto.identity import client_fingerprint
from ..facts.errors import CannotCreate, KeyFileError, NitroSocksError, UsageError
from ..facts.limits import FILE
from ..facts.words import foreign, quoted
from ..protocol.listening import ListenRules
from ..protocol.permit import Client, Rules, is_client
from ..protocol.rules import meaning
from . import seen
from .editing import changed
from .groups import needed
from .profiles import CLIENTS, check_clients, check_name, client_path, read_client
from .writing import locked, replace_secret, settle


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of `clients.d`: what it authorises, or the `fault` for which a server skips it."""

    name: str
    path: Path
    client: Client | None = None
    added: str = ""  # as the file has it; empty where it does not say
    last_seen: datetime | None = None  # None where nobody wrote it down
    fault: NitroSocksError | None = None

    @property
    def fingerprint(self) -> str:
        """Of the client's public key, as the server's log has it; empty where it cannot be read."""
        return client_fingerprint(self.client.authorised.public.client_id) if self.client is not None else ""


def listed(home: Path, place: bool = True) -> list[Listed]:
    """All files of `clients.d`, sorted by name, those that have a fault, too.

    Raises KeyFileError where the directory cannot be read or, unless without `place`, where others can write to it.
    """
    if place:
        check_clients(home)
    found = [_read(home, path, place) for path in paths(home)]
    twins = dict(_twins(found))
    return [
        Listed(one.name, one.path, one.client, one.added, one.last_seen, one.fault or twins.get(one.name))
        for one in found
    ]


def paths(home: Path) -> list[Path]:
    """The files in `clients.d` that a server reads, sorted; raises KeyFileError."""
    directory = home / CLIENTS
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KeyFileError(f"{foreign(directory)}: {error.strerror}", "see its mode and its owner") from None
    return [directory / name for name in sorted(names) if is_client(name)]


def _read(home: Path, path: Path, place: bool) -> Listed:
    try:
        client, table = read_client(path, place)
    except NitroSocksError as error:
        return Listed(path.stem, path, fault=error)
    added = table.text("created") if "created" in table else ""
    return Listed(path.stem, path, client, added, seen.when(home, client.authorised.public.client_id))


def _twins(found: Iterable[Listed]) -> Iterator[tuple[str, KeyFileError]]:
    """Files of which a server uses none, since they have the same key or Token."""
    owners: dict[tuple[str, bytes], Listed] = {}
    for one in found:
        for mark in one.client.marks() if one.client is not None else ():
            other = owners.setdefault(mark, one)
            if other is one:
                continue
            for mine, yours in ((one, other), (other, one)):
                reason = f"{foreign(mine.path)}: has the same {mark[0]} as {foreign(yours.path)}, and neither is used"
                yield (
                    mine.name,
                    KeyFileError(reason, "remove one of them; every client has keys and a Token of its own"),
                )
            break


# One client


def load(home: Path, name: str) -> Client:
    """A client as its file says now; raises UsageError, KeyFileError."""
    return read_client(find(home, name))[0]


def permit(home: Path, name: str, rules: Sequence[str]) -> tuple[Rules, list[str]]:
    """Adds rules; returns all that are in force now, and those of the given ones that were there already.

    Raises UsageError for what is no rule, KeyFileError, CannotCreate.
    """
    with _opened(home, name) as (path, client, text):
        now, there = client.permit.plus(rules, needed(path.parent, (*rules, *client.permit.texts)))
        return _write(path, text, client.permit, now), there


def forbid(home: Path, name: str, rules: Sequence[str]) -> tuple[Rules, dict[str, list[str]]]:
    """Removes rules, all of them or none; returns those that are in force now, and which of them permit what a removed
    one did. Raises UsageError for what is no rule or is not there, KeyFileError, CannotCreate."""
    for rule in rules:
        meaning(rule)
    with _opened(home, name) as (path, client, text):
        own = [(rule, client.permit.like(rule)) for rule in rules]
        for rule, there in own:
            if there is None:
                raise _absent(name, rule, client.permit)
        now = _write(path, text, client.permit, client.permit.minus(there for _, there in own if there))
        return now, {rule: wider for rule in rules if (wider := now.covering(rule))}


def permit_listening(home: Path, name: str, rules: Iterable[str]) -> tuple[ListenRules, list[str]]:
    """As `permit`, for where the server may listen for the client."""
    with _opened(home, name) as (path, client, text):
        now, there = client.listen.plus(rules)
        _change(path, text, "listen", client.listen.texts, now.texts)
        return now, there


def forbid_listening(home: Path, name: str, rules: Iterable[str]) -> ListenRules:
    """Removes rules to listen, all of them or none; returns those that are in force now. Raises as `forbid`."""
    given = [*rules]
    with _opened(home, name) as (path, client, text):
        own = [(rule, client.listen.like(rule)) for rule in given]
        for rule, there in own:
            if there is None:
                what = f"{name} has no rule --listen {quoted(rule)}, and nothing was changed"
                raise UsageError(what, "see: nitrosocks clients")
        now = client.listen.without(there for _, there in own if there is not None)
        _change(path, text, "listen", client.listen.texts, now.texts)
        return now


def _absent(name: str, rule: str, rules: Rules) -> UsageError:
    wider = rules.covering(rule)
    hint = f"what permits it is {' '.join(map(quoted, wider))}" if wider else "see: nitrosocks clients"
    return UsageError(f"{name} has no rule {quoted(rule)}, and nothing was changed", hint)


def revoke(home: Path, name: str) -> list[str]:
    """Removes the client's file, whatever its fault, and when it was seen; raises KeyFileError, CannotCreate.

    Returns the names of files that authorise the same key, which nobody may have looked for.
    """
    path, public = find(home, name), b""
    with suppress(NitroSocksError):
        client, _ = read_client(path)
        public = client.authorised.public.raw
        seen.forget(home, client.authorised.public.client_id)
    try:
        path.unlink()
    except OSError as error:
        raise CannotCreate(f"{foreign(path)} cannot be removed: {error.strerror}", "it stays authorised") from error
    settle(path.parent)
    return [one.name for one in listed(home) if one.client is not None and one.client.authorised.public.raw == public]


def rename(home: Path, old: str, new: str) -> Path:
    """Gives the client another name, in its file and of it; its keys stay, so its profile goes on working.

    Returns where its file is now. Raises UsageError, KeyFileError, CannotCreate.
    """
    target = client_path(home, new)
    with _opened(home, old) as (path, _, text):
        if os.path.lexists(target):
            raise CannotCreate(f"{foreign(target)} exists already", "choose another name, or revoke that client first")
        replace_secret(path, changed(text, "name", new))
        try:
            path.rename(target)
        except OSError as error:
            replace_secret(path, text)
            raise CannotCreate(f"{foreign(target)} cannot be made: {error.strerror}", "nothing was changed") from error
    settle(target.parent)
    return target


def find(home: Path, name: str) -> Path:
    """The file of a client; raises KeyFileError, with the nearest name, where there is none."""
    path = client_path(home, check_name(name))
    if os.path.lexists(path):
        return path
    names = [each.stem for each in paths(home)]
    near = get_close_matches(name, names, 1)
    count = f"{len(names)} clients are" if len(names) != 1 else "1 client is"
    hint = f"{count} in {foreign(path.parent)}; "
    hint += "see: nitrosocks clients" if names else "name another home directory with --home DIR"
    raise KeyFileError(f"there is no client {name!r}", f"did you mean {near[0]!r}? {hint}" if near else hint)


@contextmanager
def _opened(home: Path, name: str) -> Iterator[tuple[Path, Client, str]]:
    """The file of a client as it is, which no other command changes meanwhile."""
    find(home, name)
    with locked(home):
        path = find(home, name)
        client, table = read_client(path)
        yield path, client, table.written


def _write(path: Path, text: str, before: Rules, now: Rules) -> Rules:
    _change(path, text, "permit", before.texts, now.texts)
    return now


def _change(path: Path, text: str, key: str, before: Sequence[str], now: Sequence[str]) -> None:
    """Writes the list `key` of a client's file anew, where it is another one."""
    if now != before:
        made = changed(text, key, now)
        if len(made.encode()) > FILE:
            raise UsageError(f"the rules take more than {FILE >> 10} KiB", "write blocks and ranges of ports")
        replace_secret(path, made)
