"""background: the parent ends as the child says, and the file with its number is written or told about."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nitrosocks_lib.cli.background import pid_file
from nitrosocks_lib.facts.errors import CannotCreate

CHILD = """
import os, sys
from nitrosocks_lib.cli.background import into_background
ready = into_background()
{body}
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", CHILD.format(body=body)]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("body", "code"),
    [("ready()", 0), ("ready(); os._exit(3)", 0), ("os._exit(73)", 73), ("raise SystemExit(69)", 69)],
)
def test_the_exit_code_is_the_childs_until_it_is_ready(body: str, code: int) -> None:
    assert run(body).returncode == code


def test_a_child_that_is_ready_has_no_stdin_and_stdout() -> None:
    said = "print(repr(sys.stdin.read()), os.getsid(0) == os.getpid(), file=sys.stderr)"
    done = run(f"ready(); print('late', flush=True); {said}")
    assert (done.stdout, done.stderr) == ("", "'' True\n")


def test_the_number_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("4194304 and more\n")  # of one that was killed
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"
        assert path.stat().st_mode & 0o444 == 0o444
    assert not path.exists()


@pytest.mark.parametrize(("name", "told"), [("no/pid", "No such file or directory"), (".", "Is a directory")])
def test_a_number_that_cannot_be_written(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(CannotCreate, match=f"cannot write .*: {told}"), pid_file(tmp_path / name):
        pass
    assert not [*tmp_path.iterdir()]


def test_the_number_of_a_process_that_runs_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(path):
        told = f"pid belongs to process {os.getpid()}, which still runs"
        with pytest.raises(CannotCreate, match=told), pid_file(path):
            pass
        assert path.read_text() == f"{os.getpid()}\n"
