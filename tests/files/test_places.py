"""Directories that others can write to are told, with the line that mends them."""

import os
import stat
from pathlib import Path

import pytest
from keys import SERVER, put

from nitrosocks_lib.facts.errors import KeyFileError
from nitrosocks_lib.files import enrol, profiles
from nitrosocks_lib.files.places import check_place, ending_in
from nitrosocks_lib.files.writing import write_secret

US = os.geteuid()
PROFILE, CLIENT = enrol.make_client("alice", ["h:1"], SERVER.public, [])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file in two directories."""
    write_secret(tmp_path / "home" / "clients.d" / "a.toml", CLIENT)
    return tmp_path / "home" / "clients.d" / "a.toml"


def refused(path: Path, owner_too: bool = False) -> tuple[str, str]:
    with pytest.raises(KeyFileError) as caught:
        check_place(path, owner_too)
    return str(caught.value), caught.value.hint


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> dict[Path, int]:
    """Whom these paths shall belong to."""
    real, belongs = os.stat, {}

    def lying(path: os.PathLike[str], **more: object) -> os.stat_result:
        status = real(path, **more)  # type: ignore[call-overload]
        values = list(status)
        values[stat.ST_UID] = belongs.get(Path(path), status.st_uid)
        return os.stat_result(values)

    monkeypatch.setattr(os, "stat", lying)
    return belongs


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o2770, 0o720])
@pytest.mark.parametrize("up", [0, 1])
def test_a_directory_that_others_can_write_to(path: Path, up: int, mode: int) -> None:
    check_place(path)
    place = path.parents[up]
    place.chmod(mode)
    told = f"{place}: permissions {mode:04o} let others change what is there", f"run: chmod go-w {place}"
    assert refused(path) == refused(path.parent) == told
    assert refused(path, owner_too=True) == told


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o555, 0o1777, 0o1770, 0o2755])
def test_directories_that_others_cannot_harm(path: Path, mode: int) -> None:
    """In a sticky one each can change only what is his own."""
    for place in path.parents[:2]:
        place.chmod(mode)
    check_place(path)


@pytest.mark.parametrize("up", [None, 0, 1])
def test_what_belongs_to_somebody_else(path: Path, owners: dict[Path, int], up: int | None) -> None:
    place = path if up is None else path.parents[up]
    owners[place] = US + 1
    assert refused(path) == (
        f"{place}: belongs to user {US + 1}, who could change what is there",
        f"run this as that user, or run: chown {US} {place}",
    )


def test_root_is_trusted_and_who_owns_the_file_where_it_is_asked_for(
    path: Path, owners: dict[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    above = dict.fromkeys(path.parents, 0)
    owners |= above | {path: 7}
    check_place(path)
    owners |= {path: 8, path.parent: 8}
    check_place(path, owner_too=True)
    refused(path)
    owners[path.parents[1]] = 9
    assert "belongs to user 9" in refused(path, owner_too=True)[0]


def test_a_link_is_judged_where_it_stands_and_where_it_leads(path: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir(mode=0o700)
    link = tmp_path / "links" / "a.toml"
    link.symlink_to(path)
    check_place(link)
    (tmp_path / "links").chmod(0o777)
    assert str(tmp_path / "links") in refused(link)[0]
    (tmp_path / "links").chmod(0o700)
    path.parent.chmod(0o777)
    assert str(path.parent) in refused(link)[0]


def test_what_is_not_there_yet_is_judged_too(path: Path) -> None:
    missing = path.parent / "x" / "y.toml"
    check_place(missing)
    path.parent.chmod(0o777)
    assert str(path.parent) in refused(missing)[0]


def test_names_are_quoted_for_the_shell(tmp_path: Path) -> None:
    place = tmp_path / "my home"
    place.mkdir()
    place.chmod(0o777)
    assert refused(place)[1] == f"run: chmod go-w '{place}'"


def test_a_server_reads_and_makes_nothing_where_others_can_write(path: Path) -> None:
    home = path.parents[1]
    profiles.check_clients(home)
    profiles.load_client(path)
    path.parent.chmod(0o777)
    for judge in (lambda: profiles.check_clients(home), lambda: profiles.load_client(path)):
        with pytest.raises(KeyFileError, match="permissions 0777"):
            judge()
    home.chmod(0o777)
    with pytest.raises(KeyFileError, match="permissions 0777"):
        profiles.ensure_server_key(home)
    assert not (home / "server.key").exists()


def give_away(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to another, and we are root."""
    if not US:
        os.chown(profile, 9, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_a_profile_of_ones_own_may_be_anywhere_that_of_another_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's root has its own in a volume that all may write to; it may read those of others."""
    profile = put(path.parent / "alice.profile", PROFILE)
    path.parent.chmod(0o777)
    assert profiles.load_profile(profile).name == "alice"
    give_away(profile, monkeypatch)
    with pytest.raises(KeyFileError, match="permissions 0777"):
        profiles.load_profile(profile)


def test_what_was_seen_as_ones_own_is_not_another_when_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may write to the directory could put one of his own there meanwhile."""
    profile = put(path.parent / "alice.profile", PROFILE)
    give_away(profile, monkeypatch)
    monkeypatch.setattr(profiles, "_is_ours", lambda _: True)
    with pytest.raises(KeyFileError, match=f"belongs to user {US or 9}, not to 0"):
        profiles.load_profile(profile)


def test_what_ends_so(tmp_path: Path) -> None:
    for name in ("b.profile", "a.profile", ".a.profile", "a.toml", "profile"):
        (tmp_path / name).touch()
    assert ending_in(tmp_path, ".profile") == [tmp_path / "a.profile", tmp_path / "b.profile"]
    assert ending_in(tmp_path / "none", ".profile") == ending_in(tmp_path / "a.toml", ".profile") == []
    with pytest.raises(KeyFileError, match="xx: File name too long"):  # root may look anywhere, but not there
        ending_in(tmp_path / ("x" * 256), ".profile")
