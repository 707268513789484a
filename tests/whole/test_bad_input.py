"""Files and words that are wrong end in one line and an exit code, and a good client is served on."""

import base64
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import loopback
import program
import pytest
import served
from loopback import read_exactly
from program import Site, expect_one_line
from served import Good, fails, refused
from targets import dial

site, serving, good = program.site, served.serving, served.good


# Keys


def test_a_wrong_token(good: Good) -> None:
    refused(good.site, good.changed(token=base64.b32encode(bytes(32)).decode().rstrip("=")), 77, "Token")


def test_a_wrong_key(good: Good) -> None:
    refused(good.site, good.changed(secret=base64.b64encode(bytes(32)).decode()), 77, "does not know this client")


def test_a_revoked_client(good: Good) -> None:
    """Its file is removed while it is connected: its stream ends, and neither another one nor a session comes about."""
    profile = good.site.profile("revoked", good.server.port)
    client = good.site.forward(profile, f"0:127.0.0.1:{good.echoing}", words=("--sessions", 1))
    with dial(client.port) as before:
        before.sendall(b"x")
        assert read_exactly(before, 1) == b"x"
        (good.site.home / "clients.d" / "revoked.toml").unlink()
        with dial(client.port) as sock, pytest.raises(ConnectionResetError):  # on the session that it still has
            sock.recv(1)
        refused(good.site, profile, 77, "does not know this client")
        with pytest.raises(ConnectionResetError):
            before.recv(1)
    assert "revoked" in client.err.wait("revoked")


def test_a_client_is_known_as_soon_as_its_file_is_there(good: Good) -> None:
    path, aside = good.site.home / "clients.d" / "good.toml", good.site.place / "aside"
    path.rename(aside)
    try:
        refused(good.site, good.profile, 77, "does not know this client")
    finally:
        aside.rename(path)


def test_a_broken_file_of_a_client_harms_nobody_else(good: Good) -> None:
    path = good.site.home / "clients.d" / "broken.toml"
    path.write_text("name = ")
    path.chmod(0o600)
    good.is_served()
    assert "broken.toml: not TOML" in good.server.err.wait("broken.toml")
    path.unlink()


# Profiles


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"extra": 1}, "unknown key 'extra'"),
        ({"token": None}, "'token' is missing"),
        ({"token": "A"}, "'token' is not base32"),
        ({"secret": "AAAA"}, "'secret' has 3 bytes, not 32"),
        ({"secret": "?"}, "'secret' is not base64"),
        ({"server_public": base64.b64encode(b"\xff" * 1216).decode()}, "'server_public'"),
        ({"server": "nowhere"}, "'server'"),
        ({"server": []}, "'server' names no address"),
        ({"server": 1}, "'server'"),
        ({"name": "../x"}, "'name'"),
        ({"sealed": "x"}, "passphrase"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_profile_with_a_fault_in_it(serving: Good, values: dict[str, object], said: str) -> None:
    fails(serving.site, 65, said, "forward", "-L", "0:a:1", "-i", serving.changed(**values))


@pytest.mark.parametrize("text", ["", "name = ", "\0", "[" * 20_000, '"' * 100, "x" * (2 << 20)], ids=range(6))
def test_a_profile_that_is_none(serving: Good, text: str) -> None:
    fails(serving.site, 65, "changed.profile: ", "forward", "-L", "0:a:1", "-i", serving.write(text))


def test_a_profile_that_is_no_text(serving: Good) -> None:
    path = serving.write("")
    path.write_bytes(os.urandom(2000))
    refused(serving.site, path, 65, "changed.profile: not a text in UTF-8")


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o601], ids=oct)
def test_a_profile_that_others_may_read(serving: Good, mode: int) -> None:
    path = serving.write(serving.profile.read_text(), mode)
    said = f"permissions {mode:04o} are too open; run: chmod 600 {path}"
    fails(serving.site, 65, said, "forward", "-L", "0:a:1", "-i", path)


def test_no_profile(serving: Good, tmp_path: Path) -> None:
    refused(serving.site, tmp_path / "none", 65, "there is no such file", "nitrosocks keygen")
    refused(serving.site, tmp_path, 65, "a directory; name a file in it")
    fails(serving.site, 65, f"there is no profile in {tmp_path}", "forward", "-L", "0:a:1", "--home", tmp_path)


def test_several_profiles(serving: Good, tmp_path: Path) -> None:
    words = ("connect", "127.0.0.1", serving.echoing, "--home", tmp_path)
    for name in ("one", "two"):
        (tmp_path / f"{name}.profile").write_text(serving.profile.read_text())
        (tmp_path / f"{name}.profile").chmod(0o600)
    fails(serving.site, 255, "one.profile, two.profile; choose one with -i", *words)
    (tmp_path / "two.profile").rename(tmp_path / "default.profile")
    assert serving.site.run(*words).returncode == 0
    (tmp_path / "one.profile").unlink()
    (tmp_path / "default.profile").rename(tmp_path / "only.profile")
    assert serving.site.run(*words).returncode == 0
    fails(serving.site, 255, "none: there is no such file", *words, env={"NITROSOCKS_PROFILE": "none"})


# Words

USAGE = [
    [], ["no-such"], ["forward"], ["connect"], ["serve", "--no-such"], ["serve", "--listen"], ["forward", "-L", "x"],
    ["forward", "-L", "1:2"], ["forward", "-L", "99999:a:1"], ["forward", "-L", "1:a:0"], ["forward", "-L", "1::2"],
    ["forward", "-L", "1:[::1:2"], ["forward", "-L", "0:a:1", "-4", "-6"],
    ["forward", "-L", "0:a:1", "--sessions", "x"], ["forward", "-L", "0:a:1", "--window", "1"],
    ["connect", "host"], ["connect", "host", "x"], ["connect", ":1"],
    ["connect", "a", "0"], ["serve", "--listen", "nowhere"], ["serve", "--listen", ":x"], ["serve", "--drain", "-1"],
    ["serve", "--cipher", "rot13"], ["serve", "--refresh", "x"], ["serve", "--refresh", "0m"],
    ["serve", "--heartbeat", "1"], ["serve", "--resume", "1e3"], ["serve", "--window", "K"], ["keygen", "a"],
    ["serve", "--cert", "a"], ["serve", "--key", "a"], ["keygen", "../a", "--server", "a:1"],
    ["keygen", "a", "--server", "nowhere"], ["keygen", "a", "--server", "a:1", "--permit", "everything"],
]  # fmt: skip


def test_wrong_words(serving: Good) -> None:
    def said(words: list[str]) -> subprocess.CompletedProcess[bytes]:
        profile = ["-i", serving.profile] if {"forward", "connect"} & set(words) else []
        home = ["--home", serving.site.home] if {"serve", "keygen"} & set(words) else []
        return serving.site.run(*words, *profile, *home)

    with ThreadPoolExecutor(4) as threads:
        for words, done in zip(USAGE, threads.map(said, USAGE), strict=True):
            assert (done.returncode, done.stdout) == (64, b""), words
            expect_one_line(done.stderr)


NO_NAMES = [
    ["connect", "\udcff", "1"], ["connect", "a\nb", "1"], ["forward", "-L", "0:\udcff:1"],
    ["forward", "-L", "0:a\nb:1"], ["forward", "-L", "\udcff:0:a:1"], ["forward", "-L", "a..b:0:a:1"],
    ["serve", "--listen", "a..b:0"], ["serve", "--listen", f"{'a' * 64}.example:0"],
]  # fmt: skip


@pytest.mark.parametrize("words", NO_NAMES, ids=ascii)
def test_hosts_that_cannot_be_names(serving: Good, words: list[str]) -> None:
    place = ["--home", serving.site.home] if "serve" in words else ["-i", serving.profile]
    process = serving.site.nitrosocks(*words, *place)
    assert "ready" not in process.err.wait("nitrosocks: ")
    assert process.wait() in (64, 73), str(process.err)
    expect_one_line(str(process.err))


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["keygen"]], ids=" ".join)
def test_nobody_reads_what_is_printed(serving: Good, words: list[str]) -> None:
    """As in `nitrosocks --help | true`: no word of Python's about it."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as stdout:
        process = serving.site.nitrosocks(*words, *(["--home", serving.site.home] * ("keygen" in words)), stdout=stdout)
    process.wait()
    assert "Exception" not in str(process.err) and str(process.err).count("\n") <= 1


def test_help_and_version(serving: Good) -> None:
    said = {"--help": rb"Usage:\n", "-h": rb"Usage:\n", "--version": rb"^nitrosocks \d", "-V": rb"^nitrosocks \d"}
    for word, pattern in said.items():
        done = serving.site.run(word)
        assert (done.returncode, done.stderr) == (0, b"") and re.search(pattern, done.stdout)


# The server's side


def test_a_port_in_use(good: Good) -> None:
    address = f"127.0.0.1:{good.server.port}"
    fails(good.site, 73, f"cannot listen on {address}", "serve", "--listen", address, "--home", good.site.home)


def test_a_certificate_that_cannot_be_used(serving: Good, tmp_path: Path) -> None:
    cert, key = (serving.site.home / name for name in ("tls.crt", "tls.key"))
    (rubbish := tmp_path / "rubbish").write_text("rubbish")
    rubbish.chmod(0o600)
    other = loopback.pem("other")[1]
    pairs = [(rubbish, key), (cert, rubbish), (tmp_path / "none", key), (cert, tmp_path / "none"), (tmp_path, key)]
    for pair in (*pairs, (cert, other), (key, cert)):
        words = ("serve", "--listen", "127.0.0.1:0", "--home", serving.site.home)
        fails(serving.site, 78, str(pair[0]), *words, "--cert", pair[0], "--key", pair[1])


def test_keys_that_others_may_read(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.serve().signal().wait()
        for name in ("server.key", "tls.key"):
            (site.home / name).chmod(0o644)
            fails(site, 65, f"chmod 600 {site.home / name}", "serve", "--listen", "127.0.0.1:0", "--home", site.home)
            (site.home / name).chmod(0o600)
        (site.home / "tls.key").unlink()
        fails(site, 65, "tls.crt is there without tls.key", "serve", "--listen", "127.0.0.1:0", "--home", site.home)


def test_files_that_are_there_are_not_replaced(good: Good, tmp_path: Path) -> None:
    words = ("keygen", "good", "--server", "a:1", "--home", good.site.home)
    fails(good.site, 73, "good.toml exists already", *words, "-o", tmp_path / "new.profile")
    fails(good.site, 73, "good.profile exists already", *("keygen", "new", *words[2:]), "-o", good.profile)
    assert not (good.site.home / "clients.d" / "new.toml").exists()


def test_a_home_that_cannot_be_made(serving: Good, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fails(serving.site, 73, "Not a directory", "keygen", "--home", tmp_path / "file" / "home")
