"""root at work in the home of another user, such as a service's: as that user, whom nothing there can lead astray."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ..facts.errors import CannotCreate
from ..facts.words import foreign


@contextmanager
def as_owner(home: Path, kept: Path) -> Iterator[None]:
    """root does what this block does as the owner of `kept`, else of `home`; for any other user it changes nothing.

    So what is made there belongs to that user, and no link that the user laid makes root write elsewhere. Of the whole
    process: no other thread may need root's rights meanwhile. Raises CannotCreate where root may not become that user.
    """
    owner = _owner(home, kept) if os.geteuid() == 0 else 0
    if not owner:
        yield
        return
    _load()
    with ExitStack() as back:
        try:
            _become(owner, home.stat().st_gid, back)
        except OSError as error:
            hint = f"run it as that user: sudo -u '#{owner}' nitrosocks …"
            raise CannotCreate(f"{foreign(home)} belongs to user {owner}: {error.strerror}", hint) from error
        yield


def _load() -> None:
    """What is otherwise imported when it is needed: that user may not read Python's files."""
    from ..crypto import certificate
    from ..protocol import permit, welcome

    assert certificate and permit and welcome
    "a".encode("idna")


def _owner(home: Path, kept: Path) -> int:
    for place in (kept, home):
        try:
            return place.stat().st_uid
        except OSError:
            continue
    return 0


def _become(owner: int, group: int, back: ExitStack) -> None:
    """`back` learns how to undo each step."""
    with suppress(KeyError):  # a number without a name, as in containers
        group = pwd.getpwuid(owner).pw_gid
    groups, before = os.getgroups(), os.getegid()
    os.setgroups([])
    back.callback(os.setgroups, groups)
    os.setegid(group)
    back.callback(os.setegid, before)
    os.seteuid(owner)
    back.callback(os.seteuid, 0)
