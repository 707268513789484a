"""keygen and serve: on failure nothing has changed, and what can be found wrong at once is told at once."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from loopback import pem
from program import Process, Site, expect_one_line


@pytest.fixture
def site(tmp_path: Path):
    with Site(tmp_path) as made:
        yield made


def keygen(site: Site, name: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    return site.run("keygen", name, "--server", "a:1", "--home", site.home, *words)


def files(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


# Profiles


@pytest.mark.parametrize("words", [(), ("--force",)], ids=str)
@pytest.mark.parametrize("place", ["/proc/nope/x", "directory", ".", "/", "file/x", "fifo"])
def test_a_profile_that_cannot_be_written_leaves_all_as_it_was(site: Site, place: str, words: tuple[str, ...]) -> None:
    assert keygen(site, "bob", "-o", "bob.profile").returncode == 0
    (site.place / "directory").mkdir()
    (site.place / "file").touch()
    os.mkfifo(site.place / "fifo")
    before = files(site.place)
    for name in ("bob", "new") if words else ("new",):
        done = keygen(site, name, "-o", place, *words)
        assert done.returncode == 73 and place in expect_one_line(done.stderr)
        assert files(site.place) == before
    assert stat.S_ISFIFO((site.place / "fifo").stat().st_mode)


def test_an_authorisation_that_cannot_be_written_leaves_the_profile(site: Site) -> None:
    assert keygen(site, "bob", "-o", "bob.profile").returncode == 0
    authorisation = site.home / "clients.d" / "bob.toml"
    authorisation.unlink()
    authorisation.mkdir()
    before = files(site.place)
    assert keygen(site, "bob", "-o", "bob.profile", "--force").returncode == 73
    assert files(site.place) == before


def test_both_are_replaced_by_force(site: Site) -> None:
    assert keygen(site, "bob").returncode == 0
    before = files(site.place)
    assert keygen(site, "bob").returncode == 73 and files(site.place) == before
    assert keygen(site, "bob", "--force").returncode == 0
    after = files(site.place)
    changed = {name for name in after if after[name] != before[name]}
    assert after.keys() == before.keys() and changed == {"bob.profile", "home/clients.d/bob.toml"}


def test_a_rule_that_permits_nothing_is_told(site: Site) -> None:
    words = [word for rule in ("localhost:22", "db.example:*", "127.0.0.1:80") for word in ("--permit", rule)]
    done = keygen(site, "bob", *words)
    assert done.returncode == 0
    lines = [line for line in done.stderr.decode().splitlines() if "permits nothing" in line]
    assert len(lines) == 1 and "localhost:22" in lines[0] and lines[0].endswith("write 127.0.0.1:22")


# The server


@pytest.mark.parametrize(
    "words",
    [("--listen", "x"), ("--listen", "8443"), ("--cipher", "x"), ("--drain", "x"), ("--refresh", "x"),
     ("--window", "1"), ("--resume", "x"), ("--heartbeat", "1")],
    ids=" ".join,
)  # fmt: skip
def test_wrong_options_leave_no_files(site: Site, words: tuple[str, ...]) -> None:
    done = site.run("serve", "--home", site.home, *words)
    assert done.returncode == 64 and words[1] in expect_one_line(done.stderr)
    assert not site.home.exists()


def test_a_key_of_ones_own_that_others_may_read(site: Site) -> None:
    cert, key = pem("server")
    key.chmod(0o640)
    done = site.run("serve", "--listen", "127.0.0.1:0", "--home", site.home, "--cert", cert, "--key", key)
    assert done.returncode == 65
    assert expect_one_line(done.stderr).endswith(f"{key}: permissions 0640 are too open; run: chmod 600 {key}")
    key.chmod(0o600)
    site.serve("--cert", cert, "--key", key)


def test_an_encrypted_key_is_told_and_not_asked_for(site: Site) -> None:
    cert, key = pem("server")
    locked = site.place / "locked.key"
    words = ["openssl", "pkey", "-in", key, "-out", locked, "-aes256", "-passout", "pass:word"]
    subprocess.run(words, check=True)
    locked.chmod(0o600)
    done = site.run("serve", "--listen", "127.0.0.1:0", "--home", site.home, "--cert", cert, "--key", locked)
    line = expect_one_line(done.stderr.splitlines(keepends=True)[-1])
    assert done.returncode == 78 and "the key is encrypted" in line and "pass phrase" not in done.stderr.decode()


def test_faulty_client_files_are_told_at_the_start(site: Site) -> None:
    assert keygen(site, "bob").returncode == 0
    path = site.home / "clients.d" / "bob.toml"
    path.chmod(0o644)
    assert f"{path}: permissions 0644 are too open" in str(site.serve().err)


def status(process: Process) -> str:
    process.signal(signal.SIGUSR1)
    return process.err.wait(", up ")


def test_a_status_line(site: Site) -> None:
    server = site.serve()
    assert status(server).startswith("nitrosocks: 0 sessions, 0 streams, up ")
    client = site.forward(site.profile("bob", server.port), "0:127.0.0.1:1")
    assert status(client).startswith("nitrosocks: ") and "sessions made so far, up " in str(client.err)
    for process in (client, server):
        assert process.signal().wait() == 0


def test_modes(site: Site) -> None:
    assert keygen(site, "bob").returncode == 0
    for path in (site.place / "bob.profile", site.home / "clients.d" / "bob.toml", site.home / "server.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
