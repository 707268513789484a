"""docs/tutorial.md does what it says: its very commands run here, with a real sshd, git, a web server and Redis."""

import getpass
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from loopback import unused_port
from openssh import Ssh
from program import NITROSOCKS, ROOT, Process, Site, tool

PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
BLOCK = re.compile(r"^```sh (server|laptop)( &)?\n(.*?)^```\n(?:\n```\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
MOST = 9  # commands of ours
READY = "nitrosocks: ready"


@dataclass(frozen=True)
class Block:
    """Commands of the page: at which machine, whether they are left running, what they print if the page says it."""

    machine: str
    stays: bool
    script: str
    printed: str


BLOCKS = [Block(machine, bool(stays), *rest) for machine, stays, *rest in BLOCK.findall(PAGE)]


class Machines:
    """Server and laptop as homes on this machine, and what stands in the page for names and ports that are not here."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.homes = {name: site.place / name for name in ("server", "laptop")}
        self.git = site.place / "git"
        for folder in (*self.homes.values(), self.git, site.place / "www", self.homes["laptop"] / ".ssh"):
            folder.mkdir(mode=0o700)
        sshd = Ssh(site, ["unused"])
        listen, database, web, page, local = (unused_port() for _ in range(5))
        self.stands_for = {
            "nitrosocks serve\n": f"nitrosocks serve --listen 127.0.0.1:{listen}\n",
            "scp vpn.example:": f"cp {shlex.quote(str(self.homes['server']))}/",
            "vpn.example:8443": f"127.0.0.1:{listen}",
            "office.example:22": f"127.0.0.1:{sshd.port}",
            "intranet.example:80": f"127.0.0.1:{web}",
            "db.example:6379": f"127.0.0.1:{database}",
            "office.example": "127.0.0.1",  # at the port of ~/.ssh/config
            "/srv/git": str(self.git),
            "8080": str(page),
            "6379": str(local),
        }
        self._programs()
        self._ssh(sshd.port)
        self._services(web, database)

    def _programs(self) -> None:
        """Ours in the path, and an ssh that reads the laptop's ~/.ssh/config; by itself it asks passwd for the home."""
        (place := self.site.place / "bin").mkdir()
        config = self.homes["laptop"] / ".ssh" / "config"
        for name, words in {"nitrosocks": NITROSOCKS, "ssh": [tool("ssh"), "-F", str(config)]}.items():
            (place / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            (place / name).chmod(0o755)
        self.path = f"{place}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

    def _ssh(self, port: int) -> None:
        lines = [f"Port {port}", f"User {getpass.getuser()}", f"IdentityFile {self.site.place / 'user'}"]
        lines += ["BatchMode yes", "StrictHostKeyChecking no", "UserKnownHostsFile /dev/null", "LogLevel ERROR"]
        (self.homes["laptop"] / ".ssh" / "config").write_text("".join(f"{line}\n" for line in lines))

    def _services(self, web: int, database: int) -> None:
        (self.site.place / "www" / "hello.txt").write_text("hello from the intranet\n")
        served = self.site.place / "www"
        argv = ["-u", "-m", "http.server", web, "--bind", "127.0.0.1", "--directory", served]
        server = self.site.start(sys.executable, *argv)
        assert server.out is not None
        server.out.wait("Serving HTTP")
        words = ["--bind", "127.0.0.1", "--save", "", "--dir", self.site.place]
        redis = self.site.start(tool("redis-server"), "--port", database, *words)
        assert redis.out is not None
        redis.out.wait("eady to accept connections")
        repository, author = self.git / "notes.git", ["-c", "user.name=x", "-c", "user.email=x@vpn.example"]
        for words in (
            ["init", "-q", "--bare", repository],
            ["clone", "-q", repository, self.git / "work"],
            ["-C", self.git / "work", *author, "commit", "-q", "--allow-empty", "-m", "first note"],
            ["-C", self.git / "work", "push", "-q", "origin", "HEAD"],
        ):
            done = self.site.call(tool("git"), *words)
            assert done.returncode == 0, done.stderr

    def start(self, block: Block) -> Process:
        """The block's commands, of which the first to fail ends them."""
        script = block.script
        for word, instead in self.stands_for.items():
            script = script.replace(word, instead)
        env = {"HOME": str(self.homes[block.machine]), "PATH": self.path}
        return self.site.start("bash", "-euc", script, env=env)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    for name in ("git", "curl", "redis-cli"):
        tool(name)
    with Site(tmp_path_factory.mktemp("tutorial")) as site:
        yield Machines(site)


def test_the_commands_do_what_the_page_says(machines: Machines) -> None:
    for block in BLOCKS:
        process = machines.start(block)
        if block.stays:
            process.err.wait(READY)
        else:
            assert process.wait() == 0, f"{block.script}{process.out}{process.err}"
            assert not block.printed or str(process.out) == block.printed


def test_the_page_is_read_whole_and_has_few_commands() -> None:
    assert len(BLOCKS) == PAGE.count("```sh") > 5
    assert sum(bool(block.printed) for block in BLOCKS) == len(re.findall(r"^```\n\n```$", PAGE, re.MULTILINE)) > 3
    scripts = "".join(block.script for block in BLOCKS)
    assert 0 < len(re.findall(r"^(?: *ProxyCommand )?nitrosocks ", scripts, re.MULTILINE)) <= MOST
