"""The authorised clients, as their directory is now: a stat for each look-up, a look at all every few seconds."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from threading import Lock

from ..facts.errors import NitroSocksError
from ..facts.words import foreign
from ..protocol.permit import GROUPS, Client, is_client
from .audit import tell
from .known import File, Known
from .stamps import Stamp, is_settled, seen, stamp_of

log = logging.getLogger(__name__)

_MOVED = "if it was moved here, start 'nitrosocks serve' again"  # Landlock lets it read the place of before only
_TWINS_HINT = "remove all but one of them; every client has keys and a Token of its own"


class Clients:
    """The live registry of `clients.d`: its files `*.toml`, but none that begins with a dot; any thread may ask it.

    `read` makes a Client of a file or raises a NitroSocksError. A file it refuses is skipped, with one line in the log
    per change of that file; files with the same public key, client_id, C or Token are all skipped (protocol 2).
    A client that is skipped begins nothing, but what it has goes on: a slip of the operator's pen revokes nobody.

    What is asked for is up to date as far as one stat tells. Of a client that is known its file is looked at: what was
    changed, mended or removed there acts at once. Of one that is not known it is the directory: a file that came into
    it, or was replaced there, acts at once. Everything else, such as another key in an old file, acts at the next
    `look`. So strangers' questions cost nothing, however many files there are.
    """

    def __init__(self, directory: Path, read: Callable[[Path], Client]) -> None:
        self._directory = directory
        self._groups = os.path.join(directory, GROUPS)
        self._read = read
        self._known = Known()
        self._looking = Lock()  # for who goes through all files
        self._changing = Lock()  # for who changes what is known, one file at a time; to ask takes none
        self._listed: Stamp | None = None  # the directory, when all of its files were looked at
        self._told: set[object] = set()  # the faults as they were last looked at: each is told once
        self._unlisted = ""

    def lookup(self, client_id: bytes) -> Client | None:
        """The client with this id, None where there is none (any more) or its time is over; the same object as long as
        its file is."""
        self._look_for(client_id)
        return _in_time(self._known.good(client_id))

    def standing(self, client_id: bytes) -> Client | None:
        """The client if it is not revoked: its file is there, though it may be skipped; then as it was last read.

        What a client has goes on while it is: sessions, also over a reconnection.
        """
        self._look_for(client_id)
        return _in_time(self._known.last(client_id))

    def over(self, client_id: bytes) -> str:
        """For the log: that the time of this client is over; else nothing."""
        return _over(self._known.last(client_id))

    def near(self, client_id: bytes) -> tuple[str, str]:
        """For the log: the file that names this client, and why it does not count, "" where it does.

        Where no file does, the first one that could never be read, since that may be its own; "" where there is none.
        """
        path, why = self._known.near(client_id)
        return path, why or self.over(client_id)

    def look(self) -> None:
        """Looks at every file, and reads again what changed and what has a fault; tells new faults. For one thread.

        What was refused is read each time: its reason may be none of the file's (too many open files).
        """
        with self._looking:
            self._look(again=True)

    def __len__(self) -> int:
        """How many are authorised, as their files were last looked at."""
        return len(self._known)

    # -- what one look-up costs --------------------------------------------------------------------------------------

    def _look_for(self, client_id: bytes) -> None:
        for path in self._known.paths(client_id):
            stamp = seen(path)
            if stamp != () and self._look_at(path, stamp):  # what cannot be seen just now is left to the next look
                self._tell()
        if not self._known.paths(client_id) and self._directory_changed():
            with self._looking:
                if self._directory_changed():  # nobody else has looked meanwhile
                    self._look(again=False)

    def _directory_changed(self) -> bool:
        return self._listed is None or self._stamp_of_directory() != self._listed

    def _stamp_of_directory(self) -> Stamp | None:
        """None where a change may go unnoticed: the clock of a file system stands still for some milliseconds."""
        try:
            status = os.stat(self._directory)
        except OSError:
            return ()
        listed = stamp_of(status)
        return listed if is_settled(listed) else None

    # -- all files -----------------------------------------------------------------------------------------------------

    def _look(self, again: bool) -> None:
        """Goes through all files, those with a fault too if `again`. The stats let other threads run."""
        before = self._stamp_of_directory()
        paths = self._list()
        if paths is None:
            return
        for path in set(self._known.files).difference(paths):
            self._look_at(path, None)
        for path in paths:
            file = self._known.files.get(path)
            self._look_at(path, seen(path), again and file is not None and bool(file.fault))
        self._listed = before
        self._tell()

    def _list(self) -> list[str] | None:
        """The paths of the files; None where the directory cannot be read just now."""
        try:
            with os.scandir(self._directory) as entries:
                names = sorted(entry.name for entry in entries)
        except FileNotFoundError:
            names = []
        except OSError as error:
            if str(error) != self._unlisted:
                shown, stay = foreign(self._directory), "; the clients known so far stay" if self._known.files else ""
                log.error("%s: %s%s%s", shown, error.strerror, stay, _remedy(self._directory, error))
            self._unlisted = str(error)
            return None
        self._unlisted = ""
        directory = str(self._directory)
        return [os.path.join(directory, name) for name in names if is_client(name)]

    # -- one file ------------------------------------------------------------------------------------------------------

    def _look_at(self, path: str, stamp: Stamp | None, again: bool = False) -> bool:
        """Reads the file if it has another stamp than when it was last read; whether it did. None: it is gone."""
        if not again and self._is_known(path, stamp):
            return False
        with self._changing:
            if not again and self._is_known(path, stamp):  # another thread was quicker
                return False
            if stamp is None:
                self._known.drop(path)
            else:
                self._known.put(path, self._read_again(path, stamp))
        return True

    def _is_known(self, path: str, stamp: Stamp | None) -> bool:
        file = self._known.files.get(path)
        if file is None:
            return stamp is None
        return file.stamp == stamp and (file.groups is None or file.groups == self._stamp_of_groups())

    def _stamp_of_groups(self) -> Stamp:
        return seen(self._groups) or ()

    def _read_again(self, path: str, stamp: Stamp) -> File:
        groups = self._stamp_of_groups()
        try:
            client = self._read(Path(path))
        except NitroSocksError as error:
            old = self._known.files.get(path)
            return File(stamp, None, old.last if old else None, error.in_full, groups)
        return File(stamp, client, client, groups=groups if client.permit.grouped else None)

    # -- faults --------------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Logs what is wrong and was not told yet."""
        with self._changing:
            files = self._known.files
            faults: dict[object, tuple[str, str]] = {
                (path, file.stamp, file.fault): (foreign(path), file.fault)
                for path, file in files.items()
                if file.fault
            }
            for what, paths in self._known.twins():
                twins = (what, paths, *(files[path].stamp for path in paths))
                faults[twins] = (named := _named(paths)), f"{named} have the same {what}; {_TWINS_HINT}"
            told, self._told = self._told, {*faults}
        for key, (file, fault) in faults.items():
            if key not in told:
                tell("client-faulty", file=file, fault=fault)


def _over(client: Client | None) -> str:
    """Why its time is over; days are those of UTC."""
    if client is None or not client.quota.until:
        return ""
    return client.quota.over(datetime.now(UTC).date().isoformat())


def _in_time(client: Client | None) -> Client | None:
    return None if _over(client) else client


def _remedy(directory: Path, error: OSError) -> str:
    """What to do about a directory that cannot be read."""
    given = foreign(quote(str(directory)))
    if isinstance(error, PermissionError):
        return f"; run: chown {os.geteuid()} {given} && chmod 700 {given}; {_MOVED}"
    return "; move it away: 'nitrosocks keygen NAME' makes it" if isinstance(error, NotADirectoryError) else ""


def _named(paths: Iterable[str]) -> str:
    return " and ".join(map(foreign, paths))
