"""Mistakes that people make, run on the real program, and the page that shows what it answers: docs/messages.md."""

from __future__ import annotations

import base64
import re
import shlex
import socket
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tomli_w
from in_tls import in_tls
from loopback import unused_port
from program import NITROSOCKS, ROOT, Site, expect_no_fault
from targets import Target, echo

PAGE: Final = ROOT / "docs" / "messages.md"
TITLE: Final = """\
# Mistakes, and what NitroSocks answers

Each line after `%` is a mistake, and below it stands the real answer with its exit code. `python tests/long/messages.py
--write` makes this page, and a test compares it with what the program says. The server of the examples is
`127.0.0.1:8443`, the only one; nothing listens on port 8444. Fingerprints, times and user numbers are left out.
"""


@dataclass(frozen=True)
class Mistake:
    """A command line, where `{name}` stands for a value of the world; what is set before it, and what it shows."""

    words: str
    env: str = ""
    stdout: str = ""  # where it goes, unless it is to be told


SECTIONS: Final[dict[str, list[Mistake]]] = {
    "The command line": [
        Mistake(""),
        Mistake("server"),
        Mistake("help"),
        Mistake("alice@intranet.example"),
        Mistake("list"),
        Mistake("serve --decoi 127.0.0.1:80"),
        Mistake("serve --port 8443"),
        Mistake("serve --daemon"),
        Mistake("forward --daemon -L 8080:intranet.example:80"),
        Mistake("serve 127.0.0.1:8443"),
        Mistake("doctor intranet.example:80"),
        Mistake("serve -o alice.profile"),
        Mistake("serve --cert chain.pem"),
        Mistake("keygen alice"),
        Mistake("keygen --server 127.0.0.1:8443"),
        Mistake("forward --warn 3 -L 8080:intranet.example:80"),
        Mistake("forward --warm -L 8080:intranet.example:80"),
        Mistake("forward -L"),
        Mistake("connect"),
        Mistake("connect -4 -6 intranet.example:22"),
        Mistake("connect -i '' intranet.example:22"),
    ],
    "What ssh has": [
        Mistake("connect -J jump.example intranet.example:22"),
        Mistake("connect -W intranet.example:22"),
        Mistake("connect -p 22 intranet.example"),
        Mistake("connect -l alice intranet.example:22"),
        Mistake("connect -o Compression=yes intranet.example:22"),
        Mistake("connect -C intranet.example:22"),
        Mistake("connect -A intranet.example:22"),
        Mistake("connect -X intranet.example:22"),
        Mistake("connect -t intranet.example:22"),
    ],
    "Addresses and numbers": [
        Mistake("connect intranet.example"),
        Mistake("connect ssh://intranet.example"),
        Mistake("connect https://intranet.example/index.html"),
        Mistake("connect alice@intranet.example:22"),
        Mistake("connect intranet.example:web"),
        Mistake("connect intranet.example:99999"),
        Mistake("connect intranet.example:22 22"),
        Mistake("connect 2001:db8::1:22"),
        Mistake("forward -L 8080:intranet.example"),
        Mistake("forward -L 8080:http://intranet.example/"),
        Mistake("serve --listen 8443"),
        Mistake("serve --resume 5min"),
        Mistake("serve --heartbeat 1h"),
        Mistake("serve --window 4MB"),
        Mistake("serve --window 1G"),
        Mistake("serve --refresh often"),
        Mistake("serve --carrier ''"),
        Mistake("serve --carrier quic"),
        Mistake("forward --sessions 100 -L 8080:intranet.example:80"),
        Mistake("doctor --idle 30s"),
    ],
    "Forwards": [
        Mistake("forward -L udp:53"),
        Mistake("forward -L 5353:udp:10.0.0.2:53"),
        Mistake("forward -L UDP:5353:10.0.0.2:53"),
        Mistake("forward -L udp:5353:/run/db.sock"),
        Mistake("forward -L 8080:unix:/run/db.sock"),
        Mistake("forward -L 8000-8010:intranet.example:80"),
        Mistake("forward -L 8080:intranet.example:80 --socks-auth login"),
        Mistake("forward -D udp:1080"),
        Mistake("forward -D 1080:intranet.example:80"),
        Mistake("forward -D 1080 --socks-auth login"),
        Mistake("forward -D 1080 --socks-auth alice:secret"),
        Mistake("forward -R udp:53"),
        Mistake("forward -R 8080:80"),
        Mistake("forward -R 1080-1090"),
        Mistake("forward -R tcp:8080:localhost:80"),
        Mistake("forward -i alice.profile -R 8080:localhost:80"),
        Mistake("forward -i alice.profile -R 1080"),
    ],
    "Rules": [
        Mistake(f"keygen bob --server 127.0.0.1:8443 --permit {shlex.quote(rule)}")
        for rule in (
            "", "intranet.example", "ssh://intranet.example:22", "alice@intranet.example:22", "intranet.example:ssh",
            "intranet.example:80,443", "intranet.example:443-80", "*a.example:443", "10.0.0.1/8:22", "10.0.0.0/33:22",
            "10.0.0:22", "2001:db8::1:22", "[10.0.0.1]:22", "[::ffff:10.0.0.0/104]:22", "intranet example:22",
            "git.example:22,intranet.example:80", "10.0.0.2:53/udp", "UDP:10.0.0.2:53", "tcp:10.0.0.2:53",
            "run/db.sock",
        )
    ] + [
        Mistake("permit 10.0.0.5:22"),
        Mistake("permit alice @web"),
        Mistake("permit alice --listen 8080"),
        Mistake("permit alice --listen intranet.example:8080"),
        Mistake("permit alice --test '*:80'"),
        Mistake("permit alice --test 10.0.0.5:22"),
        Mistake("forbid alice 10.0.0.5:22"),
    ],
    "Keys and profiles": [
        Mistake("keygen ../bob --server 127.0.0.1:8443"),
        Mistake("keygen alice --server 127.0.0.1:8443 --permit intranet.example:22"),
        Mistake("keygen bob --server 127.0.0.1 --permit intranet.example:22"),
        Mistake("keygen bob --server 127.0.0.1:8443 -o nowhere/bob.profile"),
        Mistake("keygen", stdout="/dev/full"),
        Mistake("connect intranet.example:22"),
        Mistake("connect -i bob.profile intranet.example:22"),
        Mistake("connect -i .config/nitrosocks/clients.d/alice.toml intranet.example:22"),
        Mistake("connect -i .config/nitrosocks/server.key intranet.example:22"),
        Mistake("connect -i open.profile intranet.example:22"),
        Mistake("connect -i broken.profile intranet.example:22"),
        Mistake("connect -i short.profile intranet.example:22"),
        Mistake("serve --cert none.pem --key none.key"),
    ],
    "The server": [
        Mistake("connect -i away.profile intranet.example:22"),
        Mistake("connect -i nameless.profile intranet.example:22"),
        Mistake("connect -i alice.profile -6 intranet.example:22"),
        Mistake("connect -i plain.profile intranet.example:22"),
        Mistake("connect -i alice.profile --tls-verify intranet.example:22"),
        Mistake("connect -i wrongkey.profile --carrier http intranet.example:22"),
        Mistake("connect -i web.profile --carrier raw intranet.example:22"),
        Mistake("connect -i unknown.profile intranet.example:22"),
        Mistake("connect -i token.profile intranet.example:22"),
        Mistake("forward -i unknown.profile -L 0:127.0.0.1:22"),
        Mistake("serve --listen 127.0.0.1:8443"),
        Mistake("forward -i alice.profile -L 8443:127.0.0.1:5432"),
    ],
    "Targets": [
        Mistake("connect -i alice.profile 127.0.0.1:8444"),
        Mistake("connect -i alice.profile 192.0.2.1:22"),
        Mistake("connect -i alice.profile udp:127.0.0.1:5432"),
        Mistake("connect -i alice.profile unix:/run/db.sock"),
        Mistake("connect -i alice.profile /run/db.sock"),
        Mistake("connect -i alice.profile no-such-host.invalid:22"),
    ],
    "Proxies": [
        Mistake("connect -i alice.profile --proxy socks4://proxy.example:1080 intranet.example:22"),
        Mistake("connect -i alice.profile --proxy http://alice:secret@127.0.0.1:3128 intranet.example:22"),
        Mistake("connect -i alice.profile --proxy-auth alice:secret intranet.example:22"),
        Mistake("connect -i alice.profile --proxy http://127.0.0.1:8444 intranet.example:22"),
        Mistake("connect -i alice.profile --proxy http://127.0.0.1:3128 intranet.example:22"),
        Mistake("connect -i alice.profile intranet.example:22", env="HTTPS_PROXY=http://alice:sec%23ret@127.0.0.1:3128"),
        Mistake("connect -i alice.profile --proxy http://127.0.0.1:3129 intranet.example:22"),
        Mistake("connect -i alice.profile --proxy http://127.0.0.1:5432 intranet.example:22"),
    ],
}  # fmt: skip


class World:
    """A server, a client that it knows, others that it does not, and what stands around; commands run in its folder."""

    def __init__(self, site: Site) -> None:
        self._site = site
        site.home = site.place / ".config" / "nitrosocks"
        server = site.serve("--carrier", "auto")
        proxies = [_answering("407 Login", "Proxy-Authenticate: Basic realm=x"), _answering("403 Forbidden")]
        web, plain = _answering("400 Bad Request", tls=True), _answering("400 Bad Request")
        self._ports = {8443: server.port, 8444: unused_port(), 5432: 0, 3128: proxies[0].port, 3129: proxies[1].port}
        target = Target(echo)
        self._ports[5432] = target.port
        for each in (*proxies, web, plain, target):
            site.enter_context(each)
        alice = site.profile("alice", server.port, "127.0.0.1:*", "no-such-host.invalid:22")
        good = tomllib.loads(alice.read_text())
        self._write("away", good | {"server": f"127.0.0.1:{self._ports[8444]}"})
        self._write("nameless", good | {"server": "no-such-host.invalid:8443"})
        self._write("plain", good | {"server": f"127.0.0.1:{plain.port}"})
        self._write("web", good | {"server": f"127.0.0.1:{web.port}"})
        self._write("token", good | {"token": base64.b32encode(bytes(32)).decode().rstrip("=")})
        self._write("unknown", good | {"secret": base64.b64encode(bytes(32)).decode()})
        self._write("open", good).chmod(0o644)
        (site.place / "login").write_text("alice:secret\n")
        (site.place / "login").chmod(0o644)
        self._write("short", {key: value for key, value in good.items() if key != "token"})
        self._write("broken", good).write_text('name = "alice\n')
        with Site(site.place / "other") as other:
            other.place.mkdir()
            key = tomllib.loads(other.profile("x", 1).read_text())["server_public"]
        self._write("wrongkey", good | {"server_public": key})
        self._ports |= {8445: web.port, 8446: plain.port}

    def _write(self, name: str, values: dict[str, object]) -> Path:
        path = self._site.place / f"{name}.profile"
        path.touch(mode=0o600)
        path.write_text(tomli_w.dumps(values))
        return path

    def answer(self, mistake: Mistake) -> str:
        """The command as it is shown, what the program says, and its exit code."""
        env = dict([mistake.env.split("=", 1)]) if mistake.env else {}
        words = [self._real(word) for word in shlex.split(mistake.words)]
        sink = open(mistake.stdout, "wb") if mistake.stdout else None  # noqa: SIM115
        process = self._site.start(*NITROSOCKS, *words, env={k: self._real(v) for k, v in env.items()}, stdout=sink)
        if sink is not None:
            sink.close()
        code = process.wait()
        assert code, f"{mistake} is taken"
        expect_no_fault(process.argv, said := str(process.err) + str(process.out or ""))
        before, behind = f"{mistake.env} " * bool(mistake.env), f" > {mistake.stdout}" * bool(mistake.stdout)
        return f"% {before}nitrosocks {mistake.words}{behind}".rstrip() + f"\n{self._masked(said)}[exit {code}]\n"

    def _real(self, text: str) -> str:
        """With the ports that are there, and so that ports are free where none is to be taken."""
        for shown, real in self._ports.items():
            text = re.sub(rf"\b{shown}\b", str(real), text)
        return text

    def _masked(self, text: str) -> str:
        for shown, real in self._ports.items():
            text = re.sub(rf"\b{real}\b", str(shown), text)
        text = text.replace(str(self._site.place), "~")
        text = re.sub(r"SHA256:[\w+/=]+", "SHA256:…", text)
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "2026-11-27 12:00 UTC", text)
        return re.sub(r"Temporary failure in name resolution|No address associated with hostname",
                      "Name or service not known", text)  # fmt: skip


def _answering(status: str, *heads: str, tls: bool = False) -> Target:
    answer = "\r\n".join([f"HTTP/1.1 {status}", *heads, "Content-Length: 0", "", ""]).encode()

    def serve(sock: socket.socket) -> None:
        while sock.recv(65_536):
            sock.sendall(answer)

    return Target(in_tls(serve) if tls else serve)


def section(world: World, name: str) -> str:
    """One section of the page."""
    with ThreadPoolExecutor(4) as pool:  # some answers take as long as a server may take
        answers = list(pool.map(world.answer, SECTIONS[name]))
    return f"## {name}\n\n```\n" + "\n".join(answers) + "```\n"


def sections(page: str) -> Iterator[str]:
    """Those of a page."""
    for part in page.split("\n## ")[1:]:
        yield f"## {part.rstrip()}\n"
