"""serve: what can be found wrong is told at once, and before files are made; SIGUSR1 asks for a line."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import program
import pytest
from keys import SERVER, put
from loopback import pem
from program import NITROSOCKS, Site, expect_one_line

from nitrosocks_lib.cli.serve import open_clients
from nitrosocks_lib.crypto.identity import ClientPublic
from nitrosocks_lib.files import enrol, profiles

site = program.own_site


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
    assert site.run("keygen", "bob", "--server", "a:1", "--home", site.home).returncode == 0
    path = site.home / "clients.d" / "bob.toml"
    path.chmod(0o644)
    path.with_name("loop.toml").symlink_to("loop.toml")
    os.mkfifo(path.with_name("pipe.toml"), 0o600)
    told = str(site.serve().err)
    assert "pipe.toml: not a regular file" in told
    assert f"{path}: permissions 0644 are too open" in told and "loop.toml: Too many levels of symbolic links" in told


def test_a_status_line(site: Site) -> None:
    server = site.serve()
    server.signal(signal.SIGUSR1)
    assert server.err.wait(", up ").startswith("nitrosocks: 0 sessions, 0 streams, 0 nonces kept, 0 not, up ")
    assert server.signal().wait() == 0


def test_the_clients_of_a_home(tmp_path: Path) -> None:
    clients = open_clients(tmp_path)
    assert clients.lookup(b"") is None
    _, text = enrol.make_client("alice", ["tunnel.example:443"], SERVER.public, [])
    path = put(profiles.client_path(tmp_path, "alice"), text)
    public = ClientPublic(profiles.Table(path).base64("public", 3200))
    found = clients.lookup(public.client_id)
    assert found is not None and found.name == "alice"


def test_a_directory_in_which_others_could_authorise_themselves(site: Site) -> None:
    """At the start the server says so and ends; later it takes nothing from there."""
    profile = site.profile("alice", 1)
    place = site.home / "clients.d"
    place.chmod(0o777)
    done = site.run("serve", "--listen", "127.0.0.1:0", "--home", site.home)
    line = f"nitrosocks: {place}: permissions 0777 let others change what is there; run: chmod go-w {place}\n"
    assert done.returncode == 65 and done.stderr.decode() == line
    place.chmod(0o755)
    server = site.serve()
    place.chmod(0o777)
    text = profile.read_text().replace('"127.0.0.1:1"', f'"127.0.0.1:{server.port}"')
    profile.write_text(text)
    (place / "alice.toml").chmod(0o400)  # read again, in a place that cannot be trusted any more
    assert site.run("connect", "-i", profile, "127.0.0.1:1").returncode == 255
    assert "permissions 0777" in server.err.wait(str(place))


def test_a_server_without_clients_says_how_to_make_one(site: Site) -> None:
    told = "no client is authorised yet; make one: nitrosocks keygen NAME --server HOST:PORT --permit RULE"
    first = site.serve()
    assert told in str(first.err)
    site.profile("alice", first.port)
    assert "no client" not in str(site.serve().err)


@pytest.mark.parametrize(
    ("words", "serving"),
    [((), "raw, websocket, http"), (("--carrier", "raw"), "raw"),
     (("--path", "/some/path/"), "raw, websocket, http; path /some/path"),
     (("--decoy", "127.0.0.1:1"), "raw, websocket, http; decoy 127.0.0.1:1"),
     (("--carrier", "http", "--decoy", "https://localhost:1"), "http; decoy https://localhost:1")],
    ids=str,
)  # fmt: skip
def test_it_says_what_it_serves(site: Site, words: tuple[str, ...], serving: str) -> None:
    cert, key = pem("server")
    line = site.serve("--cert", cert, "--key", key, *words).err.wait("serving")
    assert line.startswith(f"nitrosocks: serving {serving}; certificate server, expires 20")


def test_certificate_and_key_are_swapped(site: Site) -> None:
    """The certificate may be read by others: that is no fault of a key's then."""
    cert, key = pem("server")
    done = site.run("serve", "--listen", "127.0.0.1:0", "--home", site.home, "--cert", key, "--key", cert)
    told = f"nitrosocks: {key} is a key, and {cert} a certificate; they are swapped: --cert names the certificate"
    assert done.returncode == 78 and expect_one_line(done.stderr).startswith(told)
    assert not site.home.exists()


def test_a_new_key_beside_old_clients(site: Site) -> None:
    profile = site.profile("alice", 1)
    key = site.home / "server.key"
    kept = key.read_bytes()
    key.unlink()
    told = f"no profile of the clients in {site.home}/clients.d accepts it; restore server.key from a backup, or make"
    assert told in str(site.serve().err) and key.read_bytes() != kept
    assert told not in str(site.serve().err), "the second time it is there"
    key.unlink()
    done = site.run("keygen", "--home", site.home)
    assert done.returncode == 0 and told in done.stderr.decode()
    key.unlink()
    again = "keygen", "bob", "--server", "a:1", "--home", site.home, "-q"
    done = site.run(*again)
    assert done.returncode == 0 and told in expect_one_line(done.stderr)
    assert profile.exists()


def test_where_clients_are_expected_is_a_file(site: Site) -> None:
    site.run("keygen", "--home", site.home)
    (site.home / "clients.d").write_text("")
    line = site.serve().err.wait("clients.d")
    assert line.endswith(f"{site.home}/clients.d: Not a directory; move it away: 'nitrosocks keygen NAME' makes it")


def test_few_files_may_be_open(site: Site) -> None:
    profile = site.profile("alice", site.serve().port)
    words = {"serve": ("--listen", "127.0.0.1:0", "--home", site.home), "forward": ("-i", profile, "-L", "0:a:1")}
    for command, more in words.items():
        process = site.start("/bin/sh", "-c", 'ulimit -n 32; exec "$@"', "sh", *NITROSOCKS, command, *more)
        line = process.err.wait("may be open at once")
        assert line.startswith("nitrosocks: only 32 files may be open at once; 256 are needed at least")
        assert "ulimit -n" in line and "LimitNOFILE=" in line
        process.err.wait("nitrosocks: ready")
    assert "may be open" not in str(site.serve().err)


def test_its_own_certificate_is_spoilt(site: Site) -> None:
    site.run("keygen", "--home", site.home)
    (site.home / "tls.crt").write_text("")
    done = site.run("serve", "--home", site.home)
    line = expect_one_line(done.stderr)
    assert done.returncode == 78 and "the certificate: none in PEM is in its file" in line
    assert line.endswith("; restore it, or remove both tls.crt and tls.key: then new ones are made")
