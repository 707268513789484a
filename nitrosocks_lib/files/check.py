"""All files of a home, a server's or a client's, read as the programs read them: every fault, not only the first."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from ..crypto.certificate import expiry, leaf_der
from ..facts import limits
from ..facts.errors import ConfigurationError, KeyFileError, NitroSocksError
from ..facts.words import foreign
from ..protocol.permit import GROUPS
from . import groups, profiles
from .clients import listed
from .places import check_place, ending_in

Pair = Callable[[Path, Path], object]


class Checked:
    """What was read, its `faults`, and what will be one soon (`notes`).

    `usable` raises a NitroSocksError for a certificate and a key that cannot be used together; `now` is in UTC.
    """

    def __init__(self, home: Path, now: datetime, usable: Pair) -> None:
        self.files: list[str] = []
        self.faults: list[NitroSocksError] = []
        self.notes: list[str] = []
        self._home, self._now, self._usable = home, now, usable
        try:
            os.listdir(home)
        except (FileNotFoundError, NotADirectoryError):
            self._fault("there is no such directory", "make keys with 'nitrosocks keygen', or name it with --home DIR")
            return
        except OSError as error:
            self._fault(error.strerror or "cannot be read", "see its mode and its owner")
            return
        self._try(partial(check_place, home))
        self._server()
        self._try(self._profiles)
        if not self.files and not self.faults:
            self._fault("no server's key, no client's file and no profile is there", "name another one with --home DIR")

    def _fault(self, what: str, hint: str, name: str = "") -> None:
        self.faults.append(KeyFileError(f"{foreign(self._home / name)}: {what}", hint))

    def _try(self, *steps: Callable[[], object]) -> bool:
        """Whether all of them went well; each is tried."""
        before = len(self.faults)
        for step in steps:
            try:
                step()
            except NitroSocksError as error:
                if str(error) not in map(str, self.faults):  # a directory is above many files
                    self.faults.append(error)
                before = -1
            except OSError as error:
                self._fault(error.strerror or "cannot be read", "see its mode and its owner")
        return before == len(self.faults)

    # -- the server's --------------------------------------------------------------------------------------------------

    def _server(self) -> None:
        key, clients = self._home / profiles.SERVER_KEY, self._home / profiles.CLIENTS
        cert, private = self._home / profiles.TLS_CERT, self._home / profiles.TLS_KEY
        if not any(map(os.path.lexists, (key, cert, private, clients))):
            return
        self.files.append(key.name)
        if not os.path.lexists(key) and os.path.lexists(clients):
            self._fault("there is no such file, and there are clients", profiles.RESTORE_SERVER, key.name)
        else:
            self._try(partial(check_place, key), partial(profiles.load_server, key))
        self._try(partial(self._certificate, cert, private))
        if os.path.lexists(clients):
            self._try(self._clients)

    def _clients(self) -> None:
        for other in (path for path in ending_in(self._home / profiles.CLIENTS, ".toml") if path.name.startswith("_")):
            name = f"{profiles.CLIENTS}/{other.name}"
            if other.name == GROUPS:
                self.files.append(name)
                self._try(partial(groups.load, other))
            else:
                self._fault("names that begin with _ are no clients', so it is not used", "rename it", name)
        for one in listed(self._home, place=False):
            self.files.append(f"{profiles.CLIENTS}/{one.path.name}")
            self._try(partial(check_place, one.path))
            if one.fault is not None:
                self.faults.append(one.fault)
            elif one.client is not None and (over := one.client.quota.over(self._now.date().isoformat())):
                self.notes.append(f"{foreign(one.path)}: the client gets nothing: {over}")

    def _certificate(self, cert: Path, private: Path) -> None:
        if not profiles.has_pair(cert, private):  # `serve` makes both, or is given others
            return
        self.files += [cert.name, private.name]
        checked = self._try(partial(profiles.check_tls_key, private), partial(self._pair, cert, private))
        ends = expiry(leaf_der(cert.read_bytes())) if checked else None
        left = (ends - self._now).total_seconds() if ends is not None else limits.EXPIRES_SOON
        what = f"the certificate {'expired' if left <= 0 else 'expires'} at {ends:%Y-%m-%d %H:%M} UTC" if ends else ""
        anew = profiles.RENEW_TLS.format(foreign(cert), foreign(private))
        if left <= 0:
            self._fault(what, anew, cert.name)
        elif left < limits.EXPIRES_SOON:
            self.notes.append(f"{foreign(cert)}: {what}; {anew}")

    def _pair(self, cert: Path, private: Path) -> None:
        if os.path.exists(cert) and not os.path.isfile(cert):  # OpenSSL would wait for who writes into a fifo
            raise KeyFileError(f"{foreign(cert)}: not a regular file", profiles.RESTORE_TLS)
        try:
            self._usable(cert, private)
        except ConfigurationError as error:  # its hint is for files of one's own
            raise ConfigurationError(str(error), profiles.RESTORE_TLS) from None

    # -- the client's --------------------------------------------------------------------------------------------------

    def _profiles(self) -> None:
        for path in ending_in(self._home, profiles.PROFILE):
            self.files.append(path.name)
            self._try(partial(profiles.load_profile, path))
