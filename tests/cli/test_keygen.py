"""keygen: on failure nothing has changed, and what can be found wrong at once is told at once."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from program import NITROSOCKS, Site, expect_one_line


@pytest.fixture
def site(tmp_path: Path):
    with Site(tmp_path) as made:
        yield made


def keygen(site: Site, name: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    return site.run("keygen", name, "--server", "a:1", "--home", site.home, *words)


def files(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


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


def test_modes(site: Site) -> None:
    assert keygen(site, "bob").returncode == 0
    for path in (site.place / "bob.profile", site.home / "clients.d" / "bob.toml", site.home / "server.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", ".", "/", "-x", "--", ".x", "a\x1b[31m", "a\nb", "x" * 65])
def test_what_is_no_name_makes_nothing(site: Site, name: str) -> None:
    """Not the server's key either, which `keygen` without a name makes."""
    done = site.run("keygen", "--home", site.home, "--server", "a:1", "--", name)
    assert done.returncode == 64 and expect_one_line(done.stderr).isprintable()
    assert site.run("keygen", "--home", site.home, "--", name).returncode == 64
    assert not site.home.exists() and files(site.place) == {}


@pytest.mark.parametrize("option", ["-o", "--home"])
def test_a_file_without_a_name_is_no_file(site: Site, option: str) -> None:
    words = ["--home", site.home] if option != "--home" else []
    done = site.run("keygen", "bob", "--server", "a:1", *words, option, "")
    assert done.returncode == 64 and f"{option} is empty" in expect_one_line(done.stderr)
    assert files(site.place) == {}


def test_rules_that_are_too_many_for_a_file(site: Site) -> None:
    assert site.run("keygen", "--home", site.home).returncode == 0
    done = keygen(site, "bob", *(word for number in range(2_000) for word in ("--permit", f"10.0.0.1:{number + 1}")))
    assert done.returncode == 64 and "more than 16 KiB" in expect_one_line(done.stderr)
    assert not (site.home / "clients.d").exists() and not (site.place / "bob.profile").exists()


def test_a_home_that_others_can_write_to(site: Site) -> None:
    site.home.mkdir()
    site.home.chmod(0o777)
    for words in (["keygen"], ["serve", "--listen", "127.0.0.1:0"]):
        done = site.run(*words, "--home", site.home)
        assert done.returncode == 65 and f"run: chmod go-w {site.home}" in expect_one_line(done.stderr)
    assert os.listdir(site.home) == []


def test_names_are_written_as_they_were_typed_in_a_locale_without_utf_8(site: Site) -> None:
    locale, profile = ["env", "LC_ALL=C", "PYTHONCOERCECLOCALE=0", "PYTHONUTF8=0"], site.home.parent / "a.profile"
    words = ("keygen", "a", "--server", "中文.test:1", "--permit", "中文.test:80", "--home", site.home, "-o", profile)
    run = site.call(*locale, *NITROSOCKS, *words)
    assert run.returncode == 0, run.stderr
    written = profile.read_text("utf-8") + (site.home / "clients.d" / "a.toml").read_text("utf-8")
    assert 'server = "中文.test:1"' in written and '"中文.test:80"' in written
