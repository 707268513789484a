"""What git, pip and apt fetch by HTTP, made anew: a server of git's own backend, an index with a wheel, packages."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from program import Site, environment, tool

VERSION = "1.0"
MODULE = b"WORD = 'thorns'\n"  # what is in the wheel


class GitServer(ThreadingHTTPServer):
    """`git http-backend` for all repositories of a place, which anyone may read and write."""

    daemon_threads = False

    def __init__(self, place: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Backend)
        self.place, self.git = place, tool("git")
        self.chunked = 0  # requests whose length was not told


class _Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GitServer

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        env = environment(self.server.place) | {
            "GIT_PROJECT_ROOT": str(self.server.place), "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "anyone",
            "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }  # fmt: skip
        body = self._body()
        argv = [self.server.git, "http-backend"]
        env["CONTENT_LENGTH"] = str(len(body))
        done = subprocess.run(argv, input=body, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, env=env)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in {**fields, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.chunked += 1
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def git_server(place: Path) -> Iterator[GitServer]:
    """One that serves."""
    with GitServer(place) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def write_index(root: Path, name: str) -> None:
    """A simple index for pip at /simple/, with a wheel that has one module, MODULE."""
    info = f"{name}-{VERSION}.dist-info"
    files = {
        f"{name}.py": MODULE,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_urlsafe(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    page = root / "simple" / name / "index.html"
    page.parent.mkdir(parents=True)
    wheel = f"{name}-{VERSION}-py3-none-any.whl"
    page.write_text(f'<!doctype html><a href="{wheel}">{wheel}</a>')
    with zipfile.ZipFile(page.parent / wheel, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def write_packages(site: Site, root: Path, names: list[str]) -> None:
    """A flat repository for apt at /, unsigned, with these packages."""
    told = []
    for number, name in enumerate(names):
        control = f"Package: {name}\nVersion: {VERSION}\nArchitecture: all\nMaintainer: a <a@example.org>\n"
        made = site.place / f"of-{name}"
        (made / "DEBIAN").mkdir(parents=True)
        (made / "DEBIAN" / "control").write_text(f"{control}Description: a flower\n")
        (made / "petals").write_bytes(os.urandom(100_000 * number))
        package = root / f"{name}.deb"
        done = site.call(tool("dpkg-deb"), "--root-owner-group", "-Zgzip", "--build", made, package)
        assert done.returncode == 0, done.stderr
        data = package.read_bytes()
        where = f"Filename: ./{name}.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        told.append(f"{control}{where}Description: a flower\n")
    (root / "Packages").write_text("\n".join(told))


def apt_words(place: Path, proxy: str) -> list[str]:
    """Options of apt-get, for which the machine's own files are not there; `place` has a sources.list."""
    for name in ("lists/partial", "archives/partial", "etc"):
        (place / name).mkdir(parents=True)
    (place / "status").touch()
    settings = {
        "Dir::State": place, "Dir::State::Lists": place / "lists", "Dir::State::status": place / "status",
        "Dir::Cache": place, "Dir::Cache::Archives": place / "archives", "Dir::Etc": place / "etc",
        "Dir::Etc::SourceList": place / "sources.list", "Dir::Etc::SourceParts": place / "etc", "Dir::Log": place,
        "APT::Sandbox::User": "", "Acquire::Languages": "none", "Acquire::Retries": "0",
        "Acquire::http::Proxy": proxy, "Acquire::http::Proxy::127.0.0.1": proxy,
    }  # fmt: skip
    return [f"-o{name}={value}" for name, value in settings.items()]
