"""Files with secrets: how they are made, whatever the umask, and together or not at all; root may run this."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from nitrosocks_lib.facts.errors import CannotCreate
from nitrosocks_lib.files import writing
from nitrosocks_lib.files.writing import locked, make_directory, secrets_written, write_secret


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def no_links(*_: object, **__: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


# Writing


def test_a_secret_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "secret"
    write_secret(path, "täxt\n")
    assert mode(path) == 0o600 and path.read_text("utf-8") == "täxt\n"
    assert os.listdir(tmp_path) == ["secret"]


@pytest.mark.parametrize("umask", [0, 0o177, 0o777])
def test_missing_directories_are_made_private(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_secret(tmp_path / "a" / "b" / "secret", "x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700
    make_directory(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o700


@pytest.mark.parametrize("links", [True, False])
def test_nothing_is_overwritten_without_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "secret"
    write_secret(path, "old")
    with pytest.raises(CannotCreate, match="exists already") as caught:
        write_secret(path, "new")
    assert "--force" in caught.value.hint
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["secret"] and mode(path) == 0o600


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotCreate, match="exists already"):
        write_secret(tmp_path / "secret", "x")
    write_secret(tmp_path / "secret", "x", force=True)
    assert not (tmp_path / "secret").is_symlink() and not (tmp_path / "elsewhere").exists()


def test_force_replaces_the_file_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    with path.open() as old:
        write_secret(path, "new", force=True)
        assert old.read() == "old"  # a reader has the one or the other
    assert path.read_text() == "new" and mode(path) == 0o600 and os.listdir(tmp_path) == ["secret"]


@pytest.mark.parametrize("force", [True, False])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotCreate, match="No space left on device") as caught:
        write_secret(tmp_path / "secret", "x", force)
    assert caught.value.hint and os.listdir(tmp_path) == []


def test_a_place_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "secret", tmp_path / "file" / "deeper" / "secret"):
        with pytest.raises(CannotCreate, match="Not a directory"):
            write_secret(path, "x")
    (tmp_path / "directory").mkdir()
    with pytest.raises(CannotCreate):
        write_secret(tmp_path / "directory", "x", force=True)
    with pytest.raises(CannotCreate, match="Not a directory"), locked(tmp_path / "file" / "home"):
        pass


def test_one_of_many_writers_wins_and_no_reader_sees_a_part(tmp_path: Path) -> None:
    path, text, outcomes = tmp_path / "secret", "x" * 100_000, []
    start = threading.Barrier(8)

    def write() -> None:
        start.wait()
        try:
            write_secret(path, text)
            outcomes.append("made")
        except CannotCreate:
            outcomes.append("exists" if path.read_text() == text else "partial")

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["exists"] * 7 + ["made"]


# Together


def contents(place: Path) -> dict[str, bytes | str]:
    return {
        path.name: os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in place.iterdir()
        if not path.is_dir()
    }


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("last", ["nowhere/x", "block", "directory"])
def test_all_are_made_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool, last: str) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to("old")
    (tmp_path / "nowhere").write_text("")
    (tmp_path / "directory").mkdir()
    before = contents(tmp_path)
    pairs = [(tmp_path / name, "new") for name in ("old", "link", "other")]
    pairs += [(tmp_path / last, "new")] if last != "block" else []
    with pytest.raises(CannotCreate), secrets_written(pairs, force=True):
        assert contents(tmp_path)["old"] == contents(tmp_path)["link"] == contents(tmp_path)["other"] == b"new"
        raise CannotCreate("for a test")
    assert contents(tmp_path) == before
    with secrets_written(pairs[:3], force=True):
        pass
    assert contents(tmp_path) == before | dict.fromkeys(("old", "link", "other"), b"new")


def test_the_last_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two texts for one file, without force: the second finds that of the first."""
    with pytest.raises(CannotCreate, match="exists already"), secrets_written([(tmp_path / "x", "1")] * 2):
        pass
    assert os.listdir(tmp_path) == []
    write_secret(tmp_path / "x", "old")
    replace, calls = Path.replace, []

    def fails_at_first(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 1:
            raise OSError(16, "Device or resource busy")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails_at_first)
    with pytest.raises(CannotCreate, match="busy"):
        write_secret(tmp_path / "x", "new", force=True)
    assert contents(tmp_path) == {"x": b"old"}


@pytest.mark.parametrize(
    ("place", "told"),
    [(".", "a directory"), ("/", "a directory"), ("/dev/null", "-o -"), ("/dev/stdout", "-o -"), ("fifo", "-o -")],
)
def test_what_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, told: str) -> None:
    """Asked without anything being written: a fault here would harm the machine."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    (tmp_path / "link").symlink_to(place)
    for path in (Path(place), *([Path("link")] if place != "/dev/stdout" else [])):  # that may lead to a file
        with pytest.raises(CannotCreate) as caught:
            writing._check_place(path)
        assert told in f"{caught.value}; {caught.value.hint}"


def test_what_cannot_be_cleaned_up_hides_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that became read-only."""

    def refused(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(CannotCreate, match="cannot be made: No space left on device"):
        write_secret(tmp_path / "key", "secret", force=False)


def test_a_directory_in_which_another_program_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "WORKING", 0.1)
    with locked(tmp_path):
        with pytest.raises(CannotCreate, match="another program has worked on it") as caught, locked(tmp_path):
            pytest.fail("it is not free")
        assert f"fuser {tmp_path}" in caught.value.hint
    with locked(tmp_path):
        pass
