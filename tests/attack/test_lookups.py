"""Clients are looked up while files come, go, change and have faults: each answer fits what was in the directory."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from lookups import client_file, populate, write

from nitrosocks_lib.facts import wire
from nitrosocks_lib.files import profiles
from nitrosocks_lib.server.authorised import Clients

STABLE, CHURNING, ROUNDS = 20, 4, 6


def client_id(path: Path) -> bytes:
    return profiles.load_client(path).authorised.public.client_id


def test_each_answer_fits_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "clients.d"
    populate(directory, STABLE + CHURNING)
    paths = [directory / f"client-{number}.toml" for number in range(STABLE + CHURNING)]
    ids = list(map(client_id, paths))
    clients, over = Clients(directory, profiles.load_client), threading.Event()
    wrong: list[object] = []

    def ask() -> None:
        while not over.is_set():
            wrong.extend(number for number in range(STABLE) if clients.lookup(ids[number]) is None)
            wrong.extend(number for number in range(STABLE) if clients.standing(ids[number]) is None)
            if clients.lookup(os.urandom(wire.CLIENT_ID)) is not None:
                wrong.append("a stranger")

    def look() -> None:
        while not over.is_set():
            clients.look()

    threads = [threading.Thread(target=each) for each in (ask, ask, ask, look)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(ROUNDS):
            for number in range(STABLE, STABLE + CHURNING):
                change(clients, paths[number], ids[number], number, turn)
            for number in range(STABLE):  # the same client, with other rules, in place of the old file or within it
                text = client_file(number, f"10.0.0.1:{turn + 1}")
                write(paths[number], text)
                found = clients.lookup(ids[number])
                assert found is not None and found.permit.texts == (f"10.0.0.1:{turn + 1}",)
    finally:
        over.set()  # else they would go on beside all other tests
        for thread in threads:
            thread.join()
    assert wrong == []


def change(clients: Clients, path: Path, who: bytes, number: int, turn: int) -> None:
    """Removed, made again, spoilt, mended: each acts at the next look-up of this client."""
    path.unlink()
    assert clients.lookup(who) is None and clients.standing(who) is None
    write(path, client_file(number, f"h:{turn + 1}"))
    found = clients.lookup(who)
    assert found is not None and found.permit.texts == (f"h:{turn + 1}",)
    path.chmod(0o644)
    assert clients.lookup(who) is None and clients.standing(who) is not None
    path.chmod(0o600)
    assert clients.lookup(who) is not None
