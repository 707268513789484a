"""What a look-up costs, whatever is in the directory: one stat. And what it finds out all the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from clientfiles import KEYS, Reader, names

from nitrosocks_lib.facts import limits
from nitrosocks_lib.server.authorised import Clients


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def clients(tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> Clients:
    """Of the keys 0 and 1, with a file beside them that has a fault; all looked at, a while after they were made."""
    monkeypatch.setattr(limits, "LISTED_AGAIN", 0.0)
    for name, text in (("a", "0 t0"), ("b", "1 t1"), ("faulty", "x")):
        (tmp_path / f"{name}.toml").write_text(text)
    clients = Clients(tmp_path, reader)
    clients.look()
    return clients


@contextmanager
def touched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of what was looked at, with a / behind what was listed."""
    seen: list[str] = []

    def noting(real: Callable[[object], object], behind: str) -> Callable[[object], object]:
        def note(path: object) -> object:
            seen.append(os.path.basename(str(path)) + behind)
            return real(path)

        return note

    with monkeypatch.context() as context:
        context.setattr(os, "stat", noting(os.stat, ""))
        context.setattr(os, "scandir", noting(os.scandir, "/"))
        yield seen


def test_a_known_client_costs_a_stat_of_its_file(
    tmp_path: Path, clients: Clients, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with touched(monkeypatch) as seen:
        assert clients.lookup(KEYS[0].client_id) and clients.standing(KEYS[1].client_id)
    assert seen == ["a.toml", "b.toml"] and reader.read == ["a.toml", "b.toml", "faulty.toml"]


def test_an_unknown_client_costs_a_stat_of_the_directory(
    tmp_path: Path, clients: Clients, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with touched(monkeypatch) as seen:
        for number in range(3):
            assert clients.lookup(bytes([number]) * 16) is None and clients.standing(b"") is None
    assert seen == [tmp_path.name] * 6 and len(reader.read) == 3


def test_what_is_new_in_the_directory_is_looked_at_once(
    tmp_path: Path, clients: Clients, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new.toml").write_text("2 t2")
    with touched(monkeypatch) as seen:
        assert clients.lookup(KEYS[2].client_id)
        assert seen.count(f"{tmp_path.name}/") == 1 and reader.read[3:] == ["new.toml"]
        seen.clear()
        assert clients.lookup(KEYS[3].client_id) is None
        assert seen == [tmp_path.name]


def test_a_directory_that_changed_just_now_is_looked_at_again(
    tmp_path: Path, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next change may come within the same tick of its clock."""
    monkeypatch.setattr(limits, "LISTED_AGAIN", 3600.0)
    (tmp_path / "other").touch()
    with touched(monkeypatch) as seen:
        assert clients.lookup(KEYS[2].client_id) is None and clients.lookup(KEYS[2].client_id) is None
    assert seen.count(f"{tmp_path.name}/") == 2


def test_a_file_with_a_fault_is_read_again_by_the_look_at_all_alone(clients: Clients, reader: Reader) -> None:
    for key in KEYS:
        clients.lookup(key.client_id)
    assert reader.read == ["a.toml", "b.toml", "faulty.toml"]
    clients.look()
    assert reader.read[3:] == ["faulty.toml"]


def mended(path: Path) -> None:
    path.write_text("0 t0 h:1")


def moved(path: Path) -> None:
    path.rename(path.with_name("moved.toml"))


def replaced(path: Path) -> None:
    path.with_name(".new").write_text("0 t0 h:2")
    path.with_name(".new").replace(path)


def made_again(path: Path) -> None:
    """It may get the number of the old one."""
    path.unlink()
    path.write_text("0 t0 h:1")


def in_place_of_another(path: Path) -> None:
    path.replace(path.with_name("b.toml"))


@pytest.mark.parametrize("change", [mended, moved, replaced, made_again, in_place_of_another])
@pytest.mark.parametrize("before", ["0 t0", "a fault"])
def test_what_acts_at_the_next_look_up(
    tmp_path: Path, clients: Clients, change: Callable[[Path], None], before: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(before)
    clients.look()
    assert (clients.lookup(KEYS[0].client_id) is None) is (before == "a fault")
    if before == "a fault" and change in (moved, in_place_of_another):
        path.write_text("0 t0")
    change(path)
    found = clients.lookup(KEYS[0].client_id)
    assert found is not None and found is clients.standing(KEYS[0].client_id)
    expected = {mended: ("a", "h:1"), replaced: ("a", "h:2"), made_again: ("a", "h:1"), moved: ("moved",)}
    assert (found.name, *found.permit.texts) == expected.get(change, ("b",))
    assert names(clients) == [found.name] if change is in_place_of_another else [found.name, "b"]


def test_another_key_in_an_old_file_acts_at_the_next_look_at_all(tmp_path: Path, clients: Clients) -> None:
    """Nobody else's look-up touches that file."""
    (tmp_path / "a.toml").write_text("2 t2")
    assert clients.lookup(KEYS[2].client_id) is None
    clients.look()
    assert clients.lookup(KEYS[2].client_id) and clients.lookup(KEYS[0].client_id) is None


def test_what_cannot_be_seen_just_now_stays(
    tmp_path: Path, clients: Clients, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as context:
        context.setattr(os, "stat", forbidden)
        assert clients.lookup(KEYS[0].client_id) and clients.standing(KEYS[1].client_id)
    assert len(reader.read) == 3


def test_any_thread_may_ask(tmp_path: Path, reader: Reader) -> None:
    for i in range(3):
        (tmp_path / f"{i}.toml").write_text(f"{i} t{i}")
    clients, start, found = Clients(tmp_path, reader), threading.Barrier(9), []

    def ask() -> None:
        start.wait()
        found.extend(clients.lookup(key.client_id) is not None for key in KEYS)

    def look() -> None:
        start.wait()
        clients.look()

    threads = [threading.Thread(target=ask) for _ in range(8)] + [threading.Thread(target=look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 8 + [True] * 24
    assert sorted(reader.read) == ["0.toml", "1.toml", "2.toml"]
