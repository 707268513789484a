"""The files of authorised clients: listed, changed, removed, renamed; root may run this."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from keys import SERVER

from nitrosocks_lib.facts.errors import CannotCreate, KeyFileError, UsageError
from nitrosocks_lib.facts.limits import FILE
from nitrosocks_lib.files import clients, enrol, profiles, seen
from nitrosocks_lib.files.writing import write_secret

NOW = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, rules in {"alice": ["a.example:80", "*:443"], "bob": []}.items():
        _, text = enrol.make_client(name, ["h:1"], SERVER.public, rules, now=NOW)
        write_secret(profiles.client_path(tmp_path, name), text)
    return tmp_path


def text(home: Path, name: str = "alice") -> str:
    return profiles.client_path(home, name).read_text("utf-8")


def rules(home: Path, name: str = "alice") -> tuple[str, ...]:
    return profiles.load_client(profiles.client_path(home, name)).permit.texts


# The list


def test_a_list(home: Path) -> None:
    alice, bob = clients.listed(home)
    assert (alice.name, bob.name, alice.added, alice.last_seen) == ("alice", "bob", "2026-11-27T12:30:00Z", None)
    assert alice.client is not None and alice.client.permit.texts == ("a.example:80", "*:443")
    assert alice.fingerprint.startswith("SHA256:") and alice.fingerprint != bob.fingerprint


def test_the_list_says_when_a_client_was_seen(home: Path) -> None:
    client_id = profiles.load_client(profiles.client_path(home, "bob")).authorised.public.client_id
    directory = seen.prepare(home)
    assert directory is not None
    seen.note(directory, client_id)
    os.utime(directory / client_id.hex(), (NOW.timestamp(),) * 2)
    assert [one.last_seen for one in clients.listed(home)] == [None, NOW]


def test_faulty_files_are_listed_with_their_fault(home: Path) -> None:
    path = profiles.client_path(home, "alice")
    path.write_text(text(home).replace('"*:443"', '"443"'))
    (home / "clients.d" / ".hidden.toml").write_text("")
    (home / "clients.d" / "note").write_text("")
    alice, bob = clients.listed(home)
    assert "'permit': rule '443' has no host (at line 6)" in str(alice.fault) and not bob.fault
    path.write_text(text(home, "bob"))
    alice, bob = clients.listed(home)
    assert "alice.toml: has the same public key as" in str(alice.fault) and "bob.toml: has the same" in str(bob.fault)


def test_an_empty_home(tmp_path: Path) -> None:
    assert clients.listed(tmp_path) == clients.paths(tmp_path / "none") == []


# Rules


def test_rules_are_added_and_removed(home: Path) -> None:
    before = text(home)
    now, there = clients.permit(home, "alice", ["b.example:22", "A.example:80", "b.example:22"])
    assert now.texts == rules(home) == ("a.example:80", "*:443", "b.example:22")
    assert there == ["a.example:80", "b.example:22"]
    left, wider = clients.forbid(home, "alice", ["B.EXAMPLE:22"])
    assert left.texts == rules(home) == ("a.example:80", "*:443") and wider == {}
    assert text(home) == before and os.listdir(home / "clients.d") == sorted(["alice.toml", "bob.toml"])
    assert clients.forbid(home, "alice", ["a.example:80", "*:443"])[0].texts == ()


def test_what_a_wider_rule_still_permits_is_told(home: Path) -> None:
    clients.permit(home, "alice", ["x.example:443"])
    assert clients.forbid(home, "alice", ["x.example:443"])[1] == {"x.example:443": ["*:443"]}
    with pytest.raises(UsageError, match="alice has no rule 'x.example:443', and nothing was changed") as caught:
        clients.forbid(home, "alice", ["a.example:80", "x.example:443"])
    assert "'*:443'" in caught.value.hint and "a.example:80" in rules(home)


def test_mode_comments_and_links_stay(home: Path) -> None:
    path = profiles.client_path(home, "alice")
    write_secret(home / "elsewhere", text(home).replace('"*:443",', '"*:443", # web'))
    path.unlink()
    path.symlink_to("../elsewhere")
    (home / "elsewhere").chmod(0o400)
    clients.permit(home, "alice", ["b:1"])
    assert path.is_symlink() and '    "*:443", # web\n    "b:1",\n]' in text(home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400


@pytest.mark.parametrize("bad", ["x", "a:0", "a b:1"])
def test_what_is_no_rule_changes_nothing(home: Path, bad: str) -> None:
    before = text(home)
    for change in (clients.permit, clients.forbid):
        with pytest.raises(UsageError):
            change(home, "alice", ["b:1", bad])
    assert text(home) == before


def test_rules_that_are_too_many(home: Path) -> None:
    before = text(home)
    with pytest.raises(UsageError, match=f"more than {FILE >> 10} KiB"):
        clients.permit(home, "alice", [f"10.0.0.1:{port}" for port in range(1, 2_000)])
    assert text(home) == before


def test_a_disk_that_is_full_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = text(home)
    monkeypatch.setattr(os, "fsync", full)
    for change in (lambda: clients.permit(home, "alice", ["b:1"]), lambda: clients.rename(home, "alice", "c")):
        with pytest.raises(CannotCreate, match="cannot be changed: No space left on device"):
            change()
    assert text(home) == before and os.listdir(home / "clients.d") == sorted(["alice.toml", "bob.toml"])


def test_a_file_with_a_fault_is_left_alone(home: Path) -> None:
    path = profiles.client_path(home, "alice")
    path.write_text("permit = [\n")
    for change in (lambda: clients.permit(home, "alice", ["b:1"]), lambda: clients.rename(home, "alice", "c")):
        with pytest.raises(KeyFileError, match="not TOML"):
            change()
    assert path.read_text() == "permit = [\n"


# Names


def test_a_client_is_revoked_whatever_its_fault(home: Path) -> None:
    assert clients.revoke(home, "alice") == []
    profiles.client_path(home, "bob").write_text("x")
    assert clients.revoke(home, "bob") == [] and os.listdir(home / "clients.d") == []


def test_who_is_revoked_is_forgotten_and_a_second_file_is_told(home: Path) -> None:
    write_secret(profiles.client_path(home, "eve"), text(home))
    client_id = profiles.load_client(profiles.client_path(home, "eve")).authorised.public.client_id
    directory = seen.prepare(home)
    assert directory is not None
    seen.note(directory, client_id)
    assert clients.revoke(home, "alice") == ["eve"]
    assert seen.when(home, client_id) is None


def test_a_client_is_renamed(home: Path) -> None:
    before = text(home)
    assert clients.rename(home, "alice", "carol") == profiles.client_path(home, "carol")
    assert text(home, "carol") == before.replace('name = "alice"', 'name = "carol"')
    assert os.listdir(home / "clients.d") == sorted(["bob.toml", "carol.toml"])


def test_no_client_takes_the_place_of_another(home: Path) -> None:
    before = text(home, "bob")
    with pytest.raises(CannotCreate, match="exists already"):
        clients.rename(home, "alice", "bob")
    with pytest.raises(UsageError):
        clients.rename(home, "alice", "../x")
    assert text(home, "bob") == before and 'name = "alice"' in text(home)


def test_a_name_that_is_not_there(home: Path) -> None:
    for change in (lambda: clients.revoke(home, "alcie"), lambda: clients.permit(home, "alcie", ["a:1"])):
        with pytest.raises(KeyFileError, match="there is no client 'alcie'") as caught:
            change()
        assert "did you mean 'alice'? 2 clients are in" in caught.value.hint
    with pytest.raises(KeyFileError) as caught:
        clients.find(home, "zzz")
    assert "mean" not in caught.value.hint
    with pytest.raises(UsageError):
        clients.find(home, "../x")
    with pytest.raises(KeyFileError) as caught:
        clients.find(home / "empty", "alice")
    assert caught.value.hint == f"0 clients are in {home}/empty/clients.d; name another home directory with --home DIR"


def test_rules_to_listen_are_changed_in_the_same_file(home: Path) -> None:
    before = text(home)
    now, there = clients.permit_listening(home, "alice", ["127.0.0.1:8000-8100", "*:8080"])
    assert now.texts == ("127.0.0.1:8000-8100", "*:8080") and not there
    again, there = clients.permit_listening(home, "alice", ["0.0.0.0:8080"])
    assert again == now and there == ["0.0.0.0:8080"]
    left = clients.forbid_listening(home, "alice", ["[::]:8080"])
    assert left.texts == ("127.0.0.1:8000-8100",)
    with pytest.raises(UsageError, match=r"alice has no rule --listen '\*:1', and nothing was changed"):
        clients.forbid_listening(home, "alice", ["127.0.0.1:8000-8100", "*:1"])
    assert text(home).endswith(before) and clients.listed(home)[0].client is not None
