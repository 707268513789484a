"""The live registry: what is added, changed or removed acts at once, and one bad file does not harm the others."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from clientfiles import KEYS, Reader, names, standing
from logged import here, messages

from nitrosocks_lib.crypto.identity import ClientPublic
from nitrosocks_lib.facts.errors import KeyFileError, UsageError
from nitrosocks_lib.protocol.permit import Client, Rules
from nitrosocks_lib.protocol.welcome import Authorised
from nitrosocks_lib.server.authorised import Clients


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def clients(tmp_path: Path, reader: Reader) -> Clients:
    return Clients(tmp_path, reader)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged since the last time."""
    records = here(caplog)
    assert all(record.levelno == logging.ERROR and not record.exc_info for record in records)
    caplog.clear()
    return messages(records)


def test_adding_changing_and_removing_acts_at_the_next_look(tmp_path: Path, clients: Clients) -> None:
    assert clients.lookup(KEYS[0].client_id) is None
    (tmp_path / "a.toml").write_text("0 t0 h:1")
    first = clients.lookup(KEYS[0].client_id)
    assert first is not None and first.name == "a" and first.permit.texts == ("h:1",)
    (tmp_path / "b.toml").write_text("1 t1")
    assert names(clients) == ["a", "b"] and clients.lookup(KEYS[0].client_id) is first
    (tmp_path / "a.toml").write_text("0 t0 h:1 h:2")
    changed = clients.lookup(KEYS[0].client_id)
    assert changed is not None and changed.permit.texts == ("h:1", "h:2")
    (tmp_path / "a.toml").unlink()
    assert clients.lookup(KEYS[0].client_id) is None and clients.lookup(KEYS[1].client_id) is not None
    assert clients.lookup(b"") is None


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path, clients: Clients, reader: Reader) -> None:
    for i in range(3):
        (tmp_path / f"{i}.toml").write_text(f"{i} t{i}")
    for _ in range(3):
        assert names(clients) == ["0", "1", "2"]
    assert reader.read == ["0.toml", "1.toml", "2.toml"]
    os.utime(tmp_path / "1.toml", (1, 1))
    assert names(clients) == ["0", "1", "2"] and reader.read[3:] == ["1.toml"]
    (tmp_path / "1.toml").chmod(0o640)
    assert names(clients) == ["0", "1", "2"] and reader.read[4:] == ["1.toml"]
    (tmp_path / "1.toml").rename(tmp_path / "9.toml")
    assert names(clients) == ["0", "2", "9"] and reader.read[5:] == ["9.toml"]


def test_a_file_in_place_of_another_with_the_same_size_and_time(tmp_path: Path, clients: Clients) -> None:
    (tmp_path / "a.toml").write_text("0 t0")
    os.utime(tmp_path / "a.toml", (5, 5))
    assert clients.lookup(KEYS[0].client_id)
    (tmp_path / "new").write_text("1 t1")
    os.utime(tmp_path / "new", (5, 5))
    (tmp_path / "new").replace(tmp_path / "a.toml")
    assert clients.lookup(KEYS[0].client_id) is None and clients.lookup(KEYS[1].client_id)


def test_other_files_are_left_alone(tmp_path: Path, clients: Clients, reader: Reader) -> None:
    for name in (".a.toml", "a.toml~", "a.profile", "README", ".toml"):
        (tmp_path / name).write_text("0 t0")
    assert names(clients) == [] and reader.read == []


def test_a_bad_file_is_skipped_and_told_once_per_change(
    tmp_path: Path, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    bad, line = tmp_path / "bad.toml", f"{tmp_path / 'bad.toml'}: bad (ValueError); mend it"
    (tmp_path / "a.toml").write_text("0 t0")
    bad.write_text("x")
    assert [names(clients) for _ in range(3)] == [["a"]] * 3
    assert errors(caplog) == [line]
    (tmp_path / "b.toml").write_text("1 t1")
    assert names(clients) == ["a", "b"] and errors(caplog) == []
    bad.write_text("still bad")
    assert names(clients) == ["a", "b"] and errors(caplog) == [line]
    bad.write_text("2 t2")
    assert names(clients) == ["a", "b", "bad"] and errors(caplog) == []
    bad.write_text("worse")
    assert names(clients) == ["a", "b"] and errors(caplog) == [line]
    bad.unlink()
    assert names(clients) == ["a", "b"] and errors(caplog) == []


FAULTS = {
    "a typo": lambda path: path.write_text("x"),
    "a rule that is none": lambda path: path.write_text("0 t0 h:0"),
    "readable by others": lambda path: path.chmod(0o644),
    "a twin": lambda path: path.with_name("z.toml").write_text("0 other"),
    "a link that leads nowhere": lambda path: (path.unlink(), path.symlink_to("elsewhere")),
}


@pytest.mark.parametrize("spoil", FAULTS.values(), ids=FAULTS)
def test_a_fault_revokes_nobody(tmp_path: Path, reader: Reader, spoil: Callable[[Path], object]) -> None:
    """While it lasts the client begins nothing, but what it has may go on; once its file is gone, nothing may."""

    def read(path: Path) -> Client:
        try:
            if path.stat().st_mode & 0o004 and path.name == "a.toml":
                raise KeyFileError(f"{path}: others may read it")
            return reader(path)
        except (OSError, UsageError) as error:
            raise KeyFileError(str(error)) from None

    clients, path = Clients(tmp_path, read), tmp_path / "a.toml"
    for name, text in (("a.toml", "0 t0 h:1"), ("b.toml", "1 t1")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    before = clients.lookup(KEYS[0].client_id)
    assert before is not None and clients.standing(KEYS[0].client_id) is before
    spoil(path)
    for _ in range(2):
        assert standing(clients) == {0, 1} and clients.lookup(KEYS[0].client_id) is None
    path.unlink()
    (tmp_path / "z.toml").unlink(missing_ok=True)
    assert standing(clients) == {1}


def test_a_file_that_names_another_key_revokes_the_last_one(tmp_path: Path, clients: Clients) -> None:
    path = tmp_path / "a.toml"
    path.write_text("0 t0")
    assert standing(clients) == {0}
    path.write_text("1 t0")
    assert clients.standing(KEYS[0].client_id) is None and standing(clients) == {1}
    path.write_text("bad")
    assert standing(clients) == {1} and names(clients) == []


def test_a_file_that_was_never_good_lets_nothing_go_on(tmp_path: Path, clients: Clients) -> None:
    (tmp_path / "a.toml").write_text("x")
    assert not standing(clients)


def test_a_reason_that_goes_away_by_itself(tmp_path: Path, reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    reasons = ["Too many open files", "Too many open files", ""]

    def read(path: Path) -> Client:
        if reason := reasons.pop(0):
            raise KeyFileError(reason)
        return reader(path)

    clients = Clients(tmp_path, read)
    (tmp_path / "a.toml").write_text("0 t0")
    assert names(clients) == [] and names(clients) == [] and names(clients) == ["a"] and names(clients) == ["a"]
    assert errors(caplog) == ["Too many open files"]


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path, clients: Clients, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.toml").symlink_to(tmp_path / "elsewhere")
    assert names(clients) == [] and names(clients) == []
    assert errors(caplog) == [f"{tmp_path / 'a.toml'}: bad (FileNotFoundError); mend it"]
    (tmp_path / "elsewhere").write_text("0 t0")
    assert names(clients) == ["a"]
    (tmp_path / "elsewhere").write_text("1 t1 h:1")
    assert clients.lookup(KEYS[0].client_id) is None and clients.lookup(KEYS[1].client_id)


@pytest.mark.parametrize(("twin", "what"), [("0 t0 h:1", "public key"), ("0 other", "public key"), ("1 t0", "Token")])
def test_twins_are_both_refused(
    tmp_path: Path, clients: Clients, caplog: pytest.LogCaptureFixture, twin: str, what: str
) -> None:
    a, z = tmp_path / "a.toml", tmp_path / "z.toml"
    a.write_text("0 t0")
    (tmp_path / "b.toml").write_text("2 t2")
    assert names(clients) == ["a", "b"]
    z.write_text(twin)
    assert [names(clients) for _ in range(3)] == [["b"]] * 3
    (line,) = errors(caplog)
    assert line.startswith(f"{a} and {z} have the same {what}; remove all but one")
    (tmp_path / "c.toml").write_text("3 t3")
    assert names(clients) == ["b", "c"] and errors(caplog) == []
    os.utime(z, (1, 1))
    assert names(clients) == ["b", "c"] and len(errors(caplog)) == 1
    z.unlink()
    assert names(clients) == ["a", "b", "c"] and errors(caplog) == []


def test_twins_of_c_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def read(path: Path) -> Client:
        raw = KEYS[0].public[:1216] + KEYS[int(path.stem)].public[1216:]
        return Client(path.stem, Authorised(path.stem, ClientPublic(raw), path.name.encode()), Rules())

    for i in range(3):
        (tmp_path / f"{i}.toml").touch()
    assert names(Clients(tmp_path, read)) == []
    (line,) = errors(caplog)
    assert line.startswith(" and ".join(str(tmp_path / f"{i}.toml") for i in range(3)) + " have the same C;")


def test_chains_of_twins(tmp_path: Path, clients: Clients, caplog: pytest.LogCaptureFixture) -> None:
    for name, text in {"a": "0 t0", "b": "0 t1", "c": "1 t1", "d": "2 t2"}.items():
        (tmp_path / f"{name}.toml").write_text(text)
    assert names(clients) == ["d"]
    assert [("public key" in line, "Token" in line.split(";")[0]) for line in errors(caplog)] == [
        (True, False), (False, True),
    ]  # fmt: skip


def test_a_directory_that_comes_and_goes(tmp_path: Path, reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "clients.d"
    clients = Clients(directory, reader)
    assert names(clients) == []
    directory.mkdir()
    (directory / "a.toml").write_text("0 t0")
    assert names(clients) == ["a"]
    shutil.rmtree(directory)
    assert names(clients) == [] and errors(caplog) == []


def test_a_directory_that_is_not_ours_to_read(
    tmp_path: Path, clients: Clients, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", closed)
    assert names(clients) == [] and len(clients) == 0
    (line,) = errors(caplog)
    assert line.startswith(f"{tmp_path}: Permission denied; run: chown {os.geteuid()} {tmp_path} && chmod 700 ")
    assert line.endswith("start 'nitrosocks serve' again")


def test_a_directory_that_cannot_be_read_just_now(
    tmp_path: Path, clients: Clients, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_: object) -> list[str]:
        raise OSError(24, "Too many open files")

    (tmp_path / "a.toml").write_text("0 t0")
    assert names(clients) == ["a"]
    for _ in range(2):  # told anew when it happens anew
        with monkeypatch.context() as context:
            context.setattr(os, "scandir", busy)
            assert names(clients) == ["a"] and names(clients) == ["a"]
        assert errors(caplog) == [f"{tmp_path}: Too many open files; the clients known so far stay"]
        assert names(clients) == ["a"] and errors(caplog) == []
