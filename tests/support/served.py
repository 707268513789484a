"""One server that goes on serving a good client, whatever the tests do to it, and the ways in which others fail."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w
from program import Site, expect_one_line
from targets import Target, echo


class Good:
    """A server, and a client that it serves."""

    def __init__(self, site: Site, echoing: int) -> None:
        self.site, self.echoing = site, echoing
        self.server = site.serve()
        self.profile = site.profile("good", self.server.port)

    def is_served(self) -> None:
        done = self.site.run("connect", "-i", self.profile, "127.0.0.1", self.echoing, give=b"hello")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b"")

    def changed(self, **values: object) -> Path:
        """Its profile with other values; None takes a key away."""
        table = tomllib.loads(self.profile.read_text()) | values
        return self.write(tomli_w.dumps({key: value for key, value in table.items() if value is not None}))

    def write(self, text: str, mode: int = 0o600) -> Path:
        path = self.site.place / "changed.profile"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
        path.chmod(mode)
        return path


def refused(site: Site, profile: Path, code: int, *said: str) -> None:
    """Both clients say the same, on one line; forward ends with this code, connect with 255 as ssh does."""
    for words, expected in ((("forward", "-L", "0:127.0.0.1:1"), code), (("connect", "127.0.0.1", "1"), 255)):
        done = site.run(*words, "-i", profile)
        line = expect_one_line(done.stderr)
        assert (done.returncode, done.stdout) == (expected, b""), line
        assert all(text in line for text in said), line


def fails(site: Site, code: int, said: str, *words: object, env: dict[str, str] | None = None) -> None:
    process = site.nitrosocks(*words, env=env)
    assert process.wait() == code, str(process.err)
    assert said in expect_one_line(str(process.err))
    assert process.out is not None and str(process.out) == ""


@pytest.fixture(scope="module")
def serving(site: Site) -> Iterator[Good]:
    with Target(echo) as target:
        yield Good(site, target.port)


@pytest.fixture
def good(serving: Good) -> Iterator[Good]:
    """Whatever the test does: the same server serves a good client afterwards."""
    yield serving
    serving.is_served()
