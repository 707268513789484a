"""Runs the lines of ssh_lines.py, each with ssh and with nitrosocks, and says what comes of it: rows of docs/ssh.md.

Each run has ports and paths of its own in place of those that the page shows. What listens is read from /proc.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from listening import Saying, addresses, answer, holder, pair_of_free
from loopback import unused_port
from openssh import Ssh
from program import BOUND, NITROSOCKS, Process, Site, tool
from ssh_lines import How, Line
from ssh_tables import row_of

_SERVICES: Final = {"xmpp-client": 5222, "xmpp-server": 5269}
_FREE: Final = 8080, 8081, 1080, 1081  # ports that are free on the page
_TAKEN: Final = 9000
_ENDINGS: Final = {"closed": ", where connections are closed", "reset": ", where connections are reset"}
_NO_NEWS: Final = "debug", "OpenSSH_", "Authenticated ", "Allocated port ", "Transferred", "Bytes per ", "Warning: Per"
_PRIVILEGED: Final = "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"
_SSHD: Final = "ListenAddress 127.0.0.1:{0}\nMatch LocalPort {0}\nPermitOpen *:{1}\n"
_SSHD += "AllowStreamLocalForwarding no\nGatewayPorts no\nMatch all\nGatewayPorts clientspecified\n"


@dataclass
class Run:
    """A line with ports and paths that are free."""

    line: Line
    place: Path
    name: str  # of this run: files begin with it
    ports: dict[int, int]  # those of the page, and real ones
    before: dict[int, set[str]] = field(default_factory=dict)  # where others listen, by real ports

    def __post_init__(self) -> None:
        self.before = {real: set(addresses(real)) for real in self.near.values()}
        if "stale.sock" in self.line.words:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(self._file("stale.sock"))

    def _file(self, name: str) -> str:
        return f"{self.place}/{self.name}-{name}"

    @property
    def near(self) -> dict[int | str, int]:
        """Where it may listen: a port as on the page, or the name of a service, and the real port."""
        found: dict[int | str, int] = {
            shown: self.ports[shown] for shown in (*_FREE, _TAKEN) if re.search(_number(shown), self.line.words)
        }
        return found | ({"xmpp-client": _SERVICES["xmpp-client"]} if "xmpp-client" in self.line.words else {})

    @property
    def files(self) -> dict[str, str]:
        """Unix sockets that it may make, as on the page, and really."""
        shown = re.findall(r"(?:/tmp|\.)/\w+\.sock", self.line.words.partition(":./")[0])
        return {name: self._file(name.rpartition("/")[2]) for name in shown}

    def real(self, words: str) -> str:
        """A command line as it is run."""
        for shown, port in self.ports.items():
            words = re.sub(_number(shown), f"<{port}>", words)
        words = re.sub(r"<(\d+)>", r"\1", words)
        words = words.replace("/run/", f"{self.place}/")
        return re.sub(r"(/tmp|\.)/(\w+\.sock)", lambda m: self._there(m[1], m[2]), words)

    def _there(self, folder: str, name: str) -> str:
        return self._file(name) if folder == "/tmp" else f"./{self.name}-{name}"

    def masked(self, text: str) -> str:
        """What a program says, as it is shown."""
        text = text.replace(f"{self.place}/{self.name}-", "/tmp/").replace(f"./{self.name}-", "./")
        text = text.replace(str(self.place), "/run")
        for shown, real in self.ports.items():
            text = re.sub(_number(real), str(shown), text)
        return re.sub(r"Temporary failure in name resolution|No address associated with hostname",
                      "Name or service not known", text)  # fmt: skip


def _number(port: int) -> str:
    return rf"(?<![0-9a-f.]){port}(?![\d.])"  # neither of 10.0.0.80 nor of fe80::1


class World:
    """An sshd, a server, and what both lead to. Lines are run one after the other."""

    def __init__(self, site: Site, *, chat: bool) -> None:
        """`chat`: it listens at a port that is the same in all tests."""
        self._site, self._runs = site, 0
        self._taken: set[int] = set()  # ports of runs
        web, web6 = Saying(b"web", next_free=True), Saying(b"web6", ("::1", 0))
        db, taken = Saying(b"db"), Saying(b"something else")
        more = [Saying(b"db", str(site.place / "db.sock"))]
        more += [Saying(b"chat", ("127.0.0.1", _SERVICES["xmpp-server"]))] if chat else []
        for each in (web, web6, db, taken, *more):
            site.enter_context(each)
        self._fixed = {80: web.port, 81: web.port + 1, 6080: web6.port, 5432: db.port, 9000: taken.port}
        self._strict_port = unused_port()
        self._ssh = Ssh(site, bare=True, config=_SSHD.format(self._strict_port, web.port))
        port = unused_port()
        rules = ["127.0.0.1:*", "[::1]:*", "no-such-host.invalid:*", f"{site.place}/*.sock"]
        self._profile = site.profile("alice", port, *rules)
        self._strict = site.profile("bob", port, f"127.0.0.1:{web.port}")
        everywhere = ["*:*", "127.0.0.0/8:*", "[::1]:*", "192.0.2.1:*", f"{site.place}/*.sock"]
        for name, listen in (("alice", everywhere), ("bob", ["localhost:*"])):
            words = [word for rule in listen for word in ("--listen", rule)]
            assert site.run("permit", name, *words, "--home", site.home).returncode == 0
        self._server = site.serve("-v", listen=f"127.0.0.1:{port}")  # which may write where its rules say now

    def rows(self, lines: Sequence[Line]) -> Iterator[str]:
        """A row of the page for each."""
        together = [line for line in lines if line.how is How.TOGETHER]
        both = dict(zip(together, self._both(together), strict=True)) if together else {}
        for line in lines:
            ((ssh, ours),) = [both[line]] if line in both else self._both([line])
            yield row_of(line, ssh, ours)

    def _both(self, lines: Sequence[Line]) -> list[tuple[str, str]]:
        return list(zip(self._run(lines, ours=False), self._run(lines, ours=True), strict=True))

    # -- one program ------------------------------------------------------------------------------------------------

    def _run(self, lines: Sequence[Line], *, ours: bool) -> list[str]:
        """Lines that are run together, and what comes of each."""
        runs = [self._prepared(line) for line in lines]
        process = self._started(runs, ours)
        how = lines[0].how
        if how is How.BEHIND:
            code: int | None = process.popen.wait(BOUND)
        else:
            code = None if _is_ready(process, runs, ours) else process.wait()
        if code:
            return [f"exit {code}: `{run.masked(_error(process, ours))}`" for run in runs]
        if code == 0 and how is not How.BEHIND:
            return [f"exit 0: `{process.out}`"]
        said = _error(process, ours)
        found = [list(self._places(run, process, ours)) for run in runs]
        if how is How.BEHIND:
            (inode,) = {max(addresses(real).values()) for run in runs for real in run.near.values()}
            os.kill(holder(inode), signal.SIGTERM)
        else:
            _end(process)
        process.wait()
        self._wait_for_removal(runs, ours)
        return [self._told(run, places, said, how) for run, places in zip(runs, found, strict=True)]

    def _prepared(self, line: Line) -> Run:
        self._runs += 1
        first, second = pair_of_free(self._taken), pair_of_free(self._taken)
        free = dict(zip(_FREE, (*first, *second), strict=True))
        return Run(line, self._site.place, f"r{self._runs}", self._fixed | free)

    def _started(self, runs: Sequence[Run], ours: bool) -> Process:
        how = runs[0].line.how
        argv: list[str] = []
        if how is How.UNPRIVILEGED and os.geteuid() == 0:
            argv += [tool("setpriv"), *_PRIVILEGED]
        strict = how is How.STRICT
        if ours:
            command, *words = shlex.split(runs[0].real(runs[0].line.ours or f"forward {runs[0].line.words}"))
            argv += [*NITROSOCKS, command, "-i", str(self._strict if strict else self._profile), *words]
            for run in runs[1:]:
                argv += shlex.split(run.real(run.line.ours.removeprefix("forward ") or run.line.words))
        else:
            argv += [tool("ssh"), *self._ssh.options]
            argv += [word for run in runs for word in shlex.split(run.real(run.line.words))]
            argv += ["-v", "-N", f"-p{self._strict_port if strict else self._ssh.port}", "127.0.0.1"]
        return self._site.start(*argv)

    def _places(self, run: Run, process: Process, ours: bool) -> Iterator[tuple[str, str]]:
        """Where the line listens, and what comes there."""
        ports: dict[int | str, int] = dict(run.near)
        if re.search(r"-[LRD] 0(:|$)", run.line.words):
            said = process.out.wait(":") if ours and process.out else process.err.wait("Allocated port ")
            picked = re.search(r":(\d+)|Allocated port (\d+)", said)
            assert picked is not None, said
            ports["PORT"] = int(picked[1] or picked[2])
        for shown, real in ports.items():
            at, asks = _SERVICES.get(str(shown), shown), self._asks(run.line, "0" if shown == "PORT" else str(shown))
            for host, what in _answers(real, run.before.get(real, set()), asks).items():
                yield (f"[{host}]:{at}" if ":" in host else f"{host}:{at}"), what
        for shown_path, path in run.files.items():
            if Path(path).exists() and (what := _answer_of_file(path, self._asks(run.line, shown_path))):
                yield f"{shown_path} ({Path(path).stat().st_mode & 0o777:o})", what

    def _asks(self, line: Line, shown: str) -> tuple[str, int] | None:
        """How a connection asks for its target, where that place is a -D, or a -R without a target."""
        place = re.escape(shown)
        if not re.search(rf"(-D ?|DynamicForward )\S*{place}|-R '?(\S*:)?{place}(?=[\s']|$)", line.words):
            return None
        return ("http" if line.http else "socks"), self._fixed[80]

    def _wait_for_removal(self, runs: Sequence[Run], ours: bool) -> None:
        """Until the server has done what it does at the end of -R."""
        for run in runs:
            if ours and "-R" in run.line.words:
                for path in run.files.values():
                    self._server.err.wait(f"no longer listening on {path}")

    @staticmethod
    def _told(run: Run, places: list[tuple[str, str]], said: str, how: How) -> str:
        """What comes of a line that runs."""
        by_answer: dict[str, list[str]] = {}
        for place, what in places:
            by_answer.setdefault(_ENDINGS.get(what, f" to {what}"), []).append(f"`{place}`")
        parts = [f"at {', '.join([*at[:-2], ' and '.join(at[-2:])])}{what}" for what, at in by_answer.items()]
        stays = [shown for shown, path in run.files.items() if Path(path).exists()]
        parts += ["the file stays at the end" for _ in stays]
        parts += ["in the background"] if how is How.BEHIND else []
        parts += [f"says `{run.masked(said)}`, and goes on"] if said else []
        return "; ".join(parts)


def _end(process: Process) -> None:
    """ssh misses a signal that comes just before it begins to wait."""
    while process.popen.poll() is None:
        process.signal()
        with suppress(subprocess.TimeoutExpired):
            process.popen.wait(0.2)


def _answer_of_file(path: str, asks: tuple[str, int] | None) -> str:
    try:
        return answer(path, asks)
    except ConnectionRefusedError:  # nobody listens
        return ""


def _answers(port: int, others: set[str], asks: tuple[str, int] | None) -> dict[str, str]:
    """What comes at each address where this run listens, IPv4 first; * is all interfaces of both."""
    found = {host: answer((host, port), asks) for host in addresses(port) if host not in others}
    if "::" in found and "127.0.0.1" not in others:
        with suppress(ConnectionRefusedError):
            found["0.0.0.0"] = answer(("0.0.0.0", port), asks)
        if found.get("0.0.0.0") == found["::"]:
            return {"*": found["::"]}
    return found


def _is_ready(process: Process, runs: Sequence[Run], ours: bool) -> bool:
    """Waits until the program has done all that it does at its start; False where it ends."""
    if any("-W" in run.line.words for run in runs):
        return False
    words = " ".join(run.line.words for run in runs)
    awaited = ["nitrosocks: ready"]
    if ours and "-q" in words:
        awaited = []
        assert process.out is not None
        process.out.wait("forwarding")
    if not ours:
        remotes = len(re.findall(r"-R ?\S|RemoteForward", words))
        awaited = ["debug1: Entering interactive session", *["debug1: remote forward "] * remotes]
    at = 0
    try:
        for number, text in enumerate(awaited):
            process.err.wait(text, after=at if number > 1 else 0)
            lines = str(process.err).splitlines()
            at = next(i for i, line in enumerate(lines) if i >= (at if number > 1 else 0) and text in line) + 1
    except AssertionError:
        return False
    failed = "remote forward failure" in str(process.err)
    if failed:
        process.err.wait("forwarding failed for listen")
    return not (failed and "ExitOnForwardFailure" in words)


def _error(process: Process, ours: bool) -> str:
    """The first line that tells of something wrong; empty if there is none."""
    lines = str(process.err).splitlines()
    if ours:
        news = [line for line in lines if not line.endswith(": ready") and "-v" not in process.argv]
        return news[0].removeprefix("nitrosocks: ") if news else ""
    return next((line for line in lines if line and not line.startswith(_NO_NEWS)), "")
