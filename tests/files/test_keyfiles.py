"""Files with secrets: who may read them, what may stand in them; root may run this."""

import os
from pathlib import Path

import pytest
from keys import unlined

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import KeyFileError
from nitrosocks_lib.files.keyfiles import Table, b32, b64, check_secret, read_secret
from nitrosocks_lib.files.writing import write_secret


def not_permitted(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def table(path: Path, text: str) -> Table:
    write_secret(path, text, force=True)
    return Table(path)


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
        "missing": "there is no such file", "fifo": "not a regular file", "directory": "a directory; name a file in it",
        "loop": "symbolic links", "binary": "not a text in UTF-8", "large": "larger than the 16 KiB",
        "binary/x": "Not a directory",
    }.items():  # fmt: skip
        with pytest.raises(KeyFileError, match=reason) as caught:
            read_secret(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    monkeypatch.setattr(os, "open", not_permitted)
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
    assert unlined(caught.value) == f"{tmp_path / 'file'}: 'key' {reason}"


def test_an_error_never_shows_the_secret(tmp_path: Path) -> None:
    t = table(tmp_path / "file", "key = 'SECRETSECRET'")
    for decoded in (t.base64, t.base32):
        with pytest.raises(KeyFileError) as caught:
            decoded("key", 32)
        assert "SECRET" not in str(caught.value) + caught.value.hint
    assert "SECRET" not in repr(t)


def test_the_line_is_named(tmp_path: Path) -> None:
    t = table(tmp_path / "file", "# c\na = 'x'\nb = [\n  'y',\n  'z',\n]\nc = 1\n")
    assert str(t.fault("wrong", key="b", item="z")) == f"{tmp_path / 'file'}: wrong (at line 5)"
    assert str(t.fault("wrong", key="none")) == f"{tmp_path / 'file'}: wrong"
    for says, line in ((lambda: t.text("c"), 7), (lambda: t.base32("a", 32), 2), (lambda: t.only("b c"), 2)):
        with pytest.raises(KeyFileError, match=rf"\(at line {line}\)$"):
            says()


# What is shown


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
    assert unlined(caught.value).endswith("unknown key 'k0', 'k1', 'k10' and 997 more")
    t = table(tmp_path / "empty", "")
    long = f"'x': {'y' * 100_000!r} and {'z' * 40!r}"
    assert str(t.fault(long)) == f"{tmp_path / 'empty'}: 'x': '{'y' * 40}…' and '{'z' * 40}'"
    assert len(str(t.fault("y" * 100_000))) < 1_000
