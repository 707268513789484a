"""What the real `serve` and `forward` give up: dumps, new rights, and all that they do not need."""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from loopback import pem
from program import ROOT, Process, Site, site

from nitrosocks_lib.net import landlock

__all__ = ["site"]
NOBODY = 65_534
TRYING = ROOT / "tests" / "support" / "trying.py"
needs_landlock = pytest.mark.skipif(landlock.version() < 6, reason="no Landlock, or an old one")


def status(process: Process, field: str) -> str:
    """A field of /proc/PID/status."""
    rows = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(row.partition(":")[2].strip() for row in rows if row.startswith(f"{field}:"))


@pytest.fixture(scope="module")
def pair(site: Site) -> list[Process]:
    """A server and a client that run."""
    server = site.serve()
    return [server, site.forward(site.profile("alice", server.port), "0:127.0.0.1:1")]


def test_neither_leaves_a_core_nor_gains_rights(pair: list[Process]) -> None:
    for process in pair:
        assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)
        assert status(process, "NoNewPrivs") == "1"


def test_both_keep_their_keys_out_of_swap_where_they_may(pair: list[Process]) -> None:
    may = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY or not os.geteuid()
    for process in pair:
        assert (status(process, "VmLck") != "0 kB") == may


AS_NOBODY = """
import ctypes, encodings.idna, os, sys
import nitrosocks_lib.cli.serve  # here, since the interpreter and its modules may be where only root may read
from nitrosocks_lib.cli.main import main
if not os.geteuid():
    os.setgroups([]); os.setgid({user}); os.setuid({user})
    ctypes.CDLL(None).prctl(4, *map(ctypes.c_ulong, (1, 0, 0, 0)))  # as after exec
"""
SERVE = AS_NOBODY + "sys.exit(main(sys.argv[1:]))"
READ = AS_NOBODY + "open(f'/proc/{{sys.argv[1]}}/mem')"


def as_nobody(place: Path, code: str, *words: object) -> Process:
    """Code that runs as another user than root, with an environment in which there is nothing else."""
    argv = [sys.executable, "-c", code.format(user=NOBODY), *map(str, words)]
    return Process(argv, {"HOME": str(place), "PYTHONPATH": str(ROOT)})


def test_its_own_user_cannot_read_its_memory() -> None:
    """And without being root, with nothing in its environment, it serves as ever."""
    with tempfile.TemporaryDirectory(prefix="nitrosocks-") as folder, Site(Path(folder)) as site:
        if not os.geteuid():
            os.chown(folder, NOBODY, NOBODY)
        server = as_nobody(site.place, SERVE, "serve", "--listen", "127.0.0.1:0", "--home", site.home)
        site.callback(server.close)
        server.err.wait("nitrosocks: ready")
        reader = as_nobody(site.place, READ, server.pid)
        assert reader.wait() == 1 and "PermissionError" in str(reader.err)
        assert server.signal().wait() == 0


def trying(site: Site, *words: object) -> dict[str, str]:
    """What came of what the program tried when it was ready."""
    outside = site.place / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "there").write_bytes(b"")
    process = site.start(sys.executable, TRYING, outside, *words, "-vv")
    assert process.out is not None
    came = json.loads(process.out.wait("tried ").partition(" ")[2])
    assert "Landlock" not in str(process.err), "it was possible, and no thread ran before"
    return came


DENIED = dict.fromkeys(["read outside", "list outside", "write outside", "write home", "remove", "run"], "EACCES")
ALLOWED = dict.fromkeys(["read /etc", "write /dev/null", "resolve", "import", "signal itself"], "done")


@needs_landlock
def test_a_server_reads_its_home_and_no_more(site: Site) -> None:
    site.profile("carol", 1)
    came = trying(site, "serve", "--listen", "127.0.0.1:0", "--home", site.home)
    rest = {"read home": "done", "list home": "done", "bind": "done", "signal": "EPERM"}  # it listens for clients
    assert came == DENIED | ALLOWED | rest


@needs_landlock
def test_a_client_reads_nothing_of_its_user(site: Site) -> None:
    profile = site.profile("dave", site.serve().port)
    came = trying(site, "forward", "-i", profile, "-L", "0:127.0.0.1:1")
    rest = {"read home": "EACCES", "list home": "EACCES", "bind": "done", "signal": "EPERM"}
    assert came == DENIED | ALLOWED | rest


def test_a_client_file_that_is_a_link_is_read_again(site: Site) -> None:
    """Where it led to when the server began, also after it was changed there."""
    elsewhere = site.place / "elsewhere"
    elsewhere.mkdir()
    site.profile("erin", 1)
    file = site.home / "clients.d" / "erin.toml"
    moved = elsewhere / file.name
    file.rename(moved)
    file.symlink_to(moved)
    server = site.serve()
    again = site.profile("frank", server.port)  # its file comes while the server runs
    site.forward(again, "0:127.0.0.1:1")
    text = moved.read_text(encoding="utf-8")
    (new := elsewhere / "new").write_text(text + "# changed\n", encoding="utf-8")
    new.chmod(0o600)
    new.rename(moved)
    site.forward(again, "0:127.0.0.1:1")
    assert "Permission denied" not in str(server.err)


def test_authorities_of_the_user_are_found_wherever_they_are(site: Site, tmp_path: Path) -> None:
    """OpenSSL opens them when it verifies; here what a link with the hash of a name leads to."""
    cert, key = pem("localhost")
    hashed = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", cert], check=True, capture_output=True)
    (tmp_path / f"{hashed.stdout.decode().strip()}.0").symlink_to(cert)
    server = site.serve("--cert", cert, "--key", key)
    profile, moved = site.profile("verifying", server.port), tmp_path / "moved.profile"
    moved.touch(0o600)
    moved.write_text(profile.read_text().replace("127.0.0.1", "localhost"))
    words = ("forward", "-i", moved, "-L", "0:127.0.0.1:1", "--tls-verify")
    site.nitrosocks(*words, env={"SSL_CERT_DIR": f"/not/there:{tmp_path}"}).err.wait("nitrosocks: ready")


def test_no_thread_is_there_before_what_it_may_do_is_settled(site: Site) -> None:
    """Not even that of the log, where a proxy is told of."""
    server = site.serve("-vv")
    done = site.run("forward", "-vv", "-i", site.profile("early", server.port), "-L", "0:x:1", "--proxy", "127.0.0.1:1")
    said = done.stderr.decode()
    assert "through the proxy 127.0.0.1:1" in said and "threads run already" not in said + str(server.err)
