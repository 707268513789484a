"""Groups of rules act at once, as a client's own file does."""

import logging
from pathlib import Path

import pytest
from keys import SERVER

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.files import enrol, profiles
from nitrosocks_lib.files.writing import replace_secret, write_secret
from nitrosocks_lib.protocol.permit import Client
from nitrosocks_lib.server.authorised import Clients


def made(home: Path, name: str, rules: list[str]) -> bytes:
    """The client_id of a new client."""
    _, text = enrol.make_client(name, ["h:1"], SERVER.public, rules, groups={"web": ()})
    write_secret(path := profiles.client_path(home, name), text)
    return profiles.load_client(path).authorised.public.client_id


def test_a_change_of_the_groups_acts_at_the_next_look_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LISTED_AGAIN", 0.0)
    directory = tmp_path / "clients.d"
    write_secret(groups := directory / "_groups.toml", 'web = ["a.example:80"]\n')
    alice, bob = made(tmp_path, "alice", ["@web"]), made(tmp_path, "bob", ["b.example:80"])
    read: list[str] = []

    def reading(path: Path) -> Client:
        read.append(path.stem)
        return profiles.load_client(path)

    clients = Clients(directory, reading)
    clients.look()

    def reaches(client_id: bytes) -> list[str]:
        client = clients.lookup(client_id)
        asked = ["a.example", "b.example"] if client is not None else []
        return [name for name in asked if client and client.permit.permits(name, "8.8.8.8", 80, Kind.TCP)]

    assert (reaches(alice), reaches(bob), read) == (["a.example"], ["b.example"], ["alice", "bob"])
    replace_secret(groups, 'web = ["b.example:80", "*:80"]\n')
    assert (reaches(alice), reaches(bob), read[2:]) == (["a.example", "b.example"], ["b.example"], ["alice"])
    groups.write_text("web = [")
    with caplog.at_level(logging.ERROR):
        assert (clients.lookup(alice), reaches(bob)) == (None, ["b.example"])
    assert clients.standing(alice) is not None and "_groups.toml: not TOML" in caplog.text
    groups.write_text('web = ["!a.example:80", "*:80"]\n')
    assert reaches(alice) == ["b.example"]
    groups.unlink()
    assert clients.lookup(alice) is None and reaches(bob) == ["b.example"]
    assert read[2:].count("bob") == 0 and len(clients) == 1
