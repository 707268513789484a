"""Real processes for end-to-end tests: the program itself, and the tools around it, in a folder of their own.

Nothing here sleeps in order to wait: a process is ready when its ready line is read.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOUND = 60.0  # seconds until a wait is given up; no test comes near
_INSTALLED = importlib.util.find_spec("nitrosocks")
NITROSOCKS = [sys.executable, (_INSTALLED and _INSTALLED.origin) or str(ROOT / "nitrosocks.py")]
_OURS = ("NITROSOCKS_", "PYTHON", "XDG_", "SSH_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_")
FAULTS = ("Traceback", "internal error", "Exception ignored", "a thread failed")


class Output:
    """The lines that a process writes to a pipe, read to the end by a thread."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            for line in self._pipe:
                with self._changed:
                    self._lines.append(line.decode(errors="replace"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __str__(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def wait(self, text: str, after: int = 0) -> str:
        """The first line with this text among those behind the first `after`; waits until it comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(text in line for line in self._lines[after:]), BOUND)
            found = [line.rstrip("\n") for line in self._lines[after:] if text in line]
        assert found, f"{text!r} did not come; what came is:\n{self}"
        return found[0]

    def end(self) -> str:
        """All of it, once the process has closed it."""
        self._thread.join(BOUND)
        assert not self._thread.is_alive(), "the pipe is still open"
        return str(self)


class Process:
    """A running process. `err` and `out` are read by threads; `out` is None where `stdout` was given."""

    def __init__(
        self, argv: list[str], env: dict[str, str], stdin: Any = subprocess.DEVNULL, stdout: Any = None, **more: Any
    ) -> None:
        """It runs in its HOME; the others as in Popen."""
        out = subprocess.PIPE if stdout is None else stdout
        self.argv = argv
        self.popen = subprocess.Popen(
            argv, stdin=stdin, stdout=out, stderr=subprocess.PIPE, cwd=env["HOME"], env=env, bufsize=0, **more
        )
        assert self.popen.stderr is not None
        self.err = Output(self.popen.stderr)
        self.out = Output(self.popen.stdout) if stdout is None and self.popen.stdout is not None else None
        self.port = 0
        self.ports: list[int] = []

    @property
    def pid(self) -> int:
        return self.popen.pid

    def signal(self, number: int = signal.SIGTERM) -> Process:
        self.popen.send_signal(number)
        return self

    def wait(self) -> int:
        """The exit code; its outputs are complete then."""
        code = self.popen.wait(BOUND)
        self.err.end()
        if self.out is not None:
            self.out.end()
        return code

    def close(self) -> None:
        """Ends it if it still runs, and closes our ends of its pipes."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        for pipe in (self.popen.stdin, None if self.out else self.popen.stdout):
            if pipe is not None:
                pipe.close()
        self.wait()


class Site(ExitStack):
    """A folder with a home directory in it, and the processes that a test starts there.

    At the end all processes are ended, and no log of ours may have a traceback in it.
    """

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.place, self.home = place, place / "home"
        self._logs: list[tuple[list[str], Output | str]] = []
        self.callback(self._look_at_logs)

    def _look_at_logs(self) -> None:
        for argv, log in self._logs:
            if NITROSOCKS[1] in " ".join(argv):  # ssh, too, since we speak on its stderr
                expect_no_fault(argv, str(log))

    # -- processes --------------------------------------------------------------------------------------------------

    def start(self, *argv: object, env: dict[str, str] | None = None, **pipes: Any) -> Process:
        """Any program; it is ended with the site at the latest. `env` is added to its environment."""
        process = Process([str(word) for word in argv], environment(self.place) | (env or {}), **pipes)
        self._logs.append((process.argv, process.err))
        self.callback(process.close)
        return process

    def nitrosocks(self, *words: object, **pipes: Any) -> Process:
        """Our program with these words, left running."""
        return self.start(*NITROSOCKS, *words, **pipes)

    def call(self, *argv: object, give: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Any program to its end; `give` goes into its stdin, which is /dev/null otherwise."""
        stdin: dict[str, Any] = {"stdin": subprocess.DEVNULL} if give is None else {"input": give}
        done = subprocess.run(
            [str(word) for word in argv],
            **stdin, capture_output=True, check=False, timeout=BOUND, cwd=self.place, env=environment(self.place),
        )  # fmt: skip
        self._logs.append((done.args, done.stderr.decode(errors="replace")))
        return done

    def run(self, *words: object, give: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Our program to its end."""
        return self.call(*NITROSOCKS, *words, give=give)

    # -- what nearly every test needs -------------------------------------------------------------------------------

    def serve(self, *words: object, listen: str = "127.0.0.1:0") -> Process:
        """A server that is ready; `port` is where."""
        server = self.nitrosocks("serve", "--listen", listen, "--home", self.home, *words)
        server.port = port_of(server.err.wait("listening on"))
        server.err.wait("ready, with key")
        return server

    def profile(self, name: str, port: int, *permit: str) -> Path:
        """A new client of this site's server, and where its profile is. It may go anywhere on loopback by default."""
        path = self.place / f"{name}.profile"
        rules = [word for rule in permit or ("127.0.0.1:*", "[::1]:*") for word in ("--permit", rule)]
        words = ["--server", f"127.0.0.1:{port}", *rules, "-o", path, "--home", self.home]
        done = self.run("keygen", name, *words)
        assert done.returncode == 0, done.stderr
        return path

    def forward(self, profile: Path, *specs: str, words: tuple[object, ...] = ()) -> Process:
        """A client that is ready; `ports` is where it listens, in the order of the -L."""
        options = [word for spec in specs for word in ("-L", spec)]
        client = self.nitrosocks("forward", "-i", profile, *options, *words)
        client.err.wait("nitrosocks: ready")
        assert client.out is not None
        for number, _ in enumerate(specs):
            client.ports.append(port_of(client.out.wait("forwarding", after=number).partition(" to ")[0]))
        client.port = client.ports[0]
        return client

    def proxy(self, profile: Path, *words: object, where: object = 0) -> Process:
        """A client with one -D that is ready; `port` is where, unless it is a path."""
        client = self.nitrosocks("forward", "-i", profile, "-D", where, *words)
        assert client.out is not None
        line = client.out.wait("proxy for SOCKS and HTTP on")
        client.port = 0 if "/" in str(where) else port_of(line)
        client.err.wait("nitrosocks: ready")
        return client

    def connect(self, profile: Path, *target: object, **pipes: Any) -> Process:
        """`connect`, left running."""
        return self.nitrosocks("connect", "-i", profile, *target, **pipes)


def environment(place: Path) -> dict[str, str]:
    """Ours, without what would change how the programs behave."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_OURS)}
    return kept | {"HOME": str(place), "LC_ALL": "C.UTF-8"}


def port_of(line: str) -> int:
    """The number behind the last colon, in JSON too."""
    return int(line.rpartition(":")[2].rstrip('"}'))


def expect_no_fault(argv: list[str], log: str) -> None:
    """No traceback and no internal error may stand in what a program said."""
    assert not any(fault in log for fault in FAULTS), f"{' '.join(argv)}:\n{log}"


def expect_one_line(err: bytes | str) -> str:
    """What went wrong stands on one line, which begins with our name; returns it."""
    text = err if isinstance(err, str) else err.decode()
    assert text.startswith("nitrosocks: ") and text.endswith("\n") and text.count("\n") == 1, repr(text)
    return text.removesuffix("\n")


def tool(name: str, *folders: Path) -> str:
    """The path of a tool, which may be in these folders, too; a test that lacks it is skipped, which CI does not
    accept."""
    places = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *map(str, folders)]
    path = shutil.which(name, path=os.pathsep.join(places))
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all tests of a module."""
    with Site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """A site for each test: `site = program.own_site`."""
    with Site(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def profile(site: Site) -> Path:
    """A client of a server of this site, which serves."""
    return site.profile("alice", site.serve().port)
