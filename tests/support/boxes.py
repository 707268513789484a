"""Real boxes between a client and a server: programs that end TLS and open a new one, each with settings of its own.

A box is a NAME.toml in bench/boxes, or in a folder of somebody's own, and what it needs beside it:

    what = "Squid, ssl_bump"    for people
    stands = "proxy"            the client names it in --proxy; "front": the client finds it where the server should be
    package = "squid-openssl"   the Debian package that has it, or `python = true` for mitmproxy
    version = ["squid", "-v"]   prints which one it is
    settings = ["squid.conf"]   files beside this one, copied into the box's place
    before = [[...], [...]]     commands that are run in its place first
    run = ["squid", ...]        the program, which must stay in the foreground

In commands and settings stand @place@ (a folder of its own), @port@ (where it shall listen, on 127.0.0.1),
@server_port@, @ca_cert@ and @ca_key@ (an authority made for this box), @cert@, @key@ and @pem@ (both in one file): of
"localhost", signed by it. Programs that are started by root run as nobody, but mitmproxy.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import install_mitmproxy
import pytest
from authority import write_authority
from cryptography import x509
from loopback import unused_port
from program import ROOT, Process, Site, environment

FOLDER = ROOT / "bench" / "boxes"
HOST = "127.0.0.1"
BOUND = 30.0  # seconds until a box must serve
PAUSE = 0.05  # seconds between two looks
FILES = {"ca_cert": "ca.crt", "ca_key": "ca.key", "cert": "leaf.crt", "key": "leaf.key", "pem": "leaf.pem"}


class Missing(Exception):
    """A program that is not installed; the text says which."""


class Broken(Exception):
    """A box that does not serve; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a NAME.toml says."""

    folder: Path
    name: str
    what: str
    stands: str
    run: list[str]
    version: list[str]
    package: str = ""
    python: bool = False
    settings: tuple[str, ...] = ()
    before: tuple[list[str], ...] = ()

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Raises TypeError for a word that means nothing."""
        return cls(path.parent, path.stem, **tomllib.loads(path.read_text()))

    def program(self) -> str:
        """Where the program is. Raises Missing."""
        if self.python:
            path = install_mitmproxy.mitmdump_path()
            if not path.exists():
                raise Missing("mitmproxy is not installed: run tests/support/install_mitmproxy.py")
            return str(path)
        found = shutil.which(self.run[0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if found is None:
            raise Missing(f"{self.run[0]} is not installed: it is in Debian's {self.package}")
        return found

    def which(self) -> str:
        """The first line in which it says its version. Raises Missing."""
        done = subprocess.run(
            [self.program(), *self.version[1:]], capture_output=True, check=False, timeout=BOUND, text=True
        )
        lines = (done.stdout + done.stderr).splitlines()
        return next((line.strip() for line in lines if any(letter.isdigit() for letter in line)), "unknown")


def recipes(folder: Path = FOLDER) -> dict[str, Recipe]:
    """All that are there, by name."""
    return {path.stem: Recipe.read(path) for path in sorted(folder.glob("*.toml"))}


@contextlib.contextmanager
def standing(name: str, server_port: int) -> Iterator[Box]:
    """One of ours. The test is skipped where its program is missing, which CI does not accept."""
    try:
        box = Box(recipes()[name], server_port)
    except Missing as why:
        pytest.skip(str(why))
    with box:
        yield box


class Box:
    """One box in front of `server_port`, started and serving; a context manager that ends it.

    `port` is where it listens, `address` where the client must believe the server, `proxy` what it names in --proxy or
    None, `name` and `what` as in its recipe.
    """

    def __init__(self, recipe: Recipe, server_port: int, authority: Path | None = None) -> None:
        """`authority` is a folder with what `write_authority` makes, or one is made. Raises Missing or Broken."""
        recipe.program()
        self.recipe, self.name, self.what = recipe, recipe.name, recipe.what
        self.server_port, self.port = server_port, unused_port()
        self.place = Path(tempfile.mkdtemp(prefix=f"box-{recipe.name}-"))
        self._site = Site(self.place)
        self._site.callback(shutil.rmtree, self.place)
        with contextlib.ExitStack() as failed:
            failed.enter_context(self._site)
            self._prepare(authority)
            self.start()
            failed.pop_all()

    @property
    def address(self) -> tuple[str, int]:
        return self.behind(self.port)[0]

    @property
    def proxy(self) -> str | None:
        return self.behind(self.port)[1]

    def behind(self, port: int) -> tuple[tuple[str, int], str | None]:
        """`address` and `proxy` for a client that finds the box at another port, which leads to it."""
        if self.recipe.stands == "proxy":
            return (HOST, self.server_port), f"http://{HOST}:{port}"
        return (HOST, port), None

    def start(self) -> None:
        """Also once more, at the same port. Returns when it serves. Raises Broken."""
        self.process = self._site.start(self.recipe.program(), *self._filled(self.recipe.run[1:]), **self._who())
        end = time.monotonic() + BOUND
        while not self._serves():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.popen.wait(PAUSE)  # its end ends the wait, too
                raise Broken(f"{self.name} ended:\n{said(self.process)}")
            if time.monotonic() > end:
                raise Broken(f"{self.name} does not serve:\n{said(self.process)}")

    def kill(self) -> None:
        """Ends it at once, as a crash does, with all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Ends it, and removes its place."""
        self.kill()
        self._site.close()

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def dial(self, alpn: str = "") -> ssl.SSLSocket:
        """TLS to the server as a client behind the box gets it. Raises OSError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([alpn] if alpn else [])
        sock = socket.create_connection((HOST, self.port), BOUND)
        try:
            if self.proxy:
                self._ask_for_server(sock)
            return context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)
        except BaseException:
            sock.close()
            raise

    def issuer(self) -> str:
        """Who signed the certificate that a client meets here."""
        with self.dial() as tls:
            certificate = x509.load_der_x509_certificate(tls.getpeercert(True) or b"")
        return str(certificate.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)

    def _ask_for_server(self, sock: socket.socket) -> None:
        """CONNECT."""
        server = f"{HOST}:{self.server_port}"
        sock.sendall(f"CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            piece = sock.recv(1)
            if not piece:
                raise ConnectionError(f"the proxy ended with {answer!r}")
            answer += piece
        if answer.split()[1:2] != [b"200"]:
            raise ConnectionError(f"the proxy answered {answer!r}")

    def _serves(self) -> bool:
        """Whether TLS through it comes to the server."""
        try:
            self.dial().close()
        except OSError:
            return False
        return True

    def _prepare(self, authority: Path | None) -> None:
        if authority:
            shutil.copytree(authority, self.place, dirs_exist_ok=True)
        else:
            write_authority(self.place)
        self.place.chmod(0o755)
        self._give_away()
        for argv in self.recipe.before:
            done = subprocess.run(self._filled(argv), capture_output=True, check=False, timeout=BOUND, **self._who(),
                                  cwd=self.place, env=environment(self.place))  # fmt: skip
            if done.returncode:
                raise Broken(f"{self.name}: {argv[0]}: {(done.stdout + done.stderr).decode(errors='replace')}")
        for name in self.recipe.settings:
            (text,) = self._filled([(self.recipe.folder / name).read_text()])
            (self.place / name).write_text(text)

    def _filled(self, words: list[str]) -> list[str]:
        """With the values in their places."""
        values = {"place": self.place, "port": self.port, "server_port": self.server_port}
        for name, value in (values | {name: self.place / file for name, file in FILES.items()}).items():
            words = [word.replace(f"@{name}@", str(value)) for word in words]
        return words

    def _who(self) -> dict[str, Any]:
        """How Popen makes it nobody's, and a group of its own."""
        if os.geteuid() != 0 or self.recipe.python:
            return {"start_new_session": True}
        nobody = pwd.getpwnam("nobody")
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "start_new_session": True}

    def _give_away(self) -> None:
        """The place and what is in it belong to whom the program runs as."""
        if "user" in (who := self._who()):
            for path in (self.place, *self.place.iterdir()):
                os.chown(path, who["user"], who["group"])


def said(process: Process) -> str:
    """All that it has written so far."""
    return str(process.out or "") + str(process.err)
