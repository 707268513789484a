"""Every fault of a home is found in one go; root may run this."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from keys import SERVER

from nitrosocks_lib.crypto.certificate import expiry, leaf_der
from nitrosocks_lib.facts.errors import ConfigurationError
from nitrosocks_lib.files import enrol, profiles
from nitrosocks_lib.files.check import Checked
from nitrosocks_lib.files.writing import write_secret
from nitrosocks_lib.net.connect import server_context

NOW = datetime.now(UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A server's and a client's at once, which is none the worse for it."""
    key, *_ = profiles.ensure_server(tmp_path, NOW)
    for name in ("alice", "bob"):
        profile, client = enrol.make_client(name, ["h:1"], key.public, ["a:1"])
        write_secret(tmp_path / f"{name}.profile", profile)
        write_secret(profiles.client_path(tmp_path, name), client)
    return tmp_path


def checked(home: Path, now: datetime = NOW) -> Checked:
    return Checked(home, now, server_context)


def faults(home: Path, now: datetime = NOW) -> list[str]:
    found = checked(home, now)
    assert all(fault.hint for fault in found.faults)
    return [str(fault).replace(f"{home}/", "") for fault in found.faults]


def test_a_home_without_a_fault(home: Path) -> None:
    found = checked(home)
    assert found.faults == [] and found.notes == []
    assert found.files == ["server.key", "tls.crt", "tls.key", "clients.d/alice.toml", "clients.d/bob.toml",
                           "alice.profile", "bob.profile"]  # fmt: skip


def test_all_faults_are_found_at_once(home: Path) -> None:
    (home / "server.key").chmod(0o640)
    (home / "tls.key").chmod(0o644)
    (home / "clients.d").chmod(0o777)
    (home / "clients.d" / "alice.toml").write_text("permit = [\n  1\n")
    (home / "clients.d" / "bob.toml").chmod(0o604)
    (home / "alice.profile").write_bytes(b"\xff")
    (home / "bob.profile").write_text((home / "bob.profile").read_text().replace('name = "bob"', 'name = "b/b"'))
    found = faults(home)
    assert found == [
        "server.key: permissions 0640 are too open",
        "tls.key: permissions 0644 are too open",
        "clients.d: permissions 0777 let others change what is there",
        "clients.d/alice.toml: not TOML: Unclosed array (at end of document)",
        "clients.d/bob.toml: permissions 0604 are too open",
        "alice.profile: not a text in UTF-8",
        "bob.profile: 'name': 'b/b' is not a name for a client (at line 1)",
    ]


def test_line_ends_and_byte_order_marks_are_none(home: Path) -> None:
    for path in (home / "server.key", home / "clients.d" / "alice.toml", home / "bob.profile"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert faults(home) == []


def test_certificates(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert "tls.crt: the certificate expired at" in faults(home, NOW + timedelta(days=9_000))[0]
    ends = expiry(leaf_der((home / "tls.crt").read_bytes()))
    assert ends is not None and checked(home, ends - timedelta(days=15)).notes == []
    soon = checked(home, ends - timedelta(days=13))
    assert not soon.faults and "tls.crt: the certificate expires at" in soon.notes[0]
    profiles.ensure_server(other := tmp_path_factory.mktemp("other"), NOW)
    (home / "tls.key").write_bytes((other / "tls.key").read_bytes())
    with pytest.raises(ConfigurationError) as caught:
        server_context(home / "tls.crt", home / "tls.key")
    (fault,) = checked(home).faults
    assert str(fault) == str(caught.value) and "remove both tls.crt and tls.key" in fault.hint
    (home / "tls.key").unlink()
    assert faults(home) == ["tls.crt is there without tls.key"]


def test_a_fifo_is_not_read(home: Path) -> None:
    for name in ("tls.crt", "bob.profile", "clients.d/bob.toml"):
        (home / name).unlink()
        os.mkfifo(home / name, 0o600)
    assert faults(home) == [f"{name}: not a regular file" for name in ("tls.crt", "clients.d/bob.toml", "bob.profile")]


def test_a_key_that_is_gone_is_not_to_be_made_anew(home: Path) -> None:
    (home / "server.key").unlink()
    fault = checked(home).faults[0]
    assert "server.key: there is no such file" in str(fault) and "restore it from a backup" in fault.hint
    assert "nitrosocks keygen" not in fault.hint


def test_twins(home: Path) -> None:
    write_secret(home / "clients.d" / "eve.toml", (home / "clients.d" / "bob.toml").read_text())
    assert [fault.partition(",")[0] for fault in faults(home)] == [
        "clients.d/bob.toml: has the same public key as clients.d/eve.toml",
        "clients.d/eve.toml: has the same public key as clients.d/bob.toml",
    ]


def test_a_home_that_is_none(tmp_path: Path) -> None:
    assert "there is no such directory" in str(checked(tmp_path / "none").faults[0])
    assert "no server's key" in str(checked(tmp_path).faults[0])
    write_secret(tmp_path / "a.profile", enrol.make_client("a", ["h:1"], SERVER.public, [])[0])
    assert checked(tmp_path).files == ["a.profile"] and not checked(tmp_path).faults


def test_a_home_that_cannot_be_looked_at(tmp_path: Path) -> None:
    """It is there perhaps. root may look anywhere, but not at such a name."""
    found = checked(tmp_path / ("x" * 256))
    assert [str(fault).rpartition(": ")[2] for fault in found.faults] == ["File name too long"]
