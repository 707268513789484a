"""Files that are made together or not at all, and what is shown of their faults: more tests of keyfiles."""

import errno
import os
from pathlib import Path

import pytest

from nitrosocks_lib.facts.errors import CannotCreate, KeyFileError
from nitrosocks_lib.files import keyfiles
from nitrosocks_lib.files.keyfiles import Table, secrets_written, write_secret


def no_links(*_: object, **__: object) -> None:
    raise PermissionError(1, "Operation not permitted")


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
            keyfiles._check_place(path)
        assert told in f"{caught.value}; {caught.value.hint}"


# What is shown


def table(path: Path, text: str) -> Table:
    write_secret(path, text)
    return Table(path)


SECRET = "SECRET" * 9


@pytest.mark.parametrize(
    "text",
    [f"{SECRET} = 1", f"'{SECRET}' = 1", f"{SECRET} = 1\n{SECRET}.x = 2", f"[{SECRET}]\n[{SECRET}]",
     f"x = {{{SECRET} = 1, {SECRET} = 2}}", f"['{SECRET})']\n['{SECRET})']"],
)  # fmt: skip
def test_a_secret_in_the_place_of_a_key_is_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        table(tmp_path / "file", text).only("a")
    assert SECRET[:17] not in str(caught.value) + caught.value.hint


def test_what_is_shown_is_short(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        table(tmp_path / "file", "".join(f"k{n} = 1\n" for n in range(1_000))).only("a")
    assert str(caught.value).endswith("unknown key 'k0', 'k1', 'k10' and 997 more")
    t = table(tmp_path / "empty", "")
    long = f"'x': {'y' * 100_000!r} and {'z' * 40!r}"
    assert str(t.fault(long)) == f"{tmp_path / 'empty'}: 'x': '{'y' * 40}…' and '{'z' * 40}'"
    assert len(str(t.fault("y" * 100_000))) < 1_000


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
