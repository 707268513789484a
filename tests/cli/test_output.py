"""output: what is printed arrives or is told to be lost, whatever became of stdout and stderr."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import program
import pytest
from program import NITROSOCKS, Site, expect_no_fault, expect_one_line

from nitrosocks_lib.cli import output
from nitrosocks_lib.facts.errors import CannotCreate

site = program.site
FULL = "nitrosocks: cannot write to stdout: No space left on device"
CLOSED = "nitrosocks: cannot write to stdout: Bad file descriptor"
PRINTING = [["-h"], ["serve", "--help"], ["-V"], ["keygen"], ["demo"], ["keygen", "NAME", "-o", "-"]]


def run(site: Site, pipes: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    """The program with its pipes changed by the shell."""
    done = site.call("/bin/sh", "-c", f'exec "$@" {pipes}', "sh", *NITROSOCKS, *words)
    expect_no_fault(done.args, (done.stdout + done.stderr).decode())
    return done


def in_home(site: Site, words: list[str], name: str) -> list[object]:
    named = [name if word == "NAME" else word for word in words]
    server = ["--server", "a:1"] if "NAME" in words else []
    return [*named, *server, *(["--home", site.home] if words[0] == "keygen" else [])]


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
@pytest.mark.parametrize("pipes", [">/dev/full", ">&-"])
def test_stdout_cannot_be_written(site: Site, words: list[str], pipes: str) -> None:
    site.run("keygen", "--home", site.home)
    done = run(site, pipes, *in_home(site, words, "lost"))
    assert done.returncode == 73 and done.stdout == b""
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith(FULL if "full" in pipes else CLOSED)
    assert not (site.home / "clients.d" / "lost.toml").exists(), "nobody has its profile"


def test_unbuffered(site: Site) -> None:
    """`PYTHONUNBUFFERED=1 nitrosocks -h | head -1`, whose reader is gone already."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as stdout:
        process = site.nitrosocks("-h", stdout=stdout, env={"PYTHONUNBUFFERED": "1"})
    assert (process.wait(), str(process.err)) == (0, "")


def test_a_profile_that_nobody_reads(site: Site) -> None:
    """No word about it, but neither does it seem to have gone well."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as stdout:
        process = site.nitrosocks("keygen", "unread", "--server", "a:1", "-o", "-", "--home", site.home, stdout=stdout)
    assert process.wait() != 0 and "unread" not in str(process.err)
    assert not (site.home / "clients.d" / "unread.toml").exists()


WRONG = {("serve", "--bogus"): 64, ("forward", "-L", "0:a:1", "-i", "none"): 65, ("connect", "-i", "none", "a:1"): 255}


@pytest.mark.parametrize("pipes", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize(("words", "code"), [*WRONG.items(), (("-V",), 0), (("keygen",), 0)])
def test_stderr_cannot_be_written(site: Site, words: tuple[str, ...], code: int, pipes: str) -> None:
    """The exit code stays, and no message comes on stdout instead."""
    home = ["--home", site.home] if words == ("keygen",) else []
    done = run(site, pipes, *words, *home)
    assert (done.returncode, done.stderr) == (code, b"")
    assert done.stdout.startswith(b"" if code else (b"SHA256:", b"nitrosocks "))
    assert code == 0 or done.stdout == b""


def test_both_cannot_be_written(site: Site) -> None:
    assert run(site, ">/dev/full 2>/dev/full", "-h").returncode == 73
    assert run(site, ">&- 2>&- <&-", "-h").returncode == 73


def test_forward_cannot_say_where_it_listens(site: Site) -> None:
    server = site.serve()
    profile = site.profile("carol", server.port)
    done = run(site, ">/dev/full", "forward", "-i", profile, "-L", "0:a:1")
    assert done.returncode == 73
    assert expect_one_line(done.stderr).startswith(FULL)


class Closed(io.StringIO):
    """A stream of Python's whose descriptor takes nothing."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, _: str) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "tells", "hands_over"),
    [(BrokenPipeError(32, "x"), None, BrokenPipeError), (OSError(5, "for a test"), CannotCreate, CannotCreate)],
)
def test_a_reader_that_is_gone_and_one_that_is_not(
    error: OSError, tells: type | None, hands_over: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[int] = []
    monkeypatch.setattr(output, "discard", gone.append)
    monkeypatch.setattr(sys, "stdout", Closed(error))
    if tells is None:
        output.tell("x")
    else:
        with pytest.raises(tells, match="for a test"):
            output.tell("x")
    with pytest.raises(hands_over):
        output.hand_over("x")
    assert gone == [1, 1]


def test_what_is_discarded_goes_nowhere(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    output.discard(descriptor)
    os.write(descriptor, b"x")
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b""


def test_one_is_no_plural() -> None:
    assert [output.counted(n, "stream") for n in (0, 1, 2)] == ["0 streams", "1 stream", "2 streams"]
