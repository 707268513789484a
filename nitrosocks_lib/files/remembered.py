"""What outlives a client program of the ways to its servers: which carrier worked, per server and network (CA5)."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..facts import limits
from ..facts.errors import NitroSocksError
from ..facts.wire import Carrier
from ..protocol.carriers import Known
from .keyfiles import Table
from .places import below_home
from .writing import make_directory, write_secret

log = logging.getLogger(__name__)
_FILE: Final = "carriers"
_LINE: Final = re.compile(r"([^ \"\\\x00-\x1f\x7f]{1,300}) ([0-9a-f]{16}|-) ([a-z]+) (\d{1,7}) (\d{1,12})")


def state(environ: Mapping[str, str]) -> Path | None:
    """Where our programs keep what they learn: nitrosocks in $XDG_STATE_HOME, else in ~/.local/state, or nowhere."""
    return below_home(environ, "XDG_STATE_HOME", ".local/state")


class Remembered:
    """A file of mode 0600 in a directory; any thread, and programs side by side: the last to write is what is read.

    Whatever is wrong with it costs a line at -v, and what was remembered: never a connection.
    """

    def __init__(self, directory: Path) -> None:
        """Makes the directory, where that is possible."""
        self._path = directory / _FILE
        self._said = False
        try:
            make_directory(directory)
        except OSError as error:
            self._say(f"{directory}: {error.strerror}")

    def look(self, server: str, network: str) -> Known | None:
        """What is known of the way to a server, host:port, from a network."""
        return self._read().get((server, network or "-"))

    def keep(self, server: str, network: str, known: Known) -> None:
        """It is known from now on; what was learnt longest ago is forgotten beyond 64, and what is too large for it."""
        ways = {key: each for key, each in self._read().items() if each.since <= known.since}  # no clock was ahead
        ways[server, network or "-"] = known
        kept = sorted(ways.items(), key=lambda way: -way[1].since)[: limits.CARRIERS_KNOWN]
        lines = [f'    "{_line(*key, each)}",\n' for key, each in kept if _LINE.fullmatch(_line(*key, each))]
        while sum(map(len, lines)) > limits.FILE - 100:
            lines.pop()
        try:
            write_secret(self._path, f"ways = [\n{''.join(lines)}]\n", force=True)
        except NitroSocksError as error:
            self._say(str(error))

    def _read(self) -> dict[tuple[str, str], Known]:
        if not os.path.exists(self._path):  # nor where we may not look
            return {}
        try:
            table = Table(self._path)
            table.only("ways")
            return dict(_parsed(table, each) for each in table.texts("ways")[: limits.CARRIERS_KNOWN])
        except NitroSocksError as error:
            self._say(str(error))
            return {}

    def _say(self, what: str) -> None:
        if not self._said:
            self._said = True
            log.info("which carriers work is not remembered: %s", what)


def _line(server: str, network: str, known: Known) -> str:
    return f"{server} {network} {known.carrier} {known.most} {known.since}"


def _parsed(table: Table, line: str) -> tuple[tuple[str, str], Known]:
    found = _LINE.fullmatch(line)
    if found is None or found[3] not in list(Carrier):
        raise table.fault(f"not a way to a server: {line!r}")
    most = int(found[4])
    if not limits.BODY_LEAST <= most <= limits.BODY:
        raise table.fault(f"not a way to a server: {line!r}")
    return (found[1], found[2]), Known(Carrier(found[3]), int(found[5]), most)
