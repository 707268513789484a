"""What is imported until the first byte: no command loads what only others need, and --version nearly nothing; and what
is told where OpenSSL cannot be used."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import NITROSOCKS, Process, Site, expect_one_line

SERVING = ("nitrosocks_lib.server", "nitrosocks_lib.demo", "nitrosocks_lib.protocol.welcome")
SLOW = ("h11", "websockets", "cryptography.x509", "nitrosocks_lib.crypto.certificate", "spnego", "asyncio")
# Runs our program, and says on stderr what is loaded then.
TOLD = "loaded: "
PROBE = f"""
import sys
sys.path.insert(0, {str(Path(NITROSOCKS[1]).parent)!r})
import nitrosocks
code = nitrosocks.main()
print({TOLD!r} + " ".join(sys.modules), file=sys.stderr)
raise SystemExit(code)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("startup")) as made:
        yield made


def begin(site: Site, *words: object) -> Process:
    return site.start(sys.executable, "-c", PROBE, *words)


def loaded(process: Process) -> list[str]:
    assert process.wait() == 0, str(process.err)
    return process.err.wait(TOLD).removeprefix(TOLD).split()


def of(parts: tuple[str, ...], modules: list[str]) -> list[str]:
    return [name for name in modules for part in parts if name == part or name.startswith(f"{part}.")]


def test_version_loads_next_to_nothing(site: Site) -> None:
    modules = loaded(begin(site, "--version"))
    assert of(("nitrosocks_lib",), modules) == ["nitrosocks_lib"]
    assert of(("cryptography", "docopt", "logging", "ssl", "socket", "dataclasses"), modules) == []


def test_help_needs_no_cryptography(site: Site) -> None:
    modules = loaded(begin(site, "--help"))
    assert of(("cryptography", "ssl", "pyotp", "nitrosocks_lib.client", *SERVING, *SLOW), modules) == []
    assert "nitrosocks_lib.cli.main" in modules


def test_a_client_loads_nothing_of_the_server(site: Site) -> None:
    """Neither for the first session, nor to carry a stream on it, nor to end."""
    with socket.create_server(("127.0.0.1", 0)) as target:
        profile = site.profile("alice", site.serve().port)
        where = f"127.0.0.1:{target.getsockname()[1]}"
        connect = begin(site, "connect", "-i", profile, where)
        target.accept()[0].close()
        forward = begin(site, "forward", "-i", profile, "-L", f"0:{where}")
        forward.err.wait("nitrosocks: ready")
        for process in (connect, forward.signal(signal.SIGTERM)):
            modules = loaded(process)
            assert of((*SERVING, *SLOW), modules) == []
            assert "nitrosocks_lib.client.pool" in modules  # so the others would be seen


def test_a_server_loads_nothing_of_the_client(site: Site) -> None:
    server = begin(site, "serve", "--listen", "127.0.0.1:0", "--home", site.home, "--drain", "0")
    server.err.wait("nitrosocks: ready")
    modules = loaded(server.signal(signal.SIGTERM))
    assert of(("nitrosocks_lib.demo", "nitrosocks_lib.client.pool", "nitrosocks_lib.client.dialler"), modules) == []
    assert "nitrosocks_lib.server.server" in modules


INTERRUPTED = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(NITROSOCKS[1]).parent)!r})

class Finder:
    def find_spec(name, path, target=None):
        if name == "nitrosocks_lib.cli.options":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder)
import nitrosocks
raise SystemExit(nitrosocks.main())
"""


def test_an_interrupt_amid_the_imports_is_quiet(site: Site) -> None:
    done = site.call(sys.executable, "-c", INTERRUPTED, "connect", "a:1")
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


_NO_CIPHERS = "openssl_conf = all\n[all]\nproviders = some\n[some]\nnull = it\n[it]\nactivate = 1\n"


@pytest.mark.parametrize("command", ["connect", "forward", "serve", "demo"])
def test_settings_of_openssl_that_leave_nothing(site: Site, command: str) -> None:
    """They load no provider that has ciphers, as when a line of those for FIPS is missing."""
    settings = site.place / "openssl.cnf"
    settings.write_text(_NO_CIPHERS)
    profile = site.profile(f"for-{command}", 1)
    words = {
        "connect": ["-i", profile, "127.0.0.1:22"],
        "forward": ["-i", profile, "-L", "0:127.0.0.1:22"],
        "serve": ["--home", site.home, "--listen", "127.0.0.1:0"],
        "demo": [],
    }
    done = site.call("env", f"OPENSSL_CONF={settings}", *NITROSOCKS, command, *words[command])
    assert expect_one_line(done.stderr).startswith("nitrosocks: OpenSSL has no ciphers; see its settings: ")
    assert done.returncode == (255 if command == "connect" else 73)
