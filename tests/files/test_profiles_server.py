"""The home directory and the server's files in it: the second part of the tests of profiles."""

import os
import pwd
import ssl
import stat
import threading
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import tomli_w
from keys import SERVER, put, unlined

from nitrosocks_lib.crypto.identity import ServerKey
from nitrosocks_lib.facts.errors import CannotCreate, ConfigurationError, KeyFileError
from nitrosocks_lib.files import profiles, remembered
from nitrosocks_lib.files.keyfiles import b64

NOW = datetime.now(UTC)


# Home


@pytest.mark.parametrize(
    ("option", "environ", "expected"),
    [
        ("/opt", {"NITROSOCKS_HOME": "/env", "XDG_CONFIG_HOME": "/xdg", "HOME": "/home/a"}, "/opt"),
        (None, {"NITROSOCKS_HOME": "/env", "XDG_CONFIG_HOME": "/xdg", "HOME": "/home/a"}, "/env"),
        (None, {"XDG_CONFIG_HOME": "/xdg", "HOME": "/home/a"}, "/xdg/nitrosocks"),
        (None, {"HOME": "/home/a"}, "/home/a/.config/nitrosocks"),
        ("", {"NITROSOCKS_HOME": "", "XDG_CONFIG_HOME": "", "HOME": "/home/a"}, "/home/a/.config/nitrosocks"),
        (None, {"XDG_CONFIG_HOME": "relative", "HOME": "/home/a"}, "/home/a/.config/nitrosocks"),
        ("here", {"HOME": "/home/a"}, "here"),
    ],
)
def test_home(option: str | None, environ: dict[str, str], expected: str) -> None:
    assert profiles.home(option, environ) == Path(expected)


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}])
def test_home_without_any_environment_is_that_of_the_list_of_users(environ: dict[str, str]) -> None:
    assert profiles.home(None, environ) == Path(pwd.getpwuid(os.getuid()).pw_dir, ".config/nitrosocks")


def test_a_user_without_a_home_is_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(ConfigurationError, match="has no home directory") as caught:
        profiles.home(None, {})
    assert "--home" in str(caught.value.hint) and remembered.state({}) is None
    assert profiles.home("here", {}) == Path("here")


# The server


def test_a_server_gets_what_it_lacks(tmp_path: Path) -> None:
    home = tmp_path / "home"
    key, cert, private, made = profiles.ensure_server(home, NOW)
    assert made == [str(home / "server.key"), str(home / "tls.crt"), str(home / "tls.key")]
    assert (cert, private) == (home / "tls.crt", home / "tls.key")
    assert sorted(os.listdir(home)) == ["server.key", "tls.crt", "tls.key"]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for path in (home / "server.key", private):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, private)
    assert tomllib.loads((home / "server.key").read_text()) == {"secret": b64(key.seed), "public": b64(key.public)}


def test_whether_there_are_clients(tmp_path: Path) -> None:
    """A file with a fault is one, too; what cannot be seen may hold some."""
    assert not profiles.has_clients(tmp_path)
    clients = tmp_path / "clients.d"
    clients.mkdir()
    for name in (".alice.toml", "alice.toml~"):
        (clients / name).touch()
    assert not profiles.has_clients(tmp_path)
    (clients / "alice.toml").touch()
    assert profiles.has_clients(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "clients.d").touch()
    assert profiles.has_clients(tmp_path / "other")


def test_what_a_server_has_stays(tmp_path: Path) -> None:
    key, made = profiles.ensure_server_key(tmp_path)
    assert made == [str(tmp_path / "server.key")] and os.listdir(tmp_path) == ["server.key"]
    again, cert, private, made = profiles.ensure_server(tmp_path, NOW)
    assert again.seed == key.seed and made == [str(cert), str(private)]
    before = cert.read_bytes(), private.read_bytes()
    again, *_, made = profiles.ensure_server(tmp_path, NOW)
    assert again.seed == key.seed and made == [] and (cert.read_bytes(), private.read_bytes()) == before
    (tmp_path / "server.key").unlink()
    other, *_, made = profiles.ensure_server(tmp_path, NOW)
    assert other.seed != key.seed and made == [str(tmp_path / "server.key")]


@pytest.mark.parametrize(("gone", "left"), [("tls.crt", "tls.key"), ("tls.key", "tls.crt")])
def test_half_a_pair_is_not_replaced(tmp_path: Path, gone: str, left: str) -> None:
    profiles.ensure_server(tmp_path, NOW)
    (tmp_path / gone).unlink()
    with pytest.raises(KeyFileError, match=f"{left} is there without {gone}") as caught:
        profiles.ensure_server(tmp_path, NOW)
    assert "restore" in caught.value.hint and not (tmp_path / gone).exists()


@pytest.mark.parametrize("name", ["server.key", "tls.key"])
def test_a_server_refuses_secrets_that_others_may_read(tmp_path: Path, name: str) -> None:
    profiles.ensure_server(tmp_path, NOW)
    (tmp_path / name).chmod(0o644)
    with pytest.raises(KeyFileError, match=f"{name}: permissions 0644 are too open"):
        profiles.ensure_server(tmp_path, NOW)


def test_servers_that_start_together_agree(tmp_path: Path) -> None:
    home, start, results = tmp_path / "home", threading.Barrier(6), []

    def run() -> None:
        start.wait()
        key, cert, private, made = profiles.ensure_server(home, NOW)
        results.append((key.seed, cert.read_bytes(), private.read_bytes(), made))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6 and len({result[:3] for result in results}) == 1
    assert sorted(path for result in results for path in result[3]) == sorted(str(path) for path in home.iterdir())


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate) as caught:
        profiles.ensure_server(tmp_path / "file", NOW)
    assert "--home" in caught.value.hint


SERVER_FILE = tomli_w.dumps({"secret": b64(SERVER.seed), "public": b64(SERVER.public)})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"secret": None}, "'secret' is missing"),
        ({"public": None}, "'public' is missing"),
        ({"secret": 1}, "'secret' is not a text"),
        ({"secret": "x"}, "'secret' is not base64"),
        ({"secret": b64(bytes(31))}, "'secret' has 31 bytes, not 32"),
        ({"secret": b64(bytes(32))}, "'public' does not belong to 'secret'"),
        ({"public": b64(ServerKey(bytes(32)).public)}, "'public' does not belong to 'secret'"),
        ({"public": b64(SERVER.public[:-1])}, "'public' has 1215 bytes, not 1216"),
        ({"token": "x", "Secret": "y"}, "unknown key 'Secret', 'token'"),
    ],
)
def test_bad_server_keys(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    path = put(tmp_path / "server.key", SERVER_FILE, **changes)
    with pytest.raises(KeyFileError) as caught:
        profiles.load_server(path)
    assert unlined(caught.value) == f"{path}: {reason}" and caught.value.hint


def test_a_profile_or_a_clients_file_is_no_server_key(tmp_path: Path) -> None:
    for row, told in {
        ("name", "server_public", "secret", "token"): "this is a client's profile",
        ("name", "public", "token"): "this is the server's file of a client",
    }.items():
        path = put(tmp_path / "server.key", "".join(f'{key} = "x"\n' for key in row))
        with pytest.raises(KeyFileError) as caught:
            profiles.load_server(path)
        assert str(caught.value) == f"{path}: {told}, and another file belongs here" and "backup" in caught.value.hint


def test_server_keys(tmp_path: Path) -> None:
    assert profiles.load_server(put(tmp_path / "server.key", SERVER_FILE)).public == SERVER.public
    with pytest.raises(KeyFileError, match="no such file") as caught:
        profiles.load_server(tmp_path / "other.key")
    assert "nitrosocks keygen" in caught.value.hint
