"""git, pip and apt through `forward -D`, by each way that they know to speak to a proxy, from servers of the test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nginx
import program
import pytest
from nginx import Nginx
from program import Site, tool
from repositories import MODULE, apt_words, git_server, write_index, write_packages

site = program.site
profile = program.profile
FLOWERS = ["rose", "lily", "iris", "aster", "tulip"]


@pytest.fixture(scope="module")
def port(site: Site, profile: Path) -> int:
    file = site.place / "login"
    file.write_text("user:pass\n")
    file.chmod(0o600)
    return site.proxy(profile, "--socks-auth", file).port


@pytest.fixture(scope="module")
def web(site: Site) -> Nginx:
    made = nginx.start(site, times=(60, 75, 5))
    root = made.place / "site"
    write_index(root, "roses")
    write_packages(site, root, FLOWERS)
    return made


WAYS = pytest.mark.parametrize("way", ["http", "socks5h"])


def works(site: Site, *argv: object) -> str:
    done = site.call(*argv)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@WAYS
def test_git_clones_and_pushes(site: Site, port: int, way: str, tmp_path: Path) -> None:
    git, copy, again, far = tool("git"), tmp_path / "copy", tmp_path / "again", tmp_path / "garden.git"
    proxied = [git, "-c", f"http.proxy={way}://user:pass@127.0.0.1:{port}"]
    works(site, git, "init", "--quiet", "--bare", far)
    with git_server(tmp_path) as server:
        url = f"http://127.0.0.1:{server.server_port}/garden.git"
        works(site, *proxied, "clone", "--quiet", url, copy)
        (copy / "seeds").write_bytes(os.urandom(3_000_000))  # more than git keeps in memory, so it tells no length
        at = [git, "-C", copy, "-c", "user.name=a", "-c", "user.email=a@example.org"]
        works(site, *at, "add", "seeds")
        works(site, *at, "commit", "--quiet", "-m", "seeds")
        works(site, *proxied, "-C", copy, "push", "--quiet", "origin", "HEAD")
        works(site, *proxied, "clone", "--quiet", url, again)
        assert server.chunked
    assert (again / "seeds").read_bytes() == (copy / "seeds").read_bytes()


@WAYS
def test_pip_installs(site: Site, port: int, web: Nginx, way: str, tmp_path: Path) -> None:
    alone = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-cache-dir"]
    proxied = ["--proxy", f"{way}://user:pass@127.0.0.1:{port}", "--index-url", f"http://127.0.0.1:{web.plain}/simple/"]
    works(site, *alone, "install", "--quiet", *proxied, "--target", tmp_path, "roses")
    assert (tmp_path / "roses.py").read_bytes() == MODULE


@WAYS
def test_apt_updates_and_downloads(site: Site, port: int, web: Nginx, way: str, tmp_path: Path) -> None:
    apt = [tool("apt-get"), *apt_words(tmp_path, f"{way}://user:pass@127.0.0.1:{port}")]
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] http://127.0.0.1:{web.plain} ./\n")
    works(site, *apt, "update")
    works(site, *apt, "download", *FLOWERS)
    for name in FLOWERS:
        assert (site.place / f"{name}_1.0_all.deb").read_bytes() == (web.place / "site" / f"{name}.deb").read_bytes()
        (site.place / f"{name}_1.0_all.deb").unlink()
