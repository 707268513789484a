"""keygen: on failure nothing has changed, and what can be found wrong at once is told at once."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import program
import pytest
from program import NITROSOCKS, Site, expect_one_line
from service import NOBODY, home_of_a_service

site = program.own_site
service = home_of_a_service


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


def test_a_directory_for_the_profile_is_not_made(site: Site) -> None:
    done = keygen(site, "bob", "-q", "-o", site.place / "none" / "x.profile")
    said = expect_one_line(done.stderr)
    assert done.returncode == 73 and f"there is no directory {site.place / 'none'}; make it first" in said
    assert not (site.place / "none").exists() and not list((site.home / "clients.d").glob("*"))


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o600])
def test_a_profile_that_the_shell_writes_into_a_file(site: Site, mode: int) -> None:
    words = ["keygen", "bob", "--server", "a:1", "--home", site.home, "-o", "-"]
    with (site.place / "profile").open("wb") as file:
        os.fchmod(file.fileno(), mode)
        process = site.nitrosocks(*words, stdout=file)
        assert process.wait() == 0
    told = f"a file with mode {mode:04o}, and is refused with it: run chmod 600, or use -o FILE"
    assert (told in str(process.err)) == (mode != 0o600)
    assert stat.S_IMODE((site.place / "profile").stat().st_mode) == mode


def test_a_signal_leaves_nothing(site: Site) -> None:
    """It comes while the profile is handed over: what reads it does not."""
    assert site.run("keygen", "--home", site.home).returncode == 0
    before = files(site.place)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb"), open(writing, "wb", buffering=0) as full:
        while full.write(b"x" * 65_536):
            pass
        os.set_blocking(writing, True)
        process = site.nitrosocks("keygen", "bob", "--server", "a:1", "--home", site.home, "-o", "-", stdout=full)
        while not (site.home / "clients.d" / "bob.toml").exists():
            assert process.popen.poll() is None
        assert process.signal(signal.SIGTERM).wait() == 128 + signal.SIGTERM
    assert files(site.place) == before


def test_root_leaves_the_files_in_the_home_of_a_service_to_it(service: Site) -> None:
    assert keygen(service, "bob", "--permit", "a:1").returncode == 0
    made = list(service.home.rglob("*"))
    assert {path.name for path in made} == {"server.key", "clients.d", "bob.toml"}
    assert all(path.stat().st_uid == NOBODY for path in made)
    assert (service.place / "bob.profile").stat().st_uid == 0
    assert service.run("keygen", "--home", service.home).returncode == 0
    assert (service.home / "tls.key").stat().st_uid == NOBODY


def test_a_link_of_the_service_leads_root_nowhere(service: Site, tmp_path: Path) -> None:
    (tmp_path / "roots").mkdir(mode=0o700)
    (service.home / "clients.d").symlink_to(tmp_path / "roots")
    done = keygen(service, "bob")
    assert done.returncode in (65, 73) and expect_one_line(done.stderr)
    assert not list((tmp_path / "roots").iterdir())
    assert not (service.place / "bob.profile").exists()


def test_root_that_may_become_nobody_else(service: Site) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    words = ["keygen", "bob", "--server", "a:1", "--home", service.home]
    done = service.call("setpriv", "--bounding-set=-setuid,-setgid", *NITROSOCKS, *words)
    assert done.returncode == 73 and f"belongs to user {NOBODY}" in expect_one_line(done.stderr)
    assert not list(service.home.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("pages", [1, 2, 4, 5, 6, 8, 16])
def test_a_full_disk(site: Site, pages: int) -> None:
    """Each file is whole or not there, whatever is left of room."""
    mount = f"mount -t tmpfs -o size={pages * 4096},mode=700 none {site.place} || exit 99"
    script = f'{mount}; cd {site.place}; "$@"; code=$?; find . -type f -printf "%f %s\\n"; exit $code'
    words = ["keygen", "bob", "-q", "--server", "a:1", "--home", site.home, "-o", "bob.profile"]
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    done = site.call("unshare", "-m", "sh", "-c", script, "sh", *NITROSOCKS, *words)
    if done.returncode == 99:
        pytest.skip("may not mount")
    found = dict(line.split() for line in done.stdout.decode().splitlines())
    assert all(name in ("server.key", "bob.toml", "bob.profile") and int(size) > 1_000 for name, size in found.items())
    assert done.returncode == (0 if len(found) == 3 else 73), (found, done.stderr)
    assert done.returncode == 0 or ("bob.toml" not in found and "No space left" in expect_one_line(done.stderr))


def test_the_current_directory_is_gone(site: Site) -> None:
    """What has a whole path does not need it."""
    gone = ["/bin/sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh", *NITROSOCKS]
    assert site.call(*gone, "keygen", "--home", site.home).returncode == 0
    done = site.call(*gone, "keygen", "--home", "near")
    told = "nitrosocks: the current directory is gone; change to another one, or name whole paths"
    assert (done.returncode, expect_one_line(done.stderr)) == (73, told)
