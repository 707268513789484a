"""Where files lie. And who else could change one, or put another in its place: judged as sshd's StrictModes does."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote

from ..facts.errors import KeyFileError
from ..facts.words import foreign


def below_home(environ: Mapping[str, str], variable: str, otherwise: str) -> Path | None:
    """Our directory in the one that an XDG variable names, else in `otherwise` below the user's home directory.

    None for a user without a home: neither $HOME nor the system's list of users has one.
    """
    xdg = environ.get(variable, "")
    if os.path.isabs(xdg):  # as the XDG specification wants it
        return Path(xdg, "nitrosocks")
    home = environ.get("HOME") or _listed_home()
    return Path(home, otherwise, "nitrosocks") if home else None


def _listed_home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # as in a container that was given the number of a user
        return ""


def ending_in(directory: Path, ending: str, hint: str = "see its mode and its owner") -> list[Path]:
    """What is in a directory and ends so, but for hidden files; nothing where there is no such directory. Raises
    KeyFileError where it cannot be read."""
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise KeyFileError(f"{foreign(directory)}: {error.strerror}", hint) from error
    return sorted(directory / name for name in names if name.endswith(ending) and not name.startswith("."))


def check_place(path: Path, owner_too: bool = False) -> None:
    """Raises KeyFileError where somebody else could have written what is at this path.

    The file or directory and every directory above it, up to /, belongs to root or to us, and nobody else may write to
    such a directory; a link is judged where it stands and where it leads. Where a directory is sticky, as /tmp is, all
    may write to it: each can remove and rename only what is his own, and what is beneath is judged, too.

    `owner_too` trusts the owner of what is at this path as well. What is not there is judged from the first directory
    that is.
    """
    owners = {0, os.geteuid()}
    for place, status in _upwards(path):
        if owner_too:
            owners.add(status.st_uid)
            owner_too = False
        shown, given = foreign(place), foreign(quote(place))
        if status.st_uid not in owners:
            hint = f"run this as that user, or run: chown {os.geteuid()} {given}"
            raise KeyFileError(f"{shown}: belongs to user {status.st_uid}, who could change what is there", hint)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode) and mode & 0o022 and not mode & stat.S_ISVTX:
            hint = f"run: chmod go-w {given}"
            raise KeyFileError(f"{shown}: permissions {mode:04o} let others change what is there", hint)


def _upwards(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """What is at the path and each directory above it, once each; of a link both where it leads and where it stands."""
    stands = os.path.join(os.path.realpath(path.parent), path.name)
    ways = [os.path.realpath(stands), stands] if os.path.islink(stands) else [stands]
    for place in dict.fromkeys(place for way in ways for place in _above(way)):
        try:
            yield place, os.stat(place)
        except OSError:  # not there, or not for us to see: whoever reads it will tell
            continue


def _above(place: str) -> Iterator[str]:
    """This place, and all above it."""
    yield place
    while (above := os.path.dirname(place)) != place:
        yield (place := above)
