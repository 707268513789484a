"""What the files of `clients.d` said when they were last read, found by client_id, and the twins among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from ..protocol.permit import MARKS, Client
from .stamps import Stamp

Mark = tuple[str, bytes]
_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class File:
    """One file. `stamp` differs after a change of it; `client` is None where it has a `fault`.

    `last` is what it said when it last could be read, as long as it is there.
    """

    stamp: Stamp
    client: Client | None
    last: Client | None
    fault: str = ""
    groups: Stamp | None = None  # of the file of groups, where it may depend on it; () where there is none


class Known:
    """The files by their paths. One thread at a time may `put` and `drop`; any thread may ask meanwhile.

    Files with the same public key, client_id, C or Token are twins, and none of them counts (protocol 2).
    """

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self._paths: dict[bytes, tuple[str, ...]] = {}
        self._owners: dict[Mark, tuple[str, ...]] = {}
        self._shared: set[Mark] = set()
        self._twins: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """How many clients are good."""
        return sum(file.client is not None and path not in self._twins for path, file in [*self.files.items()])

    def paths(self, client_id: bytes) -> tuple[str, ...]:
        """The files that last named this client: one, or twins."""
        return self._paths.get(client_id, ())

    def good(self, client_id: bytes) -> Client | None:
        """The client whose file has no fault and no twin."""
        for path, file in self._of(client_id):
            if file.client is not None and path not in self._twins:
                return file.client
        return None

    def last(self, client_id: bytes) -> Client | None:
        """The client whose file is there, whatever its fault, as it could last be read."""
        return self.good(client_id) or next((file.last for _, file in self._of(client_id)), None)

    def _of(self, client_id: bytes) -> Iterator[tuple[str, File]]:
        for path in self.paths(client_id):
            file = self.files.get(path)
            if file is not None and _id(file.last) == client_id:  # it may change just now
                yield path, file

    def near(self, client_id: bytes) -> tuple[str, str]:
        """As in authorised.Clients."""
        why = {path: self._why_not(path, file) for path, file in self._of(client_id)}
        for path, reason in sorted(why.items(), key=lambda each: each[1] != ""):  # the one that counts, if one does
            return path, reason
        for path, file in self.files.copy().items():
            if file.fault and file.last is None:
                return path, f"no client has this key; perhaps this file names it, which cannot be read: {file.fault}"
        return "", "no client has this key"

    def _why_not(self, path: str, file: File) -> str:
        if file.fault:
            return f"its file has a fault: {file.fault}"
        return "another file has the same key or Token" if path in self._twins else ""

    def put(self, path: str, file: File) -> None:
        """What a file says now. Who asks meanwhile gets what it said before or what it says now, never neither."""
        old = self.files.get(path)
        self.files[path] = file
        self._index(path, old, file)

    def drop(self, path: str) -> None:
        """This file is gone."""
        self._index(path, self.files.pop(path, None), None)

    def _index(self, path: str, old: File | None, new: File | None) -> None:
        was, now = _id(old.last if old else None), _id(new.last if new else None)
        if now is not None and now != was:
            self._paths[now] = (*self.paths(now), path)
        if was is not None and now != was:
            _remove(self._paths, was, path)
        before, after = _marks(old.client if old else None), _marks(new.client if new else None)
        for mark in after - before:
            self._owners[mark] = (*self._owners.get(mark, ()), path)
        for mark in before - after:
            _remove(self._owners, mark, path)
        changed = before ^ after
        shared = self._shared - changed | {mark for mark in changed if len(self._owners.get(mark, ())) > 1}
        if shared or self._shared:
            self._shared = shared
            self._twins = frozenset(path for mark in shared for path in self._owners[mark])

    def twins(self) -> list[tuple[str, tuple[str, ...]]]:
        """What files share that no two may; each such set of files once, with the plainest reason."""
        reasons: dict[tuple[str, ...], str] = {}
        for what, raw in sorted(self._shared, key=lambda mark: MARKS.index(mark[0])):
            reasons.setdefault(tuple(sorted(self._owners[what, raw])), what)
        return [(what, paths) for paths, what in reasons.items()]


def _id(client: Client | None) -> bytes | None:
    return client.authorised.public.client_id if client is not None else None


def _marks(client: Client | None) -> set[Mark]:
    return set(client.marks()) if client is not None else set()


def _remove(owners: dict[_Key, tuple[str, ...]], key: _Key, path: str) -> None:
    left = tuple(each for each in owners[key] if each != path)
    if left:
        owners[key] = left
    else:
        del owners[key]
