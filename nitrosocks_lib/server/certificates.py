"""What the server presents in TLS. Its files are looked at every few seconds, and read again when they have changed.

A connection takes one value when its TLS begins, and keeps it: so it states the very certificate that it presented
(protocol C11), also where that is renewed while it greets. Each time the files are read, a context of its own is made:
no TLS session that was begun under one certificate is resumed under the next.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from ..crypto.certificate import expiry, leaf_der, subject
from ..facts import limits
from ..facts.errors import ConfigurationError, NitroSocksError
from ..facts.words import foreign
from ..net.connect import Context, server_context
from ..net.timers import Seldom, now
from .audit import tell
from .stamps import Stamp, is_settled, seen

_LINKS: Final = 40  # as many as the kernel follows
_SHALLOW: Final = 2  # parts of /opt: all of it is more than a link in it needs
_KEY: Final = b"PRIVATE KEY-----"
_CERTIFICATE: Final = b"CERTIFICATE-----"
_MOVED: Final = "if it leads elsewhere than before, start 'nitrosocks serve' again"  # Landlock knows the old places
_STAYS: Final = "until then, new connections get the certificate of before"


@dataclass(frozen=True, slots=True)
class Presented:
    """What connections present whose TLS begins now; `hash` is the certificate hash that they state."""

    context: Context
    hash: bytes
    subject: str
    expires: datetime | None

    def __str__(self) -> str:
        return f"certificate {self.subject}" + (f", expires {self.until}" if self.until else "")

    @property
    def until(self) -> str:
        """The day on which it expires, or nothing where that is not known."""
        return f"{self.expires:%Y-%m-%d}" if self.expires is not None else ""


class Certificates:
    """The files of the certificate and its key. Any thread may take `presented` and call `look`.

    Files that cannot be used change nothing: one is mostly written before the other. Where they stay so for some
    seconds, the log says it, once. A certificate that expires soon is warned of once a day.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        check: Callable[[Path], None] = lambda _: None,
        renew: str = "renew it; the new one is taken by itself",
    ) -> None:
        """Reads both. `check` raises a NitroSocksError where others may read the key; `renew` is what to do about a
        certificate that expires. Raises ConfigurationError or KeyFileError, and what `check` does."""
        self._files = certificate, key
        self._check, self._renew = check, renew
        self._looking = threading.Lock()
        self._stamps = self._stamps_now()
        self.presented = _read(*self._files, check)
        self._seldom = Seldom(limits.EXPIRES_SAID)
        self._failing_since: float | None = None
        self._told = ""  # the fault that was told last

    def look(self, asked: bool = False) -> None:
        """Reads the files again where they have changed, and says what is new. Where it is `asked`, it reads them
        anyway, and tells at once what is wrong with them."""
        with self._looking:
            stamps = self._stamps_now()  # before they are read: what changes meanwhile is seen at the next look
            if asked or stamps is None or stamps != self._stamps or self._failing_since is not None:
                self._read_again(asked)
                self._stamps = stamps
            self._warn_of_expiry()

    def places(self) -> Iterator[Path]:
        """What must be readable for `look`: the directories of the files, and those of links on the way to them."""
        for path in self._files:
            for _ in range(_LINKS):
                yield path.parent if os.path.dirname(os.path.realpath(path)) != "/" else path
                yield from (each.parent for each in path.parents if os.path.islink(each) and _is_deep(each.parent))
                if not os.path.islink(path):
                    break
                path = path.parent / path.readlink()

    def _stamps_now(self) -> tuple[Stamp | None, ...] | None:
        """None where a change may go unnoticed."""
        stamps = tuple(seen(str(path)) for path in self._files)
        return stamps if all(is_settled(each) for each in stamps if each) else None

    def _read_again(self, asked: bool) -> None:
        try:
            presented = _read(*self._files, self._check)
        except NitroSocksError as error:
            moved = _MOVED if isinstance(error.__cause__, PermissionError) else ""
            self._failed("; ".join(filter(None, (str(error), error.hint, moved, _STAYS))), asked)
            return
        self._failing_since, self._told = None, ""
        renewed = presented.hash != self.presented.hash
        self.presented = presented
        if renewed:
            self._seldom = Seldom(limits.EXPIRES_SAID)
            tell("certificate-reloaded", subject=presented.subject, expires=presented.until)

    def _failed(self, fault: str, asked: bool) -> None:
        if self._failing_since is None:
            self._failing_since = now()
        late = now() >= self._failing_since + limits.RENEWING
        if asked or (late and fault != self._told):
            tell("certificate-faulty", fault=fault)
            self._told = fault

    def _warn_of_expiry(self) -> None:
        shown = self.presented
        left = (shown.expires - datetime.now(UTC)).total_seconds() if shown.expires is not None else math.inf
        if left < limits.EXPIRES_SOON and self._seldom.due("expired" if left <= 0 else "expires"):
            when = f"{'expired' if left <= 0 else 'expires'} at {shown.expires:%Y-%m-%d %H:%M} UTC"
            days = f", in {left / 86_400:.0f} days" if left >= 86_400 * 1.5 else ""
            reason = f"{when}{days}; {self._renew}"
            tell("certificate-expires", subject=shown.subject, reason=reason, expires=shown.until)


def _is_deep(directory: Path) -> bool:
    return len(Path(os.path.realpath(directory)).parts) > _SHALLOW


def _read(certificate: Path, key: Path, check: Callable[[Path], None]) -> Presented:
    """OpenSSL reads the files by their names; what it read is known, since the file is the same before and after."""
    before = _content(certificate)
    if _KEY in before and _CERTIFICATE not in before and _CERTIFICATE in (other := _content(key)) and _KEY not in other:
        told = f"{foreign(certificate)} is a key, and {foreign(key)} a certificate"
        raise ConfigurationError(told, "they are swapped: --cert names the certificate, --key the key")
    check(key)
    for path in (certificate, key):
        _check_readable(path)
    context = server_context(certificate, key)
    der = leaf_der(before)
    if _content(certificate) != before:
        raise ConfigurationError(f"{foreign(certificate)} changed while it was read", "write it once, then try again")
    return Presented(context, sha256(der).digest(), subject(der), expiry(der))


def _content(path: Path) -> bytes:
    """Nothing where it cannot be read: whoever uses it tells."""
    with suppress(OSError):
        if os.path.isfile(path):
            return path.read_bytes()
    return b""


def _check_readable(path: Path) -> None:
    """Faults that have a remedy of their own; others are told when the files are used."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # non-blocking: a fifo shall not hold us up
    except PermissionError as error:
        raise ConfigurationError(f"{foreign(path)}: {error.strerror}", f"let user {os.geteuid()} read it") from error
    except OSError:
        return
    kind = os.fstat(descriptor).st_mode
    os.close(descriptor)
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise ConfigurationError(f"{foreign(path)} is not a regular file", "it is read more than once; name a file")
