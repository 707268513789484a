"""Files with secrets: how they are made, who may read them, what may stand in them; root may run this."""

import os
import stat
import threading
from pathlib import Path

import pytest

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import CannotCreate, KeyFileError
from nitrosocks_lib.files.keyfiles import (
    Table,
    b32,
    b64,
    check_secret,
    locked,
    make_directory,
    read_secret,
    write_secret,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def table(path: Path, text: str) -> Table:
    write_secret(path, text, force=True)
    return Table(path)


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


def no_links(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


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


# Reading


@pytest.mark.parametrize("bits", [0o600, 0o400, 0o700])
def test_private_files_are_read(tmp_path: Path, bits: int) -> None:
    write_secret(tmp_path / "secret", "täxt")
    (tmp_path / "secret").chmod(bits)
    assert read_secret(tmp_path / "secret") == "täxt"


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o604, 0o660, 0o620, 0o602, 0o601, 0o777, 0o4644])
def test_open_permissions_are_refused_as_ssh_does(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "my secret"
    write_secret(path, "x")
    path.chmod(bits)
    with pytest.raises(KeyFileError) as caught:
        read_secret(path)
    assert str(caught.value) == f"{path}: permissions {bits:04o} are too open"
    assert caught.value.hint == f"run: chmod 600 '{path}'"


def test_the_files_of_others_are_for_root_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    write_secret(path, "x")
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(KeyFileError, match=f"belongs to user {owner}, not to {owner + 1}") as caught:
        read_secret(path)
    assert caught.value.hint == f"run: chown {owner + 1} {path}"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert read_secret(path) == "x"


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "directory").mkdir(mode=0o700)
    (tmp_path / "loop").symlink_to("loop")
    write_secret(tmp_path / "binary", "x")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    write_secret(tmp_path / "large", "x" * (limits.FILE + 1))
    for name, reason in {
        "missing": "there is no such file", "fifo": "not a regular file", "directory": "not a regular file",
        "loop": "symbolic links", "binary": "not a text in UTF-8", "large": "larger than the 16 KiB",
        "binary/x": "Not a directory",
    }.items():  # fmt: skip
        with pytest.raises(KeyFileError, match=reason) as caught:
            read_secret(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    monkeypatch.setattr(os, "open", no_links)
    with pytest.raises(KeyFileError, match="Operation not permitted"):
        read_secret(tmp_path / "binary")


def test_the_hint_of_a_kind_of_file(tmp_path: Path) -> None:
    """Where a fault has none of its own."""
    write_secret(tmp_path / "x", "x")
    for read in (lambda hint: read_secret(tmp_path / "none", hint), lambda hint: Table(tmp_path / "x", hint)):
        with pytest.raises(KeyFileError) as caught:
            read("do this")
        assert caught.value.hint == "do this"
    (tmp_path / "x").chmod(0o644)
    with pytest.raises(KeyFileError) as caught:
        read_secret(tmp_path / "x", "do this")
    assert "chmod" in caught.value.hint


def test_only_what_is_there_and_open_is_refused_unread(tmp_path: Path) -> None:
    write_secret(tmp_path / "x", "x")
    for path in (tmp_path / "x", tmp_path / "none", tmp_path, tmp_path / "x" / "x"):
        check_secret(path)
    (tmp_path / "x").chmod(0o604)
    with pytest.raises(KeyFileError, match="permissions 0604 are too open"):
        check_secret(tmp_path / "x")


# What stands in them


@pytest.mark.parametrize("text", ["x", "= 1", "a = 1\na = 2", "a = '\0'", "a = " + "[" * 10_000, "\ufeff\ufeffa = 1"])
def test_what_is_not_toml(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyFileError, match="not TOML") as caught:
        table(tmp_path / "file", text)
    assert str(tmp_path / "file") in str(caught.value) and "\n" not in str(caught.value)


def test_keys_that_are_unknown_or_missing_are_named(tmp_path: Path) -> None:
    t = table(tmp_path / "file", "b = 1\na = 1\n'x\\n' = 1")
    t.only("a", "b x\\n")
    with pytest.raises(KeyFileError, match=r"unknown key 'b', 'x\\\\n'") as caught:
        t.only("a")
    assert caught.value.hint == "known are: a"
    with pytest.raises(KeyFileError, match="'c', 'd' are missing"):
        t.only("a c d", "b x\\n")
    assert "a" in t and "c" not in t


def test_texts(tmp_path: Path) -> None:
    t = table(tmp_path / "file", "a = 'x'\nb = ['x', 'y']\nc = 1\nd = ''\ne = ['x', 1]\nf = []\ng = true")
    assert t.text("a") == "x" and t.texts("b") == ["x", "y"] and t.texts("f") == [] and t.texts("nothing") == []
    assert t.texts("a", one=True) == ["x"] and t.texts("b", one=True) == ["x", "y"]
    for key in "bcdeg":
        with pytest.raises(KeyFileError, match=f"'{key}' is not a text"):
            t.text(key)
    for key in "aceg":
        with pytest.raises(KeyFileError, match=f"'{key}' is not a list of texts"):
            t.texts(key)
    for key in "cdg":
        with pytest.raises(KeyFileError, match=f"'{key}' is not a text"):
            t.texts(key, one=True)


RAW = bytes(range(32))


@pytest.mark.parametrize(
    ("form", "text", "reason"),
    [
        ("base64", b64(RAW), ""),
        ("base32", b32(RAW), ""),
        ("base64", b64(RAW[:31]), "has 31 bytes, not 32"),
        ("base32", b32(RAW + b"x"), "has 33 bytes, not 32"),
        ("base64", b64(RAW).rstrip("="), "is not base64"),
        ("base64", b64(RAW) + "=", "is not base64"),
        ("base64", b64(RAW).replace("/", "_").replace("+", "-") + "-", "is not base64"),
        ("base64", b64(RAW)[:-2] + "9=", "is not base64"),  # bits beyond the last byte
        ("base64", b64(RAW) + " ", "is not base64"),
        ("base64", " " + b64(RAW), "is not base64"),
        ("base64", b64(RAW)[:-4] + "ü" + b64(RAW)[-4:], "is not base64"),
        ("base64", "=", "is not base64"),
        ("base32", b32(RAW) + "====", "is not base32 without padding"),
        ("base32", b32(RAW).lower(), "is not base32 without padding"),
        ("base32", b32(RAW)[:-1] + "B", "is not base32 without padding"),
        ("base32", b32(RAW)[:-1], "is not base32 without padding"),
        ("base32", b32(RAW)[:-1] + "1", "is not base32 without padding"),
        ("base32", b32(RAW)[:-1] + "ü", "is not base32 without padding"),
    ],
)
def test_encodings(tmp_path: Path, form: str, text: str, reason: str) -> None:
    t = table(tmp_path / "file", f"key = {text!r}")
    decoded = t.base64 if form == "base64" else t.base32
    if not reason:
        assert decoded("key", 32) == RAW
        return
    with pytest.raises(KeyFileError) as caught:
        decoded("key", 32)
    assert str(caught.value) == f"{tmp_path / 'file'}: 'key' {reason}"


def test_an_error_never_shows_the_secret(tmp_path: Path) -> None:
    t = table(tmp_path / "file", "key = 'SECRETSECRET'")
    for decoded in (t.base64, t.base32):
        with pytest.raises(KeyFileError) as caught:
            decoded("key", 32)
        assert "SECRET" not in str(caught.value) + caught.value.hint
    assert "SECRET" not in repr(t)
