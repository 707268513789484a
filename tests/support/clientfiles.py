"""Client files that are quick to write and to read: `KEY TOKEN [rule…]`, two numbers of which the first is in KEYS."""

from __future__ import annotations

from pathlib import Path

from nitrosocks_lib.crypto.identity import ClientKey, ClientPublic
from nitrosocks_lib.facts.errors import KeyFileError
from nitrosocks_lib.protocol.permit import Client, Rules
from nitrosocks_lib.protocol.welcome import Authorised
from nitrosocks_lib.server.authorised import Clients

KEYS = [ClientKey(bytes([i]) * 32) for i in range(4)]


class Reader:
    """Reads such files, and keeps the names of those it read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: Path) -> Client:
        self.read.append(path.name)
        try:
            key, token, *rules = path.read_text().split()
            raw = KEYS[int(key)].public
        except (ValueError, OSError) as error:
            raise KeyFileError(f"{path}: bad ({type(error).__name__})", "mend it") from None
        name = path.stem
        return Client(name, Authorised(name, ClientPublic(raw), token.encode()), Rules.parse(rules))


def names(clients: Clients) -> list[str]:
    """Who may begin something, after a look at all files."""
    clients.look()
    return sorted(found.name for key in KEYS if (found := clients.lookup(key.client_id)))


def standing(clients: Clients) -> set[int]:
    """Who is not revoked, by the numbers of their keys, after a look at all files."""
    clients.look()
    return {number for number, key in enumerate(KEYS) if clients.standing(key.client_id)}
