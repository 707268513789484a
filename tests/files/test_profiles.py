"""Authorised clients and profiles; test_profiles_server.py has the rest."""

from pathlib import Path

import pytest
from keys import SERVER, put, unlined

from nitrosocks_lib.crypto.identity import ClientKey
from nitrosocks_lib.facts.errors import KeyFileError, UsageError
from nitrosocks_lib.facts.wire import Kind
from nitrosocks_lib.files import enrol, profiles
from nitrosocks_lib.files.keyfiles import b32, b64
from nitrosocks_lib.protocol.frames import Target

RULES = ["db.example:*"], ["127.0.0.1:*"]
PROFILE, CLIENT = enrol.make_client("alice", ["tunnel.example:443"], SERVER.public, *RULES)


# Clients


def test_a_client_and_its_profile_fit_together(tmp_path: Path) -> None:
    profile = profiles.load_profile(put(profiles.profile_path(tmp_path, "alice"), PROFILE))
    client = profiles.load_client(put(profiles.client_path(tmp_path, "alice"), CLIENT))
    assert (tmp_path / "alice.profile").exists() and (tmp_path / "clients.d" / "alice.toml").exists()
    assert profile.name == client.name == client.authorised.name == "alice"
    assert profile.servers == (("tunnel.example", 443),)
    assert profile.credentials.server_public == SERVER.public
    assert profile.credentials.key.public == client.authorised.public.raw
    assert profile.credentials.token == client.authorised.token and len(client.authorised.token) == 32
    assert client.permit.permits("db.example", "10.0.0.1", 5432, Kind.TCP)
    assert not client.permit.permits("x.example", "10.0.0.1", 5432, Kind.TCP)
    assert client.listen.places(Target(Kind.TCP, "127.0.0.1", 8000)) is not None


def test_several_servers_are_kept_in_order(tmp_path: Path) -> None:
    text, _ = enrol.make_client("a", ["one.example:443", "[2001:db8::1]:8443"], SERVER.public, [])
    profile = profiles.load_profile(put(tmp_path / "a.profile", text))
    assert profile.servers == (("one.example", 443), ("2001:db8::1", 8443))


def test_a_client_without_rules_may_nothing(tmp_path: Path) -> None:
    client = profiles.load_client(put(tmp_path / "a.toml", CLIENT, permit=None, listen=None))
    assert client.permit.texts == client.listen.texts == ()


def test_directories_of_sockets(tmp_path: Path) -> None:
    """What their rules name, with wildcards, too, as far as it is there."""
    for name in ("run/a", "run/.b", "run/c/d", "other"):
        (tmp_path / name).mkdir(parents=True)
    rules = [f"{tmp_path}/run/*/*.sock", f"{tmp_path}/gone/*.sock", f"{tmp_path}/other/x", "127.0.0.1:8080", "/x"]
    put(profiles.client_path(tmp_path, "alice"), CLIENT, listen=rules)
    put(profiles.client_path(tmp_path, "bob"), CLIENT, listen=["*"])
    found = {tmp_path / name for name in ("run/a", "run/.b", "run/c", "other")} | {Path("/")}
    assert set(profiles.socket_places(tmp_path)) == found


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x_", "x-", "9", "n" * 64, "a..b"])
def test_names(tmp_path: Path, name: str) -> None:
    enrol.make_client(name, ["h:1"], SERVER.public, [])
    assert profiles.client_path(tmp_path, name).parent == tmp_path / "clients.d"


BAD_NAMES = ["", ".", "..", ".a", "-x", "--force", "/", "a/b", "../a", "a b", "ä", "a\n", "a\0",
              "a\x1b[31m", "n" * 65, "a:b", "٣"]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(tmp_path: Path, name: str) -> None:
    for make in (profiles.client_path, profiles.profile_path):
        with pytest.raises(UsageError, match="is not a name for a client") as caught:
            make(tmp_path, name)
        assert caught.value.hint
    with pytest.raises(UsageError, match="is not a name for a client"):
        enrol.make_client(name, ["h:1"], SERVER.public, [])


NO_KEY = b"\xff" * 1184 + ClientKey(bytes(32)).public[1184:]  # ML-KEM coefficients out of range
SMALL_ORDER = ClientKey(bytes(32)).public[:1184] + bytes(32) + ClientKey(bytes(32)).public[1216:]  # of X25519


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": None}, "'name' is missing"),
        ({"name": "../x"}, "'name': '../x' is not a name for a client"),
        ({"name": 5}, "'name' is not a text"),
        ({"public": None, "token": None}, "'public', 'token' are missing"),
        ({"public": "?"}, "'public' is not base64"),
        ({"public": b64(SERVER.public)}, "'public' has 1216 bytes, not 3200"),
        ({"public": b64(NO_KEY)}, "'public': not a KEM public key"),
        ({"public": b64(SMALL_ORDER)}, "'public': not a usable KEM public key"),
        ({"token": b32(bytes(20))}, "'token' has 20 bytes, not 32"),
        ({"token": b64(bytes(32))}, "'token' is not base32 without padding"),
        ({"permit": "host:1"}, "'permit' is not a list of texts"),
        ({"permit": [22]}, "'permit' is not a list of texts"),
        ({"permit": ["host"]}, "'permit': rule 'host' has no port"),
        ({"listen": ["*:1-0"]}, "'listen': rule '*:1-0': '1-0' is not a port"),
        ({"permits": []}, "unknown key 'permits'"),
        ({"secret": "x"}, "unknown key 'secret'"),
    ],
)
def test_bad_client_files(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    path = put(tmp_path / "alice.toml", CLIENT, **changes)
    with pytest.raises(KeyFileError) as caught:
        profiles.load_client(path)
    assert unlined(caught.value) == f"{path}: {reason}" and caught.value.hint


# Profiles


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": ".x"}, "'name': '.x' is not a name for a client"),
        ({"server": None}, "'server' is missing"),
        ({"server": "tunnel.example"}, "'server': 'tunnel.example' has no port"),
        ({"server": ["h:1", "h:x"]}, "'server': 'h:x': 'x' is not a port"),
        ({"server": []}, "'server' names no address"),
        ({"server": ""}, "'server' is not a text"),
        ({"server": 443}, "'server' is not a text"),
        ({"server": [443]}, "'server' is not a list of texts"),
        ({"server": "x" * 10_000}, f"'server': '{'x' * 40}…' has no port"),
        ({"name": "x" * 10_000}, f"'name': '{'x' * 40}…' is not a name for a client"),
        ({"server_public": b64(bytes(1216))}, "'server_public': not a usable KEM public key"),
        ({"server_public": b64(bytes(1215))}, "'server_public' has 1215 bytes, not 1216"),
        ({"server_public": b64(b"\xff" * 1216)}, "'server_public': not a KEM public key"),
        ({"secret": b64(bytes(16))}, "'secret' has 16 bytes, not 32"),
        ({"token": "a" * 52}, "'token' is not base32 without padding"),
        ({"token": None}, "'token' is missing"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_bad_profiles(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    path = put(tmp_path / "alice.profile", PROFILE, **changes)
    with pytest.raises(KeyFileError) as caught:
        profiles.load_profile(path)
    assert unlined(caught.value) == f"{path}: {reason}" and caught.value.hint


@pytest.mark.parametrize("changes", [{"secret": None, "token": None}, {}])
def test_a_passphrase_is_refused_clearly(tmp_path: Path, changes: dict[str, None]) -> None:
    path = put(tmp_path / "alice.profile", PROFILE, sealed=b64(bytes(117)), **changes)
    with pytest.raises(KeyFileError, match="this version cannot open passphrase-protected profiles") as caught:
        profiles.load_profile(path)
    assert caught.value.hint


def test_a_file_of_the_servers_is_no_profile(tmp_path: Path) -> None:
    path = put(tmp_path / "alice.toml", PROFILE, public="x")
    with pytest.raises(KeyFileError, match="this is the server's file of a client, not its profile") as caught:
        profiles.load_profile(path)
    assert caught.value.hint.endswith("alice.profile")


def test_the_servers_key_and_pem_are_no_profile(tmp_path: Path) -> None:
    path = put(tmp_path / "key.profile", 'public = "x"\nsecret = "y"\n')
    with pytest.raises(KeyFileError, match="this is the server's key, and another file belongs here") as caught:
        profiles.load_profile(path)
    assert caught.value.hint == "ask the operator of the server for it again"
    path.write_text("-----BEGIN CERTIFICATE-----\nx\n")
    with pytest.raises(KeyFileError, match="this is PEM, such as a certificate or its key, and no key file"):
        profiles.load_profile(path)


def test_a_profile_that_is_missing_or_open(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no such file") as caught:
        profiles.load_profile(tmp_path / "alice.profile")
    assert "nitrosocks keygen NAME --server" in caught.value.hint
    path = put(tmp_path / "alice.profile", PROFILE)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="permissions 0640 are too open"):
        profiles.load_profile(path)


def test_the_repr_of_a_profile_shows_no_secret(tmp_path: Path) -> None:
    profile = profiles.load_profile(put(tmp_path / "alice.profile", PROFILE))
    assert repr(profile) == "Profile(name='alice', servers=(('tunnel.example', 443),))"
    with pytest.raises(AttributeError):
        profile.name = "bob"  # type: ignore[misc]
    client = profiles.load_client(put(tmp_path / "alice.toml", CLIENT))
    for secret in (profile.credentials.token, profile.credentials.key.seed):
        assert repr(secret) not in repr(client) and b32(secret) not in repr(client)


@pytest.mark.parametrize(
    ("names", "environ", "chosen"),
    [
        (["default.profile", "alice.profile"], {}, "default.profile"),
        (["alice.profile", ".hidden.profile", "server.key", "bob.profile~"], {}, "alice.profile"),
        (["default.profile"], {"NITROSOCKS_PROFILE": "/else/where"}, "/else/where"),
        (["alice.profile"], {"NITROSOCKS_PROFILE": ""}, "alice.profile"),
    ],
)
def test_the_default_profile(tmp_path: Path, names: list[str], environ: dict[str, str], chosen: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert profiles.default_profile(tmp_path, environ) == tmp_path / chosen


def test_a_choice_is_not_guessed(tmp_path: Path) -> None:
    for home in (tmp_path, tmp_path / "missing"):
        with pytest.raises(KeyFileError, match="there is no profile in") as caught:
            profiles.default_profile(home, {})
        assert "-i FILE" in caught.value.hint
    for name in ("bob.profile", "alice.profile"):
        (tmp_path / name).touch()
    with pytest.raises(KeyFileError, match="alice.profile, bob.profile") as caught:
        profiles.default_profile(tmp_path, {})
    assert "-i FILE" in caught.value.hint and "NITROSOCKS_PROFILE" in caught.value.hint


def test_a_profile_that_cannot_be_looked_at_is_not_said_to_be_missing(tmp_path: Path) -> None:
    """root may look anywhere, but not at such a name."""
    for load in (profiles.load_profile, lambda path: profiles.default_profile(path, {})):
        with pytest.raises(KeyFileError, match="xx: File name too long"):
            load(tmp_path / ("x" * 256))


def test_a_tilde_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell replaces it in a file of variables, and a directory that is called ~ is what nobody wants."""
    monkeypatch.setenv("HOME", "/home/alice")
    assert profiles.home(None, {"NITROSOCKS_HOME": "~/x"}) == Path("/home/alice/x")
    chosen = profiles.default_profile(Path("/none"), {"NITROSOCKS_PROFILE": "~/a.profile"})
    assert chosen == Path("/home/alice/a.profile")
