"""The authorised clients, as their directory is now: a file that is added, changed or removed acts at the next look."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock

from ..facts import wire
from ..facts.errors import NitroSocksError
from ..protocol.permit import Client

log = logging.getLogger(__name__)

Stamp = tuple[int, ...]
Twins = tuple[str, tuple[Path, ...]]
_TWINS_HINT = "remove all but one of them; every client has keys and a Token of its own"


class Clients:
    """The live registry of `clients.d`: its files `*.toml`, but none that begins with a dot; any thread may ask it.

    `read` makes a Client of a file or raises a NitroSocksError. A file it refuses is skipped, with one line in the log
    per change of that file; files with the same public key, client_id, C or Token are all skipped (protocol 2).
    A client that is skipped begins nothing, but what it has goes on: a slip of the operator's pen revokes nobody.
    """

    def __init__(self, directory: Path, read: Callable[[Path], Client]) -> None:
        self._directory = directory
        self._read = read
        self._lock = Lock()
        self._stamps: dict[Path, Stamp] = {}
        self._good: dict[Path, Client] = {}
        self._by_id: dict[bytes, Client] = {}
        self._last: dict[Path, Client] = {}  # what each file that is there said when it last could be read
        self._standing: dict[bytes, Client] = {}
        self._told: set[object] = set()  # the faults as they were last looked at: each is told once
        self._unlisted = ""

    def lookup(self, client_id: bytes) -> Client | None:
        """The client with this id, None where there is none (any more); the same object as long as its file is."""
        return self.current().get(client_id)

    def current(self) -> Mapping[bytes, Client]:
        """All clients by client_id, from one look at the directory: for whoever compares many. Not to be changed."""
        with self._lock:
            self._look()
            return self._by_id

    def standing(self) -> Mapping[bytes, Client]:
        """Those that are not revoked: the current ones, and those whose files are there but skipped, as last read.

        What a client has goes on while it is among these: sessions, also over a reconnection. Not to be changed.
        """
        with self._lock:
            self._look()
            return self._standing

    def _look(self) -> None:
        stamps = self._list()
        # What was refused is read again each time: its reason may be none of the file's (too many open files).
        if stamps != self._stamps or len(self._good) < len(stamps):
            self._load(stamps)

    def _list(self) -> dict[Path, Stamp]:
        """The files, and what changes with them; the last list where the directory cannot be read just now."""
        try:
            names = sorted(os.listdir(self._directory))
        except FileNotFoundError:
            names = []
        except OSError as error:
            if str(error) != self._unlisted:
                log.error("%s: %s; the clients known so far stay", self._directory, error.strerror)
            self._unlisted = str(error)
            return self._stamps
        self._unlisted = ""
        files = [self._directory / name for name in names if name.endswith(".toml") and not name.startswith(".")]
        return {path: _stamp(path) for path in files}

    def _load(self, stamps: dict[Path, Stamp]) -> None:
        good: dict[Path, Client] = {}
        faults: dict[object, str] = {}
        for path, stamp in stamps.items():
            known = self._good.get(path) if self._stamps.get(path) == stamp else None
            try:
                good[path] = known or self._read(path)
            except NitroSocksError as error:
                faults[path, stamp, str(error)] = f"{error}; {error.hint}" if error.hint else str(error)
        twins = _twins(good)
        for what, paths in twins:
            names = " and ".join(map(str, paths))
            faults[what, paths, *(stamps[path] for path in paths)] = f"{names} have the same {what}; {_TWINS_HINT}"
        refused = {path for _, paths in twins for path in paths}
        self._stamps, self._good = stamps, good
        self._last = {path: client for path, client in self._last.items() if path in stamps} | good
        self._by_id = {c.authorised.public.client_id: c for path, c in good.items() if path not in refused}
        self._standing = {c.authorised.public.client_id: c for c in self._last.values()} | self._by_id
        self._tell(faults)

    def _tell(self, faults: dict[object, str]) -> None:
        for fault, text in faults.items():
            if fault not in self._told:
                log.error("%s", text)
        self._told = set(faults)


def _stamp(path: Path) -> Stamp:
    """What differs after a change of the file, of its owner or its mode; nothing where it cannot be looked at."""
    try:
        now = path.stat()
    except OSError:
        return ()
    return now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino, now.st_dev, now.st_mode, now.st_uid


def _twins(good: Mapping[Path, Client]) -> list[Twins]:
    """The files that share what no two may share; each such set of files once, with the first reason."""
    owners: dict[tuple[str, bytes], list[Path]] = {}
    for path, client in good.items():
        public = client.authorised.public
        owners.setdefault(("public key", public.raw), []).append(path)
        owners.setdefault(("client_id", public.client_id), []).append(path)
        owners.setdefault(("C", public.raw[: wire.KEM_PUBLIC]), []).append(path)
        owners.setdefault(("Token", client.authorised.token), []).append(path)
    order = {"public key": 0, "client_id": 1, "C": 2, "Token": 3}
    reasons: dict[tuple[Path, ...], str] = {}
    for (what, _), paths in sorted(owners.items(), key=lambda item: order[item[0][0]]):
        if len(paths) > 1:
            reasons.setdefault(tuple(paths), what)
    return [(what, paths) for paths, what in reasons.items()]
