"""Files that hold secrets: who may read them, and what may stand in them (protocol 7)."""

from __future__ import annotations

import os
import re
import stat
from base64 import b32decode, b32encode, b64decode, b64encode
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from ..facts.errors import KeyFileError, UsageError
from ..facts.limits import FILE
from ..facts.words import foreign, quoted
from . import toml
from .editing import line_of

T = TypeVar("T")

_KEY_MAX = 16  # characters of an unknown key that are shown: it may be a secret in the wrong place
_KEYS_MAX = 3  # unknown keys that are shown
_QUOTED = re.compile(r"""(['"])((?:(?!\1).){40})(?:(?!\1).)+\1""")
# what tomllib shows of keys in its faults
_TOML_KEYS = re.compile(r"""(?<=declare |mespace )\(.*\)(?= twice| \(at )|(?<=table )key (['"]).*\1""")
_MOVED = "see its mode; what was moved or linked elsewhere while 'nitrosocks serve' runs needs a new start of it"


def read_secret(path: Path, hint: str = "", others: bool = True) -> str:
    """The text of a file that nobody but its owner may read or write; raises KeyFileError, with `hint` for all faults
    that have none of their own. root reads files of `others`, too, unless told not to."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # non-blocking: a fifo shall not hold us up
        try:
            _check_owner(path, os.fstat(descriptor), hint, others)
            raw = os.read(descriptor, FILE + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise KeyFileError(f"{foreign(path)}: there is no such file", hint) from None
    except PermissionError as error:
        check_secret(path)  # says whose it is
        raise KeyFileError(f"{foreign(path)}: {error.strerror}", _opening(path)) from error
    except OSError as error:
        raise KeyFileError(f"{foreign(path)}: {error.strerror}", hint) from error
    if len(raw) > FILE:
        raise KeyFileError(f"{foreign(path)}: larger than the {FILE >> 10} KiB that a key file may have", hint)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise KeyFileError(f"{foreign(path)}: not a text in UTF-8", hint) from None


def _opening(path: Path) -> str:
    """What opens a file to us, which we may not read."""
    for place in (*reversed(path.absolute().parents), path):
        try:
            status, needed = place.stat(), stat.S_IXUSR if place != path else stat.S_IRUSR
        except OSError:  # the one above it was closed, too
            break
        given = foreign(quote(str(place)))
        if status.st_uid == os.geteuid() and not status.st_mode & needed:
            return f"run: chmod {'u+x' if place != path else '600'} {given}"
        if place != path and not os.access(place, os.X_OK, effective_ids=True):
            return f"{given} lets only user {status.st_uid} and its group in"
    return _MOVED


def check_secret(path: Path) -> None:
    """Raises KeyFileError where others may read or write this file. What cannot be looked at is left to its reader."""
    with suppress(OSError):
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            _check_owner(path, status)


def check_there(path: Path, hint: str) -> None:
    """Raises KeyFileError, with `hint`, where there is no such file. What cannot be looked at is left to its reader."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise KeyFileError(f"{foreign(path)}: there is no such file", hint) from None
    except OSError:
        return


def _check_owner(path: Path, status: os.stat_result, hint: str = "", others: bool = True) -> None:
    """As ssh does; root may use the files of `others`."""
    shown, given = foreign(path), foreign(quote(str(path)))
    if not stat.S_ISREG(status.st_mode):
        if stat.S_ISDIR(status.st_mode):
            raise KeyFileError(f"{shown}: a directory; name a file in it", hint)
        raise KeyFileError(f"{shown}: not a regular file", hint)
    us, mode = os.geteuid(), stat.S_IMODE(status.st_mode)
    if us != status.st_uid and (us or not others):
        raise KeyFileError(f"{shown}: belongs to user {status.st_uid}, not to {us}", f"run: chown {us} {given}")
    if mode & 0o077:
        raise KeyFileError(f"{shown}: permissions {mode:04o} are too open", f"run: chmod 600 {given}")


def _kind(unknown: AbstractSet[str], keys: AbstractSet[str]) -> str:
    """Which file of ours has these keys, where some are unknown in the one that was asked for; else nothing."""
    if "server_public" in unknown:
        return "a client's profile"
    if keys == {"public", "secret"}:
        return "the server's key"
    return "the server's file of a client" if keys >= {"name", "public", "token"} and "token" in unknown else ""


class Table:
    """The keys of one key file. What is missing, unknown or malformed raises KeyFileError with the file and the key.

    What an error shows of the file is short, and never a value that may be a secret.
    """

    def __init__(self, path: Path, hint: str = "", others: bool = True) -> None:
        """Reads the file as read_secret does; `hint` is for all faults that have none of their own."""
        self.path, self._hint = path, hint
        self.written = read_secret(path, hint, others)
        try:
            self._values: dict[str, Any] = toml.loads(self.written)
        except ValueError as error:
            if self.written.lstrip().startswith("-----BEGIN "):
                raise self.fault("this is PEM, such as a certificate or its key, and no key file") from None
            raise self.fault(f"not TOML: {_TOML_KEYS.sub('a key', str(error))}") from None
        except RecursionError:
            raise self.fault("not TOML: nested too deep") from None

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def get(self, key: str, otherwise: object) -> Any:
        """What stands there, of whatever type."""
        return self._values.get(key, otherwise)

    def fault(self, reason: str, hint: str = "", key: str = "", item: str = "") -> KeyFileError:
        """The error to raise, naming the file, and the line of this key or this item of it. Of what stands in quotes it
        shows 40 characters."""
        shown = foreign(_QUOTED.sub(r"\1\2…\1", reason))
        line = line_of(self.written, key, item) if key else 0
        return KeyFileError(f"{foreign(self.path)}: {shown}{f' (at line {line})' if line else ''}", hint or self._hint)

    def only(self, required: str, optional: str = "") -> None:
        """The keys, divided by spaces, that must and that may stand there; any other is a fault."""
        allowed = {*required.split(), *optional.split()}
        if unknown := sorted(quoted(key, _KEY_MAX) for key in self._values if key not in allowed):
            more = f" and {len(unknown) - _KEYS_MAX} more" if len(unknown) > _KEYS_MAX else ""
            shown = f"{', '.join(unknown[:_KEYS_MAX])}{more}"
            if kind := _kind(self._values.keys() - allowed, self._values.keys()):
                raise self.fault(f"this is {kind}, and another file belongs here")
            first = min(self._values.keys() - allowed)
            raise self.fault(f"unknown key {shown}", f"known are: {required} {optional}".rstrip(), first)
        if missing := [repr(key) for key in required.split() if key not in self._values]:
            raise self.fault(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self._values[key]
        if not isinstance(value, str) or not value:
            raise self.fault(f"{key!r} is not a text", key=key)
        return value

    def texts(self, key: str, one: bool = False) -> list[str]:
        """A list of texts, empty where the key is missing; `one` lets a single text stand for a list of it."""
        value = self._values.get(key, [])
        if one and not isinstance(value, list):
            return [self.text(key)]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fault(f"{key!r} is not a list of texts", key=key)
        return value

    def parsed(self, key: str, parse: Callable[[list[str]], T]) -> T:
        """What `parse` makes of a list of texts; the UsageError that it raises is a fault of that line."""
        texts = self.texts(key)
        try:
            return parse(texts)
        except UsageError as error:
            wrong = next((text for text in texts if quoted(text) in str(error)), "")
            raise self.fault(f"{key!r}: {error}", error.hint, key, wrong) from None

    def base64(self, key: str, size: int, hint: str = "") -> bytes:
        """`size` bytes in standard base64."""
        return self._decoded(key, size, "base64", hint)

    def base32(self, key: str, size: int, hint: str = "") -> bytes:
        """`size` bytes in base32 without padding."""
        return self._decoded(key, size, "base32 without padding", hint)

    def _decoded(self, key: str, size: int, form: str, hint: str) -> bytes:
        text = self.text(key)
        try:
            raw = b64decode(text, validate=True) if form == "base64" else b32decode(text + "=" * (-len(text) % 8))
        except ValueError:
            raw = b""
        if (b64(raw) if form == "base64" else b32(raw)) != text:  # one way to write it: no bits lost at the end
            raise self.fault(f"{key!r} is not {form}", hint, key)
        if len(raw) != size:
            raise self.fault(f"{key!r} has {len(raw)} bytes, not {size}", hint, key)
        return raw


def b64(raw: bytes) -> str:
    """Standard base64."""
    return b64encode(raw).decode()


def b32(raw: bytes) -> str:
    """Base32 without padding."""
    return b32encode(raw).decode().rstrip("=")
