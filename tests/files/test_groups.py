"""Groups of rules in clients.d/_groups.toml: judged as a client's file, and needed only where a rule names one."""

from pathlib import Path

import pytest
from keys import SERVER

from nitrosocks_lib.facts.errors import KeyFileError
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.files import clients, enrol, groups, profiles
from nitrosocks_lib.files.writing import write_secret

WEB = {"web": ("intranet.example:80", "!10.0.0.0/8:*")}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, rules in {"alice": ["@web", "b.example:1"], "bob": ["a.example:1"]}.items():
        _, text = enrol.make_client(name, ["h:1"], SERVER.public, rules, groups=WEB)
        write_secret(profiles.client_path(tmp_path, name), text)
    write_secret(tmp_path / "clients.d" / "_groups.toml", 'web = ["intranet.example:80", "!10.0.0.0/8:*"]\n')
    return tmp_path


def test_a_group_is_read_with_its_client_and_is_no_client_itself(home: Path) -> None:
    alice, bob = clients.listed(home)
    assert alice.client is not None and alice.client.permit.texts == ("@web", "b.example:1") and not bob.fault
    assert alice.client.permit.permits("intranet.example", "8.8.8.8", 80, Kind.TCP)
    assert groups.load(home / "clients.d" / "_groups.toml") == WEB


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "'permit': rule '@web': there is no such group in _groups.toml (at line "),
        ('web = ["intranet:0"]', "_groups.toml: 'web': rule 'intranet:0': '0' is not a port (at line 1)"),
        ('web = ["@web"]', "_groups.toml: 'web': rule '@web': a group has no groups"),
        ('"w b" = []', "_groups.toml: 'w b': rule '@w b': a group has a name of"),
        ("web = 1", "_groups.toml: 'web' is not a list of texts"), ("web", "_groups.toml: not TOML"),
    ],
)  # fmt: skip
def test_a_fault_is_one_of_those_who_need_it(home: Path, text: str, fault: str) -> None:
    (home / "clients.d" / "_groups.toml").write_text(text)
    alice, bob = clients.listed(home)
    assert fault in str(alice.fault) and bob.fault is None


def test_a_file_that_others_may_read_is_refused(home: Path) -> None:
    (home / "clients.d" / "_groups.toml").chmod(0o644)
    with pytest.raises(KeyFileError, match="too open"):
        profiles.load_client(profiles.client_path(home, "alice"))
    profiles.load_client(profiles.client_path(home, "bob"))


def test_groups_are_added_and_removed_as_rules_are(home: Path) -> None:
    now, _ = clients.permit(home, "bob", ["@web", "!c.example:1"])
    assert now.texts == ("!c.example:1", "a.example:1", "@web")
    assert profiles.load_client(profiles.client_path(home, "bob")).permit == now
    assert clients.forbid(home, "bob", ["@web", "!c.example:1"])[0].texts == ("a.example:1",)
